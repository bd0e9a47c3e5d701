import numpy as np
import pytest

from segcgan.case import IGNORE
from segcgan.report.framing import best_slice, focus, stretch


def test_best_slice_has_the_largest_foreground():
    mask = np.zeros((5, 8, 8), np.uint8)
    assert best_slice(mask) == 2
    mask[1, :2] = 1
    mask[3, :3] = 2
    mask[4] = IGNORE
    assert best_slice(mask) == 3


def test_focus_is_a_square_round_the_foreground_inside_the_image():
    first, second = np.zeros((2, 300, 400), np.uint8)
    first[100:120, 200:220] = 1
    second[110:140, 210:240] = 2
    second[0, 0] = IGNORE
    rows, columns = focus([first, second], margin=0.5, least=64)
    assert (rows.stop - rows.start, columns.stop - columns.start) == (80, 80)
    assert rows.start <= 100
    assert rows.stop >= 140
    assert focus([first], least=64) == (slice(78, 142), slice(178, 242))
    first[:, 390:] = 1
    assert focus([first]) == (slice(0, 300), slice(0, 400))
    assert focus([np.zeros((30, 40), np.uint8)]) == (slice(0, 30), slice(0, 40))


def test_stretch_is_robust_and_ignores_what_is_invalid():
    image = np.linspace(0, 100, 10_000, dtype=np.float32).reshape(1, 100, 100)
    image[0, 0, 0], image[0, 0, 1] = 1e9, np.nan
    valid = np.ones((100, 100), bool)
    image[0, :10], valid[:10] = -3000, False
    picture = stretch(image, valid)
    assert picture.shape == (100, 100)
    assert np.isfinite(picture).all()
    assert picture[55, 0] == pytest.approx(0.5, abs=0.02)
    assert (picture.min(), picture.max()) == (0, 1)


def test_stretch_keeps_the_colours_of_rgb_and_levels_many_bands():
    bands = np.stack([np.linspace(0, top, 400).reshape(20, 20) for top in (100, 50, 10, 5)])
    rgb = stretch(bands[:3])
    assert rgb.shape == (20, 20, 3)
    assert rgb[..., 2].max() < 0.2
    assert stretch(bands)[..., 2].max() == 1
    assert stretch(bands[:2]).shape == (20, 20)


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_stretch_of_nothing_and_of_a_constant(channels):
    image = np.full((channels, 4, 4), 7.0)
    shape = (4, 4) if channels == 1 else (4, 4, 3)
    for valid in (None, np.zeros((4, 4), bool)):
        picture = stretch(image, valid)
        assert picture.shape == shape
        assert not picture.any()
