"""Nats, and an autoencoder that learns."""

import torch

from segcgan.losses.variational import kl_nats
from segcgan.noise import Noise
from segcgan.priors import ImageVAE
from tests.refiners.conftest import batch


def test_terms_are_nats_of_an_image_by_pixel():
    torch.manual_seed(0)
    prior, windows = ImageVAE(1, width=4, levels=2, latent=3, beta=2.0, warmup=0), batch(16, count=2)
    terms = prior.training_loss(windows, Noise(0, 0, windows))
    posterior = prior.encode(windows.image)
    torch.testing.assert_close(terms["kl"], 2.0 * kl_nats(posterior).mean() / 256)
    z = posterior.sample(Noise(0, 0, windows).normal("image z", 3, (4, 4), 4))
    squared = (prior.decoder(z) - windows.image).square().mean((1, 2, 3))
    torch.testing.assert_close(terms["reconstruction"], 0.5 * squared.mean())


def test_pixels_that_are_not_valid_are_not_rebuilt():
    torch.manual_seed(0)
    prior, windows = ImageVAE(1, width=4, levels=2), batch(16)
    windows.valid[..., 8:] = False
    first = prior.decoder(prior.encode(windows.image).mean)
    assert first.shape == windows.image.shape
    windows.valid[...] = False
    assert all(float(term) == 0 for term in prior.training_loss(windows, Noise(0, 0, windows)).values())


def test_it_learns_the_images():
    torch.manual_seed(0)
    prior, windows = ImageVAE(1, width=8, levels=2, latent=4), batch(16, count=4)
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    windows.image = torch.stack([torch.sin(y / (2 + i)) + torch.cos(x / (3 + i)) for i in range(4)])[:, None]
    optimizer, found = torch.optim.Adam(prior.parameters(), 1e-2), []
    for step in range(80):
        terms = prior.training_loss(windows, Noise(step, 0, windows))
        optimizer.zero_grad()
        (terms["reconstruction"] + terms["kl"]).backward()
        optimizer.step()
        found.append(float(terms["reconstruction"].detach()))
    assert sum(found[-5:]) < 0.5 * sum(found[:5])
    assert prior.diagnostics["image_active_units"] > 0
