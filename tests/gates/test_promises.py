"""What is promised about further groups, by hand and by simulation with slices of one patient that are alike.

Two kinds of patients, for both of which the harm to a further one behind any threshold is known exactly:

- ``alike``: a slice is harmed with a probability of its patient (Beta, so that slices of one patient have an
  intra-class correlation), all of its reference if it is, and its agreement tells nothing;
- ``brittle``: slices below an agreement of the patient's own are harmed, and one of them is harm in full.
"""

import math
from dataclasses import replace

import numpy as np
import pytest

from segcgan.gates import AgreementGate, GateExample, promises
from segcgan.metrics.comparison import upper_bound

SLICES = 18  # of a patient; their agreements are uniform


@pytest.mark.parametrize(("limit", "few", "few_sure"), [(0.2, 4, 14), (0.1, 9, 29), (0.05, 19, 59), (0.5, 1, 5)])
def test_the_fewest_groups_and_not_one_less(limit, few, few_sure):
    assert promises.fewest_expected(limit) == few
    assert promises.fewest_sure(limit, 0.95) == few_sure
    for count, enough in ((few - 1, False), (few, True), (few + 50, True)):
        assert promises.expected(np.zeros(count), limit) == enough
    for count in range(1, 200):
        assert promises.sure(np.zeros(count), limit, 0.95) == (count >= few_sure)


def test_nothing_can_break_a_limit_of_all():
    assert promises.fewest_expected(1.0) == promises.fewest_sure(1.0, 0.95) == 1
    assert promises.expected(np.ones(3), 1.0)
    assert not promises.sure(np.ones(3), 1.0, 0.95)  # harm of 1 everywhere proves nothing, and refuses nothing true
    assert promises.sure(np.zeros(3), 1.0, 0.95)


def test_expected_by_hand():
    harm = np.array([[0.0, 0.0, 0.0, 0.0, 0.2], [0.0, 0.0, 0.0, 0.0, 0.21]])
    np.testing.assert_array_equal(promises.expected(harm, 0.2), [True, False])  # 1.2 / 6 and 1.21 / 6


def test_the_e_value_by_hand():
    stake = (20 ** (1 / 14) - 1) / 0.2
    assert promises.bet(14, 0.2, 0.95) == pytest.approx(stake) == pytest.approx(1.193, abs=1e-3)
    harm = np.array([0.0] * 13 + [0.5])
    assert promises.log_e_value(harm, 0.2, 0.95) == pytest.approx(
        13 * math.log(1 + stake * 0.2) + math.log(1 - stake * 0.3)
    )
    assert promises.bet(100, 0.2, 0.95) == pytest.approx(math.sqrt(2 * math.log(20) / (100 * 0.2 * 0.8)))


@pytest.mark.parametrize("limit", [0.05, 0.2, 0.5, 0.9])
def test_no_bet_can_lose_more_than_everything(limit):
    for count in (1, 2, 14, 100, 1000):
        assert 0 < promises.bet(count, limit, 0.95) <= 1 / (1 - limit) + 1e-12


def test_a_bet_that_lost_everything():
    assert promises.bet(2, 0.5, 0.75) == pytest.approx(2)  # 1 / (1 - 0.5)
    assert promises.log_e_value(np.array([0.0, 1.0]), 0.5, 0.75) < -20
    assert not promises.sure(np.array([0.0, 1.0]), 0.5, 0.75)


def test_the_e_value_exceeds_twenty_in_at_most_one_of_twenty_sets():
    """Mean harm just at the limit, of three kinds; the bet is fair, so that Markov's inequality holds."""
    rng, sets = np.random.default_rng(0), 5000
    for groups in (14, 30, 100):
        kinds = (
            rng.random((sets, groups)) < 0.2,
            rng.beta(0.4, 1.6, (sets, groups)),
            0.21 * (rng.random((sets, groups)) < 0.2 / 0.21),
        )
        for harm in kinds:
            assert promises.sure(harm, 0.2, 0.95).mean() <= 0.05
            if groups > 14:
                assert promises.sure(harm * 0.1, 0.2, 0.95).mean() > 0.9  # a tenth of that harm is let through


def examples_of(rng, harmed, agreement, reference):
    """Examples of slices, arrays (G, S); all gain a little."""
    gain = 0.05 + 0.001 * rng.normal(size=harmed.shape)
    return [
        GateExample(f"{g}-{s}", str(g), np.array([agreement[g, s], 1.0]), int(harmed[g, s]), reference, gain[g, s])
        for g, s in np.ndindex(*harmed.shape)
    ]


def alike(rng, groups, harm, correlation):
    """Patients, and the harm to a further one behind a threshold."""
    spread = (1 - correlation) / correlation if correlation else 0
    chances = rng.beta(harm * spread, (1 - harm) * spread, groups) if correlation else np.full(groups, harm)
    harmed = rng.random((groups, SLICES)) < chances[:, None]
    return examples_of(rng, harmed, rng.random(harmed.shape), 1), lambda threshold: harm * (1 - threshold)


