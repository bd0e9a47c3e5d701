"""GeoTIFF and GDAL VRT: windows in, strips out, so that a raster may be larger than memory."""

import logging
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.transform import Affine
from rasterio.windows import Window as Part

from segcgan.case import IGNORE, Array, Case, LabelReader, Window
from segcgan.classes import ClassSpec
from segcgan.errors import SegcganError, not_written
from segcgan.formats.folders import Source
from segcgan.formats.georeference import geometry
from segcgan.formats.raster import (
    CERTAIN,
    GDAL_ERRORS,
    Labels,
    Pixels,
    Probabilities,
    opened,
    without_georeference_warning,
)
from segcgan.formats.staging import staging

BLOCK = 512
_GREYS = 16  # more different values than any alpha band of a raster needs: it says yes or no
_told: set[Path] = set()  # folders in which that was warned of
log = logging.getLogger("segcgan")


def open_case(source: Source, orientation: str = "canonical") -> Case:
    """Open a raster of any band count and real dtype; ``orientation`` is for scans and has no effect here.

    A raster without CRS, or with ground control points or RPCs only, is read in pixels (see ``georeference``).

    Raises:
        SegcganError: unreadable, complex-valued, several pages, or nothing but alpha bands.
    """
    with opened(source.path) as dataset:
        if dataset.subdatasets:
            pages = len(dataset.subdatasets)
            raise SegcganError(f"{source.path} holds {pages} images and segcgan reads one per file; split it")
        roles = zip(dataset.indexes, dataset.colorinterp, strict=True)
        bands = tuple(band for band, role in roles if role != ColorInterp.alpha)
        if not bands:
            raise SegcganError(f"{source.path} has no band besides alpha; give a raster with at least one channel")
        if len(bands) < dataset.count:
            _check_alpha(dataset, source.path)
        kind = dataset.dtypes[0]
        if "complex" in kind:
            raise SegcganError(f"{source.path} holds {kind} and segcgan reads real numbers; convert it")
        if not abs(dataset.transform.determinant) > 0:  # written so that NaN is refused too
            shown = dataset.transform[:6]
            raise SegcganError(f"{source.path} has the transform {shown}, which gives pixels no area; repair it")
        return Case(
            name=source.name,
            path=source.path,
            format="geotiff",
            shape=(1, dataset.height, dataset.width),
            channels=len(bands),
            geometry=geometry(dataset),
            reader=Pixels(source.path, bands),
            group=source.name,
            stored={
                "size": dataset.shape,
                "transform": dataset.transform,
                "crs": dataset.crs,
                "gcps": dataset.gcps if dataset.transform.is_identity else ([], None),
                "rpcs": dataset.rpcs,
            },
        )


