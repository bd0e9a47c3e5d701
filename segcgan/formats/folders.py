"""What lies in a folder: cases, recognised by content, and the reasons why other files are none."""

import gzip
import os
import stat
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote

from segcgan.errors import SegcganError
from segcgan.formats.sidecars import PARTS_OF_RASTERS, SIDECARS, header, is_header

ARCHIVED = ".npz#"  # in the address of a picture inside a NumPy archive, see :mod:`segcgan.formats.npz`
READABLE = "DICOM, NIfTI, GeoTIFF, PNG or JPEG"
_RASTERS = (  # how files begin that GDAL reads beside TIFF
    b"\0\0\0\x0cjP  \r\n\x87\n",  # JPEG 2000
    b"\xff\x4f\xff\x51",  # JPEG 2000 without its box
    b"EHFA_HEADER_TAG",  # Erdas Imagine
    b"CDF\1",  # NetCDF
    b"CDF\2",
    b"CDF\5",
    b"NITF",
    b"NSIF",
    b"PCIDSK",
    b"GRIB",
    b"DSAA",  # Surfer
    b"ncols ",  # ESRI ASCII grid
    b"NCOLS ",
)
# HDF5 is NetCDF 4 too; by other names it may as well be weights of a network, and is opened to see. And HDF4.
_HDF = (b"\x89HDF\r\n\x1a\n", b"\x0e\x03\x13\x01")
_CONVERTED = {".bmp", ".dem", ".dt2", ".ecw", ".flt", ".gif", ".hgt", ".sid", ".webp"}  # rasters, but not read here
_NETCDF = {".nc", ".nc4", ".cdf"}
_RESULTS = "holds results, not images; give that folder itself as input to predict what is in it"


@dataclass(frozen=True)
class Source:
    """One case found on disk, not opened yet.

    Args:
        name: file stem of everything written for it; unique among the cases found together.
        path: the file, or the folder of a DICOM series.
        format: "dicom", "nifti", "geotiff" (any raster read through GDAL) or "png" (which includes JPEG).
        files: the files of a DICOM series.
        notes: what is doubtful about it, each half a sentence; for its row.
    """

    name: str
    path: Path
    format: str
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rejected:
    """A file that is no case, and the reason in one sentence."""

    path: Path
    reason: str


