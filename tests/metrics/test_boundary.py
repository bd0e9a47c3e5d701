"""Frozen values come from the test suites of MetricsReloaded, MONAI and DeepMind surface-distance."""

import numpy as np
import pytest

from segcgan.errors import SegcganError
from segcgan.metrics.boundary import (
    assd,
    band_width,
    boundary_f,
    boundary_iou,
    hausdorff95,
    masd,
    nsd,
    status,
    surface_distances,
)
from segcgan.metrics.overlap import confusion, dice


def boxes(shape, reference, prediction):
    masks = np.zeros((2, *shape), bool)
    for mask, parts in zip(masks, (reference, prediction), strict=True):
        for part in parts:
            mask[part] = True
    return masks


def sphere(radius, centre, spacing=(1, 1, 1)):
    axes = [np.arange(99) * size - middle for size, middle in zip(spacing, centre, strict=True)]
    return sum(axis**2 for axis in np.ix_(*axes)) <= radius**2


S = np.s_


@pytest.mark.parametrize(
    ("shape", "reference", "prediction", "spacing", "expected"),
    [
        pytest.param((128, 128), [S[50, 70]], [S[50, 72]], (2, 1), 2.0, id="A"),
        pytest.param((6, 6), [S[1:3, 1:3]], [S[1:4, 1:3]], (2, 1), 2.0, id="B"),
        pytest.param((128, 128, 128), [S[50, 60, 70]], [S[50, 60, 72]], (3, 2, 1), 2.0, id="C"),
        pytest.param((14, 14), [S[5:9, 5:9]], [S[6:8, 6:8]], (1, 1), 2**0.5, id="H"),
        pytest.param((14, 14), [S[1, 1], S[9:12, 9:12]], [S[9:12, 9:12]], (1, 1), 6.788225, id="J"),
    ],
)
def test_hausdorff95_of_the_reference_cases(shape, reference, prediction, spacing, expected):
    masks = boxes(shape, reference, prediction)
    assert hausdorff95(*masks, spacing) == pytest.approx(expected, rel=1e-5)
    assert hausdorff95(*masks[::-1], spacing) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("prediction", "mean", "of_means"), [(S[6:8, 6:8], 1.10, 1.07), (S[4:10, 4:10], 1.05, 1.04)]
)
def test_surface_distances_of_cases_h_and_i(prediction, mean, of_means):
    there, back = surface_distances(*boxes((14, 14), [S[5:9, 5:9]], [prediction]), (1, 1))
    assert np.concatenate([there, back]).mean() == pytest.approx(mean, abs=0.005)
    assert (there.mean() + back.mean()) / 2 == pytest.approx(of_means, abs=0.005)


@pytest.mark.parametrize(
    ("first", "second", "directed", "largest", "hd95"),
    [
        pytest.param((40, (20, 33, 22)), (20, (20, 33, 22)), 20.223748, 20.223748, 20.099751, id="M"),
        pytest.param((20, (20, 20, 20)), (20, (19, 19, 19)), 1.7320508, 1.7320508, 1.7320508, id="N"),
    ],
)
def test_spheres(first, second, directed, largest, hd95):
    masks = sphere(*first), sphere(*second)
    there, back = surface_distances(*masks, (1, 1, 1))
    assert max(there) == pytest.approx(directed, rel=1e-6)
    assert max(*there, *back) == pytest.approx(largest, rel=1e-6)
    assert hausdorff95(*masks, (1, 1, 1)) == pytest.approx(hd95, rel=1e-6)


@pytest.mark.parametrize(
    ("first", "second", "directed", "symmetric"),
    [
        ((15, (20, 33, 22)), (30, (20, 33, 22)), 15.439641, 15.62594),
        ((20, (20, 20, 20)), (20, (19, 19, 19)), 2.0808651, 2.2671568),
    ],
)
def test_anisotropic_spheres(first, second, directed, symmetric):
    spacing = (0.85, 1.2, 0.9)
    there, back = surface_distances(sphere(*first, spacing), sphere(*second, spacing), spacing)
    assert max(there) == pytest.approx(directed, rel=1e-6)
    assert max(*there, *back) == pytest.approx(symmetric, rel=1e-6)


def test_anisotropic_mean_surface_distance():
    spacing = (0.85, 1.2, 0.9)
    there, _ = surface_distances(sphere(33, (42, 45, 52), spacing), sphere(33, (43, 45, 52), spacing), spacing)
    assert there.mean() == pytest.approx(0.4951, abs=5e-5)


