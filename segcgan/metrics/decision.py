"""From probabilities to a mask: a threshold per class, and how it is chosen.

The most likely class is not the decision of the highest Dice: where a class is rare or raters disagree, its probability
seldom passes 0.5 (Lipton et al., ECML 2014; Dai & Li, JMLR 2023).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segcgan.case import IGNORE, Array
from segcgan.errors import SegcganError
from segcgan.metrics.statistics import t_lower_bound

NEUTRAL = 0.5  # the most likely class
CANDIDATES = np.arange(10, 0, -1) / 20  # thresholds tried, in this order: 0.5, 0.45, …, 0.05
FEWEST = 4  # groups below which no threshold is changed
CONFIDENCE = 0.95
_BINS = 1000  # of the odds: every candidate is a limit of two


def decide(probability: Array, thresholds: Sequence[float] | None = None) -> Array:
    """Return class indices (\\*S) uint8 of probabilities (K, \\*S).

    A class wins over the background where p / (p + p of the background) exceeds its threshold; of several such
    classes the one with the largest p (1 - t) / t. All at 0.5, or None: the most likely class.

    Args:
        probability: (K, \\*S), index 0 is the background.
        thresholds: of the classes 1 to K - 1, each in (0, 1).

    Raises:
        SegcganError: another number of thresholds than foreground classes.
    """
    if thresholds is None or all(each == NEUTRAL for each in thresholds):
        return probability.argmax(0).astype(np.uint8)
    if len(thresholds) != len(probability) - 1:
        counts = f"{len(thresholds)} threshold(s) for {len(probability) - 1} foreground class(es)"
        raise SegcganError(f"there are {counts}; give one each")
    odds = np.array([1.0, *((1 - each) / each for each in thresholds)], probability.dtype)
    return (probability * odds.reshape(-1, *([1] * (probability.ndim - 1)))).argmax(0).astype(np.uint8)


class DiceCurve:
    """Dice of one class of one case at every candidate threshold, from sums over parts of the case.

    Args:
        index: of the class.
    """

    def __init__(self, index: int) -> None:
        self._index = index
        self._counts = np.zeros((2, _BINS + 1), np.int64)  # pixels of another class and of this one, by their odds

    def add(self, probability: Array, reference: Array) -> None:
        """Take in a part: probabilities (K, \\*S) uint8 in steps of 1/254, 255 = none, and reference (\\*S)."""
        known = (reference != IGNORE) & (probability[0] != IGNORE)
        mine = probability[self._index][known].astype(np.float64)
        others = np.delete(probability, self._index, 0).max(0)[known]
        share = mine / np.maximum(mine + others, 1)
        levels = np.ceil(share * _BINS - 1e-6).astype(np.int64).clip(0, _BINS)
        truth = reference[known] == self._index
        self._counts += np.bincount(levels + (_BINS + 1) * truth, minlength=2 * (_BINS + 1)).reshape(2, -1)

    @property
    def dice(self) -> Array:
        """(len(CANDIDATES),) Dice; 1 where the class is rightly absent, NaN where nothing is known."""
        if not self._counts.any():
            return np.full(len(CANDIDATES), np.nan)
        above = self._counts[:, ::-1].cumsum(1)[:, ::-1]
        false, true = above[:, np.rint(CANDIDATES * _BINS).astype(int) + 1]
        size = self._counts[1].sum() + false + true
        return np.where(size > 0, 2 * true / np.maximum(size, 1), 1.0)


@dataclass(frozen=True)
class Threshold:
    """The threshold of a class and why.

    Args:
        value: 0.5 unless another one surely gains.
        before: mean Dice over groups at 0.5.
        after: the same at ``value``.
        bound: lower 95 % bound of the gain; 0 where the value stays 0.5.
        groups: number of them.
    """

    value: float
    before: float
    after: float
    bound: float
    groups: int

    def __str__(self) -> str:
        """In words."""
        if self.groups < FEWEST:
            return f"0.5 ({self.groups} validation group(s), {FEWEST} are needed to choose another)"
        if self.value == NEUTRAL:
            return f"0.5 (no lower one surely raises the Dice of validation groups, {self.before:.3f})"
        gain = f"mean Dice of {self.groups} validation groups {self.before:.3f} to {self.after:.3f}"
        return f"{self.value:.2f} ({gain}, gain above {self.bound:.3f} with 95 % confidence)"


def fit_threshold(curves: Sequence[Array], groups: Sequence[str]) -> Threshold:
    """Choose the threshold with the highest mean Dice over groups among those that surely gain.

    Of calibrated probabilities the best threshold is half the Dice it reaches (Lipton et al. 2014), so at most 0.5. So
    candidates are tested downwards from 0.5, until the lower bound (Student's t, 95 %, one sided) of the gain over 0.5
    is not above 0: in an order that is fixed beforehand, all tests together are wrong in at most 5 % (fixed-sequence
    testing, Maurer et al. 1995). A candidate that gives the masks of 0.5 is no test and does not end the sequence: of a
    network that is never sure, no probability may lie between 0.3 and 0.5. Groups, not cases, count: slices of one
    patient are no independent witnesses.

    Args:
        curves: Dice of each case (len(CANDIDATES),); NaN where nothing is known, such cases do not count.
        groups: patient or scene of each case.
    """
    table = _means_of_groups(curves, groups)
    count = len(table)
    means = table.mean(0) if count else np.full(len(CANDIDATES), np.nan)
    best = 0
    found = 0.0
    for index in range(1, len(CANDIDATES)):
        gains = table[:, index] - table[:, 0]
        if not gains.any():
            continue
        bound = t_lower_bound(gains, CONFIDENCE) if count >= FEWEST else 0.0
        if not bound > 0:
            break
        if means[index] > means[best]:
            best = index
            found = bound
    return Threshold(float(CANDIDATES[best]), float(means[0]), float(means[best]), found, count)


def _means_of_groups(curves: Sequence[Array], groups: Sequence[str]) -> Array:
    """Return the mean curve of each group, (G, len(CANDIDATES))."""
    members: dict[str, list[Array]] = {}
    for curve, group in zip(curves, groups, strict=True):
        if np.isfinite(curve).all():
            members.setdefault(group, []).append(curve)
    return np.array([np.mean(each, axis=0) for each in members.values()]).reshape(-1, len(CANDIDATES))
