"""DICOM: a series as a case, read slice by slice; its mask written as DICOM SEG and as NIfTI."""

from collections.abc import Callable, Iterator
from pathlib import Path

from pydicom import Dataset

from segcgan.case import Array, Case, LabelReader, Window
from segcgan.classes import ClassSpec
from segcgan.errors import SegcganError
from segcgan.formats import nifti
from segcgan.formats.dicom_pixels import SliceReader, check_decoder
from segcgan.formats.dicom_series import find
from segcgan.formats.dicom_slices import DAMAGED, Plane, brief, check_length, load, planes_of
from segcgan.formats.dicom_stack import stack
from segcgan.formats.folders import Source
from segcgan.formats.grid import Grid, grid_of
from segcgan.formats.staging import staging

__all__ = ["find", "open_case", "open_labels", "write_mask", "write_probability"]


def open_case(source: Source, orientation: str = "canonical") -> Case:
    """Open a series found by :func:`find` without decoding pixels.

    Slices are ordered by position along their normal (InstanceNumber and SliceThickness are not trusted); values
    are rescaled per slice (HU for CT); colour images have three channels. A single image stays one slice in any
    orientation, and is in "px" when it carries no spacing.

    Args:
        source: the series.
        orientation: "canonical" (axes nearest to S, P, L) or "acquired" (as stored).

    Raises:
        SegcganError: missing, coinciding, unevenly spaced or tilted slices; no decoder; damaged headers.
    """
    where = str(source.path)
    planes: list[Plane] = []
    first: Dataset | None = None
    for path in source.files or (source.path,):
        try:
            dataset = load(path, stop_before_pixels=True)
            planes += planes_of(dataset, path)
            size = (int(dataset.Rows), int(dataset.Columns))
            palette = dataset.PhotometricInterpretation == "PALETTE COLOR"
            channels = 3 if palette or int(dataset.get("SamplesPerPixel") or 1) == 3 else 1
            check_decoder(dataset, where)
            check_length(dataset, path)
        except DAMAGED as error:
            msg = f"{path}: the DICOM header is damaged ({brief(error)}); export it again"
            raise SegcganError(msg) from error
        first = first or dataset
    if first is None or not planes:
        raise SegcganError(f"{where}: the series has no slices; export it again")
    planes, affine, unit = stack(planes, where)
    if len(planes) == 1:
        orientation = "acquired"  # turned, a sagittal picture would become a volume one pixel thick
    grid = Grid.oriented(affine, (len(planes), *size), orientation, where)
    return Case(
        name=source.name,
        path=source.path,
        format="dicom",
        shape=grid.case_shape,
        channels=channels,
        geometry=grid.geometry(unit),
        reader=SliceReader(tuple(planes), grid, channels),
        group=str(first.get("PatientID") or source.name),
        stored={"grid": grid, "planes": planes},
        notes=[*source.notes, *_doubts(first, planes)],
    )


def _doubts(header: Dataset, planes: list[Plane]) -> Iterator[str]:
    if any(plane.slope == 0 for plane in planes):
        yield "RescaleSlope is 0, which would make all values equal; it was taken as 1"
    if "MOSAIC" in (header.get("ImageType") or ()):
        yield "a mosaic, which shows the slices of a volume side by side; dcm2niix makes a volume of it"


def open_labels(path: Path, case: Case) -> LabelReader:
    """Open a mask of a DICOM case: a DICOM SEG file, or a folder of PNGs, one per slice.

    The i-th PNG in natural name order belongs to the i-th DICOM file in natural name order (the CHAOS convention;
    there the DICOM files run from head to foot, so counting slices by rising position would turn the mask upside
    down). SEG segments keep their numbers as label values.

    Returns:
        a reader of label values (d, h, w) for absolute windows of the case's file.

    Raises:
        SegcganError: the mask does not lie on the image's grid, or is damaged.
    """
    if path.is_dir():
        from segcgan.formats.slice_pngs import open_slices

        return open_slices(path, case)
    from segcgan.formats.dicom_seg import open_segmentation

    return open_segmentation(path, case)


def write_mask(folder: Path, stem: str, case: Case, read: LabelReader, classes: list[ClassSpec]) -> list[Path]:
    """Write ``<stem>.nii.gz`` (class indices) and ``<stem>.dcm`` (DICOM SEG referring to the source images).

    Both cover the whole series on its stored grid: outside a case that is a part of it, and where there is no data
    (255), they hold 0, the background.

    Args:
        folder: made if missing.
        stem: file stem.
        case: a DICOM case.
        read: class indices (d, h, w) uint8 of a window in the case's own grid.
        classes: index 0 is the background; each other class becomes a segment with its SNOMED code.

    A SEG that the source headers do not allow is left out, which is added to ``case.notes``.

    Returns:
        the files written.
    """
    from segcgan.formats.dicom_seg import write_segmentation

    grid = grid_of(case, stem)
    labels = grid.gather(case, read)
    names = [f"{stem}.nii.gz", f"{stem}.dcm"]
    with staging(folder) as fresh:
        nifti.save(fresh / names[0], labels, nifti.header_of(case))
        try:
            write_segmentation(fresh / names[1], case, labels, classes)
        except SegcganError as error:
            names.pop()
            case.notes.append(f"no DICOM SEG was written, only the NIfTI mask: {error}")
    return [folder / name for name in names]


def write_probability(
    folder: Path, stem: str, case: Case, read: Callable[[Window], Array], compress: bool = True
) -> list[Path]:
    """Write ``<stem>.nii.gz`` (``.nii`` uncompressed); see :func:`segcgan.formats.nifti.write_probability`."""
    return nifti.write_probability(folder, stem, case, read, compress)
