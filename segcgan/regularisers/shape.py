"""Latent shape loss: drawn and reference mask should have the same code."""

from torch import Tensor

from segcgan.batch import Batch
from segcgan.errors import SegcganError
from segcgan.losses.region import one_hot
from segcgan.priors import MaskAutoencoder
from segcgan.regularisers.base import Regulariser


class ShapeLatent(Regulariser):
    """Squared distance of the codes of a mask autoencoder (ACNN, Oktay et al., TMI 2018).

    The autoencoder is trained on the reference masks in the stage "prior" and frozen from then on.

    Args:
        prior: the autoencoder.
        weight: of the mean squared difference of the codes.
    """

    prior: MaskAutoencoder

    def __init__(self, prior: MaskAutoencoder, weight: float = 0.1) -> None:
        super().__init__()
        if weight < 0:
            raise SegcganError(f"regulariser weight is {weight}; it must be at least 0")
        self.prior, self.weight = prior, weight

    def terms(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        """Return ``shape``; pixels that do not count are empty in both masks."""
        if batch.target is None:
            raise ValueError("a shape loss needs a target")
        scored = batch.scored[:, None]
        drawn = self.prior.encode(logits.float().softmax(1) * scored)
        wanted = self.prior.encode(one_hot(batch.target, logits.shape[1]) * scored)
        return {"shape": self.weight * (drawn - wanted).float().square().mean()}
