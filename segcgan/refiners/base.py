"""The contract of a refiner. A new one is one file with these two methods, named in the config by ``class_path``."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

from torch import Tensor, nn

from segcgan.batch import Batch
from segcgan.noise import Noise


class Refiner(nn.Module, ABC):
    """Corrects coarse masks; knows nothing of what drew them, so masks from files work too.

    Attributes:
        evaluations: network passes per sample.
        reach: how many pixels away an input can change a result; ``None`` = unbounded (attention, a global latent).
            With a finite reach, prediction in windows has no seams; anything that averages over the window
            (instance or group norm) makes it unbounded.
        stride: windows start at multiples of this and have sizes divisible by it.
        stochastic: False if two samples are always equal; then only one is drawn.
        diagnostics: what the last training step measured and did not minimise; logged.
    """

    evaluations: ClassVar[int] = 1
    reach: int | None = None
    stride: int = 1
    stochastic: bool = False

    def __init__(self) -> None:
        super().__init__()
        self.diagnostics: dict[str, Tensor] = {}

    @abstractmethod
    def training_loss(self, batch: Batch, noise: Noise) -> tuple[dict[str, Tensor], Tensor]:
        """Return named loss terms (scalars; their sum is minimised) and logits (B, K, *S)."""

    @abstractmethod
    def refine(self, batch: Batch, noise: Noise) -> Tensor:
        """Return one sample of logits (B, K, *S) from ``batch.image``, ``batch.coarse`` and ``batch.valid``."""

    def samples(self, batch: Batch, noises: Sequence[Noise]) -> Iterator[Tensor]:
        """Yield one sample of logits per noise; refiners whose samples share most of the work do it once."""
        for noise in noises:
            yield self.refine(batch, noise)
