"""Noise is a function of position: windows agree, reruns repeat, everything else differs."""

import numpy as np
import pytest
import torch

from segcgan.batch import Batch
from segcgan.noise import Noise, case_key


def batch(*origins, keys=None):
    count, dims = len(origins), len(origins[0])
    return Batch(
        image=torch.zeros(count, 1, *([1] * dims)),
        valid=torch.ones(count, 1, *([1] * dims), dtype=torch.bool),
        spacing=torch.ones(count, dims),
        origin=torch.tensor(origins),
        key=torch.tensor(keys or [5] * count),
    )


def field(origin, size, *, key=5, stride=1, seed=1, sample=0, name="z", channels=2):
    return Noise(seed, sample, batch(origin, keys=[key])).normal(name, channels, size, stride)


def test_overlapping_windows_see_the_same_field():
    big = field((-3, -5), (20, 30))
    part = field((4, 2), (6, 9))
    assert torch.equal(part, big[:, :, 7:13, 7:16])


def test_overlapping_windows_agree_at_a_stride():
    big = field((-8, -8), (10, 10), stride=4)
    assert torch.equal(field((4, 0), (3, 4), stride=4), big[:, :, 3:6, 2:6])


def test_overlapping_volumes_agree():
    big = field((0, -2, 0), (4, 6, 5))
    assert torch.equal(field((1, 0, 3), (2, 3, 2)), big[:, :, 1:3, 2:5, 3:5])


def test_channels_do_not_depend_on_their_number():
    assert torch.equal(field((0, 0), (4, 4), channels=5)[:, :2], field((0, 0), (4, 4), channels=2))


def test_a_rerun_repeats_and_a_batch_is_its_items():
    one, two = field((0, 4), (8, 8), key=5), field((8, 0), (8, 8), key=6)
    both = Noise(1, 0, batch((0, 4), (8, 0), keys=[5, 6])).normal("z", 2, (8, 8))
    assert torch.equal(torch.cat([one, two]), both)
    assert both.dtype == torch.float32


@pytest.mark.parametrize("other", [{"seed": 2}, {"sample": 1}, {"key": 6}, {"name": "y"}, {"stride": 2}])
def test_whatever_differs_gives_another_field(other):
    first, second = field((0, 0), (64, 64)), field((0, 0), (64, 64), **other)
    if "stride" in other:  # the same field on another grid would correlate the levels of a hierarchy: name them apart
        assert torch.equal(first, second)
        second = field((0, 0), (64, 64), stride=2, name="level 1")
    assert (first == second).float().mean() < 0.01
    assert abs(np.corrcoef(first.flatten(), second.flatten())[0, 1]) < 0.05


def test_neighbours_and_channels_are_independent():
    values = field((0, 0), (128, 128), channels=3)[0].numpy()
    pairs = [
        (values[0, :, 1:], values[0, :, :-1]),
        (values[0, 1:], values[0, :-1]),
        (values[0], values[1]),
        (values[0], values[0].T),
    ]
    for a, b in pairs:
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.03


@pytest.mark.parametrize("seed", [0, 1, -7, 2**62])
def test_moments_of_the_standard_normal(seed):
    values = Noise(seed, 0, batch((0, 0))).normal("z", 4, (128, 128)).numpy().astype(float)
    assert abs(values.mean()) < 0.015
    assert abs(values.std() - 1) < 0.015
    assert abs((values**3).mean()) < 0.05
    assert abs((values**4).mean() - 3) < 0.15
    assert np.isfinite(values).all()


def test_per_case_noise_does_not_know_the_window_or_the_slice():
    slices = [case_key("a", z) for z in (0, 7)]
    here = Noise(1, 0, batch((0, 0), (64, 32), keys=slices)).per_case("style", 6)
    assert here.shape == (2, 6)
    assert torch.equal(here[0], here[1])
    assert not torch.equal(here[0], Noise(1, 0, batch((0, 0), keys=[case_key("b", 0)])).per_case("style", 6)[0])
    assert not torch.equal(here[0], Noise(1, 1, batch((0, 0), keys=slices[:1])).per_case("style", 6)[0])


def test_a_window_off_the_stride_is_refused():
    text = r"windows start at \[\[4, 6\]\], which is not a multiple of the noise stride 4"
    with pytest.raises(ValueError, match=text):
        field((4, 6), (2, 2), stride=4)