def _check_alpha(dataset: Any, path: Path) -> None:
    """Warn of a channel that is declared alpha: GDAL does so with the fourth of four bytes unless told otherwise."""
    row, column = (max(0, size // 2 - 128) for size in dataset.shape)
    for band, role in zip(dataset.indexes, dataset.colorinterp, strict=True):
        if role == ColorInterp.alpha:
            values = dataset.read(band, window=Part(column, row, 256, 256))
            if len(np.unique(values)) > _GREYS and path.parent not in _told:  # once, where there are thousands
                _told.add(path.parent)
                said = f"{path}: band {band} is declared alpha and taken for validity, but looks like a channel"
                log.warning("%s; if it is one, run gdal_edit.py -colorinterp_%d undefined %s", said, band, path.name)


def files_of(path: Path) -> list[Path]:
    """Return a raster's own file, those a mosaic (VRT) is made of, and sidecars such as ``.msk`` and ``.aux.xml``."""
    with opened(path) as dataset:
        return [Path(name) for name in dataset.files if Path(name).is_file()]


def open_labels(path: Path, case: Case) -> LabelReader:
    """Open a one-band label raster on the grid of ``case``.

    The label's nodata value means "unknown" (``IGNORE``), except 0: GIS programs declare the background so. A file
    without georeference is accepted when its size is that of the image.

    Raises:
        SegcganError: unreadable, another grid, or several bands.
    """
    with opened(path) as dataset:
        _check_grid(path, dataset, case)
        if dataset.count != 1 or "complex" in dataset.dtypes[0]:
            raise SegcganError(
                f"{path} has {dataset.count} bands and labels are one band of whole numbers; keep one"
            )
        return Labels(path, keep_zero=dataset.nodata == 0)


def open_probability(path: Path, case: Case) -> Callable[[Window], Array]:
    """Open a raster with one band per class on the grid of ``case``; see ``Probabilities``.

    Raises:
        SegcganError: unreadable, another grid, or neither bytes nor floats.
    """
    with opened(path) as dataset:
        _check_grid(path, dataset, case)
        kind = dataset.dtypes[0]
        if kind != "uint8" and not kind.startswith("float"):
            raise SegcganError(
                f"{path} holds {kind}; class probabilities are floats 0–1 or uint8 0–254, so convert it"
            )
        return Probabilities(path, tuple(dataset.indexes))


def write_mask(folder: Path, stem: str, case: Case, read: LabelReader, classes: list[ClassSpec]) -> list[Path]:
    """Write ``<stem>.tif``: class indices, nodata 255, colour table, class names in tags ``class_0``, ``class_1``.

    CRS, transform, control points and RPCs are those of the image, shifted if the case is a part of it.

    Args:
        folder: made if missing.
        stem: file name without extension.
        case: gives the grid.
        read: from a window of the case to class indices (1, h, w) uint8; called once per strip of 512 rows.
        classes: names and colours.
    """

    def describe(out: Any) -> None:
        out.write_colormap(1, {i: (*spec.rgb, 255) for i, spec in enumerate(classes)} | {IGNORE: (0, 0, 0, 0)})
        out.update_tags(**{f"class_{i}": spec.name for i, spec in enumerate(classes)})
        out.set_band_description(1, "class index")

    def read_band(window: Window) -> Array:
        return read(window)[None]

    return _write(folder / f"{stem}.tif", case, read_band, describe, photometric="palette", compress="deflate")


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
    return _write(folder / f"{stem}.tif", case, read, describe, photometric="minisblack", compress=packing)


def _write(
    path: Path,
    case: Case,
    read: Callable[[Window], Array],
    describe: Callable[[Any], None],
    **profile: str | None,
) -> list[Path]:
    _, height, width = case.shape
    strips = [slice(top, min(top + BLOCK, height)) for top in range(0, height, BLOCK)]
    values = read((slice(0, 1), strips[0], slice(0, width)))
    layout = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK} if min(height, width) >= 16 else {}
    kind = {"driver": "GTiff", "dtype": "uint8", "nodata": IGNORE, "bigtiff": "if_safer"}
    size = {"height": height, "width": width, "count": len(values)}
    try:
        with (
            staging(path.parent) as folder,
            without_georeference_warning(),
            rasterio.open(folder / path.name, "w", **kind, **size, **layout, **_placed(case), **profile) as out,
        ):
            describe(out)
            for strip in strips:
                if strip.start > 0:
                    values = read((slice(0, 1), strip, slice(0, width)))
                out.write(values[:, 0], window=Part(0, strip.start, width, strip.stop - strip.start))
    except GDAL_ERRORS as error:
        raise not_written(path, error) from error
    return [path]


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
        placed |= {"gcps": moved, "crs": crs}
    if case.stored.get("rpcs") is not None:
        rpcs = copy(case.stored["rpcs"])
        rpcs.line_off, rpcs.samp_off = rpcs.line_off - top, rpcs.samp_off - left
        placed["rpcs"] = rpcs
    return placed


def _check_grid(path: Path, dataset: Any, case: Case) -> None:
    """Refuse a raster of another size, or with a corner more than 0.01 pixel away from that of the image."""
    height, width = case.stored["size"]
    cure = "resample it onto the image, for example with gdalwarp"
    if dataset.shape != (height, width):
        raise SegcganError(f"{path} is {dataset.height}×{dataset.width} and its image {height}×{width}; {cure}")
    ours, theirs = case.stored.get("transform", Affine.identity()), dataset.transform
    if ours.is_identity or theirs.is_identity:
        return
    corners = np.array([[0, 0, width, width], [0, height, 0, height], [1, 1, 1, 1]])
    seen = np.linalg.solve(np.reshape(ours, (3, 3)), np.reshape(theirs, (3, 3)) @ corners)
    if np.abs(seen - corners).max() > 0.01:
        raise SegcganError(f"{path} has the transform {theirs[:6]} and its image {ours[:6]}; {cure}")
