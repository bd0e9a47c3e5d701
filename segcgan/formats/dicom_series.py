"""DICOM series: files grouped by what their headers say, and the reason why a file is no case."""

import os
import re
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from segcgan.errors import SegcganError
from segcgan.formats.dicom_headers import Header, is_localiser, read_header
from segcgan.formats.dicom_volumes import Volume, identify, is_stack, split
from segcgan.formats.folders import Rejected, Source, stem_of

_BY_GEOMETRY = "its images were put together by their geometry, because they {}"


@dataclass(frozen=True)
class _Part:
    """A volume, or an image by itself, on its way to a :class:`Source`."""

    volume: Volume
    notes: tuple[str, ...] = ()

    @property
    def headers(self) -> list[Header]:
        return self.volume.headers

    @property
    def folder(self) -> Path:
        return Path(os.path.commonpath([header.path.parent for header in self.headers]))

    @property
    def localiser(self) -> bool:
        return is_localiser(self.headers)


def find(files: list[Path]) -> tuple[list[Source], list[Rejected], list[Path]]:
    """Sort files into DICOM series, DICOM files that cannot be a case, and files of other formats.

    Only headers are read (and pixels where a copy is suspected); content decides, not the extension. A series is
    what shares SeriesInstanceUID, orientation and matrix, or, where that UID is missing or each image has its own,
    study and geometry; it is split into volumes by :func:`segcgan.formats.dicom_volumes.split`. An image without a
    position, or with many frames, is a case by itself. Localisers are set aside unless there is nothing else.

    Returns:
        the series (one :class:`Source` each, names safe in a file system), the rejected files with the
        reason, and the files that are not DICOM.
    """
    headers, rejected, rest = _read(files)
    parts: list[_Part] = []
    for group, notes in _groups(headers):
        volumes, copies = split(group) if group[0].position is not None else ([Volume(group)], [])
        rejected += copies
        parts += [_Part(volume, notes) for volume in volumes]
    if all(part.localiser for part in parts):
        found = [replace(part, notes=(*part.notes, "a localiser: there is no other image")) for part in parts]
    else:
        found = [part for part in parts if not part.localiser]
        rejected += [_set_aside(part) for part in parts if part.localiser]
    sources = []
    for name, part in zip(_names(found), found, strict=True):
        paths = tuple(header.path for header in part.headers)
        path = paths[0] if len(paths) == 1 else part.folder
        sources.append(Source(name, path, "dicom", paths, part.notes))
    return sources, rejected, rest


def _read(files: list[Path]) -> tuple[list[Header], list[Rejected], list[Path]]:
    headers, rejected, rest = [], [], []
    copies: dict[tuple[object, ...], Path] = {}
    for path in files:
        try:
            header = read_header(path)
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
        headers.append(header)
    return headers, rejected, rest


def _groups(headers: list[Header]) -> Iterator[tuple[list[Header], tuple[str, ...]]]:
    """Yield the images of each series, or what stands for one, with notes."""
    placed = [header for header in headers if header.position is not None and header.orientation is not None]
    yield from (([header], ()) for header in headers if header.position is None or header.orientation is None)
    unnamed = [header for header in placed if not header.series]
    for group in _alike(unnamed, lambda header: (_geometry(header), header.study or header.path.parent)):
        for part in identify(group):
            yield part, (_BY_GEOMETRY.format("have no SeriesInstanceUID"),) if len(part) > 1 else ()
    series = list(_alike([header for header in placed if header.series], lambda header: (header.series, header.size)))
    lone = [group[0] for group in series if len(group) == 1]
    joined: set[Path] = set()
    for group in _alike(lone, lambda header: (_geometry(header), header.path.parent, header.number)):
        studies = len({header.study for header in group})
        if len(group) > 2 and studies in (1, len(group)) and is_stack(group):  # an anonymiser that names each image
            joined |= {header.path for header in group}
            yield group, (_BY_GEOMETRY.format("have a SeriesInstanceUID each"),)
    yield from ((group, ()) for group in series if group[0].path not in joined)


def _alike(headers: list[Header], key: Callable[[Header], Hashable]) -> Iterator[list[Header]]:
    """Yield the groups of one key and one orientation; localisers are never mixed with what they plan."""
    groups: dict[Hashable, list[list[Header]]] = {}
    for header in headers:
        similar = groups.setdefault((key(header), is_localiser([header])), [])
        for group in similar:
            if np.allclose(group[0].orientation or 0, header.orientation or 0, atol=1e-3):
                group.append(header)
                break
        else:
            similar.append([header])
    yield from (group for similar in groups.values() for group in similar)


def _geometry(header: Header) -> Hashable:
    spacing = tuple(round(size, 3) for size in header.spacing or ())
    return header.patient, header.modality, header.size, spacing


def _set_aside(part: _Part) -> Rejected:
    first = part.headers[0].path
    more = f" and {len(part.headers) - 1} more are" if len(part.headers) > 1 else " is"
    return Rejected(first, f"{first}{more} a localiser, set aside; give it by itself to use it")


def _names(parts: list[_Part]) -> list[str]:
    """Name lone images by their file; series by their folder and, where several share it, what tells them apart."""
    shared: dict[Path, set[Hashable]] = {}
    for part in parts:
        if len(part.headers) > 1:
            shared.setdefault(part.folder.resolve(), set()).add(_series(part))
    names = []
    for part in parts:
        first = part.headers[0]
        folder = part.folder.resolve()
        words = [stem_of(first.path) if len(part.headers) == 1 else folder.name]
        if len(part.headers) > 1 and len(shared[folder]) > 1:
            words.append(first.number or stem_of(first.path))
        names.append("_".join([*words, *filter(None, [part.volume.label])]))
    return [re.sub(r"[^\w.-]+", "_", name).strip("._") or "series" for name in names]


def _series(part: _Part) -> Hashable:
    first = part.headers[0]
    return first.series, first.number, first.size, first.orientation
