"""The agreement gate: at the laxest threshold that keeps its promise about groups, and shut without a sure gain."""

import numpy as np
import pytest
import torch

from segcgan.errors import SegcganError
from segcgan.gates import AgreementGate, Gate, GateExample


def example(agreement, gain=0.1, harmed=0, group=None, case=None, reference=100):
    case = case or f"case {agreement} {gain} {harmed} {group}"
    return GateExample(case, group or case, np.array([100 * agreement, 100.0]), harmed, reference, gain)


def harmless(count, start=0.9):
    """Cases of as many patients, each with its own agreement and gain."""
    return [example(start - k / 1000, 0.1 + k / 1000, group=f"patient {k}") for k in range(count)]


def fitted(examples, **options):
    gate = AgreementGate(**options)
    return gate, gate.fit(examples)


def decide(gate, agreement):
    return gate.decide(np.array([100 * agreement, 100.0]))


def test_unfitted_it_is_shut():
    accepted, reason = decide(AgreementGate(), 1.0)
    assert accepted is False
    assert reason == "gate shut (no safe gain on validation data); agreement 1.000"


def test_open_at_the_lowest_agreement_that_was_seen():
    gate, sentence = fitted(harmless(4))
    assert float(gate.threshold) == pytest.approx(0.897)
    assert decide(gate, 0.897) == (True, "agreement 0.897 ≥ 0.897")
    assert decide(gate, 0.896) == (False, "agreement 0.896 < 0.897")  # a larger change than any that was judged
    assert sentence == (
        "refined masks used where the agreement is ≥ 0.897: 4 of 4 validation cases (4 validation groups); harm is 0.0"
        "% of the reference on average, the mean gain in score is +0.1015 (95% lower bound +0.1000); promise: the "
        "expected harm to a further group is at most 20% of its reference"
    )


@pytest.mark.parametrize(("promise", "fewest"), [("expected", 4), ("sure", 14)])
def test_too_few_groups_and_just_enough(promise, fewest):
    gate, sentence = fitted(harmless(fewest - 1), promise=promise)
    assert sentence == (
        f"refined masks not used, too few groups: {fewest - 1} validation groups, {fewest} are needed; "
        "--no-gate uses them"
    )
    assert decide(gate, 1.0) == (False, "gate shut (too few validation groups); agreement 1.000")
    assert (gate.facts["groups"], gate.facts["groups_needed"], gate.facts["open"]) == (fewest - 1, fewest, False)
    assert decide(fitted(harmless(fewest), promise=promise)[0], 0.9)[0] is True


def test_patients_of_whom_nothing_is_known_are_no_witnesses():
    unknown = [example(1.0, float("nan"), group=f"unknown {k}", reference=0) for k in range(3)]
    gate, sentence = fitted([*harmless(3), *unknown])
    assert "too few groups: 3 validation groups, 4 are needed" in sentence
    assert (gate.facts["cases"], gate.facts["groups"]) == (3, 3)
    gate, _ = fitted([*harmless(4), *unknown])
    assert gate.facts["mean_gain"] == pytest.approx(0.1015)


def test_many_slices_of_few_patients_are_few_groups():
    slices = [example(0.9 - k / 1000, group=f"patient {k % 3}", case=f"slice {k}") for k in range(54)]
    assert fitted(slices)[1].startswith("refined masks not used, too few groups: 3 validation groups, 4 are needed")
    alone = [example(0.9 - k / 1000, 0.1 + k / 1000, case=f"image {k}") for k in range(4)]
    assert "(4 validation groups, each image counted as its own group)" in fitted(alone)[1]


@pytest.mark.parametrize("count", [0, 1])
def test_no_case_and_one_even_if_it_was_open(count):
    gate, _ = fitted(harmless(4))
    said = "1 validation group" if count else "0 validation groups"
    assert gate.fit(harmless(count)) == (
        f"refined masks not used, too few groups: {said}, 4 are needed; --no-gate uses them"
    )
    assert decide(gate, 1.0)[0] is False


def test_the_threshold_shuts_out_what_harms():
    """(Σ L + 1) / 11 may be 0.2: a sum of 1.2, and the third patient whose least agreeing slice loses half is more."""
    examples = harmless(10)
    bad = [example(0.5 - k / 100, 0.1, 100, group=f"patient {k}", case=f"bad {k}", reference=100) for k in range(3)]
    gate, _ = fitted([*examples, *bad])
    assert gate.facts["mean_harm"] == pytest.approx(0.1)  # patients 0 and 1: 100 of 200 pixels each
    assert float(gate.threshold) == pytest.approx(0.49)
    assert (gate.facts["accepted"], gate.facts["cases"]) == (12, 13)


