"""The U-shaped network behind the refiners: no statistics of the window, hence of finite reach."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segcgan.batch import Batch

_GAIN = 4.0  # of the last layer: logits are several units large, and small steps would take long to get there
_FLOOR = 2e-3  # about half a grey level of a probability stored in 8 bits: soft and stored masks look alike


class PixelNorm(nn.Module):
    """Scale each pixel's feature vector to unit length (Karras et al., ICLR 2018): nothing leaks across a window."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → the same shape."""
        return pixel_norm(x)


def pixel_norm(x: Tensor) -> Tensor:
    """Return (B, C, H, W) with the feature vector of each pixel at a root mean square of 1."""
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


class Encoder(nn.Module):
    """The way down: features at every resolution.

    Args:
        channels: of the input.
        width: features at full resolution; doubled at each level.
        levels: resolutions; each halves the previous.
    """

    def __init__(self, channels: int, width: int, levels: int) -> None:
        super().__init__()
        self.widths = [width * 2**level for level in range(levels)]
        self.stride = 2 ** (levels - 1)
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.blocks = nn.ModuleList(Block(w) for w in self.widths)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(self.widths))

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, channels, H, W) → features (B, width * 2**level, H / 2**level, W / 2**level) of every level."""
        x = self.stem(x)
        found = [self.blocks[0](x)]
        for down, block in zip(self.down, self.blocks[1:], strict=True):
            found.append(block(down(found[-1])))
        return found


class Decoder(nn.Module):
    """The way up again.

    Args:
        widths: features of each level.
    """

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.blocks = nn.ModuleList(Block(w) for w in widths[:-1])

    def forward(self, features: list[Tensor]) -> Tensor:
        """Features of every level → (B, width, H, W)."""
        x = features[-1]
        for up, block, skip in zip(reversed(self.up), reversed(self.blocks), reversed(features[:-1]), strict=True):
            x = block(skip + F.interpolate(up(x), scale_factor=2.0, mode="nearest"))
        return x


def reach(levels: int) -> int:
    """Return how many pixels away an input of encoder and decoder together can change their output."""
    # stem 1; per level two 3x3 convolutions down and two up at that level's stride; each halving moves by one pixel
    return 1 + sum(5 * 2**level for level in range(levels - 1)) + 2 * 2 ** (levels - 1)


class Correction(nn.Module):
    """The last layer of a refiner: how far the coarse mask is trusted, and what is added to it.

    A hard mask claims a certainty that it has not earned, six logits at every pixel; what only adds to it would hardly
    ever overturn it, so its logits are scaled as well. Starts at zero: an untrained refiner returns the coarse mask.

    Args:
        width: features.
        classes: K.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.norm, self.last = PixelNorm(), nn.Conv2d(width, classes + 1, 1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor, coarse: Tensor) -> Tensor:
        """Features (B, width, H, W) and coarse logits (B, K, H, W) → logits (B, K, H, W) float32."""
        found = _GAIN * self.last(self.norm(features)).float()
        return (1 + found[:, -1:]) * coarse.float() + found[:, :-1]


def coarse_logits(batch: Batch) -> Tensor:
    """Return the log-probabilities (B, K, H, W) of the coarse masks of a batch; 0 where nothing is valid."""
    if batch.coarse is None:
        raise ValueError("refining needs a coarse mask")
    return batch.coarse.clamp(_FLOOR, 1).log() * batch.valid


def refiner_input(batch: Batch) -> Tensor:
    """Return what a refiner sees: image, coarse log-probabilities and validity (B, C + K + 1, H, W)."""
    return torch.cat([batch.image, coarse_logits(batch) / 3, batch.valid.to(batch.image.dtype)], 1)


def with_latents(features: Tensor, maps: Tensor, case: Tensor) -> Tensor:
    """Join features with what is drawn at random.

    Args:
        features: (B, C, H, W).
        maps: (B, Z, H / stride, W / stride), interpolated between its cells.
        case: (B, N), the same everywhere.

    Returns:
        (B, C + Z + N, H, W).
    """
    scale = features.shape[-1] / maps.shape[-1]
    wide = F.interpolate(maps.to(features.dtype), scale_factor=scale, mode="bilinear")
    everywhere = case.to(features.dtype)[..., None, None].expand(*case.shape, *features.shape[2:])
    return torch.cat([features, wide, everywhere], 1)


def beside_latents(features: Tensor, maps: Tensor, case: Tensor, joint: bool = False) -> Tensor:
    """Normalise features, and join them with what is drawn at random; arguments as for :func:`with_latents`.

    What is drawn has a scale already: normalised together with large features, it would shrink until no sample differs
    from another. ``joint`` does that all the same, as runs of format 1 were trained.
    """
    if joint:
        return pixel_norm(with_latents(features, maps, case))
    return with_latents(pixel_norm(features), maps, case)
