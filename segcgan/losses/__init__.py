"""Losses: pure functions of logits, target and the pixels that count."""

from segcgan.losses.boundary import sobel_l1
from segcgan.losses.energy import energy_score
from segcgan.losses.mask import mask_terms
from segcgan.losses.region import cross_entropy, dice_loss

__all__ = ["cross_entropy", "dice_loss", "energy_score", "mask_terms", "sobel_l1"]