def test_harm_is_of_the_group_and_clipped():
    examples = harmless(6)
    examples.append(example(0.5, 0.1, 10_000, group="patient 0", case="far off"))
    gate, _ = fitted(examples)  # (1 + 1) / 7 > 0.2
    assert float(gate.threshold) == pytest.approx(0.895)
    gate, _ = fitted([*examples, *harmless(9)[6:]])  # (1 + 1) / 10
    assert float(gate.threshold) == pytest.approx(0.5)


def test_what_is_added_to_an_empty_reference_is_harm_in_full():
    empty = [example(0.5, 0.1, 1, group="nothing there", reference=0)]
    gate, _ = fitted([*harmless(7), *empty])
    assert gate.facts["mean_harm"] == 0
    assert float(gate.threshold) == pytest.approx(0.894)
    gate, _ = fitted([*harmless(7), example(0.5, 0.1, 0, group="nothing there", reference=0)])
    assert float(gate.threshold) == pytest.approx(0.5)  # taking a false object away harms nobody


def test_even_the_smallest_changes_harm():
    gate, sentence = fitted([example(0.95, 0.1, 100, group=f"patient {k}") for k in range(6)])
    assert decide(gate, 1.0)[0] is False
    assert sentence == (
        "refined masks not used: even where they differ least from the coarse ones, harm is 100.0% of the reference on "
        "average (6 validation groups), too much to promise that the expected harm to a further group is at most 20% "
        "of its reference; --no-gate uses them"
    )


def test_a_gain_that_may_be_chance_opens_nothing():
    """Student's t by hand: of four groups 2.353 standard errors."""
    wide = [example(0.9, gain, group=f"patient {gain}") for gain in (0.05, 0.03, 0.001, 0.0)]  # error 0.0122
    gate, sentence = fitted(wide)
    assert decide(gate, 1.0)[0] is False
    assert gate.facts["gain_bound"] == pytest.approx(0.02025 - 2.3534 * 0.012114, abs=1e-5)
    assert sentence == (
        "refined masks not used: with the agreement ≥ 0.900 that the promise allows, the mean gain in score is +0.0203 "
        "(95% lower bound -0.0083), which shows no gain (4 validation groups); --no-gate uses them"
    )
    assert decide(fitted(wide, confidence=0.5)[0], 1.0)[0] is True
    gate, sentence = fitted(wide, confidence=0)
    assert decide(gate, 1.0)[0] is True
    assert "the mean gain in score is +0.0203 (no bound asked for)" in sentence


def test_the_gain_is_of_groups_and_not_of_their_slices():
    """Ten slices of one patient that gain a lot are one patient."""
    many = [example(0.9, 0.5, group="patient 0", case=f"slice {k}") for k in range(40)]
    others = [example(0.9, -0.05, group=f"patient {k}") for k in range(1, 5)]
    gate, _ = fitted([*many, *others])
    assert gate.facts["mean_gain"] == pytest.approx((0.5 - 4 * 0.05) / 5)
    assert decide(gate, 1.0)[0] is False


def test_a_refused_mask_gains_nothing():
    harmful = [example(0.5, 0.9, 100, group=f"patient {k}", case=f"bad {k}") for k in range(6)]
    gate, _ = fitted([*harmless(6), *harmful])
    assert gate.facts["mean_gain"] == pytest.approx(np.mean([0.1 + k / 1000 for k in range(6)]) / 2)


def test_seldom_opened_by_noise():
    """Gains of every patient's own, its slices alike: 5 % promised, and each slice for itself would open far more."""
    rng = np.random.default_rng(0)

    def opened(alone):
        count = 0
        for _ in range(400):
            own = rng.normal(0, 0.02, 8)
            examples = [
                example(0.9 - s / 100, own[g] + rng.normal(0, 0.01), case=f"{g} {s}", group=None if alone else str(g))
                for g in range(8)
                for s in range(10)
            ]
            count += fitted(examples)[0].facts["open"]
        return count / 400

    assert 0 < opened(alone=False) <= 0.08
    assert opened(alone=True) > 0.2


def test_equal_masks_are_no_change():
    equal = [example(1.0, 0.0, group=f"patient {k}") for k in range(6)]
    gate, sentence = fitted(equal)
    assert sentence == "refined masks not used: they equal the coarse ones on all of 6 validation groups"
    assert decide(gate, 1.0)[0] is False


def test_cases_without_a_score_do_not_count():
    examples = [*harmless(5), example(0.95, float("nan"), group="patient 9")]
    assert fitted(examples)[0].facts["mean_gain"] == pytest.approx(0.102)


