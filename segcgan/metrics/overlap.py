"""Overlap of two class-index masks, all of it read off one confusion matrix.

A class that neither mask contains is rightly empty and scores 1, or what ``empty`` says; one that only one of the
masks contains scores 0. Where no pixel was scored there is no score: NaN.
"""

import numpy as np

from segcgan.case import IGNORE, Array
from segcgan.errors import SegcganError
from segcgan.metrics.empty import RIGHTLY_EMPTY

_CHUNK = 1 << 22  # pixels counted at once: bincount copies to 64-bit integers, a whole scene would not fit


def confusion(reference: Array, prediction: Array, classes: int, valid: Array | None = None) -> Array:
    """Count pixels by reference class (rows) and predicted class (columns).

    Args:
        reference: class indices, any shape; ``IGNORE`` (255) is not counted.
        prediction: class indices, same shape.
        classes: number of classes K, background included.
        valid: bool, same shape; where False nothing is counted.

    Returns:
        (K, K) int64. Matrices of several cases may be added up.

    Raises:
        SegcganError: shapes differ, or a counted pixel holds a class outside 0…K-1.
    """
    known = scored(reference, prediction, valid).ravel()
    flat, guess = reference.ravel(), prediction.ravel()
    counts = np.zeros(classes * classes, np.int64)
    for start in range(0, flat.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        rows, columns = (each[part][known[part]].astype(np.int64) for each in (flat, guess))
        for name, values in (("reference", rows), ("prediction", columns)):
            if values.size and not 0 <= values.min() <= values.max() < classes:
                wrong = int(values.max() if values.max() >= classes else values.min())
                msg = (
                    f"the {name} holds class {wrong} where pixels are scored, but the {classes} classes are "
                    f"0 to {classes - 1}; mark such pixels {IGNORE} in the reference or as invalid"
                )
                raise SegcganError(msg)
        counts += np.bincount(rows * classes + columns, minlength=classes * classes)
    return counts.reshape(classes, classes)


def scored(reference: Array, prediction: Array, valid: Array | None = None) -> Array:
    """Return where pixels count (bool): data are valid and the reference is known.

    Raises:
        SegcganError: the three arrays differ in shape.
    """
    check_shapes(reference, prediction, valid)
    known: Array = reference != IGNORE
    return known if valid is None else known & valid.astype(bool)


def check_shapes(reference: Array, prediction: Array, valid: Array | None) -> None:
    """Raise ``SegcganError`` if the arrays differ in shape."""
    for name, other in (("prediction", prediction), ("validity", valid)):
        if other is not None and other.shape != reference.shape:
            msg = f"the {name} has shape {other.shape} but the reference {reference.shape}; bring them to one grid"
            raise SegcganError(msg)


def iou(counts: Array, empty: float = RIGHTLY_EMPTY) -> Array:
    """Return the intersection over union of each class, (K,) float64; ``empty`` for a class in neither mask."""
    hit, reference, prediction = _marginals(counts)
    return _ratio(hit, reference + prediction - hit, empty if counts.any() else np.nan)


def dice(counts: Array, empty: float = RIGHTLY_EMPTY) -> Array:
    """Return the Dice coefficient (F1) of each class, (K,) float64; ``empty`` for a class in neither mask."""
    hit, reference, prediction = _marginals(counts)
    return _ratio(2 * hit, reference + prediction, empty if counts.any() else np.nan)


def pixel_accuracy(counts: Array) -> float:
    """Return the share of scored pixels whose class is right; NaN when no pixel was scored."""
    return float(_ratio(np.trace(counts), counts.sum()))


def _marginals(counts: Array) -> tuple[Array, Array, Array]:
    return np.diagonal(counts), counts.sum(axis=1), counts.sum(axis=0)


def _ratio(part: Array, whole: Array, otherwise: float = np.nan) -> Array:
    return np.where(whole > 0, part / np.maximum(whole, 1), otherwise)
