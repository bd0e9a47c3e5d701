"""Frozen values come from the test suites of MetricsReloaded, MONAI, panoptica and DeepMind surface-distance.

Those libraries then score random masks beside ours. Where we differ on purpose, a test says so: empty masks, one
slice, and distances equal to the tolerance.
"""

import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from segcgan.errors import SegcganError
from segcgan.metrics.boundary import assd, boundary_f, conventions, hausdorff, hausdorff95, masd, nsd
from segcgan.metrics.pair import Convention, MaskPair

S = np.s_
VOXELS, SURFELS = Convention(), Convention("surfels")
POOLED = Convention("voxels", "pooled")


def boxes(shape, reference, prediction):
    masks = np.zeros((2, *shape), bool)
    for mask, parts in zip(masks, (reference, prediction), strict=True):
        for part in parts:
            mask[part] = True
    return tuple(masks)


def drawn(*pictures):
    return tuple(np.array([[cell == "#" for cell in row] for row in picture.split()]) for picture in pictures)


def spheres(*parts, spacing=(1, 1, 1)):
    found = []
    for radius, centre in parts:
        axes = [np.arange(99) * size - middle for size, middle in zip(spacing, centre, strict=True)]
        found.append(sum(axis**2 for axis in np.ix_(*axes)) <= radius**2)
    return tuple(found)


CASES = {
    "A": (boxes((128, 128), [S[50, 70]], [S[50, 72]]), (2, 1)),
    "B": (boxes((6, 6), [S[1:3, 1:3]], [S[1:4, 1:3]]), (2, 1)),
    "C": (boxes((128, 128, 128), [S[50, 60, 70]], [S[50, 60, 72]]), (3, 2, 1)),
    "D": (boxes((100, 100, 100), [S[0:50]], [S[0:51]]), (2, 1, 1)),
    "H": (boxes((14, 14), [S[5:9, 5:9]], [S[6:8, 6:8]]), (1, 1)),
    "I": (boxes((14, 14), [S[5:9, 5:9]], [S[4:10, 4:10]]), (1, 1)),
    "J": (boxes((14, 14), [S[1, 1], S[9:12, 9:12]], [S[9:12, 9:12]]), (1, 1)),
    "K": (boxes((11, 11), [S[3:8, 3:8]], [S[3:8, 3:8], S[5, 1:10], S[1:10, 5]]), (1, 1)),
    "M": (spheres((40, (20, 33, 22)), (20, (20, 33, 22))), (1, 1, 1)),
    "N": (spheres((20, (20, 20, 20)), (20, (19, 19, 19))), (1, 1, 1)),
    "O": (boxes((480, 640), [S[:, 60:]], [S[:, 50:]]), (1, 1)),
    "P": (drawn(".... .... ..## ..##", "###. ###. ###. #..."), (1, 1)),
    "Q": (drawn("..#. ###. #### .##.", ".... .##. .##. ...."), (1, 1)),
    "R": (boxes((10, 10), [S[:, :5]], [S[:, :6]]), (1, 1)),
    "S": (drawn("..... .#... ..##. .###. .....", "##... .##.. .###. .##.. ....."), (1, 1)),
}

