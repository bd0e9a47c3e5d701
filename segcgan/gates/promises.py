"""Two promises about the harm to groups (patients, scenes) that were not seen, from the harm to groups that were.

Both need groups that are exchangeable with the seen ones, say nothing of how harm is distributed, and take for
granted that a stricter threshold harms no group more. Then strict to lax is the only order in which thresholds can be
tried, no data choose it, and trying many costs no certainty.
"""

import math

import numpy as np

from segcgan.case import Array

_ROUNDING = 1e-9  # 14 harmless groups reach an e-value of 20 exactly


def expected(harm: Array, limit: float) -> Array:
    """Tell whether the expected harm to a further group is at most ``limit``: (Σ L + 1) / (n + 1) ≤ limit.

    The laxest threshold for which it holds keeps the promise on average over validation sets and further groups, and
    so does any stricter one: conformal risk control (Angelopoulos, Bates, Fisch, Lei & Schuster, ICLR 2024).

    Args:
        harm: of the groups, 0 to 1 (..., G).
        limit: above 0, at most 1.

    Returns:
        bool (...,).
    """
    return np.asarray(harm.sum(-1) + 1 <= limit * (harm.shape[-1] + 1) + _ROUNDING)


def sure(harm: Array, limit: float, confidence: float) -> Array:
    """Tell whether the mean harm to further groups is at most ``limit``, wrong in 1 - confidence of validation sets.

    The e-value is ∏ (1 + b (limit - L)): a bet of b on each group that its harm is below the limit. If the mean harm
    is the limit or more, the expected e-value is at most 1, so one of 20 is seen in at most 5 % of validation sets
    (Waudby-Smith & Ramdas, JRSS B 2024). The laxest threshold that passes may be taken: Bates et al., J. ACM 2021.

    Args:
        harm: of the groups, 0 to 1 (..., G).
        limit: above 0, at most 1.
        confidence: above 0 and below 1.

    Returns:
        bool (...,).
    """
    return np.asarray(log_e_value(harm, limit, confidence) >= -math.log(1 - confidence) - _ROUNDING)


def log_e_value(harm: Array, limit: float, confidence: float) -> Array:
    """Return the logarithm (...,) of the e-value of :func:`sure`; -inf where a bet lost everything."""
    stake = bet(harm.shape[-1], limit, confidence)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.maximum(1 + stake * (limit - harm), 0)).sum(-1))


def bet(groups: int, limit: float, confidence: float) -> float:
    """Return b, which depends on the number of groups alone.

    For few groups it is the smallest with which :func:`fewest_sure` harmless ones are enough (1.19 for a limit of
    0.2); for many it falls as √(2 log(1 / (1 - confidence)) / (n limit (1 - limit))), the bet of Waudby-Smith &
    Ramdas for a known number of observations, here for the largest variance that harm of that mean can have. It
    stays at or below 1 / (1 - limit), with which a group of harm 1 loses everything.
    """
    proof = -math.log(1 - confidence)
    highest = math.expm1(proof / fewest_sure(limit, confidence)) / limit
    variance = limit * (1 - limit)
    return min(highest, math.sqrt(2 * proof / (groups * variance))) if variance else highest


def fewest_expected(limit: float) -> int:
    """Return the number of groups below which nothing passes :func:`expected`, harmless as they may be."""
    return max(1, math.ceil(1 / limit - 1 - _ROUNDING))


def fewest_sure(limit: float, confidence: float) -> int:
    """Return the number of groups below which nothing passes :func:`sure`, harmless as they may be."""
    alone = math.log(1 - confidence) / math.log(1 - limit) if limit < 1 else 0.0
    return max(1, math.ceil(alone - _ROUNDING))
