"""What a DICOM SEG takes over from odd source headers, and how mask and coarse mask are told apart."""

import numpy as np
import pydicom
import pytest
from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

from segcgan.classes import ClassSpec
from segcgan.errors import NotWrittenError
from segcgan.formats import open_case, open_labels, write_mask

CLASSES = [ClassSpec("background"), ClassSpec("liver")]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, about the values we break


def series(folder, **tags):
    """A CT of four slices, 3 mm apart, whose tags are written as they are, however wrong; None leaves one out."""
    folder.mkdir(parents=True)
    uids = {name: generate_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")}
    plain = {"Modality": "CT", "PatientID": "p7", "SeriesNumber": 4, "Rows": 6, "Columns": 7, "BitsAllocated": 16,
             "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1, "SamplesPerPixel": 1,
             "PhotometricInterpretation": "MONOCHROME2", "PixelSpacing": [2.0, 1.5],
             "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "SOPClassUID": CTImageStorage}  # fmt: skip
    for index in range(4):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        own = {"SOPInstanceUID": generate_uid(), "ImagePositionPatient": [-20, 7, 100 + 3 * index]}
        for name, value in {**uids, **plain, **own, **tags}.items():
            value = value(index) if callable(value) else value
            vr = dictionary_VR(name)
            if vr in ("DS", "IS") and isinstance(value, str) and not value.isdecimal():
                vr = "LO"  # pydicom would not write it
            if value is not None:
                dataset.add(DataElement(tag_for_keyword(name), "US" if vr == "US or SS" else vr, value))
        dataset.PixelData = np.full((6, 7), index, "<i2").tobytes()
        dataset.save_as(folder / f"{index}.dcm", enforce_file_format=True)
    return folder


def written(folder, out, stem="ct_mask"):
    """Write a mask; returns the SEG and the notes, having checked that both files hold the mask."""
    case = open_case(folder)
    mask = np.zeros(case.shape, np.uint8)
    mask[1:3, 2:5, 1:3] = 1
    files = write_mask(out, stem, case, lambda window: mask[window], CLASSES)
    assert [path.name for path in files] == [f"{stem}.nii.gz", f"{stem}.dcm"], case.notes
    for path in files:
        np.testing.assert_array_equal(open_labels(path, case)(case.whole), mask)
    return pydicom.dcmread(files[1]), case.notes


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PatientSex", "W"), ("PatientSex", "m"), ("StudyDate", "2020-01-01"), ("StudyDate", "2020.01.01"),
        ("StudyDate", "20200230"), ("StudyTime", "12:00:00"), ("PatientBirthDate", "1970-01-01"),
        ("PatientAge", "45"), ("PatientWeight", "heavy"), ("StudyID", "x" * 40), ("AccessionNumber", "y" * 30),
        ("PatientName", "n" * 90), ("StudyDescription", "two\nlines"), ("ReferringPhysicianName", "a=b=c=d=e"),
        ("PatientIdentityRemoved", "maybe"), ("Manufacturer", "m" * 90),
    ],
)  # fmt: skip
def test_values_that_dicom_forbids_are_left_out_and_named(tmp_path, name, value):
    seg, notes = written(series(tmp_path / "ct", **{name: value}), tmp_path)
    assert notes == [f"values that DICOM forbids are left out of the SEG: {name} {value[:40]!r}"]
    assert (seg.get(name) or "") == ("segcgan" if name == "Manufacturer" else "")
    assert seg.PatientID == "p7"


def test_what_is_valid_is_copied_and_nothing_is_noted(tmp_path):
    valid = {"PatientSex": "F", "PatientAge": "045Y", "PatientWeight": "71", "StudyDate": "20200131",
             "StudyTime": "120000.5", "AccessionNumber": "A1", "StudyDescription": "abdomen", "StudyID": "7",
             "PatientIdentityRemoved": "YES"}  # fmt: skip
    names = {"PatientName": "Müller^Jörg", "SpecificCharacterSet": "ISO_IR 100"}
    seg, notes = written(series(tmp_path / "ct", **valid, **names), tmp_path)
    assert notes == []
    assert {name: str(seg.get(name)) for name in valid} == valid
    assert seg.PatientName == "Müller^Jörg"


def test_what_identifies_the_patient_and_the_study_is_kept_even_if_invalid(tmp_path):
    odd = {"PatientID": "p" * 70, "StudyInstanceUID": "1.02.3", "SOPInstanceUID": lambda i: f"1.2.{i}"}
    seg, notes = written(series(tmp_path / "ct", **odd), tmp_path)
    assert (seg.PatientID, seg.StudyInstanceUID) == ("p" * 70, "1.02.3")
    assert notes == ["StudyInstanceUID '1.02.3' is no valid UID, and kept so that the SEG stays with its images"]


