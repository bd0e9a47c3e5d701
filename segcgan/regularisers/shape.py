"""A latent shape loss."""

from torch import Tensor

from segcgan.batch import Batch
from segcgan.errors import at_least
from segcgan.losses.region import one_hot
from segcgan.priors.mask_autoencoder import MaskAutoencoder
from segcgan.regularisers.base import Regulariser


class ShapeLatent(Regulariser):
    """ACNN (Oktay et al., TMI 2018): the drawn mask and the reference shall have the same code.

    The code is that of an autoencoder trained on reference masks alone, so the distance counts what the shapes of this
    data differ by, not pixels.

    Args:
        prior: the autoencoder.
        weight: of the squared distance: mean over the units and the cells of the code that cover a scored pixel, then
            over images. Units have unit variance over the training masks.
    """

    def __init__(self, prior: MaskAutoencoder, weight: float = 0.1) -> None:
        super().__init__(prior)
        at_least("regulariser ", 0, weight=weight)
        self.weight = weight

    def terms(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        """Return the term shape of logits (B, K, H, W)."""
        if batch.target is None:
            raise ValueError("a shape loss needs a target")
        prior, scored = self.prior, batch.scored[:, None]
        assert isinstance(prior, MaskAutoencoder)
        drawn = logits.float().softmax(1).masked_fill(~scored, 0.0)
        wanted = one_hot(batch.target, logits.shape[1]) * scored
        return {"shape": self.weight * prior.distance(drawn, wanted, scored).mean()}
