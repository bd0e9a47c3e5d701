"""A case: one thing a user has (a CT series, a volume, a scene, a picture), read lazily, window by window.

Every array has three spatial axes, ``(slice, row, column)``; rasters and pictures have one slice.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from segcgan.errors import SegcganError

Window = tuple[slice, slice, slice]
Shape = tuple[int, int, int]
Array = NDArray[Any]

IGNORE = 255  # in class-index masks: never trains, never scores, written as nodata


@dataclass(frozen=True)
class Geometry:
    """Where the array lies in the world.

    ``affine`` (4, 4) maps (slice, row, column, 1) to world coordinates: LPS millimetres and voxel centres for scans,
    CRS units and pixel corners for rasters, as their formats do. ``spacing`` is the physical size of a voxel along
    the three axes in ``unit`` (for a raster in degrees the affine stays in degrees and the spacing is in metres).
    """

    affine: Array
    spacing: tuple[float, float, float]
    unit: str = "mm"  # "mm", "m" or "px"
    crs: str | None = None  # WKT

    def at(self, start: tuple[int, int, int]) -> "Geometry":
        """Return the geometry of a part of the array that begins at index ``start``."""
        moved = self.affine.copy()
        moved[:3, 3] += self.affine[:3, :3] @ np.asarray(start, dtype=float)
        return replace(self, affine=moved)


@dataclass(frozen=True)
class Axes:
    """Signed permutation between stored axes and canonical ones (increasing index = towards S, P, L)."""

    order: tuple[int, int, int] = (0, 1, 2)  # canonical axis i is stored axis order[i]
    flip: tuple[bool, bool, bool] = (False, False, False)  # of canonical axis i

    @classmethod
    def closest(cls, affine: Array) -> "Axes":
        """Return the axes that bring an LPS ``affine`` (4, 4) nearest to (slice → S, row → P, column → L)."""
        direction = affine[:3, :3] / np.maximum(np.linalg.norm(affine[:3, :3], axis=0), 1e-12)
        cosines = direction[[2, 1, 0]]  # rows: canonical S, P, L; columns: stored axes
        order, left = [-1, -1, -1], {0, 1, 2}
        for flat in np.argsort(-np.abs(cosines), axis=None, kind="stable"):
            canonical, stored = divmod(int(flat), 3)
            if order[canonical] < 0 and stored in left:
                order[canonical] = stored
                left.remove(stored)
        flips = tuple(bool(cosines[i, order[i]] < 0) for i in range(3))
        return cls((order[0], order[1], order[2]), (flips[0], flips[1], flips[2]))

    def apply(self, array: Array) -> Array:
        """Bring the last three axes of a stored array into canonical order (a view)."""
        lead = array.ndim - 3
        moved = array.transpose(*range(lead), *(lead + axis for axis in self.order))
        return moved[(..., *(slice(None, None, -1) if flipped else slice(None) for flipped in self.flip))]

    def invert(self, array: Array) -> Array:
        """Bring the last three axes of a canonical array back into stored order (a view)."""
        lead = array.ndim - 3
        unflipped = array[(..., *(slice(None, None, -1) if flipped else slice(None) for flipped in self.flip))]
        back = np.argsort(self.order)
        return unflipped.transpose(*range(lead), *(lead + int(axis) for axis in back))

    def shape(self, stored: Shape) -> Shape:
        """Return the canonical shape of an array stored with shape ``stored``."""
        return stored[self.order[0]], stored[self.order[1]], stored[self.order[2]]

    def window(self, window: Window, stored: Shape) -> Window:
        """Return the stored window behind a canonical ``window``; ``stored`` is the whole stored shape."""
        found = [slice(0, 0)] * 3
        for canonical, axis in enumerate(self.order):
            part, size = window[canonical], stored[axis]
            found[axis] = slice(size - part.stop, size - part.start) if self.flip[canonical] else part
        return found[0], found[1], found[2]

    def affine(self, affine: Array, stored: Shape) -> Array:
        """Return the affine of the canonical array, given the affine and shape of the stored one."""
        change = np.eye(4)
        change[:3, :3] = 0
        for canonical, axis in enumerate(self.order):
            change[axis, canonical] = -1 if self.flip[canonical] else 1
            change[axis, 3] = stored[axis] - 1 if self.flip[canonical] else 0
        return affine @ change


class Reader(Protocol):
    """Pixels of one file or series. Windows lie inside the array."""

    def read(self, window: Window) -> tuple[Array, Array]:
        """Return the image (C, d, h, w) float32 and its validity (1, d, h, w) bool."""


LabelReader = Callable[[Window], Array]  # window inside the case -> raw label values (d, h, w)


@dataclass(frozen=True)
class _Bands:
    reader: Reader
    indices: tuple[int, ...]

    def read(self, window: Window) -> tuple[Array, Array]:
        image, valid = self.reader.read(window)
        return image[list(self.indices)], valid

    def read_input(self, window: Window) -> tuple[Array, Array]:
        image, valid = getattr(self.reader, "read_input", self.reader.read)(window)
        return image[list(self.indices)], valid


@dataclass
class Case:
    """One image with its geometry, opened but not loaded."""

    name: str  # file stem of everything written for it; unique within a run
    path: Path
    format: str  # "dicom", "nifti", "geotiff", "png"
    shape: Shape
    channels: int
    geometry: Geometry
    reader: Reader
    group: str = ""  # patient or scene: never split between training and test
    split: str = ""
    start: tuple[int, int, int] = (0, 0, 0)  # of this case within the file, when it is a part of one
    reference: LabelReader | None = None  # class indices, IGNORE where unknown
    raters: Callable[[Window], Array] | None = None  # (R, d, h, w) class indices, when several people annotated
    coarse: Callable[[Window], Array] | None = None  # (K, d, h, w) probabilities made by somebody else
    stored: dict[str, Any] = field(default_factory=dict)  # what the format needs to write back
    notes: list[str] = field(default_factory=list)  # what is doubtful about the file, for users to read

    def read(self, window: Window) -> tuple[Array, Array]:
        """Read an image window that may reach over the edge: outside is 0 and invalid.

        Returns:
            image (C, d, h, w) float32 and validity (1, d, h, w) bool.
        """
        return self._read_pixels(self.reader.read, window)

    def read_input(self, window: Window) -> tuple[Array, Array]:
        """Read what a network sees: as :meth:`read`, but padding that a scan declares is valid and keeps its value.

        Files that do not declare their padding hold the same values, and the same voxels must give the same mask.
        """
        return self._read_pixels(getattr(self.reader, "read_input", self.reader.read), window)

    def read_reference(self, window: Window) -> Array:
        """Read class indices (d, h, w) uint8; outside the case they are ``IGNORE``."""
        if self.reference is None:
            raise ValueError(f"case {self.name!r} has no reference mask")
        return self._read_labels(self.reference, window, lead=0, fill=IGNORE)

    def read_raters(self, window: Window) -> Array:
        """Read the class indices (R, d, h, w) uint8 of every rater; an empty mask is an answer, not a missing rater."""
        if self.raters is None:
            raise ValueError(f"case {self.name!r} has no raters")
        return self._read_labels(self.raters, window, lead=1, fill=IGNORE)

    def read_votes(self, window: Window) -> Array:
        """Read the class indices (R, d, h, w) uint8 of every rater, or of the one reference (R = 1)."""
        return self.read_reference(window)[None] if self.raters is None else self.read_raters(window)

    def read_coarse(self, window: Window) -> Array:
        """Read coarse probabilities (K, d, h, w) float32 made elsewhere; outside the case they are 0."""
        if self.coarse is None:
            raise ValueError(f"case {self.name!r} has no coarse mask")
        return self._read_labels(self.coarse, window, lead=1, fill=0)

    def with_bands(self, bands: list[int]) -> "Case":
        """Return the case with these bands only, counted from 1.

        Raises:
            SegcganError: it has no such band.
        """
        wrong = [band for band in bands if not 1 <= band <= self.channels]
        if wrong or not bands:
            what = f"names band {wrong[0]}" if wrong else "names no band"
            raise SegcganError(f"data.images.bands {what}, but {self.path} has bands 1 to {self.channels}")
        indices = tuple(band - 1 for band in bands)
        choose = getattr(self.reader, "choose", None)  # a file that is read band by band is judged by these alone
        return replace(self, channels=len(bands), reader=choose(indices) if choose else _Bands(self.reader, indices))

    def part(self, window: Window, name: str) -> "Case":
        """Return the part of this case inside ``window`` as a case of its own; the rest does not exist for it."""
        inside, _ = self._clip(window)
        start = (inside[0].start, inside[1].start, inside[2].start)
        return replace(
            self,
            name=name,
            shape=tuple(part.stop - part.start for part in inside),
            geometry=self.geometry.at(start),
            start=tuple(mine + more for mine, more in zip(self.start, start, strict=True)),
        )

    def _read_pixels(self, read: Callable[[Window], tuple[Array, Array]], window: Window) -> tuple[Array, Array]:
        inside, pad = self._clip(window)
        if any(part.stop <= part.start for part in inside):
            size = tuple(part.stop - part.start for part in window)
            return np.zeros((self.channels, *size), np.float32), np.zeros((1, *size), bool)
        image, valid = read(self._absolute(inside))
        image = np.where(valid, image, 0).astype(np.float32, copy=False)
        return np.pad(image, ((0, 0), *pad)), np.pad(valid, ((0, 0), *pad))

    @property
    def whole(self) -> Window:
        """The window that covers the case."""
        return slice(0, self.shape[0]), slice(0, self.shape[1]), slice(0, self.shape[2])

    def strips(self, rows: int = 1024) -> list[Window]:
        """Return windows that cover the case slice by slice, at most so many rows at a time."""
        starts = [(z, y) for z in range(self.shape[0]) for y in range(0, self.shape[1], rows)]
        return [(slice(z, z + 1), slice(y, min(y + rows, self.shape[1])), self.whole[2]) for z, y in starts]

    def _absolute(self, window: Window) -> Window:
        z, y, x = (slice(p.start + o, p.stop + o) for p, o in zip(window, self.start, strict=True))
        return z, y, x

    def _clip(self, window: Window) -> tuple[Window, list[tuple[int, int]]]:
        inside, pad = [], []
        for part, size in zip(window, self.shape, strict=True):
            start, stop = min(max(part.start, 0), size), max(min(part.stop, size), 0)
            inside.append(slice(start, max(stop, start)))
            pad.append((start - part.start, part.stop - max(stop, start)))
        return (inside[0], inside[1], inside[2]), pad

    def _read_labels(self, read: Callable[[Window], Array], window: Window, lead: int, fill: int) -> Array:
        inside, pad = self._clip(window)
        if any(part.stop <= part.start for part in inside):
            corner = read(self._absolute((slice(0, 1), slice(0, 1), slice(0, 1))))
            size = [part.stop - part.start for part in window]
            return np.full([*corner.shape[:lead], *size], fill, corner.dtype)
        values = read(self._absolute(inside))
        return np.pad(values, [(0, 0)] * lead + pad, constant_values=fill)
