"""DICOM in and out: geometry from positions, honest refusals, and masks that land where the image is."""

import re
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from segcgan.classes import ClassSpec
from segcgan.colours import class_colours
from segcgan.errors import SegcganError
from segcgan.formats import dicom, open_case, open_labels, open_probability, write_mask, write_probability
from segcgan.formats.folders import discover

LIVER = ClassSpec("liver", [1], "#ff0000", "10200004|Liver")
CLASSES = [ClassSpec("background", [0]), LIVER, ClassSpec("thing", [2])]
AXIAL = (1, 0, 0, 0, 1, 0)


def oblique(angle=20.0):
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return (c, s, 0, 0, 0, -1)


ORIENTATIONS = {
    "axial": AXIAL,
    "sagittal": (0, 1, 0, 0, 0, -1),
    "coronal": (1, 0, 0, 0, 0, -1),
    "negated": (-1, 0, 0, 0, -1, 0),
    "oblique": oblique(),
}


def write_series(folder, volume, cosines=AXIAL, step=3.0, spacing=(2.0, 1.5), shuffle=0, shear=0.0, **tags):
    """Write volume (z, y, x) as one CT file per slice, slice i at i · step along the normal, names shuffled."""
    folder.mkdir(parents=True, exist_ok=True)
    normal = np.cross(cosines[:3], cosines[3:])
    names = np.random.default_rng(shuffle).permutation(len(volume))
    common = {name: generate_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")}
    for index, slice_ in enumerate(volume):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, generate_uid()
        dataset.Modality, dataset.PatientID, dataset.SeriesNumber = "CT", "p7", 4
        dataset.Rows, dataset.Columns = slice_.shape
        dataset.InstanceNumber = int(names[index])
        dataset.ImageOrientationPatient = [round(float(c), 9) for c in cosines]
        position = np.array([-20.0, 7.0, 100.0]) + normal * step * index + np.array(cosines[3:]) * shear * index
        dataset.ImagePositionPatient = [round(float(p), 6) for p in position]
        dataset.PixelSpacing, dataset.SliceThickness = list(spacing), 99
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit, dataset.PixelRepresentation = 15, 1
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
        for name, value in {**common, **tags}.items():
            value = value(index) if callable(value) else value
            if value is None and name in dataset:
                delattr(dataset, name)
            elif value is not None:
                setattr(dataset, name, value)
        dataset.PixelData = slice_.astype("<i2").tobytes()
        dataset.save_as(folder / f"IM{names[index]:03d}.dcm", enforce_file_format=True)
    return folder


def numbered(shape=(5, 6, 7)):
    """A volume in which every voxel is different."""
    return np.arange(np.prod(shape)).reshape(shape).astype(np.int16)


def world(case):
    """Map HU + 1024 to the LPS position of every voxel of a case."""
    image, valid = case.read(case.whole)
    assert valid.all()
    index = np.indices(case.shape).reshape(3, -1)
    positions = (case.geometry.affine[:3, :3] @ index).T + case.geometry.affine[:3, 3]
    return {round(float(value) + 1024): position for value, position in zip(image.ravel(), positions, strict=True)}


@pytest.mark.parametrize("name", ORIENTATIONS)
@pytest.mark.parametrize("orientation", ["canonical", "acquired"])
def test_every_voxel_lies_where_its_header_says(tmp_path, name, orientation):
    cosines = np.array(ORIENTATIONS[name])
    volume = numbered()
    case = open_case(write_series(tmp_path / "ct", volume, cosines), orientation)
    found, normal = world(case), np.cross(cosines[:3], cosines[3:])
    for z, y, x in np.ndindex(volume.shape):
        expected = np.array([-20.0, 7, 100]) + normal * 3 * z + cosines[3:] * 2.0 * y + cosines[:3] * 1.5 * x
        np.testing.assert_allclose(found[volume[z, y, x]], expected, atol=1e-4)
    if orientation == "canonical":
        direction = case.geometry.affine[:3, :3] / case.geometry.spacing
        assert (direction[[2, 1, 0], [0, 1, 2]] > 0.9).all()  # slice → S, row → P, column → L
    assert case.group == "p7"
    assert case.geometry.unit == "mm"


def test_canonical_and_windows(tmp_path):
    case = open_case(write_series(tmp_path / "ct", numbered(), ORIENTATIONS["sagittal"]))
    whole, _ = case.read(case.whole)
    part, valid = case.read((slice(1, 4), slice(-2, 3), slice(2, 9)))
    assert part.shape == (1, 3, 5, 7)
    np.testing.assert_array_equal(part[0, :, 2:, :3], whole[0, 1:4, :3, 2:5])
    assert not valid[0, :, :2].any()
    assert not valid[0, :, :, 3:].any()
    cropped = case.part((slice(1, 4), slice(2, 5), slice(0, 3)), "part")
    np.testing.assert_array_equal(cropped.read(cropped.whole)[0], whole[:, 1:4, 2:5, 0:3])


def test_only_the_slices_of_a_window_are_decoded(tmp_path):
    folder = write_series(tmp_path / "ct", numbered())
    case = open_case(folder)
    last = next(p for p in folder.iterdir() if pydicom.dcmread(p).ImagePositionPatient[2] > 111)
    last.write_bytes(last.read_bytes()[:-20])
    case.read((slice(0, 3), slice(0, 6), slice(0, 7)))
    with pytest.raises(SegcganError, match=rf"{last.name}: damaged, or needs another decoder .*export it again"):
        case.read(case.whole)


def test_rescale_per_slice_and_padding(tmp_path):
    volume = np.full((3, 4, 4), 10, np.int16)
    volume[:, 0, 0] = -2000
    folder = write_series(tmp_path / "a", volume, RescaleSlope=lambda i: i + 1, PixelPaddingValue=-2000)
    image, valid = open_case(folder).read((slice(0, 3), slice(0, 4), slice(0, 4)))
    np.testing.assert_allclose(image[0, :, 1, 1], [-1014, -1004, -994])
    assert (~valid).sum() == 3
    assert not valid[0, :, 0, 0].any()
    assert (image[0, :, 0, 0] == 0).all()
    volume[:, 0, 0] = 5
    ranged = write_series(tmp_path / "b", volume, PixelPaddingValue=3, PixelPaddingRangeLimit=7)
    assert not open_case(ranged).read((slice(0, 1), slice(0, 1), slice(0, 1)))[1].any()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"missing": 2}, r"gap between IM\d+.dcm and IM\d+.dcm is 6.00 mm where 3.00 mm is usual; add"),
        ({"shear": 0.8}, r"stacked 14.9° off their normal \(gantry tilt\); resample"),
        ({"step": 0.0}, r"lie at the same position; keep one acquisition"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, r"is not two perpendicular unit vectors; repair"),
        ({"PixelSpacing": lambda i: [1 + i, 1]}, r"differ in orientation or PixelSpacing; keep one acquisition"),
    ],
)
def test_refusals_name_the_reason_and_the_cure(tmp_path, change, text):
    missing = "missing" in change
    change = {name: value for name, value in change.items() if name != "missing"}
    folder = write_series(tmp_path / "ct", numbered(), **change)
    if missing:
        next(p for p in folder.iterdir() if pydicom.dcmread(p).ImagePositionPatient[2] == 106).unlink()
    with pytest.raises(SegcganError, match=text):
        open_case(folder)


