"""Masks and probabilities as GeoTIFF, strip by strip, at the place of their image."""

from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any

import rasterio
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.transform import Affine
from rasterio.windows import Window as Part

from segcgan.case import IGNORE, Array, Case, LabelReader, Window
from segcgan.classes import ClassSpec
from segcgan.colours import NODATA, class_colours
from segcgan.errors import not_written
from segcgan.formats.legend import write_legend
from segcgan.formats.raster import CERTAIN, GDAL_ERRORS, without_georeference_warning
from segcgan.formats.staging import staging

BLOCK = 512


def write_mask(folder: Path, stem: str, case: Case, read: LabelReader, classes: list[ClassSpec]) -> list[Path]:
    """Write ``<stem>.tif``: class indices, nodata 255, colour table, class names in tags ``class_0``, ``class_1``.

    Beside it stands ``<stem>.tif.aux.xml`` with the class names where GDAL and QGIS look, and a colour table in which
    the background is transparent, as that of a TIFF cannot be. CRS, transform, control points and RPCs are those of
    the image, shifted if the case is a part of it.

    Args:
        folder: made if missing.
        stem: file name without extension.
        case: gives the grid.
        read: from a window of the case to class indices (1, h, w) uint8; called once per strip of 512 rows.
        classes: names and colours.
    """

    colours = class_colours(classes)

    def describe(out: Any) -> None:
        out.write_colormap(1, {i: (*colour, 255) for i, colour in enumerate(colours)} | {IGNORE: (*NODATA, 0)})
        out.update_tags(**{f"class_{i}": spec.name for i, spec in enumerate(classes)})
        out.set_band_description(1, "class index")

    def read_band(window: Window) -> Array:
        return read(window)[None]

    def name(file: Path) -> None:
        write_legend(file, [spec.name for spec in classes], colours)

    path = folder / f"{stem}.tif"
    return _write(path, case, read_band, describe, name, photometric="palette", compress="deflate")


def write_probability(
    folder: Path, stem: str, case: Case, read: Callable[[Window], Array], compress: bool = True
) -> list[Path]:
    """Write ``<stem>.tif``: a uint8 band per class, scale 1/254, nodata 255; ``read`` gives (K, 1, h, w)."""

    def describe(out: Any) -> None:
        out.scales = (1 / CERTAIN,) * out.count
        several = out.count > 1  # there are always two classes at least
        out.descriptions = tuple(f"class {i}" if several else "uncertainty" for i in range(out.count))

    # minisblack: by default GDAL would take four bands for RGBA and the fourth class for transparency
    packing = "deflate" if compress else None
    return _write(folder / f"{stem}.tif", case, read, describe, None, photometric="minisblack", compress=packing)


def _write(
    path: Path,
    case: Case,
    read: Callable[[Window], Array],
    describe: Callable[[Any], None],
    complete: Callable[[Path], None] | None,
    **profile: str | None,
) -> list[Path]:
    _, height, width = case.shape
    strips = [slice(top, min(top + BLOCK, height)) for top in range(0, height, BLOCK)]
    values = read((slice(0, 1), strips[0], slice(0, width)))
    layout = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK} if min(height, width) >= 16 else {}
    kind = {"driver": "GTiff", "dtype": "uint8", "nodata": IGNORE, "bigtiff": "if_safer"}
    size = {"height": height, "width": width, "count": len(values)}
    try:
        with staging(path.parent) as folder:
            file = folder / path.name
            with (
                without_georeference_warning(),
                rasterio.open(file, "w", **kind, **size, **layout, **_placed(case), **profile) as out,
            ):
                describe(out)
                for strip in strips:
                    if strip.start > 0:
                        values = read((slice(0, 1), strip, slice(0, width)))
                    out.write(values[:, 0], window=Part(0, strip.start, width, strip.stop - strip.start))
            _check(file)
            if complete is not None:
                complete(file)
    except GDAL_ERRORS as error:
        raise not_written(path, error) from error
    return [path]


def _check(path: Path) -> None:
    """Read a file that was just written: what GDAL cannot write when it closes a file, it does not report."""
    with without_georeference_warning(), rasterio.open(path) as written:
        for _, part in written.block_windows(1):
            written.read(window=part)


def _placed(case: Case) -> dict[str, Any]:
    """Return the georeference to write: bit for bit that of the image, moved if the case is a part of it."""
    _, top, left = case.start
    placed: dict[str, Any] = {"crs": case.stored.get("crs")}
    transform = case.stored.get("transform", Affine.identity())
    if not transform.is_identity:
        a, b, c, d, e, f = transform[:6]
        placed["transform"] = Affine(a, b, c + a * left + b * top, d, e, f + d * left + e * top)
    points, crs = case.stored.get("gcps", ([], None))
    if points:
        moved = [GroundControlPoint(p.row - top, p.col - left, p.x, p.y, p.z, p.id, p.info) for p in points]
        placed |= {"gcps": moved, "crs": crs or CRS()}  # points of an unknown CRS stay so
    if case.stored.get("rpcs") is not None:
        rpcs = copy(case.stored["rpcs"])
        rpcs.line_off -= top
        rpcs.samp_off -= left
        placed["rpcs"] = rpcs
    return placed
