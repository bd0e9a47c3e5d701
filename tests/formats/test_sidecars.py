"""Rasters that are more than one file: world files, projections, headers; and what GDAL reads beside TIFF."""

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from PIL import Image
from rasterio.crs import CRS
from rasterio.transform import Affine

from segcgan.about import describe
from segcgan.classes import ClassSpec
from segcgan.data.manifest import masks_by_stem
from segcgan.errors import SegcganError
from segcgan.formats import files_of, open_case, open_labels, write_mask
from segcgan.formats.folders import discover

GRID = Affine(2, 0, 500000, 0, -2, 5200000)
UTM = CRS.from_epsg(32632)
PIXELS = np.random.default_rng(0).integers(1, 250, (3, 30, 40)).astype(np.uint8)
CLASSES = [ClassSpec("ground"), ClassSpec("roof")]


def save(path, pixels=PIXELS, **profile):
    count, height, width = pixels.shape
    known = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": pixels.dtype}
    with rasterio.open(path, "w", **(known | {"crs": UTM, "transform": GRID} | profile)) as out:
        out.write(pixels)
    return path


def picture(path, world=None, prj=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(PIXELS.transpose(1, 2, 0)).save(path, subsampling=0)
    if world:
        path.with_suffix(world).write_text("2.0\n0.0\n0.0\n-2.0\n500001.0\n5199999.0\n")
    if prj:
        path.with_suffix(".prj").write_text(UTM.to_wkt(version="WKT1_ESRI"))
    return path


@pytest.mark.parametrize(
    ("name", "world"),
    [("a.jpg", ".jgw"), ("a.jpg", ".jpgw"), ("a.jpeg", ".jgw"), ("a.JPG", ".JGW"), ("a.jpg", ".wld"), ("a.png", ".pgw"),
     ("a.png", ".pngw")],
)  # fmt: skip
def test_a_picture_with_a_world_file_keeps_its_place(tmp_path, name, world):
    path = picture(tmp_path / name, world, prj=True)
    (source,), rejected = discover(tmp_path)
    assert (source.path, rejected) == (path, [])
    case = open_case(source)
    assert (case.geometry.spacing, case.geometry.unit, case.channels) == ((1, 2, 2), "m", 3)
    (mask,) = write_mask(tmp_path / "out", "m", case, lambda w: np.ones((1, 30, 40), np.uint8), CLASSES)
    with rasterio.open(mask) as file:
        assert (file.crs, file.transform, file.driver) == (UTM, GRID, "GTiff")
    assert {file.name for file in files_of(source)} == {name, f"a{world}", "a.prj"}
    (tmp_path / "plain").mkdir()
    plain = open_case(picture(tmp_path / "plain" / name))
    np.testing.assert_array_equal(case.read(case.whole)[0], plain.read(plain.whole)[0])
    (mask,) = write_mask(tmp_path / "plain" / "out", "m", plain, lambda w: np.ones((1, 30, 40), np.uint8), CLASSES)
    assert mask.name == "m.png"


def test_a_picture_placed_by_aux_xml_and_one_with_statistics_only(tmp_path):
    path = picture(tmp_path / "a.png")
    notes = tmp_path / "a.png.aux.xml"
    notes.write_text("<PAMDataset><PAMRasterBand band='1'><Metadata/></PAMRasterBand></PAMDataset>")  # of a viewer
    assert (open_case(path).format, open_case(path).geometry.unit) == ("png", "px")
    numbers = ", ".join(map(str, GRID.to_gdal()))
    notes.write_text(f"<PAMDataset><SRS>EPSG:32632</SRS><GeoTransform>{numbers}</GeoTransform></PAMDataset>")
    assert open_case(path).geometry.spacing == (1, 2, 2)
    assert open_case(path).stored["transform"] == GRID


def test_a_world_file_without_crs_is_written_back(tmp_path):
    case = open_case(picture(tmp_path / "a.jpg", ".jgw"))
    assert case.geometry.unit == "px"
    (mask,) = write_mask(tmp_path / "out", "m", case, lambda w: np.ones((1, 30, 40), np.uint8), CLASSES)
    with rasterio.open(mask) as file:
        assert (file.crs, file.transform) == (None, GRID)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_a_very_large_orthophoto_is_read_in_parts(tmp_path, monkeypatch, name):
    path = picture(tmp_path / name, ".wld")
    small = open_case(path)
    monkeypatch.setattr("segcgan.formats.png.LARGE", 100)
    large = open_case(path)
    assert (type(small.reader).__name__, type(large.reader).__name__) == ("Picture", "Pixels")
    np.testing.assert_allclose(large.read(large.whole)[0], small.read(small.whole)[0], atol=1)
    assert (large.format, large.stored["transform"]) == ("geotiff", GRID)


def test_labels_of_a_placed_picture(tmp_path):
    case = open_case(picture(tmp_path / "a.jpg", ".jgw", prj=True))
    labels = tmp_path / "labels.png"
    Image.fromarray(PIXELS[0] % 2).save(labels)
    np.testing.assert_array_equal(open_labels(labels, case)(case.whole)[0], PIXELS[0] % 2)
    np.testing.assert_array_equal(open_labels(save(tmp_path / "l.tif", PIXELS[:1]), case)(case.whole), PIXELS[:1])
    (tmp_path / "labels.pgw").write_text("2.0\n0.0\n0.0\n-2.0\n500101.0\n5199999.0\n")
    with pytest.raises(SegcganError, match=r"labels.png has the transform .*500100.0.*; resample it"):
        open_labels(labels, case)


def test_a_tiff_takes_its_crs_from_a_prj_but_not_from_that_of_a_shapefile(tmp_path, caplog):
    path = save(tmp_path / "a.tif", crs=None)
    (tmp_path / "a.prj").write_text(UTM.to_wkt())
    assert open_case(path).geometry.unit == "m"
    (tmp_path / "a.shp").touch()
    assert open_case(path).geometry.unit == "px"
    (tmp_path / "a.shp").unlink()
    (tmp_path / "a.prj").write_text("Projection somewhere")
    assert open_case(path).geometry.unit == "px"
    assert "a.prj is no CRS" in caplog.text


FORMATS = {"HFA": "a.img", "ENVI": "a.dat", "EHdr": "a.bil", "PCIDSK": "a.pix", "AAIGrid": "a.asc", "netCDF": "a.nc",
           "JP2OpenJPEG": "a.jp2", "NITF": "a.ntf"}  # fmt: skip


@pytest.mark.parametrize("driver", FORMATS)
def test_formats_of_gdal_are_read_and_their_masks_are_geotiffs(tmp_path, driver):
    first = save(tmp_path / "first.tif", PIXELS[:1])
    options = {"QUALITY": "100", "REVERSIBLE": "YES"} if driver == "JP2OpenJPEG" else {}
    folder = tmp_path / "in"
    folder.mkdir()
    rasterio.shutil.copy(first, folder / FORMATS[driver], driver=driver, **options)
    (source,), rejected = discover(folder)
    case = open_case(source)
    assert (case.shape, rejected) == ((1, 30, 40), [])
    np.testing.assert_array_equal(case.read(case.whole)[0], PIXELS[:1, None])
    (mask,) = write_mask(tmp_path / "out", "m", case, lambda w: np.ones((1, 30, 40), np.uint8), CLASSES)
    with rasterio.open(mask) as file:
        assert (file.driver, file.transform) == ("GTiff", GRID)
    np.testing.assert_array_equal(open_labels(source.path, open_case(first))(case.whole), PIXELS[:1])
    lines = {line[0]: line for line in describe(folder)[1]}
    assert lines["a"][1] == driver


def test_sidecars_of_rasters_are_neither_images_nor_masks(tmp_path):
    save(tmp_path / "a.tif", PIXELS)
    for name in ("a.tfw", "a.hdr", "a.ige", "a.rrd", "a.aux", "a.prj", "a.wld", "a.tif.aux.xml", "a.tif.ovr"):
        (tmp_path / name).write_bytes(b"EHFA_HEADER_TAG" if name[-3:] in ("ige", "rrd", "aux") else b"1\n")
    (tmp_path / "a.hdr").write_text("ENVI\nsamples = 40\nlines = 30\nbands = 3\n")
    found, rejected = discover(tmp_path)
    assert ([source.path.name for source in found], rejected) == (["a.tif"], [])
    assert masks_by_stem(tmp_path) == {"a": [tmp_path / "a.tif"]}


def test_what_gdal_may_know_elsewhere_is_refused_with_the_way_out(tmp_path):
    (tmp_path / "modis.hdf").write_bytes(b"\x0e\x03\x13\x01" + bytes(600))
    (tmp_path / "photo.ecw").write_bytes(b"\1" * 600)
    found, rejected = discover(tmp_path)
    assert not found
    known = "where GDAL knows the format, gdal_translate modis.hdf modis.tif makes it a GeoTIFF"
    assert rejected[0].reason.endswith(known)
    cure = "is not an image segcgan reads (DICOM, NIfTI, GeoTIFF, PNG or JPEG); convert it, for example with "
    assert rejected[1].reason.endswith(f"{cure}gdal_translate photo.ecw photo.tif")


def test_a_picture_with_control_points_in_its_aux_xml(tmp_path):
    path = picture(tmp_path / "a.png")
    points = "".join(f'<GCP Id="{x}" Pixel="{x}" Line="{x}" X="{7 + x}" Y="46"/>' for x in range(3))
    notes = f'<PAMDataset><GCPList Projection="EPSG:4326">{points}</GCPList></PAMDataset>'
    (tmp_path / "a.png.aux.xml").write_text(notes)
    case = open_case(path)
    (mask,) = write_mask(tmp_path / "out", "m", case, lambda w: np.ones((1, 30, 40), np.uint8), CLASSES)
    with rasterio.open(mask) as file:
        assert ([(p.col, p.row, p.x) for p in file.gcps[0]], file.gcps[1]) == (
            [(0, 0, 7), (1, 1, 8), (2, 2, 9)],
            CRS.from_epsg(4326),
        )
    assert describe(path)[1][0][-1] == "placed by 3 ground control points only, sizes are in pixels"


def test_several_variables_are_refused_by_name(shared_data, tmp_path):
    path = shared_data / "robust_geotiff" / "rasterio" / "two-subs.h5"
    _, (item,) = discover(path)
    said = "holds 2 images and segcgan reads one per file; split it, for example with gdal_translate HDF5:"
    assert said in item.reason
    assert item.reason.endswith("//data, HDF5:" + f"{path}://data2")
    copied = tmp_path / "climate.nc"
    copied.write_bytes(path.read_bytes())
    with pytest.raises(SegcganError, match=r"holds 2 images .* they are netcdf:.*:data, netcdf:.*:data2"):
        open_case(copied)
