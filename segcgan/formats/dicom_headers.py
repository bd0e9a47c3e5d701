"""What the header of a DICOM file says about the series it belongs to, or why it is no case."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import MediaStorageDirectoryStorage

from segcgan.errors import SegcganError
from segcgan.formats.dicom_slices import DAMAGED, Plane, brief, load, planes_of

CLOCKS = ("AcquisitionDateTime", "AcquisitionTime", "ContentTime")
# What tells apart volumes at the same positions: what varies from volume to volume first, what may vary from slice
# to slice last.
TELLING = ("TemporalPositionIdentifier", "TemporalPositionIndex", "EchoNumbers", "EchoTime", "TriggerTime",
           "NominalPercentageOfCardiacPhase", "FrameReferenceTime", "DiffusionBValue", "DiffusionGradientOrientation",
           "ImageType", "ComplexImageComponent", "InversionTime", "FlipAngle", "ConvolutionKernel", "KVP",
           "SliceThickness", "AcquisitionNumber", *CLOCKS)  # fmt: skip
ACQUIRED = ("TriggerTime", "FrameReferenceTime", "AcquisitionDateTime", "AcquisitionTime")  # a copy has the same
ORDERING = (*ACQUIRED, "ContentTime", "InstanceNumber", "AcquisitionNumber")
# What stands in for a missing SeriesInstanceUID.
IDENTIFYING = ("SeriesNumber", "SeriesDescription", "ProtocolName", "SeriesTime", "FrameOfReferenceUID", "folder")
_TAGS: list[Any] = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID", "Modality",
                    "Rows", "Columns", "NumberOfFrames", "ImagePositionPatient", "ImageOrientationPatient",
                    "PixelSpacing", "PerFrameFunctionalGroupsSequence", "InstanceNumber", *TELLING,
                    *IDENTIFYING[:-1]]  # fmt: skip
# Where scanners without the standard's attributes keep them: (group, elements in the block, creator of the block).
_PRIVATE = {
    "DiffusionBValue": (
        (0x0019, (0x0C,), "SIEMENS MR HEADER"),
        (0x0043, (0x39,), "GEMS_PARM_01"),
        (0x2001, (0x03,), "Philips Imaging DD 001"),
        (0x0065, (0x09,), "Image Private Header"),
    ),
    "DiffusionGradientOrientation": (
        (0x0019, (0x0E,), "SIEMENS MR HEADER"),
        (0x0019, (0xBB, 0xBC, 0xBD), "GEMS_ACQU_01"),
        (0x2005, (0xB0, 0xB1, 0xB2), "Philips MR Imaging DD 001"),
        (0x0065, (0x37,), "Image Private Header"),
    ),
}
_BLOCKS = (0x10, 0x11, 0x12)  # where private blocks begin in practice
for _group, _elements, _ in (place for places in _PRIVATE.values() for place in places):
    _TAGS += [(_group << 16) + block for block in _BLOCKS]
    _TAGS += [(_group << 16) + (block << 8) + element for block in _BLOCKS for element in _elements]

_NOT_IMAGES = {
    "SEG": "a segmentation; give it as the mask of the image it belongs to",
    "RTDOSE": "a dose grid, not an image",
    "SM": "a whole-slide image in tiles; export it as GeoTIFF or PNG",
}
_LOCALISER = re.compile(r"(?<![a-z])(locali[sz]er|scout|topogram|surview|scanogram)(?![a-z])", re.IGNORECASE)
_FEW = 10  # images of a localiser; a volume may be called a scout as well


@dataclass(frozen=True)
class Header:
    """One file of a series, as far as its header tells where it belongs."""

    path: Path
    instance: str
    series: str
    study: str
    patient: str
    modality: str
    size: tuple[int, int]
    spacing: tuple[float, ...] | None
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    said: dict[str, str]  # what may tell apart volumes or series; "" where nothing is said

    @property
    def number(self) -> str:
        """SeriesNumber."""
        return self.said["SeriesNumber"]


def read_header(path: Path) -> Header | None:
    """Read what grouping needs; None when the file is not DICOM.

    Raises:
        SegcganError: half a sentence that says why the file cannot be a case.
    """
    with path.open("rb") as file:
        head = file.read(132)
    marked = head[128:] == b"DICM"
    if not marked and head[:2] not in (b"\x02\x00", b"\x08\x00"):  # the groups a file without preamble begins with
        return None
    try:
        dataset = load(path, stop_before_pixels=True, specific_tags=_TAGS)
        if not marked and "SOPClassUID" not in dataset:
            return None
        reason = _refusal(dataset)
        if reason is None:
            enhanced = "PerFrameFunctionalGroupsSequence" in dataset
            plane = Plane(path) if enhanced else planes_of(dataset, path)[0]
            return Header(
                path=path,
                instance=_text(dataset.get("SOPInstanceUID")),
                series=_text(dataset.get("SeriesInstanceUID")),
                study=_text(dataset.get("StudyInstanceUID")),
                patient=_text(dataset.get("PatientID")),
                modality=_text(dataset.get("Modality")),
                size=(int(dataset.Rows), int(dataset.Columns)),
                spacing=plane.spacing,
                position=plane.position,
                orientation=plane.orientation,
                said=_said(dataset, path),
            )
    except DAMAGED as error:
        if not marked:
            return None
        msg = f"a damaged DICOM file ({brief(error)}); copy or export it again"
        raise SegcganError(msg) from error
    raise SegcganError(reason)


def is_localiser(group: list[Header]) -> bool:
    """Tell whether the files of a series are localisers (scouts): planned on, not looked at."""
    first = group[0]
    if "LOCALIZER" in first.said["ImageType"].upper().split("\\"):
        return True
    named = _LOCALISER.search(first.said["SeriesDescription"])
    return bool(named) and len(group) <= _FEW and first.modality in ("CT", "MR", "PT")


def _said(dataset: Dataset, path: Path) -> dict[str, str]:
    said = {name: _value(dataset, name) for name in (*TELLING, *ORDERING, *IDENTIFYING[:-1])}
    for name, places in _PRIVATE.items():
        found = [] if said[name] else [_private(dataset, *place) for place in places]
        said[name] = next(filter(None, found), said[name])
    return said | {"folder": str(path.parent)}


def _private(dataset: Dataset, group: int, elements: tuple[int, ...], creator: str) -> str:
    """Return what a vendor keeps in a private block as text, or "" where it is not there."""
    if not any((group, block) in dataset for block in _BLOCKS):
        return ""
    try:
        block = dataset.private_block(group, creator)
        values = [_text(block[element].value) for element in elements]
    except LookupError:
        return ""
    if creator == "GEMS_PARM_01":  # several numbers, of which the first is the b-value, with 10⁹ added at times
        first = values[0].partition("\\")[0]
        return str(int(first) % 10**9) if first.isdigit() else first
    return "\\".join(values)


def _value(dataset: Dataset, name: str) -> str:
    """Return a value as text, as it stands in the file where it is not of its kind: nothing depends on its meaning."""
    try:
        return _text(dataset.get(name))
    except DAMAGED:
        raw = dataset.get_item(name)
        return _text(raw.value) if raw is not None else ""


def _text(value: Any) -> str:
    """Return a value as text, several values with backslashes between them as in the file."""
    if value is None:
        return ""
    if isinstance(value, bytes):  # a number that is none, or a private attribute that lost its VR on the way
        return value.decode().strip(" \0") if value.isascii() else value.hex()
    return "\\".join(map(str, value)) if isinstance(value, MultiValue | list) else str(value).strip()


def _refusal(dataset: Dataset) -> str | None:
    kind = dataset.get("Modality") or "unknown modality"
    media = dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID")
    if media == MediaStorageDirectoryStorage:
        return "a DICOMDIR index; the images it lists are found by themselves"
    if kind in _NOT_IMAGES:
        return _NOT_IMAGES[kind]
    if not dataset.get("Rows") or not dataset.get("Columns"):
        return f"a DICOM object without an image ({kind})"
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1 and "PerFrameFunctionalGroupsSequence" not in dataset:
        return f"a film of {frames} frames without positions; export the frames one by one"
    return None
