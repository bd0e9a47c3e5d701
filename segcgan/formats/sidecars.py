"""Files that lie beside an image and are none: world files, projections, headers, overviews, texts, vectors."""

import re
from pathlib import Path

VECTORS = {".geojson", ".json", ".gpkg", ".shp", ".fgb"}
# Rasters by content, but GDAL reads them together with the raster they belong to: overviews, masks, data of HFA.
PARTS_OF_RASTERS = {".aux", ".ige", ".msk", ".ovr", ".rrd"}
TEXTS = {".cfg", ".csv", ".html", ".log", ".md", ".qml", ".rst", ".toml", ".tsv", ".txt", ".xml", ".yaml", ".yml"}
WORLD = {".bpw", ".gfw", ".j2w", ".jgw", ".jp2w", ".jpegw", ".jpgw", ".pgw", ".pngw", ".tfw", ".tiffw", ".tifw", ".wld"}
SIDECARS = TEXTS | VECTORS | WORLD | {".cpg", ".dbf", ".prj", ".rpb", ".shx"}
_HEAD = 2**16  # bytes in which a header names its sizes


def beside(path: Path, suffix: str) -> Path | None:
    """Return the file of this name with another extension, in small or capital letters, if there is one."""
    for each in (suffix, suffix.upper()):
        if (found := path.with_suffix(each)).is_file():
            return found
    return None


def places(path: Path) -> list[Path]:
    """Return the files that say where a picture lies in the world: a world file, and ``.aux.xml`` if it does."""
    kind = path.suffix.lower()
    names = dict.fromkeys([f"{kind[:2]}{kind[-1]}w", f"{kind}w", ".wld"])
    found = [file for name in names if (file := beside(path, name)) is not None]
    notes = path.with_name(f"{path.name}.aux.xml")  # which may as well hold statistics only
    if notes.is_file():
        text = notes.read_bytes()
        if b"<GeoTransform" in text or b"<GCPList" in text:
            found.append(notes)
    return found


def projection(path: Path) -> Path | None:
    """Return the ``.prj`` of an image, unless it is that of a shapefile of the same name."""
    return None if beside(path, ".shp") else beside(path, ".prj")


def header(path: Path) -> Path | None:
    """Return the header of a file of raw pixels (ENVI, ESRI BIL), ``X.hdr`` or ``X.ext.hdr``, if it is large enough."""
    if path.suffix.lower() in SIDECARS | PARTS_OF_RASTERS | {".hdr"}:
        return None
    for found in (beside(path, ".hdr"), path.with_name(f"{path.name}.hdr")):
        if found is not None and 0 < _raw_bytes(found) <= path.stat().st_size:
            return found
    return None


def is_header(path: Path) -> bool:
    """Tell the header of raw pixels from other files that end in ``.hdr``, such as those of NIfTI pairs."""
    return path.suffix.lower() == ".hdr" and _raw_bytes(path) > 0


def _raw_bytes(path: Path) -> int:
    """Return how many bytes the pixels of a header take at least; 0 if it is no such header."""
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        head = file.read(_HEAD).decode("latin-1").lower()
    keys = ("samples", "lines", "bands") if head.startswith("envi") else ("ncols", "nrows", "nbands")
    found = [re.search(rf"^\s*{key}[\s=]+(\d+)", head, re.MULTILINE) for key in keys]
    columns, rows, bands = (int(each[1]) if each else 0 for each in found)
    bits = re.search(r"^\s*nbits[\s=]+(\d+)", head, re.MULTILINE)
    return rows * columns * max(bands, 1) * int(bits[1] if bits else 8) // 8
