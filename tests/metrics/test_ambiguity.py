"""Against values by hand; masks of four pixels."""

import itertools

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


def test_what_is_invalid_in_a_sample_counts_for_no_rater():
    sample, rater = np.array([[1, 255, 0, 0]], np.uint8), np.array([[1, 1, 0, 0]], np.uint8)
    found = ambiguity(np.stack([sample, sample]), np.stack([rater, rater]), 2)
    assert found == {"ged2": 0.0, "matched_iou": 1.0, "diversity": 0.0, "rater_diversity": 0.0}


def test_nobody_sees_anything():
    nothing = np.stack([EMPTY] * 4)
    assert ged(nothing, nothing, 2) == ged(nothing, nothing, 2, biased=False) == diversity(nothing, 2) == 0
    assert matched_iou(nothing[:3], nothing, 2) == 1


def test_without_the_pairs_of_a_mask_with_itself_the_same_sets_are_below_0():
    masks = np.stack([EMPTY, ALL])
    # cross: two of four pairs at 1; either set: its two different masks at 1
    assert ged(masks, masks, 2, biased=False) == pytest.approx(2 * 0.5 - 1 - 1)


@pytest.mark.parametrize("seed", range(6))
def test_matching_is_the_best_of_all_permutations(seed):
    rng = np.random.default_rng(seed)
    samples, raters = rng.integers(0, 3, (3, 12)), rng.integers(0, 3, (2, 12))
    iou = 1 - distances(np.repeat(samples, 2, 0), np.repeat(raters, 3, 0), 3)
    best = max(np.mean([iou[i, j] for i, j in enumerate(order)]) for order in itertools.permutations(range(6)))
    assert matched_iou(samples, raters, 3) == pytest.approx(best)
