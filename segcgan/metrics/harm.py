"""What a refined mask makes worse, in pixels of a case and as a share of a patient or scene."""

import numpy as np

from segcgan.case import Array
from segcgan.metrics.overlap import check_shapes


def count_harm(reference: Array, coarse: Array, refined: Array, known: Array) -> tuple[int, int]:
    """Count the pixels that the coarse mask has right and the refined one wrong.

    A pixel is right when it has the class of the reference, background included: with several classes, the wrong
    organ is wrong. What the refined mask corrects elsewhere does not make up for it. With several raters the
    reference is their majority, as for the other scores.

    Args:
        reference: class indices (D, H, W), 0 is the background.
        coarse: class indices, same shape.
        refined: class indices, same shape.
        known: bool, same shape; what is invalid or ignored in the reference counts nowhere.

    Returns:
        harmed pixels, and foreground pixels of the reference.

    Raises:
        SegcganError: shapes that differ.
    """
    for mask in (coarse, refined):
        check_shapes(reference, mask, known)
    harmed = known & (coarse == reference) & (refined != reference)
    return int(np.count_nonzero(harmed)), int(np.count_nonzero(known & (reference > 0)))


def harm_shares(harmed: Array, reference: Array) -> Array:
    """Return the harm of groups, 0 to 1: harmed pixels over foreground pixels of the reference, at most 1.

    Where the reference of a group is empty there is no share, and a pixel can only be harmed by being added: the harm
    is 1 if any is.

    Args:
        harmed: pixels (..., G).
        reference: pixels (G,).
    """
    return np.where(reference > 0, np.minimum(harmed / np.maximum(reference, 1), 1.0), harmed > 0)
