"""A variational autoencoder of images: knows what images look like, and no mask."""

import torch
from torch import Tensor, nn

from segcgan.batch import Batch
from segcgan.errors import SegcganError
from segcgan.losses.variational import Gaussian, active_units, kl_nats
from segcgan.noise import Noise
from segcgan.priors.base import Prior


class ImageVAE(Prior):
    """Convolutional VAE (Kingma & Welling, ICLR 2014) with a latent map, in nats per image.

    The likelihood is a Gaussian of unit variance (normalised images), so its nats are half the squared error. No
    statistics of the window are used, and the reach is finite: features may go into a segmenter that works in windows.

    Args:
        channels: of the image, with 2.5-D context (C x slices).
        width: features of the first level; doubled at each.
        levels: halvings.
        latent: channels of z (B, latent, H / 2**levels, W / 2**levels).
        beta: weight of the KL, reached after ``warmup`` steps.
        warmup: steps over which it rises from 0.
    """

    steps: Tensor

    def __init__(
        self, channels: int, width: int = 16, levels: int = 3, latent: int = 8, beta: float = 1.0, warmup: int = 100
    ) -> None:
        super().__init__()
        if beta < 0:
            raise SegcganError(f"prior beta is {beta}; it must be at least 0")
        self.beta, self.warmup, self.latent, self.stride = beta, warmup, latent, 2**levels
        widths = [width * 2**level for level in range(levels)]
        down: list[nn.Module] = []
        up: list[nn.Module] = [nn.Conv2d(latent, widths[-1], 1), nn.SiLU()]
        for a, b in zip([channels, *widths[:-1]], widths, strict=True):
            down += [nn.Conv2d(a, b, 4, 2, 1), nn.SiLU()]
        for a, b in zip(widths[::-1], [*widths[-2::-1], width], strict=True):
            up += [nn.ConvTranspose2d(a, b, 4, 2, 1), nn.SiLU()]
        self.encoder = nn.Sequential(*down, nn.Conv2d(widths[-1], 2 * latent, 1))
        self.decoder = nn.Sequential(*up, nn.Conv2d(width, channels, 3, padding=1))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def encode(self, image: Tensor) -> Gaussian:
        """(B, C, H, W) → posterior of z (B, latent, h, w)."""
        return Gaussian.of(self.encoder(image))

    def training_loss(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """Return ``reconstruction`` and ``kl``, nats of an image divided by its valid pixels."""
        posterior = self.encode(batch.image)
        size = tuple(posterior.mean.shape[2:])
        z = posterior.sample(noise.normal("image z", self.latent, size, self.stride))
        error = (self.decoder(z).float() - batch.image).square() * batch.valid
        known = nn.functional.max_pool2d(batch.valid.float(), self.stride) > 0
        nats = kl_nats(posterior, known=known)
        self.diagnostics = {"image_kl_nats": nats.detach().mean(), "image_active_units": active_units(posterior.mean)}
        pixels = batch.valid.flatten(1).sum(1).clamp_min(1)
        weight = self.beta * min(1.0, (int(self.steps) + 1) / max(1, self.warmup))
        self.steps += 1
        return {
            "reconstruction": (0.5 * error.flatten(1).sum(1) / pixels).mean(),
            "kl": weight * (nats / pixels).mean(),
        }
