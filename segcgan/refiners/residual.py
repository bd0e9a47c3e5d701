"""A deterministic refiner: a small network that adds a correction to the coarse log-probabilities."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segcgan.batch import Batch
from segcgan.losses import cross_entropy, dice_loss, sobel_l1
from segcgan.noise import Noise
from segcgan.refiners.base import Refiner

_FLOOR = 2e-3  # about half a grey level of a probability stored in 8 bits: soft and stored masks look alike


class PixelNorm(nn.Module):
    """Scale each pixel's feature vector to unit length (Karras et al., ICLR 2018): nothing leaks across a window."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → the same shape."""
        return x * torch.rsqrt(x.float().square().mean(1, keepdim=True) + 1e-6).to(x.dtype)


class Block(nn.Module):
    """Two 3 x 3 convolutions with a shortcut; close to the identity at the start of training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            PixelNorm(), nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)
        )
        self.gain = nn.Parameter(torch.full((width, 1, 1), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) → the same shape."""
        return x + self.gain * self.body(x)


class ResidualRefiner(Refiner):
    """U-shaped correction network without window statistics, hence of finite reach.

    Trained with Dice + cross entropy + Sobel L1 (the loss of CascadePSP, CVPR 2020). Its last layer starts at zero:
    an untrained refiner returns the coarse mask.

    Args:
        channels: of the image, with 2.5-D context (C x slices).
        classes: K.
        width: features at full resolution; doubled at each level.
        levels: resolutions; each halves the previous.
        boundary_weight: of the Sobel term.
    """

    def __init__(
        self, channels: int, classes: int, width: int = 24, levels: int = 4, boundary_weight: float = 5.0
    ) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(levels)]
        self.boundary_weight = boundary_weight
        self.stem = nn.Conv2d(channels + classes + 1, width, 3, padding=1)
        self.encoder = nn.ModuleList(Block(w) for w in widths)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.decoder = nn.ModuleList(Block(w) for w in widths[:-1])
        last = nn.Conv2d(width, classes, 1)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        self.head = nn.Sequential(PixelNorm(), last)
        self.stride = 2 ** (levels - 1)
        # stem 1; per level two 3x3 convolutions down and two up at that level's stride; each halving moves by one pixel
        self.reach = 1 + sum(5 * 2**level for level in range(levels - 1)) + 2 * self.stride

    def training_loss(self, batch: Batch, noise: Noise) -> tuple[dict[str, Tensor], Tensor]:
        """Return the terms dice, ce and sobel, and logits (B, K, H, W)."""
        logits = self.refine(batch, noise)
        if batch.target is None:
            raise ValueError("training needs a target")
        terms = {
            "dice": dice_loss(logits, batch.target, batch.scored),
            "ce": cross_entropy(logits, batch.target, batch.scored),
            "sobel": self.boundary_weight * sobel_l1(logits, batch.target, batch.scored),
        }
        return terms, logits

    def refine(self, batch: Batch, noise: Noise) -> Tensor:
        """Return logits (B, K, H, W); ``noise`` is not used: every sample is the same."""
        if batch.coarse is None:
            raise ValueError("refining needs a coarse mask")
        coarse = batch.coarse.clamp(_FLOOR, 1).log() * batch.valid
        x = self.stem(torch.cat([batch.image, coarse / 3, batch.valid.to(batch.image.dtype)], 1))
        skips = []
        for encoder, down in zip(self.encoder, self.down, strict=False):
            skips.append(encoder(x))
            x = down(skips[-1])
        x = self.encoder[-1](x)
        for up, decoder, skip in zip(reversed(self.up), reversed(self.decoder), reversed(skips), strict=True):
            x = decoder(skip + F.interpolate(up(x), scale_factor=2.0, mode="nearest"))
        return coarse.float() + self.head(x).float()
