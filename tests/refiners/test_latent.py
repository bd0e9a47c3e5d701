"""The latent: nats, warm-up, GECO, units that are used."""

import pytest
import torch

from segcgan.losses import mask_terms
from segcgan.noise import Noise
from segcgan.refiners import LatentRefiner
from segcgan.refiners.latent import KL
from tests.refiners.conftest import batch


def make(**more):
    torch.manual_seed(0)
    refiner = LatentRefiner(1, 2, width=4, levels=3, **more)
    torch.nn.init.normal_(refiner.posterior.weight)
    return refiner


def loss(refiner, windows):
    return refiner.training_loss(windows, Noise(0, 0, windows))[0]


def test_terms_and_what_is_measured():
    refiner, windows = make(), batch(32, count=3)
    terms, logits = refiner.training_loss(windows, Noise(0, 0, windows))
    assert sorted(terms) == ["ce", "dice", "kl", "sobel"]
    assert logits.shape == (3, 2, 32, 32)
    assert refiner.diagnostics["kl_nats"] > 0
    assert 0 <= refiner.diagnostics["active_units"] <= 8


def test_the_kl_is_weighed_in_nats_per_image_and_warms_up():
    refiner, windows = make(kl=KL(beta=2.0, warmup=4)), batch(32, count=2)
    found = [loss(refiner, windows)["kl"].item() for _ in range(6)]
    full = 2.0 * float(refiner.diagnostics["kl_nats"]) / 32**2
    assert found == pytest.approx([full * share for share in (0.25, 0.5, 0.75, 1, 1, 1)], rel=1e-4)


def test_the_hybrid_objective_mixes_the_terms_of_posterior_and_prior_samples():
    windows, found = batch(32, count=2), {}
    for hybrid in (0.0, 0.25, 1.0):
        refiner = make(hybrid=hybrid, kl=KL(warmup=0))
        torch.nn.init.normal_(refiner.head.last.weight)
        found[hybrid], drawn = refiner.training_loss(windows, Noise(0, 0, windows))
    assert found[1.0]["kl"] == 0
    for name, value in mask_terms(drawn, windows, 5.0).items():
        torch.testing.assert_close(found[1.0][name], value)
        assert abs(value - found[0.0][name]) > 1e-3
    for name, value in found[0.25].items():
        torch.testing.assert_close(value, 0.75 * found[0.0][name] + 0.25 * found[1.0][name])


def test_cells_without_a_scored_pixel_cost_no_nats():
    refiner, windows = make(), batch(32)
    loss(refiner, windows)
    whole = float(refiner.diagnostics["kl_nats"])
    windows.valid[...] = False
    terms = loss(refiner, windows)
    assert refiner.diagnostics["kl_nats"] == 0
    assert whole > 0
    assert all(torch.isfinite(term) for term in terms.values())


def test_geco_raises_the_weight_of_the_cross_entropy_until_it_is_low_enough():
    windows = batch(32, count=2)
    strict, easy = make(kl=KL(target_ce=1e-3)), make(kl=KL(target_ce=100.0))
    for _ in range(5):
        loss(strict, windows)
        loss(easy, windows)
    assert strict.multiplier > 1 > easy.multiplier
    assert strict.diagnostics["geco_multiplier"] == strict.multiplier
    state = strict.state_dict()
    assert {"steps", "multiplier", "excess"} <= set(state)  # a resumed training goes on with the same weights


def test_a_further_sample_costs_three_small_layers():
    refiner, windows = make(), batch(32)
    calls = []
    for name, layer in refiner.named_modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(lambda *_, name=name: calls.append(name))
    list(refiner.samples(windows, [Noise(0, 0, windows)]))
    once = len(calls)
    calls.clear()
    list(refiner.samples(windows, [Noise(0, index, windows) for index in range(3)]))
    assert len(calls) == once + 2 * 3
    assert not any("posterior" in name for name in calls)
