"""DICOM series: files grouped by what their headers say, and the reason why a file is no case."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.uid import MediaStorageDirectoryStorage

from segcgan.errors import SegcganError
from segcgan.formats.dicom_slices import DAMAGED, Plane, brief, load, planes_of
from segcgan.formats.folders import Rejected, Source

_TAGS = ["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "Modality", "Rows", "Columns",
         "NumberOfFrames", "ImagePositionPatient", "ImageOrientationPatient", "PerFrameFunctionalGroupsSequence",
         "AcquisitionNumber", "EchoNumbers", "TemporalPositionIdentifier"]  # fmt: skip
_SPLITS = ("AcquisitionNumber", "EchoNumbers", "TemporalPositionIdentifier")
_NOT_IMAGES = {
    "SEG": "a segmentation; give it as the mask of the image it belongs to",
    "RTDOSE": "a dose grid, not an image",
    "SM": "a whole-slide image in tiles; export it as GeoTIFF or PNG",
}


@dataclass(frozen=True)
class _Header:
    path: Path
    instance: str
    series: str
    number: str
    size: tuple[int, int]
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    splits: tuple[str, ...]  # what tells apart several volumes at the same positions


def find(files: list[Path]) -> tuple[list[Source], list[Rejected], list[Path]]:
    """Sort files into DICOM series, DICOM files that cannot be a case, and files of other formats.

    Only headers are read; content decides, not the extension. A series is what shares SeriesInstanceUID,
    orientation and matrix (and, where slices would coincide, AcquisitionNumber, EchoNumbers or
    TemporalPositionIdentifier); an image without a position, or with many frames, is a case by itself.

    Returns:
        the series (one :class:`Source` each, names safe in a file system), the rejected files with the
        reason, and the files that are not DICOM.
    """
    groups: dict[tuple[object, ...], list[list[_Header]]] = {}
    rejected, rest = [], []
    copies: dict[tuple[object, ...], Path] = {}
    for path in files:
        try:
            header = _header(path)
        except SegcganError as error:
            rejected.append(Rejected(path, f"{path} is {error}"))
            continue
        if header is None:
            rest.append(path)
            continue
        identity = (header.instance or path, header.position, header.size)
        if identity in copies:
            reason = f"{path} is a copy of {copies[identity]} (same SOPInstanceUID and position)"
            rejected.append(Rejected(path, reason))
            continue
        copies[identity] = path
        alone = header.position is None or header.orientation is None or not header.series
        similar = groups.setdefault((path,) if alone else (header.series, header.size), [])
        for group in similar:
            if alone or np.allclose(group[0].orientation or 0, header.orientation or 0, atol=1e-3):
                group.append(header)
                break
        else:
            similar.append([header])
    series = [part for similar in groups.values() for group in similar for part in _split(group)]
    sources = [
        Source(name, group[0].path if len(group) == 1 else _folder(group), "dicom", tuple(h.path for h in group))
        for name, group in zip(_names(series), series, strict=True)
    ]
    return sources, rejected, rest


def _header(path: Path) -> _Header | None:
    """Read what grouping needs; None when the file is not DICOM; SegcganError says why it cannot be a case."""
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
            return _Header(
                path=path,
                instance=str(dataset.get("SOPInstanceUID", "")),
                series=str(dataset.get("SeriesInstanceUID") or ""),
                number=str(dataset.get("SeriesNumber") or ""),
                size=(int(dataset.Rows), int(dataset.Columns)),
                position=plane.position,
                orientation=plane.orientation,
                splits=tuple(str(dataset.get(name, "")) for name in _SPLITS),
            )
    except DAMAGED as error:
        if not marked:
            return None
        msg = f"a damaged DICOM file ({brief(error)}); copy or export it again"
        raise SegcganError(msg) from error
    raise SegcganError(reason)


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


def _split(group: list[_Header]) -> Iterator[list[_Header]]:
    """Split a group whose slices coincide by the first attribute that tells the volumes apart."""
    for index in range(len(_SPLITS)):
        if len({header.position for header in group}) == len(group):
            break
        parts: dict[str, list[_Header]] = {}
        for header in group:
            parts.setdefault(header.splits[index], []).append(header)
        if all(len({header.position for header in part}) == len(part) for part in parts.values()):
            yield from parts.values()
            return
    yield group


def _folder(group: list[_Header]) -> Path:
    return Path(os.path.commonpath([header.path.parent for header in group]))


def _names(series: list[list[_Header]]) -> list[str]:
    """Name lone images by their file, series by their folder and, where several share it, the series number."""
    folders = [_folder(group).resolve() for group in series]
    shared = Counter(folder for folder, group in zip(folders, series, strict=True) if len(group) > 1)
    names = []
    for folder, group in zip(folders, series, strict=True):
        name = group[0].path.stem if len(group) == 1 else folder.name
        if shared[folder] > 1 and len(group) > 1:
            name = f"{folder.name}_{group[0].number or group[0].path.stem}"
        names.append(re.sub(r"[^\w.-]+", "_", name).strip("._") or "series")
    return names
