"""Known answers of the statistics."""

from dataclasses import fields, replace

import numpy as np
import pytest

from segcgan.metrics.cases import Row
from segcgan.metrics.comparison import (
    SCORES,
    Difference,
    bootstrap,
    bootstrap_medians,
    by_case,
    case_pairs,
    differences,
    holm,
    tally,
    upper_bound,
)
from segcgan.metrics.statistics import _weighted_medians


def row(case, status, score, name="x"):
    return Row(case, case, "v", name, status, score, score, score, 1.0, 9, 9, "px", 1.0)


def test_every_score_of_a_case_is_compared():
    assert {each.name for each in fields(Row) if each.type is float} - {"band"} <= set(SCORES)
    assert all(hasattr(Row, name) or name in Row.__dataclass_fields__ for name in SCORES)


def test_inventing_a_class_is_harm():
    """A rightly says nothing, B invents something (IoU 0); where both say nothing there is no change."""
    nan = float("nan")
    a = [row("a", "both_empty", nan), row("b", "both_empty", nan), row("c", "ok", 0.5), row("c", "ok", 0.5, "y")]
    b = [row("a", "ref_empty", 0), row("b", "both_empty", nan), row("c", "ok", 0.7), row("c", "ok", 0.5, "y")]
    first, second = by_case([a], "v", "A"), by_case([b], "v", "B")
    assert case_pairs(first, second) == [(1, 0), (1, 1), (0.5, pytest.approx(0.6))]
    assert tally([b - a for a, b in case_pairs(first, second)]).harmed == 1
    first, second = by_case([a], "v", "A", nan), by_case([b], "v", "B", nan)
    assert case_pairs(first, second) == [(0.5, pytest.approx(0.6))]


def test_taking_away_a_false_positive_is_a_gain_and_not_a_gap():
    """The rule the issue began with: before, such a case dropped out of both means."""
    a = [row("a", "ok", 0.5), row("b", "ref_empty", 0.0)]
    b = [row("a", "ok", 0.5), row("b", "both_empty", float("nan"))]
    groups = {"a": "p", "b": "q"}
    found = {d.score: d for d in differences(by_case([a], "v", "A"), by_case([b], "v", "B"), groups)}
    assert (found["iou"].first, found["iou"].second, found["iou"].mean, found["iou"].cases) == (0.25, 0.75, 0.5, 2)
    assert (found["invented"].first, found["invented"].second, found["invented"].cases) == (1, 0, 1)
    assert (found["missed"].mean, found["missed"].cases) == (0, 1)
    dropped = by_case([a], "v", "A", float("nan")), by_case([b], "v", "B", float("nan"))
    assert {d.score: d.mean for d in differences(*dropped, groups)}["iou"] == 0


def test_the_median_of_hd95_knows_no_diagonal():
    a = [replace(row(str(i), "ok", 0.5), hd95=float(i)) for i in range(9)]
    b = [replace(one, hd95=one.hd95 + 1) for one in a[:8]] + [replace(row("8", "pred_empty", 0.0), hd95=500.0)]
    groups = {each.case: each.case for each in a}
    found = {d.score: d for d in differences(by_case([a], "v", "A"), by_case([b], "v", "B"), groups)}
    median = found["hd95_median"]
    assert (median.first, median.second, median.mean, median.cases, median.groups) == (3.5, 4.5, 1, 8, 8)
    assert median.low == median.high == 1
    assert found["hd95"].second > 50
    assert found["missed"].second == pytest.approx(1 / 9)


def test_resampled_medians_are_medians_of_what_was_drawn():
    values, weights = np.array([1.0, 2.0, 4.0, 8.0]), np.array([[1, 0, 2, 1], [0, 2, 0, 2], [4, 0, 0, 0], [1, 1, 1, 0]])
    expected = [np.median(np.repeat(values, each)) for each in weights]
    np.testing.assert_array_equal(_weighted_medians(values, weights), expected)


def test_the_interval_of_medians_covers_the_truth_about_as_often_as_said():
    rng, hits, trials = np.random.default_rng(3), 0, 60
    for trial in range(trials):
        pairs = [[np.array([x, x + y]) for x, y in rng.normal((0, 0.5), 1, (3, 2))] for _ in range(15)]
        _, low, high, _ = bootstrap_medians(pairs, trial)
        hits += low <= 0.5 <= high
    assert hits / trials >= 0.87


def test_shares_and_medians_count_case_and_class():
    """A case of two classes weighs twice: the share is one of references."""
    rows = [row("a", "pred_empty", 0.0), row("a", "ok", 0.5, "y"), row("b", "ok", 0.5)]
    found = {d.score: d for d in differences(*[by_case([rows], "v", "A")] * 2, {"a": "p", "b": "q"})}
    assert (found["missed"].first, found["missed"].cases) == (pytest.approx(1 / 3), 2)


