"""NIfTI in and out: sform and qform, any axis order, damaged files, and masks that keep the header."""

import subprocess
import sys

import nibabel
import numpy as np
import pytest
from nibabel.openers import ImageOpener

from segcgan.classes import ClassSpec
from segcgan.errors import SegcganError
from segcgan.formats import open_case, open_labels, open_probability, write_mask, write_probability
from segcgan.formats.folders import discover

RAS = np.array([[-2.0, 0, 0, 30], [0, 0, 3, -40], [0, 1.5, 0, 5], [0, 0, 0, 1]])  # i → L, j → S, k → A
CLASSES = [ClassSpec("background"), ClassSpec("organ")]


def save(path, array, affine=RAS, **header):
    image = nibabel.Nifti1Image(array, affine)
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def numbered(shape=(4, 5, 6)):
    return np.arange(np.prod(shape)).reshape(shape).astype(np.int16)


@pytest.mark.parametrize("orientation", ["canonical", "acquired"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_every_voxel_lies_where_the_affine_says(tmp_path, orientation, suffix):
    array = numbered()
    case = open_case(save(tmp_path / f"v{suffix}", array), orientation)
    image, valid = case.read(case.whole)
    assert valid.all()
    assert case.group == "v"
    assert case.shape == ((5, 6, 4) if orientation == "canonical" else (6, 5, 4))
    for index in np.ndindex(case.shape):
        lps = (case.geometry.affine @ [*index, 1])[:3]
        ijk = np.rint((np.linalg.inv(RAS) @ [-lps[0], -lps[1], lps[2], 1])[:3]).astype(int)
        assert image[0][index] == array[tuple(ijk)]
    if orientation == "canonical":
        np.testing.assert_allclose(case.geometry.spacing, (1.5, 3, 2))
        direction = case.geometry.affine[:3, :3] / case.geometry.spacing
        np.testing.assert_allclose(direction, np.eye(3)[::-1], atol=1e-6)


def test_scaling_nan_and_channels(tmp_path):
    array = numbered((3, 4, 5, 2)).astype(np.float32)
    array[1, 2, 3, 1] = np.nan
    case = open_case(save(tmp_path / "c.nii.gz", array, np.eye(4)), "acquired")
    image, valid = case.read(case.whole)
    assert (case.channels, case.shape) == (2, (5, 4, 3))
    assert (~valid).sum() == 1
    assert not valid[0, 3, 2, 1]
    assert np.isfinite(image).all()
    assert image[0, 4, 3, 2] == array[2, 3, 4, 0]
    header = nibabel.Nifti1Header()
    header.set_slope_inter(0.5, -10)
    header.set_data_dtype(np.int16)
    nibabel.save(nibabel.Nifti1Image(numbered() * 0.5 - 10, np.eye(4), header), tmp_path / "s.nii")
    scaled = open_case(tmp_path / "s.nii", "acquired")
    np.testing.assert_allclose(scaled.read(scaled.whole)[0][0], numbered().T * 0.5 - 10, atol=1e-3)
    assert open_case(save(tmp_path / "t.nii", numbered((3, 4, 5, 1, 1)))).channels == 1
    metres = save(tmp_path / "m.nii", numbered(), np.diag([0.001, 0.001, 0.002, 1]), xyzt_units=1)
    np.testing.assert_allclose(open_case(metres).geometry.spacing, (2, 1, 1), rtol=1e-5)


def test_sform_wins_over_qform_and_qform_over_nothing(tmp_path):
    image = nibabel.Nifti1Image(numbered(), np.eye(4))
    image.set_qform(np.diag([5.0, 5, 5, 1]), code=1)
    image.set_sform(np.diag([2.0, 2, 2, 1]), code=2)
    nibabel.save(image, tmp_path / "both.nii")
    assert open_case(tmp_path / "both.nii").geometry.spacing == (2, 2, 2)
    image.set_sform(None, code=0)
    nibabel.save(image, tmp_path / "q.nii")
    assert open_case(tmp_path / "q.nii").geometry.spacing == (5, 5, 5)


@pytest.mark.parametrize(
    ("array", "srow_x", "text"),
    [
        (numbered(), 0, r"is singular or not finite; repair the header"),
        (numbered(), np.nan, r"is singular or not finite; repair the header"),
        (numbered((2, 3, 4, 2, 2)), 1, r"shape \(2, 3, 4, 2, 2\) of int16; a case is \(x, y, z\) or"),
        (numbered().astype(np.complex64), 1, r"complex64; a case is .* of reals; split it"),
    ],
)
def test_unusable_volumes_are_refused(tmp_path, array, srow_x, text):
    path = save(tmp_path / "v.nii", array)
    data = bytearray(path.read_bytes())
    data[280:296] = np.full(4, srow_x, "<f4").tobytes()  # nibabel itself would not write it
    path.write_bytes(bytes(data))
    with pytest.raises(SegcganError, match=text):
        open_case(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_damage_is_a_segcgan_error(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 9999, (20, 20, 20)).astype(np.int16)
    whole = save(tmp_path / f"v{suffix}", noise)
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[:4000])
    case = open_case(cut)
    with pytest.raises(SegcganError, match=rf"cut{suffix}: voxels cannot be read .*; copy or export it again"):
        case.read(case.whole)
    rng = np.random.default_rng(1)
    original = whole.read_bytes()
    for trial in range(60):
        broken = bytearray(original)
        for place in rng.integers(0, 400 if suffix == ".nii" else 4000, 3):
            broken[place] = rng.integers(0, 256)
        path = tmp_path / f"{trial}{suffix}"
        path.write_bytes(bytes(broken))
        try:
            case = open_case(path)
            case.read(tuple(slice(0, min(size, 8)) for size in case.shape))
        except SegcganError:
            pass


def test_labels_in_another_axis_order_are_turned(tmp_path):
    array = numbered()
    case = open_case(save(tmp_path / "image.nii.gz", array))
    turned = nibabel.as_closest_canonical(nibabel.Nifti1Image(array % 7, RAS))
    nibabel.save(turned, tmp_path / "labels.nii")
    labels = open_labels(tmp_path / "labels.nii", case)
    np.testing.assert_array_equal(labels(case.whole), case.read(case.whole)[0][0] % 7)
    acquired = open_case(tmp_path / "image.nii.gz", "acquired")
    window = (slice(1, 3), slice(0, 2), slice(2, 4))
    again = open_labels(tmp_path / "labels.nii", acquired)(window)
    np.testing.assert_array_equal(again, acquired.read(window)[0][0] % 7)


def test_labels_on_another_grid_are_refused(tmp_path):
    case = open_case(save(tmp_path / "image.nii", numbered()))
    shifted = RAS.copy()
    shifted[0, 3] += 0.5  # a quarter of a voxel
    text = r"mask's grid \(shape \(6, 5, 4\), LPS affine .*is not the image's \(shape .*\); resample it"
    with pytest.raises(SegcganError, match=text):
        open_labels(save(tmp_path / "a.nii", numbered(), shifted), case)
    with pytest.raises(SegcganError, match=text.replace("6, 5, 4", "6, 5, 3")):
        open_labels(save(tmp_path / "b.nii", numbered((3, 5, 6))), case)
    shifted[0, 3] = RAS[0, 3] + 0.01
    open_labels(save(tmp_path / "c.nii", numbered(), shifted), case)


def test_labels_must_be_integers_and_probabilities_in_range(tmp_path):
    case = open_case(save(tmp_path / "image.nii", numbered()))
    values = np.full((4, 5, 6), 2.0, np.float32)
    values[0, 0, 0] = np.nan
    labels = open_labels(save(tmp_path / "a.nii", values), case)(case.whole)
    assert sorted(np.unique(labels)) == [2, 255]
    with pytest.raises(SegcganError, match=r"the mask holds 0.3, labels are integers; give a label map"):
        open_labels(save(tmp_path / "b.nii", values * 0 + np.float32(0.3)), case)(case.whole)
    with pytest.raises(SegcganError, match=r"a mask has one value per voxel, this file has 2; give it as prob"):
        open_labels(save(tmp_path / "d.nii", numbered((4, 5, 6, 2))), case)
    with pytest.raises(SegcganError, match=r"values span 0 to 119, probabilities 0 to 1; give a softmax output"):
        open_probability(save(tmp_path / "e.nii", numbered()), case)(case.whole)


def test_mask_keeps_the_geometry_header_bit_for_bit(tmp_path):
    image = nibabel.Nifti1Image(numbered().astype(np.float32), RAS)
    image.set_qform(RAS, code=1)
    image.set_sform(RAS + np.diag([1e-3, 0, 0, 0]), code=4)
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, tmp_path / "image.nii.gz")
    case = open_case(tmp_path / "image.nii.gz")
    mask = np.random.default_rng(0).integers(0, 2, case.shape).astype(np.uint8)
    mask[0, 0, 0] = 255
    (path,) = write_mask(tmp_path / "out", "m", case, lambda window: mask[window], CLASSES)
    assert [item.name for item in (tmp_path / "out").iterdir()] == ["m.nii.gz"]
    before, after = nibabel.load(tmp_path / "image.nii.gz").header, nibabel.load(path).header
    for name in ("qform_code", "sform_code", "quatern_b", "qoffset_x", "srow_x", "srow_z", "xyzt_units", "dim"):
        np.testing.assert_array_equal(before[name], after[name])
    assert before["pixdim"][:4].tolist() == after["pixdim"][:4].tolist()
    assert after.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(open_labels(path, case)(case.whole), np.where(mask == 255, 0, mask))


def test_part_is_written_on_the_whole_grid(tmp_path):
    case = open_case(save(tmp_path / "image.nii", numbered()))
    part = case.part((slice(1, 3), slice(2, 6), slice(0, 2)), "part")
    (path,) = write_mask(tmp_path, "m", part, lambda window: np.ones(part.shape, np.uint8)[window], CLASSES)
    whole = open_labels(path, case)(case.whole)
    assert whole.sum() == np.prod(part.shape)
    assert whole[1:3, 2:6, 0:2].all()


@pytest.mark.parametrize("compress", [True, False])
def test_probability_round_trip(tmp_path, compress):
    case = open_case(save(tmp_path / "image.nii", numbered()))
    stored = np.random.default_rng(0).integers(0, 256, (3, *case.shape)).astype(np.uint8)
    (path,) = write_probability(tmp_path, "p", case, lambda w: stored[(slice(None), *w)], compress)
    assert path.name == ("p.nii.gz" if compress else "p.nii")
    image = nibabel.load(path)
    assert image.shape == (4, 5, 6, 3)
    assert image.get_data_dtype() == np.uint8
    expected = np.where(stored == 255, 0, stored) / 254
    np.testing.assert_allclose(open_probability(path, case)(case.whole), expected, atol=1e-6)
    assert image.get_fdata().max() == pytest.approx(1.0)


def test_a_file_written_anew_is_read_anew(tmp_path):
    path = save(tmp_path / "v.nii.gz", numbered())
    assert open_case(path).read((slice(0, 1),) * 3)[0].max() < 200
    save(path, numbered() + np.int16(500))
    assert open_case(path).read((slice(0, 1),) * 3)[0].min() >= 500


def test_real_small_ct(shared_data):
    folder = shared_data / "ct_liver" / "small_volume"
    case = open_case(folder / "example_ct_sm.nii.gz")
    assert case.shape == (30, 101, 122)
    np.testing.assert_allclose(case.geometry.spacing, 3, atol=1e-4)
    liver = open_labels(folder / "example_seg.nii.gz", case)(case.whole) == 5
    values = case.read(case.whole)[0][0][liver]
    assert liver.sum() == 38634
    assert 30 < values.mean() < 60
    assert values.std() < 20


def test_formats_do_not_import_torch():
    code = "import segcgan.formats.nifti, segcgan.formats.dicom_seg, highdicom, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_masks_of_nifti_2_may_be_longer_than_nifti_1_allows(tmp_path):
    nibabel.save(nibabel.Nifti2Image(np.zeros((40000, 2, 1), np.uint8), np.diag([1.0, 2, 3, 1])), tmp_path / "a.nii")
    case = open_case(tmp_path / "a.nii")
    truth = (np.arange(np.prod(case.shape)).reshape(case.shape) % 2).astype(np.uint8)
    (path,) = write_mask(tmp_path, "m", case, lambda window: truth[window], CLASSES)
    written = nibabel.load(path)
    assert (written.shape, written.header["sizeof_hdr"]) == ((40000, 2, 1), 540)
    np.testing.assert_array_equal(written.affine, np.diag([1.0, 2, 3, 1]))
    np.testing.assert_array_equal(open_labels(path, case)(case.whole), truth)


@pytest.mark.parametrize("affine", [RAS, np.diag([-2.0, 3.0, 1.0, 1.0]), np.eye(4)[[1, 0, 2, 3]]])
def test_a_flat_image_gets_a_flat_mask(tmp_path, affine):
    save(tmp_path / "flat.nii.gz", np.arange(20, dtype=np.int16).reshape(4, 5), affine)
    case = open_case(tmp_path / "flat.nii.gz")
    mask = (case.read(case.whole)[0][0] > 11).astype(np.uint8)
    (path,) = write_mask(tmp_path, "flat_mask", case, lambda window: mask[window], [ClassSpec("a"), ClassSpec("b")])
    image, written = nibabel.load(tmp_path / "flat.nii.gz"), nibabel.load(path)
    assert written.shape == image.shape == (4, 5)
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.asarray(image.dataobj) > 11)
    np.testing.assert_array_equal(written.affine, image.affine)
    np.testing.assert_array_equal(open_labels(path, case)(case.whole), mask)
    bytes_ = np.stack([254 - 100 * mask, 100 * mask])
    (path,) = write_probability(tmp_path, "p", case, lambda window: bytes_[(slice(None), *window)])
    assert nibabel.load(path).shape == (4, 5, 1, 2)


