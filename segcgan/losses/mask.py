"""The terms every mask is trained with."""

from torch import Tensor

from segcgan.batch import Batch
from segcgan.losses.boundary import sobel_l1
from segcgan.losses.region import cross_entropy, dice_loss


def mask_terms(logits: Tensor, batch: Batch, boundary_weight: float = 0.0) -> dict[str, Tensor]:
    """Return the terms dice and ce, and sobel if it has a weight.

    Args:
        logits: (B, K, H, W).
        batch: with targets.
        boundary_weight: of the Sobel term.
    """
    if batch.target is None:
        raise ValueError("training needs a target")
    terms = {
        "dice": dice_loss(logits, batch.target, batch.scored),
        "ce": cross_entropy(logits, batch.target, batch.scored),
    }
    if boundary_weight:
        terms["sobel"] = boundary_weight * sobel_l1(logits, batch.target, batch.scored)
    return terms
