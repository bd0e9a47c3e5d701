"""Where slices lie: even spacing judged against a straight line, and every voxel at its place in any orientation."""

import itertools

import nibabel
import numpy as np
import pytest

from segcgan.classes import ClassSpec
from segcgan.errors import SegcganError
from segcgan.formats import open_case, open_labels, write_mask
from segcgan.formats.dicom_stack import evenly_spaced
from tests.formats.conftest import write_images

CLASSES = [ClassSpec("background"), ClassSpec("liver")]


def stack(folder, heights, cosines=(1, 0, 0, 0, 1, 0), start=(-20.0, 7.0, 0.0), digits=6):
    """Slices at ``heights`` along the normal, positions rounded to ``digits``."""
    normal = np.cross(cosines[:3], cosines[3:])
    positions = [[round(float(p), digits) for p in np.array(start) + normal * height] for height in heights]
    images = [{"ImagePositionPatient": position} for position in positions]
    return write_images(folder, images, ImageOrientationPatient=[round(float(c), 9) for c in cosines])


def turned(angle):
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return (c, s, 0, 0, 0, -1)


def positions(heights, cosines, digits):
    normal = np.cross(cosines[:3], cosines[3:])
    return np.round(np.array([-20.0, 7.0, 0.0]) + np.outer(heights, normal), digits), normal


@pytest.mark.parametrize("step", [0.3125, 0.35, 0.46875, 0.625, 0.7, 1.25, 3.27])
def test_rounding_to_a_tenth_of_a_millimetre_is_no_unevenness(step):
    angles = (0, 20, 45) if step > 0.4 else (0,)  # rounded twice, thinner slices may as well be missing ones
    for begin, angle, count in itertools.product((0.0, -437.3, 12.34), angles, (2, 3, 5, 40)):
        assert evenly_spaced(*positions(begin + step * np.arange(count), turned(angle), 1)), (begin, angle, count)


@pytest.mark.parametrize(
    ("step", "digits"),
    [(0.09, 2), (0.09, 6), (0.3125, 1), (0.3125, 2), (0.625, 1), (0.625, 6), (1.0, 1), (1.0, 6), (5.0, 1), (5.0, 6)],
)
def test_a_missing_slice_is_found_at_any_spacing(step, digits):
    for count in (3, 4, 5, 10, 41):
        for gone in range(1, count):
            heights = step * np.delete(np.arange(count + 1), gone)
            assert not evenly_spaced(*positions(heights, (1, 0, 0, 0, 1, 0), digits)), (count, gone)


def test_rounded_positions_give_the_true_place(tmp_path):
    cosines = turned(20)
    case = open_case(stack(tmp_path / "ct", -437.3 + 0.625 * np.arange(40), cosines, digits=1), "acquired")
    assert case.shape == (40, 4, 5)
    assert case.geometry.spacing[0] == pytest.approx(0.625, abs=0.002)
    true = np.array([-20.0, 7.0, 0.0]) - 437.3 * np.cross(cosines[:3], cosines[3:])
    np.testing.assert_allclose(case.geometry.affine[:3, 3], true, atol=0.03)


@pytest.mark.parametrize("slices", [2, 3, 4])
def test_few_rounded_slices_are_not_tilted(tmp_path, slices):
    case = open_case(stack(tmp_path / "ct", 0.625 * np.arange(slices), turned(17), digits=1), "acquired")
    directions = case.geometry.affine[:3, :3] / case.geometry.spacing
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=0.02)


def test_a_missing_slice_is_named(tmp_path):
    with pytest.raises(SegcganError, match=r"between 001.dcm and 002.dcm is 0.18 mm where 0.09 mm is usual; add the"):
        open_case(stack(tmp_path / "ct", [0.0, 0.09, 0.27, 0.36, 0.45]))