def test_a_single_slice_stays_one(tmp_path):
    save(tmp_path / "slice.nii.gz", np.zeros((4, 5, 1), np.int16))
    case = open_case(tmp_path / "slice.nii.gz")
    (path,) = write_mask(tmp_path, "m", case, lambda w: np.zeros(case.shape, np.uint8)[w], [ClassSpec("a")])
    assert nibabel.load(path).shape == (4, 5, 1)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize(("written", "named"), [("v.nii.gz", "v.nii"), ("v.nii", "v.nii.gz"), ("v.nii", "v.NII.GZ")])
def test_a_name_that_lies_about_compression(tmp_path, kind, written, named):
    image = kind(numbered(), RAS)
    image.header.set_slope_inter(0.5, -10)
    nibabel.save(image, tmp_path / written)
    expected = open_case(tmp_path / written)
    pixels = expected.read(expected.whole)[0]
    (tmp_path / written).rename(tmp_path / named)
    (source,) = discover(tmp_path)[0]
    case = open_case(source)
    assert case.name == "v"
    np.testing.assert_array_equal(case.read(case.whole)[0], pixels)
    np.testing.assert_array_equal(case.geometry.affine, expected.geometry.affine)
    labels = (pixels[0] > pixels.mean()).astype(np.uint8)
    (mask,) = write_mask(tmp_path / "out", "m", case, lambda window: labels[window], CLASSES)
    np.testing.assert_array_equal(open_labels(mask, case)(case.whole), labels)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("slope", "notes"), [(0, 1), (1, 0), (np.nan, 0), (2, 0)])
def test_a_slope_of_zero_is_no_scaling_and_said(tmp_path, suffix, slope, notes):
    path = tmp_path / f"v{suffix}"
    image = nibabel.Nifti1Image(numbered(), RAS)
    header = image.header.copy()
    with ImageOpener(path, "wb") as file:
        header["scl_slope"], header["scl_inter"] = slope, 5
        header["vox_offset"], header["magic"] = 352, b"n+1"
        header.write_to(file)
        file.write(b"\0" * (352 - file.tell()) + numbered().tobytes(order="F"))
    case = open_case(path, "acquired")
    said = "scl_slope is 0, so the values are taken as stored, as the NIfTI standard says"
    assert case.notes == [said] * notes
    expected = numbered().T * slope + 5 if slope in (1, 2) else numbered().T
    np.testing.assert_array_equal(case.read(case.whole)[0][0], expected)
