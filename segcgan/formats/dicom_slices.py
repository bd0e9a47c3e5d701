"""The slices of a DICOM series: their headers, and how they are stacked into a volume."""

import sqlite3
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from segcgan.case import Array
from segcgan.errors import SegcganError

# What pydicom, highdicom and the decoders raise on damaged files; seen by cutting and flipping bytes of real ones.
DAMAGED = (
    InvalidDicomError,
    BytesLengthException,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
    ArithmeticError,
    MemoryError,
    AssertionError,
    sqlite3.Error,  # highdicom keeps its tables of frames in SQLite
    struct.error,
    zlib.error,
)
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_COUNTS = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, **dict.fromkeys(_SPACINGS, 2)}


@dataclass(frozen=True)
class Plane:
    """One slice: a file, or a frame of one."""

    path: Path
    frame: int | None = None  # counted from 0; None when the file holds one image
    position: tuple[float, ...] | None = None  # LPS mm of the first pixel
    orientation: tuple[float, ...] | None = None  # cosines of the column index, then of the row index
    spacing: tuple[float, ...] | None = None  # mm between rows, between columns
    thickness: float = 1.0  # trusted only where there is a single slice
    slope: float = 1.0
    intercept: float = 0.0


def load(path: Path, **options: Any) -> Dataset:
    """Read a DICOM file that may lack the preamble or the transfer syntax; options as for ``pydicom.dcmread``."""
    dataset = dcmread(path, force=True, **options)
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


def check_length(dataset: Dataset, path: Path) -> None:
    """Raise SegcganError when a file is shorter than its uncompressed pixels: a copy that was stopped.

    Found when a series is opened: pixels are decoded when first needed, which may be hours into a training.
    """
    plain = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
    if dataset.file_meta.TransferSyntaxUID not in plain or "422" in dataset.PhotometricInterpretation:
        return
    frames, samples = (int(dataset.get(name) or 1) for name in ("NumberOfFrames", "SamplesPerPixel"))
    pixels = frames * samples * int(dataset.Rows) * int(dataset.Columns)
    needed, length = pixels * int(dataset.BitsAllocated) // 8, path.stat().st_size
    if length < needed:
        msg = f"{path}: {length} bytes, which is less than the {needed} of its pixels; copy or export it again"
        raise SegcganError(msg)


def planes_of(dataset: Dataset, path: Path) -> list[Plane]:
    """List the slices of one file from its header: one, or every frame of an enhanced multi-frame object."""
    frames = int(dataset.get("NumberOfFrames") or 1)
    if "PerFrameFunctionalGroupsSequence" not in dataset:
        spacing = next(filter(None, (_numbers(dataset, name) for name in _SPACINGS)), None)
        return [_plane(path, None, [dataset], spacing)]
    planes = []
    for frame, own in enumerate(dataset.PerFrameFunctionalGroupsSequence[:frames]):
        shared = dataset.get("SharedFunctionalGroupsSequence") or [Dataset()]
        # every attribute lives in a one-item macro sequence, per frame or shared by all frames
        macros = [element for group in (own, shared[0]) for element in group if element.VR == "SQ"]
        parts = [item for macro in macros for item in macro.value]
        spacing = next(filter(None, (_numbers(part, "PixelSpacing") for part in parts)), None)
        planes.append(_plane(path, frame if frames > 1 else None, parts, spacing))
    return planes


def _plane(path: Path, frame: int | None, parts: list[Dataset], spacing: tuple[float, ...] | None) -> Plane:
    def first(name: str) -> tuple[float, ...] | None:
        return next(filter(None, (_numbers(part, name) for part in parts)), None)

    thick = first("SpacingBetweenSlices") or first("SliceThickness")
    return Plane(
        path=path,
        frame=frame,
        position=first("ImagePositionPatient"),
        orientation=first("ImageOrientationPatient"),
        spacing=spacing,
        thickness=abs(thick[0]) or 1.0 if thick else 1.0,
        slope=(first("RescaleSlope") or (1.0,))[0],
        intercept=(first("RescaleIntercept") or (0.0,))[0],
    )


