"""Thresholds: what they decide, the Dice they give, and that luck does not choose them."""

import numpy as np
import pytest

from segcgan.case import IGNORE
from segcgan.errors import SegcganError
from segcgan.metrics.decision import CANDIDATES, FEWEST, DiceCurve, decide, fit_threshold
from segcgan.metrics.overlap import confusion, dice

RNG = np.random.default_rng(0)


def softmax(shape: tuple[int, ...]) -> np.ndarray:
    p = np.exp(RNG.normal(0, 1.5, shape))
    return p / p.sum(0)


def stored(p: np.ndarray) -> np.ndarray:
    """As prediction writes it; sums of two classes stay 254."""
    return np.rint(p * 254).astype(np.uint8)


def test_half_everywhere_is_the_most_likely_class() -> None:
    p = softmax((4, 5, 6))
    assert np.array_equal(decide(p, [0.5] * 3), p.argmax(0))
    assert np.array_equal(decide(p), p.argmax(0))


@pytest.mark.parametrize("threshold", [0.05, 0.2, 0.7, 0.95])
def test_of_two_classes_it_is_the_probability_that_must_be_exceeded(threshold: float) -> None:
    p = softmax((2, 30, 30))
    assert np.array_equal(decide(p, [threshold]), p[1] > threshold)


def test_of_several_classes_each_must_win_over_the_background() -> None:
    p = softmax((3, 40, 40))
    labels = decide(p, [0.2, 0.8])
    first, second = (p[k] / (p[k] + p[0]) for k in (1, 2))
    assert np.array_equal(labels == 0, (first <= 0.2) & (second <= 0.8))
    assert np.all(labels[(first > 0.2) & (second <= 0.8)] == 1)


def test_another_number_of_thresholds_than_classes_is_refused() -> None:
    with pytest.raises(SegcganError, match=r"there are 1 threshold\(s\) for 2 foreground class\(es\); give one each"):
        decide(softmax((3, 2, 2)), [0.2])


def test_the_curve_is_the_dice_of_the_decided_mask() -> None:
    probability = stored(softmax((2, 3, 20, 20)))
    reference = RNG.integers(0, 2, (3, 20, 20)).astype(np.uint8)
    reference[0, 0] = IGNORE
    probability[:, 1, 1] = 255
    valid = probability[0] != 255
    curve = DiceCurve(1)
    for part in range(3):  # sums over parts
        curve.add(probability[:, part], reference[part])
    for threshold, found in zip(CANDIDATES, curve.dice, strict=True):
        mask = np.where(valid, decide(probability / 254, [threshold]), 0)
        assert found == pytest.approx(dice(confusion(reference, mask, 2, valid))[1])


def test_a_class_that_is_rightly_absent_scores_1() -> None:
    curve = DiceCurve(1)
    curve.add(stored(np.stack([np.full((4, 4), 0.9), np.full((4, 4), 0.1)])), np.zeros((4, 4), np.uint8))
    assert curve.dice[CANDIDATES > 0.11].min() == 1
    assert curve.dice[-1] == 0  # invented


def test_a_threshold_that_gains_in_every_group_is_chosen() -> None:
    curves = [1 - np.abs(CANDIDATES - 0.2) + RNG.normal(0, 0.01) for _ in range(12)]
    found = fit_threshold(curves, [f"p{k // 2}" for k in range(12)])
    assert found.value == pytest.approx(0.2)
    assert found.groups == 6
    assert found.after - found.before == pytest.approx(0.3)
    assert 0 < found.bound <= 0.3 + 1e-9
    assert str(found).startswith("0.20 (mean Dice of 6 validation groups ")


def test_a_threshold_behind_one_that_does_not_gain_is_not_reached() -> None:
    curves = [np.where(CANDIDATES == 0.2, 0.9, 0.5) + RNG.normal(0, 0.01, CANDIDATES.size) for _ in range(12)]
    found = fit_threshold(curves, [f"p{k}" for k in range(12)])
    assert str(found) == f"0.5 (no lower one surely raises the Dice of validation groups, {found.before:.3f})"


def test_candidates_that_change_no_mask_do_not_end_the_search() -> None:
    """A network that gives objects 0.3 and the rest 0.02: between 0.5 and 0.3 there is nothing to test."""
    curves = []
    for case in range(8):
        reference = np.zeros((16, 16), np.uint8)
        reference[2 : 6 + case, 2:9] = 1
        reference[0, :case] = 1  # parts that are not found
        p = np.where((reference == 1) & (np.arange(16)[:, None] > 0), 0.3, 0.02)
        curve = DiceCurve(1)
        curve.add(stored(np.stack([1 - p, p])), reference)
        curves.append(curve.dice)
    found = fit_threshold(curves, [f"p{k}" for k in range(8)])
    assert found.value == pytest.approx(0.25)
    assert found.before == 0
    assert found.after > 0.9


def test_cases_of_which_nothing_is_known_do_not_count() -> None:
    curve = DiceCurve(1)
    curve.add(stored(softmax((2, 4, 4))), np.full((4, 4), IGNORE, np.uint8))
    assert np.isnan(curve.dice).all()
    known = [1 - np.abs(CANDIDATES - 0.2) for _ in range(3)]
    found = fit_threshold([*known, curve.dice], ["a", "b", "c", "d"])
    assert found.groups == 3
    assert found.value == 0.5
    assert fit_threshold([curve.dice], ["a"]).value == 0.5


def test_it_stays_at_half_with_few_groups_however_many_slices() -> None:
    curves = [1 - np.abs(CANDIDATES - 0.2) for _ in range(60)]
    found = fit_threshold(curves, [f"p{k % (FEWEST - 1)}" for k in range(60)])
    assert found.value == 0.5
    assert str(found) == "0.5 (3 validation group(s), 4 are needed to choose another)"


def test_luck_seldom_chooses_a_threshold() -> None:
    """Curves without any true gain, slices of a patient alike: taken for patients, slices would choose one often."""
    chosen = {"patients": 0, "slices": 0}
    for _ in range(300):
        patients = np.cumsum(RNG.normal(0, 0.02, (8, CANDIDATES.size)), 1)
        patients -= patients[:, [0]]
        curves = [0.6 + patients[k // 5] + RNG.normal(0, 0.002, CANDIDATES.size) for k in range(40)]
        chosen["patients"] += fit_threshold(curves, [f"p{k // 5}" for k in range(40)]).value != 0.5
        chosen["slices"] += fit_threshold(curves, [f"s{k}" for k in range(40)]).value != 0.5
    assert chosen["patients"] <= 0.08 * 300  # 5 % and chance
    assert chosen["slices"] > 0.15 * 300
