import re

import numpy as np
import pyogrio
import pytest
import shapely

from segcgan.classes import REST
from segcgan.errors import SegcganError
from segcgan.formats import open_labels
from segcgan.formats.columns import Meaning
from tests.formats.test_vector import SQUARE, geojson, scene

OTHER = [[x + 20, y] for x, y in SQUARE]
TWO = Meaning(("background", "House", "tall tree"), ((0,), (5, 1), (2,)))
ONE = Meaning(("background", "House"), ((0,), (1,)))


@pytest.fixture
def case(tmp_path):
    return scene(tmp_path / "scene.tif")


def burnt(case, first, second, meaning=TWO, rings=(SQUARE, OTHER)):
    """Return the values of two squares with these properties."""
    case.notes.clear()
    path = geojson(case.path.with_name("m.geojson"), list(rings), [first, second])
    labels = open_labels(path, case, meaning)(case.whole)[0]
    return int(labels[15, 15]), int(labels[15, 35])


@pytest.mark.parametrize("name", ["label", "Label", "LABEL", "class", "Class", "class_id", "classId", "CLASS-NAME",
                                  "category", "type", "kind", "DN", "gridcode", "value", "code"])  # fmt: skip
def test_a_column_of_any_usual_name_says_the_class(case, name):
    assert burnt(case, {name: 1}, {name: 2}) == (1, 2)
    assert burnt(case, {name: "1"}, {name: "2"}) == (1, 2)
    assert burnt(case, {name: 1.0}, {name: 2.0}) == (1, 2)
    assert burnt(case, {name: "house"}, {name: " Tall_Tree"}) == (5, 2)  # 5: the first label value of the class
    assert burnt(case, {"id": 7, "note": "x", name: 2}, {"id": 8, "note": None, name: 0}) == (2, 0)


def test_a_column_of_any_name_that_holds_names_of_classes(case):
    assert burnt(case, {"landcover": "HOUSE"}, {"landcover": "tall tree"}) == (5, 2)
    assert burnt(case, {"note": "x", "landcover": "House"}, {"note": "y", "landcover": "House"}, ONE) == (1, 1)


def test_label_goes_before_other_columns_and_equal_columns_agree(case):
    assert burnt(case, {"class": 2, "label": 1}, {"class": 1, "label": 2}) == (1, 2)
    assert burnt(case, {"class": "house", "type": "house"}, {"class": "House", "type": "house"}) == (5, 5)
    assert burnt(case, {"class": "house", "class_id": 77}, {"class": "tall tree", "class_id": 78}) == (5, 2)
    said = r"m.geojson: the columns 'class', 'type' may all say the class of a polygon; choose one by data.images.lab"
    with pytest.raises(SegcganError, match=said):
        burnt(case, {"class": 1, "type": 2}, {"class": 2, "type": 2})


def test_the_setting_decides(case):
    first, second = {"class": 1, "zone": 2}, {"class": 1, "zone": 1}
    assert burnt(case, first, second, Meaning(TWO.names, TWO.values, "zone")) == (2, 1)
    assert burnt(case, first, second, Meaning(TWO.names, TWO.values, "ZONE")) == (2, 1)
    assert burnt(case, first, second, Meaning(TWO.names, TWO.values, "")) == (5, 5)
    said = "m.geojson has no column 'zones', which data.images.label_column names; did you mean 'zone'?"
    with pytest.raises(SegcganError, match=re.escape(said)):
        burnt(case, first, second, Meaning(TWO.names, TWO.values, "zones"))


def test_without_a_column_there_is_one_class(case):
    assert burnt(case, {}, {}, ONE) == (1, 1)
    assert burnt(case, {"osm_id": 3, "name": "Inn"}, {"osm_id": 4, "name": None}, ONE) == (1, 1)
    assert burnt(case, {}, {}, Meaning(("background", "House"), ((0,), (255,)))) == (255, 255)
    assert case.notes == []
    assert burnt(case, {"type": "barn"}, {"type": "villa"}, ONE) == (1, 1)
    path = case.path.with_name("m.geojson")
    assert case.notes == [f"all polygons of {path} are taken for House, since column 'type' names no class"]
    assert burnt(case, {}, {}) == (5, 5)
    assert case.notes == [f"all polygons of {path} are taken for House, since there is no column that says the class"]


def test_columns_that_say_no_class_are_refused_by_name(case):
    said = "m.geojson has the columns 'height', 'owner' and none says which class a polygon is (background, House, tall"
    with pytest.raises(SegcganError, match=re.escape(said)) as error:
        burnt(case, {"height": 1, "owner": "a"}, {"height": 2, "owner": "b"})
    assert str(error.value).endswith("; name one by data.images.label_column, or call it 'label'")


