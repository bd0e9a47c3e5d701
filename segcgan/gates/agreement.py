"""Keep a refined mask only where it agrees with the coarse one about as well as harmless refinements did."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.special import stdtrit
from torch import Tensor

from segcgan.case import Array
from segcgan.errors import SegcganError
from segcgan.gates.base import Gate, Unit
from segcgan.metrics.objects import HARM

_CLOSED = 2.0  # no Dice reaches it


class AgreementGate(Gate):
    """Accepts a case when Dice(coarse, refined) reaches a threshold.

    The threshold is the one with the largest mean gain on validation cases among those that harm at most ``max_harm``
    of the accepted cases and whose gain is beyond chance: the lower bound of Student's t for the mean gain of the
    accepted cases is above 0. If there is none the gate stays shut and every coarse mask is kept. That agreement tells
    good corrections from bad is known from mask autoencoders (Larrazabal et al., TMI 2020).

    Args:
        max_harm: largest share of accepted validation cases whose IoU may fall by more than 0.02.
        confidence: one-sided, of the lower bound; it takes cases for independent and is not corrected for the number of
            thresholds. One case bounds nothing. 0 = any gain will do.
    """

    threshold: Tensor

    def __init__(self, max_harm: float = 0.05, confidence: float = 0.95) -> None:
        super().__init__()
        if not 0 <= max_harm <= 1:
            raise SegcganError(f"gate max_harm is {max_harm}; it is a share and must lie between 0 and 1")
        if not 0 <= confidence < 1:
            raise SegcganError(f"gate confidence is {confidence}; it must be at least 0 and below 1")
        self.max_harm, self.confidence = max_harm, confidence
        self.register_buffer("threshold", torch.tensor(_CLOSED, dtype=torch.float64))

    def evidence(self, coarse: Array, refined: Array, valid: Array) -> Array:
        """Return [twice the foreground pixels both call the same, foreground pixels of one + of the other]."""
        a, b = coarse[valid], refined[valid]
        same = np.count_nonzero((a == b) & (a > 0))
        return np.array([2 * same, np.count_nonzero(a) + np.count_nonzero(b)], dtype=np.float64)

    def decide(self, evidence: Array) -> tuple[bool, str]:
        """Compare the agreement of the whole case with the threshold; two empty masks agree fully."""
        agreement, threshold = _agreement(evidence), float(self.threshold)
        if threshold >= _CLOSED:
            return False, f"gate shut (no safe gain on validation data); agreement {agreement:.3f}"
        accepted = agreement >= threshold
        return accepted, f"agreement {agreement:.3f} {'≥' if accepted else '<'} {threshold:.3f}"

    def fit(self, units: Sequence[Unit]) -> str:
        """Choose the threshold; see the class."""
        if not units:
            self.threshold.fill_(_CLOSED)
            return "no validation case: the gate is shut"
        agreement = np.array([_agreement(unit.evidence) for unit in units])
        gain = np.nan_to_num([unit.gain for unit in units])
        harmed = np.nan_to_num([unit.change for unit in units]) < -HARM
        best, chosen = 0.0, _CLOSED
        for threshold in np.unique(agreement)[::-1]:
            accepted = agreement >= threshold
            mean_gain = float((gain * accepted).mean())
            if mean_gain > best and harmed[accepted].mean() <= self.max_harm and self._certain(gain[accepted]):
                best, chosen = mean_gain, float(threshold)
        self.threshold.fill_(chosen)
        if chosen == _CLOSED:
            allowed = f"with at most {self.max_harm:.0%} of the accepted harmed"
            beyond = f" beyond chance ({self.confidence:.0%})" if self.confidence else ""
            return f"no threshold gains{beyond} on the {len(units)} validation cases {allowed}: the gate is shut"
        accepted = agreement >= chosen
        return (
            f"accepts an agreement ≥ {chosen:.3f}: {accepted.sum()} of {len(units)} validation cases, "
            f"{int(harmed[accepted].sum())} of them harmed (IoU down by more than {HARM})"
        )

    def _certain(self, gains: Array) -> bool:
        """Tell whether the mean is above 0 by more than chance."""
        if not self.confidence:
            return True
        if gains.size < 2:
            return False
        error = gains.std(ddof=1) / np.sqrt(gains.size)
        return bool(gains.mean() > float(stdtrit(gains.size - 1, self.confidence)) * error)


def _agreement(evidence: Array) -> float:
    return float(evidence[0] / evidence[1]) if evidence[1] else 1.0
