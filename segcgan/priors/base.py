"""The contract of a prior."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from segcgan.batch import Batch
from segcgan.noise import Noise


class Prior(nn.Module, ABC):
    """Learns what masks (or images) look like, before the segmenter; see :class:`segcgan.regularisers.Regulariser`.

    Attributes:
        diagnostics: what the last training step measured and did not minimise; logged.
    """

    def __init__(self) -> None:
        super().__init__()
        self.diagnostics: dict[str, Tensor] = {}

    @abstractmethod
    def training_loss(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """Return named loss terms (scalars; their sum is minimised)."""
