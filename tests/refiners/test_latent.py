"""The latent: nats, warm-up, GECO, units that are used."""

import pytest
import torch

from segcgan.losses import mask_terms
from segcgan.losses.variational import kl_nats
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


def met(refiner, windows):
    """Return the logits of the posterior sample that trains, and the KL of each image in nats."""
    noise, stride = Noise(0, 0, windows), refiner.stride
    size = tuple(n // stride for n in windows.image.shape[2:])
    with torch.no_grad():
        features, prior, coarse = refiner._encode(windows)
        posterior, style = refiner._posterior(windows)
        z = posterior.sample(noise.normal("posterior", refiner.latent, size, stride))
        w = style.sample(noise.per_case("posterior style", refiner.latent))
        kl = kl_nats(posterior, prior, refiner._known(windows)) + kl_nats(style)
        return refiner._draw(features, z, w, coarse), kl


def nats(logits, windows):
    """Return the cross entropy of each image: a sum over its scored pixels."""
    lost = torch.nn.functional.cross_entropy(logits, windows.target, reduction="none")
    return (lost * windows.scored).flatten(1).sum(1)


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
        refiner = make(hybrid=hybrid, kl=KL(warmup=0), dice=1.0)
        torch.nn.init.normal_(refiner.head.last.weight)
        found[hybrid], drawn = refiner.training_loss(windows, Noise(0, 0, windows))
    assert found[1.0]["kl"] == 0
    for name, value in mask_terms(drawn, windows, 5.0).items():
        torch.testing.assert_close(found[1.0][name], value)
        assert abs(value - found[0.0][name]) > 1e-3
    for name, value in found[0.25].items():
        torch.testing.assert_close(value, 0.75 * found[0.0][name] + 0.25 * found[1.0][name])


def test_cross_entropy_and_kl_of_several_raters_are_the_elbo():
    """Both in nats of an image over its pixels, and nothing beside them, whatever the settings for one answer are."""
    windows = batch(32, count=2)
    windows.several = torch.tensor([True, True])
    windows.valid[1, :, 10:] = False
    refiner = make(kl=KL(warmup=0), hybrid=0.5, boundary_weight=5.0)
    terms = loss(refiner, windows)
    assert sorted(terms) == ["ce", "kl"]
    logits, kl = met(refiner, windows)
    pixels = windows.scored.flatten(1).sum(1)
    torch.testing.assert_close(terms["ce"] + terms["kl"], ((nats(logits, windows) + kl) / pixels).mean())


@pytest.mark.parametrize("size", [32, 96])
def test_dice_does_not_drown_the_kl(size):
    """5 nats weigh what 5 nats of cross entropy weigh, and more than a thousandth of a Dice loss."""
    windows = batch(size)
    refiner = make(kl=KL(warmup=0))
    terms = loss(refiner, windows)
    terms = {name: value.detach() for name, value in terms.items()}
    nat = float(terms["kl"] / refiner.diagnostics["kl_nats"])
    assert nat == pytest.approx(1 / size**2, rel=1e-4)
    whole = mask_terms(met(refiner, windows)[0], windows)
    assert terms["ce"] == pytest.approx(float(whole["ce"]), rel=1e-4)
    assert 5 * nat > 0.02 * float(terms["dice"] / whole["dice"])
    torch.testing.assert_close(loss(make(kl=KL(warmup=0), dice=1.0), windows)["dice"], whole["dice"])


def test_in_a_mixed_batch_only_windows_with_one_answer_train_prior_samples():
    windows = batch(32, count=2)
    windows.several = torch.tensor([True, False])
    refiner = make(hybrid=1.0, kl=KL(warmup=0))
    torch.nn.init.normal_(refiner.head.last.weight)
    terms, drawn = refiner.training_loss(windows, Noise(0, 0, windows))
    logits, kl = met(refiner, windows)
    assert sorted(terms) == ["ce", "dice", "kl", "sobel"]
    torch.testing.assert_close(terms["kl"], kl[0] / 32**2 / 2)
    expected = (nats(logits, windows)[0] + nats(drawn, windows)[1]) / 32**2 / 2
    torch.testing.assert_close(terms["ce"], expected)


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
