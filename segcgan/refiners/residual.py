"""A deterministic refiner: a small network that scales the coarse log-probabilities and adds to them."""

from torch import Tensor

from segcgan.batch import Batch
from segcgan.errors import at_least
from segcgan.losses import mask_terms
from segcgan.noise import Noise
from segcgan.refiners.base import Refiner
from segcgan.refiners.ushape import Correction, Decoder, Encoder, coarse_logits, reach, refiner_input


class ResidualRefiner(Refiner):
    """U-shaped correction network without window statistics, hence of finite reach.

    Trained with Dice + cross entropy + Sobel L1 (the loss of CascadePSP, CVPR 2020).

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
        at_least("refiner ", 1, width=width, levels=levels)
        at_least("refiner ", 0, boundary_weight=boundary_weight)
        self.boundary_weight = boundary_weight
        self.encoder = Encoder(channels + classes + 1, width, levels)
        self.decoder = Decoder(self.encoder.widths)
        self.head = Correction(width, classes)
        self.stride, self.reach = self.encoder.stride, reach(levels)

    def training_loss(self, batch: Batch, noise: Noise) -> tuple[dict[str, Tensor], Tensor]:
        """Return the terms dice, ce and sobel, and logits (B, K, H, W)."""
        logits = self.refine(batch, noise)
        return mask_terms(logits, batch, self.boundary_weight), logits

    def refine(self, batch: Batch, noise: Noise) -> Tensor:
        """Return logits (B, K, H, W); ``noise`` is not used: every sample is the same."""
        logits: Tensor = self.head(self.decoder(self.encoder(refiner_input(batch))), coarse_logits(batch))
        return logits