def test_mean_surface_distance_of_case_m():
    there, back = surface_distances(sphere(40, (20, 33, 22)), sphere(20, (20, 33, 22)), (1, 1, 1))
    assert np.concatenate([there, back]).mean() == pytest.approx(15.117741, rel=1e-6)
    assert min(there.mean(), back.mean()) == pytest.approx(12.040034, rel=1e-6)


@pytest.mark.parametrize("shape", [(24, 31), (9, 20, 17)])
@pytest.mark.parametrize("seed", range(4))
def test_hausdorff95_agrees_with_monai(shape, seed):
    torch = pytest.importorskip("torch")
    monai = pytest.importorskip("monai.metrics")
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    masks = [gaussian_filter(rng.normal(size=shape), 1.5) > 0.1 for _ in range(2)]  # blobs, some at the image edge
    spacing = (2.5, 0.7, 1.1)[-len(shape) :]
    hot = [torch.from_numpy(np.stack([~mask, mask])[None].astype(np.float32)) for mask in masks[::-1]]
    expected = monai.compute_hausdorff_distance(*hot, percentile=95, spacing=list(spacing)).item()
    assert expected > 0
    assert hausdorff95(*masks, spacing) == pytest.approx(expected, rel=1e-6)


def test_boundary_iou_of_case_l():
    masks = boxes((22, 22), [S[2:21, 2:21]], [S[3:21, 2:21]])
    assert boundary_iou(*masks, (1, 1), 1) == pytest.approx(0.5955, abs=5e-5)
    outer = (19 * 19 - 15 * 15, 18 * 19 - 14 * 15)  # bands two pixels wide, counted by hand
    shared = 18 * 4 + 15 * 1 + 15 * 2  # both sides; the one row the upper bands share; the lower bands
    assert boundary_iou(*masks, (1, 1), 2) == pytest.approx(shared / (sum(outer) - shared))


def eroded_band(mask, steps):
    """The official code: zero-pad by 1, erode with 3×3 ones, subtract."""
    from scipy.ndimage import binary_erosion

    return mask & ~binary_erosion(np.pad(mask, 1), np.ones((3, 3)), iterations=steps)[1:-1, 1:-1]


@pytest.mark.parametrize("steps", [1, 3])
def test_boundary_iou_of_rectangles_agrees_with_the_official_code(steps):
    # On convex rectangles Euclidean and chessboard distance to the outside are the same.
    masks = boxes((40, 50), [S[0:30, 5:40]], [S[2:33, 8:50]])
    bands = [eroded_band(mask, steps) for mask in masks]
    expected = (bands[0] & bands[1]).sum() / (bands[0] | bands[1]).sum()
    assert 0 < expected < 1
    assert boundary_iou(*masks, (1, 1), steps) == pytest.approx(expected)
    assert boundary_iou(*masks, (1.5, 1.5), steps * 1.5) == pytest.approx(expected)


def test_boundary_band_is_physical_along_every_axis():
    mask = np.ones((10, 10, 10), bool)
    smaller = mask.copy()
    smaller[0] = False  # one slice of 5 mm is missing
    plane = boundary_iou(mask, smaller, (5, 1, 1), 1)  # bands lie on the side walls only: 36 pixels in each slice
    assert plane == pytest.approx(9 * 36 / (10 * 36))
    capped = boundary_iou(mask, smaller, (5, 1, 1), 5)  # now five pixels of 10 from each wall: everything
    assert capped == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("spacing", "width"), [((1, 1, 1), 2), ((1.5, 1, 2), 3), ((5, 0.7, 0.7), 2.1), ((1, 1), 6)]
)
def test_band_is_the_thresholded_distance_transform(spacing, width):
    from scipy.ndimage import distance_transform_edt, gaussian_filter

    rng = np.random.default_rng(3)
    masks = [gaussian_filter(rng.normal(size=(30, 22, 25)[: len(spacing)]), 3) > 0 for _ in range(2)]
    bands = []
    for mask in masks:
        inside = (slice(1, -1),) * mask.ndim
        distance = distance_transform_edt(np.pad(mask, 1), sampling=spacing)[inside]
        bands.append(mask & (distance <= width * (1 + 1e-6)))
    expected = (bands[0] & bands[1]).sum() / (bands[0] | bands[1]).sum()
    assert boundary_iou(*masks, spacing, width) == pytest.approx(expected, rel=1e-12)


