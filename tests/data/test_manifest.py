"""Manifests and pairing by stem, on small files of every kind."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segcgan.case import IGNORE
from segcgan.classes import ClassSpec
from segcgan.data.labels import label_values, rater_bits
from segcgan.data.manifest import Row, open_rows, pair_by_stem, parse_window, read_manifest
from segcgan.data.phantoms import write_phantoms
from segcgan.errors import SegcganError
from tests.formats.conftest import write_images

CLASSES = [ClassSpec("background", [0]), ClassSpec("liver", [1]), ClassSpec("tumour", [2])]
SHAPE = (6, 8)


def png(path, values=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.broadcast_to(np.asarray(values, np.uint8), SHAPE)).save(path)
    return path


def tif(path, values, **more):
    import rasterio

    values = np.asarray(values)
    profile = {"driver": "GTiff", "height": SHAPE[0], "width": SHAPE[1], "count": len(values), "dtype": values.dtype}
    transform = rasterio.Affine(2, 0, 500000, 0, -2, 4000000)
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", crs="EPSG:32636", transform=transform, **(profile | more)) as out:
        out.write(values)
    return path


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b"):
        png(tmp_path / f"{name}.png", 7)
        png(tmp_path / f"{name}_mask.png", np.arange(8) % 3)
    return tmp_path


def manifest(folder, *lines, encoding="utf-8"):
    path = folder / "m.csv"
    path.write_bytes("\n".join(lines).encode(encoding))
    return path


def read(folder, *lines, **more):
    return read_manifest(manifest(folder, *lines, **more), folder)


def open_all(rows, classes=CLASSES, spacing=None):
    return open_rows(rows, classes, spacing, "mm", "canonical")


def refused(folder, *lines):
    with pytest.raises(SegcganError) as error:
        read(folder, *lines)
    return str(error.value).replace(f"{folder}/", "")


def test_columns_in_any_order_and_empty_fields(folder):
    rows = read(folder, "split,mask,image,group", "train,a_mask.png,a.png,p1", ",,b.png,")
    assert rows[0].image == folder / "a.png"
    assert rows[0].mask == folder / "a_mask.png"
    assert (rows[0].split, rows[0].group, rows[0].case) == ("train", "p1", "")
    assert (rows[1].mask, rows[1].coarse, rows[1].split) == (None, None, "")


def test_bom_spaces_and_short_lines(folder):
    rows = read(folder, "image , mask, split", " a.png, a_mask.png , val ", "b.png", encoding="utf-8-sig")
    assert (rows[0].mask, rows[0].split) == (folder / "a_mask.png", "val")
    assert rows[1].image == folder / "b.png"
    assert rows[1].split == ""


def test_a_path_may_be_absolute(folder, tmp_path_factory):
    path = manifest(tmp_path_factory.mktemp("elsewhere"), "image", str(folder / "a.png"))
    assert read_manifest(path, folder / "unused")[0].image == folder / "a.png"


def test_refused_manifests(folder):
    assert refused(folder, "image,masc", "a.png,") == "m.csv: unknown column 'masc'; did you mean 'mask'?"
    columns = "case, image, mask, labels, group, split, window, coarse"
    assert refused(folder, "case,mask", "a,a_mask.png") == f"m.csv: has no column 'image'; the columns are {columns}"
    assert refused(folder) == f"m.csv: has no column 'image'; the columns are {columns}"
    text = refused(folder, "image,split", "a.png,train", "b.png,trian")
    assert text == "m.csv, line 3: split 'trian' is unknown; did you mean 'train'?"
    text = refused(folder, "image,mask", "a.png,none.png")
    assert text == "m.csv, line 2: none.png does not exist; is data.images.root right?"
    assert refused(folder, "image,case", ",x") == "m.csv, line 2: names no image"
    text = refused(folder, "image,window", "a.png,0:2,0:3")
    assert text == 'm.csv, line 2: more values than columns; quote commas as in "0:9,0:9"'


def test_labels_and_names(folder):
    lines = ["image,mask,labels,case"]
    lines += ["a.png,a_mask.png,liver=2;tumour=1,first", "b.png,b_mask.png,liver=1|2;tumour=9,"]
    first, second = open_all(read(folder, *lines))
    assert (first.name, second.name) == ("first", "b")
    np.testing.assert_array_equal(first.read_reference(first.whole)[0, 0], [0, 2, 1, 0, 2, 1, 0, 2])
    np.testing.assert_array_equal(second.read_reference(second.whole)[0, 0], [0, 1, 1, 0, 1, 1, 0, 1])


def test_label_values(tmp_path):
    assert label_values("", CLASSES, tmp_path) == [[0], [1], [2]]
    assert label_values("tumour = 5 | 6 ;", CLASSES, tmp_path) == [[0], [1], [5, 6]]
    assert CLASSES[2].values == [2]
    with pytest.raises(SegcganError, match=r"labels name class 'livre'; did you mean 'liver'?"):
        label_values("livre=5", CLASSES, tmp_path)
    for text in ("liver", "liver=", "liver=x", "liver=1.5"):
        with pytest.raises(SegcganError, match=rf"labels '{text}' should read name=value or name=value|value"):
            label_values(text, CLASSES, tmp_path)


def test_an_unknown_label_value_names_the_mask(folder):
    case = open_all(read(folder, "image,mask,labels", "a.png,a_mask.png,tumour=7"))[0]
    with pytest.raises(SegcganError, match=r"a_mask.png: label values \[2\] belong to no class"):
        case.read_reference(case.whole)


def test_two_cases_of_one_name(folder):
    with pytest.raises(SegcganError) as error:
        open_all(read(folder, "image,case", "a.png,x", "b.png,x"))
    assert str(error.value) == "two cases are called 'x'; give them different names in column 'case'"
    with pytest.raises(SegcganError, match=r"case 'x/y' names files, so it must not contain"):
        open_all(read(folder, "image,case", "a.png,x/y"))


def test_windows_divide_an_image(folder):
    lines = ("image,mask,window,case", 'a.png,a_mask.png,"0:4,:",top', 'a.png,a_mask.png,"0:1,4:6,3:",bottom')
    top, bottom = open_all(read(folder, *lines))
    assert (top.shape, top.start, top.group) == ((1, 4, 8), (0, 0, 0), "a")
    assert (bottom.shape, bottom.start, bottom.group) == ((1, 2, 5), (0, 4, 3), "a")
    np.testing.assert_array_equal(bottom.read_reference(bottom.whole)[0, 0], [0, 1, 2, 0, 1])
    assert (top.read_reference((slice(0, 1), slice(3, 5), slice(0, 8)))[0, 1] == IGNORE).all()


def test_windows_as_written(make_case):
    case = make_case(np.zeros((1, 5, 6, 8)))
    assert parse_window("1:3, 2:, :4", case) == (slice(1, 3), slice(2, 6), slice(0, 4))
    assert parse_window(":,0:8", case) == (slice(0, 5), slice(0, 6), slice(0, 8))
    for text in ("1:2", "1,2", "1:2:3,4:5", "a:b,c:d", "-2:4,0:8", "0:1,0:1,0:1,0:1"):
        with pytest.raises(SegcganError) as error:
            parse_window(text, case)
        assert str(error.value) == f"case 'a': window {text!r} should read y0:y1,x0:x1 or z0:z1,y0:y1,x0:x1"
    for text in ("3:3,0:8", "4:2,0:8", "0:7,0:8", "6:,0:8", "0:6,0:80"):
        with pytest.raises(SegcganError, match=r"is not inside the image .*; correct it"):
            parse_window(text, case)


def test_spacing_for_files_that_know_none(folder):
    tif(folder / "scene.tif", np.ones((1, *SHAPE), np.uint8))
    picture, scene = open_all(read(folder, "image", "a.png", "scene.tif"), spacing=[1, 1.37, 1.38])
    assert picture.geometry.spacing == (1, 1.37, 1.38)
    assert picture.geometry.unit == "mm"
    assert scene.geometry.spacing[1:] == pytest.approx((2, 2), rel=1e-2)
    assert scene.geometry.unit == "m"


def test_coarse_masks_hard_and_soft(folder):
    # label 5 means class 1: what somebody else made is translated as the reference is
    classes = [ClassSpec("background"), ClassSpec("house", [5])]
    image = np.ones((3, *SHAPE), np.uint8)
    image[:, 5] = 0
    tif(folder / "s.tif", image, nodata=0)
    hard = np.zeros((1, *SHAPE), np.uint8)
    hard[0, 2:4] = 5
    tif(folder / "hard.tif", hard)
    soft = np.full((2, *SHAPE), 127, np.uint8)
    soft[0, 0], soft[1, 0] = 254, 0
    soft[:, 5] = 255
    tif(folder / "s_probability.tif", soft, nodata=255)
    lines = ("image,coarse,case", "s.tif,hard.tif,h", "s.tif,s_probability.tif,p")
    h, p = open_all(read(folder, *lines), classes)
    found = h.read_coarse(h.whole)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[1], hard == 5)
    np.testing.assert_array_equal(found.sum(0), 1)
    found = p.read_coarse(p.whole)
    assert found.shape == (2, 1, *SHAPE)
    np.testing.assert_allclose(found[:, 0, :, 0].T, [[1, 0], *[[0.5, 0.5]] * 4, [0, 0]])


@pytest.mark.parametrize("soft", [False, True])
def test_a_coarse_mask_that_says_nothing_of_valid_pixels_is_refused(folder, soft):
    """As 255 = foreground would in a run whose classes name 1: an empty mask nobody asked for."""
    values = np.full((3 if soft else 1, *SHAPE), 80 if soft else 1, np.uint8)
    values[:, :2] = 255
    path = tif(folder / ("c_probability.tif" if soft else "c.tif"), values, nodata=255)
    tif(folder / "s.tif", np.ones((1, *SHAPE), np.uint8))
    case = open_all(read(folder, "image,coarse", f"s.tif,{path.name}"))[0]
    case.read_coarse((slice(0, 1), slice(2, 6), slice(0, 8)))  # complete there
    with pytest.raises(SegcganError, match=r"says nothing .* in column labels of the manifest"):
        case.read_coarse(case.whole)


def test_coarse_and_reference_of_a_window(folder):
    lines = ("image,mask,coarse,window", 'a.png,a_mask.png,b_mask.png,"2:6,3:8"')
    case = open_all(read(folder, *lines))[0]
    labels = np.arange(3, 8) % 3
    np.testing.assert_array_equal(case.read_reference(case.whole)[0], np.tile(labels, (4, 1)))
    np.testing.assert_array_equal(case.read_coarse(case.whole).argmax(0)[0], np.tile(labels, (4, 1)))


def test_polygons_as_masks(tmp_path):
    write_phantoms(tmp_path, "scene", 1, seed=2)
    classes = [ClassSpec("background", [0]), ClassSpec("building", [1])]
    rows = pair_by_stem(tmp_path)
    assert [(row.case, row.mask.name) for row in rows] == [("scene_00", "scene_00.geojson")]
    case = open_all(rows, classes)[0]
    labels = case.read_reference(case.whole)
    assert 0.01 < (labels == 1).mean() < 0.5
    window = (slice(0, 1), slice(30, 90), slice(50, 200))
    np.testing.assert_array_equal(case.read_reference(window), labels[window])


def test_pairing_by_stem(tmp_path):
    for name in ("b", "a.1"):
        png(tmp_path / "images" / f"{name}.png")
        png(tmp_path / "masks" / f"{name}.png", 0)
    tif(tmp_path / "images" / "c.tif", np.ones((1, *SHAPE), np.uint8))
    tif(tmp_path / "masks" / "c.tif", np.ones((1, *SHAPE), np.uint8))
    for name in ("b.txt", "c.tif.aux.xml", "c.xml", ".hidden"):
        (tmp_path / "masks" / name).write_text("beside a mask, none itself")
    rows = pair_by_stem(tmp_path)
    assert [(row.case, row.mask.name, row.split) for row in rows] == [
        ("a.1", "a.1.png", ""),
        ("b", "b.png", ""),
        ("c", "c.tif", ""),
    ]
    assert [case.group for case in open_all(rows)] == ["a.1", "b", "c"]


def test_pairing_in_folders_of_splits(tmp_path):
    for split, name in (("train", "a"), ("val", "b"), ("test", "c")):
        png(tmp_path / split / "images" / f"{name}.png")
        png(tmp_path / split / "masks" / f"{name}.png", 0)
    assert [(row.case, row.split) for row in pair_by_stem(tmp_path)] == [("a", "train"), ("b", "val"), ("c", "test")]


def test_pairing_says_what_is_missing(tmp_path):
    with pytest.raises(SegcganError) as error:
        pair_by_stem(tmp_path)
    text = f"{tmp_path}: expected folders 'images' and 'masks' (or a data.manifest); found neither"
    assert str(error.value) == text
    (tmp_path / "images").mkdir()
    with pytest.raises(SegcganError, match=r"no readable image in .*images"):
        pair_by_stem(tmp_path)
    image = png(tmp_path / "images" / "a.png")
    with pytest.raises(SegcganError) as error:
        pair_by_stem(tmp_path)
    assert str(error.value) == f"{image}: no mask named a.* in {tmp_path / 'masks'}"


@pytest.fixture(scope="module")
def anonymised(tmp_path_factory):
    """Phantom series whose PatientID was replaced by the same word."""
    import pydicom

    folder = tmp_path_factory.mktemp("ct")
    write_phantoms(folder, "ct", 2)
    for path in (folder / "images").rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.PatientID = "anonymous"
        dataset.save_as(path)
    return folder


def test_dicom_series_are_paired_by_folder(anonymised):
    rows = pair_by_stem(anonymised)
    assert [row.mask.name for row in rows] == ["phantom_00.nii.gz", "phantom_01.nii.gz"]
    case = open_all(rows)[0]
    assert case.format == "dicom"
    middle = case.shape[0] // 2
    window = (slice(middle, middle + 1), *case.whole[1:])
    image, labels = case.read(window)[0][0], case.read_reference(window)
    assert (labels == 1).any()
    assert image[labels == 1].mean() > image[labels == 0].mean()  # an organ among air, not a mirrored mask


def test_column_group_overrules_a_collapsed_patient_id(anonymised):
    assert [case.group for case in open_all(pair_by_stem(anonymised))] == ["anonymous", "anonymous"]
    images = [row.image.relative_to(anonymised) for row in pair_by_stem(anonymised)]
    rows = read(anonymised, "image,group,case", f"{images[0]},p0,zero", f"{images[1]},p1,one")
    assert [(case.name, case.group) for case in open_all(rows)] == [("zero", "p0"), ("one", "p1")]


def test_all_that_cannot_be_used_is_named_at_once(folder):
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes((folder / name).read_bytes()[:40])
    with pytest.raises(SegcganError) as error:
        open_all(read(folder, "image", "a.png", "a_mask.png", "b.png"))
    head, first, second = str(error.value).split("\n")
    assert head == "2 of 3 cases cannot be used; mend them or take them out:"
    assert f"{folder / 'a.png'} cannot be read" in first
    assert f"{folder / 'b.png'} cannot be read" in second
    with pytest.raises(SegcganError) as error:
        open_all(read(folder, "image", *["a.png"] * 25))
    assert str(error.value).splitlines()[-1] == "  and 5 more"


def test_all_images_without_a_mask_are_named_at_once(folder, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    for name in ("x", "y", "z"):
        shutil.copy(folder / "a.png", tmp_path / "images" / f"{name}.png")
    shutil.copy(folder / "a_mask.png", tmp_path / "masks" / "y.png")
    with pytest.raises(SegcganError) as error:
        pair_by_stem(tmp_path)
    head, *lines = str(error.value).split("\n")
    assert head.startswith("2 of 3 cases cannot be used")
    assert [Path(line.split(":")[0].strip()).name for line in lines] == ["x.png", "z.png"]


def test_two_images_do_not_share_a_mask(tmp_path):
    images = [png(tmp_path / "images" / folder / "s01.png") for folder in ("p1", "p2")]
    mask = png(tmp_path / "masks" / "s01.png", 0)
    with pytest.raises(SegcganError) as error:
        pair_by_stem(tmp_path)
    assert str(error.value) == (
        f"{mask} would be the mask of {images[0]} and of {images[1]}; name masks as the images, or write a manifest"
    )
    for patient in ("p1", "p2"):
        png(tmp_path / "masks" / f"{patient}_s01.png", 0)
    assert [row.mask.stem for row in pair_by_stem(tmp_path)] == ["p1_s01", "p2_s01"]


def test_a_value_belongs_to_one_class(tmp_path):
    with pytest.raises(SegcganError) as error:
        label_values("liver=1|2", CLASSES, tmp_path)
    assert str(error.value) == f"{tmp_path}: the value 2 belongs to liver and to tumour; give it to one class"


def test_names_that_hold_bit_are_no_raters(tmp_path):
    assert rater_bits("orbit=1", [ClassSpec("background"), ClassSpec("orbit")], tmp_path) is None
    assert rater_bits("orbit = bit0|bit1", [ClassSpec("background"), ClassSpec("orbit")], tmp_path) == (1, (0, 1))


def test_a_manifest_in_another_encoding(tmp_path):
    (tmp_path / "m.csv").write_bytes("image,größe\n".encode("latin-1"))
    with pytest.raises(SegcganError, match=r"m\.csv is not UTF-8 text \(invalid start byte\); save it as UTF-8"):
        read_manifest(tmp_path / "m.csv", tmp_path)


def test_what_is_doubtful_about_an_image_is_said_when_training_opens_it(tmp_path, caplog):
    write_images(tmp_path / "ct", [{"z": 3.0 * index} for index in range(3)], RescaleSlope=0, RescaleIntercept=0)
    logger = logging.getLogger("segcgan")
    logger.addHandler(caplog.handler)
    try:
        open_rows([Row(tmp_path / "ct")], CLASSES, None, "mm", "canonical")
    finally:
        logger.removeHandler(caplog.handler)
    said = "RescaleSlope is 0, which would make all values equal; it was taken as 1"
    assert set(caplog.messages) == {f"{tmp_path / 'ct'}: {said}"}
