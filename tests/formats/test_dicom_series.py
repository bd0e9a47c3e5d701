"""Which DICOM images make one volume, and what the volumes are called."""

import numpy as np
import pytest
from pydicom.uid import generate_uid

from segcgan.errors import SegcganError
from segcgan.formats import open_case
from segcgan.formats.folders import discover
from tests.formats.conftest import write_images


def found(folder):
    """Shapes of the cases by name; every voxel of a slice holds the number of its file."""
    return {source.name: open_case(source).shape for source in discover(folder)[0]}


def numbers(folder):
    """The numbers of the files in each case, by rising position."""
    cases = {source.name: open_case(source) for source in discover(folder)[0]}
    return {name: case.read(case.whole)[0][0, :, 0, 0].astype(int).tolist() for name, case in cases.items()}


def dynamic(times=3, slices=6, **tags):
    """Images of a dynamic series, time by time; a tag may be a function of (time, slice, number)."""
    images = []
    for number in range(times * slices):
        time, index = divmod(number, slices)
        given = {name: value(time, index, number) if callable(value) else value for name, value in tags.items()}
        images.append({"z": 3.0 * index, **given})
    return images


def per_image(time, index, number):
    return number + 1


WHOLE = [list(range(6)), list(range(6, 12)), list(range(12, 18))]


