"""The latent shape loss: zero for equal masks, larger for worse shapes, blind to what is not scored."""

import pytest
import torch

from segcgan.errors import SegcganError
from segcgan.losses.region import one_hot
from segcgan.noise import Noise
from segcgan.priors import MaskAutoencoder
from segcgan.regularisers import ShapeLatent


@pytest.fixture(scope="module")
def trained(discs) -> MaskAutoencoder:
    """An autoencoder that has seen discs for 120 steps."""
    torch.manual_seed(0)
    prior = MaskAutoencoder(2, width=6, levels=4, latent=8)
    optimizer = torch.optim.Adam(prior.parameters(), 3e-3)
    for step in range(120):
        windows = discs(step)
        optimizer.zero_grad()
        sum(prior.training_loss(windows, Noise(step, 0, windows)).values()).backward()
        optimizer.step()
    return prior


def logits_of(target, sharpness=12.0):
    return sharpness * (2 * one_hot(target, 2) - 1)


def test_equal_masks_cost_nothing(discs, trained):
    windows = discs(1000)
    assert float(ShapeLatent(trained, 1).terms(windows, logits_of(windows.target))["shape"]) < 1e-6
    empty = discs(1000)
    empty.target[:] = 0
    assert float(ShapeLatent(trained, 1).terms(empty, logits_of(empty.target))["shape"]) < 1e-6


def test_softness_costs_less_than_another_shape(discs, trained):
    windows, loss = discs(1000), ShapeLatent(trained, 1)
    bitten = windows.target.clone()
    bitten[:, :, 16:] = 0  # half of each disc is gone
    soft = float(loss.terms(windows, logits_of(windows.target, 0.7))["shape"])
    wrong = float(loss.terms(windows, logits_of(bitten))["shape"])
    assert 0 < soft < 0.5 * wrong
    assert 0.05 < wrong < 10  # in units of the variance of codes


def test_a_step_down_brings_the_mask_closer_to_the_reference(discs, trained):
    windows, loss = discs(1000), ShapeLatent(trained, 1)
    bitten = windows.target.clone()
    bitten[:, :, 16:] = 0
    logits = logits_of(bitten, 1.0).requires_grad_()
    value = loss.terms(windows, logits)["shape"]
    (gradient,) = torch.autograd.grad(value, logits)
    lost = (windows.target == 1) & (bitten == 0)
    assert float(gradient[:, 1][lost].mean()) < 0  # more foreground where the bite is
    nearer = logits.detach() - 20 * gradient
    assert float(loss.terms(windows, nearer)["shape"]) < float(value)


@pytest.mark.parametrize("how", ["invalid", "unknown"])
def test_pixels_that_are_not_scored_never_matter(discs, trained, how):
    windows = discs(1000)
    if how == "invalid":
        windows.valid[..., :12] = False
    else:
        windows.target[..., :12] = 255
    logits = torch.randn(4, 2, 32, 32)
    first = ShapeLatent(trained).terms(windows, logits)["shape"]
    logits[..., :12] = 1e4
    logits.requires_grad_()
    second = ShapeLatent(trained).terms(windows, logits)["shape"]
    assert first.item() == second.item() > 0
    (gradient,) = torch.autograd.grad(second, logits)
    assert not gradient[..., :12].any()
    assert gradient[..., 12:].abs().sum() > 0


def test_nothing_scored_costs_nothing(discs, trained):
    windows = discs(1000)
    windows.valid[:] = False
    assert float(ShapeLatent(trained).terms(windows, torch.randn(4, 2, 32, 32))["shape"]) == 0


def test_a_frozen_prior_stays_in_evaluation_and_a_learning_one_does_not():
    prior = MaskAutoencoder(2, width=4, levels=2)
    loss = ShapeLatent(prior)
    assert loss.prior is prior
    assert loss.train().prior.training
    prior.requires_grad_(False)
    assert loss.train().training
    assert not prior.training


def test_a_negative_weight_is_refused():
    with pytest.raises(SegcganError, match=r"^regulariser weight is -0.1; it must be at least 0$"):
        ShapeLatent(MaskAutoencoder(2, 4, 2), -0.1)


def test_a_prior_that_has_hardly_learnt_still_weighs(discs):
    """Its code barely moves; measured in its own variance a wrong mask still costs, also under bf16."""
    torch.manual_seed(0)
    prior, windows = MaskAutoencoder(2, width=4, levels=5), discs(1)
    prior.training_loss(windows, Noise(0, 0, windows))
    with torch.autocast("cpu", torch.bfloat16):
        wrong = ShapeLatent(prior, 1).terms(windows, logits_of(1 - windows.target))["shape"]
    assert 0.05 < float(wrong) < 100
