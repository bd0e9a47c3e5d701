"""The slices of a DICOM series: what their headers say."""

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


def brief(error: BaseException) -> str:
    """Return the text of an exception in one line, short enough for a sentence."""
    return " ".join(str(error).split())[:200] or type(error).__name__