def test_a_damaged_header_is_named(tmp_path):
    folder = write_series(tmp_path / "ct", numbered())
    path = sorted(folder.iterdir())[2]
    path.write_bytes(path.read_bytes().replace(b"-1024.0 ", b"-1.2.4.0"))
    with pytest.raises(SegcganError, match=rf"{path.name}: the DICOM header is damaged .*1.2.4.*; export it"):
        open_case(folder)


def test_a_copy_that_was_stopped_is_named_before_its_pixels_are_needed(tmp_path):
    folder = write_series(tmp_path / "ct", numbered((3, 40, 40)))
    path = sorted(folder.iterdir())[1]
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(SegcganError) as error:
        open_case(folder)
    assert str(error.value) == (
        f"{path}: 3000 bytes, which is less than the 3200 of its pixels; copy or export it again"
    )


def test_missing_decoder_is_named(tmp_path):
    folder = write_series(tmp_path / "ct", numbered())
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"  # a film codec nobody decodes here
        dataset.PixelData = pydicom.encaps.encapsulate([b"1234"])
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(path)
    with pytest.raises(SegcganError, match=r"MPEG2 .* is not supported; convert the file to uncompressed DICOM"):
        open_case(folder)


def test_find_groups_by_content(tmp_path):
    write_series(tmp_path / "both", numbered((3, 4, 4)), SeriesNumber=1)
    second = write_series(tmp_path / "more", numbered((4, 4, 4)), oblique(), SeriesNumber=2)
    for path in second.iterdir():
        path.rename(tmp_path / "both" / f"x{path.stem}.txt.tiff")  # extensions lie
    (tmp_path / "both" / "copy.dcm").write_bytes((tmp_path / "both" / "IM000.dcm").read_bytes())
    (tmp_path / "both" / "cut.dcm").write_bytes((tmp_path / "both" / "IM000.dcm").read_bytes()[:300])
    headerless = (tmp_path / "both" / "IM001.dcm").read_bytes()
    (tmp_path / "both" / "IM001.dcm").write_bytes(headerless[132:])  # no preamble
    (tmp_path / "both" / "note.bin").write_bytes(b"\x08\x00 not DICOM at all")
    sources, rejected, rest = dicom.find(sorted((tmp_path / "both").iterdir()))
    assert {source.name: len(source.files) for source in sources} == {"both_1": 3, "both_2": 4}
    reasons = {item.path.name: item.reason for item in rejected}
    assert "is a copy of" in reasons["copy.dcm"] or "is a copy of" in reasons["IM000.dcm"]
    assert "cut.dcm" in reasons
    assert [path.name for path in rest] == ["note.bin"]
    assert [open_case(source).shape[0] for source in sources] == [3, 4]


