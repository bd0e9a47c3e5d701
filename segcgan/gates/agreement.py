"""Keep a refined mask only where it agrees with the coarse one about as well as harmless refinements did."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from segcgan.case import Array
from segcgan.errors import SegcganError
from segcgan.gates import promises
from segcgan.gates.base import Gate, GateExample
from segcgan.metrics.harm import harm_shares
from segcgan.metrics.statistics import t_lower_bound

Promise = Literal["expected", "sure"]

_SHUT = 2.0  # a threshold that no Dice reaches
_TOO_FEW = 3.0  # likewise
_WHY = {_SHUT: "no safe gain on validation data", _TOO_FEW: "too few validation groups"}


class AgreementGate(Gate):
    """Accepts a case when Dice(coarse, refined) reaches a threshold.

    It promises something about *groups* (patients, scenes), as cases of one group are not independent. The harm to a
    group is the number of pixels that its accepted refined masks make wrong where the coarse mask was right, over the
    foreground pixels of its reference, and 1 at most; a group whose reference is empty has harm 1 if any pixel is
    added. Refined masks that are not accepted do no harm, so a stricter threshold never harms more. The two promises:

    - ``"expected"``: the harm to a further group is at most ``max_harm`` in expectation, over validation sets as well
      (conformal risk control, :func:`segcgan.gates.promises.expected`);
    - ``"sure"``: the mean harm to further groups is at most ``max_harm``, which a validation set shows wrongly with a
      probability of 1 - ``confidence`` at most (a betting e-value, :func:`segcgan.gates.promises.sure`).

    The threshold is the lowest agreement of a validation case with which the promise holds. The gate opens at it if
    the gain is above 0, too: the mean over groups of the gain in score (IoU and Boundary IoU) of their cases, its
    lower bound by Student's t over groups. That bound takes the gains of groups for about normal; a rare large loss is
    what the limit of harm is for. Otherwise every coarse mask is kept. Further groups must be like those of validation
    (same scanner, same site); that validation chose epochs and decision thresholds too makes both slightly optimistic.

    Agreement tells, on the sets measured here, how large a correction is rather than how good.

    Args:
        max_harm: the limit. 0.2 takes at least 4 groups to be expected and 14 to be sure, 0.1 takes 9 and 29.
        confidence: of ``"sure"`` and of the gain, one-sided. 0 = a mean gain above 0 will do.
        promise: ``"expected"`` or ``"sure"``.

    Raises:
        SegcganError: a value outside these.
    """

    threshold: Tensor

    def __init__(self, max_harm: float = 0.2, confidence: float = 0.95, promise: Promise = "expected") -> None:
        super().__init__()
        if not 0 < max_harm <= 1:
            raise SegcganError(f"gate max_harm is {max_harm}; it is a share and must be above 0 and at most 1")
        if not 0 <= confidence < 1:
            raise SegcganError(f"gate confidence is {confidence}; it must be at least 0 and below 1")
        if promise not in get_args(Promise):
            raise SegcganError(f"gate promise is {promise!r}; choose from {', '.join(get_args(Promise))}")
        if promise == "sure" and not confidence:
            raise SegcganError("gate promise is 'sure' with confidence 0; give a confidence, such as 0.95")
        self.max_harm = max_harm
        self.confidence = confidence
        self.promise = promise
        self.register_buffer("threshold", torch.tensor(_SHUT, dtype=torch.float64))

    def evidence(self, coarse: Array, refined: Array, valid: Array) -> Array:
        """Return [twice the foreground pixels both call the same, foreground pixels of one + of the other]."""
        a, b = coarse[valid], refined[valid]
        same = np.count_nonzero((a == b) & (a > 0))
        return np.array([2 * same, np.count_nonzero(a) + np.count_nonzero(b)], dtype=np.float64)

    def decide(self, evidence: Array) -> tuple[bool, str]:
        """Compare the agreement of the whole case with the threshold; two empty masks agree fully."""
        agreement, threshold = _agreement(evidence), float(self.threshold)
        if threshold >= _SHUT:
            return False, f"gate shut ({_WHY[threshold]}); agreement {agreement:.3f}"
        accepted = agreement >= threshold
        return accepted, f"agreement {agreement:.3f} {'≥' if accepted else '<'} {threshold:.3f}"

    def fit(self, examples: Sequence[GateExample]) -> str:
        """Choose the threshold; see the class.

        A case without a gain has no known pixel: it is no witness, and a group of such cases is none.

        In ``facts``, harm and gain are those at the threshold that was tried; None where there was none to try.
        """
        self.threshold.fill_(_SHUT)
        examples = [each for each in examples if each.gain == each.gain]
        groups = sorted({each.group for each in examples})
        self.facts = {
            "promise": self.promise,
            "promised": self.promised,
            "max_harm": self.max_harm,
            "confidence": self.confidence,
            "cases": len(examples),
            "groups": len(groups),
            "groups_needed": self.fewest,
            "threshold": None,
            "tried": None,
            "accepted": 0,
            "mean_harm": None,
            "mean_gain": None,
            "gain_bound": None,
        }
        sentence = self._fit(examples, groups)
        self.facts |= {"open": float(self.threshold) < _SHUT, "sentence": sentence}
        return sentence

    @property
    def fewest(self) -> int:
        """The number of groups below which the gate stays shut; a bound of the gain takes two."""
        if self.promise == "sure":
            return max(2, promises.fewest_sure(self.max_harm, self.confidence))
        return max(2, promises.fewest_expected(self.max_harm))

    @property
    def promised(self) -> str:
        """The promise in words."""
        limit = f"{100 * self.max_harm:g}%"
        if self.promise == "sure":
            sure = f"with {100 * self.confidence:g}% confidence"
            return f"the mean harm to further groups is at most {limit} of their reference, {sure}"
        return f"the expected harm to a further group is at most {limit} of its reference"

    def _fit(self, examples: Sequence[GateExample], groups: list[str]) -> str:
        own = bool(examples) and all(each.group == each.case for each in examples)  # nobody named any
        alone = ", each image counted as its own group" if own else ""
        count = f"{len(groups)} validation groups{alone}"
        if len(groups) < self.fewest:
            self.threshold.fill_(_TOO_FEW)
            few = f"{len(groups)} validation group{'' if len(groups) == 1 else 's'}, {self.fewest} are needed"
            return f"refined masks not used, too few groups: {few}{alone}; --no-gate uses them"
        agreement = np.array([_agreement(each.evidence) for each in examples])
        levels = np.unique(agreement[agreement < 1])[::-1]  # equal masks show nothing
        if not levels.size:
            return f"refined masks not used: they equal the coarse ones on all of {count}"
        harm, gains = _by_group(examples, groups, agreement, levels)
        passed = int(np.logical_and.accumulate(self._keeps(harm)).sum())
        level = max(passed - 1, 0)
        mean = float(gains[level].mean())
        bound = t_lower_bound(gains[level], self.confidence)
        self.facts |= {
            "tried": float(levels[level]),
            "mean_harm": float(harm[level].mean()),
            "mean_gain": mean,
            "gain_bound": bound,
        }
        harmed = f"harm is {harm[level].mean():.1%} of the reference on average"
        if not passed:
            return (
                f"refined masks not used: even where they differ least from the coarse ones, {harmed} ({count}), too "
                f"much to promise that {self.promised}; --no-gate uses them"
            )
        at_least = f"{100 * self.confidence:g}% lower bound {bound:+.4f}" if self.confidence else "no bound asked for"
        gained = f"the mean gain in score is {mean:+.4f} ({at_least})"
        if not bound > 0:
            return (
                f"refined masks not used: with the agreement ≥ {levels[level]:.3f} that the promise allows, {gained}, "
                f"which shows no gain ({count}); --no-gate uses them"
            )
        accepted = int((agreement >= levels[level]).sum())
        self.threshold.fill_(float(levels[level]))
        self.facts |= {"threshold": float(levels[level]), "accepted": accepted}
        return (
            f"refined masks used where the agreement is ≥ {levels[level]:.3f}: {accepted} of {len(examples)} "
            f"validation cases ({count}); {harmed}, {gained}; promise: {self.promised}"
        )

    def _keeps(self, harm: Array) -> Array:
        """Tell for each threshold, with the harm (T, G) to every group, whether the promise holds: bool (T,)."""
        if self.promise == "sure":
            return promises.sure(harm, self.max_harm, self.confidence)
        return promises.expected(harm, self.max_harm)


def _by_group(
    examples: Sequence[GateExample], groups: list[str], agreement: Array, levels: Array
) -> tuple[Array, Array]:
    """Return harm and mean gain (T, G) of every group at each threshold, with what it accepts."""
    order = np.argsort(-agreement, kind="stable")
    last = np.searchsorted(-agreement[order], -levels, side="right") - 1  # of the cases each threshold accepts
    place = {group: index for index, group in enumerate(groups)}
    member = np.eye(len(groups))[[place[each.group] for each in examples]]  # (N, G)
    harmed = np.array([each.harmed for each in examples], float)[:, None] * member
    reference = np.array([each.reference for each in examples], float) @ member
    gain = np.array([each.gain for each in examples], float)[:, None] * member
    return harm_shares(harmed[order].cumsum(0)[last], reference), gain[order].cumsum(0)[last] / member.sum(0)


def _agreement(evidence: Array) -> float:
    return float(evidence[0] / evidence[1]) if evidence[1] else 1.0
