"""Normalisation: exact statistics, blind to what is invalid."""

import numpy as np
import pytest
import torch

from segcgan.data.normalisation import Normalisation, fit_normalisation
from segcgan.errors import SegcganError

WHOLE = [0.0, 100.0]


def values(seed=0, shape=(2, 1, 40, 50)):
    return np.random.default_rng(seed).normal(100, 30, shape).astype(np.float32)


def test_statistics_of_known_pixels(make_case):
    pixels = values()
    fitted = fit_normalisation([make_case(pixels)], None, WHOLE, seed=3)
    flat = pixels.reshape(2, -1).astype(float)
    np.testing.assert_allclose(fitted.low, flat.min(1))
    np.testing.assert_allclose(fitted.high, flat.max(1))
    np.testing.assert_allclose(fitted.mean, flat.mean(1), rtol=1e-6)
    np.testing.assert_allclose(fitted.std, flat.std(1), rtol=1e-6)
    out = fitted(torch.from_numpy(pixels), torch.ones(1, 1, 40, 50, dtype=torch.bool))
    np.testing.assert_allclose(out.mean((1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(out.std((1, 2, 3), correction=0), 1, atol=1e-5)


def test_percentiles_clip_the_tails(make_case):
    pixels = values()
    pixels[0, 0, 0, 0] = 1e6
    fitted = fit_normalisation([make_case(pixels)], None, [1, 99], seed=0)
    low, high = np.percentile(pixels.reshape(2, -1), [1, 99], axis=1)
    np.testing.assert_allclose(fitted.low, low, rtol=1e-5)
    np.testing.assert_allclose(fitted.high, high, rtol=1e-5)
    clipped = pixels.reshape(2, -1).clip(low[:, None], high[:, None])
    np.testing.assert_allclose(fitted.mean, clipped.mean(1), rtol=1e-5)
    out = fitted(torch.from_numpy(pixels), torch.ones(1, 1, 40, 50, dtype=torch.bool))
    assert out.abs().max() < 4


def test_a_fixed_window_holds_for_all_channels(make_case):
    fitted = fit_normalisation([make_case(values())], [80, 120], [0.5, 99.5], seed=0)
    assert fitted.low.tolist() == [80, 80]
    assert fitted.high.tolist() == [120, 120]
    clipped = values().reshape(2, -1).clip(80, 120)
    np.testing.assert_allclose(fitted.mean, clipped.mean(1), rtol=1e-6)
    one = torch.tensor([-1000.0, 80, 120, 3000]).expand(2, 1, 1, 4)
    out = fitted(one, torch.ones(1, 1, 1, 4, dtype=torch.bool))
    assert torch.equal(out[..., 0], out[..., 1])
    assert torch.equal(out[..., 2], out[..., 3])


def test_nodata_does_not_count(make_case):
    pixels = values()
    valid = np.ones((1, 1, 40, 50), bool)
    valid[..., :20] = False
    spoilt = pixels.copy()
    spoilt[..., :20] = -9999
    spoilt[..., :10] = np.nan
    fitted = fit_normalisation([make_case(spoilt, valid=valid)], None, WHOLE, seed=0)
    np.testing.assert_allclose(fitted.mean, pixels[..., 20:].reshape(2, -1).mean(1), rtol=1e-5)
    out = fitted(torch.from_numpy(np.nan_to_num(spoilt)), torch.from_numpy(valid))
    assert (out[..., :20] == 0).all()
    assert (out[..., 20:] != 0).any()


def test_large_cases_are_sampled_the_same_for_the_same_seed(make_case):
    case = make_case(values(shape=(1, 3, 300, 280)))
    first, second = (fit_normalisation([case, case], None, [1, 99], seed=5) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.buffers(), second.buffers(), strict=True))
    assert float(first.mean) == pytest.approx(100, abs=1)
    assert float(first.std) == pytest.approx(30, rel=0.05)


def test_a_constant_channel_becomes_zero(make_case):
    pixels = np.full((1, 1, 8, 8), 0.1, np.float32)
    fitted = fit_normalisation([make_case(pixels)], None, WHOLE, seed=0)
    out = fitted(torch.from_numpy(pixels), torch.ones(1, 1, 8, 8, dtype=torch.bool))
    assert out.abs().max() < 0.1
    assert torch.isfinite(fitted(torch.tensor([[[[7.0]]]]), torch.tensor([[[[True]]]]))).all()


def test_batches_and_state():
    first, second = Normalisation(3), Normalisation(3)
    first.mean += torch.tensor([0.1, 0.2, 0.3])
    second.load_state_dict(first.state_dict())
    image, valid = torch.rand(2, 3, 4, 5, 6), torch.rand(2, 1, 4, 5, 6) < 0.5
    assert torch.equal(first(image, valid), second(image, valid))
    assert torch.equal(second(image, valid)[1], second(image[1], valid[1]))


def test_cases_must_have_the_same_channels(make_case):
    cases = [make_case(values(), name="rgb"), make_case(values(shape=(1, 1, 9, 9)), name="grey")]
    with pytest.raises(SegcganError) as error:
        fit_normalisation(cases, None, WHOLE, seed=0)
    assert str(error.value) == "grey.tif has 1 channel(s) but rgb.tif has 2; train on one kind"


def test_no_valid_pixel(make_case):
    case = make_case(values(), valid=np.zeros((1, 1, 40, 50), bool))
    with pytest.raises(SegcganError) as error:
        fit_normalisation([case], None, WHOLE, seed=0)
    assert str(error.value) == "no valid pixel in 64 windows of the training cases; is nodata right?"


@pytest.mark.parametrize("clip", [[300, -200], [5, 5], [1]])
def test_an_empty_range_is_refused(make_case, clip):
    with pytest.raises(SegcganError, match=r"data.intensity.clip is \[.*\]; give \[low, high\] with low below high"):
        fit_normalisation([make_case(values())], clip, WHOLE, seed=0)
