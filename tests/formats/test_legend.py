from xml.etree import ElementTree as Xml

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import Affine

from segcgan.case import IGNORE
from segcgan.classes import ClassSpec
from segcgan.data.manifest import masks_by_stem
from segcgan.formats import open_case, open_labels, write_mask
from segcgan.formats.folders import discover
from segcgan.formats.legend import write_legend

CLASSES = [ClassSpec("background"), ClassSpec("roof & wall"), ClassSpec("Straße")]
ORANGE, BLUE = (230, 159, 0), (86, 180, 233)


@pytest.fixture
def truth():
    values = np.zeros((1, 30, 40), np.uint8)
    values[0, 5:10, 5:10], values[0, 20:25, 20:30], values[0, :, 35:] = 1, 2, IGNORE
    return values


@pytest.fixture
def mask(tmp_path, truth):
    place = {"crs": "EPSG:32632", "transform": Affine(2, 0, 500000, 0, -2, 5200000)}
    with rasterio.open(
        tmp_path / "scene.tif", "w", driver="GTiff", width=40, height=30, count=1, dtype="uint8", **place
    ) as out:
        out.write(truth)
    (path,) = write_mask(
        tmp_path / "out", "scene_mask", open_case(tmp_path / "scene.tif"), lambda w: truth[w], CLASSES
    )
    return path


def test_a_tiff_mask_is_no_flat_sheet_even_without_its_sidecar(mask, truth):
    picture = np.asarray(Image.open(mask).convert("RGB"))  # which knows the TIFF alone
    assert [tuple(picture[truth[0] == index][0]) for index in (0, 1, 2)] == [(0, 0, 0), ORANGE, BLUE]
    assert tuple(picture[0, 39]) == (255, 255, 255)
    with rasterio.open(mask) as file:
        assert (file.nodata, file.read_masks(1)[0, 39], file.read_masks(1)[0, 0]) == (IGNORE, 0, 255)


def test_names_and_transparency_stand_where_gdal_looks(mask):
    with rasterio.open(mask) as file:
        assert file.colormap(1) == {0: (0, 0, 0, 0), 1: (*ORANGE, 255), 2: (*BLUE, 255)}
        assert [name.rsplit("/", 1)[-1] for name in file.files] == ["scene_mask.tif", "scene_mask.tif.aux.xml"]
    names = Xml.parse(f"{mask}.aux.xml").findall("PAMRasterBand[@band='1']/CategoryNames/Category")
    assert [name.text for name in names] == ["background", "roof & wall", "Straße"]


def test_the_sidecar_is_no_image_and_no_mask(mask, truth):
    found, rejected = discover(mask.parent)
    assert ([source.path for source in found], rejected) == ([mask], [])
    assert masks_by_stem(mask.parent) == {"scene_mask": [mask]}
    np.testing.assert_array_equal(open_labels(mask, open_case(mask))((slice(0, 1),) * 3), truth[:, :1, :1])


def test_what_gdal_wrote_itself_is_kept(tmp_path):
    path = tmp_path / "a.tif.aux.xml"
    path.write_text("<PAMDataset><SRS>EPSG:4326</SRS><PAMRasterBand band='1'><Description>x</Description>"
                    "</PAMRasterBand></PAMDataset>")  # fmt: skip
    write_legend(tmp_path / "a.tif", ["no", "yes"], [(0, 0, 0), ORANGE])
    root = Xml.parse(path).getroot()
    assert (root.findtext("SRS"), root.findtext("PAMRasterBand/Description")) == ("EPSG:4326", "x")
    assert [entry.attrib for entry in root.iter("Entry")] == [
        {"c1": "0", "c2": "0", "c3": "0", "c4": "0"},
        {"c1": "230", "c2": "159", "c3": "0", "c4": "255"},
    ]


def test_a_png_mask_is_transparent_where_there_is_background_or_no_data(tmp_path, truth):
    Image.fromarray(truth[0]).save(tmp_path / "a.png")
    (path,) = write_mask(tmp_path / "out", "m", open_case(tmp_path / "a.png"), lambda w: truth[w], CLASSES)
    picture = Image.open(path)
    seen = np.asarray(picture.convert("RGBA"))
    for index, colour in ((0, (0, 0, 0, 0)), (1, (*ORANGE, 255)), (2, (*BLUE, 255)), (IGNORE, (255, 255, 255, 0))):
        assert (seen[truth[0] == index] == colour).all()
    np.testing.assert_array_equal(np.asarray(picture), truth[0])
    np.testing.assert_array_equal(open_labels(path, open_case(tmp_path / "a.png"))((slice(0, 1),) * 3), [[[0]]])
    assert [picture.text[f"class_{index}"] for index in range(3)] == [spec.name for spec in CLASSES]
    assert [item.name for item in path.parent.iterdir()] == ["m.png"]
