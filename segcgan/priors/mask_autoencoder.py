"""A mask autoencoder: knows which shapes there are, and no image."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segcgan.batch import Batch
from segcgan.losses.region import one_hot
from segcgan.noise import Noise
from segcgan.priors.base import Prior


class MaskAutoencoder(Prior):
    """Denoising convolutional autoencoder of masks (the T-L network of Oktay et al., TMI 2018, without its L).

    Args:
        classes: K.
        width: features of the first level; doubled at each.
        levels: halvings; the code is (B, code, H / 2**levels, W / 2**levels).
        code: channels of the code.
        flip: share of pixels whose class is redrawn before encoding: it learns shapes rather than the identity.
    """

    def __init__(self, classes: int, width: int = 16, levels: int = 4, code: int = 16, flip: float = 0.05) -> None:
        super().__init__()
        self.classes, self.stride, self.flip = classes, 2**levels, flip
        widths = [width * 2 ** min(level, 3) for level in range(levels)]
        down: list[nn.Module] = []
        up: list[nn.Module] = [nn.Conv2d(code, widths[-1], 1), nn.SiLU()]
        for a, b in zip([classes, *widths[:-1]], widths, strict=True):
            down += [nn.Conv2d(a, b, 4, 2, 1), nn.SiLU()]
        for a, b in zip(widths[::-1], [*widths[-2::-1], width], strict=True):
            up += [nn.ConvTranspose2d(a, b, 4, 2, 1), nn.SiLU()]
        self.encoder = nn.Sequential(*down, nn.Conv2d(widths[-1], code, 1))
        self.decoder = nn.Sequential(*up, nn.Conv2d(width, classes, 3, padding=1))

    def encode(self, mask: Tensor) -> Tensor:
        """(B, K, H, W) probabilities or one-hot → code (B, code, h, w)."""
        found: Tensor = self.encoder(mask)
        return found

    def decode(self, code: Tensor) -> Tensor:
        """Code (B, code, h, w) → logits (B, K, H, W)."""
        found: Tensor = self.decoder(code)
        return found.float()

    def project(self, mask: Tensor) -> Tensor:
        """Return the logits (B, K, H, W) of the nearest mask it can draw."""
        return self.decode(self.encode(mask))

    def energy(self, mask: Tensor) -> Tensor:
        """Return how implausible masks (B, K, H, W) are (B,): 1 − Dice with their projection, foreground."""
        a, b = mask[:, 1:].flatten(1), self.project(mask).softmax(1)[:, 1:].flatten(1)
        return 1 - (2 * (a * b).sum(1) + 1) / (a.sum(1) + b.sum(1) + 1)

    def training_loss(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """Return the cross entropy between reference masks and what comes back of spoilt ones."""
        if batch.target is None:
            raise ValueError("a mask prior needs reference masks")
        scored = batch.scored[:, None]
        mask = one_hot(batch.target, self.classes) * scored
        spoil = noise.normal("spoil", 1, tuple(mask.shape[2:])) > _quantile(self.flip)
        other = F.one_hot(noise.normal("other", self.classes, tuple(mask.shape[2:])).argmax(1), self.classes)
        spoilt = torch.where(spoil, other.permute(0, 3, 1, 2).to(mask), mask) * scored
        nats = -(self.project(spoilt).log_softmax(1) * mask).sum(1)
        pixels = scored.flatten(1).sum(1).clamp_min(1)
        return {"ce": (nats.flatten(1).sum(1) / pixels).mean()}


def _quantile(share: float) -> float:
    """The value a standard normal number exceeds with this probability."""
    return float(torch.special.ndtri(torch.tensor(1 - min(max(share, 1e-6), 1 - 1e-6), dtype=torch.float64)))
