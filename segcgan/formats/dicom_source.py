"""The headers a DICOM SEG refers to, rebuilt from what is valid in the source files: odd values cost nothing."""

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom import DataElement, Dataset, config
from pydicom.datadict import dictionary_VM, dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedMRImageStorage,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)
from pydicom.valuerep import DA, TM, validate_value

from segcgan.formats.dicom_slices import DAMAGED, Plane, brief, load

_TYPE_2 = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
           "AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator")  # fmt: skip
# Patient and clinical trial are whole groups; these are the rest of General Study, Patient Study and the scanner.
_GROUPS = (0x0010, 0x0012)
_STUDY = ("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyDescription",
          "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy", "StudyID", "RequestingService", "AdmissionID",
          "AdmittingDiagnosesDescription", "ReasonForVisit", "ServiceEpisodeID", "ServiceEpisodeDescription",
          "PatientState", "ProcedureCodeSequence", "ReasonForPerformedProcedureCodeSequence",
          "IssuerOfAccessionNumberSequence", "PositionReferenceIndicator", "LossyImageCompression",
          "LossyImageCompressionRatio", "LossyImageCompressionMethod", "Manufacturer", "ManufacturerModelName",
          "SoftwareVersions", "DeviceSerialNumber", "InstitutionName", "StationName")  # fmt: skip
_IDENTITY = ("PatientID",)  # kept as it is: without it the SEG would not come to lie beside its images
_ALLOWED = {"PatientSex": ("M", "F", "O"), "LossyImageCompression": ("00", "01")}
_STORAGE = {"CT": CTImageStorage, "MR": MRImageStorage}


@dataclass
class Sources:
    """What a SEG needs to know of its source images.

    Args:
        headers: one per file in slice order, made anew; of a storage class that highdicom knows (see ``classes``).
        classes: the true SOPClassUID of each SOPInstanceUID.
        description: of the source series; may be empty.
        number: of the source series; 0 where it has none.
        notes: what was left out or filled in, each half a sentence.
    """

    headers: list[Dataset] = field(default_factory=list)
    classes: dict[str, str] = field(default_factory=dict)
    description: str = ""
    number: int = 0
    notes: list[str] = field(default_factory=list)


def read_sources(planes: list[Plane], step: float) -> Sources:
    """Read the source files of a series again and rebuild their headers.

    Patient and study are those of the first file, less the values that DICOM forbids. The geometry is that of
    ``planes``, wherever a file keeps it, and missing UIDs are derived from the series, so that every SEG of it lies
    in the same study and the same frame of reference.

    Args:
        planes: sorted slices.
        step: mm between them.
    """
    found = Sources()
    by_path: dict[Path, list[Plane]] = {}
    for plane in planes:
        by_path.setdefault(plane.path, []).append(plane)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, about values that are judged here
        datasets = [load(path, stop_before_pixels=True) for path in by_path]
        common = _patient_and_study(datasets[0], found.notes)
        uids = _series_uids(datasets, planes[0].position is not None, found.notes)
        lost = 0
        for dataset, own in zip(datasets, by_path.values(), strict=True):
            header = _geometry(dataset, own, planes[0], step)
            header.update(common)
            header.update(uids)
            header.SOPInstanceUID = _text(dataset, "SOPInstanceUID") or _derived(uids, own[0].path.name)
            lost += not _text(dataset, "SOPInstanceUID")
            kind = _STORAGE.get(_text(dataset, "Modality"), SecondaryCaptureImageStorage)
            found.classes[header.SOPInstanceUID] = _text(dataset, "SOPClassUID") or kind
            found.headers.append(header)
    if lost:
        found.notes.append(f"{lost} images without SOPInstanceUID, which no viewer finds by the SEG's references")
    found.description = str(_valid(datasets[0], "SeriesDescription", []) or "")
    number = _valid(datasets[0], "SeriesNumber", [])
    found.number = int(number) if number else 0
    return found


def _patient_and_study(dataset: Dataset, notes: list[str]) -> Dataset:
    """Copy patient, study and scanner; type 2 attributes are always there, empty where nothing valid is known."""
    own, odd = Dataset(), list[str]()
    charset = dataset.get("SpecificCharacterSet")
    present = list(dataset.keys())  # iterating over the data set itself would convert every value
    tags = [tag for tag in present if tag.group in _GROUPS and keyword_for_tag(tag)]  # private ones have no keyword
    for tag in [*tags, *(tag for tag in map(tag_for_keyword, _STUDY) if tag in dataset and tag not in tags)]:
        value = _valid(dataset, keyword_for_tag(tag), odd)
        if value is not None:
            own.add(DataElement(tag, dictionary_VR(tag), value))
    if charset:
        own.SpecificCharacterSet = charset
        own.decode()
    own.SpecificCharacterSet = "ISO_IR 192"  # highdicom refuses some character sets that scanners write
    for name in _TYPE_2:
        if name not in own:
            setattr(own, name, "")
    if odd:
        notes.append(f"values that DICOM forbids are left out of the SEG: {', '.join(odd)}")
    return own


