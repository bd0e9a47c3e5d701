"""Bootstrap of a difference, whole groups resampled (Efron & Tibshirani 1993): cases of one patient are alike."""

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from segcgan.case import Array

RESAMPLES = 40_000  # 20 groups: p down to 0.0009, which Holm over 50 questions still passes
_MEDIANS = 10_000  # a median costs a sort
_AT_ONCE = 1 << 21  # draws in memory


def t_lower_bound(values: Array, confidence: float) -> float:
    """Return the one-sided lower bound of a mean by Student's t; the mean itself at a confidence of a half or less.

    Args:
        values: independent, about normal (N,), N at least 2.
        confidence: 0 to 1.
    """
    if confidence <= 0.5:
        return float(values.mean())
    error = float(values.std(ddof=1)) / values.size**0.5
    return float(values.mean()) - float(stdtrit(values.size - 1, confidence)) * error


def bootstrap(
    gains: Sequence[Sequence[float]], seed: int = 0, resamples: int | None = None
) -> tuple[float, float, float, float]:
    """Return the mean of the differences, its 95 % interval and a p value, with whole groups resampled.

    Args:
        gains: differences of each group's cases.
        seed: of the resampling.
        resamples: their number; ``RESAMPLES`` if not given.
    """
    sums, counts = (np.array([f(group) for group in gains], float) for f in (sum, len))
    mean = float(sums.sum() / counts.sum())
    if len(gains) < 2:
        return mean, float("nan"), float("nan"), float("nan")
    resamples = resamples or RESAMPLES
    rng, step, parts = np.random.default_rng(seed), max(1, _AT_ONCE // len(gains)), []
    for start in range(0, resamples, step):
        drawn = rng.integers(len(gains), size=(min(step, resamples - start), len(gains)))
        parts.append(sums[drawn].sum(1) / counts[drawn].sum(1))
    means = np.concatenate(parts)
    return mean, *interval(means, len(gains))


def bootstrap_medians(by_group: Sequence[Sequence[Array]], seed: int = 0) -> tuple[float, float, float, float]:
    """Return the median of B minus that of A, its 95 % interval and a p value, with whole groups resampled.

    Args:
        by_group: pairs (A, B) of each group's cases.
        seed: of the resampling.
    """
    pairs = np.array([pair for group in by_group for pair in group])
    mean = float(np.subtract(*np.median(pairs, 0)[::-1]))
    if len(by_group) < 2:
        return mean, float("nan"), float("nan"), float("nan")
    of = np.repeat(np.arange(len(by_group)), [len(group) for group in by_group])
    order = np.argsort(pairs, axis=0, kind="stable")
    rng, step = np.random.default_rng(seed), max(1, _AT_ONCE // len(pairs))
    even, parts = np.full(len(by_group), 1 / len(by_group)), []
    for start in range(0, _MEDIANS, step):
        weights = rng.multinomial(len(by_group), even, size=min(step, _MEDIANS - start))[:, of]
        a, b = (_weighted_medians(pairs[order[:, side], side], weights[:, order[:, side]]) for side in (0, 1))
        parts.append(b - a)
    return mean, *interval(np.concatenate(parts), len(by_group))


def _weighted_medians(values: Array, weights: Array) -> Array:
    """Medians (R,) of sorted values (N,) that count ``weights`` (R, N) times."""
    reached = np.cumsum(weights, 1)
    total = reached[:, -1:]
    low, high = ((reached < middle).sum(1) for middle in ((total + 1) // 2, total // 2 + 1))
    medians: Array = (values[low] + values[high]) / 2
    return medians


def interval(means: Array, units: int) -> tuple[float, float, float]:
    """Return the 95 % interval of resampled differences (R,) and the p value of "no difference".

    A plain percentile interval is too narrow with few units: its ends are moved out as Student's t asks for
    (expanded percentiles; Hesterberg 2015, What Teachers Should Know About the Bootstrap), and p is what agrees with
    them. Nor is p below 2 / 2^units, the least that flipping signs can show. Below 5 units no resample lies far enough
    out: 2, 3 and 4 normal ones were covered 50, 75 and 87 times of 100.
    """
    from scipy.stats import norm, t

    wider = (units / (units - 1)) ** 0.5
    tail = norm.cdf(wider * t.ppf(0.025, units - 1))
    low, high = np.percentile(means, (100 * tail, 100 - 100 * tail))
    least = min((means <= 0).sum(), (means >= 0).sum())
    share = min(0.5, (1 + least) / (1 + len(means)))
    p = 2 * t.cdf(norm.ppf(share) / wider, units - 1)
    return float(low), float(high), float(min(1.0, max(p, 2.0 ** (1 - units))))
