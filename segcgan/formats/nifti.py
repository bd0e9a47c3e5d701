"""NIfTI: volumes read window by window, masks and probabilities written on the stored grid."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.openers import ImageOpener

from segcgan.case import IGNORE, Array, Case, LabelReader, Window
from segcgan.classes import ClassSpec
from segcgan.errors import SegcganError
from segcgan.formats.folders import Source
from segcgan.formats.grid import Grid, grid_of
from segcgan.formats.nifti_volume import TO_RAS, Volume, VolumeReader, load, open_volume
from segcgan.formats.staging import staging

_GEOMETRY = ("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y",
             "qoffset_z", "srow_x", "srow_y", "srow_z", "xyzt_units")  # fmt: skip


def open_case(source: Source, orientation: str = "canonical") -> Case:
    """Open a volume (x, y, z) or (x, y, z, channel) without loading it.

    The sform is used where its code is positive, else the qform, as nibabel does. NaN and infinity are invalid.

    Args:
        source: the file.
        orientation: "canonical" (axes nearest to S, P, L) or "acquired" (as stored).

    Raises:
        SegcganError: damaged, not a volume, complex, or with a singular affine.
    """
    volume, affine = open_volume(source.path)
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
        notes=list(volume.notes),
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
    """Return a header with the geometry of a case's file: the input's own, or a NIfTI-1 one made from its grid."""
    grid = grid_of(case, str(case.path))
    source = load(case.path).header if case.format == "nifti" else None
    header = nibabel.Nifti2Header() if isinstance(source, nibabel.Nifti2Header) else nibabel.Nifti1Header()
    flat = source is not None and len(source.get_data_shape()) == 2
    header.set_data_shape(grid.shape[:0:-1] if flat else grid.shape[::-1])
    if isinstance(source, nibabel.Nifti1Header):  # also NIfTI-2, which derives from it
        header["pixdim"][:4] = source["pixdim"][:4]
        for name in _GEOMETRY:
            header[name] = source[name]
        return header
    ras = TO_RAS @ grid.affine[:, [2, 1, 0, 3]]
    header.set_qform(ras, code=1)
    header.set_sform(ras, code=1)
    header.set_xyzt_units("mm" if case.geometry.unit == "mm" else "unknown")
    return header


def save(path: Path, array: Array, header: Any, slope: float = 1.0) -> None:
    """Write a uint8 array (z, y, x) or (K, z, y, x) as a NIfTI file; (1, y, x) as (x, y) where the header is flat.

    Bytes are written directly, because nibabel takes scaled arrays only as floats, many times the memory.
    """
    flat = len(header.get_data_shape()) == 2 and array.ndim == 3
    spatial = array.shape[:-4:-1]
    header.set_data_shape((spatial[:2] if flat else spatial) + array.shape[:-3])
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(slope, 0)
    with ImageOpener(path, "wb") as file:
        header.write_to(file)
        file.write(np.ascontiguousarray(array))  # C order of (K, z, y, x) is the Fortran order of (x, y, z, K)


def _aligned(path: Path, case: Case) -> tuple[Volume, Grid]:
    volume, affine = open_volume(path)
    return volume, Grid(affine, volume.shape, grid_of(case, str(path)).align(affine, volume.shape, str(path)))
