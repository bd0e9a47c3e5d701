import math
import os
import pickle
import resource
import warnings

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.transform import Affine

from segcgan.case import IGNORE
from segcgan.classes import ClassSpec
from segcgan.errors import SegcganError
from segcgan.formats import open_case, open_labels, open_probability, write_mask, write_probability
from segcgan.formats.georeference import metres_per_unit
from segcgan.formats.geotiff import files_of

UTM = Affine(0.3, 0, 500000, 0, -0.3, 4000000)
CLASSES = [ClassSpec("ground", colour="#112233"), ClassSpec("roof", colour="#ff0000"), ClassSpec("road")]


def save(path, array, transform=UTM, crs="EPSG:32618", **profile):
    count, height, width = array.shape
    size = {"count": count, "height": height, "width": width, "dtype": array.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, **size, **profile) as out:
            out.write(array)
    return path


def noise(shape, dtype=np.uint8, low=1, high=200):
    return np.random.default_rng(0).integers(low, high, shape).astype(dtype)


def window(rows, columns):
    return slice(0, 1), slice(*rows), slice(*columns)


def test_window_equals_array_slice_in_every_dtype(tmp_path):
    for dtype in (np.uint8, np.uint16, np.int16, np.uint32, np.float32, np.float64):
        array = noise((5, 40, 30), dtype)
        case = open_case(save(tmp_path / f"{np.dtype(dtype)}.tif", array))
        image, valid = case.read(window((-2, 12), (20, 34)))
        assert (case.shape, case.channels, case.format) == ((1, 40, 30), 5, "geotiff")
        assert image.dtype == np.float32
        np.testing.assert_array_equal(image[:, 0, 2:, :10], array[:, :12, 20:])
        assert valid[0, 0, 2:, :10].all()
        assert valid.sum() == 120
        assert image[:, 0, :2].max() == 0


def test_nodata_is_invalid_only_where_all_bands_have_it(tmp_path):
    array = noise((3, 20, 20), np.int16)
    array[:, 0, 0] = -9999
    array[0, 1, 1] = -9999
    case = open_case(save(tmp_path / "a.tif", array, nodata=-9999))
    _, valid = case.read(case.whole)
    assert not valid[0, 0, 0, 0]
    assert valid.sum() == 399


@pytest.mark.parametrize("nodata", [None, np.nan])
def test_nan_in_any_band_is_invalid(tmp_path, nodata):
    array = noise((2, 20, 20), np.float32)
    array[0, 3, 4] = np.nan
    array[1, 5, 6] = np.inf
    case = open_case(save(tmp_path / "a.tif", array, nodata=nodata))
    image, valid = case.read(case.whole)
    assert np.isfinite(image).all()
    assert sorted(map(tuple, np.argwhere(~valid[0, 0]))) == [(3, 4), (5, 6)]


def test_alpha_is_validity_and_no_channel(tmp_path):
    array = noise((4, 20, 20))
    array[3] = 255
    array[3, :5] = 0
    path = save(tmp_path / "a.tif", array, photometric="rgb", alpha="yes")
    case = open_case(path)
    _, valid = case.read(case.whole)
    assert case.channels == 3
    assert valid.sum() == 300
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp.alpha] * 4
    with pytest.raises(SegcganError, match="no band besides alpha"):
        open_case(path)


def test_internal_mask_is_validity(tmp_path):
    path = save(tmp_path / "a.tif", noise((3, 20, 20)))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(np.tri(20, 20, dtype=np.uint8) * 255)
    case = open_case(path)
    np.testing.assert_array_equal(case.read(case.whole)[1][0, 0], np.tri(20, 20, dtype=bool))


def test_complex_and_several_pages_are_refused(tmp_path):
    with pytest.raises(SegcganError, match="holds complex64 and segcgan reads real numbers; convert it"):
        open_case(save(tmp_path / "a.tif", noise((1, 20, 20), np.complex64)))
    with pytest.raises(SegcganError, match=r"has the transform \(1\.0, 0.*which gives pixels no area; repair it"):
        open_case(save(tmp_path / "flat.tif", noise((1, 20, 20)), Affine(1, 0, 0, 0, 0, 0)))
    pages = tmp_path / "pages.tif"
    save(pages, noise((1, 20, 20)))
    save(pages, noise((1, 20, 20)), APPEND_SUBDATASET=True)
    with pytest.raises(SegcganError, match="holds 2 images and segcgan reads one per file; split it"):
        open_case(pages)


