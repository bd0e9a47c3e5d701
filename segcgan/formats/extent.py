"""Whether labels lie where their image lies."""

from pathlib import Path
from typing import Any

import numpy as np
from rasterio.crs import CRS
from rasterio.transform import Affine
from rasterio.warp import transform

from segcgan.case import Array, Case
from segcgan.errors import SegcganError
from segcgan.formats.georeference import place
from segcgan.formats.raster import GDAL_ERRORS

_SLACK = 0.01  # pixels between the corners of two grids that are the same
_SHIFT = 0.5  # pixels between the places two CRSs give to the same numbers: datums of the same place differ less
_RESAMPLE = "resample it onto the image, for example with gdalwarp"


def extent_of(placed: dict[str, Any]) -> tuple[float, float, float, float]:
    """Return left, bottom, right, top of a raster in units of its CRS; ``placed`` is what ``place`` returns."""
    x, y = np.reshape(placed["transform"], (3, 3))[:2] @ _corners(*placed["size"])
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def in_words(bounds: tuple[float, float, float, float]) -> str:
    """Return "x 3 … 4, y 5 … 6", with six digits behind the point for numbers that may be degrees."""
    digits = 6 if max(map(abs, bounds)) <= 360 else 2
    west, south, east, north = (f"{round(value, digits):.15g}" for value in bounds)
    return f"x {west} … {east}, y {south} … {north}"


def crs_name(crs: CRS | None) -> str:
    """Return "EPSG:32632", the name of a CRS without a code, or "no CRS"."""
    if crs is None:
        return "no CRS"
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else crs.to_wkt().split('"')[1]


def check_grid(path: Path, dataset: Any, case: Case) -> None:
    """Refuse labels of another size, on another grid, or in a CRS that puts the same numbers elsewhere.

    Args:
        path: of the labels.
        dataset: them, open in rasterio.
        case: the image. Labels without georeference are taken to lie on it, and so are any where it has none.
    """
    theirs, ours = place(dataset, path), case.stored
    placed = not theirs["transform"].is_identity and not ours.get("transform", Affine.identity()).is_identity
    apart = _apart(theirs, ours) if placed else ""
    height, width = ours["size"]
    if dataset.shape != (height, width):
        size = f"{dataset.height}×{dataset.width} and its image {height}×{width}"
        raise SegcganError(f"{path} is {size}; {_RESAMPLE}{apart}")
    if not placed:
        return
    corners = _corners(height, width)
    mine = np.reshape(ours["transform"], (3, 3))
    seen = np.linalg.solve(mine, np.reshape(theirs["transform"], (3, 3)) @ corners)
    if np.abs(seen - corners).max() > _SLACK:
        both = f"{theirs['transform'][:6]} and its image {ours['transform'][:6]}"
        raise SegcganError(f"{path} has the transform {both}; {_RESAMPLE}{apart}")
    if None not in (theirs["crs"], ours.get("crs")) and theirs["crs"] != ours["crs"]:
        _check_crs(path, theirs["crs"], case)


def _check_crs(path: Path, crs: CRS, case: Case) -> None:
    scene = case.stored["crs"]
    corners, affine = _corners(*case.stored["size"]), np.reshape(case.stored["transform"], (3, 3))
    try:
        x, y = transform(crs, scene, *(affine @ corners)[:2])
    except GDAL_ERRORS:
        x = [np.inf]
        y = [np.inf]
    if np.isfinite([x, y]).all():
        away = np.abs(np.linalg.solve(affine, np.stack([x, y, np.ones(4)])) - corners).max()
        where = f"at {in_words((min(x), min(y), max(x), max(y)))} of the image's CRS"
    else:
        away = np.inf
        where = "outside the image's CRS"
    if away > _SHIFT:
        said = f"{path} has the CRS {crs_name(crs)} and its image {crs_name(scene)}"
        numbers = f"the same numbers, {in_words(extent_of(case.stored))}, are {where}"
        raise SegcganError(f"{said}: {numbers}; correct the CRS that is wrong, or {_RESAMPLE}")


def _apart(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    first = f"{in_words(extent_of(theirs))} ({crs_name(theirs['crs'])})"
    second = f"{in_words(extent_of(ours))} ({crs_name(ours.get('crs'))})"
    return f"; the labels are at {first}, the image at {second}"


def _corners(height: int, width: int) -> Array:
    """Return the corners of a raster, (3, 4): column, row, 1."""
    return np.array([[0, 0, width, width], [0, height, 0, height], [1, 1, 1, 1]], dtype=float)
