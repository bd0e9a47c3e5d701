"""The contract of a gate."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from segcgan.case import Array


@dataclass(frozen=True)
class GateExample:
    """One validation case as a gate is fitted on it.

    Args:
        case: its name.
        group: patient or scene; the case itself if there is none. Cases of one group are not independent.
        evidence: what :meth:`Gate.evidence` gave for the whole case.
        harmed: pixels that the refined mask makes wrong, see :func:`segcgan.metrics.harm.count_harm`.
        reference: foreground pixels of the reference.
        gain: refined minus coarse, in the score that is to be improved; NaN where there is none.
    """

    case: str
    group: str
    evidence: Array
    harmed: int
    reference: int
    gain: float


class Gate(nn.Module, ABC):
    """Decides per case from evidence that adds up over parts, so a case need never be in memory as a whole.

    Fitted thresholds are buffers: they travel with the weights. ``facts`` are the numbers behind the sentence of
    :meth:`fit`, for ``run.json``; empty before, and for a gate that has none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.facts: dict[str, Any] = {}

    @abstractmethod
    def evidence(self, coarse: Array, refined: Array, valid: Array) -> Array:
        """Return additive evidence (n,) float64 of a part: class indices (d, h, w), validity (d, h, w) bool."""

    @abstractmethod
    def decide(self, evidence: Array) -> tuple[bool, str]:
        """Return whether the refined mask is kept, and why in half a sentence."""

    @abstractmethod
    def fit(self, examples: Sequence[GateExample]) -> str:
        """Fit thresholds on validation cases and return a sentence on what came out."""