@pytest.mark.parametrize(
    ("crs", "transform", "expected"),
    [
        ("EPSG:32618", UTM, (0.3, 0.3)),
        ("EPSG:2263", Affine(1, 0, 9e5, 0, -2, 2e5), (2 * 1200 / 3937, 1200 / 3937)),  # US survey feet
        ("EPSG:32618", Affine(3, 4, 5e5, 4, -3, 4e6), (5, 5)),  # rotated
        ("EPSG:32618", Affine(0.5, 0, 5e5, 0, 0.5, 4e6), (0.5, 0.5)),  # south-up
        ("EPSG:3857", Affine(1, 0, 0, 0, -1, 8399737.9 + 10), (0.5, 0.5)),  # 60° north
        ("EPSG:4326", Affine(1e-5, 0, 8, 0, -1e-5, 47 + 1e-4), (1.11170, 0.76057)),
    ],
)
def test_spacing_is_metres_on_the_ground(tmp_path, crs, transform, expected):
    geometry = open_case(save(tmp_path / "a.tif", noise((1, 20, 20)), transform, crs)).geometry
    assert geometry.unit == "m"
    np.testing.assert_allclose(geometry.spacing[1:], expected, rtol=1e-4)
    world = geometry.affine @ [0, 7, 3, 1]
    np.testing.assert_allclose(world[:2], rasterio.transform.xy(transform, 7, 3, offset="ul"), rtol=1e-12)


def test_other_planets_and_the_pole():
    mars = rasterio.crs.CRS.from_string("+proj=longlat +R=3396190 +no_defs")
    assert metres_per_unit(mars, 0.0)[1] == pytest.approx(math.radians(3396190))
    assert metres_per_unit(rasterio.crs.CRS.from_epsg(4326), 90.0)[0] > 0


def test_without_crs_the_unit_is_pixels(tmp_path):
    affine = Affine(2, 0, 10, 0, -2, 20)
    geometry = open_case(save(tmp_path / "a.tif", noise((1, 20, 20)), affine, None)).geometry
    assert (geometry.unit, geometry.spacing, geometry.crs) == ("px", (1, 1, 1), None)
    assert geometry.affine[0, 2] == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        case = open_case(save(tmp_path / "b.tif", noise((1, 20, 20)), Affine.identity(), None))
        case.read(case.whole)
        write_mask(tmp_path / "out", "b", case, lambda w: np.zeros(case.shape, np.uint8), CLASSES)


def test_mask_keeps_georeference_nodata_colours_and_names(tmp_path):
    rotated = Affine(0.1, 0.02, 367208.75, 0.03, -0.05000000000113576, 5808396.65)
    case = open_case(save(tmp_path / "a.tif", noise((3, 1100, 70)), rotated))
    truth = noise((1, 1100, 70), low=0, high=3)
    truth[0, 600:] = IGNORE
    rows = []

    def read(part):
        rows.append(part[1].stop - part[1].start)
        return truth[part]

    (path,) = write_mask(tmp_path / "new" / "out", "a_mask", case, read, CLASSES)
    assert path == tmp_path / "new" / "out" / "a_mask.tif"
    assert rows == [512, 512, 76]
    with rasterio.open(path) as file:
        assert (file.dtypes, file.nodata, file.shape) == (("uint8",), 255, (1100, 70))
        assert tuple(file.transform) == tuple(rotated)
        assert file.crs == rasterio.crs.CRS.from_epsg(32618)
        assert file.colormap(1)[0][:3] == (0x11, 0x22, 0x33)
        assert file.tags()["class_1"] == "roof"
        assert file.block_shapes == [(512, 512)]
        assert not file.read_masks(1)[600:].any()
        np.testing.assert_array_equal(file.read(), truth)
    np.testing.assert_array_equal(open_labels(path, case)(case.whole), truth)
    assert sorted(item.name for item in path.parent.iterdir()) == ["a_mask.tif", "a_mask.tif.aux.xml"]


