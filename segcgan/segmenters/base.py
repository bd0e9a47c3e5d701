"""What trains a segmenter: any network image → logits, or one that brings a loss of its own."""

from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from segcgan.batch import Batch
from segcgan.errors import SegcganError
from segcgan.losses import mask_terms
from segcgan.noise import Noise


@runtime_checkable
class SelfTaught(Protocol):
    """A segmenter that has more to learn than its mask: auxiliary branches, a latent."""

    def training_loss(self, batch: Batch, noise: Noise) -> tuple[dict[str, Tensor], Tensor]:
        """Return named loss terms (scalars; their sum is minimised) and logits (B, K, *S)."""


def segmenter_loss(segmenter: nn.Module, batch: Batch, noise: Noise) -> tuple[dict[str, Tensor], Tensor]:
    """Return the terms and logits of a segmenter: its own if it has any, else Dice and cross entropy.

    Args:
        segmenter: image (B, C, *S) → logits (B, K, *S).
        batch: with targets.
        noise: for segmenters that sample.
    """
    if isinstance(segmenter, SelfTaught):
        return segmenter.training_loss(batch, noise)
    if batch.target is None:
        raise SegcganError("training needs reference masks")
    logits = segmenter(batch.image)
    return mask_terms(logits, batch), logits
