"""Polygons (GeoJSON, GeoPackage, Shapefile, FlatGeobuf) as labels of a raster, burnt window by window."""

import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import shapely
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.features import rasterize
from rasterio.transform import Affine

from segcgan.case import Array, Case, LabelReader, Window
from segcgan.errors import SegcganError, nearest
from segcgan.formats.columns import UNKNOWN, Meaning, label_values
from segcgan.formats.overlap import check_overlap, project
from segcgan.formats.raster import GDAL_ERRORS, reason

_Kind = shapely.GeometryType
_AREAS = (_Kind.POLYGON, _Kind.MULTIPOLYGON, _Kind.GEOMETRYCOLLECTION)
_KINDS = {
    _Kind.POINT: "Point",
    _Kind.LINESTRING: "LineString",
    _Kind.LINEARRING: "LinearRing",
    _Kind.MULTIPOINT: "MultiPoint",
    _Kind.MULTILINESTRING: "MultiLineString",
}


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


def open_labels(path: Path, case: Case, meaning: Meaning = UNKNOWN) -> LabelReader:
    """Open a vector file as labels of a georeferenced raster case.

    Polygons are brought into the CRS of the raster and made valid. Each is burnt with the label value that a column
    gives, see :func:`segcgan.formats.columns.label_values`. A file without polygons is all background.

    Args:
        path: of the file.
        case: the raster; what is doubtful about its labels is added to ``case.notes``.
        meaning: layer, column and classes.

    Raises:
        SegcganError: unreadable, no CRS in the raster or the file, lines or points only, several layers, polygons that
            never touch the raster, or no column that says the class.
    """
    if case.geometry.crs is None:
        raise SegcganError(f"{path} needs a georeferenced image and {case.path} has no CRS; give a label raster")
    shapes, table, crs = read_layer(path, meaning.layer)
    shapes, table = _polygons_only(path, shapes, table, case)
    if not len(shapes):
        case.notes.append(f"{path} holds no polygons, so all of the scene is background")
        return Footprints(shapes, np.zeros(0, np.int32), shapely.STRtree(shapes))
    polygons, owner = _in_pixels(path, shapes, crs, case)
    height, width = case.stored["size"]
    inside = np.sort(shapely.STRtree(polygons).query(shapely.box(0, 0, width, height), "intersects"))
    check_overlap(path, shapes, crs, polygons, inside, case)
    polygons = polygons[inside]
    owner = owner[inside]
    rows = np.unique(owner)
    seen = {name: column[rows] for name, column in table.items()}
    values, doubt = label_values(path, seen, len(rows), meaning)
    case.notes += [doubt] if doubt else []
    return Footprints(polygons, values[np.searchsorted(rows, owner)], shapely.STRtree(polygons))


def read_layer(path: Path, layer: str | None = None) -> tuple[Array, dict[str, Array], CRS]:
    """Return the geometries (N,) of a layer, its columns by name, each (N,), and its CRS.

    Raises:
        SegcganError: unreadable, several layers and none named, no such layer, or no CRS.
    """
    import pyogrio  # half a second

    try:
        layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]  # others are tables
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of columns of odd types, which say no class
            meta, _, wkb, columns = pyogrio.raw.read(path, layer=_chosen_layer(path, layers, layer))
        shapes = shapely.force_2d(shapely.from_wkb(wkb))
        crs = CRS.from_user_input(meta["crs"]) if meta["crs"] else None
    except (RuntimeError, shapely.GEOSException, OSError, CRSError) as error:  # pyogrio's are RuntimeErrors
        raise SegcganError(f"{path} cannot be read ({reason(error)}); give valid GeoJSON or GeoPackage") from error
    if crs is None:
        raise SegcganError(f"{path} has no CRS, so nobody knows where its polygons lie; assign one")
    return shapes, dict(zip(map(str, meta["fields"]), columns, strict=True)), crs


def _chosen_layer(path: Path, layers: list[str], wanted: str | None) -> str | None:
    single = path.suffix.lower() != ".gpkg" and len(layers) <= 1  # such a layer has the name of its file
    if wanted is None or single:
        if len(layers) > 1:
            listed = ", ".join(layers)
            raise SegcganError(f"{path} has the layers {listed}; name the one to use by data.images.label_layer")
        return layers[0] if layers else None
    if wanted not in layers:
        hint = nearest(wanted, layers)
        raise SegcganError(f"{path} has no layer {wanted!r}, which data.images.label_layer names{hint}")
    return wanted


def _polygons_only(path: Path, shapes: Array, table: dict[str, Array], case: Case) -> tuple[Array, dict[str, Array]]:
    """Leave out features that are no areas, and note it."""
    kinds = shapely.get_type_id(shapes)
    area = np.isin(kinds, _AREAS) & ~shapely.is_empty(shapes)
    others = {_KINDS[kind]: int((kinds == kind).sum()) for kind in np.unique(kinds) if kind in _KINDS}
    if others:
        listed = " and ".join(f"{count} {kind}" for kind, count in others.items())
        if not area.any():
            raise SegcganError(f"{path} holds {' and '.join(others)} and labels are polygons; buffer them first")
        case.notes.append(f"{listed} of {path} are left out, since labels are polygons: buffer them first")
    return shapes[area], {name: column[area] for name, column in table.items()}


def _in_pixels(path: Path, shapes: Array, crs: CRS, case: Case) -> tuple[Array, Array]:
    """Return valid polygons in pixel coordinates of a case's file, and the index of the shape each comes from."""
    to_pixels = np.linalg.inv(np.reshape(case.stored["transform"], (3, 3)))
    try:
        placed = project(shapes, crs, case.stored["crs"])
    except GDAL_ERRORS as error:
        msg = f"{path} cannot be brought from {crs} into the CRS of {case.path} ({reason(error)}); reproject it"
        raise SegcganError(msg) from error
    # Points beyond the reach of a projection become infinite; a scene never shows them.
    there = np.flatnonzero(np.isfinite(shapely.bounds(placed)).all(axis=1))
    placed = shapely.transform(placed[there], lambda points: points @ to_pixels[:2, :2].T + to_pixels[:2, 2])
    # make_valid may turn a bow tie into polygons and lines: only the polygons are area.
    parts, owner = shapely.get_parts(shapely.make_valid(placed), return_index=True)
    parts, inner = shapely.get_parts(parts, return_index=True)
    area = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    return parts[area], there[owner[inner[area]]]