def test_part_of_a_scene_is_written_at_its_place(tmp_path):
    case = open_case(save(tmp_path / "a.tif", noise((1, 60, 50))))
    part = case.part(window((20, 60), (10, 50)), "south")
    (path,) = write_mask(tmp_path, "m", part, lambda w: np.ones((1, 40, 40), np.uint8), CLASSES)
    with rasterio.open(path) as file:
        assert file.shape == (40, 40)
        assert tuple(file.transform)[:6] == (0.3, 0, 500003, 0, -0.3, 3999994)
        assert file.transform.c == part.geometry.affine[0, 3]


def test_control_points_are_carried_over(tmp_path):
    points = [GroundControlPoint(r, c, 500000 + c, 4e6 - r) for r, c in ((0, 0), (0, 30), (30, 0), (30, 30))]
    path = tmp_path / "a.tif"
    size = {"width": 30, "height": 30, "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", gcps=points, crs="EPSG:32618", **size) as out:
        out.write(noise((1, 30, 30)))
    case = open_case(path)
    assert (case.geometry.unit, case.geometry.crs) == ("px", None)
    part = case.part(window((10, 30), (5, 30)), "p")
    (written,) = write_mask(tmp_path, "m", part, lambda w: np.ones((1, 20, 25), np.uint8), CLASSES)
    with rasterio.open(written) as file:
        found, crs = file.gcps
        assert crs == rasterio.crs.CRS.from_epsg(32618)
        assert [(p.row, p.col, p.x) for p in found] == [(p.row - 10, p.col - 5, p.x) for p in points]


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (300, 300)])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_probability_round_trip(tmp_path, size, count):
    case = open_case(save(tmp_path / "a.tif", noise((1, *size))))
    stored = noise((count, 1, *size), low=0, high=255)
    stored[:, 0, 0, 0] = IGNORE
    for compress in (True, False):
        (path,) = write_probability(tmp_path, "p", case, lambda w: stored[:, w[0], w[1], w[2]], compress)
        found = open_probability(path, case)(case.whole)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, np.where(stored == 255, 0, stored / 254), atol=1e-6)
    with rasterio.open(path) as file:
        assert (file.nodata, file.compression) == (255, None)
        assert file.scales == pytest.approx([1 / 254] * count)
        assert file.descriptions[-1] == (f"class {count - 1}" if count > 1 else "uncertainty")
        assert ColorInterp.alpha not in file.colorinterp


def test_foreign_float_probability(tmp_path):
    case = open_case(save(tmp_path / "a.tif", noise((1, 20, 20))))
    array = np.full((2, 20, 20), 0.25, np.float32)
    array[0, 0, 0] = np.nan
    found = open_probability(save(tmp_path / "p.tif", array), case)(case.whole)
    assert (found[0, 0, 0, 0], found[1, 0, 3, 3]) == (0, 0.25)
    with pytest.raises(SegcganError, match="holds int16; class probabilities are floats 0–1 or uint8 0–254"):
        open_probability(save(tmp_path / "i.tif", noise((2, 20, 20), np.int16)), case)


def test_labels_on_another_grid_are_refused(tmp_path):
    case = open_case(save(tmp_path / "a.tif", noise((1, 20, 30))))
    with pytest.raises(SegcganError, match="is 20×20 and its image 20×30; resample it"):
        open_labels(save(tmp_path / "size.tif", noise((1, 20, 20))), case)
    shifted = Affine(0.3, 0, 500000.3, 0, -0.3, 4000000)
    with pytest.raises(
        SegcganError, match=r"has the transform \(0.3, 0.0, 500000.3.*its image \(0.3.*; resample it"
    ):
        open_labels(save(tmp_path / "shift.tif", noise((1, 20, 30)), shifted), case)
    with pytest.raises(SegcganError, match="has 3 bands and labels are one band"):
        open_labels(save(tmp_path / "rgb.tif", noise((3, 20, 30))), case)
    nearly = Affine(0.3 + 1e-9, 0, 500000, 0, -0.3, 4000000)
    open_labels(save(tmp_path / "nearly.tif", noise((1, 20, 30)), nearly), case)
    open_labels(save(tmp_path / "nowhere.tif", noise((1, 20, 30)), Affine.identity(), None), case)