def test_band_is_never_thinner_than_a_pixel():
    assert band_width((5.0, 0.7, 0.8), 0.1) == 0.8
    assert band_width((5.0, 0.7, 0.8), 2) == 2
    masks = boxes((8, 8), [S[2:6, 2:6]], [S[2:6, 2:6]])
    assert boundary_iou(*masks, (1, 1), 0.01) == 1


def test_one_slice_is_measured_as_a_picture():
    masks = boxes((22, 22), [S[2:21, 2:21]], [S[3:21, 2:21]])
    flat, thick = boundary_iou(*masks, (1, 1), 1), boundary_iou(*masks[:, None], (0.1, 1, 1), 1)
    assert flat == thick
    assert hausdorff95(*masks[:, None], (100, 1, 1)) == hausdorff95(*masks, (1, 1)) == 1


def test_empty_masks():
    empty, full = np.zeros((3, 4), bool), np.ones((3, 4), bool)
    assert status(empty, empty) == "both_empty"
    assert status(full, empty) == "pred_empty"
    assert status(empty, full) == "ref_empty"
    assert status(full, full) == "ok"
    for score in (boundary_iou, nsd, boundary_f):
        assert score(empty, empty, (1, 1), 1) == 1
        assert np.isnan(score(empty, empty, (1, 1), 1, empty=float("nan")))
    assert boundary_iou(full, empty, (1, 1), 1) == boundary_iou(empty, full, (1, 1), 1) == 0
    assert np.isnan([hausdorff95(empty, empty, (2, 1)), assd(empty, empty, (2, 1)), masd(empty, empty, (2, 1))]).all()
    diagonal = (6**2 + 4**2) ** 0.5
    assert hausdorff95(full, empty, (2, 1)) == hausdorff95(empty, full, (2, 1)) == pytest.approx(diagonal)
    assert hausdorff95(full[None], empty[None], (9, 2, 1)) == pytest.approx(diagonal)
    assert hausdorff95(full, full, (1, 1)) == 0
    assert np.isinf(surface_distances(full, empty, (1, 1))[0]).all()


def test_invalid_pixels_leave_both_masks():
    reference, prediction = boxes((10, 10), [S[2:5, 2:5]], [S[2:5, 2:5], S[7:9, 7:9]])
    valid = np.ones((10, 10), bool)
    assert hausdorff95(reference, prediction, (1, 1)) > 5
    valid[7:, 7:] = False
    assert hausdorff95(reference, prediction, (1, 1), valid) == 0
    assert boundary_iou(reference, prediction, (1, 1), 1, valid) == 1
    assert np.isnan(boundary_iou(reference, prediction, (1, 1), 1, np.zeros_like(valid)))


def test_errors_name_value_rule_and_cure():
    mask = np.ones((4, 4), bool)
    with pytest.raises(SegcganError, match=r"spacing \(1, 1, 1\) does not fit a mask of 2 axes; give one"):
        hausdorff95(mask, mask, (1, 1, 1))
    with pytest.raises(SegcganError, match=r"spacing \(0, 1\)"):
        hausdorff95(mask, mask, (0, 1))
    with pytest.raises(SegcganError, match=r"boundary band is -2 wide, but it must be positive"):
        boundary_iou(mask, mask, (1, 1), -2)
    with pytest.raises(SegcganError, match=r"prediction has shape \(2, 4\)"):
        boundary_iou(mask, mask[:2], (1, 1), 2)


def test_a_real_automatic_mask(shared_data):
    from PIL import Image

    folders = [shared_data / "ct_liver" / "chaos_set3" / name for name in ("reference_png", "automatic_png")]
    part = slice(20, 50)
    stacks = [np.stack([np.asarray(Image.open(path)) > 0 for path in sorted(folder.iterdir())[part]])
              for folder in folders]
    spacing = (2.0, 0.7, 0.7)
    assert dice(confusion(*(stack.astype(np.uint8) for stack in stacks), 2))[1] == pytest.approx(0.978, abs=0.01)
    assert 0.5 < boundary_iou(*stacks, spacing, 2.0) < 0.95
    assert 0.7 <= hausdorff95(*stacks, spacing) < 15