def test_volumes_at_the_same_positions_are_told_apart(tmp_path):
    twice = numbered((6, 4, 4))
    normal_step = {"ImagePositionPatient": lambda i: [0, 0, 3.0 * (i % 3)], "AcquisitionNumber": lambda i: i // 3}
    sources, _ = discover(write_series(tmp_path / "ct", twice, **normal_step))
    assert [open_case(source).shape for source in sources] == [(3, 4, 4)] * 2


def test_single_pictures_and_objects_without_image(tmp_path):
    lost = {"ImagePositionPatient": None, "ImageOrientationPatient": None, "PixelSpacing": None}
    write_series(tmp_path / "a", numbered((2, 3, 4)), **lost)
    sources, _ = discover(tmp_path)
    cases = [open_case(source) for source in sources]
    assert [case.shape for case in cases] == [(1, 3, 4)] * 2
    assert cases[0].geometry.unit == "px"
    np.testing.assert_array_equal(cases[0].geometry.affine[:3, :3], np.eye(3)[::-1])
    scout = open_case(write_series(tmp_path / "scout", numbered((1, 3, 4)), ORIENTATIONS["sagittal"]))
    assert scout.shape == (1, 3, 4)
    folder = write_series(tmp_path / "sr", numbered((1, 3, 4)), Rows=None, Modality="SR")
    with pytest.raises(SegcganError, match=r"DICOM object without an image \(SR\)"):
        open_case(folder)


def centroid_of_segment(path, number):
    """LPS centroid of a segment from the SEG's own per-frame positions; shares no code with the package."""
    seg = pydicom.dcmread(path)
    frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    shared = seg.SharedFunctionalGroupsSequence[0]
    down, across = shared.PixelMeasuresSequence[0].PixelSpacing
    points = []
    for frame, groups in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        if groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber != number:
            continue
        holder = groups if "PlaneOrientationSequence" in groups else shared
        cosines = np.array(holder.PlaneOrientationSequence[0].ImageOrientationPatient, float)
        start = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        rows, columns = np.nonzero(frame)
        points.append(start + np.outer(columns * across, cosines[:3]) + np.outer(rows * down, cosines[3:]))
    return np.concatenate(points).mean(axis=0), sum(map(len, points))


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_seg_and_nifti_lie_on_the_mask(tmp_path, name):
    folder = write_series(tmp_path / "ct", numbered((6, 8, 9)), ORIENTATIONS[name], FrameOfReferenceUID=None)
    case = open_case(folder)
    mask = np.zeros(case.shape, np.uint8)
    mask[1:4, 2:5, 1:3] = 1
    mask[4, 5, 2:5] = 2
    mask[0, 0, 0] = 255
    written = write_mask(tmp_path / "out", "p7", case, lambda window: mask[window], CLASSES)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["p7.dcm", "p7.nii.gz"]
    for number in (1, 2):
        expected = case.geometry.affine @ [*np.argwhere(mask == number).mean(axis=0), 1]
        centre, count = centroid_of_segment(tmp_path / "out" / "p7.dcm", number)
        np.testing.assert_allclose(centre, expected[:3], atol=1e-3)
        assert count == (mask == number).sum()
        nifti = nibabel.load(tmp_path / "out" / "p7.nii.gz")
        ijk = np.argwhere(np.asarray(nifti.dataobj) == number).mean(axis=0)
        np.testing.assert_allclose((nifti.affine @ [*ijk, 1])[:3] * [-1, -1, 1], expected[:3], atol=1e-3)
    for path in written:
        np.testing.assert_array_equal(open_labels(path, case)(case.whole), np.where(mask == 255, 0, mask))


def test_seg_describes_segments_and_sources(tmp_path):
    folder = write_series(tmp_path / "ct", numbered())
    case = open_case(folder)
    empty = write_mask(tmp_path, "empty", case, lambda window: np.zeros(case.shape, np.uint8)[window], CLASSES)
    seg = highdicom.seg.segread(next(path for path in empty if path.suffix == ".dcm"))
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["liver", "thing"]
    assert seg.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"
    assert seg.SegmentSequence[1].SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Tissue"
    assert seg.SegmentSequence[0].SegmentAlgorithmType == "AUTOMATIC"
    assert [segment.RecommendedDisplayCIELabValue for segment in seg.SegmentSequence] == [
        list(highdicom.color.CIELabColor.from_rgb(*colour).value) for colour in class_colours(CLASSES)[1:]
    ]
    assert {str(uid) for _, _, uid in seg.get_source_image_uids()} == {
        str(pydicom.dcmread(path).SOPInstanceUID) for path in folder.iterdir()
    }
    wrong = ClassSpec("a", snomed="liver")
    written = write_mask(tmp_path, "x", case, lambda w: np.zeros(case.shape, np.uint8)[w], [CLASSES[0], wrong])
    assert [path.name for path in written] == ["x.nii.gz"]  # a mask is never lost for want of a SEG
    assert re.search(r"no DICOM SEG was written, only .*snomed 'liver' is not 'code\|meaning'; write it", case.notes[0])


def test_a_part_is_written_on_the_whole_grid(tmp_path):
    case = open_case(write_series(tmp_path / "ct", numbered((6, 8, 9)), ORIENTATIONS["coronal"]))
    part = case.part((slice(2, 5), slice(1, 4), slice(3, 7)), "part")
    written = write_mask(tmp_path, "part", part, lambda window: np.ones(part.shape, np.uint8)[window], CLASSES[:2])
    for path in written:
        whole = open_labels(path, case)(case.whole)
        assert whole.sum() == np.prod(part.shape)
        assert whole[2:5, 1:4, 3:7].all()


def test_probability_round_trip_in_any_orientation(tmp_path):
    case = open_case(write_series(tmp_path / "ct", numbered((6, 8, 9)), ORIENTATIONS["sagittal"]))
    bytes_ = np.random.default_rng(0).integers(0, 256, (3, *case.shape)).astype(np.uint8)
    (path,) = write_probability(tmp_path, "p", case, lambda window: bytes_[(slice(None), *window)], compress=False)
    assert path.name == "p.nii"
    back = open_probability(path, case)((slice(1, 3), slice(0, 2), slice(2, 5)))
    np.testing.assert_allclose(back, (np.where(bytes_ == 255, 0, bytes_) / 254)[:, 1:3, 0:2, 2:5], atol=1e-6)


def test_frames_of_an_enhanced_file_in_any_order(tmp_path):
    folder = write_series(tmp_path / "ct", numbered((4, 5, 6)), ORIENTATIONS["coronal"])
    files = sorted((pydicom.dcmread(path) for path in folder.iterdir()), key=lambda d: int(d.InstanceNumber))
    for dataset in files:
        for name in ("StudyID", "StudyDate", "StudyTime", "AccessionNumber", "PatientName", "PatientSex"):
            setattr(dataset, name, "")
        dataset.PatientBirthDate = dataset.ReferringPhysicianName = dataset.PositionReferenceIndicator = ""
    enhanced = highdicom.legacy.LegacyConvertedEnhancedCTImage(files, generate_uid(), 1, generate_uid(), 1)
    frames = enhanced.PerFrameFunctionalGroupsSequence
    heights = [groups.PlanePositionSequence[0].ImagePositionPatient[1] for groups in frames]
    assert heights != sorted(heights)
    enhanced.save_as(tmp_path / "enhanced.dcm")
    single, multi = open_case(folder), open_case(tmp_path / "enhanced.dcm")
    np.testing.assert_array_equal(multi.read(multi.whole)[0], single.read(single.whole)[0])
    np.testing.assert_allclose(multi.geometry.affine, single.geometry.affine, atol=1e-4)
    shared = enhanced.SharedFunctionalGroupsSequence[0]
    for groups in frames:  # the standard allows every macro per frame, and some scanners write them so
        for name in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
            setattr(groups, name, shared[name].value)
    for name in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
        delattr(shared, name)
    enhanced.save_as(tmp_path / "per_frame.dcm")
    mask = np.random.default_rng(0).integers(0, 3, multi.shape).astype(np.uint8)
    for name in ("enhanced", "per_frame"):
        again = open_case(tmp_path / f"{name}.dcm")
        written = write_mask(tmp_path, f"{name}_mask", again, lambda window: mask[window], CLASSES)
        assert [path.suffix for path in written] == [".gz", ".dcm"]
        for path in written:
            np.testing.assert_array_equal(open_labels(path, single)(single.whole), mask)
        for number in (1, 2):
            expected = again.geometry.affine @ [*np.argwhere(mask == number).mean(axis=0), 1]
            np.testing.assert_allclose(centroid_of_segment(written[1], number)[0], expected[:3], atol=1e-3)


def test_seg_of_another_grid_is_refused(tmp_path):
    case = open_case(write_series(tmp_path / "a", numbered((3, 4, 4))))
    other = open_case(write_series(tmp_path / "b", numbered((3, 4, 4)), spacing=(2.2, 1.5)))
    written = write_mask(tmp_path, "b", other, lambda window: np.ones((3, 4, 4), np.uint8)[window], CLASSES[:2])
    for path in written:
        with pytest.raises(SegcganError, match=r"grid \(shape \(3, 4, 4\).*2.2.*is not the image's .*resample it"):
            open_labels(path, case)


def test_png_masks_follow_the_file_names(tmp_path):
    from PIL import Image

    folder = write_series(tmp_path / "ct", numbered((3, 4, 5)))
    case = open_case(folder)
    (tmp_path / "png").mkdir()
    files = sorted(folder.iterdir())
    for index in range(3):  # mask of the i-th file holds i + 1; names need natural order: 8, 9, 10
        Image.fromarray(np.full((4, 5), index + 1, np.uint8)).save(tmp_path / "png" / f"m{index + 8}.png")
    labels = open_labels(tmp_path / "png", case)(case.whole)
    heights = [float(pydicom.dcmread(path).ImagePositionPatient[2]) for path in files]
    assert labels[:, 0, 0].tolist() == [int(i) + 1 for i in np.argsort(heights)]
    (tmp_path / "png" / "m8.png").unlink()
    with pytest.raises(SegcganError, match="2 PNG masks for 3 DICOM slices; give one per slice"):
        open_labels(tmp_path / "png", case)


def test_real_liver(shared_data):
    """In CHAOS the PNGs follow the file names: only then is the masked liver homogeneous (34 HU, else 248)."""
    folder = shared_data / "ct_liver" / "chaos_set3"
    case = open_case(folder / "dicom")
    assert case.shape == (78, 512, 512)
    np.testing.assert_allclose(case.geometry.spacing, (2.0, 0.7265625, 0.7265625))  # not the SliceThickness 3.2
    window = (slice(30, 34), slice(0, 512), slice(0, 512))
    mask = open_labels(folder / "reference_png", case)(window) > 0
    assert case.read(window)[0][0][mask].std() < 40
    automatic = open_labels(folder / "automatic_png", case)(window) > 0
    assert 2 * (mask & automatic).sum() / (mask.sum() + automatic.sum()) > 0.94


def test_real_segmentations_and_frames(shared_data):
    folder = shared_data / "dicom_seg"
    case = open_case(folder / "ct-3slice")
    assert (open_labels(folder / "liver.dcm", case)(case.whole) == 1).sum() == 36233 + 35645 + 35220
    with pytest.raises(SegcganError, match="segments overlap"):
        open_labels(folder / "partial_overlaps.dcm", case)
    frames, files = open_case(folder / "24x38x3" / "multiframe"), open_case(folder / "24x38x3" / "image")
    np.testing.assert_array_equal(frames.read(frames.whole)[0], files.read(files.whole)[0])
    np.testing.assert_allclose(frames.geometry.affine, files.geometry.affine, atol=1e-3)


def test_nothing_but_segcgan_errors_from_odd_files(shared_data):
    opened, told = 0, []
    for part in ("robust_dicom", "dicom_objects", "dicom_seg", "dicom_rtstruct"):
        for source in discover(Path(shared_data) / part)[0]:
            try:
                case = open_case(source)
                middle = case.shape[0] // 2
                case.read((slice(middle, middle + 1), *case.whole[1:]))
                opened += 1
            except SegcganError as error:
                told.append(str(error))
    assert opened > 35
    assert told
    assert not any("\n" in text for text in told)


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, about every value we break
def test_damage_anywhere_is_a_segcgan_error(tmp_path):
    folder = write_series(tmp_path / "ct", numbered((1, 6, 7)))
    original = next(folder.iterdir()).read_bytes()
    rng = np.random.default_rng(0)
    for trial in range(80):
        broken = bytearray(original)
        for place in rng.integers(128, len(original), 4):
            broken[place] = rng.integers(0, 256)
        path = tmp_path / f"{trial}.dcm"
        path.write_bytes(bytes(broken[: rng.integers(140, len(original) + 200)]))
        try:
            case = open_case(path)
            case.read(tuple(slice(0, min(size, 64)) for size in case.shape))
        except SegcganError:
            pass
