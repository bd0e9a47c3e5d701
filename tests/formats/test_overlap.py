import json
import re

import numpy as np
import pytest
import rasterio.warp

from segcgan.errors import SegcganError
from segcgan.formats import open_labels
from tests.formats.test_vector import SQUARE, geojson, scene

SCENE = "the scene at x 500000 … 500050, y 3999950 … 4000000 (EPSG:32631)"


@pytest.fixture
def case(tmp_path):
    return scene(tmp_path / "scene.tif")


def degrees(ring, crs="EPSG:32631"):
    return np.column_stack(rasterio.warp.transform(crs, "EPSG:4326", *zip(*ring, strict=True))).tolist()


def elsewhere(case, ring, crs="EPSG:32631"):
    """Return the sentence with which labels beside the scene are refused."""
    path = geojson(case.path.with_name("m.geojson"), [ring], crs=crs)
    with pytest.raises(SegcganError, match=re.escape(f"{path} never touches its scene scene.tif")) as error:
        open_labels(path, case)
    assert SCENE in str(error.value)
    return str(error.value)


def test_labels_elsewhere(case):
    said = elsewhere(case, [[x + 50000, y] for x, y in SQUARE])
    assert "the labels are at x 550010 … 550020, y 3999970 … 3999990 (EPSG:32631), the scene" in said
    assert said.endswith("; give the labels of this scene, or correct their CRS")


def test_labels_of_another_zone(case):
    said = elsewhere(case, SQUARE, crs="EPSG:32632")
    assert "the labels are at x 500010 … 500020, y 3999970 … 3999990 (EPSG:32632), which is x " in said
    assert said.endswith("the numbers fit the CRS of the scene, so write EPSG:32631 into the file as its CRS")


def test_geojson_in_metres_without_crs(case):
    said = elsewhere(case, SQUARE, crs=None)
    assert "the labels are at x 500010 … 500020, y 3999970 … 3999990 (EPSG:4326), the scene" in said
    cure = "GeoJSON without a member crs counts as EPSG:4326, so write EPSG:32631 into the file as its CRS"
    assert said.endswith(cure)


def test_exchanged_axes(case):
    swapped = [[y, x] for x, y in degrees(SQUARE)]
    assert elsewhere(case, swapped, crs=None).endswith("with x and y exchanged they would: exchange them")
    assert elsewhere(case, [[y, x] for x, y in SQUARE]).endswith("with x and y exchanged they would: exchange them")
    said = elsewhere(case, [[y, x] for x, y in SQUARE], crs=None)
    assert said.endswith("the numbers fit the CRS of the scene: exchange them and write EPSG:32631")


def test_hardly_any_overlap_is_said(case):
    far = [[499000, 3999000], [500005, 3999000], [500005, 3999955], [499000, 3999955], [499000, 3999000]]
    path = geojson(case.path.with_name("m.geojson"), [far])
    assert open_labels(path, case)(case.whole).sum() == 25
    assert case.notes == []  # 1 % of the scene
    beyond = [[x - 3, y] for x, y in far]
    open_labels(geojson(path, [beyond]), case)
    said = f"only 0.00% of the area of the polygons of {path} lies in the scene and covers 0.40% of it: are these its"
    assert case.notes == [f"{said} labels?"]


def test_a_large_file_and_a_single_house_are_fine(case):
    country = [[[x + 20 * i, y - 3000 * j] for x, y in SQUARE] for i in range(30) for j in range(30)]
    assert open_labels(geojson(case.path.with_name("m.geojson"), country, [{}] * 900), case)(case.whole).sum() > 0
    hut = [[500010, 3999990], [500012, 3999990], [500012, 3999988], [500010, 3999988], [500010, 3999990]]
    assert open_labels(geojson(case.path.with_name("m.geojson"), [hut]), case)(case.whole).sum() == 4
    assert case.notes == []


def test_polygons_smaller_than_a_pixel_are_said(case):
    dot = [[500010.1, 3999989.9], [500010.3, 3999989.9], [500010.3, 3999989.7], [500010.1, 3999989.9]]
    path = geojson(case.path.with_name("m.geojson"), [dot])
    assert not open_labels(path, case)(case.whole).any()
    assert case.notes == [f"all polygons of {path} together are smaller than a pixel"]


def test_no_polygons_are_all_background_and_said(case):
    path = geojson(case.path.with_name("m.geojson"), [])
    assert not open_labels(path, case)(case.whole).any()
    said = f"{path} holds no polygons, so all of the scene is background"
    assert case.notes == [said]
    assert not open_labels(geojson(path, [None, []]), case)(case.whole).any()
    assert case.notes == [said, said]


def test_lines_and_points_are_said_and_not_burnt(case):
    path = geojson(case.path.with_name("m.geojson"), [SQUARE])
    content = json.loads(path.read_text())
    for kind, place in (("Point", [500030, 3999980]), ("LineString", SQUARE[:2]), ("Point", [500031, 3999980])):
        content["features"].append(
            {"type": "Feature", "properties": {}, "geometry": {"type": kind, "coordinates": place}}
        )
    path.write_text(json.dumps(content))
    assert open_labels(path, case)(case.whole).sum() == 200
    said = f"2 Point and 1 LineString of {path} are left out, since labels are polygons: buffer them first"
    assert case.notes == [said]
