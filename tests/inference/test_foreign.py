"""Refining masks that somebody else made."""

from dataclasses import replace

import numpy as np
import pytest
import rasterio
from PIL import Image

from segcgan.errors import SegcganError
from segcgan.formats import open_case
from segcgan.formats.folders import discover
from segcgan.inference.engine import predict_case
from segcgan.inference.folder import Wish, predict_folder
from segcgan.inference.foreign import ForeignMasks
from segcgan.inference.store import MemoryStore
from segcgan.inference.windows import Windows
from tests.inference.test_folder import PLACE, scene


def mask(path, seed=0, values=(0, 1), nodata=True):
    """A GeoTIFF mask for a scene: a box of the second value in the first, 255 where the scene has no data."""
    labels = np.full((50, 40), values[0], np.uint8)
    labels[15 + seed : 35, 10:30] = values[1]
    if nodata:
        labels[:9, :14] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", **PLACE, height=50, width=40, count=1, dtype="uint8") as file:
        file.write(labels, 1)
    return labels


@pytest.fixture
def pairs(tmp_path):
    for index in range(2):
        scene(tmp_path / f"in/scene_{index}.tif", seed=index)
        mask(tmp_path / f"masks/scene_{index}.tif", index)
    return tmp_path / "in", tmp_path / "masks"


@pytest.fixture
def made(chain):
    return chain(refiner="residual")


def go(images, masks, out, chain, labels="", **options):
    return predict_folder(images, out, chain, {}, Wish(Windows(strip=1), **options), coarse=ForeignMasks(masks, labels))


def read(path):
    with rasterio.open(path) as file:
        return file.read(1)


def test_given_masks_are_refined_and_the_segmenter_is_not_asked(pairs, tmp_path, made):
    rows = go(*pairs, tmp_path / "out", made)
    assert [(row.case, row.status, row.mask) for row in rows] == [(f"scene_{n}", "ok", "refined") for n in (0, 1)]
    assert rows[1].coarse == str(pairs[1] / "scene_1.tif")
    assert made.segmenter.seen == 0
    for index in range(2):
        given = mask(tmp_path / "copy.tif", index)
        np.testing.assert_array_equal(read(tmp_path / f"out/scene_{index}_mask_coarse.tif"), given)
        case = open_case(pairs[0] / f"scene_{index}.tif")
        case.coarse = lambda window, given=given: (given[None, None] == np.arange(2)[:, None, None, None])[
            (slice(None), *window)
        ].astype(np.float32)
        expected = predict_case(case, made, MemoryStore()).read("refined", case.whole)[0]
        np.testing.assert_array_equal(read(tmp_path / f"out/scene_{index}_mask.tif"), expected)
        assert (expected != given).any()


def test_probabilities_are_taken_as_they_are(pairs, tmp_path, made):
    """What predict wrote can be refined again; probabilities say more than the mask beside them."""
    images, _ = pairs
    predict_folder(images, tmp_path / "first", replace(made, refiner=None), {}, Wish())
    rows = go(images, tmp_path / "first", tmp_path / "out", made)
    assert {row.coarse for row in rows} == {str(tmp_path / f"first/scene_{n}_probability.tif") for n in (0, 1)}
    assert {row.status for row in rows} == {"ok"}


@pytest.mark.parametrize(
    ("image", "names", "found"),
    [
        ("a.tif", ["a.tif", "a_mask.tif"], "a.tif"),
        ("a.tif", ["a_mask.tif", "a_probability.png"], "a_mask.tif"),  # a PNG holds no probabilities
        ("a_0000.tif", ["a.nii.gz", "b.nii.gz"], "a.nii.gz"),
        ("a_0000.tif", ["a.tif", "a_0000.tif"], "a_0000.tif"),
        ("a_2020.tif", ["a.tif", "a_2020.tif"], "a_2020.tif"),
        ("a.tif", ["a.geojson", "a.txt", "a.tfw"], "a.geojson"),
        ("a.tif", ["a_mask.dcm", "a_mask.nii.gz"], "a_mask.nii.gz"),
    ],
)
def test_masks_are_found_by_name(tmp_path, image, names, found):
    (tmp_path / "masks").mkdir()
    for name in names:
        (tmp_path / "masks" / name).touch()
    (source,) = discover(scene(tmp_path / "in" / image))[0]
    assert ForeignMasks(tmp_path / "masks").find(source).name == found