EXPECTED = [  # case, convention, score and its argument, value
    ("A", SURFELS, "hausdorff", 100, 2.0), ("A", SURFELS, "hausdorff", 95, 2.0), ("A", SURFELS, "nsd", 1, 0.5),
    ("A", VOXELS, "hausdorff", 95, 2.0), ("A", VOXELS, "nsd", 1, 0.0), ("A", VOXELS, "assd", None, 2.0),
    ("A", SURFELS, "assd", None, 1.5), ("A", SURFELS, "masd", None, 1.5),
    ("B", SURFELS, "nsd", 1, 0.870268), ("B", VOXELS, "nsd", 1, 0.8), ("B", VOXELS, "assd", None, 0.4),
    ("B", VOXELS, "masd", None, 1 / 3), ("B", SURFELS, "masd", None, (0.095492 + 0.447214) / 2),
    ("C", SURFELS, "masd", None, 1.5), ("C", SURFELS, "hausdorff", 95, 2.0), ("C", SURFELS, "nsd", 1, 0.5),
    ("C", VOXELS, "nsd", 1, 0.0), ("C", VOXELS, "hausdorff", 95, 2.0),
    ("D", SURFELS, "nsd", 1, 0.836145), ("D", VOXELS, "nsd", 1, 0.754935), ("D", VOXELS, "assd", None, 0.495077),
    ("D", SURFELS, "hausdorff", 95, 2.0), ("D", SURFELS, "masd", None, (0.322447 + 0.339396) / 2),
    ("H", SURFELS, "nsd", 1, 0.869398), ("H", VOXELS, "nsd", 1, 0.75), ("H", VOXELS, "assd", None, 1.103553),
    ("H", VOXELS, "masd", None, 1.069036), ("H", POOLED, "hausdorff", 95, 1.414214),
    ("I", SURFELS, "nsd", 1, 0.924889), ("I", VOXELS, "nsd", 1, 0.875), ("I", VOXELS, "assd", None, 1.051777),
    ("I", VOXELS, "masd", None, 1.041421),
    ("J", VOXELS, "hausdorff", 100, 11.313708), ("J", VOXELS, "hausdorff", 95, 6.788225),
    ("J", POOLED, "hausdorff", 95, 2.262742), ("J", SURFELS, "hausdorff", 95, 11.313708),
    ("J", SURFELS, "nsd", 1, 0.884485), ("J", VOXELS, "nsd", 1, 0.941176),
    ("K", VOXELS, "nsd", 1, 0.888889), ("K", VOXELS, "nsd", 2, 1.0), ("K", VOXELS, "assd", None, 0.444444),
    ("K", VOXELS, "masd", None, 0.425), ("K", SURFELS, "nsd", 1, 0.884485), ("K", SURFELS, "nsd", 2, 1.0),
    ("M", VOXELS, "hausdorff", 100, 20.223748), ("M", VOXELS, "hausdorff", 95, 20.099751),
    ("M", VOXELS, "assd", None, 15.117741), ("M", POOLED, "hausdorff", 95, 20.049938),
    ("M", SURFELS, "hausdorff", 100, 20.223748), ("M", SURFELS, "hausdorff", 95, 19.949937),
    ("N", VOXELS, "hausdorff", 95, 1.732051), ("N", SURFELS, "hausdorff", 95, 1.414214),
    ("N", VOXELS, "nsd", 1, 0.754844), ("N", SURFELS, "nsd", 1, 0.868296),
    ("O", VOXELS, "nsd", 0, 1 - (478 + 480 + 18) / (480 * 4 + 588 * 2 + 578 * 2)), ("O", VOXELS, "nsd", 10, 1.0),
    ("O", SURFELS, "nsd", 0, 0.770434),
    ("P", VOXELS, "hausdorff", 100, 2.828427), ("P", VOXELS, "hausdorff", 95, 2.591483),
    ("P", POOLED, "hausdorff", 95, 2.473012), ("P", SURFELS, "hausdorff", 95, 2.828427),
    ("Q", VOXELS, "nsd", 0.5, 1 / 3), ("Q", SURFELS, "nsd", 0.5, 0.5), ("Q", VOXELS, "assd", None, 2 / 3),
    ("Q", VOXELS, "masd", None, 0.625),
    ("R", VOXELS, "nsd", 0, 0.666667), ("R", SURFELS, "nsd", 0, 0.674569),
    ("S", VOXELS, "hausdorff", 100, 1.414214), ("S", VOXELS, "hausdorff", 95, 1.269239),
    ("S", POOLED, "hausdorff", 95, 1.144975),
]  # fmt: skip


@pytest.mark.parametrize(
    ("case", "convention", "score", "argument", "value"),
    EXPECTED,
    ids=[f"{case}-{convention}-{score}-{argument}" for case, convention, score, argument, _ in EXPECTED],
)
def test_the_reference_cases(case, convention, score, argument, value):
    masks, spacing = CASES[case]
    for one, other in (masks, masks[::-1]):
        measure = getattr(MaskPair(one, other, spacing, convention), score)
        found = measure() if argument is None else measure(argument)
        assert found == pytest.approx(value, rel=2e-6, abs=1e-12)


def test_surfels_of_case_a_by_hand():
    masks, spacing = CASES["A"]
    pair = MaskPair(*masks, spacing, SURFELS)
    for lengths, sizes in zip(pair.distances, pair.areas, strict=True):
        assert sorted(lengths) == [1, 1, 2, 2]
        np.testing.assert_allclose(sizes, 0.5 * 5**0.5)


def test_anisotropic_spheres():
    spacing = (0.85, 1.2, 0.9)
    pair = MaskPair(*spheres((15, (20, 33, 22)), (30, (20, 33, 22)), spacing=spacing), spacing)
    assert pair.distances[0].max() == pytest.approx(15.439641, rel=1e-6)
    assert pair.hausdorff() == pytest.approx(15.62594, rel=1e-6)
    pair = MaskPair(*spheres((33, (42, 45, 52)), (33, (43, 45, 52)), spacing=spacing), spacing)
    assert pair.distances[0].mean() == pytest.approx(0.4951, abs=5e-5)


