"""Entropy minimisation."""

from torch import Tensor

from segcgan.batch import Batch
from segcgan.errors import at_least
from segcgan.regularisers.base import Regulariser


class Entropy(Regulariser):
    """Pushes the segmenter to decide (Grandvalet & Bengio, NIPS 2004): the mean entropy of its pixels, in nats.

    Needs no reference, so pixels without a known target count too. It makes a segmenter more confident, not more
    often right: look at its calibration.

    Args:
        weight: of the mean over the valid pixels of an image, then over images; an image without any costs 0.
    """

    def __init__(self, weight: float = 0.05) -> None:
        super().__init__()
        at_least("regulariser ", 0, weight=weight)
        self.weight = weight

    def terms(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        """Return the term entropy of logits (B, K, H, W); at most ``weight * log(K)``."""
        valid = batch.valid[:, 0]
        # masked first: what an invalid pixel holds, be it infinite, has no say, neither in the value nor in its slope
        log_p = logits.float().masked_fill(~batch.valid, 0.0).log_softmax(1)
        nats = -(log_p.exp() * log_p).sum(1).masked_fill(~valid, 0.0)
        pixels = valid.flatten(1).sum(1).clamp_min(1)
        return {"entropy": self.weight * (nats.flatten(1).sum(1) / pixels).mean()}
