"""Readers and writers of images and masks: DICOM, NIfTI, GeoTIFF, PNG/JPEG and, for labels only, vector files.

The functions here find out what a file is from its content and hand over to the module of that format, which is
imported only then: a user of PNGs never pays for GDAL or pydicom.
"""

import gzip
import zlib
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

from segcgan.case import Array, Case, LabelReader, Window
from segcgan.classes import ClassSpec
from segcgan.errors import SegcganError
from segcgan.formats.folders import files_below

ARCHIVED = ".npz#"  # in the address of a picture inside a NumPy archive, see :mod:`segcgan.formats.npz`
READABLE = "DICOM, NIfTI, GeoTIFF, PNG or JPEG"
VECTORS = {".geojson", ".json", ".gpkg", ".shp", ".fgb"}
PARTS_OF_RASTERS = {".ovr", ".msk"}  # TIFF by content, but GDAL reads them together with the raster they belong to
TEXTS = {".cfg", ".csv", ".html", ".log", ".md", ".qml", ".rst", ".toml", ".tsv", ".txt", ".xml", ".yaml", ".yml"}
SIDECARS = TEXTS | VECTORS | {".cpg", ".dbf", ".jgw", ".pgw", ".prj", ".shx", ".tfw"}


@dataclass(frozen=True)
class Source:
    """One case found on disk, not opened yet.

    Args:
        name: file stem of everything written for it; unique among the cases found together.
        path: the file, or the folder of a DICOM series.
        format: "dicom", "nifti", "geotiff" or "png" (which includes JPEG).
        files: the files of a DICOM series.
    """

    name: str
    path: Path
    format: str
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Rejected:
    """A file that is no case, and the reason in one sentence."""

    path: Path
    reason: str


def sniff(path: Path) -> str | None:
    """Return the format of a file by its first bytes: a key of ``Source.format``, or None if it is none of them.

    A DICOM file without its 128-byte preamble gives None as well: only ``dicom.find`` can tell. OSError if unreadable.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if head[:2] == b"\x1f\x8b":
        try:
            with gzip.open(path) as packed:
                head = packed.read(512)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            head = b""
        return "nifti" if _is_nifti(head) or path.name.lower().endswith(".nii.gz") else None
    if head[128:132] == b"DICM":  # first: a slide may be DICOM and TIFF at the same time
        return "dicom"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") or b"<VRTDataset" in head:
        return "geotiff"
    if head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")):
        return "png"
    return "nifti" if _is_nifti(head) else None


def discover(folder: Path, without: Collection[Path] = ()) -> tuple[list[Source], list[Rejected]]:
    """Find the cases in a folder and all below it, through links as well, by content and not by extension, sorted.

    Hidden files and folders are passed over (among them are half-written files of a killed run), and so are text,
    vector and sidecar files; anything else that is no image is returned with the reason.

    Args:
        folder: a folder, or a single file.
        without: subfolders to pass over.

    Raises:
        SegcganError: the path does not exist.
    """
    if not folder.exists():
        raise SegcganError(f"{folder} does not exist; give an image file or a folder of images")
    root, files = folder.parent if folder.is_file() else folder, [folder]
    passed = {path.resolve() for path in without}
    if folder.is_dir():
        files = sorted(path for path in files_below(folder) if _may_be_case(path, root, passed))
    sources: list[Source] = []
    rejected: list[Rejected] = []
    perhaps_dicom: list[Path] = []
    for path in files:
        try:
            kind = sniff(path)
        except OSError as error:
            rejected.append(Rejected(path, f"{path} cannot be read ({error.strerror}); check its permissions"))
            continue
        if kind in ("nifti", "geotiff", "png"):
            sources.append(Source(stem_of(path), path, kind))
        elif kind == "dicom" or path.suffix.lower() not in SIDECARS or path == folder:
            perhaps_dicom.append(path)
    if perhaps_dicom:
        series, refused, rest = _module("dicom").find(perhaps_dicom)
        sources += series
        rejected += refused
        rejected += [Rejected(path, f"{path} is not an image segcgan reads ({READABLE})") for path in rest]
    ordered = sorted(sources, key=lambda source: (source.path, source.name))
    return _unique(ordered, root), sorted(rejected, key=lambda item: item.path)


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


def open_labels(path: Path, case: Case) -> LabelReader:
    """Open the label values of a case as a function from an absolute window to raw values (d, h, w).

    Args:
        path: a label image of any readable format, a folder with one PNG per slice, or a vector file of polygons.
        case: the image; the labels must lie on its grid.

    Raises:
        SegcganError: the file cannot be read or lies on another grid.
    """
    return _module(_label_format(path, case)).open_labels(path, case)


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


def _is_nifti(head: bytes) -> bool:
    return head[344:348] == b"n+1\0" or head[4:8] == b"n+2\0"


def _may_be_case(path: Path, root: Path, passed: set[Path]) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    skipped = path.suffix.lower() in PARTS_OF_RASTERS or path.name == "DICOMDIR"
    return path.is_file() and not (hidden or skipped or (passed and not passed.isdisjoint(path.resolve().parents)))


def stem_of(path: Path) -> str:
    """Return the name of a file without its extension, of a folder its whole name."""
    stem = path.name[: -len(".nii.gz")] if path.name.lower().endswith(".nii.gz") else path.stem
    return path.name if path.is_dir() else stem


def _unique(sources: list[Source], root: Path) -> list[Source]:
    """Lengthen names that collide (also on file systems blind to case): by folders, then format, then a number."""
    names = [source.name for source in sources]
    longer: list[Callable[[int], str]] = [
        lambda i: "_".join([*sources[i].path.relative_to(root).parent.parts, sources[i].name]),
        lambda i: f"{names[i]}_{sources[i].format}",
        lambda i: f"{names[i]}_{i}",
    ]
    for lengthen in longer:
        counts = Counter(name.casefold() for name in names)
        names = [lengthen(i) if counts[name.casefold()] > 1 else name for i, name in enumerate(names)]
    return [replace(source, name=name) for source, name in zip(sources, names, strict=True)]


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
    if kind is None:
        raise SegcganError(f"{path} is not a label file segcgan reads; give {READABLE}, GeoJSON or GeoPackage")
    if kind in ("geotiff", "png", "vector") and case.format not in ("geotiff", "png"):
        cure = "give NIfTI, DICOM SEG or a folder with one PNG per slice"
        raise SegcganError(f"{path} is a flat label file and {case.path} is a scan; {cure}")
    return kind
