"""NIfTI: volumes read window by window, masks and probabilities written on the stored grid."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError

from segcgan.case import IGNORE, Array, Case, LabelReader, Window
from segcgan.classes import ClassSpec
from segcgan.errors import SegcganError
from segcgan.formats import Source
from segcgan.formats.grid import Grid, grid_of
from segcgan.formats.staging import staging

_DAMAGED = (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, LookupError, TypeError, AttributeError,
            ArithmeticError, MemoryError, zlib.error)  # fmt: skip
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # NIfTI worlds are RAS; ours are LPS
_GEOMETRY = ("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y",
             "qoffset_z", "srow_x", "srow_y", "srow_z", "xyzt_units")  # fmt: skip
_MILLIMETRES = {"meter": 1000.0, "micron": 0.001}


def open_case(source: Source, orientation: str = "canonical") -> Case:
    """Open a volume (x, y, z) or (x, y, z, channel) without loading it.

    The sform is used where its code is positive, else the qform, as nibabel does. NaN and infinity are invalid.

    Args:
        source: the file.
        orientation: "canonical" (axes nearest to S, P, L) or "acquired" (as stored).

    Raises:
        SegcganError: damaged, not a volume, complex, or with a singular affine.
    """
    volume, affine = _open(source.path)
    grid = Grid.oriented(affine, volume.shape, orientation, str(source.path))
    return Case(
        name=source.name,
        path=source.path,
        format="nifti",
        shape=grid.case_shape,
        channels=volume.channels,
        geometry=grid.geometry(),
        reader=VolumeReader(volume, grid),
        group=source.name,
        stored={"grid": grid},
    )


def open_labels(path: Path, case: Case) -> LabelReader:
    """Open a mask on the grid of a NIfTI or DICOM case, in whatever axis order it is stored.

    Returns:
        a reader of label values (d, h, w), int, for absolute windows of the case's file; NaN becomes 255.

    Raises:
        SegcganError: the voxels do not coincide with the image's, or (when read) a value is no integer.
    """
    volume, grid = _aligned(path, case)
    if volume.channels > 1:
        msg = f"{path}: a mask has one value per voxel, this file has {volume.channels}; give it as probabilities"
        raise SegcganError(msg)

    def read(window: Window) -> Array:
        values = volume.read(grid.axes.window(window, grid.shape))[0]
        if values.dtype.kind == "f":
            values = np.where(np.isfinite(values), values, IGNORE)
            labels = np.rint(values)
            if np.abs(values - labels).max(initial=0) > 1e-3:
                odd = float(values.flat[np.abs(values - labels).argmax()])
                raise SegcganError(f"{path}: the mask holds {odd:.4g}, labels are integers; give a label map")
            values = labels.astype(np.int32)
        return grid.axes.apply(values)

    return read


def open_probability(path: Path, case: Case) -> Callable[[Window], Array]:
    """Open probabilities (x, y, z, class) on the grid of a NIfTI or DICOM case.

    Returns:
        a reader of (K, d, h, w) float32 in 0-1 for absolute windows of the case's file; NaN becomes 0.

    Raises:
        SegcganError: the voxels do not coincide with the image's, or (when read) a value is outside 0-1.
    """
    volume, grid = _aligned(path, case)

    def read(window: Window) -> Array:
        values = np.nan_to_num(volume.read(grid.axes.window(window, grid.shape)).astype(np.float32))
        if values.size and (values.min() < -1e-3 or values.max() > 1 + 1e-3):
            low, high = f"{values.min():.3g}", f"{values.max():.3g}"
            raise SegcganError(f"{path}: values span {low} to {high}, probabilities 0 to 1; give a softmax output")
        return grid.axes.apply(values.clip(0, 1))

    return read


def write_mask(folder: Path, stem: str, case: Case, read: LabelReader, classes: list[ClassSpec]) -> list[Path]:
    """Write ``<stem>.nii.gz``: class indices, uint8, on the stored grid of the input, with its geometry header.

    The file covers the whole input: outside a case that is a part of it, and where there is no data (255), it is
    0, the background.

    Args:
        folder: made if missing.
        stem: file stem.
        case: a NIfTI case.
        read: class indices (d, h, w) uint8 of a window in the case's own grid.
        classes: not needed here: a NIfTI holds class indices, not names.

    Returns:
        the file written.
    """
    with staging(folder) as fresh:
        save(fresh / f"{stem}.nii.gz", grid_of(case, stem).gather(case, read), header_of(case))
    return [folder / f"{stem}.nii.gz"]


def write_probability(
    folder: Path, stem: str, case: Case, read: Callable[[Window], Array], compress: bool = True
) -> list[Path]:
    """Write ``<stem>.nii.gz`` (``.nii`` uncompressed): (x, y, z, class), uint8 with scl_slope 1/254.

    Args:
        folder: made if missing.
        stem: file stem.
        case: a NIfTI or DICOM case.
        read: probability · 254 (K, d, h, w) uint8 of a window in the case's own grid; 255, no data, becomes 0.
        compress: gzip the file.

    Returns:
        the file written.
    """
    name = f"{stem}.nii{'.gz' if compress else ''}"
    with staging(folder) as fresh:
        save(fresh / name, grid_of(case, stem).gather(case, read), header_of(case), slope=1 / 254)
    return [folder / name]


def header_of(case: Case) -> Any:
    """Return a NIfTI-1 header with the geometry of a case's file: the input's own, or one made from its grid."""
    grid = grid_of(case, str(case.path))
    header = nibabel.Nifti1Header()
    header.set_data_shape(grid.shape[::-1])
    source = nibabel.load(case.path).header if case.format == "nifti" else None
    if isinstance(source, nibabel.Nifti1Header):  # also NIfTI-2, which derives from it
        header["pixdim"][:4] = source["pixdim"][:4]
        for name in _GEOMETRY:
            header[name] = source[name]
        return header
    ras = _TO_RAS @ grid.affine[:, [2, 1, 0, 3]]
    header.set_qform(ras, code=1)
    header.set_sform(ras, code=1)
    header.set_xyzt_units("mm" if case.geometry.unit == "mm" else "unknown")
    return header


def save(path: Path, array: Array, header: Any, slope: float = 1.0) -> None:
    """Write a uint8 array (z, y, x) or (K, z, y, x) as a NIfTI file.

    Bytes are written directly, because nibabel takes scaled arrays only as floats, many times the memory.
    """
    header.set_data_shape(array.shape[:-4:-1] + array.shape[:-3])
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(slope, 0)
    with ImageOpener(path, "wb") as file:
        header.write_to(file)
        file.write(np.ascontiguousarray(array))  # C order of (K, z, y, x) is the Fortran order of (x, y, z, K)


@dataclass(frozen=True)
class Volume:
    """The array of one file, (channels, slice, row, column), loaded when first read."""

    path: Path
    stamp: tuple[int, int]  # modification time and size, so that a file written anew is read anew
    shape: tuple[int, int, int]
    channels: int
    slope: float
    intercept: float

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
    values = np.asanyarray(nibabel.load(path).dataobj.get_unscaled()).T
    if values.dtype.names:  # RGB triples
        values = np.stack([values[name] for name in values.dtype.names])
    return values


def _open(path: Path) -> tuple[Volume, Array]:
    """Read a header: the volume, and the LPS affine (4, 4) of its (slice, row, column)."""
    try:
        image = nibabel.load(path)
        dtype, shape, ras = image.get_data_dtype(), image.shape, np.asarray(image.affine, float)
        slope, intercept = float(image.dataobj.slope), float(image.dataobj.inter)
        unit = image.header.get_xyzt_units()[0] if hasattr(image.header, "get_xyzt_units") else "mm"
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
    affine = _TO_RAS @ ras[:, [2, 1, 0, 3]]
    affine[:3] *= _MILLIMETRES.get(unit, 1.0)
    stamp = (status.st_mtime_ns, status.st_size)
    return Volume(path, stamp, stored, int(np.prod(extra, dtype=int)), slope, intercept), affine


def _told(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]  # nibabel's texts have several lines


def _aligned(path: Path, case: Case) -> tuple[Volume, Grid]:
    volume, affine = _open(path)
    return volume, Grid(affine, volume.shape, grid_of(case, str(path)).align(affine, volume.shape, str(path)))


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