def test_references_name_the_true_class_also_of_a_private_one(tmp_path):
    private = "1.2.840.113619.4.26"  # of General Electric
    folder = series(tmp_path / "ct", SOPClassUID=private, Modality="a scan of the liver")
    seg, notes = written(folder, tmp_path)
    assert notes == []
    expected = {(private, pydicom.dcmread(path).SOPInstanceUID) for path in folder.iterdir()}
    found = {(ref.ReferencedSOPClassUID, ref.ReferencedSOPInstanceUID) for ref in seg.SourceImageSequence}
    assert found == expected
    for groups in seg.PerFrameFunctionalGroupsSequence:
        (ref,) = groups.DerivationImageSequence[0].SourceImageSequence
        assert (ref.ReferencedSOPClassUID, ref.ReferencedSOPInstanceUID) in expected


@pytest.mark.parametrize("lost", [("StudyInstanceUID",), ("StudyInstanceUID", "SeriesInstanceUID")])
def test_both_masks_lie_in_one_study_though_the_source_names_none(tmp_path, lost):
    folder = series(tmp_path / "ct", FrameOfReferenceUID=None, StudyInstanceUID="")
    case = open_case(folder)
    for path in folder.iterdir():  # only now: how such files are grouped is the reader's affair
        dataset = pydicom.dcmread(path)
        for name in lost:
            dataset.pop(tag_for_keyword(name))
        dataset.save_as(path)
    segs = []
    for stem in ("ct_mask", "ct_mask_coarse"):
        files = write_mask(tmp_path, stem, case, lambda window: np.ones(case.shape, np.uint8)[window], CLASSES)
        segs.append(pydicom.dcmread(files[1]))
    for name in ("StudyInstanceUID", "FrameOfReferenceUID"):
        assert segs[0][name].value == segs[1][name].value
        assert UID(segs[0][name].value).is_valid
    references = [seg.ReferencedSeriesSequence[0].SeriesInstanceUID for seg in segs]
    assert references[0] == references[1]
    assert case.notes == [
        "no StudyInstanceUID, so the SEG has one derived from the series",
        "no FrameOfReferenceUID, so viewers may not lay the SEG over the images",
    ]


@pytest.mark.parametrize("number", [4, None, -5, 2**31 - 1])
def test_a_pacs_shows_mask_and_coarse_mask_apart(tmp_path, number):
    folder = series(tmp_path / "ct", SeriesNumber=number, SeriesDescription="portal venous")
    mask, coarse = (written(folder, tmp_path, stem)[0] for stem in ("ct_mask", "ct_mask_coarse"))
    assert len({number, mask.SeriesNumber, coarse.SeriesNumber}) == 3
    assert all(0 < seg.SeriesNumber < 2**31 for seg in (mask, coarse))
    assert number != 4 or mask.SeriesNumber // 1000 == coarse.SeriesNumber // 1000 == 4
    assert mask.SeriesInstanceUID != coarse.SeriesInstanceUID
    assert mask.StudyInstanceUID == coarse.StudyInstanceUID == pydicom.dcmread(next(folder.iterdir())).StudyInstanceUID
    told = [(seg.SeriesDescription, seg.ContentLabel, seg.ContentDescription) for seg in (mask, coarse)]
    assert told == [
        ("segcgan mask of portal venous", "MASK", "mask of ct"),
        ("segcgan coarse mask of portal venous", "COARSE_MASK", "coarse mask of ct"),
    ]
    assert [seg.SegmentSequence[0].SegmentLabel for seg in (mask, coarse)] == ["liver", "liver coarse"]
    again = written(folder, tmp_path)[0]
    assert again.SeriesNumber == mask.SeriesNumber


def test_slices_of_several_frames_of_reference_and_tiny_differences_of_orientation(tmp_path):
    frames = {"FrameOfReferenceUID": lambda i: f"1.2.3.{i + 1}"}
    tilt = {
        "ImageOrientationPatient": lambda i: [1, 1e-5 * i, 0, 0, 1, 0],
        "PixelSpacing": lambda i: [2.0, 1.5 + 1e-5 * i],
    }
    seg, notes = written(series(tmp_path / "ct", **frames, **tilt), tmp_path)
    assert seg.FrameOfReferenceUID in {f"1.2.3.{i + 1}" for i in range(4)}
    assert notes == ["the slices name 4 FrameOfReferenceUIDs, of which the SEG has the first"]


def test_a_full_disk_is_no_fault_of_the_headers(tmp_path, monkeypatch):
    import highdicom

    def full(self, path, *args, **kwargs):
        raise OSError(28, "No space left on device", str(path))

    case = open_case(series(tmp_path / "ct"))
    monkeypatch.setattr(highdicom.seg.Segmentation, "save_as", full)
    with pytest.raises(NotWrittenError, match=r"out/ct_mask\.dcm cannot be written: no space is left on its disk"):
        write_mask(tmp_path / "out", "ct_mask", case, lambda window: np.ones(case.shape, np.uint8)[window], CLASSES)
    assert list((tmp_path / "out").iterdir()) == []