def test_a_constant_difference_has_no_width():
    mean, low, high, p = bootstrap([[0.1, 0.1], [0.1], [0.1, 0.1, 0.1]])
    assert (mean, low, high) == pytest.approx((0.1, 0.1, 0.1))
    assert p == 2 / 2**3  # three units cannot show more
    assert bootstrap([[0.1]] * 20)[3] < 0.05 / 50  # fifty questions and Holm leave something to be found


def test_no_difference_is_never_significant():
    assert bootstrap([[0.0], [0.0], [0.0]])[3] == 1
    assert bootstrap([[0.1], [-0.1]])[3] > 0.5


def test_one_group_has_no_interval():
    mean, *rest = bootstrap([[0.1, 0.3]])
    assert mean == pytest.approx(0.2)
    assert np.isnan(rest).all()


def test_groups_are_resampled_and_not_cases():
    """Ten cases of one patient say as much as one: copies of a group's cases change nothing."""
    groups = [[0.1], [-0.05], [0.2], [0.03]]
    copied = [group * 10 for group in groups]
    assert bootstrap(copied) == pytest.approx(bootstrap(groups))


def test_the_interval_covers_the_truth_about_as_often_as_said():
    rng = np.random.default_rng(0)
    hits, trials = 0, 120
    for trial in range(trials):
        effects = rng.normal(0.02, 0.05, 25)
        gains = [list(rng.normal(effect, 0.02, 4)) for effect in effects]
        _, low, high, _ = bootstrap(gains, trial, 4000)
        hits += low <= 0.02 <= high
    assert 0.87 <= hits / trials <= 0.99


@pytest.mark.parametrize("count", [2, 5, 6, 8, 12])
def test_few_groups_find_nothing_where_nothing_is(count):
    """A plain percentile interval says so in 49, 16, 12, 11 and 9 of 100 such comparisons."""
    rng = np.random.default_rng(1)
    trials = 300
    found = [bootstrap([[gain] for gain in rng.normal(0, 0.05, count)], seed, 4000) for seed in range(trials)]
    assert sum(p < 0.05 for *_, p in found) / trials <= 0.075
    if count > 5:  # below, no resample lies far enough out
        assert sum(low <= 0 <= high for _, low, high, _ in found) / trials >= 0.91


def difference(p):
    return Difference("dice", 0, 0, 0, 0, 0, p, p, 1, 1)


def test_holm_by_the_book():
    found = holm([difference(p) for p in (0.01, 0.04, 0.03, 0.005)])
    assert [each.adjusted for each in found] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert [each.p for each in found] == [0.01, 0.04, 0.03, 0.005]
    alone = holm([difference(float("nan")), difference(0.02)])
    assert np.isnan(alone[0].adjusted)
    assert alone[1].adjusted == pytest.approx(0.02)
    assert holm([replace(difference(0.9)), difference(0.8)])[0].adjusted == 1


@pytest.mark.parametrize(
    ("count", "total", "bound"), [(0, 10, 1 - 0.05**0.1), (1, 20, 0.21611), (10, 10, 1.0), (0, 0, 1.0)]
)
def test_clopper_and_pearson(count, total, bound):
    assert upper_bound(count, total) == pytest.approx(bound, abs=1e-4)
    assert upper_bound(count, total, 0.9) <= upper_bound(count, total)


def test_clopper_and_pearson_of_another_confidence():
    """None of n: the share under which that happens in no more than 1 - confidence of all draws."""
    assert upper_bound(0, 22, 0.9) == pytest.approx(1 - 0.1 ** (1 / 22))


def test_tally():
    found = tally([0.1, -0.01, -0.03, 0.0, float("nan")])
    assert (found.units, found.better, found.worse, found.harmed) == (4, 1, 2, 1)
    assert found.bound == pytest.approx(upper_bound(1, 4))


def test_scores_that_one_case_lacks_are_left_out_of_the_pair():
    nan = float("nan")
    scores = dict.fromkeys(SCORES, nan)
    first = {("a", "x"): scores | {"dice": 0.5}, ("b", "x"): scores | {"dice": nan}}
    second = {("a", "x"): scores | {"dice": 0.7}, ("b", "x"): scores | {"dice": 0.9}}
    (found,) = differences(first, second, {"a": "p", "b": "q"})
    assert (found.score, found.cases, found.groups) == ("dice", 1, 1)
    assert found.mean == pytest.approx(0.2)
