import numpy as np
import pytest
from scipy.ndimage import binary_erosion, distance_transform_edt

from segcgan.metrics import nearest
from segcgan.metrics.nearest import ball, band, closest, shell

SPACINGS = [(1.0,), (1.0, 1.0), (3.0, 0.2), (1.0, 1.0, 1.0), (2.5, 0.8, 0.8), (0.01, 1.0, 1.0)]


@pytest.mark.parametrize("few", [0, 10**9], ids=["nearby first", "tree alone"])
@pytest.mark.parametrize("density", [0.3, 0.003])
@pytest.mark.parametrize("spacing", SPACINGS, ids=str)
def test_closest_is_the_distance_transform(spacing, density, few, monkeypatch):
    monkeypatch.setattr(nearest, "_FEW", few)
    rng = np.random.default_rng(1)
    shape = (600, 31, 17)[: len(spacing)]
    sources, targets = rng.random((2, *shape)) < density
    targets.flat[0] = True
    expected = distance_transform_edt(~targets, sampling=spacing)[sources]
    np.testing.assert_allclose(closest(sources, targets, spacing), expected, rtol=1e-12)


def test_closest_of_nothing():
    some, none = np.ones((2, 3), bool), np.zeros((2, 3), bool)
    assert closest(none, some, (1, 1)).shape == (0,)
    assert np.isinf(closest(some, none, (1, 1))).all()
    assert closest(some, none, (1, 1)).shape == (6,)
    assert closest(none, none, (1, 1)).shape == (0,)


@pytest.mark.parametrize("largest", [10**6, 0], ids=["marked", "transformed"])
@pytest.mark.parametrize("width", [0.5, 1.0, 2.5, 6.0])
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (3.0, 0.7), (1.0, 1.0, 1.0), (2.5, 0.8, 0.8)], ids=str)
def test_band_is_the_thresholded_distance_transform(spacing, width, largest, monkeypatch):
    monkeypatch.setattr(nearest, "_LARGEST_BALL", largest)
    rng = np.random.default_rng(2)
    mask = np.zeros((24, 30, 26)[: len(spacing)], bool)
    mask[2:, 1:-3] = True  # touches the edge of the image
    mask &= rng.random(mask.shape) > 0.01
    depth = distance_transform_edt(np.pad(mask, 1), sampling=spacing)[(slice(1, -1),) * mask.ndim]
    expected = mask & (depth <= width * (1 + 1e-6))
    np.testing.assert_array_equal(band(mask, spacing, width), expected)
    assert width >= min(spacing) or not expected.any()


def test_a_band_wider_than_the_mask_is_the_mask():
    mask = np.ones((3, 4), bool)
    for width in (5, 5000):
        np.testing.assert_array_equal(band(mask, (1, 1), width), mask)


@pytest.mark.parametrize("shape", [(30,), (20, 21), (9, 10, 11)])
def test_shell_is_the_mask_minus_its_erosion(shape):
    mask = np.pad(np.random.default_rng(3).random(shape) > 0.3, 1)
    np.testing.assert_array_equal(shell(mask), mask ^ binary_erosion(mask))


def test_ball_is_sorted_by_length():
    offsets, lengths = ball(2.0, (2.0, 1.0))
    assert offsets[0].tolist() == [0, 0]
    assert lengths.tolist() == [0, 1, 1, 2, 2, 2, 2]
    assert {tuple(step) for step in offsets[3:].tolist()} == {(-1, 0), (1, 0), (0, -2), (0, 2)}