def test_an_image_without_a_mask_or_with_two_does_not_stop_the_others(pairs, tmp_path, made):
    images, masks = pairs
    scene(images / "lonely.tif")
    (masks / "scene_0.geojson").write_text("{}")
    rows = {row.case: row for row in go(images, masks, tmp_path / "out", made)}
    assert [rows[name].status for name in ("lonely", "scene_0", "scene_1")] == ["failed", "failed", "ok"]
    assert rows["lonely"].reason == f"no mask named lonely.* in {masks}; add it, or leave the image out"
    assert rows["scene_0"].reason.endswith("(scene_0.geojson, scene_0.tif); keep one")


def test_values_that_mean_nothing_are_not_guessed(pairs, tmp_path, made):
    """255 is foreground in many masks and "unknown" in others: taken for the latter it would empty the mask."""
    images, masks = pairs
    for index in range(2):
        Image.fromarray(mask(tmp_path / "copy.tif", index, (0, 255), nodata=False)).save(masks / f"scene_{index}.png")
        (masks / f"scene_{index}.tif").unlink()
    rows = go(images, masks, tmp_path / "out", made)
    assert {row.status for row in rows} == {"failed"}
    assert "valid pixels of the image; say what 255 means (NAME=255 as --labels, or in column" in rows[0].reason
    rows = go(images, masks, tmp_path / "out", made, labels="thing=255")
    assert {row.status for row in rows} == {"ok"}
    assert (read(tmp_path / "out/scene_0_mask_coarse.tif") == 1).sum() == 400


def test_a_mask_of_another_grid_is_refused(pairs, tmp_path, made):
    images, masks = pairs
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(masks / "scene_0.png")
    (masks / "scene_0.tif").unlink()
    rows = go(images, masks, tmp_path / "out", made)
    assert [row.status for row in rows] == ["failed", "ok"]
    assert "9" in rows[0].reason
    assert "50" in rows[0].reason


def test_what_is_done_is_done_again_only_if_its_mask_changed(pairs, tmp_path, made):
    assert not any("done before" in row.reason for row in go(*pairs, tmp_path / "out", made))
    assert all("done before" in row.reason for row in go(*pairs, tmp_path / "out", made))
    mask(pairs[1] / "scene_1.tif", 9)
    assert ["done before" in row.reason for row in go(*pairs, tmp_path / "out", made)] == [True, False]
    assert not any("done before" in row.reason for row in go(*pairs, tmp_path / "out", made, "thing=1"))


def test_masks_below_the_images_are_not_taken_for_images(pairs, tmp_path, made):
    images, masks = pairs
    masks.rename(images / "masks")
    rows = go(images, images / "masks", tmp_path / "out", made)
    assert [(row.case, row.status) for row in rows] == [("scene_0", "ok"), ("scene_1", "ok")]


def test_folders_that_would_be_mixed_up_are_refused(pairs, tmp_path, made):
    images, masks = pairs
    with pytest.raises(SegcganError, match=r"output and masks are the same folder .*masks; give another output"):
        go(images, masks, masks, made)
    with pytest.raises(SegcganError, match=r"masks and images are both in .*; give the masks a folder of their own"):
        go(images, images, tmp_path / "out", made)
    with pytest.raises(SegcganError, match="nowhere is no folder; give the folder of the masks to refine"):
        ForeignMasks(tmp_path / "nowhere")


def test_a_mask_of_several_images_is_given_to_none(pairs, tmp_path, made):
    images, masks = pairs
    for patient in ("p1", "p2"):
        scene(images / patient / "same.tif")
    mask(masks / "same.tif")
    rows = {row.case: row for row in go(images, masks, tmp_path / "out", made)}
    assert [row.status for row in rows.values()] == ["failed", "failed", "ok", "ok"]
    assert rows["p1_same"].reason == (
        f"{masks}/same.tif would be the mask of several images, {images}/p1/same.tif among them; give each image a "
        "name and a mask of its own"
    )