def _valid(dataset: Dataset, name: str, odd: list[str]) -> Any:
    """Return a value that DICOM allows, or None; what is forbidden is added to ``odd``."""
    try:
        element = dataset.get_item(name) and dataset[name]
        if element is None or element.is_empty:
            return None
        _check(element, name)
    except DAMAGED as error:
        try:
            shown = str(dataset[name].value)
        except DAMAGED:
            shown = brief(error)
        if name in _IDENTITY and "exceeds" in str(error):
            return str(dataset[name].value)
        odd.append(f"{name} {shown[:40]!r}")
        return None
    return element.value


def _check(element: DataElement, name: str) -> None:
    """Raise ValueError for what the standard forbids, in nested items as well."""
    vr = dictionary_VR(name)
    if vr != element.VR:
        raise ValueError(f"VR {element.VR}, not {vr}")
    if vr == "SQ":
        for item in element.value:
            for nested in item:
                if nested.keyword:
                    _check(nested, nested.keyword)
        return
    if element.VM > 1 and dictionary_VM(name) == "1":
        raise ValueError(f"{element.VM} values, not one")
    for value in element.value if element.VM > 1 else [element.value]:
        if isinstance(value, (bytes, int, float)) and vr not in ("DS", "IS"):
            continue  # binary, which has no form of its own
        validate_value(vr, str(value), config.RAISE)
        if vr in ("DA", "TM"):
            (DA if vr == "DA" else TM)(str(value))  # the 30th of February has the right form
        if any(ord(letter) < 32 for letter in str(value)) and vr not in ("LT", "ST", "UT"):
            raise ValueError("control characters")
        if str(value) not in _ALLOWED.get(name, (str(value),)):
            raise ValueError("not one of the values defined")


def _series_uids(datasets: list[Dataset], placed: bool, notes: list[str]) -> Dataset:
    """Return the UIDs all headers share: those of the first file that has them, or derived from the series."""
    known: dict[str, list[str]] = {}
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        known[name] = list(dict.fromkeys(filter(None, (_text(dataset, name) for dataset in datasets))))
        if known[name] and not UID(known[name][0]).is_valid:
            told = f"{name} {known[name][0][:40]!r}"
            notes.append(f"{told} is no valid UID, and kept so that the SEG stays with its images")
    images = sorted(_text(dataset, "SOPInstanceUID") for dataset in datasets)
    seed = known["SeriesInstanceUID"][:1] or images
    uids = Dataset()
    for name, found in known.items():
        if found or placed or name != "FrameOfReferenceUID":  # without positions there is no frame to refer to
            setattr(uids, name, found[0] if found else generate_uid(entropy_srcs=[name, *seed]))
    if not known["StudyInstanceUID"]:
        notes.append("no StudyInstanceUID, so the SEG has one derived from the series")
    frames = known["FrameOfReferenceUID"]
    if placed and len(frames) > 1:
        notes.append(f"the slices name {len(frames)} FrameOfReferenceUIDs, of which the SEG has the first")
    if placed and not frames:
        notes.append("no FrameOfReferenceUID, so viewers may not lay the SEG over the images")
    return uids


def _geometry(dataset: Dataset, own: list[Plane], first: Plane, step: float) -> Dataset:
    """Return a header with size and place of one file: of a classic image, or of a file of several frames."""
    header = Dataset()
    header.Rows, header.Columns, header.Modality = int(dataset.Rows), int(dataset.Columns), "OT"
    thick = _valid(dataset, "SliceThickness", [])
    thickness = float(thick) if thick else round(step, 6)
    several = own[0].frame is not None
    header.SOPClassUID = EnhancedMRImageStorage if several else SecondaryCaptureImageStorage
    measures = Dataset()
    if first.spacing is not None:
        measures.PixelSpacing = list(first.spacing)
        measures.SliceThickness = thickness
    orientation = Dataset()
    if first.orientation is not None and first.position is not None:
        orientation.ImageOrientationPatient = list(first.orientation)
    if not several:
        header.update(measures)
        header.update(orientation)
        if own[0].position is not None:
            header.ImagePositionPatient = list(own[0].position)
        return header
    shared = Dataset()
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [orientation]
    header.SharedFunctionalGroupsSequence = [shared]
    header.NumberOfFrames = len(own)
    header.PerFrameFunctionalGroupsSequence = [
        _frame(plane) for plane in sorted(own, key=lambda plane: plane.frame or 0)
    ]
    return header


def _frame(plane: Plane) -> Dataset:
    position, groups = Dataset(), Dataset()
    if plane.position is not None:
        position.ImagePositionPatient = list(plane.position)
        groups.PlanePositionSequence = [position]
    return groups


def _text(dataset: Dataset, name: str) -> str:
    try:
        return str(dataset.get(name) or "").strip()
    except DAMAGED:
        return ""


def _derived(uids: Dataset, name: str) -> str:
    return generate_uid(entropy_srcs=[uids.SeriesInstanceUID, name])
