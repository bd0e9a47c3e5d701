"""Readers and writers of images and masks: DICOM, NIfTI, GeoTIFF, PNG/JPEG and, for labels only, vector files.

The functions here find out what a file is from its content and hand over to the module of that format, which is
imported only then: a user of PNGs never pays for GDAL or pydicom.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

from segcgan.case import Array, Case, LabelReader, Window
from segcgan.classes import ClassSpec
from segcgan.errors import SegcganError
from segcgan.formats.columns import UNKNOWN, Meaning
from segcgan.formats.folders import ARCHIVED, READABLE, Source, discover, sniff
from segcgan.formats.sidecars import VECTORS


def files_of(source: Source) -> list[Path]:
    """Return every file that a case is read from: slices of a series, mosaic and sidecars of a raster."""
    if source.format in ("geotiff", "png") and ARCHIVED not in str(source.path):
        return list(_module(source.format).files_of(source.path))
    return list(source.files or (source.path,))


def open_case(source: Source | Path | str, orientation: str = "canonical") -> Case:
    """Open one case lazily: shape and geometry now, pixels by ``case.read(window)``.

    Args:
        source: as found by ``discover``, or the path of a file or of a folder that holds exactly one case.
        orientation: "canonical" (increasing index is towards S, P, L) or "acquired" (as stored); scans only.

    Raises:
        SegcganError: there is not exactly one case, or it cannot be read.
    """
    if isinstance(source, Path | str):
        source = _only(Path(source))
    return _module(source.format).open_case(source, orientation)


def open_labels(path: Path, case: Case, meaning: Meaning = UNKNOWN) -> LabelReader:
    """Open the label values of a case as a function from an absolute window to raw values (d, h, w).

    Args:
        path: a label image of any readable format, a folder with one PNG per slice, or a vector file of polygons.
        case: the image; the labels must lie on its grid.
        meaning: of polygons: layer, column, classes.

    Raises:
        SegcganError: the file cannot be read or lies on another grid.
    """
    kind = _label_format(path, case)
    if kind == "vector":
        return _module(kind).open_labels(path, case, meaning)
    return _module(kind).open_labels(path, case)


def open_probability(path: Path, case: Case) -> Callable[[Window], Array]:
    """Open class probabilities as a function from an absolute window to (K, d, h, w) float32; nodata is 0.

    Raises:
        SegcganError: the file cannot be read, lies on another grid, or its format holds no probabilities.
    """
    kind = _label_format(path, case)
    if kind not in ("geotiff", "nifti"):
        raise SegcganError(f"{path} cannot hold class probabilities; give a GeoTIFF or NIfTI, one band per class")
    return _module(kind).open_probability(path, case)


def write_mask(folder: Path, stem: str, case: Case, read: LabelReader, classes: list[ClassSpec]) -> list[Path]:
    """Write a mask in the format and on the grid of its case; the files appear only when they are complete.

    Args:
        folder: made if missing.
        stem: file name without extension.
        case: gives format and geometry.
        read: from a window of the case to class indices (d, h, w) uint8, 255 = nodata.
        classes: names, colours and codes to write beside the indices.
    """
    return _module(case.format).write_mask(folder, stem, case, read, classes)


def write_probability(
    folder: Path, stem: str, case: Case, read: Callable[[Window], Array], compress: bool = True
) -> list[Path]:
    """Write class probabilities on the grid of their case; the files appear only when they are complete.

    Args:
        folder: made if missing.
        stem: file name without extension.
        case: gives format and geometry.
        read: from a window of the case to (K, d, h, w) uint8: probability * 254, 255 = nodata.
        compress: smaller files, or faster writing.
    """
    return _module(case.format).write_probability(folder, stem, case, read, compress)


def _module(name: str) -> ModuleType:
    return import_module(f"segcgan.formats.{name}")


def _only(path: Path) -> Source:
    if ARCHIVED in str(path):
        return _module("npz").address(path)
    sources, rejected = discover(path)
    if not sources:
        raise SegcganError(rejected[0].reason if rejected else f"{path} holds no image segcgan reads ({READABLE})")
    if len(sources) > 1:
        shown = ", ".join(source.name for source in sources[:5]) + (", …" if len(sources) > 5 else "")
        raise SegcganError(f"{path} holds {len(sources)} cases ({shown}) where one is expected; name one of them")
    return sources[0]


def present(path: Path) -> bool:
    """Tell whether a file, folder or the archive of an address exists."""
    return Path(str(path).partition("#")[0]).is_file() if ARCHIVED in str(path) else path.exists()


def _label_format(path: Path, case: Case) -> str:
    if ARCHIVED in str(path):
        return "npz"
    if not path.exists():
        raise SegcganError(f"{path} does not exist; correct the path of the labels")
    if path.is_dir():
        return "dicom"  # a folder of pictures, one per slice of a series
    kind = "vector" if path.suffix.lower() in VECTORS else sniff(path)
    kind = "geotiff" if kind == "hdf" else kind
    if kind is None:
        raise SegcganError(f"{path} is not a label file segcgan reads; give {READABLE}, GeoJSON or GeoPackage")
    if kind in ("geotiff", "png", "vector") and case.format not in ("geotiff", "png"):
        cure = "give NIfTI, DICOM SEG or a folder with one PNG per slice"
        raise SegcganError(f"{path} is a flat label file and {case.path} is a scan; {cure}")
    return kind
