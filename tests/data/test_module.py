"""The data module: which cases a stage sees, the bank, and what it refuses."""

import csv

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
import torch
from PIL import Image

from segcgan.classes import ClassSpec
from segcgan.data.module import Images, Intensity, SegmentationData
from segcgan.data.patches import Sampling
from segcgan.errors import SegcganError

CLASSES = [ClassSpec("background", [0]), ClassSpec("thing", [255])]


def pictures(root, count=6, size=(40, 48)):
    rng = np.random.default_rng(0)
    for index in range(count):
        mask = np.zeros(size, np.uint8)
        mask[10 : 20 + index, 12:30] = 255
        for folder, values in (("images", rng.integers(0, 200, size) + mask // 5), ("masks", mask)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values.astype(np.uint8)).save(root / folder / f"p{index}.png")
    return root


def make(root, stage="segmenter", folds=0, **more):
    sampling = more.pop("sampling", Sampling(patch=(16, 16), batch_size=2, steps=3))
    images = more.pop("images", None) or Images(root=str(root))
    data = SegmentationData(images, CLASSES, sampling, **more)
    data.stage, data.fold_count = stage, folds
    return data


def ready(root, stage="segmenter", folds=0, **more):
    data = make(root, stage, folds, **more)
    data.setup()
    return data


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return pictures(tmp_path_factory.mktemp("pictures"))


def trained_on(data):
    return {case.name for case in data.train_dataloader().dataset.cases}


def test_setup_opens_splits_and_fits(root):
    data = ready(root)
    assert [len(data.split(name)) for name in ("train", "val", "test")] == [3, 1, 2]
    assert data.normalisation.mean.shape == (1,)
    assert 0 < float(data.normalisation.mean) < 200
    before = data.cases
    data.setup()
    assert data.cases is before


def test_loaders_of_the_segmenter(root):
    data = ready(root)
    assert trained_on(data) == {case.name for case in data.split("train")}
    batches = list(data.train_dataloader())
    assert len(batches) == 3
    assert batches[0].image.shape == (2, 1, 16, 16)
    assert batches[0].coarse is None
    assert [case.name for case in data.val_dataloader()] == [case.name for case in data.split("val")]
    data.evaluated = "test"
    assert [case.name for case in data.test_dataloader()] == [case.name for case in data.split("test")]


def test_loaders_of_the_folds(root):
    names = {case.name for case in ready(root).split("train")}
    parts = [trained_on(ready(root, f"fold-{k}", folds=3)) for k in range(3)]
    assert all(len(part) == 2 for part in parts)
    assert set.union(*parts) == names
    assert not set.intersection(*parts)


def test_the_refiner_sees_held_out_cases_and_coarse_masks(root, tmp_path):
    data = ready(root, "refiner", folds=2, corrupted=0.0)
    data.bank = tmp_path
    chosen = data.split("train")[0]
    with pytest.raises(SegcganError, match=r"\.npy is missing, the coarse mask a segmenter drew"):
        data.train_dataloader()
    for case in data.split("train"):
        np.save(tmp_path / f"{case.name}.npy", np.full((2, *case.shape), 127, np.uint8))
    dataset = data.train_dataloader().dataset
    assert sorted(case.name for case in dataset.cases) == sorted(case.name for case in data.split("train"))
    assert all(case.coarse is not None for case in dataset.cases)
    batch = next(iter(data.train_dataloader()))
    assert batch.coarse.shape == (2, 2, 16, 16)
    assert chosen.coarse is None  # the module's own case is left as it was


def test_the_refiner_without_folds_learns_from_corruptions(root):
    data = ready(root, "refiner")
    assert trained_on(data) == {case.name for case in data.split("train")}
    assert next(iter(data.train_dataloader())).coarse is not None


def test_validation_of_the_refiner_reads_the_bank(root, tmp_path):
    data = ready(root, "refiner")
    data.bank = tmp_path
    for case in data.split("val"):
        np.save(tmp_path / f"{case.name}.npy", np.zeros((2, *case.shape), np.uint8))
    assert all(case.coarse is not None for case in data.val_dataloader())
    data.stage = "segmenter"
    assert all(case.coarse is None for case in data.val_dataloader())


def test_what_the_bank_stored_comes_back(root, tmp_path):
    data = make(root)
    data.setup()
    data.bank = tmp_path
    case = data.split("train")[0]
    stored = np.random.default_rng(1).integers(0, 255, (2, 1, 10, 20)).astype(np.uint8)
    stored[:, 0, 3, 4] = 255
    part = case.part((slice(0, 1), slice(5, 15), slice(7, 27)), f"{case.name}@5-15")
    np.save(tmp_path / f"{part.name}.npy", stored)
    banked = data.banked(part)
    expected = np.where(stored == 255, 0, stored / np.float32(254))
    found = banked.read_coarse(banked.whole)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-7)
    window = (slice(0, 1), slice(-2, 6), slice(15, 25))
    found = banked.read_coarse(window)
    np.testing.assert_allclose(found[:, :, 2:, :5], expected[:, :, :6, 15:], atol=1e-7)
    assert not found[:, :, :2].any()
    assert not found[:, :, :, 5:].any()
    inner = banked.part((slice(0, 1), slice(2, 8), slice(3, 9)), "inner")  # windows stay absolute in the file
    np.testing.assert_allclose(inner.read_coarse(inner.whole), expected[:, :, 2:8, 3:9], atol=1e-7)


def test_a_given_coarse_mask_outranks_the_bank(root, tmp_path):
    data = ready(root)
    case = data.split("train")[0]
    np.save(tmp_path / f"{case.name}.npy", np.zeros((2, *case.shape), np.uint8))
    assert data.banked(case) is case  # no bank yet
    data.bank = tmp_path
    case.coarse = given = lambda window: None
    assert data.banked(case).coarse is given


def test_block_folds_of_a_single_training_image(tmp_path):
    pictures(tmp_path, count=3, size=(80, 30))
    lines = [f"images/p{i}.png,masks/p{i}.png,{split}" for i, split in enumerate(("train", "val", "test"))]
    (tmp_path / "m.csv").write_text("\n".join(["image,mask,split", *lines]))
    data = ready(tmp_path, "fold-0", folds=2, images=Images(str(tmp_path), manifest="m.csv"))
    assert trained_on(data) == {"p0@56-80"}  # 40 rows are held out and one window, 16 rows, is left between
    batch = next(iter(data.train_dataloader()))
    assert batch.valid.any()
    data.stage = "refiner"
    assert trained_on(data) == {"p0@0-40", "p0@40-80"}
    coarser = Sampling(patch=(16, 16), spacing=(1.5, 1.5))  # a window is then 24 rows of the file
    images = Images(str(tmp_path), manifest="m.csv", spacing=[1, 1, 1])
    assert trained_on(ready(tmp_path, "fold-0", folds=2, images=images, sampling=coarser)) == {"p0@64-80"}


def test_a_manifest_is_found_in_the_root(root, tmp_path):
    with (root / "mine.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "mask", "split"])
        for index, split in enumerate(["train", "val", "test"]):
            writer.writerow([f"images/p{index}.png", f"masks/p{index}.png", split])
    data = ready(root, images=Images(str(root), manifest="mine.csv"))
    assert [case.split for case in data.cases] == ["train", "val", "test"]
    with pytest.raises(SegcganError, match=r"data.images.manifest 'none.csv' was not found in "):
        ready(root, images=Images(str(root), manifest="none.csv"))


def test_training_cases_need_masks_and_test_cases_do_not(root):
    lines = ["image,mask,split", "images/p0.png,masks/p0.png,train", "images/p1.png,,val", "images/p2.png,,test"]
    (root / "partly.csv").write_text("\n".join(lines))
    with pytest.raises(SegcganError) as error:
        ready(root, images=Images(str(root), manifest="partly.csv"))
    assert str(error.value) == "case 'p1' is for training but has no mask; add one or take it out"
    (root / "partly.csv").write_text("\n".join(lines).replace("p1.png,,", "p1.png,masks/p1.png,"))
    assert ready(root, images=Images(str(root), manifest="partly.csv")).split("test")[0].reference is None


def test_training_needs_both_splits(root):
    (root / "one.csv").write_text("image,mask,split\nimages/p0.png,masks/p0.png,train\n")
    with pytest.raises(SegcganError) as error:
        ready(root, images=Images(str(root), manifest="one.csv"))
    assert str(error.value) == (
        "training needs cases in the splits train and val; there are train: 1, val: 0, test: 0; name them in a manifest"
    )


def test_missing_root(tmp_path, monkeypatch):
    missing = tmp_path / "none"
    with pytest.raises(SegcganError, match=rf"data.images.root '{missing}' does not exist; .*SEGCGAN_DATA"):
        ready(missing)


def test_where_the_shared_images_are(root, monkeypatch, tmp_path):
    monkeypatch.setenv("SEGCGAN_DATA", str(root.parent))
    data = make(f"$SEGCGAN_DATA/{root.name}")
    assert data.root == root
    data.setup()
    assert data.cases
    monkeypatch.delenv("SEGCGAN_DATA")
    assert str(make("$SEGCGAN_DATA/x").root) == "../shared/data/x"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ELSEWHERE", "there")
    assert make("~/${ELSEWHERE}/x").root == tmp_path / "there" / "x"


def test_unknown_arguments_are_named(root):
    with pytest.raises(SegcganError) as error:
        make(root, augment={"flipp": True})
    assert str(error.value) == "data.augment.flipp is unknown; did you mean 'flip'?"
    with pytest.raises(SegcganError, match=r"data.corruption.dropp is unknown; did you mean 'drop'?"):
        make(root, corruption={"dropp": 0.5})
    assert make(root, corruption={"drop": 0.5}).corruption.drop == 0.5


def test_classes_are_at_least_two_with_names_of_their_own(root):
    with pytest.raises(SegcganError, match=r"data.classes lists 1 class\(es\); give the background and at least one"):
        SegmentationData(Images(str(root)), CLASSES[:1])
    twice = [*CLASSES, ClassSpec("thing", [1])]
    with pytest.raises(SegcganError, match=r"data.classes lists the names .*; give every class a name of its own"):
        SegmentationData(Images(str(root)), twice)


def test_loaders_before_setup(root):
    with pytest.raises(RuntimeError, match=r"setup"):
        make(root).train_dataloader()


def test_the_seed_comes_from_lightning(root, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "11")
    assert make(root).seed == 11


def test_phantoms_are_written_once(tmp_path):
    classes = [ClassSpec("background", [0]), ClassSpec("organ", [1])]
    images = Images(str(tmp_path / "ct"), phantoms="ct")
    sampling = Sampling(patch=(32, 32), context=1, batch_size=2, steps=1)
    data = SegmentationData(images, classes, sampling, Intensity(clip=[-200, 300]), boundary=4.0)
    data.prepare_data()
    data.setup()
    assert len(data.cases) == 12
    assert float(data.normalisation.low) == -200
    batch = next(iter(data.train_dataloader()))
    assert batch.image.shape == (2, 3, 32, 32)
    stamp = (tmp_path / "ct" / "phantoms.json").stat().st_mtime_ns
    data.prepare_data()
    assert (tmp_path / "ct" / "phantoms.json").stat().st_mtime_ns == stamp


def test_windows_move_and_cases_stay(root):
    data = ready(root)
    batch = next(iter(data.train_dataloader()))
    assert data.transfer_batch_to_device(batch, torch.device("meta"), 0).image.device.type == "meta"
    case = data.split("val")[0]
    assert data.transfer_batch_to_device(case, torch.device("meta"), 0) is case


def test_quarter_turns_need_square_patches(root):
    with pytest.raises(SegcganError) as error:
        make(root, sampling=Sampling(patch=(16, 32)), augment={"rotate90": True})
    said = "data.augment.rotate90 needs square patches, not [16, 32]; make data.sampling.patch square, or turn it off"
    assert str(error.value) == said


def test_column_and_layer_of_polygons_come_from_the_config(tmp_path):
    """Of two layers and two columns the config names one each; texts are names of classes."""
    pixels = np.random.default_rng(0).integers(0, 200, (1, 40, 40)).astype(np.uint8)
    place = {"crs": "EPSG:32632", "transform": rasterio.transform.Affine(1, 0, 500000, 0, -1, 5200000)}
    for index in range(4):
        for folder in ("images", "masks"):
            (tmp_path / folder).mkdir(exist_ok=True)
        with rasterio.open(
            tmp_path / f"images/s{index}.tif", "w", driver="GTiff", width=40, height=40, count=1, dtype="uint8", **place
        ) as out:
            out.write(pixels)
        squares = [shapely.box(500000 + x, 5199980, 500010 + x, 5199990) for x in (0, 20)]
        for layer in ("first", "second"):
            text = np.array(["house", "Thing" if layer == "second" else "car"], object)
            columns = [text, np.array([1, 255])]
            pyogrio.raw.write(
                tmp_path / f"masks/s{index}.gpkg", shapely.to_wkb(squares), columns, ["use", "class"],
                layer=layer, append=layer == "second", geometry_type="Polygon", crs="EPSG:32632", driver="GPKG",
            )  # fmt: skip
    classes = [ClassSpec("background"), ClassSpec("house", [5]), ClassSpec("thing", [255])]
    settings = {"label_column": "use", "label_layer": "second"}
    data = SegmentationData(Images(root=str(tmp_path), **settings), classes, Sampling(patch=(16, 16)))
    data.setup()
    for case in data.cases:
        labels = case.read_reference(case.whole)[0]
        assert (labels[15, 5], labels[15, 25], np.count_nonzero(labels)) == (1, 2, 200)
    without = SegmentationData(Images(root=str(tmp_path)), classes, Sampling(patch=(16, 16)))
    with pytest.raises(SegcganError, match="has the layers first, second; name the one to use by"):
        without.setup()
