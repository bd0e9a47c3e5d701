import json
import pickle

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from rasterio.transform import Affine

from segcgan.errors import SegcganError
from segcgan.formats import open_case, open_labels

UTM = Affine(1, 0, 500000, 0, -1, 4000000)
SQUARE = [[500010, 3999990], [500020, 3999990], [500020, 3999970], [500010, 3999970], [500010, 3999990]]


def scene(path, transform=UTM, crs="EPSG:32631", size=50):
    with rasterio.open(
        path, "w", driver="GTiff", crs=crs, transform=transform, width=size, height=size, count=1, dtype="uint8"
    ) as out:
        out.write(np.ones((1, size, size), np.uint8))
    return open_case(path)


def geojson(path, rings, properties=None, crs="EPSG:32631", kind="Polygon"):
    features = []
    for i, ring in enumerate(rings):
        geometry = None if ring is None else {"type": kind, "coordinates": [ring] if kind == "Polygon" else ring}
        features.append({"type": "Feature", "properties": (properties or [{}] * 9)[i], "geometry": geometry})
    head = {"crs": {"type": "name", "properties": {"name": crs}}} if crs else {}
    path.write_text(json.dumps({"type": "FeatureCollection", **head, "features": features}))
    return path


def test_square_is_burnt_at_its_pixels(tmp_path):
    case = scene(tmp_path / "a.tif")
    labels = open_labels(geojson(tmp_path / "a.geojson", [SQUARE, None]), case)(case.whole)
    expected = np.zeros((1, 50, 50), np.int32)
    expected[0, 10:30, 10:20] = 1
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize(
    "transform",
    [UTM, Affine(0.9, 0.3, 500000, 0.3, -0.9, 4000000), Affine(1, 0, 500000, 0, 1, 3999950)],
    ids=["north-up", "rotated", "south-up"],
)
def test_windows_agree_with_the_whole_under_any_affine(tmp_path, transform):
    rng = np.random.default_rng(1)
    centres = rng.uniform(0, 50, (40, 2)) @ np.array([[1, 0], [0, -1]]) + (500000, 4000000)
    rings = [shapely.Point(c).buffer(rng.uniform(1, 6)) for c in centres]
    path = geojson(
        tmp_path / "a.geojson", [list(r.exterior.coords) for r in rings], [{"label": i} for i in range(1, 41)]
    )
    case = scene(tmp_path / "a.tif", transform)
    read = pickle.loads(pickle.dumps(open_labels(path, case)))
    whole = read(case.whole)
    tiles = np.full_like(whole, -1)
    for y in range(0, 50, 13):
        for x in range(0, 50, 17):
            window = slice(0, 1), slice(y, min(y + 13, 50)), slice(x, min(x + 17, 50))
            tiles[window] = read(window)
    np.testing.assert_array_equal(tiles, whole)
    world = [transform.a * (x + 0.5) + transform.b * (y + 0.5) + transform.c for y, x in np.argwhere(whole[0] > 0)]
    north = [transform.d * (x + 0.5) + transform.e * (y + 0.5) + transform.f for y, x in np.argwhere(whole[0] > 0)]
    assert shapely.contains_xy(shapely.union_all(rings).buffer(1e-6), world, north).all()
    case.reference = read
    assert case.read_reference((slice(0, 1), slice(-5, 0), slice(0, 5))).min() == 255


def test_plain_geojson_is_in_degrees_and_gets_reprojected(tmp_path):
    case = scene(tmp_path / "a.tif")
    x, y = zip(*SQUARE, strict=True)
    degrees = np.column_stack(rasterio.warp.transform("EPSG:32631", "EPSG:4326", x, y)).tolist()
    labels = open_labels(geojson(tmp_path / "a.geojson", [degrees], crs=None), case)(case.whole)
    assert labels.sum() == 200
    assert labels[0, 10:30, 10:20].all()


def test_label_column_and_invalid_bow_tie_in_a_geopackage(tmp_path):
    case = scene(tmp_path / "a.tif")
    bow = shapely.Polygon([(500000, 4000000), (500010, 3999990), (500010, 4000000), (500000, 3999990)])
    shapes = shapely.to_wkb([shapely.Polygon(SQUARE), bow])
    path = tmp_path / "a.gpkg"
    options = {"geometry_type": "Polygon", "crs": "EPSG:32631", "fields": ["label"], "driver": "GPKG"}
    pyogrio.raw.write(path, shapes, field_data=[np.array([2, 7])], **options)
    labels = open_labels(path, case)(case.whole)
    assert not bow.is_valid
    assert (labels == 2).sum() == 200
    assert 40 <= (labels == 7).sum() <= 60


def test_an_empty_file_is_all_background(tmp_path):
    case = scene(tmp_path / "a.tif")
    assert not open_labels(geojson(tmp_path / "a.geojson", []), case)(case.whole).any()


def test_bad_files_give_one_sentence(tmp_path):
    case = scene(tmp_path / "a.tif")
    text = geojson(tmp_path / "text.geojson", [SQUARE], [{"label": "roof"}])
    with pytest.raises(SegcganError, match="has a column 'label' of object; make it integers, none missing"):
        open_labels(text, case)
    line = geojson(tmp_path / "line.geojson", [SQUARE], kind="LineString")
    with pytest.raises(SegcganError, match="holds LineString and labels are polygons; buffer them first"):
        open_labels(line, case)
    (tmp_path / "broken.geojson").write_text(text.read_text()[:150])
    with pytest.raises(SegcganError, match=r"broken\.geojson cannot be read .*; give valid GeoJSON or GeoPackage"):
        open_labels(tmp_path / "broken.geojson", case)
    pyogrio.raw.write(
        tmp_path / "a.gpkg",
        shapely.to_wkb([shapely.Polygon(SQUARE)]),
        [],
        [],
        geometry_type="Polygon",
        driver="GPKG",
    )
    with pytest.raises(SegcganError, match="has no CRS, so nobody knows where its polygons lie; assign one"):
        open_labels(tmp_path / "a.gpkg", case)
    nowhere = scene(tmp_path / "b.tif", crs=None)
    with pytest.raises(
        SegcganError, match=r"needs a georeferenced image and .*b\.tif has no CRS; give a label raster"
    ):
        open_labels(text, nowhere)


def test_real_footprints(shared_data):
    train = shared_data / "aerial_buildings" / "train"
    case = open_case(train / "images" / "kampala_west.tif")
    read = open_labels(train / "labels" / "kampala_west.geojson", case)
    labels = read(case.whole)[0]
    assert labels.mean() == pytest.approx(0.2372, abs=1e-3)
    image = case.read(case.whole)[0][:, 0]
    redness = image[0] - image[1]  # most roofs here are red, gardens green
    inside, outside = redness[labels == 1].mean(), redness[labels == 0].mean()
    shifted = redness[np.roll(labels, 200, 1) == 1].mean()
    assert inside > outside + 10
    assert inside > shifted + 10
