import re

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.transform import Affine

from segcgan.errors import SegcganError
from segcgan.formats import open_case, open_labels
from segcgan.formats.extent import crs_name, in_words

GRID = Affine(2, 0, 500000, 0, -2, 5200000)


def save(path, crs="EPSG:32632", transform=GRID, size=(30, 40)):
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=size[0], width=size[1], dtype="uint8", crs=crs, transform=transform
    ) as out:
        out.write(np.ones((1, *size), np.uint8))
    return path


@pytest.fixture
def case(tmp_path):
    return open_case(save(tmp_path / "scene.tif"))


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:32732", "EPSG:3857"])
def test_the_same_numbers_in_another_crs_are_refused(tmp_path, case, crs):
    labels = save(tmp_path / "labels.tif", crs)
    numbers = "x 500000 … 500080, y 5199940 … 5200000"
    said = f"labels.tif has the CRS {crs} and its image EPSG:32632: the same numbers, {numbers}, are at x "
    with pytest.raises(SegcganError, match=re.escape(said)) as error:
        open_labels(labels, case)
    assert str(error.value).endswith(
        "correct the CRS that is wrong, or resample it onto the image, for example with gdalwarp"
    )


@pytest.mark.parametrize("crs", ["EPSG:25832", CRS.from_epsg(32632).to_proj4(), CRS.from_epsg(32632).to_wkt(), None])
def test_another_way_to_write_the_same_crs_is_fine(tmp_path, case, crs):
    """ETRS89 is WGS 84 to less than a metre, and PROJ strings have no code."""
    assert open_labels(save(tmp_path / "labels.tif", crs), case)(case.whole).all()


def test_labels_elsewhere_are_refused_with_both_extents(tmp_path, case):
    elsewhere = Affine(2, 0, 550000, 0, -2, 5200000)
    both = "the labels are at x 550000 … 550080, y 5199940 … 5200000 (EPSG:32632), the image at x 500000 … 500080, y"
    for size in ((30, 40), (15, 20)):
        with pytest.raises(SegcganError, match=re.escape(both[: 27 if size[0] == 15 else None])):
            open_labels(save(tmp_path / "labels.tif", transform=elsewhere, size=size), case)


def test_words():
    assert in_words((7.1234567, -0.5, 8, 46)) == "x 7.123457 … 8, y -0.5 … 46"
    assert in_words((500000.125, 1, 2, 3)) == "x 500000.12 … 2, y 1 … 3"
    assert crs_name(None) == "no CRS"
    assert crs_name(CRS.from_proj4("+proj=laea +lat_0=12 +lon_0=3 +ellps=WGS84")) == "unknown"
