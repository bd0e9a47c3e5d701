"""The way from a code back to full resolution, without skip connections."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from segcgan.errors import SegcganError
from segcgan.refiners.ushape import Block, PixelNorm


class Upward(nn.Module):
    """Decodes a latent map; nothing of the input passes but through the code.

    Args:
        latent: channels of the code.
        widths: features of each resolution, the finest first.
        channels: of the result.
    """

    def __init__(self, latent: int, widths: list[int], channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(latent, widths[-1], 3, padding=1), Block(widths[-1]))
        self.up = nn.ModuleList(nn.Conv2d(b, a, 3, padding=1) for a, b in pairwise(widths))
        self.blocks = nn.ModuleList(Block(w) for w in widths[:-1])
        self.head = nn.Sequential(PixelNorm(), nn.Conv2d(widths[0], channels, 1))

    def forward(self, code: Tensor) -> Tensor:
        """(B, latent, h, w) → (B, channels, h * stride, w * stride)."""
        x = self.stem(code)
        for up, block in zip(reversed(self.up), reversed(self.blocks), strict=True):
            x = block(up(F.interpolate(x, scale_factor=2.0, mode="nearest")))
        found: Tensor = self.head(x)
        return found


def check_input(x: Tensor, stride: int, channels: int, what: str) -> None:
    """Refuse windows (B, C, H, W) that do not fill whole cells of a code, or have another number of channels.

    Args:
        x: to be encoded.
        stride: of the code.
        channels: the prior was made for.
        what: the prior and what its channels are called.

    Raises:
        SegcganError: with the cure.
    """
    if x.shape[1] != channels:
        name, word = what.rsplit(" ", 1)
        raise SegcganError(f"the {name} has {word}: {channels} but the data have {x.shape[1]}; make them equal")
    if any(length % stride for length in x.shape[-2:]):
        size = " x ".join(map(str, x.shape[-2:]))
        cure = f"make data.sampling.patch divisible by {stride}, or the prior's levels fewer"
        raise SegcganError(f"the prior cannot encode windows of {size}; {cure}")
