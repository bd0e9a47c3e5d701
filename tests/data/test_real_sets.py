"""Real sets come in through a manifest made from what they ship."""

import csv
from collections import Counter

import numpy as np
import pytest

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
