"""Real sets come in through a manifest made from what they ship."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segcgan.case import IGNORE
from segcgan.classes import ClassSpec
from segcgan.data.manifest import open_rows, pair_by_stem, read_manifest
from segcgan.data.normalisation import fit_normalisation
from segcgan.data.patches import PatchDataset, Sampling
from segcgan.data.splits import make_folds

VENTRICLE = [ClassSpec("background", [0]), ClassSpec("ventricle", [255])]


@pytest.fixture(scope="module")
def cardiac(shared_data, tmp_path_factory):
    root = shared_data / "cardiac_mr"
    path = tmp_path_factory.mktemp("manifest") / "cardiac.csv"
    with (root / "splits.csv").open(newline="") as source, path.open("w", newline="") as stream:
        rows = list(csv.DictReader(source))
        writer = csv.DictWriter(stream, ["image", "mask", "group", "split"])
        writer.writeheader()
        writer.writerows(row | {"mask": row["image"].replace("images/", "masks/")} for row in rows)
    return open_rows(read_manifest(path, root), VENTRICLE, [1, 1.37, 1.37], "mm", "canonical")


def test_cardiac_pairs(cardiac):
    assert Counter(case.split for case in cardiac) == {"train": 205, "val": 55, "test": 150}
    patients = {split: {c.group for c in cardiac if c.split == split} for split in ("train", "val", "test")}
    assert {split: len(found) for split, found in patients.items()} == {"train": 12, "val": 3, "test": 8}
    areas = []
    for case in cardiac[::10]:
        assert case.shape == (1, 256, 256)
        assert case.geometry.spacing == (1, 1.37, 1.37)
        image, valid = case.read(case.whole)
        labels = case.read_reference(case.whole)
        assert image.shape == (1, 1, 256, 256)
        assert valid.all()
        assert set(np.unique(labels)) <= {0, 1}
        areas.append(labels.mean())
    assert 0.003 < np.mean(areas) < 0.1  # a ventricle fills a few percent of the picture


def test_cardiac_windows_train(cardiac):
    cases = [case for case in cardiac if case.split == "train"]
    folds = make_folds(cases, 2, (3, 64))
    assert not {c.group for c in folds[0].train} & {c.group for c in folds[0].held_out}
    normalisation = fit_normalisation(cases, None, [0.5, 99.5], 0)
    assert 10 < float(normalisation.mean) < 150
    data = PatchDataset(cases, Sampling((96, 96), spacing=(2.0, 2.0), foreground=1.0), normalisation)
    windows = [data[0, index] for index in range(4)]
    assert all((window.target == 1).any() for window in windows)
    assert all(window.image.abs().max() < 10 for window in windows)


def test_cardiac_folders_pair_without_a_manifest(shared_data):
    rows = pair_by_stem(shared_data / "cardiac_mr")
    assert Counter(row.split for row in rows) == {"train": 260, "test": 150}
    assert all(row.image.name == row.mask.name for row in rows)


def test_water_chips_with_missing_elevation(shared_data):
    root = shared_data / "water_multispectral"
    rows = pair_by_stem(root)
    assert len(rows) == 56
    classes = [ClassSpec("land", [0]), ClassSpec("water", [1])]
    for case in open_rows(rows, classes, None, "mm", "canonical")[::8]:
        assert case.shape == (1, 128, 128)
        assert case.channels == 12
        assert set(np.unique(case.read_reference(case.whole))) <= {0, 1}


def test_buildings_as_polygons_and_a_southern_quarter(shared_data, tmp_path):
    root = shared_data / "aerial_buildings"
    (vector,) = (root / "train").rglob("*.geojson")
    lines = ["image,mask,window,split,case"]
    for window, split in (("0:1536,:", "train"), ("1536:2048,:", "val")):
        lines.append(f'train/images/kampala_west.tif,{vector.relative_to(root)},"{window}",{split},west_{split}')
    path = tmp_path / "m.csv"
    path.write_text("\n".join(lines))
    classes = [ClassSpec("background", [0]), ClassSpec("building", [1])]
    north, south = open_rows(read_manifest(path, root), classes, None, "mm", "canonical")
    assert (north.shape, south.shape, south.start) == ((1, 1536, 2048), (1, 512, 2048), (0, 1536, 0))
    assert north.group == south.group
    for case in (north, south):
        labels = case.read_reference(case.whole)
        assert set(np.unique(labels)) == {0, 1}
        assert 0.01 < (labels == 1).mean() < 0.6
    assert (south.read_reference((slice(0, 1), slice(-8, 0), slice(0, 9))) == IGNORE).all()


MANIFESTS = Path(__file__).parents[2] / "configs" / "manifests"


def open_set(shared_data, name, what):
    root = shared_data / name
    classes = [ClassSpec("background", [0]), ClassSpec(what, [1])]
    return open_rows(read_manifest(MANIFESTS / f"{name}.csv", root), classes, None, "px", "canonical")


def as_given(case):
    """Return the split of a case before some of the validation cases were kept for temperatures."""
    return "val" if case.split == "calibrate" else case.split


def given_splits(shared_data, name, key):
    with (shared_data / name / "splits.csv").open(newline="") as stream:
        return {row[key]: row["split"] for row in csv.DictReader(stream)}


def test_lung_nodules_keep_the_given_patients_and_all_four_raters(shared_data):
    cases = open_set(shared_data, "lung_nodule_raters", "nodule")
    found = {case.group: as_given(case) for case in cases}
    assert found == given_splits(shared_data, "lung_nodule_raters", "patient")
    assert Counter(case.split for case in cases) == {"train": 1232, "val": 100, "calibrate": 39, "test": 424}
    with np.load(shared_data / "lung_nodule_raters" / "middle_slices.npz") as stored:
        places = {name: index for index, name in enumerate(stored["ids"])}
        images, bits, patients = stored["images"], stored["rater_bits"], stored["patients"]
    for case in cases[::7]:
        index = places[case.name]
        raters = case.read_raters(case.whole)
        assert patients[index] == case.group
        np.testing.assert_array_equal(case.read(case.whole)[0][0, 0], images[index])
        np.testing.assert_array_equal(raters[:, 0], np.stack([bits[index] >> bit & 1 for bit in range(4)]))
        np.testing.assert_array_equal(case.read_reference(case.whole), raters.sum(0) >= 2)


def test_lung_windows_show_nodules_off_centre_and_every_rater(shared_data):
    cases = [case for case in open_set(shared_data, "lung_nodule_raters", "nodule") if case.split == "train"][:60]
    data = PatchDataset(cases, Sampling((96, 96), foreground=0.6), fit_normalisation(cases, None, [0.5, 99.5], 0))
    targets = [data[0, index].target[0].numpy() for index in range(300)]
    centres = np.array([np.argwhere(target == 1).mean(0) for target in targets if (target == 1).any()])
    assert 0.3 < len(centres) / 300 < 0.95  # somebody saw nothing there, and was drawn
    assert (centres.std(0) > 6).all()  # of the 16 pixels on either side that 96 in 128 leave
    assert (np.abs(centres.mean(0) - 48) < 4).all()
    same = [data[0, index].target[0].numpy() for index in range(0, 300, 50)]
    assert all((a == b).all() for a, b in zip(same, targets[::50], strict=True))


def test_nuclei_lose_their_numbers_and_alpha_but_no_pixel(shared_data):
    cases = open_set(shared_data, "nuclei", "nucleus")
    with (shared_data / "nuclei" / "splits.csv").open(newline="") as stream:
        given = {row["image"]: (row["group"], row["split"]) for row in csv.DictReader(stream)}
    assert {case.path.name: (case.group, as_given(case)) for case in cases} == given
    places = {(case.group, case.split) for case in cases}
    assert len({group for group, _ in places}) == len(places)  # what continues one another stays together
    for case in cases:
        with Image.open(shared_data / "nuclei" / "instances" / case.path.name) as picture:
            instances = np.asarray(picture)
        np.testing.assert_array_equal(case.read_reference(case.whole)[0], instances > 0)
        assert case.channels == 3
    assert all(case.read(case.whole)[1].all() for case in cases[::9])  # the alpha channel hides nothing


def test_nucleus_255_and_300_are_nuclei(tmp_path):
    numbers = np.array([[0, 1, 255], [256, 300, 65535]], np.uint16)
    Image.fromarray(numbers).save(tmp_path / "numbers.png")
    Image.fromarray(np.zeros((2, 3), np.uint8)).save(tmp_path / "image.png")
    with (MANIFESTS / "nuclei.csv").open(newline="") as stream:
        labels = {row["labels"] for row in csv.DictReader(stream)}
    assert len(labels) == 1
    (tmp_path / "m.csv").write_text(f"image,mask,labels\nimage.png,numbers.png,{labels.pop()}\n")
    classes = [ClassSpec("background", [0]), ClassSpec("nucleus", [1])]
    (case,) = open_rows(read_manifest(tmp_path / "m.csv", tmp_path), classes, None, "px", "canonical")
    np.testing.assert_array_equal(case.read_reference(case.whole)[0], numbers > 0)


def test_water_uses_seven_bands_and_the_given_chips(shared_data):
    cases = [case.with_bands(list(range(1, 8))) for case in open_set(shared_data, "water_multispectral", "water")]
    assert {case.path.name: case.split for case in cases} == given_splits(shared_data, "water_multispectral", "image")
    for case in cases:
        image, valid = case.read(case.whole)
        assert image.shape == (7, 1, 128, 128)
        assert valid.all()  # the missing elevation of chip 210 is in a band that is not used
        with Image.open(shared_data / "water_multispectral" / "masks" / f"{case.path.stem}.png") as mask:
            np.testing.assert_array_equal(case.read_reference(case.whole)[0], np.asarray(mask))
