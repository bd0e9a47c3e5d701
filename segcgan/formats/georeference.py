"""Where a raster lies on the ground, and how large its pixels are there."""

import logging
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import CRSError

from segcgan.case import Geometry
from segcgan.formats.sidecars import projection

log = logging.getLogger("segcgan")


def place(dataset: Any, path: Path) -> dict[str, Any]:
    """Return what has to be written back: size, transform, CRS, ground control points with their CRS, RPCs.

    A CRS that the file lacks is taken from the ``.prj`` beside it. Points beside a transform are left out.

    Args:
        dataset: an open rasterio dataset.
        path: of its file.
    """
    points, crs = dataset.gcps if dataset.transform.is_identity else ([], None)
    return {
        "size": dataset.shape,
        "transform": dataset.transform,
        "crs": dataset.crs or _from_projection(dataset, path),
        "gcps": (points, crs),
        "rpcs": dataset.rpcs,
    }


def _from_projection(dataset: Any, path: Path) -> CRS | None:
    found = None if dataset.transform.is_identity else projection(path)
    if found is None:
        return None
    try:
        return CRS.from_wkt(found.read_text(encoding="utf-8", errors="replace"), morph_from_esri_dialect=True)
    except (CRSError, OSError) as error:
        log.warning("%s is no CRS (%s), so %s counts as having none", found, error, path.name)
        return None


def geometry(placed: dict[str, Any]) -> Geometry:
    """Return the geometry of a raster from what :func:`place` says.

    With ground control points or RPCs only, the transform is the identity (and the CRS that of the points): that says
    nothing about the size of a pixel, so such a raster counts as having no CRS.

    The affine is the file's own, exactly (rotated or south-up included): world x = c + a·column + b·row, where
    whole numbers are pixel *corners*, as in GDAL. Spacing is in metres on the ground at the centre of the scene;
    without georeference it is 1 and the unit is "px".
    """
    t = placed["transform"]
    crs = placed["crs"]
    affine = np.array([[0, t.b, t.a, t.c], [0, t.e, t.d, t.f], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=float)
    if crs is None or t.is_identity:
        return Geometry(affine, (1.0, 1.0, 1.0), "px")
    height, width = placed["size"]
    centre = t.d * width / 2 + t.e * height / 2 + t.f
    east, north = metres_per_unit(crs, centre)
    spacing = (1.0, math.hypot(t.b * east, t.e * north), math.hypot(t.a * east, t.d * north))
    return Geometry(affine, spacing, "m", crs.to_wkt())


def metres_per_unit(crs: Any, y: float) -> tuple[float, float]:
    """Return the metres on the ground along x and y of one unit of a rasterio CRS at northing or latitude ``y``.

    Degrees use the radii of curvature of the CRS's own ellipsoid, so other planets are right too. Mercator (web
    maps) stretches by 1 / cos(latitude), a factor of 2 at 60°, and is corrected; others count as true to scale.
    """
    unit = float(crs.units_factor[1])  # radians or metres
    found = re.search(r'(?:SPHEROID|ELLIPSOID)\["[^"]*",\s*([\d.eE+]+),\s*([\d.eE+]+)', crs.to_wkt())
    radius, inverse_flattening = (float(found[1]), float(found[2])) if found else (6378137.0, 298.257223563)
    if crs.is_geographic:
        latitude = max(-1.57, min(1.57, y * unit))  # radians, short of the pole: no pixel has width 0
        flattening = 1 / inverse_flattening if inverse_flattening else 0.0
        squared = flattening * (2 - flattening)
        curve = 1 - squared * math.sin(latitude) ** 2
        along_parallel = radius / math.sqrt(curve) * math.cos(latitude)
        along_meridian = radius * (1 - squared) / curve**1.5
        return unit * along_parallel, unit * along_meridian
    known = crs.to_dict()
    if known.get("proj") == "merc":
        scale = float(known.get("k", 1)) * math.cos(math.radians(float(known.get("lat_ts", 0))))
        latitude = math.atan(math.sinh((y * unit - float(known.get("y_0", 0))) / (radius * scale)))
        return unit * math.cos(latitude) / scale, unit * math.cos(latitude) / scale
    return unit, unit
