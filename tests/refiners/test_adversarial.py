"""The mean of the samples is what is held to reference and coarse mask."""

import math

import pytest
import torch

from segcgan.noise import Noise
from segcgan.refiners import AdversarialRefiner
from segcgan.refiners.adversarial import _divergence
from tests.refiners.conftest import batch


def test_terms_and_what_is_measured():
    torch.manual_seed(0)
    refiner, windows = AdversarialRefiner(1, 2, width=4, draws=3), batch(32)
    terms, logits = refiner.training_loss(windows, Noise(0, 0, windows))
    assert sorted(terms) == ["calibration", "ce", "energy"]
    assert logits.shape == (1, 2, 32, 32)
    assert refiner.diagnostics["diversity"] == pytest.approx(0, abs=1e-6)  # untrained: all samples are the coarse mask
    torch.nn.init.normal_(refiner.head.last.weight)
    refiner.training_loss(windows, Noise(0, 0, windows))
    assert refiner.diagnostics["diversity"] > 0.01
    free = AdversarialRefiner(1, 2, calibration=0.0, energy=0.0, boundary_weight=1.0)
    assert sorted(free.training_loss(windows, Noise(0, 0, windows))[0]) == ["ce", "sobel"]


def test_the_loss_is_that_of_the_mean_of_samples():
    torch.manual_seed(0)
    refiner, windows = AdversarialRefiner(1, 2, width=4, draws=2, calibration=0, energy=0), batch(32)
    torch.nn.init.normal_(refiner.head.last.weight)
    terms, first = refiner.training_loss(windows, Noise(5, 0, windows))
    drawn = [refiner.refine(windows, Noise(5, index, windows)).softmax(1) for index in range(2)]
    torch.testing.assert_close(first.softmax(1), drawn[0], atol=1e-5, rtol=1e-4)
    mean = torch.stack(drawn).mean(0).log()
    expected = torch.nn.functional.nll_loss(mean, windows.target)
    torch.testing.assert_close(terms["ce"], expected, atol=1e-5, rtol=1e-4)


def test_divergence_from_the_coarse_distribution():
    windows = batch(4)
    windows.coarse = torch.tensor([0.25, 0.75]).view(1, 2, 1, 1).expand(1, 2, 4, 4).clone()
    same = windows.coarse.log()
    assert float(_divergence(same, windows)) == pytest.approx(0, abs=1e-6)
    other = torch.tensor([0.5, 0.5]).view(1, 2, 1, 1).expand(1, 2, 4, 4).log()
    expected = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert float(_divergence(other, windows)) == pytest.approx(expected, abs=1e-6)
    windows.coarse = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4).clone()
    assert float(_divergence(other, windows)) == 0  # one-hot: no distribution
    windows.coarse = torch.tensor([0.25, 0.75]).view(1, 2, 1, 1).expand(1, 2, 4, 4).clone()
    windows.valid[..., 2:] = False
    assert float(_divergence(other, windows)) == pytest.approx(expected, abs=1e-6)
