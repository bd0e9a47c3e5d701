"""Whether polygons lie in their scene, and what is wrong if they do not."""

from pathlib import Path

import numpy as np
import shapely
from rasterio.crs import CRS
from rasterio.warp import transform

from segcgan.case import Array, Case
from segcgan.errors import SegcganError
from segcgan.formats.extent import crs_name, extent_of, in_words
from segcgan.formats.raster import GDAL_ERRORS

_LITTLE = 0.01


def project(shapes: Array, crs: CRS, scene: CRS) -> Array:
    """Bring geometries from one CRS into another; what it cannot reach gets infinite coordinates.

    Raises:
        one of ``GDAL_ERRORS``: there is no way from one to the other.
    """
    quarter = np.pi / 2 / crs.units_factor[1] if crs.is_geographic else np.inf  # degrees, nearly always

    def move(points: Array) -> Array:
        found = np.full(points.shape, np.inf)
        known = (np.abs(points[:, 1]) <= quarter) & (np.abs(points[:, 0]) <= 6 * quarter)  # for others PROJ fails
        if known.any():
            found[known] = np.transpose(transform(crs, scene, points[known, 0], points[known, 1]))
        return found

    return shapely.transform(shapes, move)


def check_overlap(path: Path, shapes: Array, crs: CRS, polygons: Array, inside: Array, case: Case) -> None:
    """Refuse polygons that never touch their scene; note if they hardly do or are too small to be seen.

    "Hardly" is an area in the scene below 1 % of the area of all polygons and below 1 % of the scene: a file of a whole
    country is none of it, nor is a scene that shows one house.

    Args:
        path: of the labels.
        shapes: all polygons, (N,), as in the file.
        crs: theirs.
        polygons: the same in pixel coordinates of the scene, (M,).
        inside: indices of those that touch the scene.
        case: the scene.

    Raises:
        SegcganError: none touches the scene.
    """
    scene = case.stored["crs"]
    height, width = case.stored["size"]
    if not len(inside):
        where = f"{in_words(_bounds(shapes))} ({crs_name(crs)})"
        seen = _seen(shapes, crs, scene)
        if crs != scene and seen is not None:
            where += f", which is {in_words(_bounds(seen))} in the CRS of the scene"
        there = f"{in_words(extent_of(case.stored))} ({crs_name(scene)})"
        said = f"{path} never touches its scene {case.path.name}: the labels are at {where}, the scene at {there}"
        raise SegcganError(f"{said}; {_cure(shapes, crs, case)}")
    covered = float(shapely.area(shapely.clip_by_rect(polygons[inside], 0, 0, width, height)).sum())
    total = float(shapely.area(polygons).sum())
    if total < 1:
        case.notes.append(f"all polygons of {path} together are smaller than a pixel")
    elif covered < _LITTLE * min(total, height * width):
        of_labels = covered / total
        of_scene = covered / (height * width)
        lies = f"only {of_labels:.2%} of the area of the polygons of {path} lies in the scene"
        case.notes.append(f"{lies} and covers {of_scene:.2%} of it: are these its labels?")


def _seen(shapes: Array, crs: CRS, scene: CRS) -> Array | None:
    """Return what a CRS can show of the shapes, None if it shows nothing."""
    try:
        placed = project(shapes, crs, scene)
    except GDAL_ERRORS:
        return None
    placed = placed[np.isfinite(shapely.bounds(placed)).all(axis=1)]
    return placed if len(placed) else None


def _cure(shapes: Array, crs: CRS, case: Case) -> str:
    """Say what would bring the labels into the scene, if something simple does."""
    scene = case.stored["crs"]
    swapped = shapely.transform(shapes, lambda points: points[:, ::-1])
    if crs != scene and _touches(shapes, case):
        plain = "; GeoJSON without a member crs counts as EPSG:4326" if crs.to_epsg() == 4326 else ""
        return f"the numbers fit the CRS of the scene{plain}, so write {crs_name(scene)} into the file as its CRS"
    seen = _seen(swapped, crs, scene)
    if seen is not None and _touches(seen, case):
        return "with x and y exchanged they would: exchange them"
    if crs != scene and _touches(swapped, case):
        return f"with x and y exchanged the numbers fit the CRS of the scene: exchange them and write {crs_name(scene)}"
    return "give the labels of this scene, or correct their CRS"


def _touches(shapes: Array, case: Case) -> bool:
    west, south, east, north = extent_of(case.stored)
    return bool(shapely.intersects(shapes, shapely.box(west, south, east, north)).any())


def _bounds(shapes: Array) -> tuple[float, float, float, float]:
    west, south, east, north = (float(value) for value in shapely.total_bounds(shapes))
    return west, south, east, north
