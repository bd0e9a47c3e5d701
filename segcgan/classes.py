"""The classes a run tells apart: one list in the config, index 0 is the background."""

import re
from dataclasses import dataclass, field

import numpy as np

from segcgan.case import IGNORE, Array
from segcgan.errors import SegcganError

AUTO = "auto"
REST = -(2**31)  # in a list of label values: every value no class lists


@dataclass
class ClassSpec:
    """One class.

    Args:
        name: as shown in tables, legends and file tags.
        values: label values in the reference that mean this class; none = its index in the list.
        colour: ``#rrggbb``, for previews, colour tables and viewers; "auto" = see :mod:`segcgan.colours`.
        snomed: ``"code|meaning"`` for DICOM SEG, e.g. ``"10200004|Liver"``.
    """

    name: str
    values: list[int] = field(default_factory=list)
    colour: str = AUTO
    snomed: str | None = None

    def __post_init__(self) -> None:
        if self.colour != AUTO and not re.fullmatch(r"#[0-9a-fA-F]{6}", str(self.colour)):
            msg = f"class {self.name!r} has the colour {self.colour!r}; write it as '#rrggbb', in quotes"
            raise SegcganError(msg)

    @property
    def rgb(self) -> tuple[int, int, int] | None:
        """The given colour as three integers 0–255, None if there is none."""
        if self.colour == AUTO:
            return None
        text = self.colour.lstrip("#")
        return int(text[0:2], 16), int(text[2:4], 16), int(text[4:6], 16)


def to_indices(raw: Array, values: list[list[int]], where: str) -> Array:
    """Translate label values into class indices, uint8.

    Args:
        raw: label values, any shape.
        values: for each class, the label values that mean it; value ``IGNORE`` stays ignored unless listed.
        where: the file, for the error text.

    Raises:
        SegcganError: a label value belongs to no class.
    """
    rest = next((index for index, members in enumerate(values) if REST in members), None)
    known = raw == IGNORE
    indices = np.full(raw.shape, IGNORE, np.uint8)
    if rest is not None:
        indices[~known] = rest
        known = np.ones(raw.shape, bool)
    for index, members in enumerate(values):
        hit = np.isin(raw, members)
        indices[hit] = index
        known = known | hit
    if not known.all():
        unknown = sorted({int(value) for value in np.unique(raw[~known])})[:5]
        listed = ", ".join(str(members) for members in values)
        msg = f"{where}: label values {unknown} belong to no class (listed are {listed}); add them to data.classes"
        msg += " (segcgan refine: name them with --labels)"
        raise SegcganError(msg)
    return indices
