"""The contract of a regulariser."""

from abc import ABC, abstractmethod
from typing import Self

from torch import Tensor, nn

from segcgan.batch import Batch
from segcgan.priors import Prior


class Regulariser(nn.Module, ABC):
    """Adds terms to the loss of a segmenter.

    Attributes:
        prior: trained beforehand in the stage "prior" and frozen from then on; None = nothing to train.

    Args:
        prior: see above.
    """

    prior: Prior | None  # no default here: a class attribute would hide the registered module

    def __init__(self, prior: Prior | None = None) -> None:
        super().__init__()
        self.prior = prior

    def train(self, mode: bool = True) -> Self:
        """Switch to training; a prior that is frozen stays in evaluation."""
        super().train(mode)
        if self.prior is not None and not any(parameter.requires_grad for parameter in self.prior.parameters()):
            self.prior.eval()
        return self

    @abstractmethod
    def terms(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        """Return named, weighted loss terms of the segmenter's logits (B, K, *S)."""
