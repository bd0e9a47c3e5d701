import numpy as np
import pytest

from segcgan.errors import SegcganError
from segcgan.metrics.skeleton import CLDICE_CONVENTION, cldice, skeleton


def vessels(*parts):
    mask = np.zeros((14, 14), bool)
    for rows, columns in parts:
        mask[rows, columns] = True
    return mask


LETTER = vessels((slice(1, 4), 1), (3, slice(1, 4)))


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        (vessels((slice(2, 4), 1), (3, slice(1, 4))), 0.857143),  # 0.86 in MetricsReloaded's suite
        (vessels((3, slice(1, 4))), 0.666667),  # 0.67
    ],
)
def test_the_small_vessels_of_metrics_reloaded(prediction, expected):
    assert cldice(LETTER, prediction) == pytest.approx(expected, abs=0.005)
    assert cldice(LETTER[None], prediction[None]) == cldice(LETTER, prediction)


def test_thickness_does_not_count_but_a_gap_does():
    thick, thin, cut = np.zeros((3, 20, 60), bool)
    thick[7:12, 5:55] = thin[9, 7:53] = cut[9, 7:53] = True
    cut[9, 20:40] = False
    assert cldice(thick, thin) == pytest.approx(1, abs=0.03)
    assert cldice(thick, cut) == pytest.approx(2 * 26 / 46 / (1 + 26 / 46), abs=0.05)
    tube = np.zeros((20, 20, 40), bool)
    tube[8:11, 8:11, 4:36] = True
    wire = np.zeros_like(tube)
    wire[9, 9, 5:35] = True
    assert cldice(tube, wire) == pytest.approx(1, abs=0.05)


def test_empty_masks_and_invalid_pixels():
    empty = np.zeros_like(LETTER)
    assert cldice(empty, empty) == 1
    assert np.isnan(cldice(empty, empty, empty=float("nan")))
    assert np.isnan(cldice(LETTER, LETTER, empty))  # no pixel is valid
    assert cldice(LETTER, empty) == cldice(empty, LETTER) == 0
    assert cldice(LETTER, np.roll(LETTER, 6, axis=1)) == 0
    assert cldice(LETTER, LETTER) == 1
    ghost = LETTER.copy()
    ghost[10, 3:9] = True
    assert cldice(LETTER, ghost) < 1
    assert cldice(LETTER, ghost, np.arange(14)[:, None] < np.full(14, 9)) == 1


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (1, 1, 1), (2, 2, 2), (4, 4, 4)])
def test_no_part_loses_its_skeleton(shape):
    """Lee's thinning erases cubes of even size, which would make a perfect mask undefined."""
    solid = np.pad(np.ones(shape, bool), 2)
    assert skeleton(solid).any()
    assert not (skeleton(solid) & ~solid).any()
    assert cldice(solid, solid) == 1


def test_errors_and_convention():
    with pytest.raises(SegcganError, match=r"prediction has shape \(3, 4\) but the reference \(4, 4\)"):
        cldice(np.ones((4, 4)), np.ones((3, 4)))
    assert "Shit 2021" in CLDICE_CONVENTION
