"""A prior over masks: an autoencoder that learns which shapes there are."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segcgan.batch import Batch
from segcgan.errors import SegcganError, at_least
from segcgan.losses import cross_entropy, dice_loss
from segcgan.losses.region import one_hot
from segcgan.noise import Noise
from segcgan.priors.base import Prior
from segcgan.priors.upward import Upward, check_input
from segcgan.refiners.ushape import Encoder, PixelNorm

_BLUR, _WAVE = 5, 9  # pixels; how far a boundary is softened, and how long the waves are that displace it


class MaskAutoencoder(Prior):
    """Denoising autoencoder of masks (Oktay et al., TMI 2018; denoising as in Post-DAE, Larrazabal et al., TMI 2020).

    Its code is a map of units scaled to unit length in every cell, not one vector: windows of any size have one. It
    learns to return a reference mask from a softened one with a displaced boundary, so the code of a segmenter's
    probabilities tells their shape and not their softness.

    Args:
        classes: K.
        width: features at full resolution; doubled at each level.
        levels: resolutions; each halves the previous. The code lives on the coarsest.
        latent: units in each of its cells, at least 2.
    """

    variance: Tensor
    steps: Tensor

    def __init__(self, classes: int, width: int = 8, levels: int = 5, latent: int = 16) -> None:
        super().__init__()
        at_least("mask autoencoder ", 1, width=width, levels=levels)
        at_least("mask autoencoder ", 2, latent=latent)
        self.encoder = Encoder(classes, width, levels)
        self.stride, widths = self.encoder.stride, self.encoder.widths
        self.code = nn.Sequential(PixelNorm(), nn.Conv2d(widths[-1], latent, 1), PixelNorm())
        self.decoder = Upward(latent, widths, classes)
        self.register_buffer("variance", torch.ones(latent, 1, 1))  # of each unit over the masks seen; running
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def training_loss(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """Return the terms dice and ce between reference masks and what comes back of disturbed ones."""
        if batch.target is None:
            raise SegcganError("a mask autoencoder learns from reference masks; this batch has none")
        scored = batch.scored
        mask = one_hot(batch.target, self.encoder.stem.in_channels) * scored[:, None]
        logits = self.decode(self.encode(self._disturb(mask, noise) * scored[:, None]))
        with torch.no_grad():
            code = self.encode(mask).transpose(0, 1).flatten(1)
            share = max(0.05, 1 / (int(self.steps) + 1))
            self.variance.lerp_(code.var(1, correction=0)[:, None, None].to(self.variance), share)
            self.steps += 1
            self.diagnostics = {"projection_error": self.energy(mask, scored[:, None]).mean()}
        return {"dice": dice_loss(logits, batch.target, scored), "ce": cross_entropy(logits, batch.target, scored)}

    def encode(self, mask: Tensor) -> Tensor:
        """Probabilities or one-hot (B, K, H, W) → code (B, Z, H / stride, W / stride)."""
        check_input(mask, self.stride, self.encoder.stem.in_channels, "mask autoencoder classes")
        code: Tensor = self.code(self.encoder(mask)[-1]).float()
        return code

    def decode(self, code: Tensor) -> Tensor:
        """Code → logits (B, K, H, W)."""
        logits: Tensor = self.decoder(code).float()
        return logits

    def project(self, mask: Tensor) -> Tensor:
        """Return probabilities (B, K, H, W): the mask as the autoencoder has seen masks."""
        return self.decode(self.encode(mask)).softmax(1)

    def energy(self, mask: Tensor, scored: Tensor | None = None) -> Tensor:
        """Return how implausible masks are (B,): half the L1 distance to their projection, per scored pixel; 0 … 1.

        Args:
            mask: (B, K, H, W) probabilities or one-hot.
            scored: (B, 1, H, W) bool; None = all pixels. Without any the energy is 0.
        """
        count = torch.ones_like(mask[:, :1]) if scored is None else scored.float()
        difference = 0.5 * (mask - self.project(mask * count)).abs().sum(1, keepdim=True) * count
        return difference.flatten(1).sum(1) / count.flatten(1).sum(1).clamp_min(1)

    def distance(self, first: Tensor, second: Tensor, scored: Tensor) -> Tensor:
        """Return the mean squared difference of two codes (B,); equal masks have 0, nothing scored has 0.

        Units count in multiples of their variance over the training masks, so two unrelated masks are about 2 apart,
        also for a code that has not learnt to use its range. Computed in fp32: the code of most masks is close.

        Args:
            first: (B, K, H, W), 0 where not scored.
            second: likewise.
            scored: (B, 1, H, W) bool; cells of the code that cover none of these pixels do not count.
        """
        cells = F.max_pool2d(scored.float(), self.stride)
        with torch.autocast(first.device.type, enabled=False):
            difference = (self.encode(first.float()) - self.encode(second.float())).square()
        squared = (difference / (self.variance + 1e-6)).mean(1, keepdim=True) * cells
        return squared.flatten(1).sum(1) / cells.flatten(1).sum(1).clamp_min(1)

    def _disturb(self, mask: Tensor, noise: Noise) -> Tensor:
        """Soften masks and let smooth noise displace their boundary by a pixel or two."""
        soft = F.avg_pool2d(mask, _BLUR, 1, _BLUR // 2, count_include_pad=False)
        wave = noise.normal("mask", mask.shape[1], tuple(mask.shape[2:]))
        wave = F.avg_pool2d(wave, _WAVE, 1, _WAVE // 2) * _WAVE  # unit variance again
        return (4 * soft + 0.7 * wave).softmax(1)
