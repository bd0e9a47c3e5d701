"""Training windows: a pure function of (seed, epoch, index), and right at every edge."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from segcgan.batch import collate
from segcgan.case import IGNORE
from segcgan.data.augment import Augment
from segcgan.data.corruptions import Corruption
from segcgan.data.normalisation import Normalisation
from segcgan.data.patches import EpochSampler, PatchDataset, Sampling, harden, network_input, planes


def plain(channels=1):
    """A normalisation that changes nothing."""
    fitted = Normalisation(channels)
    fitted.low.fill_(-1e9)
    fitted.high.fill_(1e9)
    return fitted


def disc(shape=(1, 64, 80), centre=(30, 40), radius=9):
    y, x = np.ogrid[: shape[1], : shape[2]]
    inside = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2
    return np.broadcast_to(inside, shape).astype(np.uint8)


@pytest.fixture
def cases(make_case):
    rng = np.random.default_rng(0)
    return [
        make_case(rng.normal(size=(1, 1, 64, 80)), labels=disc(centre=(20 + 5 * i, 30)), name=f"c{i}")
        for i in range(3)
    ]


def dataset(cases, patch=(32, 32), channels=1, augment=None, corruption=None, seed=0, corrupted=0.5, **sampling):
    return PatchDataset(
        cases,
        Sampling(patch=patch, **sampling),
        plain(channels),
        augment=augment,
        corruption=corruption,
        corrupted=corrupted,
        seed=seed,
    )


def same(first, second):
    pairs = [(getattr(first, name), getattr(second, name)) for name in vars(first)]
    return all(torch.equal(a, b) if a is not None else b is None for a, b in pairs)


def loaded(cases, workers, world=1, epoch=3, count=8, batch=2):
    """Windows of an epoch by index, as ``world`` processes with ``workers`` loaders each see them."""
    found = {}
    for rank in range(world):
        sampler = EpochSampler(count, rank, world)
        sampler.set_epoch(epoch)
        data = dataset(cases, augment=Augment(), corruption=Corruption(), foreground=0.5)
        loader = DataLoader(data, batch_size=batch, sampler=sampler, num_workers=workers, collate_fn=collate)
        keys = [int(key) for part in loader for key in part.key]
        batches = list(loader)
        assert keys == [int(key) for part in batches for key in part.key]  # also on a second pass
        for place, index in enumerate(range(rank, count, world)):
            whole = batches[place // batch]
            found[index] = type(whole)(**{n: v[place % batch][None] for n, v in vars(whole).items()})
    return [found[index] for index in range(count)]


def test_workers_and_processes_do_not_change_a_window(cases):
    alone = loaded(cases, workers=0)
    for other in (loaded(cases, workers=2), loaded(cases, workers=0, world=2)):
        assert all(same(a, b) for a, b in zip(alone, other, strict=True))
    assert len({int(window.key) for window in alone}) == len(alone)


def test_seed_epoch_and_index_all_matter(cases):
    data = dataset(cases, augment=Augment())
    here = data[2, 5]
    assert same(here, data[2, 5])
    assert same(here, dataset(cases, augment=Augment())[2, 5])  # and not what was asked before
    for other in (data[2, 6], data[3, 5], dataset(cases, augment=Augment(), seed=1)[2, 5]):
        assert not torch.equal(here.image, other.image)


def test_every_case_gets_its_turn(make_case):
    cases = [make_case(np.full((1, 1, 8, 8), i), labels=disc((1, 8, 8)), name=f"c{i}") for i in range(5)]
    data = dataset(cases, patch=(8, 8))
    for epoch in (0, 1):
        seen = [int(data[epoch, index].image[0, 0, 0, 0]) for index in range(15)]
        assert all(sorted(seen[i : i + 5]) == [0, 1, 2, 3, 4] for i in (0, 5, 10))
        assert seen[:5] != seen[5:10] or seen[5:10] != seen[10:]


def test_the_epoch_sampler_deals_in_turns():
    whole = EpochSampler(7)
    parts = [EpochSampler(7, rank, 2) for rank in (0, 1)]
    for sampler in (whole, *parts):
        sampler.set_epoch(4)
    first, second = (list(part) for part in parts)
    assert first == [(4, 0), (4, 2), (4, 4), (4, 6)]
    assert second == [(4, 1), (4, 3), (4, 5)]
    assert sorted(first + second) == list(whole)
    assert [len(part) for part in parts] == [4, 3]


def test_shapes_and_kinds(cases):
    window = dataset(cases, corruption=Corruption())[0, 0]
    assert window.image.shape == (1, 1, 32, 32)
    assert window.valid.shape == (1, 1, 32, 32)
    assert window.target.shape == (1, 32, 32)
    assert window.coarse.shape == (1, 2, 32, 32)
    assert (window.image.dtype, window.valid.dtype, window.target.dtype) == (torch.float32, torch.bool, torch.int64)
    assert (window.spacing.shape, window.origin.shape, window.key.shape) == ((1, 2), (1, 2), (1,))
    assert dataset(cases)[0, 0].coarse is None


def test_a_small_case_sits_in_the_middle(make_case):
    case = make_case(np.full((1, 1, 5, 40), 3.0), labels=disc((1, 5, 40), (2, 20), 2))
    window = dataset([case], patch=(16, 16))[0, 0]
    inside = torch.zeros(16, 16, dtype=torch.bool)
    inside[6:11] = True  # (16 - 5) // 2, rounded as prediction rounds
    assert torch.equal(window.valid[0, 0], inside)
    assert torch.equal(window.image[0, 0], 3.0 * inside)
    assert ((window.target[0] == IGNORE) == ~inside).all()
    assert torch.equal(window.scored[0], inside)


def test_invalid_pixels_are_zero_and_do_not_score(make_case):
    valid = np.ones((1, 1, 32, 32), bool)
    valid[..., 10:20, 5:25] = False
    case = make_case(np.full((1, 1, 32, 32), 7.0), valid=valid, labels=disc((1, 32, 32), (16, 16)))
    for augment in (None, Augment()):
        window = dataset([case], augment=augment, corruption=Corruption())[0, 1]
        out = ~window.valid[0, 0]
        assert out.sum() >= 150
        assert (window.image[0, 0][out] == 0).all()
        assert (window.coarse[0][:, out] == 0).all()
        assert not window.scored[0][out].any()
        assert (window.coarse[0].sum(0)[~out] - 1).abs().max() < 1e-5


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0.0, 0.15), (0.5, 0.35, 0.7), (1.0, 1.0, 1.0)])
def test_share_of_windows_with_foreground(make_case, share, low, high):
    labels = np.zeros((1, 256, 256), np.uint8)
    labels[0, 3, 3] = labels[0, 200, 250] = 1  # beside the edge as well
    data = dataset([make_case(np.zeros((1, 1, 256, 256)), labels=labels)], patch=(16, 16), foreground=share)
    hits = np.mean([bool((data[0, i].target == 1).any()) for i in range(100)])
    assert low <= hits <= high


def test_windows_lie_inside_and_reach_every_corner(make_case):
    y, x = np.mgrid[:40, :50]
    case = make_case(np.stack([y, x])[:, None], labels=disc((1, 40, 50)))
    data = dataset([case], patch=(16, 16), channels=2)
    windows = [data[0, i] for i in range(300)]
    assert all(window.valid.all() for window in windows)
    corners = np.array([window.image[0, :, 0, 0].tolist() for window in windows])
    np.testing.assert_array_equal(corners.min(0), [0, 0])
    np.testing.assert_array_equal(corners.max(0), [24, 34])


def test_windows_around_foreground_start_evenly_and_keep_it_in_their_middle_half(make_case):
    x = np.broadcast_to(np.arange(60.0), (1, 1, 60, 60))
    labels = np.zeros((1, 60, 60), np.uint8)
    labels[0, 20, 10] = 1
    data = dataset([make_case(x, labels=labels)], patch=(32, 32), foreground=1.0)
    starts = np.array([int(data[0, i].image[0, 0, 0, 0]) for i in range(600)])
    assert set(starts) == {0, 1, 2}  # 10 - 8 is the last that keeps 8 pixels on its left; none lies outside
    assert np.bincount(starts).min() > 150


def test_every_slice_and_class_is_found(make_case):
    labels = np.zeros((6, 24, 24), np.uint8)
    labels[2, 5, 5], labels[4, 20, 20] = 1, 2
    pixels = np.broadcast_to(np.arange(6.0)[None, :, None, None], (1, 6, 24, 24))
    case = make_case(pixels, labels=labels)
    data = PatchDataset([case], Sampling((8, 8), foreground=1.0), plain(), classes=3)
    found = {(int(w.image.max()), int(w.target.max())) for w in (data[0, i] for i in range(30))}
    assert found == {(2, 1), (4, 2)}


def test_context_order_and_the_end_of_the_stack(make_case):
    pixels = np.zeros((2, 4, 8, 8))
    pixels += 1 + np.arange(4)[None, :, None, None] + 10 * np.arange(2)[:, None, None, None]
    labels = np.zeros((4, 8, 8), np.uint8)
    case = make_case(pixels, labels=labels)
    data = dataset([case], patch=(8, 8), channels=2, context=1)
    seen = {tuple(data[0, i].image[0, :, 4, 4].tolist()) for i in range(60)}
    assert seen == {
        (0, 1, 2, 0, 11, 12),  # channel by channel; within a channel below, here, above; 0 outside
        (1, 2, 3, 11, 12, 13),
        (2, 3, 4, 12, 13, 14),
        (3, 4, 0, 13, 14, 0),
    }
    assert all(data[0, i].valid.all() for i in range(10))  # the middle slice decides


def test_planes():
    rows, columns = slice(2, 5), slice(0, 4)
    assert planes(7, rows, columns, 2) == (slice(5, 10), rows, columns)


def test_resampling_to_a_spacing(make_case):
    y, x = np.mgrid[:120, :120].astype(float)
    case = make_case(np.stack([y, x])[:, None], labels=disc((1, 120, 120), (60, 60), 30), spacing=(1.0, 0.5, 2.0))
    sampling = Sampling(patch=(32, 32), spacing=(1.0, 1.0))
    assert sampling.extent(case) == (64, 16)
    window = PatchDataset([case], sampling, plain(2), corruption=Corruption())[0, 0]
    assert window.image.shape == (1, 2, 32, 32)
    assert window.coarse.shape == (1, 2, 32, 32)
    assert window.target.shape == (1, 32, 32)
    assert window.spacing.tolist() == [[1, 1]]
    steps = window.image[0, :, 8:24, 8:24]
    np.testing.assert_allclose(torch.diff(steps[0], dim=0), 2, atol=1e-3)  # two stored rows a pixel
    np.testing.assert_allclose(torch.diff(steps[1], dim=1), 0.5, atol=1e-3)


def test_labels_stay_labels_and_on_their_image_when_resampled(make_case):
    labels = disc((1, 120, 120), (60, 60), 40) * 2
    labels[0, :, :10] = IGNORE
    case = make_case(labels[None].astype(float), labels=labels, spacing=(1, 1, 1))
    data = PatchDataset([case], Sampling((48, 48), spacing=(2.5, 2.5)), plain(), classes=3)
    window = data[0, 0]
    assert set(window.target.unique().tolist()) == {0, 2, IGNORE}
    known = (window.target[0] != IGNORE) & (window.image[0, 0] < 3)
    seen, drawn = ((mask & known).nonzero().float().mean(0) for mask in (window.image[0, 0] > 1, window.target[0] == 2))
    assert (seen - drawn).abs().max() < 0.1  # plain "nearest" would be off by 0.3 pixels


def test_resampling_shrinks_validity_rather_than_mix_in_what_is_invalid():
    image = np.full((1, 1, 40, 40), 5, np.float32)
    valid = np.ones((1, 1, 40, 40), bool)
    valid[..., :13] = False
    pixels, mask = network_input(np.where(valid, image, 0), valid, plain(), (16, 16))
    assert mask.shape == (1, 16, 16)
    np.testing.assert_allclose(pixels[0][mask[0]], 5, atol=0.01)
    assert (pixels[0][~mask[0]] == 0).all()
    assert 0.5 < mask.float().mean() < 27 / 40


def test_harden():
    soft = torch.tensor([[[0.6, 0.2, 0.0]], [[0.4, 0.5, 0.0]], [[0.0, 0.3, 0.0]]])
    assert harden(soft).tolist() == [[[1, 0, 0]], [[0, 1, 0]], [[0, 0, 0]]]


def test_about_half_of_the_coarse_masks_are_hardened(cases):
    data = dataset(cases, corruption=Corruption(), foreground=1.0)
    coarse = [data[0, i].coarse for i in range(100)]
    hard = np.mean([bool(((c == 0) | (c == 1)).all()) for c in coarse])
    assert 0.35 < hard < 0.65


@pytest.mark.parametrize(("corrupted", "low", "high"), [(0.0, 1.0, 1.0), (0.5, 0.35, 0.65), (1.0, 0.0, 0.0)])
def test_a_case_s_own_coarse_mask_is_mixed_with_corruptions(make_case, corrupted, low, high):
    own = np.zeros((2, 1, 32, 32), np.float32)
    own[0], own[1] = 0.25, 0.75  # of a kind that no corruption makes
    case = make_case(np.zeros((1, 1, 32, 32)), labels=disc((1, 32, 32), (16, 16)), coarse=own)
    data = dataset([case], corruption=Corruption(), corrupted=corrupted)
    mine = np.mean([bool((data[0, i].coarse.argmax(1) == 1).all()) for i in range(100)])
    assert low <= mine <= high


def test_without_a_coarse_mask_all_are_corruptions(cases):
    data = dataset(cases, corruption=Corruption(), corrupted=0.0)
    windows = [data[0, i] for i in range(12)]
    assert all(window.coarse is not None for window in windows)
    assert any((window.coarse.argmax(1) != window.target).any() for window in windows)


def test_the_coarse_mask_moves_with_the_image(make_case):
    labels = disc((1, 48, 48), (18, 30), 11)
    own = np.stack([1 - labels, labels]).astype(np.float32)
    case = make_case(labels[None].astype(float), labels=labels, coarse=own)
    turn = Augment(rotate=40, scale=0.2, brightness=0, contrast=0, noise=0)
    window = dataset([case], (48, 48), augment=turn, corruption=Corruption(), corrupted=0.0, foreground=0)[1, 0]
    here = window.valid[0, 0]
    assert not torch.equal(window.target[0], torch.from_numpy(labels[0]).long())
    for found in (window.coarse[0, 1] > 0.5, window.image[0, 0] > 0.5):
        assert (found == (window.target[0] == 1))[here].float().mean() > 0.99