def test_label_values(tmp_path):
    case = open_case(save(tmp_path / "a.tif", noise((1, 20, 20)))).part(window((5, 20), (0, 20)), "part")
    array = noise((1, 20, 20), np.float64, low=-1, high=70000)
    array[0, 6, 1] = np.nan
    array[0, 6, 2] = -9
    case.reference = open_labels(save(tmp_path / "m.tif", array, nodata=-9), case)
    found = case.read_reference(window((0, 3), (-1, 3)))
    assert found[0, 0].tolist() == [IGNORE, *array[0, 5, :3]]
    assert found[0, 1, 2:].tolist() == [IGNORE, IGNORE]
    assert case.read_reference(window((-5, 0), (0, 3))).tolist() == [[[IGNORE] * 3] * 5]  # wholly outside
    with pytest.raises(SegcganError, match=r"holds the label value 0\.5; labels are whole numbers"):
        open_labels(save(tmp_path / "half.tif", array * 0 + 0.5), case)(window((0, 3), (0, 3)))


def test_a_mosaic_whose_files_are_gone(tmp_path):
    band = '<VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename relativeToVRT="1">gone.tif'
    tail = "</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    (tmp_path / "a.vrt").write_text(f'<VRTDataset rasterXSize="4" rasterYSize="3">{band}{tail}')
    case = open_case(tmp_path / "a.vrt")
    cure = r"gone.tif: No such file or directory\); it is a mosaic of files that are not there, so fetch them"
    with pytest.raises(SegcganError, match=cure):
        case.read(case.whole)


def test_damaged_files_give_one_sentence(tmp_path):
    path = save(
        tmp_path / "a.tif", noise((1, 512, 512)), tiled=True, blockxsize=256, blockysize=256, compress="deflate"
    )
    whole = path.read_bytes()
    start = open_case(path)
    broken = bytearray(whole)
    broken[len(whole) // 2 : len(whole) // 2 + 4000] = b"\xa5" * 4000
    path.write_bytes(broken)
    with pytest.raises(
        SegcganError, match=r"cannot be read .*; it is damaged or no GeoTIFF, so fetch or convert it again"
    ):
        start.read(start.whole)
    path.write_bytes(whole[:6])
    with pytest.raises(SegcganError, match="cannot be read"):
        open_case(path)
    path.unlink()
    with pytest.raises(SegcganError, match="cannot be read"):
        start.read(start.whole)


def test_a_rewritten_file_is_read_anew_and_cases_survive_pickling(tmp_path):
    path = save(tmp_path / "a.tif", noise((1, 20, 20)))
    case = pickle.loads(pickle.dumps(open_case(path)))
    before = case.read(case.whole)[0]
    save(path, noise((1, 20, 20)) + np.uint8(1))
    np.testing.assert_array_equal(case.read(case.whole)[0], before + 1)


def test_reading_goes_on_after_a_fork(tmp_path):
    case = open_case(save(tmp_path / "a.tif", noise((1, 600, 600)), compress="deflate"))
    truth = case.read(case.whole)[0]
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            same = all(np.array_equal(case.read(case.whole)[0], truth) for _ in range(5))
            os._exit(0 if same else 1)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]


def test_nothing_is_left_when_writing_fails(tmp_path):
    case = open_case(save(tmp_path / "a.tif", noise((1, 1100, 600))))

    def fail(part):
        if part[1].start:
            raise SegcganError("the source is damaged")
        return np.ones((1, 512, 600), np.uint8)

    with pytest.raises(SegcganError, match="the source is damaged"):
        write_mask(tmp_path / "out", "m", case, fail, CLASSES)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_full_disk_is_an_error(tmp_path):
    case = open_case(save(tmp_path / "a.tif", noise((1, 1100, 600))))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    random = noise((1, 1100, 600), low=0, high=254)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
        with pytest.raises(SegcganError, match=r"m\.tif cannot be written .*; check free space and permissions"):
            write_mask(tmp_path / "out", "m", case, lambda w: random[w], CLASSES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "out").iterdir()) == []


