"""Against values by hand; masks of four pixels."""

import numpy as np
import pytest

from segcgan.metrics.ambiguity import ambiguity, distances, diversity, ged, matched_iou

EMPTY, ONE, TWO, ALL = (np.array(m, np.uint8) for m in ([0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1]))


def test_distances():
    found = distances(np.stack([EMPTY, ONE, TWO]), np.stack([EMPTY, TWO, ALL]), 2)
    np.testing.assert_allclose(found, [[0, 1, 1], [1, 0.5, 0.75], [1, 0, 0.5]])


def test_two_classes_are_averaged_and_an_absent_class_agrees():
    a, b = np.array([[1, 2, 0, 0]]), np.array([[1, 1, 0, 0]])
    np.testing.assert_allclose(distances(a, b, 4), 1 - np.mean([0.5, 0, 1]))


def test_the_same_sets_are_at_distance_0():
    masks = np.stack([EMPTY, TWO, ALL])
    assert ged(masks, masks, 2) == pytest.approx(0)
    assert matched_iou(masks, masks[::-1], 2) == pytest.approx(1)


def test_ged_by_hand():
    samples, raters = np.stack([TWO, TWO]), np.stack([TWO, ALL])
    # cross: (0 + 0.5) / 2; samples: 0; raters: two of four pairs at 0.5
    assert ged(samples, raters, 2) == pytest.approx(2 * 0.25 - 0 - 0.25)
    assert ged(samples, raters, 2, biased=False) == pytest.approx(2 * 0.25 - 0 - 0.5)
    assert diversity(raters, 2) == pytest.approx(0.5)
    assert np.isnan(diversity(samples[:1], 2))


def test_matching_repeats_to_the_least_common_multiple():
    samples, raters = np.stack([EMPTY, TWO, ALL]), np.stack([EMPTY, ALL])
    # six against six: both empties (1, 1), an ALL twice (1, 1), TWO once with EMPTY (0) and once with ALL (0.5)
    assert matched_iou(samples, raters, 2) == pytest.approx((4 + 0 + 0.5) / 6)


def test_ignored_pixels_count_as_background():
    sample = np.array([[1, 1, 255, 255]], np.uint8)
    found = ambiguity(np.stack([sample, sample]), np.stack([TWO[None], TWO[None]]), 2)
    assert found == {"ged2": 0.0, "matched_iou": 1.0, "diversity": 0.0, "rater_diversity": 0.0}