@pytest.mark.parametrize(
    ("tags", "labels"),
    [
        ({"TemporalPositionIdentifier": lambda t, i, n: t + 1}, "TemporalPositionIdentifier_{1,2,3}"),
        ({"EchoNumbers": lambda t, i, n: t + 1}, "EchoNumbers_{1,2,3}"),
        ({"EchoTime": lambda t, i, n: 4.6 * (t + 1)}, "EchoTime_{4.6,9.2,13.8}"),
        ({"TriggerTime": lambda t, i, n: 40.5 * t}, "TriggerTime_{0,40.5,81}"),
        ({"DiffusionBValue": lambda t, i, n: [0.0, 50.0, 800.0][t]}, "DiffusionBValue_{0,50,800}"),
        ({"ImageType": lambda t, i, n: ["DERIVED", "PRIMARY", "DIXON", "WFI"[t]]}, "ImageType_{W,F,I}"),
        ({"ComplexImageComponent": lambda t, i, n: ["MAGNITUDE", "PHASE", "REAL"][t]},
         "ComplexImageComponent_{MAGNITUDE,PHASE,REAL}"),
        ({"AcquisitionNumber": lambda t, i, n: t + 1}, "AcquisitionNumber_{1,2,3}"),
        ({"AcquisitionTime": lambda t, i, n: f"1200{t}0.5"}, "AcquisitionTime_{120000.5,120010.5,120020.5}"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("acquisition", [None, per_image])
def test_what_separates_whole_volumes_is_preferred(tmp_path, tags, labels, acquisition):
    write_images(tmp_path / "mr", dynamic(**{"AcquisitionNumber": acquisition} | tags))
    stem, _, values = labels.rstrip("}").partition("{")
    assert numbers(tmp_path) == {f"mr_{stem}{v}": w for v, w in zip(values.split(","), WHOLE, strict=True)}


@pytest.mark.parametrize(
    ("tags", "name"),
    [
        ({"TriggerTime": lambda t, i, n: 700.0 * t + 31 * i}, "TriggerTime_{0,700,1400}"),
        ({"AcquisitionTime": lambda t, i, n: f"12{t:02d}{i:02d}.5"}, "AcquisitionTime_{120000.5,120100.5,120200.5}"),
        ({"ContentTime": lambda t, i, n: f"12{t:02d}{i:02d}"}, "ContentTime_{120000,120100,120200}"),
        ({}, "InstanceNumber_{1,7,13}"),
        ({"InstanceNumber": lambda t, i, n: 1 + 3 * i + t}, "InstanceNumber_{1,2,3}"),
        ({"InstanceNumber": None, "AcquisitionNumber": per_image}, "AcquisitionNumber_{1,7,13}"),
    ],
)
def test_values_of_each_image_still_give_the_order_of_volumes(tmp_path, tags, name):
    write_images(tmp_path / "mr", dynamic(**tags))
    stem, _, values = name.rstrip("}").partition("{")
    assert numbers(tmp_path) == {f"mr_{stem}{v}": w for v, w in zip(values.split(","), WHOLE, strict=True)}


def test_images_nothing_orders_are_refused(tmp_path):
    write_images(tmp_path / "mr", dynamic(InstanceNumber=None))
    with pytest.raises(SegcganError, match=r"\d+.dcm and \d+.dcm lie at the same position; keep one acquisition"):
        found(tmp_path)


def siemens(value, direction=None):
    def edit(dataset):
        block = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
        block.add_new(0x0C, "IS", str(value))
        if direction is not None:
            block.add_new(0x0E, "FD", direction)

    return edit


def general_electric(value):
    def edit(dataset):
        block = dataset.private_block(0x0043, "GEMS_PARM_01", create=True)
        block.add_new(0x39, "IS", [str(10**9 + value), "8", "0", "0"])

    return edit


@pytest.mark.parametrize("edit", [siemens, general_electric])
def test_b_values_of_older_scanners(tmp_path, edit):
    write_images(tmp_path / "dwi", dynamic(edit=lambda t, i, n: edit([0, 50, 800][t]), AcquisitionNumber=per_image))
    expected = zip((0, 50, 800), WHOLE, strict=True)
    assert numbers(tmp_path) == {f"dwi_DiffusionBValue_{value}": whole for value, whole in expected}


def test_directions_of_diffusion(tmp_path):
    along = np.eye(3).tolist()
    edits = [siemens(0), *(siemens(1000, direction) for direction in along)]
    write_images(tmp_path / "dwi", dynamic(4, 5, edit=lambda t, i, n: edits[t]))
    assert numbers(tmp_path) == {
        f"dwi_DiffusionGradientOrientation_{name}": list(range(5 * t, 5 * t + 5))
        for t, name in enumerate(("none", "1_0_0", "0_1_0", "0_0_1"))
    }


def test_two_attributes_together(tmp_path):
    echoes = {"EchoNumbers": lambda t, i, n: t % 2 + 1, "TemporalPositionIdentifier": lambda t, i, n: t // 2 + 1}
    write_images(tmp_path / "mr", dynamic(4, 3, **echoes))
    assert numbers(tmp_path) == {
        "mr_TemporalPositionIdentifier_1_EchoNumbers_1": [0, 1, 2],
        "mr_TemporalPositionIdentifier_1_EchoNumbers_2": [3, 4, 5],
        "mr_TemporalPositionIdentifier_2_EchoNumbers_1": [6, 7, 8],
        "mr_TemporalPositionIdentifier_2_EchoNumbers_2": [9, 10, 11],
    }


def test_numbers_that_alternate_do_not_make_half_volumes(tmp_path):
    """A stack of one acquisition number per slot, and one slice twice: only a copy of it can be taken out."""
    images = [{"z": 3.0 * i, "AcquisitionNumber": i % 2 + 1} for i in range(8)]
    twice = {"z": 9.0, "AcquisitionNumber": 1}
    write_images(tmp_path / "same", [*images, {**twice, "pixels": np.full((4, 5), 3)}])
    assert numbers(tmp_path / "same") == {"same": list(range(8))}
    (copy,) = discover(tmp_path / "same")[1]
    folder = tmp_path / "same"
    assert copy.reason == f"{folder / '008.dcm'} is a copy of {folder / '003.dcm'} (same position and pixels)"
    write_images(tmp_path / "other", [*images, twice])
    with pytest.raises(SegcganError, match=r"003.dcm and 008.dcm lie at the same position; keep one acquisition"):
        found(tmp_path / "other")


def test_a_series_stored_twice_is_one_volume(tmp_path):
    write_images(tmp_path / "ct", dynamic(2, 5, pixels=lambda t, i, n: np.full((4, 5), i)))
    assert numbers(tmp_path) == {"ct": list(range(5))}
    assert len(discover(tmp_path)[1]) == 5


def test_equal_volumes_acquired_at_two_times_are_no_copies(tmp_path):
    """What is imaged may stand still; a copy has the times of its original."""
    same = lambda t, i, n: np.full((4, 5), i)  # noqa: E731
    times = {"TriggerTime": lambda t, i, n: 700.0 * t + 31 * i, "AcquisitionNumber": per_image}
    write_images(tmp_path / "mr", dynamic(2, 5, pixels=same, **times))
    assert numbers(tmp_path) == {f"mr_TriggerTime_{begin}": list(range(5)) for begin in (0, 700)}


def test_equal_slices_of_two_times_are_no_copies(tmp_path):
    """The outer slices of a dynamic series may be empty at all times."""
    pixels = lambda t, i, n: np.full((4, 5), 0 if i in (0, 4) else n)  # noqa: E731
    write_images(tmp_path / "mr", dynamic(2, 5, pixels=pixels))
    assert numbers(tmp_path) == {"mr_InstanceNumber_1": [0, 1, 2, 3, 0], "mr_InstanceNumber_6": [0, 6, 7, 8, 0]}


@pytest.mark.parametrize(("slices", "missing"), [(3, 4), (6, 8), (6, 6), (6, 11)])
def test_a_slice_missing_in_one_of_the_volumes(tmp_path, slices, missing):
    images = dynamic(3, slices, TemporalPositionIdentifier=lambda t, i, n: t + 1, AcquisitionNumber=per_image)
    write_images(tmp_path / "mr", images)
    (tmp_path / "mr" / f"{missing:03d}.dcm").unlink()
    inside = missing % slices not in (0, slices - 1)
    for number, source in enumerate(discover(tmp_path)[0], start=1):
        assert source.name == f"mr_TemporalPositionIdentifier_{number}"
        if number == 2 and inside and slices > 3:
            with pytest.raises(SegcganError, match=r"is 6.00 mm where 3.00 mm is usual; add the missing slices"):
                open_case(source)
        else:
            assert open_case(source).shape[0] == slices - (number == 2)


def test_acquisitions_that_cover_different_parts(tmp_path):
    """The arterial phase covers the liver, the venous phase the abdomen."""
    images = [{"z": 3.0 * i, "AcquisitionNumber": 2} for i in range(9)]
    images += [{"z": 3.0 * i, "AcquisitionNumber": 1} for i in range(5, 8)]
    write_images(tmp_path / "ct", images, Modality="CT")
    assert found(tmp_path) == {"ct_AcquisitionNumber_2": (9, 4, 5), "ct_AcquisitionNumber_1": (3, 4, 5)}


def test_a_number_per_image_alone_changes_nothing(tmp_path):
    write_images(tmp_path / "ct", dynamic(1, 6, AcquisitionNumber=per_image, TriggerTime=per_image))
    assert found(tmp_path) == {"ct": (6, 4, 5)}


def test_phases_of_a_single_slice(tmp_path):
    write_images(tmp_path / "cine", dynamic(4, 1, TriggerTime=lambda t, i, n: 30.5 * t))
    assert list(found(tmp_path)) == [f"{n:03d}_TriggerTime_{30.5 * n:g}" for n in range(4)]


@pytest.mark.parametrize("gone", ["", None])
@pytest.mark.parametrize("study", ["kept", "", None])
def test_a_series_without_its_uid_stays_one_volume(tmp_path, gone, study):
    tags = {"SeriesInstanceUID": gone} | ({} if study == "kept" else {"StudyInstanceUID": study})
    write_images(tmp_path / "ct", dynamic(1, 20, AcquisitionNumber=per_image), **tags)
    (source,) = discover(tmp_path)[0]
    case = open_case(source)
    assert (source.name, case.shape) == ("ct", (20, 4, 5))
    told = "its images were put together by their geometry, because they have no SeriesInstanceUID"
    assert case.notes == [told]


def test_series_without_uids_are_told_apart(tmp_path):
    """By patient, number, size, spacing, orientation and, at the same positions, by what separates volumes."""
    study = generate_uid()
    others = [
        {}, {"SeriesNumber": 5}, {"PatientID": "p8"}, {"PixelSpacing": [1, 1]}, {"pixels": np.zeros((6, 6))},
        {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1], "ImagePositionPatient": "y"}, {"Modality": "CT"},
        {"SeriesNumber": 6, "EchoNumbers": 1}, {"SeriesNumber": 6, "EchoNumbers": 2},
    ]  # fmt: skip
    images = []
    for index in range(4):
        for other in others:
            image = {"z": 3.0 * index, **other}
            if "ImagePositionPatient" in image:
                image["ImagePositionPatient"] = [0, image.pop("z"), 0]
            images.append(image)
    write_images(tmp_path / "all", images, SeriesInstanceUID="", StudyInstanceUID=study)
    cases = [open_case(source) for source in discover(tmp_path)[0]]
    assert len(cases) == len(others)
    assert all(4 in case.shape for case in cases)
    assert sorted(case.shape for case in cases)[-1] == (4, 6, 6)


def test_interleaved_series_without_uids(tmp_path):
    thick = [{"z": 5.0 * i, "SeriesNumber": 1} for i in range(4)]
    shifted = [{"z": 5.0 * i + 2, "SeriesNumber": 2} for i in range(4)]
    write_images(tmp_path / "ct", [*thick, *shifted], SeriesInstanceUID=None)
    assert numbers(tmp_path) == {"ct_1": [0, 1, 2, 3], "ct_2": [4, 5, 6, 7]}


def test_an_anonymiser_that_names_each_image(tmp_path):
    uids = {name: lambda t, i, n: generate_uid() for name in ("SeriesInstanceUID", "FrameOfReferenceUID")}
    write_images(tmp_path / "ct", dynamic(1, 6, **uids))
    (source,) = discover(tmp_path)[0]
    case = open_case(source)
    assert case.shape == (6, 4, 5)
    assert case.notes == ["its images were put together by their geometry, because they have a SeriesInstanceUID each"]
    uneven = [{"z": z, "SeriesInstanceUID": generate_uid()} for z in (0.0, 3.0, 11.0)]
    write_images(tmp_path / "pictures", uneven)
    assert set(found(tmp_path / "pictures").values()) == {(1, 4, 5)}


def test_a_frame_of_reference_per_slice_is_read(tmp_path):
    write_images(tmp_path / "ct", dynamic(1, 6, FrameOfReferenceUID=lambda t, i, n: generate_uid()))
    assert found(tmp_path) == {"ct": (6, 4, 5)}


def test_uids_as_names_are_kept_whole(tmp_path):
    lone = {"SeriesInstanceUID": None, "ImagePositionPatient": None}
    files = ["1.2.840.10008.5.1", "1.2.840.10008.5.2", "IM.001", "scan.dcm"]
    write_images(tmp_path / "1.2.840.99.7", [{**lone, "file": name} for name in files])
    assert list(found(tmp_path)) == ["1.2.840.10008.5.1", "1.2.840.10008.5.2", "IM.001", "scan"]
    write_images(tmp_path / "series" / "1.2.840.99.8", dynamic(1, 3))
    assert list(found(tmp_path / "series")) == ["1.2.840.99.8"]


LOCALISER = {
    "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "ImageOrientationPatient": [0, 1, 0, 0, 0, -1],
    "SeriesInstanceUID": "1.2.3.4", "pixels": np.zeros((8, 5)), "z": 40.0,
}  # fmt: skip


@pytest.mark.parametrize("own_series", [True, False])
@pytest.mark.parametrize("by", ["ImageType", "SeriesDescription"])
def test_a_localiser_is_set_aside(tmp_path, own_series, by):
    scout = dict(LOCALISER)
    if not own_series:
        scout.pop("SeriesInstanceUID")
    if by == "SeriesDescription":
        scout |= {"ImageType": None, "SeriesDescription": "Topogram 0.6"}
    write_images(tmp_path / "ct", [scout, *dynamic(1, 5)], Modality="CT", ImageType=["ORIGINAL", "PRIMARY", "AXIAL"])
    assert found(tmp_path) == {"ct": (5, 4, 5)}
    (aside,) = discover(tmp_path)[1]
    path = tmp_path / "ct" / "000.dcm"
    assert aside.reason == f"{path} is a localiser, set aside; give it by itself to use it"
    assert open_case(path).notes == ["a localiser: there is no other image"]


def test_localisers_that_are_all_there_is_are_said(tmp_path):
    scout = {name: value for name, value in LOCALISER.items() if name != "z"}
    write_images(tmp_path / "mr", [{**scout, "ImagePositionPatient": [4.0 * i, 0, 0]} for i in range(3)])
    (source,) = discover(tmp_path)[0]
    assert open_case(source).notes == ["a localiser: there is no other image"]
    assert discover(tmp_path)[1] == []


def test_a_volume_called_scout_is_no_localiser(tmp_path):
    write_images(tmp_path / "mr", dynamic(1, 12), SeriesDescription="AAHead_Scout")
    assert found(tmp_path) == {"mr": (12, 4, 5)}
    assert discover(tmp_path)[1] == []


@pytest.mark.parametrize("name", ["EchoTime", "AcquisitionNumber", "SeriesNumber", "InstanceNumber", "TriggerTime"])
def test_a_number_that_is_none_costs_no_image(tmp_path, name):
    write_images(tmp_path / "mr", dynamic(1, 6, **{name: "77777777"}))
    for path in (tmp_path / "mr").iterdir():
        path.write_bytes(path.read_bytes().replace(b"77777777", b"1 of 1  "))
    assert found(tmp_path) == {"mr": (6, 4, 5)}


def test_series_without_uids_and_numbers_are_told_apart_by_their_times(tmp_path):
    before, after = ([{"z": 3.0 * i, "SeriesTime": time} for i in range(4)] for time in ("120000", "121500"))
    tags = {"SeriesInstanceUID": None, "SeriesNumber": None}
    write_images(tmp_path / "mr", [*before, *after], **tags)
    assert sorted(numbers(tmp_path).values()) == [[0, 1, 2, 3], [4, 5, 6, 7]]