def test_every_odd_file_reads_or_gives_one_sentence(shared_data):
    refused = {}
    files = [
        path
        for path in sorted((shared_data / "robust_geotiff").rglob("*"))
        if path.suffix in (".tif", ".tiff", ".vrt")
    ]
    for path in files:
        try:
            case = open_case(path)
            image, valid = case.read(window((0, min(case.shape[1], 2048)), (0, min(case.shape[2], 2048))))
            assert np.isfinite(image).all()
            assert image.shape[1:] == valid.shape[1:]
        except SegcganError as error:
            refused[path.name] = str(error)
    assert len(files) > 40
    assert sorted(refused) == ["RGB.byte.gcp.vrt", "RGB.byte.rpc.vrt", "cint16.tif", "corrupt.tif"]


def test_real_scenes(shared_data):
    flood = shared_data / "flood_s1_s2"
    case = open_case(flood / "S2" / "Spain_7370579_S2Hand.tif")
    labels = open_labels(flood / "Labels" / "Spain_7370579_LabelHand.tif", case)(case.whole)
    assert (case.channels, np.unique(labels).tolist()) == (13, [-1, 0, 1])
    assert case.geometry.spacing[1:] == pytest.approx((9.971, 7.879), abs=1e-3)
    chip = open_case(shared_data / "water_multispectral" / "images" / "008.tif")
    mask = open_labels(shared_data / "water_multispectral" / "masks" / "008.png", chip)(chip.whole)
    assert (chip.channels, chip.geometry.unit, set(np.unique(mask))) == (12, "px", {0, 1})


def test_labels_that_declare_0_as_nodata_keep_their_background(tmp_path):
    array = np.array([[[0, 1], [1, 0]]], np.uint8)
    case = open_case(save(tmp_path / "i.tif", array + 1))
    labels = open_labels(save(tmp_path / "m.tif", array, nodata=0), case)
    np.testing.assert_array_equal(labels(case.whole), array)


def test_bands_that_are_not_chosen_neither_spoil_nor_save_a_pixel(tmp_path):
    values = np.ones((4, 3, 5), np.float32)
    values[3, 0] = np.nan  # elevation is missing
    values[:2, 1] = -9999  # no picture here, whatever the other two bands say
    case = open_case(save(tmp_path / "chip.tif", values, nodata=-9999))
    assert case.read(case.whole)[1][0, 0].tolist() == [[False] * 5, [True] * 5, [True] * 5]
    chosen = case.with_bands([2, 1])
    image, valid = chosen.read(chosen.whole)
    assert image.shape == (2, 1, 3, 5)
    assert valid[0, 0].tolist() == [[True] * 5, [False] * 5, [True] * 5]


def test_nodata_of_signed_bytes_is_no_label(tmp_path):
    case = open_case(save(tmp_path / "i.tif", noise((1, 1, 4))))
    labels = open_labels(save(tmp_path / "m.tif", np.array([[[0, 1, 2, -128]]], np.int8), nodata=-128), case)
    assert labels(case.whole).ravel().tolist() == [0, 1, 2, IGNORE]


def test_a_channel_declared_alpha_is_told_once_a_folder(tmp_path, caplog):
    for name in ("a.tif", "b.tif"):  # red, green, blue and infrared: GDAL takes the fourth of four bytes for alpha
        assert open_case(save(tmp_path / name, noise((4, 40, 40)))).channels == 3
    assert caplog.messages == [
        f"{tmp_path}/a.tif: band 4 is declared alpha and taken for validity, but looks like a channel; if it is one, "
        "run gdal_edit.py -colorinterp_4 undefined a.tif"
    ]


def test_the_files_of_a_raster(tmp_path):
    path = save(tmp_path / "a.tif", noise((1, 20, 20)))
    with rasterio.open(path, "r+") as file, rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False):
        file.write_mask(np.tri(20, 20, dtype=np.uint8) * 255)
    assert files_of(path) == [path, tmp_path / "a.tif.msk"]


