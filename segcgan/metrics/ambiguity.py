"""Several right answers: how well a set of sampled masks matches a set of raters' masks."""

import math

import numpy as np

from segcgan.case import IGNORE, Array

CONVENTION = (
    "distance 1 − IoU, mean over foreground classes, IoU of two empty masks 1; GED² = 2 E d(S, Y) − E d(S, S') − "
    "E d(Y, Y'), the pairs of a mask with itself included (Kohl 2018); matched IoU after Hungarian assignment of "
    "samples and raters, each repeated to their least common multiple"
)


def distances(first: Array, second: Array, classes: int) -> Array:
    """Return 1 − IoU of every pair of two sets of masks.

    Args:
        first: class indices (N, …).
        second: class indices (M, …) of the same shape; pixels that are ``IGNORE`` in either count as background.
        classes: K, background included; the IoU is the mean over the others.

    Returns:
        (N, M) in 0…1.
    """
    total = np.zeros((len(first), len(second)))
    for index in range(1, classes):
        a, b = ((each == index).reshape(len(each), -1).astype(np.float64) for each in (first, second))
        both = a @ b.T
        either = a.sum(1)[:, None] + b.sum(1)[None] - both
        total += np.where(either > 0, both / np.maximum(either, 1), 1.0)
    return 1 - total / (classes - 1)


def ged(samples: Array, raters: Array, classes: int, *, biased: bool = True) -> float:
    """Return the squared generalised energy distance of samples (N, …) and raters (R, …); lower is better.

    Args:
        samples: class indices.
        raters: class indices.
        classes: K.
        biased: leave the zero distances of a mask to itself in (as published numbers do); False leaves them out,
            which needs two of either and can be negative.
    """
    cross = distances(samples, raters, classes).mean()
    return float(2 * cross - _spread(samples, classes, biased) - _spread(raters, classes, biased))


def diversity(samples: Array, classes: int) -> float:
    """Return the mean distance between two different samples (N, …); NaN for one sample."""
    return _spread(samples, classes, biased=False)


def matched_iou(samples: Array, raters: Array, classes: int) -> float:
    """Return the mean IoU of samples (N, …) and raters (R, …) under the best assignment; higher is better."""
    from scipy.optimize import linear_sum_assignment

    count = math.lcm(len(samples), len(raters))
    iou = 1 - distances(samples, raters, classes)
    wide = np.repeat(np.repeat(iou, count // len(samples), 0), count // len(raters), 1)
    rows, columns = linear_sum_assignment(wide, maximize=True)
    return float(wide[rows, columns].mean())


def ambiguity(samples: Array, raters: Array, classes: int) -> dict[str, float]:
    """Return all scores of one case by name; see ``CONVENTION``.

    Args:
        samples: class indices (N, D, H, W), ``IGNORE`` where invalid; a pixel that is so in any mask counts in none.
        raters: class indices (R, D, H, W).
        classes: K.
    """
    known = (samples != IGNORE).all(0) & (raters != IGNORE).all(0)
    samples, raters = (np.where(known, each, 0) for each in (samples, raters))
    return {
        "ged2": ged(samples, raters, classes),
        "matched_iou": matched_iou(samples, raters, classes),
        "diversity": diversity(samples, classes),
        "rater_diversity": diversity(raters, classes),
    }


def _spread(masks: Array, classes: int, biased: bool) -> float:
    n = len(masks)
    if not biased and n < 2:
        return float("nan")
    return float(distances(masks, masks, classes).sum() / (n * n if biased else n * (n - 1)))
