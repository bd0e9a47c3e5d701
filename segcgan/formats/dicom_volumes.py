"""Which images of a DICOM series make one volume: dynamic series, echoes and phases lie at the same positions."""

import hashlib
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segcgan.case import Array
from segcgan.formats.dicom_headers import ACQUIRED, CLOCKS, IDENTIFYING, ORDERING, TELLING, Header
from segcgan.formats.dicom_slices import DAMAGED, load
from segcgan.formats.dicom_stack import evenly_spaced
from segcgan.formats.folders import Rejected

_SAME_PLACE = 0.01  # mm
_MOST = 3  # attributes that tell volumes apart together: b-value, direction and phase, say

Groups = list[list[Header]]


@dataclass(frozen=True)
class Volume:
    """Images that make one volume.

    Args:
        headers: one per slice.
        label: what tells the volume from others of its series, as ``EchoNumbers_2``; empty where it is the only one.
    """

    headers: list[Header]
    label: str = ""


def split(group: list[Header]) -> tuple[list[Volume], list[Rejected]]:
    """Split images of one series, orientation and matrix into volumes.

    Where images lie at the same positions, the first attribute (or the fewest together) is taken that separates
    *whole* volumes; what would make single slices of a stack, or volumes that lie between each other's slices, is
    not. Without such an attribute, the images at each position are put in order of time or number, if all positions
    have as many. Equal pixels at one position are an image and its copies, unless the times of acquisition differ at
    all positions. What still coincides stays one group, which is refused when it is opened.

    Returns:
        the volumes, and copies with the reason.
    """
    places = _places(group)
    most = max(Counter(places).values())
    if most == 1:
        return [Volume(group)], []
    parts = _told_apart(group, places, most) or _in_order(group, places, most, ACQUIRED)
    if parts:
        return parts, []
    kept, copies = _without_copies(group, places)
    if copies:
        return [Volume(kept)], copies
    return _in_order(group, places, most, ORDERING) or [Volume(group)], []


def identify(group: list[Header]) -> Groups:
    """Split images without SeriesInstanceUID by what else tells series apart, until each part can be a volume."""
    groups = [group]
    for name in IDENTIFYING:
        groups = [part for one in groups for part in _by_identity(one, name)]
    return groups


def is_stack(group: list[Header]) -> bool:
    """Tell whether images with positions lie at equal distances, each at a place of its own."""
    heights, normal = _heights(group)
    order = np.argsort(heights)
    positions = np.array([header.position for header in group])[order]
    return len(set(_places(group))) == len(group) and evenly_spaced(positions, normal)


def _by_identity(group: list[Header], name: str) -> Groups:
    parts = _by_value(group, [name]).values()
    if len(parts) == 1 or is_stack(group) or min(map(len, parts)) == 1:
        return [group]
    return list(parts)


def _heights(group: list[Header]) -> tuple[Array, Array]:
    """Return the positions along the normal (n,) in mm, and the normal (3,)."""
    cosines = np.array(group[0].orientation or (1, 0, 0, 0, 1, 0))
    normal = np.cross(cosines[:3], cosines[3:])
    return np.array([header.position or (0, 0, 0) for header in group]) @ normal, normal


def _places(group: list[Header]) -> list[int]:
    """Number the distinct positions along the normal, and return that of each image."""
    heights, _ = _heights(group)
    order = np.argsort(heights, kind="stable")
    numbers = np.zeros(len(group), int)
    numbers[order[1:]] = np.cumsum(np.diff(heights[order]) > _SAME_PLACE)
    return [int(number) for number in numbers]


def _by_value(group: Sequence[Header], names: Sequence[str]) -> dict[tuple[str, ...], list[Header]]:
    parts: dict[tuple[str, ...], list[Header]] = defaultdict(list)
    for header in group:
        parts[tuple(header.said[name] for name in names)].append(header)
    return parts


