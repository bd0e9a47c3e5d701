"""The contract of a regulariser."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from segcgan.batch import Batch
from segcgan.priors import Prior


class Regulariser(nn.Module, ABC):
    """Adds terms to the loss of a segmenter.

    Attributes:
        prior: trained beforehand in the stage "prior" and frozen from then on; None = nothing to train.
    """

    def __init__(self) -> None:
        super().__init__()
        self.prior: Prior | None = None

    @abstractmethod
    def terms(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        """Return named, weighted loss terms of the segmenter's logits (B, K, *S)."""