@pytest.mark.parametrize(
    "heights",
    [
        [0, 3, 6, 9, 14, 17, 20],  # one gap wider
        [0, 2.7, 6, 8.7, 12, 14.7],  # in turn
        np.cumsum(np.linspace(3.0, 3.6, 20)),  # ever wider
        [*np.arange(0, 30, 3.0), *np.arange(30.2, 60, 3.2)],  # two protocols
        [0, 1.25, 2.5, 3.75, 5.1, 6.35],  # a tenth too far
        [0, 0.09, 0.18, 0.31, 0.40, 0.49],
        [0, 5, 10, 15, 20.3, 25.3, 30.3],
    ],
)
def test_uneven_spacing_is_refused(tmp_path, heights):
    with pytest.raises(SegcganError, match=r"the gap between \d+.dcm and \d+.dcm is .* is usual; add the missing"):
        open_case(stack(tmp_path / "ct", heights))


def test_noise_in_the_last_digits_is_none_of_our_business(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.004, 0.004, 60)
    case = open_case(stack(tmp_path / "ct", 1.0 * np.arange(60) + noise))
    assert case.geometry.spacing[0] == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("angle", [0, 20])
def test_masks_on_rounded_positions_are_read_back(tmp_path, angle):
    """The frames of the SEG lie at rounded positions as well, which make no volume by themselves."""
    case = open_case(stack(tmp_path / "ct", -437.3 + 0.35 * np.arange(40), turned(angle), digits=1), "acquired")
    for number, slices in enumerate(([3], [3, 4], [0, 17, 39], list(range(40)))):
        mask = np.zeros(case.shape, np.uint8)
        mask[slices, 1:, 2:] = 1
        written = write_mask(tmp_path / "out", f"m{number}", case, lambda window: mask[window], CLASSES)  # noqa: B023
        assert [path.name for path in written] == [f"m{number}.nii.gz", f"m{number}.dcm"]
        for path in written:
            np.testing.assert_array_equal(open_labels(path, case)(case.whole), mask)


ANGLES = (0.0, 12.0, 33.0)
ORIENTATIONS = [
    (order, signs) for order in itertools.permutations(range(3)) for signs in itertools.product((1, -1), repeat=3)
]


@pytest.mark.parametrize("angle", ANGLES)
def test_48_orientations(tmp_path, angle):
    """Image, NIfTI mask and SEG of any axis order, any direction and three angles agree with the headers."""
    assert len(ORIENTATIONS) == 48
    tilt, turn = np.radians(angle), np.radians(angle / 2)
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    for number, (order, signs) in enumerate(ORIENTATIONS):
        steps, down, across = (np.eye(3)[list(order)] * np.array(signs)[:, None]) @ (about_z @ about_x).T
        check(tmp_path / str(number), steps, down, across)


def check(folder, steps, down, across):
    """Write slices along ``steps`` (with or against the normal), read them, and write and read a mask."""
    shape, start = (3, 4, 5), np.array([11.0, -5.0, 3.0])
    marks = np.arange(np.prod(shape)).reshape(shape)
    cosines = [round(float(c), 9) for c in (*across, *down)]
    places = [[round(float(p), 6) for p in start + 3.0 * z * steps] for z in range(shape[0])]
    images = [{"ImagePositionPatient": place, "pixels": marks[z]} for z, place in enumerate(places)]
    case = open_case(write_images(folder, images, ImageOrientationPatient=cosines))
    values = case.read(case.whole)[0][0].astype(int)
    z, y, x = (index.ravel()[:, None] for index in np.indices(shape))
    true = start + 3.0 * z * steps + 2.0 * y * down + 1.5 * x * across  # of mark 0, 1, 2 …
    np.testing.assert_allclose(world(case.geometry.affine, np.indices(case.shape)), true[values.ravel()], atol=1e-4)
    mask = (values % 3 == 0).astype(np.uint8)
    for path in write_mask(folder, "mask", case, lambda window: mask[window], CLASSES):
        np.testing.assert_array_equal(open_labels(path, case)(case.whole), mask)
    nifti = nibabel.load(folder / "mask.nii.gz")
    found = world(nifti.affine, np.array(np.nonzero(np.asarray(nifti.dataobj)))) * [-1, -1, 1]
    apart = np.linalg.norm(found[:, None] - true[values[mask > 0]], axis=-1)
    assert (apart.min(axis=0) < 1e-3).all()
    assert (apart.min(axis=1) < 1e-3).all()


def world(affine, indices):
    return (affine[:3, :3] @ indices.reshape(3, -1)).T + affine[:3, 3]
