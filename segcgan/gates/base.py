"""The contract of a gate."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from segcgan.case import Array


@dataclass(frozen=True)
class Unit:
    """One validation case as a gate is fitted on it.

    Args:
        evidence: what :meth:`Gate.evidence` gave for the whole case.
        gain: refined minus coarse, in the score that is to be improved.
        change: refined minus coarse IoU, for counting harm.
    """

    evidence: Array
    gain: float
    change: float


class Gate(nn.Module, ABC):
    """Decides per case from evidence that adds up over parts, so a case need never be in memory as a whole.

    Fitted thresholds are buffers: they travel with the weights.
    """

    @abstractmethod
    def evidence(self, coarse: Array, refined: Array, valid: Array) -> Array:
        """Return additive evidence (n,) float64 of a part: class indices (d, h, w), validity (d, h, w) bool."""

    @abstractmethod
    def decide(self, evidence: Array) -> tuple[bool, str]:
        """Return whether the refined mask is kept, and why in half a sentence."""

    @abstractmethod
    def fit(self, units: Sequence[Unit]) -> str:
        """Fit thresholds on validation cases and return a sentence on what came out."""
