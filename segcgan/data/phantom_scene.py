"""Scene phantom: a piece of town from above as a GeoTIFF with building footprints as GeoJSON."""

import json
from typing import Any

import numpy as np

from segcgan.case import Array

SIZE = 256  # pixels
PIXEL = 0.5  # metres
CRS = "EPSG:32636"
FINE = 2  # drawn at twice the resolution, so that edges are mixed pixels

Corners = list[tuple[float, float]]  # (column, row) in pixels


def scene_files(rng: np.random.Generator, index: int) -> dict[str, bytes]:
    """Make one scene of 256×256 pixels uint16 at 0.5 m; one in three has a corner without data (0).

    Returns:
        Content by relative path: ``images/scene_NN.tif``, ``masks/scene_NN.geojson``.
    """
    import rasterio
    from rasterio.transform import from_origin

    left, top = 330000 + 1000 * index, 3325000
    pixels, footprints = _town(rng)
    if index % 3 == 1:  # the edge of the sensor's swath
        row, column = np.mgrid[:SIZE, :SIZE]
        pixels[column + row * rng.uniform(0.3, 1) < rng.uniform(0.2, 0.4) * SIZE] = 0
    transform = from_origin(left, top, PIXEL, PIXEL)
    profile = {"driver": "GTiff", "width": SIZE, "height": SIZE, "count": 1, "dtype": "uint16", "nodata": 0}
    with rasterio.MemoryFile() as memory:
        with memory.open(**profile, crs=CRS, transform=transform, compress="deflate", predictor=2) as file:
            file.write(pixels, 1)
        image = memory.read()
    stem = f"scene_{index:02d}"
    world = [[(left + PIXEL * x, top - PIXEL * y) for x, y in corners] for corners in footprints]
    return {f"images/{stem}.tif": image, f"masks/{stem}.geojson": _geojson(world)}


def _town(rng: np.random.Generator) -> tuple[Array, list[Corners]]:
    """Grey values (256, 256) uint16 from 1 to 2047, and the corners of every roof."""
    from scipy import ndimage  # slow to import

    shape = (SIZE * FINE, SIZE * FINE)
    row, column = (np.mgrid[: shape[0], : shape[1]] + 0.5) / FINE
    ground = 430 + 50 * _smooth(rng, 40) + 25 * _smooth(rng, 6) + 15 * _smooth(rng, 1)
    grass = np.clip(3 * (_smooth(rng, 30) - 0.3), 0, 1)
    ground += grass * (-130 + 45 * _smooth(rng, 2))
    grid = rng.uniform(0, np.pi / 2)  # streets and most walls run along it
    street = np.zeros(shape, bool)
    for angle in (grid, grid, grid + np.pi / 2):
        across = (column - SIZE / 2) * np.sin(angle) - (row - SIZE / 2) * np.cos(angle)
        street |= np.abs(across - rng.uniform(-110, 110)) < rng.uniform(3, 6)
    ground = np.where(street, rng.uniform(480, 620) + 15 * _smooth(rng, 3), ground)
    for _ in range(int(rng.integers(3, 7))):  # yards and car parks: like roofs, but flat
        yard = _inside(_rectangle(rng, grid, (12, 40)))
        ground = np.where(yard, rng.uniform(330, 700) + 20 * _smooth(rng, 3), ground)

    footprints = _place_buildings(rng, grid, street)
    sun = rng.uniform(0, 2 * np.pi)
    towards = np.array([np.cos(sun), np.sin(sun)])
    light, roofs = np.ones(shape), np.zeros(shape)
    covered = np.zeros(shape, bool)
    for corners in footprints:
        steps = np.outer(np.arange(0, rng.uniform(4, 12)), towards)
        light[_inside(*([(x + dx, y + dy) for x, y in corners] for dx, dy in steps))] = 0.45
        roof = _inside(corners)
        level = rng.choice(
            [rng.uniform(800, 1150), rng.uniform(600, 800), rng.uniform(240, 300)], p=[0.4, 0.4, 0.2]
        )
        middle = np.mean(corners, axis=0)
        side = (column[roof] - middle[0]) * np.sin(grid) - (row[roof] - middle[1]) * np.cos(grid) > 0
        slope = rng.choice([0, rng.uniform(0.05, 0.25)])  # flat or gabled: the far side is darker
        roofs[roof] = level * (1 - slope * side)
        covered |= roof
    picture = np.where(covered, roofs * (1 + 0.04 * _smooth(rng, 1.5)), ground * light)
    crown, leaves = 0.2 * _smooth(rng, 3), 230 + 60 * _smooth(rng, 1.5)
    for _ in range(int(rng.integers(25, 60))):  # trees, some of them over a roof
        (x, y), radius = rng.uniform(0, SIZE, 2), rng.uniform(2, 6)
        top, left = max(int(y) - 10, 0), max(int(x) - 10, 0)
        near = np.s_[top * FINE : int(y + 10) * FINE, left * FINE : int(x + 10) * FINE]
        across, down = column[near] - x, row[near] - y
        picture[near][np.hypot(across - 3 * towards[0], down - 3 * towards[1]) < radius] *= 0.6
        tree = np.hypot(across, down) + radius * crown[near] < radius
        picture[near][tree] = leaves[near][tree]
    picture = picture.reshape(SIZE, FINE, SIZE, FINE).mean(axis=(1, 3))
    picture = ndimage.gaussian_filter(picture, 0.7) + rng.normal(0, 14, picture.shape)
    return np.clip(np.round(picture), 1, 2047).astype(np.uint16), footprints