def brittle(rng, groups):
    """Patients, and the harm to a further one: a slice between the threshold and its own limit, uniform as well."""
    agreement = rng.random((groups, SLICES))
    harmed = agreement < rng.random((groups, 1))
    risk = lambda threshold: 1 - threshold - (1 - threshold ** (SLICES + 1)) / (SLICES + 1)  # noqa: E731
    return examples_of(rng, SLICES * harmed, agreement, 1), risk


def as_own_groups(examples):
    """The old mistake: every slice counts as if it were a patient."""
    return [replace(each, group=each.case) for each in examples]


def realised(promise, draw, repeats, change=list):
    """Mean harm to a further group behind each fitted gate."""
    found = []
    for _ in range(repeats):
        gate = AgreementGate(0.2, 0.95, promise)
        examples, risk = draw()
        gate.fit(change(examples))
        found.append(risk(min(float(gate.threshold), 1.0)))
    return np.array(found)


@pytest.mark.parametrize("correlation", [0.0, 0.3])
@pytest.mark.parametrize(("groups", "harm"), [(4, 0.4), (8, 0.3)])
def test_expected_harm_is_kept_on_average(correlation, groups, harm):
    rng = np.random.default_rng(1)
    assert 0 < realised("expected", lambda: alike(rng, groups, harm, correlation), 300).mean() <= 0.2


@pytest.mark.parametrize("groups", [4, 9])
def test_expected_harm_is_kept_where_no_room_is_left(groups):
    """As many as a fifth of further patients would be harmed with slices without end: the bound is sharp."""
    rng = np.random.default_rng(1)
    found = realised("expected", lambda: brittle(rng, groups), 500)
    assert 0.16 < found.mean() <= 0.2 + 2 * found.std() / 500**0.5


def test_slices_taken_for_patients_break_the_expected_harm():
    """The simulation can fail: the same rule on the same data, with slices as groups."""
    rng = np.random.default_rng(1)
    assert realised("expected", lambda: brittle(rng, 9), 60, as_own_groups).mean() > 0.3


def test_the_mean_harm_of_validation_alone_breaks_the_expected_harm(monkeypatch):
    """Nor is the 1 of a patient not seen yet to be left out."""
    monkeypatch.setattr(promises, "expected", lambda harm, limit: harm.mean(-1) <= limit)
    rng = np.random.default_rng(1)
    found = realised("expected", lambda: brittle(rng, 5), 500)
    assert found.mean() > 0.2 + 3 * found.std() / 500**0.5


@pytest.mark.parametrize("correlation", [0.0, 0.3])
def test_sure_is_seldom_unsafe(correlation):
    rng = np.random.default_rng(2)
    found = realised("sure", lambda: alike(rng, 20, 0.3, correlation), 200)
    assert (found > 0.2).mean() <= 0.05
    assert found.mean() > 0.02  # it does let through what is safe


def test_sure_is_seldom_unsafe_where_one_slice_is_enough():
    rng = np.random.default_rng(2)
    found = realised("sure", lambda: brittle(rng, 30), 100)
    assert (found > 0.2).mean() <= 0.05
    assert found.mean() > 0.02


def test_slices_taken_for_patients_are_often_unsafe():
    rng = np.random.default_rng(2)
    found = realised("sure", lambda: alike(rng, 20, 0.3, 0.3), 80, as_own_groups)
    assert (found > 0.2).mean() > 0.1


@pytest.mark.parametrize(
    ("promise", "groups", "harm", "share"),
    [("expected", 4, 0.0, 1.0), ("expected", 10, 0.05, 0.9), ("sure", 14, 0.0, 1.0), ("sure", 30, 0.05, 0.9)],
)
def test_what_harms_little_is_accepted(promise, groups, harm, share):
    """Nearly all slices of nearly every validation set, though those of a patient are alike."""
    rng, accepted = np.random.default_rng(3), []
    for _ in range(60):
        gate = AgreementGate(0.2, 0.95, promise)
        examples, _ = alike(rng, groups, harm, 0.3 if harm else 0.0)
        gate.fit(examples)
        accepted.append(gate.facts["accepted"] / len(examples))
    assert np.mean(accepted) >= share


def test_the_rule_that_took_slices_for_independent():
    """Clopper & Pearson on 3 patients x 18 slices at the limit, 5 % promised; so few patients open nothing now."""
    rng = np.random.default_rng(4)
    chances = rng.beta(0.2 * 7 / 3, 0.8 * 7 / 3, (20_000, 3))
    harmed = rng.binomial(18, chances).sum(1)
    passes = np.array([upper_bound(count, 54) <= 0.2 for count in range(55)])
    assert passes[harmed].mean() > 0.2
    assert passes[rng.binomial(54, 0.2, 20_000)].mean() <= 0.05
    for promise in ("expected", "sure"):
        assert not realised(promise, lambda: alike(rng, 3, 0.2, 0.3), 50).any()
