import pickle

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from segcgan.case import IGNORE
from segcgan.data.augment import Augment
from segcgan.errors import SegcganError


def patch(channels=3, size=48, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 3, (channels, size, size)).astype(np.float32)
    valid = np.ones((1, size, size), bool)
    valid[:, :10, :20] = False
    target = np.zeros((size, size), np.uint8)
    target[12:30, 15:40] = 1
    coarse = np.stack([target == 0, target == 1]).astype(np.float32)
    return np.where(valid, image, 0), valid, target, coarse


def everything(**changes):
    return Augment(**{"flip": True, "rotate90": True, "elastic": 2.0, **changes})


@pytest.mark.parametrize("channels", [1, 3, 12, 25])
def test_shapes_and_types_for_any_number_of_channels(channels):
    image, valid, target, coarse = everything()(np.random.default_rng(1), *patch(channels))
    assert image.shape == (channels, 48, 48)
    assert image.dtype == np.float32
    assert valid.shape == (1, 48, 48)
    assert valid.dtype == bool
    assert target.shape == (48, 48)
    assert target.dtype == np.uint8
    assert coarse.shape == (2, 48, 48)
    assert coarse.dtype == np.float32
    assert all(part.flags["C_CONTIGUOUS"] for part in (image, valid, target, coarse))


def test_a_pure_function_of_the_generator_also_after_pickling():
    augment, data = everything(), patch()
    first = augment(np.random.default_rng(7), *data)
    augment(np.random.default_rng(8), *data)
    for again in (augment, pickle.loads(pickle.dumps(augment))):
        for one, two in zip(first, again(np.random.default_rng(7), *data), strict=True):
            np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first[2], augment(np.random.default_rng(8), *data)[2])


class Patches(Dataset):
    def __init__(self):
        self.augment, self.epoch = everything(), 0

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return self.augment(np.random.default_rng((0, self.epoch, index)), *patch())[0]


def test_no_repeats_over_workers_and_epochs():
    data, images = Patches(), []
    for data.epoch in range(2):
        images += [batch[0].numpy() for batch in DataLoader(data, num_workers=2)]
    assert len({image.tobytes() for image in images}) == 16
    data.epoch = 0
    np.testing.assert_array_equal(images[3], data[3])


def test_values_outside_0_and_1_survive_and_invalid_pixels_are_0():
    for seed in range(10):
        image, valid, _, _ = everything()(np.random.default_rng(seed), *patch())
        assert np.isfinite(image).all()
        assert image.min() < -3
        assert image.max() > 3
        assert not image[:, ~valid[0]].any()


@pytest.mark.parametrize("elastic", [0.0, 3.0])
def test_a_pixel_mixed_with_an_invalid_one_is_invalid(elastic):
    _, valid, target, _ = patch()
    image = np.where(valid, 1, -1000).astype(np.float32)
    augment = everything(elastic=elastic, brightness=0, contrast=0, noise=0)
    for seed in range(20):
        moved, still, labels, _ = augment(np.random.default_rng(seed), image, valid, target, None)
        assert 0 < still.mean() < 1
        np.testing.assert_allclose(moved[still], 1, atol=0.15)  # 1/32² of -1000 would be 0.98
        assert (labels[still[0]] != IGNORE).all()


def test_target_and_coarse_mask_move_with_the_image():
    _, valid, target, coarse = patch()
    image = target[None].astype(np.float32)
    augment = everything(brightness=0, contrast=0, noise=0)
    for seed in range(10):
        moved, still, labels, soft = augment(np.random.default_rng(seed), image, valid, target, coarse)
        inside = still[0]
        assert ((moved[0] > 0.5) == (labels == 1))[inside].mean() > 0.97
        np.testing.assert_array_equal(soft[1][inside], (moved[0] > 0.5)[inside])
        assert set(np.unique(soft)) <= {0, 1}
        assert set(np.unique(labels)) <= {0, 1, IGNORE}


def test_soft_coarse_masks_still_sum_to_1_inside_and_are_0_outside():
    image, valid, target, coarse = patch()
    coarse = 0.8 * coarse + 0.1
    augment = Augment(rotate=45, scale=0)
    _, still, labels, soft = augment(np.random.default_rng(3), image, valid, target, coarse)
    np.testing.assert_allclose(soft.sum(0)[still[0]], 1, atol=1e-3)
    assert soft[:, 0, 0].tolist() == [0, 0]
    assert labels[0, 0] == IGNORE


def test_nothing_on_changes_nothing_and_missing_masks_stay_missing():
    image, valid, _, _ = patch()
    augment = Augment(flip=False, rotate=0, scale=0, brightness=0, contrast=0, noise=0)
    moved, still, target, coarse = augment(np.random.default_rng(0), image, valid, None, None)
    np.testing.assert_array_equal(moved, image)
    np.testing.assert_array_equal(still, valid)
    assert target is None
    assert coarse is None


def test_elastic_is_the_displacement_in_pixels():
    ramp = np.tile(np.arange(128, dtype=np.float32), (1, 128, 1))
    augment = Augment(flip=False, rotate=0, scale=0, elastic=3, brightness=0, contrast=0, noise=0)
    everywhere = np.ones(ramp.shape, bool)
    moved = [augment(np.random.default_rng(seed), ramp, everywhere, None, None)[:2] for seed in range(20)]
    displacement = np.stack([image - ramp for image, _ in moved])[..., 40:-40, 40:-40]  # it doubles at the edges
    assert displacement.std() == pytest.approx(3, rel=0.25)


def test_shift_is_the_largest_displacement_in_pixels():
    still = {"flip": False, "rotate": 0, "scale": 0, "brightness": 0, "contrast": 0, "noise": 0}
    image, target = np.zeros((1, 40, 40), np.float32), np.zeros((40, 40), np.uint8)
    target[20, 20] = 1
    places = []
    for seed in range(200):
        augment = Augment(**still, shift=6)
        _, valid, moved, _ = augment(np.random.default_rng(seed), image, np.ones((1, 40, 40), bool), target, None)
        places.append(np.argwhere(moved == 1)[0] - 20)
        down = int(places[-1][0])
        assert not valid[0, : max(down, 0)].any()
        assert (moved[: max(down, 0)] == IGNORE).all()
    assert np.abs(places).max(0).tolist() == [6, 6]
    assert np.abs(np.mean(places, 0)).max() < 1


def test_flip_and_rotate90_give_all_eight_symmetries():
    image = np.arange(9, dtype=np.float32).reshape(1, 3, 3)
    augment = Augment(rotate90=True, rotate=0, scale=0, brightness=0, contrast=0, noise=0)
    rng = np.random.default_rng(0)
    seen = {augment(rng, image, np.ones((1, 3, 3), bool), None, None)[0].tobytes() for _ in range(100)}
    assert len(seen) == 8


def test_errors_name_the_value_and_the_cure():
    with pytest.raises(SegcganError, match=r"augment\.scale is 1\.5; it must lie between 0 and 0\.9"):
        Augment(scale=1.5)
    oblong = np.zeros((1, 4, 6), np.float32)
    with pytest.raises(SegcganError, match="needs square patches, not 4×6; make them so or turn it off"):
        everything()(np.random.default_rng(0), oblong, oblong == 0, None, None)