def _told_apart(group: list[Header], places: list[int], most: int) -> list[Volume]:
    """Return the volumes that the fewest attributes separate; none where no attributes do."""
    place = {header.path: number for header, number in zip(group, places, strict=True)}
    single = len(set(places)) == 1
    limit = len(group) if single else len(group) // 2  # more values make single slices
    # images all at one place may be a stack that lost its positions: the times they were made at say nothing
    telling = [name for name in TELLING if not (single and name in CLOCKS)]
    varying = [name for name in telling if 1 < len({header.said[name] for header in group}) <= limit]
    # as many volumes as images lie at one position; only then more, of which each covers a part
    fitting: tuple[Callable[[int], bool], ...] = (lambda count: count == most, lambda count: count > most)
    for fits in fitting:
        for several in range(1, _MOST + 1):
            for names in itertools.combinations(varying, several):
                parts = _by_value(group, names)
                if fits(len(parts)) and _whole([[place[h.path] for h in part] for part in parts.values()]):
                    labels = _labels(names, list(parts))
                    return [Volume(part, label) for part, label in zip(parts.values(), labels, strict=True)]
    return []


def _whole(parts: list[list[int]]) -> bool:
    """Tell whether parts, given by the places of their slices, are volumes: without doublets, and hardly any gap."""
    union = sorted({number for part in parts for number in part})
    if any(len(set(part)) < len(part) or (len(part) == 1 and len(union) > 1) for part in parts):
        return False
    filled = []
    for part in parts:
        between = sum(min(part) <= number <= max(part) for number in union)
        filled.append(len(part) / between)
    complete = any(len(part) == len(union) for part in parts)
    return min(filled) >= 0.8 or (complete and min(filled) > 0.5)


def _labels(names: Sequence[str], parts: list[tuple[str, ...]]) -> list[str]:
    """Name each part, given by the values of the attributes, by both."""
    columns = [_differing([values[index] for values in parts]) for index in range(len(names))]
    return ["_".join(itertools.chain(*zip(names, values, strict=True))) for values in zip(*columns, strict=True)]


def _differing(values: list[str]) -> list[str]:
    """Shorten values: of several components, those that differ; of numbers, no idle digits."""
    rows = [value.split("\\") for value in values]
    width = max(map(len, rows))
    rows = [row + [""] * (width - len(row)) for row in rows]
    kept = [column for column in range(width) if len({row[column] for row in rows}) > 1]
    return ["_".join(filter(None, (_number(row[column]) for column in kept))) or "none" for row in rows]


def _number(text: str) -> str:
    return f"{float(text):.10g}" if re.fullmatch(r"-?\d+\.\d+", text) else text


def _in_order(group: list[Header], places: list[int], most: int, names: Sequence[str]) -> list[Volume]:
    """Make the k-th volume of the k-th image at each position, in order of time or number."""
    at: dict[int, list[Header]] = defaultdict(list)
    for header, number in zip(group, places, strict=True):
        at[number].append(header)
    if len(at) == 1 or min(map(len, at.values())) < most:
        return []
    for name in names:
        if all(len({header.said[name] for header in headers} - {""}) == most for headers in at.values()):
            ranked = [sorted(headers, key=lambda header: _rank(header.said[name])) for headers in at.values()]
            parts = [list(part) for part in zip(*ranked, strict=True)]
            firsts = [min((header.said[name] for header in part), key=_rank) for part in parts]
            return [Volume(part, f"{name}_{_number(first)}") for part, first in zip(parts, firsts, strict=True)]
    return []


def _rank(text: str) -> tuple[float, str]:
    try:
        return float(text), ""
    except ValueError:
        return float("inf"), text


def _without_copies(group: list[Header], places: list[int]) -> tuple[list[Header], list[Rejected]]:
    """Take out images with the pixels of another one at the same position, if one image at each position is left.

    If not, equal pixels are no sign of a copy: the empty slices of a dynamic series are all alike.
    """
    counts = Counter(places)
    doubled = sorted(number for number, count in counts.items() if count > 1)
    probe = doubled[len(doubled) // 2]
    probed = {_pixels(header.path) for header, number in zip(group, places, strict=True) if number == probe}
    if len(probed) > 1:
        return group, []
    kept: dict[tuple[int, str], Header] = {}
    copies = []
    for header, number in zip(group, places, strict=True):
        first = kept.setdefault((number, _pixels(header.path) if counts[number] > 1 else ""), header)
        if first is not header:
            copies.append(Rejected(header.path, f"{header.path} is a copy of {first.path} (same position and pixels)"))
    return (group, []) if len(kept) > len(counts) else (list(kept.values()), copies)


def _pixels(path: Path) -> str:
    try:
        dataset = load(path)
        scale = (dataset.get("RescaleSlope"), dataset.get("RescaleIntercept"))
        return hashlib.sha256(dataset.PixelData + repr(scale).encode()).hexdigest()
    except DAMAGED:
        return str(path)  # whoever opens the series says what is wrong