def stack(path, bands, roles=()):
    """Write a VRT of one-band files of the given arrays, with their dtypes, and the colour interpretation of each."""
    parts = ""
    for index, array in enumerate(bands):
        save(path.parent / f"{path.stem}_{index}.tif", array[None])
        kind = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "float32": "Float32"}[array.dtype.name]
        role = f"<ColorInterp>{roles[index]}</ColorInterp>" if roles else ""
        source = f'<SourceFilename relativeToVRT="1">{path.stem}_{index}.tif</SourceFilename><SourceBand>1</SourceBand>'
        parts += f'<VRTRasterBand dataType="{kind}" band="{index + 1}">{role}<SimpleSource>{source}</SimpleSource>'
        parts += "</VRTRasterBand>"
    height, width = bands[0].shape
    place = f"<SRS>EPSG:32618</SRS><GeoTransform>{', '.join(map(str, UTM.to_gdal()))}</GeoTransform>"
    path.write_text(f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">{place}{parts}</VRTDataset>')
    return path


def test_bands_of_different_dtypes_are_read_together(tmp_path):
    reflectance, height = noise((20, 30), np.uint16, 1, 60000), noise((20, 30), np.float32) - 100.25
    case = open_case(stack(tmp_path / "a.vrt", [reflectance, height]))
    image, valid = case.read(window((3, 9), (-2, 8)))
    np.testing.assert_array_equal(image[:, 0, :, 2:], np.stack([reflectance, height])[:, 3:9, :8].astype(np.float32))
    assert valid[0, 0, :, 2:].all()
    np.testing.assert_array_equal(case.with_bands([2]).read(case.whole)[0][0, 0], height)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("colour", [np.uint8, np.float32])
def test_alpha_of_any_dtype_is_validity_and_no_channel(tmp_path, kind, colour):
    bands = [noise((20, 30), colour) for _ in range(2)]
    alpha = np.ones((20, 30), kind)
    alpha[:5] = 0
    case = open_case(stack(tmp_path / "a.vrt", [*bands, alpha], ["Red", "Green", "Alpha"]))
    image, valid = case.read(case.whole)
    assert (case.channels, image.shape) == (2, (2, 1, 20, 30))
    np.testing.assert_array_equal(valid[0, 0], alpha > 0)
    assert case.with_bands([2]).read(case.whole)[1].sum() == 15 * 30


def test_alpha_counts_beside_nodata_and_nan_alpha_is_invalid(tmp_path):
    array = np.ones((4, 20, 30), np.float32)
    array[3] = 0.5
    array[3, 0], array[3, 1], array[:3, 2] = 0, np.nan, -9
    path = save(tmp_path / "a.tif", array, nodata=-9, photometric="rgb", alpha="yes")
    valid = open_case(path).read(window((0, 20), (0, 30)))[1][0, 0]
    assert [bool(row.any()) for row in valid[:4]] == [False, False, False, True]
    assert valid[3:].all()


def test_an_undefined_float_band_is_a_channel(tmp_path):
    array = np.zeros((4, 20, 30), np.float32)
    case = open_case(save(tmp_path / "a.tif", array, photometric="rgb", alpha="unspecified"))
    assert (case.channels, case.read(case.whole)[1].all()) == (4, True)


def test_labels_may_have_alpha(tmp_path):
    case = open_case(save(tmp_path / "a.tif", noise((1, 20, 30))))
    array = np.stack([noise((20, 30), low=0, high=3), np.full((20, 30), 255, np.uint8)])
    array[1, :4] = 0
    labels = open_labels(save(tmp_path / "m.tif", array, alpha="yes"), case)(case.whole)[0]
    np.testing.assert_array_equal(labels, np.where(array[1] > 0, array[0], IGNORE))


def test_control_points_without_crs_are_written_back_the_same_way(tmp_path):
    points = [GroundControlPoint(r, c, 7 + c / 1e4, 46 - r / 1e4) for r in (0, 20) for c in (0, 30)]
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=30, height=20, count=1, dtype="uint8", gcps=points, crs=rasterio.crs.CRS()
    ) as out:
        out.write(noise((1, 20, 30)))
    part = open_case(path).part(window((5, 20), (10, 30)), "part")
    (mask,) = write_mask(tmp_path / "out", "m", part, lambda w: np.ones((1, 15, 20), np.uint8), CLASSES)
    with rasterio.open(mask) as file:
        found, crs = file.gcps
    assert (crs, part.geometry.unit) == (None, "px")
    assert [(p.row, p.col, p.x, p.y) for p in found] == [(p.row - 5, p.col - 10, p.x, p.y) for p in points]
