import time

import numpy as np
import pytest
from PIL import Image

from segcgan.case import IGNORE
from segcgan.data.corruptions import Corruption, _smooth_noise
from segcgan.errors import SegcganError


def disc(size=128, radius=30):
    y, x = np.mgrid[:size, :size]
    return ((x - size / 2) ** 2 + (y - size / 2) ** 2 < radius**2).astype(np.uint8)


def dice(one, two):
    return 2 * np.logical_and(one, two).sum() / max(one.sum() + two.sum(), 1)


def test_probabilities_for_any_number_of_classes():
    target = disc() * 2
    target[50:70, 50:70] = 3
    target[:5] = IGNORE
    before = target.copy()
    for seed in range(20):
        probability = Corruption(lowres=0.5)(np.random.default_rng(seed), target, 5)
        assert probability.shape == (5, 128, 128)
        assert probability.dtype == np.float32
        assert (probability >= 0).all()
        np.testing.assert_allclose(probability.sum(0), 1, atol=1e-5)
    np.testing.assert_array_equal(target, before)


def test_deterministic_under_the_generator():
    one, two, other = (Corruption()(np.random.default_rng(seed), disc(), 2) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


def test_errors_are_light_and_heavy_and_go_both_ways():
    target, rng = disc(), np.random.default_rng(0)
    coarse = [Corruption(drop=0)(rng, target, 2).argmax(0) for _ in range(150)]
    scores = np.array([dice(mask, target) for mask in coarse])
    assert 0.85 < scores.mean() < 0.98
    assert scores.min() < 0.85
    assert scores.max() > 0.98
    sizes = np.array([mask.sum() for mask in coarse]) / target.sum()
    assert (sizes < 0.97).mean() > 0.15
    assert (sizes > 1.03).mean() > 0.15
    both = [(mask & ~target).sum() > 20 and (target & ~mask).sum() > 20 for mask in coarse]
    assert np.mean(both) > 0.2  # too large here and too small there in one mask


def test_dice_on_real_hearts(shared_data):
    files = sorted((shared_data / "cardiac_mr" / "train" / "masks").glob("*.png"))[::3]
    rng, scores = np.random.default_rng(0), []
    for file in files:
        target = (np.asarray(Image.open(file).convert("L")) > 127).astype(np.uint8)
        scores.append(dice(Corruption()(rng, target, 2).argmax(0), target))
    assert 0.6 < np.mean(scores) < 0.95


def test_boundary_is_the_displacement_in_pixels():
    target, rng = np.zeros((200, 200), np.uint8), np.random.default_rng(0)
    target[:, 100:] = 1
    corruption = Corruption(drop=0, add=0, lowres=0, soften=0)
    moved = np.concatenate([corruption(rng, target, 2)[1].sum(1) - 100 for _ in range(60)])
    assert moved.std() == pytest.approx(3 * np.sqrt(4 / 3), rel=0.25)  # E[severity²] = 4/3


def iou(corruption, target, count=60, classes=2, index=1):
    """Intersection over union of a class and its corruptions."""
    drawn = [corruption(np.random.default_rng(seed), target, classes).argmax(0) == index for seed in range(count)]
    return np.array([(mask & (target == index)).sum() / (mask | (target == index)).sum() for mask in drawn])


FIXED = {"drop": 0, "add": 0, "share": 1e9}  # a boundary error of the same size, whatever the object


def test_a_small_object_has_boundary_errors_and_is_not_lost():
    """Errors of 3 px on a radius of 4 px left a mean IoU of 0.45, and nothing at all of one disc in twelve."""
    small = disc(96, 4)
    found, fixed = iou(Corruption(drop=0, add=0), small), iou(Corruption(**FIXED), small)
    assert fixed.mean() < 0.5
    assert found.mean() > 0.7
    assert found.min() > 0
    assert found.mean() == pytest.approx(iou(Corruption(drop=0, add=0), disc(96, 12)).mean(), abs=0.1)
    assert found.std() > 0.08  # light and heavy


@pytest.mark.parametrize("radius", [14, 30])
def test_a_large_object_has_the_errors_it_had(radius):
    for seed in range(12):
        one, other = (
            Corruption(**more)(np.random.default_rng(seed), disc(radius=radius), 2)
            for more in ({"add": 0}, {"add": 0, "share": 1e9})
        )
        np.testing.assert_array_equal(one, other)


def test_a_road_is_as_small_as_it_is_narrow():
    road = np.zeros((96, 96), np.uint8)
    road[:, 46:50] = 1
    assert iou(Corruption(**FIXED), road).mean() < 0.5
    assert iou(Corruption(drop=0, add=0), road).mean() > 0.6


def test_objects_of_one_mask_have_errors_of_their_own_size():
    target, from_middle = disc(128, 45), np.hypot(*(np.mgrid[:128, :128] - 64.0))
    target[4:11, 4:11] = 1
    target[60:67, 60:67] = 2  # a class inside another
    rim, corner = abs(from_middle - 45) < 8, np.indices(target.shape).max(0) < 22
    lost, inner = [], target == 2
    for seed in range(30):
        scaled = Corruption(drop=0, add=0, lowres=0)(np.random.default_rng(seed), target, 3)
        fixed = Corruption(**FIXED, lowres=0)(np.random.default_rng(seed), target, 3)
        np.testing.assert_array_equal(scaled[:, rim], fixed[:, rim])
        for mask in (scaled.argmax(0), fixed.argmax(0)):
            lost.append([(mask != target)[corner].sum() / 49, (mask != target)[from_middle < 20].sum() / inner.sum()])
    by_kind = np.array(lost).reshape(30, 2, 2).mean(0)  # (scaled or fixed, corner or inner object)
    assert (by_kind[0] < 0.5).all()
    assert (by_kind[1] > 2 * by_kind[0]).all()


def test_drop_and_add_change_components_only_when_asked():
    from scipy import ndimage

    target = np.zeros((128, 128), np.uint8)
    for row in range(8, 128, 32):
        for column in range(8, 128, 32):
            target[row : row + 12, column : column + 12] = 1
    quiet = {"boundary": 0, "soften": 0, "lowres": 0}
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(Corruption(**quiet, drop=0, add=0)(rng, target, 2)[1], target)
    lost = [16 - ndimage.label(Corruption(**quiet, drop=0.2, add=0)(rng, target, 2)[1])[1] for _ in range(100)]
    assert np.mean(lost) == pytest.approx(0.2 * 16, rel=0.3)
    empty = np.zeros_like(target)
    found = [Corruption(**quiet, drop=0, add=0.5)(rng, empty, 2)[1].any() for _ in range(200)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("fill", [0, 1, IGNORE])
def test_masks_of_one_value_work(fill):
    target = np.full((32, 40), fill, np.uint8)
    probability = Corruption(drop=0, add=0)(np.random.default_rng(0), target, 2)
    assert (probability.argmax(0) == (fill == 1)).all()
    assert Corruption()(np.random.default_rng(0), target[:1, :1], 2).shape == (2, 1, 1)


def test_soften_0_is_one_hot_and_soften_blurs():
    hard = Corruption(soften=0, lowres=0)(np.random.default_rng(0), disc(), 2)
    assert set(np.unique(hard)) == {0, 1}
    soft = Corruption(lowres=0)(np.random.default_rng(0), disc(), 2)
    assert 50 < np.count_nonzero((soft[1] > 0.1) & (soft[1] < 0.9)) < 3000


def test_noise_has_variance_1_everywhere():
    rng = np.random.default_rng(0)
    fields = np.stack([_smooth_noise(rng, (40, 50), 8) for _ in range(1500)])
    np.testing.assert_allclose(fields.std(0), 1, atol=0.12)
    correlation = [(fields[:, :, 10] * fields[:, :, 10 + lag]).mean() for lag in (2, 8, 30)]
    assert correlation[0] > 0.9
    assert 0.45 < correlation[1] < 0.75  # exp(-1/2) for a Gaussian
    assert abs(correlation[2]) < 0.1


def test_fast_enough_for_a_data_loader():
    target, rng = disc(256, 60), np.random.default_rng(0)
    times = []
    for _ in range(20):
        start = time.process_time()
        Corruption()(rng, target, 2)
        times.append(time.process_time() - start)
    assert np.median(times) < 0.05  # measured 0.008 s on one core; slow machines get room


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ({"drop": 2}, "corruption.drop is 2; it must lie between 0 and 1"),
        ({"boundary": -1}, "corruption.boundary is -1; it must not be negative"),
        ({"smooth": 0}, "corruption.smooth is 0; it must be positive"),
        ({"share": 0}, "corruption.share is 0; it must be positive: set about 0.25 of the radius"),
    ],
)
def test_errors_name_the_value_and_the_cure(setting, text):
    with pytest.raises(SegcganError, match=text):
        Corruption(**setting)