def blobs(shape, seed, smooth=1.5):
    """Two random masks, some touching the edge of the image; every other pair is alike."""
    rng = np.random.default_rng(seed)
    first, second = (gaussian_filter(rng.normal(size=shape), smooth) for _ in range(2))
    if seed % 2:
        second = first + 0.3 * second
    return first > 0.3 * first.std(), second > 0.3 * second.std()


SPACINGS = [(1.0, 1.0), (2.5, 0.7), (1.0, 1.0, 1.0), (2.5, 0.7, 1.1), (0.5, 3.0, 1.0)]
each_shape = pytest.mark.parametrize("spacing", SPACINGS, ids=str)
each_seed = pytest.mark.parametrize("seed", range(4))


def shape_of(spacing):
    return (37, 52) if len(spacing) == 2 else (11, 34, 29)


@each_shape
@each_seed
def test_random_masks_against_monai(spacing, seed):
    torch, monai = pytest.importorskip("torch"), pytest.importorskip("monai.metrics")
    masks = blobs(shape_of(spacing), seed)
    prediction, reference = (torch.from_numpy(mask[None, None].astype(np.float32)) for mask in masks[::-1])
    options = {"include_background": True, "spacing": list(spacing)}
    pair, surfel = MaskPair(*masks, spacing), MaskPair(*masks, spacing, SURFELS)
    for percentile in (50, 95, 100):
        expected = monai.compute_hausdorff_distance(prediction, reference, percentile=percentile, **options).item()
        assert pair.hausdorff(percentile) == pytest.approx(expected, rel=1e-5)  # it interpolates in 32 bits
    expected = monai.compute_average_surface_distance(prediction, reference, symmetric=True, **options).item()
    assert pair.assd() == pytest.approx(expected, rel=1e-5)
    for tolerance in (0, 1.3, 3.9):
        expected = monai.compute_surface_dice(prediction, reference, [tolerance], **options).item()
        assert pair.nsd(tolerance) == pytest.approx(expected, rel=1e-6, abs=1e-7)
        expected = monai.compute_surface_dice(prediction, reference, [tolerance], use_subvoxels=True, **options).item()
        assert surfel.nsd(tolerance) == pytest.approx(expected, rel=1e-5, abs=1e-6)


