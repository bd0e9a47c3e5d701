"""The array of a NIfTI file, read window by window."""

import gzip
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from segcgan.case import Array, Window
from segcgan.errors import SegcganError
from segcgan.formats.grid import Grid

_DAMAGED = (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, LookupError, TypeError, AttributeError,
            ArithmeticError, MemoryError, zlib.error)  # fmt: skip
TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # NIfTI worlds are RAS; ours are LPS
_NO_SLOPE = "scl_slope is 0, so the values are taken as stored, as the NIfTI standard says"
_MILLIMETRES = {"meter": 1000.0, "micron": 0.001}


@dataclass(frozen=True)
class Volume:
    """The array of one file, (channels, slice, row, column), loaded when first read."""

    path: Path
    stamp: tuple[int, int]  # modification time and size, so that a file written anew is read anew
    shape: tuple[int, int, int]
    channels: int
    slope: float
    intercept: float
    notes: tuple[str, ...] = ()  # what is doubtful about it, each half a sentence

    def read(self, window: Window) -> Array:
        """Return values (C, d, h, w) of a window in stored axes; the stored dtype, or float64 where scaled."""
        try:
            values = _stored(self.path, self.stamp).reshape((self.channels, *self.shape))[(slice(None), *window)]
        except _DAMAGED as error:
            msg = f"{self.path}: voxels cannot be read ({_told(error)}); copy or export it again"
            raise SegcganError(msg) from error
        if (self.slope, self.intercept) == (1.0, 0.0):
            return np.array(values)
        return values * self.slope + self.intercept


@lru_cache(maxsize=4)
def _stored(path: Path, stamp: tuple[int, int]) -> Array:
    """Return unscaled voxels (channels..., z, y, x): a memory map, or for a compressed file the array itself."""
    values = np.asanyarray(load(path).dataobj.get_unscaled()).T
    if values.dtype.names:  # RGB triples
        values = np.stack([values[name] for name in values.dtype.names])
    return values


def load(path: Path) -> Any:
    """Open a file as nibabel does, which goes by the name: a gzip called .nii, and the reverse, is opened as it is."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    if packed == path.name.lower().endswith(".gz"):
        return nibabel.load(path)
    stream = gzip.open(path) if packed else path.open("rb")  # noqa: SIM115 the image reads from it later
    size = stream.read(4)
    stream.seek(0)
    second = nibabel.Nifti2Header.sizeof_hdr in (int.from_bytes(size, order) for order in ("little", "big"))
    return (nibabel.Nifti2Image if second else nibabel.Nifti1Image).from_stream(stream)


def _unscaled(image: Any) -> bool:
    """Tell whether a file says that voxels are not scaled; nibabel forgets the number it read."""
    with image.file_map["image"].get_prepare_fileobj("rb") as file:
        header = type(image.header).from_fileobj(file, check=False)
    return "scl_slope" in header and float(header["scl_slope"]) == 0


def open_volume(path: Path) -> tuple[Volume, Array]:
    """Read a header: the volume, and the LPS affine (4, 4) of its (slice, row, column)."""
    try:
        image = load(path)
        dtype, shape, ras = image.get_data_dtype(), image.shape, np.asarray(image.affine, float)
        slope, intercept = float(image.dataobj.slope), float(image.dataobj.inter)
        unit = image.header.get_xyzt_units()[0] if hasattr(image.header, "get_xyzt_units") else "mm"
        notes = (_NO_SLOPE,) if _unscaled(image) else ()
        status = path.stat()
    except _DAMAGED as error:
        msg = f"{path}: not a readable NIfTI file ({_told(error)}); copy or export it again"
        raise SegcganError(msg) from error
    sizes = [*shape, 1, 1, 1]
    extra = [n for n in (*sizes[3:], len(dtype.names or "x")) if n != 1]
    if dtype.kind == "c" or len(extra) > 1:
        msg = f"{path}: shape {shape} of {dtype}; a case is (x, y, z) or (x, y, z, channel) of reals; split it"
        raise SegcganError(msg)
    stored = (int(sizes[2]), int(sizes[1]), int(sizes[0]))
    affine = TO_RAS @ ras[:, [2, 1, 0, 3]]
    affine[:3] *= _MILLIMETRES.get(unit, 1.0)
    stamp = (status.st_mtime_ns, status.st_size)
    return Volume(path, stamp, stored, int(np.prod(extra, dtype=int)), slope, intercept, notes), affine


def _told(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]  # nibabel's texts have several lines


@dataclass(frozen=True)
class VolumeReader:
    """Pixels of a volume in a case's axes."""

    volume: Volume
    grid: Grid

    def read(self, window: Window) -> tuple[Array, Array]:
        """Return the image (C, d, h, w) float32 and its validity (1, d, h, w) bool: no NaN in any channel."""
        values = self.volume.read(self.grid.axes.window(window, self.grid.shape)).astype(np.float32)
        valid = np.asarray(np.isfinite(values).all(axis=0))[None]
        return self.grid.axes.apply(values), self.grid.axes.apply(valid)
