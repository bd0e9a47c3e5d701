"""Entropy minimisation: a segmenter should make up its mind."""

import torch
from torch import Tensor

from segcgan.batch import Batch
from segcgan.errors import SegcganError
from segcgan.regularisers.base import Regulariser


class Entropy(Regulariser):
    """Mean entropy of the pixels (Grandvalet & Bengio, NeurIPS 2004; Vu et al., CVPR 2019).

    It needs no reference, so pixels that are valid but not annotated count as well. It makes probabilities more
    extreme: look at the calibration before using them as such.

    Args:
        weight: of the entropy in nats per pixel.
    """

    def __init__(self, weight: float = 0.01) -> None:
        super().__init__()
        if weight < 0:
            raise SegcganError(f"regulariser weight is {weight}; it must be at least 0")
        self.weight = weight

    def terms(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        """Return ``entropy``: mean over the valid pixels of each image, then over images."""
        nats = torch.special.entr(logits.float().softmax(1)).sum(1) * batch.valid[:, 0]
        pixels = batch.valid.flatten(1).sum(1).clamp_min(1)
        return {"entropy": self.weight * (nats.flatten(1).sum(1) / pixels).mean()}