@each_shape
@each_seed
def test_random_masks_against_surface_distance(spacing, seed):
    oracle = pytest.importorskip("surface_distance")
    masks = blobs(shape_of(spacing), seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses names SciPy will drop
        found = oracle.compute_surface_distances(*masks, spacing)
    pair = MaskPair(*masks, spacing, SURFELS)
    for ours, areas, way in zip(pair.distances, pair.areas, ("gt_to_pred", "pred_to_gt"), strict=True):
        np.testing.assert_allclose(np.sort(ours), found[f"distances_{way}"], rtol=1e-12)
        assert areas.sum() == pytest.approx(found[f"surfel_areas_{way.split('_')[0]}"].sum())
    for percentile in (50, 95, 100):
        expected = oracle.compute_robust_hausdorff(found, percentile)
        assert pair.hausdorff(percentile) == pytest.approx(expected, rel=1e-12)
    means = oracle.compute_average_surface_distance(found)
    assert pair.masd() == pytest.approx(np.mean(means))
    for tolerance in (0, 1.3, 3.9):
        expected = oracle.compute_surface_dice_at_tolerance(found, tolerance)
        assert pair.nsd(tolerance) == pytest.approx(expected)
        recall, precision = oracle.compute_surface_overlap_at_tolerance(found, tolerance)
        f_score = 2 * recall * precision / (recall + precision) if recall + precision else 0
        assert pair.boundary_f(tolerance) == pytest.approx(f_score)


@dataclass
class Wide:
    """Many surface voxels, so that both ways of finding the nearest one are used."""

    near: tuple
    far: tuple


@pytest.fixture(scope="module")
def wide():
    rng = np.random.default_rng(0)
    field = gaussian_filter(rng.normal(size=(40, 90, 90)), 6)
    other = gaussian_filter(rng.normal(size=field.shape), 3)
    mask = field > 0
    ghost = mask.copy()
    ghost[:, :25] = False  # leaves parts of the surface far from anything
    return Wide((mask, field + 0.2 * other / other.std() * field.std() > 0), (mask, ghost))


@pytest.mark.parametrize("convention", [VOXELS, SURFELS], ids=str)
@pytest.mark.parametrize("name", ["near", "far"])
def test_large_surfaces_against_a_distance_transform(wide, name, convention):
    from scipy.ndimage import distance_transform_edt

    spacing = (2.5, 0.8, 0.8)
    pair = MaskPair(*getattr(wide, name), spacing, convention)
    (first, _), (second, _) = pair._elements
    assert min(first.sum(), second.sum()) > 5000
    for here, there, found in ((first, second, pair.distances[0]), (second, first, pair.distances[1])):
        expected = distance_transform_edt(~there, sampling=spacing)[here]
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert (name == "far") == (pair.hausdorff() > 10)


def test_boundary_f_by_hand():
    reference, prediction = boxes((10, 12), [S[2:6, 2:6]], [S[2:6, 2:6], S[8, 0:4]])
    pair = MaskPair(reference, prediction, (1, 1))
    assert pair.boundary_f(1) == pytest.approx(2 * (12 / 16) / (1 + 12 / 16))  # 12 right, 4 invented
    assert pair.nsd(1) == pytest.approx(24 / 28)
    assert MaskPair(*boxes((9, 9), [S[1, 1]], [S[7, 7]]), (1, 1)).boundary_f(1) == 0


def test_a_distance_equal_to_the_tolerance_counts_however_it_is_rounded():
    masks = boxes((3, 60), [S[1, 3]], [S[1, 6]])
    assert 3 * 0.7 < 2.1 < 30 * 0.7 - 27 * 0.7
    for start in (0, 10, 27, 50):
        shifted = tuple(np.roll(mask, start, axis=1) for mask in masks)
        assert nsd(*shifted, (1, 0.7), 2.1) == 1
    assert nsd(*masks, (1, 0.7), 2.09) == 0


@pytest.mark.parametrize("convention", [VOXELS, SURFELS, POOLED], ids=str)
@pytest.mark.parametrize("lead", [(), (1,)], ids=["2-D", "one slice"])
def test_empty_masks(convention, lead):
    empty, full = np.zeros((*lead, 3, 4), bool), np.ones((*lead, 3, 4), bool)
    spacing = (*(9 for _ in lead), 2, 1)
    nothing = MaskPair(empty, empty, spacing, convention)
    assert nothing.status == "both_empty"
    assert np.isnan([nothing.hausdorff(95), nothing.hausdorff(), nothing.assd(), nothing.masd()]).all()
    assert nothing.nsd(1) == nothing.boundary_f(1) == nothing.boundary_iou(1) == 1
    left_out = MaskPair(empty, empty, spacing, replace(convention, empty=float("nan")))
    assert np.isnan([left_out.nsd(1), left_out.boundary_f(1), left_out.boundary_iou(1)]).all()
    unknown = MaskPair(full, full, spacing, convention, valid=empty)  # nothing is known: no success
    assert np.isnan([unknown.nsd(1), unknown.boundary_f(1), unknown.boundary_iou(1)]).all()
    for pair, word in (
        (MaskPair(full, empty, spacing, convention), "pred_empty"),
        (MaskPair(empty, full, spacing, convention), "ref_empty"),
    ):
        assert pair.status == word
        assert pair.hausdorff(95) == pair.assd() == pair.masd() == pytest.approx((6**2 + 4**2) ** 0.5)
        assert pair.nsd(1) == pair.boundary_f(1) == pair.boundary_iou(1) == 0


@pytest.mark.parametrize("convention", [VOXELS, SURFELS, POOLED], ids=str)
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (1, 1, 1), (2, 1, 1), (3, 4, 5)], ids=str)
def test_a_mask_that_fills_the_image_has_a_surface(shape, convention):
    full = np.ones(shape, bool)
    pair = MaskPair(full, full, (1,) * len(shape), convention)
    assert (pair.status, pair.hausdorff(), pair.assd(), pair.masd()) == ("ok", 0, 0, 0)
    assert pair.nsd(0) == pair.boundary_f(0) == pair.boundary_iou(1) == 1
    assert pair.areas[0].sum() > 0


@pytest.mark.parametrize("surface", ["voxels", "surfels"])
def test_one_slice_is_measured_as_a_picture(surface):
    masks, spacing = CASES["K"]
    flat = MaskPair(*masks, spacing, Convention(surface))
    thick = MaskPair(masks[0][None], masks[1][None], (7, *spacing), Convention(surface))
    for score in (lambda pair: pair.hausdorff(95), lambda pair: pair.assd(), lambda pair: pair.nsd(1)):
        assert score(flat) == score(thick)


