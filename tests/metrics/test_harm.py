"""Harm in pixels, and as a share of groups."""

import numpy as np
import pytest

from segcgan.errors import SegcganError
from segcgan.metrics.harm import count_harm, harm_shares


def row(*values):
    return np.array(values, np.uint8).reshape(1, 1, -1)


def test_what_was_right_and_is_wrong_now_by_hand():
    reference = row(1, 1, 2, 2, 0, 0, 1, 255)
    coarse = row(1, 2, 2, 2, 0, 1, 1, 0)
    refined = row(0, 1, 2, 1, 2, 0, 1, 1)  # lost a 1, gained a 1, kept, swapped a class, added, removed, kept, unknown
    known = reference != 255
    assert count_harm(reference, coarse, refined, known) == (3, 5)
    known[..., 0] = False  # an invalid pixel counts neither as harmed nor as reference
    assert count_harm(reference, coarse, refined, known) == (2, 4)


def test_a_correction_elsewhere_makes_up_for_nothing():
    reference, coarse, refined = row(1, 1, 1, 0), row(0, 0, 0, 0), row(1, 1, 1, 1)
    assert count_harm(reference, coarse, refined, reference < 2) == (1, 3)
    assert count_harm(reference, refined, refined, reference < 2) == (0, 3)  # wrong before and after


def test_masks_of_one_shape():
    with pytest.raises(SegcganError, match="shape"):
        count_harm(row(1, 0), row(1, 0), row(1, 0, 0), row(1, 1) > 0)


def test_shares_are_clipped_and_an_empty_reference_counts_in_full():
    harmed = np.array([[0, 5, 30, 0, 1], [1, 10, 10, 0, 0]])
    shares = harm_shares(harmed, np.array([10, 10, 10, 0, 0]))
    np.testing.assert_array_equal(shares, [[0, 0.5, 1, 0, 1], [0.1, 1, 1, 0, 0]])