def _numbers(dataset: Dataset, name: str) -> tuple[float, ...] | None:
    value = dataset.get(name)
    if value is None or value == "":
        return None
    numbers = tuple(float(number) for number in np.atleast_1d(np.asarray(value, dtype=float)))
    if len(numbers) != _COUNTS.get(name, len(numbers)):
        raise ValueError(f"{name} has {len(numbers)} values, not {_COUNTS[name]}")
    return numbers


def stack(planes: list[Plane], where: str) -> tuple[list[Plane], Array, str]:
    """Sort slices by their position along the normal and lay them into one affine.

    Returns:
        the sorted slices, the affine (4, 4) from (slice, row, column) to LPS mm, and its unit ("mm", or "px" for
        an image without any spacing).

    Raises:
        SegcganError: slices that coincide, are unevenly spaced, sheared (gantry tilt) or of unequal pixel size.
    """
    first = planes[0]
    rows, columns = first.spacing if first.spacing else (1.0, 1.0)
    unit = "mm" if first.spacing else "px"
    if first.orientation is None or any(plane.position is None for plane in planes):
        if len(planes) > 1:
            raise SegcganError(f"{where}: {len(planes)} images without positions do not make a volume; split them")
        affine = np.diag([columns, rows, first.thickness if first.spacing else 1.0, 1.0])
        return planes, affine[:, [2, 1, 0, 3]], unit
    across, down = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    normal = np.cross(across, down)
    if not np.allclose([across @ across, down @ down, normal @ normal], 1, atol=1e-2):
        cosines = [round(cosine, 4) for cosine in first.orientation]
        msg = f"{where}: ImageOrientationPatient {cosines} is not two perpendicular unit vectors; repair it"
        raise SegcganError(msg)
    if any(not _alike(plane, first) for plane in planes):
        raise SegcganError(f"{where}: slices differ in orientation or PixelSpacing; keep one acquisition")
    planes = sorted(planes, key=lambda plane: float(np.dot(plane.position or (0, 0, 0), normal)))
    positions = np.array([plane.position for plane in planes])
    step = normal * first.thickness
    if len(planes) > 1:
        step = _step(planes, positions, normal, where)
    affine = np.eye(4)
    affine[:3] = np.stack([step, down * rows, across * columns, positions[0]], axis=1)
    return planes, affine, unit


def _alike(one: Plane, other: Plane) -> bool:
    same_size = np.allclose(one.spacing or 1, other.spacing or 1, rtol=1e-3)
    return same_size and np.allclose(one.orientation or 0, other.orientation or 0, atol=1e-3)


def _step(planes: list[Plane], positions: Array, normal: Array, where: str) -> Array:
    gaps = np.diff(positions @ normal)
    usual = float(np.median(gaps))
    for index, gap in enumerate(gaps):
        pair = f"{_label(planes[index])} and {_label(planes[index + 1])}"
        if gap < 1e-3:
            msg = f"{where}: {pair} lie at the same position; keep one acquisition per series"
            raise SegcganError(msg)
        if abs(gap - usual) > max(0.01 * usual, 0.1):
            gaps_told = f"the gap between {pair} is {gap:.2f} mm where {usual:.2f} mm is usual"
            raise SegcganError(f"{where}: {gaps_told}; add the missing slices or resample")
    step = (positions[-1] - positions[0]) / (len(planes) - 1)
    tilt = float(np.linalg.norm(np.cross(step, normal)) / np.linalg.norm(step))
    if tilt > 1e-2:
        angle = np.degrees(np.arcsin(min(tilt, 1)))
        msg = f"{where}: the slices are stacked {angle:.1f}° off their normal (gantry tilt); resample them"
        raise SegcganError(msg)
    return step


def _label(plane: Plane) -> str:
    return plane.path.name if plane.frame is None else f"frame {plane.frame + 1}"


def brief(error: BaseException) -> str:
    """Return the text of an exception in one line, short enough for a sentence."""
    return " ".join(str(error).split())[:200] or type(error).__name__