def test_invalid_pixels_leave_both_masks():
    reference, prediction = boxes((10, 10), [S[2:5, 2:5]], [S[2:5, 2:5], S[7:9, 7:9]])
    valid = np.ones((10, 10), bool)
    valid[7:, 7:] = False
    assert MaskPair(reference, prediction, (1, 1)).nsd(1) < 1
    assert MaskPair(reference, prediction, (1, 1), valid=valid).nsd(0) == 1
    assert MaskPair(reference, prediction, (1, 1), valid=np.zeros_like(valid)).status == "both_empty"


def test_functions_take_the_convention_as_an_argument():
    masks, spacing = CASES["J"]
    assert hausdorff(*masks, spacing) == pytest.approx(11.313708)
    assert hausdorff95(*masks, spacing) == pytest.approx(6.788225)
    assert hausdorff95(*masks, spacing, combine="pooled") == pytest.approx(2.262742, rel=1e-6)
    assert hausdorff95(*masks, spacing, surface="surfels") == pytest.approx(11.313708)
    assert nsd(*masks, spacing, 1) == pytest.approx(0.941176, rel=1e-6)
    assert nsd(*masks, spacing, 1, surface="surfels") == pytest.approx(0.884485, rel=1e-6)
    masks, spacing = CASES["B"]
    assert (assd(*masks, spacing), masd(*masks, spacing)) == (pytest.approx(0.4), pytest.approx(1 / 3))
    assert masd(*masks, spacing, surface="surfels") == pytest.approx((0.095492 + 0.447214) / 2, rel=1e-5)
    assert assd(*masks, spacing, valid=np.arange(6)[:, None] < np.array([3] * 6)) == 0
    assert boundary_f(*masks, spacing, 1) == pytest.approx(0.8)


def test_every_score_says_its_convention():
    words = conventions()
    assert set(words) == {"HD95", "ASSD", "NSD", "Boundary F", "Boundary IoU", "Rightly empty masks"}
    assert words["Rightly empty masks"].startswith("score 1 in Dice, IoU, Boundary IoU, NSD, boundary F and clDice")
    left_out = conventions(Convention(empty=float("nan")))["Rightly empty masks"]
    assert left_out.startswith("are left out of Dice, IoU")
    assert words["HD95"].startswith("larger of the two directed 95th percentiles (linear interpolation)")
    assert "pooled (MedPy, panoptica), of boundary voxels" in conventions(POOLED)["HD95"]
    assert "step over area" in conventions(SURFELS)["HD95"]
    assert all("weighted by area" in conventions(SURFELS)[name] for name in ("HD95", "ASSD", "NSD", "Boundary F"))
    assert str(POOLED) == "voxels, pooled, rightly empty 1"
    for each in (VOXELS, SURFELS, POOLED, Convention(empty=0.5)):
        assert Convention.parse(str(each)) == each
    assert str(Convention.parse(str(Convention(empty=float("nan"))))) == "voxels, max, rightly empty nan"
    assert Convention.parse("voxels, pooled") == POOLED  # as older versions wrote it


def test_errors_name_value_rule_and_cure():
    with pytest.raises(SegcganError, match=r"a rightly empty mask cannot score 2; give 0 to 1, or nan to leave it out"):
        Convention(empty=2)
    mask = np.ones((4, 4), bool)
    with pytest.raises(SegcganError, match=r"'surfel' is no convention of surface; choose from voxels, surfels"):
        Convention("surfel")
    with pytest.raises(SegcganError, match=r"'mean' is no convention of combine; choose from max, pooled"):
        hausdorff95(mask, mask, (1, 1), combine="mean")
    with pytest.raises(SegcganError, match=r"percentile 0 of the distances is not over 0 and up to 100; take 95"):
        hausdorff(mask, mask, (1, 1), 0)
    with pytest.raises(SegcganError, match=r"the tolerance is -1, but it must not be negative; give it in mm, m or px"):
        nsd(mask, mask, (1, 1), -1)
    with pytest.raises(SegcganError, match=r"the tolerance is nan, but"):
        boundary_f(mask, mask, (1, 1), float("nan"))
    with pytest.raises(SegcganError, match=r"spacing \(nan, 1\) does not fit a mask of 2 axes; give one positive"):
        assd(mask, mask, (float("nan"), 1))
    with pytest.raises(SegcganError, match=r"a mask of 4 axes; give \(H, W\) or \(D, H, W\)"):
        masd(mask[None, None], mask[None, None], (1, 1, 1, 1))
