"""A prior over images: a variational autoencoder whose latent is a map."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segcgan.batch import Batch
from segcgan.errors import at_least
from segcgan.losses.variational import Gaussian, active_units, kl_nats, warmed_up
from segcgan.noise import Noise
from segcgan.priors.base import Prior
from segcgan.priors.upward import Upward, check_input
from segcgan.refiners.ushape import Encoder

_LEAST = -4.0  # log sigma of the likelihood: 2 % of the spread of normalised images


class ImageVAE(Prior):
    """VAE of normalised images (Kingma & Welling, ICLR 2014), with a likelihood whose σ is learnt (Rybkin et al. 2021).

    The latent is a map on the coarsest resolution and nothing averages over a window, so its reach is finite.
    Both terms are sums over an image in nats, divided by its pixels; ``diagnostics`` has them per image.

    Args:
        channels: of the image, with 2.5-D context (C x slices).
        width: features at full resolution; doubled at each level.
        levels: resolutions; each halves the previous.
        latent: channels of z.
        beta: weight of the KL; 1 makes the sum of the terms the negative ELBO.
        warmup: steps over which the weight of the KL rises from 0.
    """

    steps: Tensor

    def __init__(
        self,
        channels: int,
        width: int = 12,
        levels: int = 4,
        latent: int = 8,
        beta: float = 1.0,
        warmup: int = 100,
    ) -> None:
        super().__init__()
        at_least("image VAE ", 1, channels=channels, width=width, levels=levels, latent=latent)
        at_least("image VAE ", 0, beta=beta, warmup=warmup)
        self.channels, self.latent, self.beta, self.warmup = channels, latent, beta, warmup
        self.encoder = Encoder(channels, width, levels)
        self.stride, widths = self.encoder.stride, self.encoder.widths
        self.posterior = nn.Conv2d(widths[-1], 2 * latent, 1)
        self.decoder = Upward(latent, widths, channels)
        self.log_sigma = nn.Parameter(torch.zeros(channels, 1, 1))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @property
    def features(self) -> int:
        """Channels of the finest features, see :meth:`encode`."""
        return self.encoder.widths[0]

    def encode(self, image: Tensor) -> tuple[Gaussian, Tensor]:
        """Return q(z | image), (B, Z, H / stride, W / stride), and the finest features (B, features, H, W)."""
        check_input(image, self.stride, self.channels, "image VAE channels")
        levels = self.encoder(image)
        return Gaussian.of(self.posterior(levels[-1])), levels[0]

    def decode(self, z: Tensor) -> Tensor:
        """Return the mean image (B, C, H, W) of a latent (B, Z, h, w)."""
        image: Tensor = self.decoder(z).float()
        return image

    def training_loss(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """Return the terms reconstruction and kl, see :meth:`elbo_terms`."""
        posterior, _ = self.encode(batch.image * batch.valid)
        z = posterior.sample(noise.normal("image", self.latent, tuple(posterior.mean.shape[2:]), self.stride))
        return self.elbo_terms(batch, posterior, z)

    def elbo_terms(self, batch: Batch, posterior: Gaussian, z: Tensor) -> dict[str, Tensor]:
        """Return reconstruction and KL in nats per pixel; counts as a step of the warm-up.

        Invalid pixels, and cells of the latent that cover none but those, cost nothing.

        Args:
            batch: its images are explained.
            posterior: of the images.
            z: a sample of it.
        """
        log_sigma = _LEAST + F.softplus(self.log_sigma.float() - _LEAST)  # bounded without a dead gradient
        error = (batch.image.float() - self.decode(z)) / log_sigma.exp()
        nats = 0.5 * error.square() + log_sigma + 0.5 * math.log(2 * math.pi)
        reconstruction = nats.masked_fill(~batch.valid, 0.0).flatten(1).sum(1)
        kl = kl_nats(posterior, known=F.max_pool2d(batch.valid.float(), self.stride) > 0)
        pixels = batch.valid.flatten(1).sum(1).clamp_min(1)
        weight = warmed_up(self.beta, int(self.steps), self.warmup)
        if self.training:
            self.steps += 1
        self.diagnostics = {
            "kl_nats": kl.mean(),
            "elbo_nats": -(reconstruction + kl).mean(),
            "active_units": active_units(posterior.mean),
            "sigma": log_sigma.exp().mean(),
        }
        return {"reconstruction": (reconstruction / pixels).mean(), "kl": weight * (kl / pixels).mean()}