def _place_buildings(rng: np.random.Generator, grid: float, street: Array) -> list[Corners]:
    """Rectangles and L-shapes beside the streets, apart from one another."""
    from scipy import ndimage  # slow to import

    taken, placed = street.copy(), []
    for _ in range(120):
        corners = _rectangle(rng, grid + rng.normal(0, 0.06), (10, 36))
        if rng.random() < 0.3:  # cut a corner out
            a, b, c, d = (np.array(corner) for corner in corners)
            p, q = rng.uniform(0.35, 0.65, 2)
            notch = [a + p * (b - a), a + p * (b - a) + q * (d - a), a + q * (d - a)]
            corners = [(float(x), float(y)) for x, y in (*notch[:1], b, c, d, notch[2], notch[1])]
        roof = _inside(corners)
        if not (roof & taken).any():
            taken |= ndimage.binary_dilation(roof, iterations=3 * FINE)
            placed.append(corners)
        if len(placed) == 22:
            break
    return placed


def _rectangle(rng: np.random.Generator, angle: float, sides: tuple[float, float]) -> Corners:
    x, y = rng.uniform(0, SIZE, 2)
    half = rng.uniform(*sides, 2) / 2
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    corners = (np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half) @ turn + [x, y]
    return [(float(x), float(y)) for x, y in corners]


def _inside(*polygons: Corners) -> Array:
    """Pixels of the fine grid (512, 512) with their centre in any of the polygons."""
    from rasterio.features import rasterize
    from rasterio.transform import Affine

    shapes = [{"type": "Polygon", "coordinates": [[*corners, corners[0]]]} for corners in polygons]
    size = SIZE * FINE
    return rasterize(shapes, out_shape=(size, size), transform=Affine.scale(1 / FINE), dtype="uint8") > 0


def _geojson(polygons: list[list[tuple[float, float]]]) -> bytes:
    """Polygons in the scene's CRS as RFC 7946: longitude and latitude, outer rings anticlockwise and closed."""
    from rasterio.warp import transform

    features: list[dict[str, Any]] = []
    for number, corners in enumerate(polygons):
        xs, ys = zip(*corners, strict=True)
        ring = [
            [round(value, 9) for value in point]
            for point in zip(*transform(CRS, "EPSG:4326", xs, ys), strict=True)
        ]
        area = sum(one[0] * two[1] - two[0] * one[1] for one, two in zip(ring, ring[1:] + ring[:1], strict=True))
        ring = ring if area > 0 else ring[::-1]
        geometry = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
        features.append({"type": "Feature", "properties": {"building": "yes", "id": number}, "geometry": geometry})
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


def _smooth(rng: np.random.Generator, sigma: float) -> Array:
    """Normal noise of variance 1, smooth over ``sigma`` pixels, on the fine grid."""
    from scipy import ndimage  # slow to import

    size = SIZE * FINE
    waves = np.fft.rfft2(rng.standard_normal((size, size)))
    noise = np.fft.irfft2(ndimage.fourier_gaussian(waves, sigma * FINE, n=size))
    return (noise - noise.mean()) / noise.std()
