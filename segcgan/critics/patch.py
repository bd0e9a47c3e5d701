"""A critic that judges overlapping patches of (image, mask)."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from segcgan.errors import at_least


class PatchCritic(nn.Module):
    """PatchGAN (Isola et al., CVPR 2017) with spectral normalisation (Miyato et al., ICLR 2018) and no batch norm.

    Batch norm would tell real from fake by the statistics of their batches alone.

    Args:
        channels: of the image, with 2.5-D context (C x slices); 0 = the critic sees masks only.
        classes: K.
        width: features of the first layer; doubled at each of the next two.
        layers: convolutions of stride 2; a score sees 5 * 2**layers - 2 pixels (18 for 2, 38 for 3).
        spectral: False leaves the normalisation out (then give the objective a gradient penalty).
    """

    def __init__(
        self, channels: int, classes: int, width: int = 32, layers: int = 3, spectral: bool = True
    ) -> None:
        super().__init__()
        at_least("critic ", 0, channels=channels)
        at_least("critic ", 1, classes=classes, width=width, layers=layers)
        self.channels, self.classes = channels, classes
        widths = [width * min(2**level, 4) for level in range(layers)]
        sizes = [channels + classes, *widths]
        convolutions = [nn.Conv2d(a, b, 4, 2, 1) for a, b in pairwise(sizes)]
        last = nn.Conv2d(widths[-1], 1, 3, padding=1)
        wrap = spectral_norm if spectral else nn.Identity()
        self.body = nn.ModuleList(wrap(layer) for layer in convolutions)
        self.head = wrap(last)

    def forward(self, mask: Tensor, image: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """Judge masks.

        Args:
            mask: (B, K, H, W) in the representation critics see.
            image: (B, C, H, W); not looked at when ``channels`` is 0.

        Returns:
            scores (B, 1, h, w), high = looks like a reference, and the features of each layer.
        """
        x = mask if image is None or self.channels == 0 else torch.cat([mask, image.to(mask.dtype)], 1)
        features = []
        for layer in self.body:
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return self.head(x), features