@pytest.mark.parametrize(
    ("first", "second", "meaning", "said"),
    [
        ({"class": "house", "h": 1}, {"class": "car", "h": 2}, TWO, "column 'class' holds 'car', which is no class of "
         "background (0), House (5|1), tall tree (2); add them to data.classes, or name another column by data.images."
         "label_column ('' = all polygons are one class); the columns are 'class', 'h'"),
        ({"class": "car"}, {"class": "car"}, ONE, "column 'class' holds 'car', which is no class of background (0), H"),
        ({"class": 1}, {"class": 7}, TWO, "column 'class' holds '7', which is no class of"),
        ({"type": 1}, {"type": 7}, ONE, "column 'type' holds '7', which is no class of"),
        ({"cover": "House"}, {"cover": "lake"}, ONE, "column 'cover' holds 'lake', which is no class of"),
        ({"label": 1.5}, {"label": 2}, TWO, "column 'label' holds '1.5', which is no class of"),
        ({"class": "house"}, {"class": None}, TWO, "1 of 2 polygons have nothing in column 'class'; fill it in"),
        ({"class": 1}, {"class": None}, TWO, "1 of 2 polygons have nothing in column 'class'; fill it in"),
        ({"class": ""}, {"class": "house"}, TWO, "1 of 2 polygons have nothing in column 'class'; fill it in"),
    ],
)  # fmt: skip
def test_values_that_are_no_class_are_refused(case, first, second, meaning, said):
    with pytest.raises(SegcganError, match=re.escape(said)):
        burnt(case, first, second, meaning)


def test_only_polygons_in_the_scene_count(case):
    far = [[x + 5000, y] for x, y in SQUARE]
    assert burnt(case, {"class": 1}, {"class": "car"}, TWO, [SQUARE, far]) == (1, 0)


def test_every_other_value_may_be_a_class(case):
    rest = Meaning(("other", "House"), ((REST,), (1,)))
    assert burnt(case, {"class": "House"}, {"class": "car"}, rest) == (1, 2)  # 2 is listed nowhere
    assert burnt(case, {"class": 1}, {"class": 9}, rest) == (1, 9)


def test_without_a_list_of_classes_numbers_are_kept_and_one_name_is_one(case):
    nobody = Meaning()
    assert burnt(case, {"class": 3}, {"class": 4}, nobody) == (3, 4)
    assert burnt(case, {"class": "a"}, {"class": "a"}, nobody) == (1, 1)
    with pytest.raises(SegcganError, match="column 'class' names the classes 'a', 'b'; give the list of classes"):
        burnt(case, {"class": "a"}, {"class": "b"}, nobody)


def layers(path, **columns):
    for name, values in columns.items():
        shapes = shapely.to_wkb([shapely.Polygon(SQUARE), shapely.Polygon(OTHER)])
        options = {"geometry_type": "Polygon", "crs": "EPSG:32631", "fields": ["label"], "driver": "GPKG"}
        pyogrio.raw.write(path, shapes, field_data=[np.array(values)], layer=name, append=path.exists(), **options)
    return path


def test_of_several_layers_one_is_named(tmp_path, case):
    path = layers(tmp_path / "m.gpkg", roads=[1, 1], houses=[2, 1])
    labels = open_labels(path, case, Meaning(TWO.names, TWO.values, layer="houses"))(case.whole)[0]
    assert (labels[15, 15], labels[15, 35]) == (2, 1)
    said = "m.gpkg has the layers roads, houses; name the one to use by data.images.label_layer"
    with pytest.raises(SegcganError, match=said):
        open_labels(path, case, TWO)
    said = r"m.gpkg has no layer 'house', which data.images.label_layer names; did you mean 'houses'\?"
    with pytest.raises(SegcganError, match=said):
        open_labels(path, case, Meaning(TWO.names, TWO.values, layer="house"))


def test_a_table_is_no_layer_and_a_geojson_has_one_of_any_name(tmp_path, case):
    path = layers(tmp_path / "m.gpkg", houses=[2, 1])
    pyogrio.raw.write(path, None, [np.array([1])], ["x"], layer="notes", driver="GPKG", append=True)
    assert open_labels(path, case, TWO)(case.whole)[0, 15, 15] == 2
    plain = geojson(tmp_path / "m.geojson", [SQUARE])
    assert open_labels(plain, case, Meaning(ONE.names, ONE.values, layer="houses"))(case.whole)[0, 15, 15] == 1


