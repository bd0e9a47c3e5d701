"""What the numbers in a mask mean: classes, classes as probabilities, or several raters."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from segcgan.case import Array, Case, LabelReader, Window
from segcgan.classes import REST, ClassSpec, to_indices
from segcgan.errors import SegcganError, nearest
from segcgan.formats.columns import UNKNOWN, Meaning

_LAST_BIT = 30  # label values are int32


@dataclass(frozen=True)
class ClassIndices:
    """Reads label values and returns class indices (d, h, w) uint8."""

    read: LabelReader
    values: list[list[int]]
    where: str

    def __call__(self, window: Window) -> Array:
        """Read an absolute window."""
        return to_indices(self.read(window), self.values, self.where)


@dataclass(frozen=True)
class OneHot:
    """Reads class indices and returns them as hard probabilities (K, d, h, w) float32."""

    read: LabelReader
    classes: int

    def __call__(self, window: Window) -> Array:
        """Read an absolute window."""
        return (self.read(window)[None] == np.arange(self.classes)[:, None, None, None]).astype(np.float32)


@dataclass(frozen=True)
class Complete:
    """Reads a coarse mask and refuses it where it says nothing of a valid pixel of its image.

    255 is a class in some files and "unknown" in others; taken for the latter it would empty the mask.
    """

    read: LabelReader
    case: Case
    path: Path

    def __call__(self, window: Window) -> Array:
        """Read probabilities (K, d, h, w) of an absolute window.

        Raises:
            SegcganError: they are all 0 somewhere in the image.
        """
        values = self.read(window)
        if (unknown := values.sum(0) == 0).any():
            z, y, x = (slice(p.start - o, p.stop - o) for p, o in zip(window, self.case.start, strict=True))
            if (unknown & self.case.read((z, y, x))[1][0]).any():
                cure = "say what 255 means (NAME=255 as --labels, or in column labels of the manifest)"
                rest = "or give a mask of the whole image"
                raise SegcganError(
                    f"{self.path} says nothing (255 or nodata) of valid pixels of the image; {cure}, {rest}"
                )
        return values


@dataclass(frozen=True)
class Raters:
    """Reads masks of several raters kept as the bits of one number: (R, d, h, w) class indices uint8."""

    read: LabelReader
    index: int
    bits: tuple[int, ...]

    def __call__(self, window: Window) -> Array:
        """Read an absolute window."""
        field = self.read(window)
        return np.stack([np.where(field >> bit & 1, self.index, 0) for bit in self.bits]).astype(np.uint8)


@dataclass(frozen=True)
class Majority:
    """The class at least half of the raters chose: what a single mask is scored against."""

    raters: Raters

    def __call__(self, window: Window) -> Array:
        """Read an absolute window."""
        votes = (self.raters(window) == self.raters.index).sum(0)
        return np.where(2 * votes >= len(self.raters.bits), self.raters.index, 0).astype(np.uint8)


def label_values(labels: str, classes: list[ClassSpec], where: Path) -> list[list[int]]:
    """Return the label values of each class, with the per-case ``labels`` ("liver=5|6;tumour=2") taking precedence."""
    values = {spec.name: list(spec.values) or [index] for index, spec in enumerate(classes)}
    for item in filter(None, labels.split(";")):
        name, _, listed = item.partition("=")
        if name.strip() not in values:
            raise SegcganError(f"{where}: labels name class {name.strip()!r}{nearest(name.strip(), values)}")
        try:
            values[name.strip()] = [REST if value.strip() == "*" else int(value) for value in listed.split("|")]
        except ValueError as error:
            msg = f"{where}: labels {item!r} should read name=value or name=value|value with whole numbers"
            raise SegcganError(msg) from error
    owners: dict[int, str] = {}
    for name, listed_values in values.items():
        for value in listed_values:
            if (other := owners.setdefault(value, name)) != name:
                said = "every other value" if value == REST else f"the value {value}"
                raise SegcganError(f"{where}: {said} belongs to {other} and to {name}; give it to one class")
    return list(values.values())


def meaning_of(classes: list[ClassSpec], values: list[list[int]], polygons: Meaning = UNKNOWN) -> Meaning:
    """Return what polygons mean: each class by its name or one of its label values; column and layer as given."""
    return replace(polygons, names=tuple(spec.name for spec in classes), values=tuple(map(tuple, values)))


def rater_bits(labels: str, classes: list[ClassSpec], where: Path) -> tuple[int, tuple[int, ...]] | None:
    """Return (class index, bits) when ``labels`` says that each bit is a rater, else None.

    Raises:
        SegcganError: bits of several classes, or beside label values.
    """
    name, _, listed = labels.partition("=")
    if not re.search(r"[=|]\s*bit", labels):
        return None
    names = [spec.name for spec in classes]
    found = re.fullmatch(r"bit\d+(\|bit\d+)*", listed.replace(" ", ""))
    if found is None or name.strip() not in names:
        cure = f"write CLASS=bit0|bit1|…, with one of the classes {', '.join(names)}"
        raise SegcganError(f"{where}: labels {labels!r} should give each rater a bit of one class; {cure}")
    bits = tuple(int(bit) for bit in re.findall(r"\d+", listed))
    if len(set(bits)) < len(bits) or max(bits) > _LAST_BIT:
        raise SegcganError(f"{where}: labels {labels!r}; give every rater a bit of its own, 0 to {_LAST_BIT}")
    return names.index(name.strip()), bits
