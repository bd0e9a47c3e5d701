"""Keep a refined mask only where it agrees with the coarse one about as well as harmless refinements did."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.special import stdtrit
from torch import Tensor

from segcgan.case import Array
from segcgan.errors import SegcganError
from segcgan.gates.base import Gate, Unit
from segcgan.metrics.comparison import upper_bound
from segcgan.metrics.objects import HARM

_CLOSED = 2.0  # no Dice reaches it
_LEVELS = 4  # thresholds tried: each costs certainty, as the best of many is partly luck


class AgreementGate(Gate):
    """Accepts a case when Dice(coarse, refined) reaches a threshold.

    Of the validation cases that the refiner changed, the threshold lets through the most agreeing quarter, half, three
    quarters, or all: whichever gains most on average among those that are safe. Safe means, with ``confidence`` that
    holds for the four together (Bonferroni): the upper bound of the share of harmed cases (Clopper & Pearson 1934) is
    at most ``max_harm``, and the lower bound of the mean gain (Student's t) is above 0. If none is, the gate stays shut
    and every coarse mask is kept. Both take cases for independent. Limits that hold for further cases are those of
    selective prediction (Geifman & El-Yaniv, NeurIPS 2017). Agreement tells, on the sets measured here, how large a
    correction is rather than how good: a small one harms less.

    Args:
        max_harm: largest share of accepted cases whose IoU may fall by more than 0.02. 14 cases without harm are the
            fewest that show a fifth, 29 show a tenth; of 40, two may be harmed for a fifth.
        confidence: one-sided. 0 = the shares and gains counted on validation cases will do, whatever they promise.
    """

    threshold: Tensor

    def __init__(self, max_harm: float = 0.2, confidence: float = 0.95) -> None:
        super().__init__()
        if not 0 <= max_harm <= 1:
            raise SegcganError(f"gate max_harm is {max_harm}; it is a share and must lie between 0 and 1")
        if not 0 <= confidence < 1:
            raise SegcganError(f"gate confidence is {confidence}; it must be at least 0 and below 1")
        if confidence and not max_harm:
            raise SegcganError("gate max_harm is 0, which no number of cases shows; give more, or confidence 0")
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
        changed = np.sort(agreement[agreement < 1])[::-1]
        self.threshold.fill_(_CLOSED)
        sure = f" ({self.confidence:.0%})" if self.confidence else ""
        if len(changed) < self.fewest:
            return (
                f"{len(changed)} of {len(units)} validation cases were changed, and it takes {self.fewest} or more to "
                f"show that at most {self.max_harm:.0%} are harmed{sure}: the gate is shut"
            )
        levels = np.unique([math.ceil(len(changed) * (k + 1) / _LEVELS) for k in range(_LEVELS)])
        levels = levels[levels >= self.fewest]
        confidence = 1 - (1 - self.confidence) / len(levels) if self.confidence else 0.0
        best = 0.0
        for threshold in changed[levels - 1]:
            accepted = (agreement >= threshold) & (agreement < 1)  # equal masks show nothing
            mean_gain = float((gain * accepted).mean())
            if mean_gain > best and self._safe(gain[accepted], harmed[accepted], confidence):
                best = mean_gain
                self.threshold.fill_(float(threshold))
        chosen = float(self.threshold)
        if chosen == _CLOSED:
            return (
                f"no threshold surely gains on the {len(units)} validation cases and harms at most {self.max_harm:.0%} "
                f"of the accepted{sure}: the gate is shut"
            )
        accepted = agreement >= chosen
        return (
            f"accepts an agreement ≥ {chosen:.3f}: {accepted.sum()} of {len(units)} validation cases, "
            f"{int(harmed[accepted].sum())} of them harmed (IoU down by more than {HARM})"
        )

    @property
    def fewest(self) -> int:
        """The number of changed cases below which no threshold can be shown to be safe."""
        if not self.confidence:
            return 1
        alone = math.log(1 - self.confidence) / math.log(1 - self.max_harm) if self.max_harm < 1 else 0
        return max(2, math.ceil(alone))  # one gain has no spread

    def _safe(self, gains: Array, harmed: Array, confidence: float) -> bool:
        """Tell whether the share of harmed is at most ``max_harm`` and the mean gain above 0, by more than chance."""
        if not confidence:
            return bool(harmed.mean() <= self.max_harm)
        if upper_bound(int(harmed.sum()), len(harmed), confidence) > self.max_harm:
            return False
        error = gains.std(ddof=1) / np.sqrt(gains.size)
        return bool(gains.mean() > float(stdtrit(gains.size - 1, confidence)) * error)


def _agreement(evidence: Array) -> float:
    return float(evidence[0] / evidence[1]) if evidence[1] else 1.0
