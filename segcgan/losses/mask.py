"""The terms every mask is trained with."""

from torch import Tensor

from segcgan.batch import Batch
from segcgan.losses.boundary import sobel_l1
from segcgan.losses.region import cross_entropy, dice_loss


def mask_terms(logits: Tensor, batch: Batch, boundary_weight: float = 0.0) -> dict[str, Tensor]:
    """Return the terms dice and ce, and sobel if it has a weight; with several raters the term ce alone.

    Dice of one rater drawn at random is no proper score: its minimum is no average of the raters but one answer, and at
    the logits its gradient is about 12 times that of the cross entropy. The cross entropy is minimised by the share of
    raters that marked a pixel (Gneiting & Raftery, JASA 2007).

    Args:
        logits: (B, K, H, W).
        batch: with targets.
        boundary_weight: of the Sobel term.
    """
    if batch.target is None:
        raise ValueError("training needs a target")
    ce = cross_entropy(logits, batch.target, batch.scored)
    scored = batch.alone
    if scored is None:
        return {"ce": ce}
    terms = {"dice": dice_loss(logits, batch.target, scored), "ce": ce}
    if boundary_weight:
        terms["sobel"] = boundary_weight * sobel_l1(logits, batch.target, scored)
    return terms
