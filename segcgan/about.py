"""What ``segcgan info`` says; imports no torch."""

from pathlib import Path

from segcgan.case import Case
from segcgan.errors import SegcganError
from segcgan.formats import open_case
from segcgan.formats.folders import ARCHIVED, READABLE, Rejected, Source, discover
from segcgan.formats.npz import address, contents

HEADER = ["case", "format", "shape", "channels", "spacing", "dtype", "nodata", "crs", "extent", "note"]
NOTHING = [""] * (len(HEADER) - 3)
Listing = tuple[list[str], list[list[str]], bool]


def config_folders() -> list[Path]:
    """Where configs are looked for: ./configs, the checkout's, the wheel's."""
    package = Path(__file__).parent
    return [Path("configs"), package.parent / "configs", package / "configs"]


def find_config(name: str) -> Path:
    """Return the path of a config given by path or by name.

    Raises:
        SegcganError: there is none.
    """
    from segcgan.errors import nearest

    for path in (Path(name), *(folder / tail for folder in config_folders() for tail in (name, f"{name}.yaml"))):
        if path.is_file():
            return path
    known = {str(path.relative_to(folder)) for folder in config_folders() for path in folder.rglob("*.yaml")}
    raise SegcganError(f"config {name!r} was not found{nearest(name, known)}")


def configs() -> Listing:
    """List the configs with the first line of their header."""
    found: dict[str, list[str]] = {}
    for folder in config_folders():
        for path in sorted(folder.rglob("*.yaml"), key=lambda path: (len(path.parts), path)):
            name = str(path.relative_to(folder))  # with its folder, if it goes on top of another config
            first = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("#").strip()
            found.setdefault(name, [name, first.partition(":")[2].strip() or first, str(path)])
    return ["config", "what", "file"], list(found.values()), not found


def describe(path: Path) -> Listing:
    """Describe every case below a path, and why other files are none."""
    if path.suffix == ".npz" and path.is_file():
        return _stacks(path)
    sources, rejected = ([address(path)], []) if ARCHIVED in str(path) else discover(path)
    if not sources and not rejected:
        raise SegcganError(f"{path} holds no image segcgan reads; give {READABLE}")
    lines, bad = [], False
    for source in sources:
        try:
            case = open_case(source)
        except SegcganError as error:
            lines.append([source.name, source.format, *NOTHING, str(error)])
            bad = True
            continue
        geometry = case.geometry
        shape = " x ".join(map(str, case.shape if case.shape[0] > 1 else case.shape[1:]))
        sizes = geometry.spacing if case.shape[0] > 1 else geometry.spacing[1:]
        spacing = " x ".join(f"{size:.4g}" for size in sizes) + f" {geometry.unit}"
        *raster, note = _raster(case)
        notes = "; ".join(filter(None, [note, *case.notes]))
        lines.append([source.name, _format(source, case), shape, str(case.channels), spacing, *raster, notes])
    lines += [[item.path.name, "-", *NOTHING, _reason(item)] for item in rejected]
    return HEADER, lines, bad or not sources


def _reason(item: Rejected) -> str:
    if item.path.suffix == ".npz":
        return f"a NumPy archive holds many pictures; see segcgan info {item.path} and name them in a manifest"
    return item.reason


def _stacks(path: Path) -> Listing:
    """Describe the arrays of a NumPy archive; nothing is decompressed."""
    lines, good = [], False
    for name, shape, dtype in contents(path):
        if dtype.kind not in "buif" or len(shape) not in (3, 4):
            lines.append([name, "npz", " x ".join(map(str, shape)), "", "", f"{dtype}, no pictures"])
            continue
        good = True
        note = f"{dtype}, {shape[0]} pictures, {path.name}#{name}/0 and so on in a manifest"
        channels = str(shape[3]) if len(shape) == 4 else "1"
        lines.append([name, "npz", " x ".join(map(str, shape[1:3])), channels, "1 x 1 px", note])
    return [*HEADER[:5], "note"], lines, not good


def _format(source: Source, case: Case) -> str:
    """Return the format, or the name GDAL has for one that is read like GeoTIFF."""
    driver = str(case.stored.get("driver", ""))
    return driver if source.format == "geotiff" and driver not in ("", "GTiff", "VRT") else source.format


def _raster(case: Case) -> list[str]:
    """Return dtype, nodata, CRS, extent and note of a raster or picture; empty for scans."""
    if "dtypes" not in case.stored:
        return [""] * 5
    kinds, nodata = dict.fromkeys(case.stored["dtypes"]), case.stored["nodata"]
    found = [", ".join(kinds), "" if nodata is None else f"{nodata:.10g}"]
    if "transform" not in case.stored:
        return [*found, "", "", ""]
    from segcgan.formats.extent import crs_name, extent_of, in_words  # a picture without a place needs no GDAL

    crs = case.stored["crs"]
    points = case.stored["gcps"][0]
    code, name = (crs_name(crs), crs.to_wkt().split('"')[1]) if crs is not None else ("", "")
    if case.stored["transform"].is_identity:
        note = f"{len(points)} ground control points" if points else "RPCs" if case.stored["rpcs"] else ""
        return [*found, "", "", f"placed by {note} only, sizes are in pixels" if note else ""]
    note = "" if crs is not None else "no CRS, sizes are in pixels"
    return [*found, code if code == name or not name else f"{code} {name}", in_words(extent_of(case.stored)), note]