def sniff(path: Path) -> str | None:
    """Return the format of a file by its first bytes: a key of ``Source.format``, "hdf", or None if it is none of them.

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
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") or b"<VRTDataset" in head or head.startswith(_RASTERS):
        return "geotiff"
    if head.startswith(_HDF):
        return "geotiff" if path.suffix.lower() in _NETCDF else "hdf"
    if head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")):
        return "png"
    if _is_nifti(head):
        return "nifti"
    return "geotiff" if header(path) is not None else None


def discover(folder: Path, without: Collection[Path] = ()) -> tuple[list[Source], list[Rejected]]:
    """Find the cases in a folder and all below it, through links as well, by content and not by extension, sorted.

    Hidden files and folders are passed over (among them are half-written files of a killed run), and so are text,
    vector and sidecar files; anything else that is no image is returned with the reason, as is a folder
    ``derivatives`` in a BIDS data set or beside images: it holds masks.

    Args:
        folder: a folder, or a single file.
        without: subfolders to pass over.

    Raises:
        SegcganError: the path does not exist.
    """
    if not folder.exists():
        raise SegcganError(f"{folder} does not exist; give an image file or a folder of images")
    root, files, unread = folder.parent if folder.is_file() else folder, [folder], list[OSError]()
    passed = {path.resolve() for path in without} - {root.resolve(), *root.resolve().parents}
    if folder.is_dir():
        files = sorted(path for path in files_below(folder, unread.append) if _may_be_case(path, root, passed))
    results = _derivatives(files, root)
    files = [path for path in files if results.isdisjoint(path.parents)]
    sources: list[Source] = []
    rejected = [_unreadable(Path(error.filename), error) for error in unread]
    rejected += [Rejected(path, f"{path} {_RESULTS}") for path in results]
    perhaps_dicom: list[Path] = []
    for path in files:
        try:
            kind = sniff(path)
        except OSError as error:
            rejected.append(_unreadable(path, error))
            continue
        if (told := os.fsencode(path).decode(errors="backslashreplace")) != str(path):
            rejected.append(Rejected(path, f"{told} is not UTF-8, and names of outputs must be; rename it"))
        elif kind == "nifti" and not path.name.lower().endswith((".nii", ".nii.gz", ".nii.bz2")):
            rejected.append(Rejected(path, f"{path} is a NIfTI file by another name; rename it to .nii or .nii.gz"))
        elif kind == "hdf" and (reason := _no_raster(path)):
            rejected.append(Rejected(path, reason))
        elif kind == "hdf":
            sources.append(Source(stem_of(path), path, "geotiff"))
        elif kind in ("nifti", "geotiff", "png"):
            sources.append(Source(stem_of(path), path, kind))
        elif kind == "dicom" or path.suffix.lower() not in SIDECARS or path == folder:
            perhaps_dicom.append(path)
    if perhaps_dicom:
        from segcgan.formats import dicom  # slow to import

        series, refused, rest = dicom.find(perhaps_dicom)
        sources += series
        rejected += refused
        rejected += [Rejected(path, _unknown(path)) for path in rest]
    ordered = sorted(sources, key=lambda source: (source.path, source.name))
    return _unique(ordered, root), sorted(rejected, key=lambda item: item.path)


def _derivatives(files: list[Path], root: Path) -> set[Path]:
    """Return the folders ``derivatives`` that hold masks: those of a BIDS data set, or with images beside them."""
    named = {parent for path in files for parent in path.parents if parent.name == "derivatives"}
    below = {folder for folder in named if folder != root and root in folder.parents}
    images = [path for path in files if path.suffix.lower() not in SIDECARS]
    return {
        folder
        for folder in below
        if (folder.parent / "dataset_description.json").is_file()
        or any(folder.parent.glob("sub-*/"))
        or any(folder.parent in path.parents and folder not in path.parents for path in images)
    }


def _no_raster(path: Path) -> str:
    """Tell why an HDF5 file is no raster; empty if it is one."""
    from segcgan.formats import geotiff  # which reads folders of this module

    try:
        geotiff.open_case(Source(stem_of(path), path, "geotiff"))
    except SegcganError as error:
        return str(error)
    return ""


def _is_nifti(head: bytes) -> bool:
    return head[344:348] == b"n+1\0" or head[4:8] == b"n+2\0"


def _may_be_case(path: Path, root: Path, passed: set[Path]) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    skipped = path.suffix.lower() in PARTS_OF_RASTERS or path.name == "DICOMDIR" or is_header(path)
    return _is_file(path) and not (hidden or skipped or (passed and not passed.isdisjoint(path.resolve().parents)))


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:  # a link to nowhere, say: whoever reads it tells why
        return True


def _unknown(path: Path) -> str:
    said = f"{path} is not an image segcgan reads ({READABLE})"
    cure = f"; convert it, for example with gdal_translate {quote(path.name)} {quote(path.stem)}.tif"
    return said + cure if path.suffix.lower() in _CONVERTED else said


def _unreadable(path: Path, error: OSError) -> Rejected:
    return Rejected(path, f"{path} cannot be read ({error.strerror}); check its permissions, or fetch what it links to")


def stem_of(path: Path) -> str:
    """Return the name of a file without its extension, of a folder its whole name."""
    if path.name.lower().endswith(".nii.gz"):
        return path.name[: -len(".nii.gz")]
    whole = path.is_dir() or path.suffix[1:].isdigit()  # the end of a UID or a number is no extension
    return path.name if whole else path.stem


def extension(source: Source) -> str:
    """Return what kind of file a source is, as a part of a name: ``tif``, ``nii_gz``, or the format of a series."""
    name = source.path.name.lower()
    tail = "nii_gz" if name.endswith(".nii.gz") else source.path.suffix.lower().lstrip(".")
    return tail if tail and len(source.files) < 2 else source.format


def _unique(sources: list[Source], root: Path) -> list[Source]:
    """Lengthen names that collide (also on file systems blind to case): by folders, extension, sum of the path.

    Names do not depend on the order of files, so that one more file does not rename the outputs of others.
    """
    names = [source.name for source in sources]
    paths = [(source.files or (source.path,))[0].relative_to(root).as_posix() for source in sources]
    longer: list[Callable[[int], str]] = [
        lambda i: "_".join([*sources[i].path.relative_to(root).parent.parts, sources[i].name]),
        lambda i: f"{names[i]}_{extension(sources[i])}",
        lambda i: f"{names[i]}_{zlib.crc32(paths[i].encode()):08x}",
    ]
    for lengthen in longer:
        counts = Counter(name.casefold() for name in names)
        names = [lengthen(i) if counts[name.casefold()] > 1 else name for i, name in enumerate(names)]
    return [replace(source, name=name) for source, name in zip(sources, names, strict=True)]


def files_below(folder: Path, unread: Callable[[OSError], object] | None = None) -> Iterator[Path]:
    """Yield the files below a folder, also through links; a link to a folder that this one lies in is passed over.

    Args:
        folder: where to look.
        unread: called for each folder that may not be read.
    """
    outside = folder.resolve().parents
    for place, folders, names in os.walk(folder, onerror=unread, followlinks=True):
        here = Path(place)
        around = {path.resolve() for path in (here, *here.parents)} | {*outside}
        folders[:] = [name for name in folders if (here / name).resolve() not in around]
        yield from (here / name for name in names)