def test_the_numbers_behind_the_sentence():
    gate, sentence = fitted(harmless(14), promise="sure")
    assert gate.facts == {
        "promise": "sure",
        "promised": ("the mean harm to further groups is at most 20% of their reference, with 95% confidence"),
        "max_harm": 0.2,
        "confidence": 0.95,
        "cases": 14,
        "groups": 14,
        "groups_needed": 14,
        "threshold": pytest.approx(0.887),
        "tried": pytest.approx(0.887),
        "accepted": 14,
        "mean_harm": 0.0,
        "mean_gain": pytest.approx(0.1065),
        "gain_bound": pytest.approx(0.1045, abs=1e-4),
        "open": True,
        "sentence": sentence,
    }
    gate.fit([])
    assert gate.facts["threshold"] is None
    assert gate.facts["gain_bound"] is None


def test_sure_by_hand():
    """One of 14 harmed by 1 %: 20 · (1 + b (0.2 - 0.01)) / (1 + 0.2 b) is below 20; with 15 it is above."""
    for count, open_ in ((13, False), (14, True)):
        examples = [*harmless(count), example(0.95, 0.1, 1, group="patient x")]
        assert decide(fitted(examples, promise="sure")[0], 0.96)[0] is open_


def test_evidence_by_hand():
    coarse = np.array([[[1, 1, 2, 0, 0, 1]]], np.uint8)
    refined = np.array([[[1, 2, 2, 0, 1, 1]]], np.uint8)
    valid = np.array([[[True, True, True, True, True, False]]])
    np.testing.assert_array_equal(AgreementGate().evidence(coarse, refined, valid), [4, 3 + 4])


def test_evidence_adds_up_over_parts():
    rng = np.random.default_rng(0)
    coarse, refined = rng.integers(0, 3, (2, 6, 7, 8)).astype(np.uint8)
    valid = rng.random((6, 7, 8)) < 0.8
    gate = AgreementGate()
    parts = sum(gate.evidence(coarse[a:b], refined[a:b], valid[a:b]) for a, b in ((0, 2), (2, 3), (3, 6)))
    np.testing.assert_array_equal(parts, gate.evidence(coarse, refined, valid))


def test_two_empty_masks_agree_fully():
    empty, valid = np.zeros((1, 4, 4), np.uint8), np.ones((1, 4, 4), bool)
    gate = AgreementGate()
    gate.threshold.fill_(0.5)
    evidence = gate.evidence(empty, empty, valid)
    np.testing.assert_array_equal(evidence, [0, 0])
    assert gate.decide(evidence) == (True, "agreement 1.000 ≥ 0.500")
    some = empty.copy()
    some[0, 0, 0] = 1
    assert gate.decide(gate.evidence(empty, some, valid)) == (False, "agreement 0.000 < 0.500")


def test_the_threshold_travels_with_the_weights():
    gate = AgreementGate()
    gate.threshold.fill_(0.8125)
    other = AgreementGate()
    other.load_state_dict(gate.state_dict())
    assert decide(other, 0.8125)[0] is True
    assert decide(other, 0.8124)[0] is False
    assert other.threshold.dtype == torch.float64  # in float32 a case on the threshold might fall below it


@pytest.mark.parametrize("arguments", [{}, {"max_harm": 0.2, "confidence": 0}, {"max_harm": 1, "confidence": 0.9}])
@pytest.mark.parametrize(("threshold", "decision"), [
    (0.9, (True, "agreement 0.950 ≥ 0.900")),
    (2.0, (False, "gate shut (no safe gain on validation data); agreement 0.950")),
])  # fmt: skip
def test_a_gate_of_an_older_run_decides_as_it_did(arguments, threshold, decision):
    gate = AgreementGate(**arguments)
    gate.load_state_dict({"threshold": torch.tensor(threshold, dtype=torch.float64)})
    assert decide(gate, 0.95) == decision


@pytest.mark.parametrize("share", [-0.1, 0, 1.5])
def test_max_harm_is_a_share(share):
    with pytest.raises(SegcganError) as error:
        AgreementGate(share)
    assert str(error.value) == f"gate max_harm is {share}; it is a share and must be above 0 and at most 1"


def test_confidence_is_below_one():
    with pytest.raises(SegcganError, match="gate confidence is 1; it must be at least 0 and below 1"):
        AgreementGate(confidence=1)


def test_a_promise_is_one_of_two():
    with pytest.raises(SegcganError, match="gate promise is 'certain'; choose from expected, sure"):
        AgreementGate(promise="certain")
    with pytest.raises(SegcganError, match="gate promise is 'sure' with confidence 0; give a confidence"):
        AgreementGate(promise="sure", confidence=0)


def test_a_limit_of_all_asks_for_two_groups():
    assert AgreementGate(max_harm=1).fewest == AgreementGate(max_harm=1, promise="sure").fewest == 2
    assert decide(fitted(harmless(2), max_harm=1, confidence=0.5, promise="sure")[0], 0.9)[0] is True


def test_a_gate_needs_three_methods():
    class Half(Gate):
        def decide(self, evidence):
            return True, "always"

    with pytest.raises(TypeError, match="abstract"):
        Half()
