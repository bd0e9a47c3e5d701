"""Several raters in one file: bits, majority, one of them per training step; and bands."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from segcgan.batch import collate
from segcgan.classes import ClassSpec
from segcgan.data.corruptions import Corruption
from segcgan.data.labels import rater_bits
from segcgan.data.manifest import open_rows, read_manifest
from segcgan.data.normalisation import Normalisation
from segcgan.data.patches import EpochSampler, PatchDataset, Sampling
from segcgan.errors import SegcganError

CLASSES = [ClassSpec("background", [0]), ClassSpec("nodule", [1])]


@pytest.fixture
def case(tmp_path):
    bits = np.zeros((1, 40, 40), np.uint8)
    bits[0, 10:20, 10:20] |= 1  # rater 0
    bits[0, 10:16, 10:20] |= 2  # rater 1
    bits[0, 10:13, 10:20] |= 4  # rater 2; rater 3 drew nothing
    np.savez(tmp_path / "s.npz", images=np.full((1, 40, 40), 9, np.uint8), bits=bits)
    (tmp_path / "m.csv").write_text(
        "case,image,mask,labels,split\na,s.npz#images/0,s.npz#bits/0,nodule=bit0|bit1|bit2|bit3,train\n"
    )
    return open_rows(read_manifest(tmp_path / "m.csv", tmp_path), CLASSES, None, "px", "canonical")[0]


def test_an_empty_mask_is_an_answer_and_half_is_a_majority(case):
    raters = case.read_raters(case.whole)
    assert raters.shape == (4, 1, 40, 40)
    assert raters.sum((1, 2, 3)).tolist() == [100, 60, 30, 0]
    assert case.read_reference(case.whole).sum() == 60  # two of four
    assert (case.read_raters((slice(0, 1), slice(-2, 3), slice(0, 3)))[:, 0, 0] == 255).all()


def test_one_rater_is_drawn_per_step_and_always_the_same(case):
    dataset = PatchDataset([case], Sampling(patch=(40, 40), foreground=0.0), Normalisation(1))
    areas = [int((dataset[0, index].target == 1).sum()) for index in range(60)]
    assert set(areas) == {100, 60, 30, 0}
    assert areas == [int((dataset[0, index].target == 1).sum()) for index in range(60)]
    assert areas != [int((dataset[1, index].target == 1).sum()) for index in range(60)]


def test_windows_say_that_there_are_several_raters(case):
    dataset = PatchDataset([case], Sampling(patch=(40, 40)), Normalisation(1))
    assert collate([dataset[0, index] for index in range(3)]).several.tolist() == [True] * 3


def test_an_object_is_not_always_in_the_middle(case):
    dataset = PatchDataset([case], Sampling(patch=(24, 24), foreground=1.0), Normalisation(1))
    rows = []
    for index in range(80):
        found = np.argwhere(dataset[0, index].target[0].numpy() == 1)
        if len(found):
            rows.append(found[:, 0].mean())
    assert np.std(rows) > 2


@pytest.mark.parametrize("labels", ["nodule=bit0|1", "nodul=bit0|bit1", "nodule=bit0;background=bit1"])
def test_bits_that_make_no_sense(labels, tmp_path):
    with pytest.raises(SegcganError, match="should give each rater a bit of one class; write CLASS=bit0"):
        rater_bits(labels, CLASSES, tmp_path)


@pytest.mark.parametrize("labels", ["nodule=bit0|bit0", "nodule=bit31"])
def test_bits_that_two_share_or_nobody_can_have(labels, tmp_path):
    with pytest.raises(SegcganError, match="give every rater a bit of its own, 0 to 30"):
        rater_bits(labels, CLASSES, tmp_path)


def test_raters_go_with_a_coarse_mask_from_elsewhere(case, tmp_path):
    mask = np.zeros((40, 40), np.uint8)
    mask[5:9] = 1
    Image.fromarray(mask).save(tmp_path / "coarse.png")
    lines = (tmp_path / "m.csv").read_text().splitlines()
    (tmp_path / "m.csv").write_text(f"{lines[0]},coarse\n{lines[1]},coarse.png\n")
    (case,) = open_rows(read_manifest(tmp_path / "m.csv", tmp_path), CLASSES, None, "px", "canonical")
    np.testing.assert_array_equal(case.read_coarse(case.whole)[1, 0], mask)


def test_loader_processes_see_what_one_process_sees(case):
    dataset = PatchDataset([case], Sampling(patch=(24, 24)), Normalisation(1))
    alone, shared = (
        [batch.target for batch in DataLoader(dataset, 4, sampler=EpochSampler(16), num_workers=n, collate_fn=collate)]
        for n in (0, 2)
    )
    assert len(alone) == 4
    assert all(torch.equal(a, b) for a, b in zip(alone, shared, strict=True))


def test_bands_are_chosen_in_order(tmp_path):
    image = np.arange(4, dtype=np.float32) * np.ones((1, 6, 6, 1), np.float32)
    np.savez(tmp_path / "s.npz", images=image, masks=np.zeros((1, 6, 6), np.uint8))
    (tmp_path / "m.csv").write_text("image,mask\ns.npz#images/0,s.npz#masks/0\n")
    (case,) = open_rows(read_manifest(tmp_path / "m.csv", tmp_path), CLASSES, None, "px", "canonical")
    chosen = case.with_bands([3, 1])
    assert chosen.channels == 2
    assert chosen.read(chosen.whole)[0][:, 0, 0, 0].tolist() == [2, 0]
    for bands, said in (([5], "names band 5, but"), ([0], "names band 0, but"), ([], "names no band, but")):
        with pytest.raises(SegcganError, match=f"data.images.bands {said} .* has bands 1 to 4"):
            case.with_bands(bands)


def test_a_corrupted_coarse_mask_is_of_all_raters_and_gives_none_away(case):
    """It says what share of the raters says, as a segmenter would, whoever of them is the target."""
    dataset = PatchDataset(
        [case], Sampling(patch=(40, 40), foreground=0.0), Normalisation(1), corruption=Corruption(), corrupted=1.0
    )
    drawn = [dataset[0, index] for index in range(120)]
    areas = [int((batch.target == 1).sum()) for batch in drawn]
    shown = [float(batch.coarse[0, 1].sum()) for batch in drawn]
    assert len(set(areas)) == 4
    assert abs(np.corrcoef(areas, shown)[0, 1]) < 0.25
    soft = [batch.coarse[0, 1].numpy() for batch in drawn if ((batch.coarse > 0.2) & (batch.coarse < 0.8)).any()]
    assert 30 < len(soft) < 90  # the others are hardened: the majority
    three, one = (np.mean([mask[rows, 12:18].mean() for mask in soft]) for rows in (slice(11, 12), slice(18, 19)))
    assert 0.5 < three < 0.8
    assert 0.1 < one < 0.4


def test_the_level_of_a_coarse_mask_does_not_say_how_many_raters_marked_a_pixel(case):
    """Their plain mean did, exactly: 0.25, 0.5 or 0.75 of four raters (R² = 1)."""
    quiet = Corruption(boundary=0, soften=0, drop=0, add=0, lowres=0)
    sampling = Sampling(patch=(40, 40), foreground=0.0)
    dataset = PatchDataset([case], sampling, Normalisation(1), corruption=quiet, corrupted=1.0)
    drawn = [dataset[0, index].coarse[0, 1].numpy() for index in range(200)]
    places = {0.75: (11, 15), 0.5: (14, 15), 0.25: (18, 15)}  # share of the raters → a pixel they marked
    levels = np.array([[mask[place] for place in places.values()] for mask in drawn])
    soft = levels[((levels > 0) & (levels < 1)).any(1)]  # the others are hardened
    assert 60 < len(soft) < 140
    np.testing.assert_allclose(soft.mean(0), [*places], atol=0.06)  # right on average
    shares = np.broadcast_to(np.array([*places]), soft.shape)
    assert np.corrcoef(shares.ravel(), soft.ravel())[0, 1] ** 2 < 0.6
    assert (soft[:, 2] > 0.5).mean() > 0.05  # one rater of four may weigh more than half
    assert (soft[:, 0] < 0.5).mean() > 0.05
    again = PatchDataset([case], sampling, Normalisation(1), corruption=quiet, corrupted=1.0)
    np.testing.assert_array_equal(again[0, 7].coarse[0, 1].numpy(), drawn[7])


def test_weights_of_raters_change_no_other_draw(case):
    """Window, target, key and augmentation are those of before; only the coarse mask differs."""
    sampling = Sampling(patch=(24, 24))
    plain = PatchDataset([case], sampling, Normalisation(1), corruption=Corruption(), corrupted=1.0)
    for index in range(10):
        rng = np.random.default_rng([0, 0, index])
        _, rows, columns = plain._place(rng, case)
        raters = case.read_raters((slice(0, 1), rows, columns))
        target = raters[rng.integers(4)][0]
        for rater in raters:
            Corruption()(rng, rater[0], 2)
        rng.random()  # hardened or not
        batch = plain[0, index]
        np.testing.assert_array_equal(batch.target[0].numpy(), target)
        assert batch.key.item() == rng.integers(2**62, size=1)[0]
