"""Polygons (GeoJSON, GeoPackage, Shapefile, FlatGeobuf) as labels of a raster, burnt window by window."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import shapely
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.features import rasterize
from rasterio.transform import Affine
from rasterio.warp import transform

from segcgan.case import Array, Case, LabelReader, Window
from segcgan.errors import SegcganError
from segcgan.formats.raster import GDAL_ERRORS, reason


@dataclass(frozen=True)
class Footprints:
    """Valid polygons in pixel coordinates (column, row) of the image file, with the value each is burnt with."""

    polygons: Array  # (N,) of shapely geometries
    values: Array  # (N,) int32
    tree: shapely.STRtree = field(repr=False)

    def __call__(self, window: Window) -> Array:
        """Return label values (d, h, w) int32: 0 outside all polygons; where they overlap the last one wins.

        A pixel belongs to a polygon when its centre does, so windows agree with each other.
        """
        depth, rows, columns = window
        size = (rows.stop - rows.start, columns.stop - columns.start)
        labels = np.zeros(size, np.int32)
        hits = np.sort(self.tree.query(shapely.box(columns.start, rows.start, columns.stop, rows.stop)))
        if len(hits) and min(size) > 0:
            shapes = [(self.polygons[i], int(self.values[i])) for i in hits]
            rasterize(shapes, out=labels, transform=Affine.translation(columns.start, rows.start))
        return np.repeat(labels[None], depth.stop - depth.start, axis=0)


def open_labels(path: Path, case: Case) -> LabelReader:
    """Open a vector file as labels of a georeferenced raster case.

    Polygons are brought into the CRS of the raster and made valid. Each is burnt with its integer attribute
    ``label``, or with 1 where the file has no such column.

    Raises:
        SegcganError: unreadable, no CRS in the raster or the file, no polygons, or ``label`` is not an integer.
    """
    if case.geometry.crs is None:
        raise SegcganError(f"{path} needs a georeferenced image and {case.path} has no CRS; give a label raster")
    shapes, values, crs = _features(path)
    to_pixels = np.linalg.inv(np.reshape(case.stored["transform"], (3, 3)))

    def project(points: Array) -> Array:
        x, y = transform(crs, case.stored["crs"], points[:, 0], points[:, 1])
        return (to_pixels[:2, :2] @ np.stack([x, y]) + to_pixels[:2, 2:]).T

    try:
        shapes = shapely.transform(shapes, project) if len(shapes) else shapes
    except GDAL_ERRORS as error:
        msg = f"{path} cannot be brought from {crs} into the CRS of {case.path} ({reason(error)}); reproject it"
        raise SegcganError(msg) from error
    # Points beyond the reach of a projection become infinite; a scene never shows them.
    there = np.isfinite(shapely.bounds(shapes)).all(axis=1)
    # make_valid may turn a bow tie into polygons and lines: only the polygons are area.
    parts, owner = shapely.get_parts(shapely.make_valid(shapes[there]), return_index=True)
    parts, inner = shapely.get_parts(parts, return_index=True)
    area = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    polygons, values = parts[area], values[there][owner[inner[area]]]
    return Footprints(polygons, values, shapely.STRtree(polygons))


def _features(path: Path) -> tuple[Array, Array, CRS]:
    """Return the geometries of the first layer, their values and their CRS."""
    import pyogrio  # half a second

    try:
        meta, _, wkb, columns = pyogrio.raw.read(path, columns=["label"])
        shapes = shapely.force_2d(shapely.from_wkb(wkb))
        crs = CRS.from_user_input(meta["crs"]) if meta["crs"] else None
    except (RuntimeError, shapely.GEOSException, OSError, CRSError) as error:  # pyogrio's are RuntimeErrors
        raise SegcganError(f"{path} cannot be read ({reason(error)}); give valid GeoJSON or GeoPackage") from error
    if crs is None:
        raise SegcganError(f"{path} has no CRS, so nobody knows where its polygons lie; assign one")
    kinds = set(shapely.get_type_id(shapes)) - {-1}  # -1: a feature without geometry
    if kinds and not kinds & {shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON}:
        raise SegcganError(f"{path} holds {meta['geometry_type']} and labels are polygons; buffer them first")
    if "label" not in meta["fields"]:
        return shapes, np.ones(len(shapes), np.int32), crs
    labels = columns[0]
    if not np.issubdtype(labels.dtype, np.integer):
        raise SegcganError(f"{path} has a column 'label' of {labels.dtype}; make it integers, none missing")
    return shapes, labels.astype(np.int32), crs
