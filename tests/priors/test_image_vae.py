"""The VAE of images: nats against torch.distributions, reach, warm-up, and what it learns."""

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from segcgan.errors import SegcganError
from segcgan.noise import Noise
from segcgan.priors import ImageVAE


def loss(prior, windows, seed=0):
    return prior.training_loss(windows, Noise(seed, 0, windows))


@pytest.mark.parametrize("channels", [1, 3])
def test_terms_are_the_nats_of_torch_distributions(discs, channels):
    torch.manual_seed(0)
    prior, windows = ImageVAE(channels, width=4, levels=3, latent=2, warmup=0), discs(1, channels=channels)
    posterior, features = prior.encode(windows.image)
    assert features.shape == (4, prior.features, 32, 32)
    assert posterior.mean.shape == (4, 2, 8, 8)
    z = posterior.sample(torch.randn(4, 2, 8, 8))
    terms = prior.elbo_terms(windows, posterior, z)
    q = Independent(Normal(posterior.mean, posterior.log_sigma.exp()), 3)
    p = Independent(Normal(torch.zeros_like(z), torch.ones_like(z)), 3)
    sigma = prior.diagnostics["sigma"]
    likelihood = Independent(Normal(prior.decode(z), sigma), 3).log_prob(windows.image)
    torch.testing.assert_close(terms["kl"] * 32 * 32, kl_divergence(q, p).mean(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(terms["reconstruction"] * 32 * 32, -likelihood.mean(), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(prior.diagnostics["kl_nats"], kl_divergence(q, p).mean(), rtol=1e-4, atol=1e-4)
    wanted = (likelihood - kl_divergence(q, p)).mean()
    torch.testing.assert_close(prior.diagnostics["elbo_nats"], wanted, rtol=1e-4, atol=1e-2)


def test_the_weight_of_the_kl_warms_up_in_training_only(discs):
    torch.manual_seed(0)
    prior, windows = ImageVAE(1, width=4, levels=2, latent=2, warmup=4), discs(1)
    shares = [float(loss(prior, windows)["kl"] * 1024 / prior.diagnostics["kl_nats"]) for _ in range(6)]
    assert shares == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1], rel=1e-4)
    prior.eval()
    loss(prior, windows)
    assert int(prior.steps) == 6


def test_it_learns_images_and_uses_its_latent(discs):
    torch.manual_seed(0)
    prior = ImageVAE(1, width=6, levels=3, latent=3, warmup=20)
    optimizer = torch.optim.Adam(prior.parameters(), 5e-3)
    found = []
    for step in range(150):
        optimizer.zero_grad()
        sum(loss(prior, discs(step), step).values()).backward()
        optimizer.step()
        found.append(float(prior.diagnostics["elbo_nats"]))
    assert sum(found[-10:]) / 10 > sum(found[:10]) / 10 + 300
    assert float(prior.diagnostics["active_units"]) >= 1
    windows = discs(1000)
    posterior, _ = prior.encode(windows.image)
    error = (prior.decode(posterior.mean) - windows.image).square().mean()
    assert float(error) < 0.25 * float(windows.image.var())


def test_invalid_pixels_never_matter(discs):
    torch.manual_seed(0)
    prior, found = ImageVAE(1, width=4, levels=3, latent=2), []
    for junk in (0.0, 50.0):
        windows = discs(1)
        windows.valid[..., :10] = False
        windows.image[..., :10] = junk
        prior.steps.zero_()
        found.append({name: float(value) for name, value in loss(prior, windows).items()})
    assert found[0] == found[1]
    windows.valid[:] = False
    assert {name: float(value) for name, value in loss(prior, windows).items()} == {"reconstruction": 0, "kl": 0}


def test_wild_weights_stay_finite(discs):
    prior, windows = ImageVAE(1, width=4, levels=2, latent=2, warmup=0), discs(1)
    with torch.no_grad():
        prior.posterior.weight.mul_(1e4)
        prior.log_sigma.fill_(-1e3)
    terms = loss(prior, windows)
    assert all(torch.isfinite(value) for value in terms.values())
    sum(terms.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in prior.parameters())


def test_what_is_far_away_does_not_change_the_code():
    """Finite reach: windows that overlap agree where both see enough."""
    torch.manual_seed(0)
    prior, image = ImageVAE(1, width=4, levels=3, latent=2), torch.randn(1, 1, 96, 96)
    whole, features = prior.encode(image)
    part, some = prior.encode(image[..., :64])
    torch.testing.assert_close(whole.mean[..., :8], part.mean[..., :8], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(features[..., :32], some[..., :32], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "value"),
    [("channels", 0), ("width", 0), ("levels", 0), ("latent", 0), ("beta", -1), ("warmup", -1)],
)
def test_values_that_make_no_sense_are_refused(name, value):
    with pytest.raises(SegcganError, match=rf"^image VAE {name} is {value}; it must be at least"):
        ImageVAE(**({"channels": 1} | {name: value}))


def test_another_number_of_channels_is_refused():
    with pytest.raises(SegcganError, match=r"^the image VAE has channels: 3 but the data have 1; make them equal"):
        ImageVAE(3).encode(torch.zeros(1, 1, 32, 32))
