"""The agreement gate: shut without gain, otherwise at the threshold that gains most and harms little."""

import numpy as np
import pytest
import torch

from segcgan.errors import SegcganError
from segcgan.gates import AgreementGate, Gate, Unit
from segcgan.metrics.objects import HARM


def unit(agreement, gain, change=None):
    return Unit(np.array([100 * agreement, 100.0]), gain, gain if change is None else change)


def fitted(*units, max_harm=0.1, confidence=0.0):
    gate = AgreementGate(max_harm, confidence)
    return gate, gate.fit(units)


def decide(gate, agreement):
    return gate.decide(np.array([100 * agreement, 100.0]))


def test_unfitted_it_is_shut():
    accepted, reason = decide(AgreementGate(), 1.0)
    assert accepted is False
    assert reason == "gate shut (no safe gain on validation data); agreement 1.000"


def test_shut_without_gain():
    gate, sentence = fitted(unit(0.9, -0.01), unit(0.8, 0.0), unit(0.5, float("nan")))
    assert sentence == (
        "no threshold surely gains on the 3 validation cases and harms at most 10% of the accepted: the gate is shut"
    )
    assert decide(gate, 1.0)[0] is False


def test_shut_without_cases_even_if_it_was_open():
    gate, _ = fitted(unit(0.9, 0.1))
    assert decide(gate, 0.95)[0] is True
    assert gate.fit([]) == "no validation case: the gate is shut"
    assert decide(gate, 0.95)[0] is False


def test_the_quarter_with_the_largest_gain():
    kept, rejected = [unit(0.95, 0.02), unit(0.9, 0.05)], [unit(0.8, -0.01), unit(0.4, -0.2, 0.0)]
    gate, sentence = fitted(*rejected, *kept)
    assert float(gate.threshold) == pytest.approx(0.9)
    said = "accepts an agreement ≥ 0.900: 2 of 4 validation cases, 0 of them harmed (IoU down by more than 0.02)"
    assert sentence == said
    assert decide(gate, 0.9) == (True, "agreement 0.900 ≥ 0.900")
    assert decide(gate, 0.89) == (False, "agreement 0.890 < 0.900")


def test_only_quarters_are_tried():
    units = [unit(0.99 - k / 100, 0.1 if k < 3 else -0.01) for k in range(8)]  # the best of all would be three of eight
    assert float(fitted(*units)[0].threshold) == pytest.approx(0.96)


def test_harm_limits_the_gain():
    units = [unit(0.95, 0.01), unit(0.9, 0.01, -0.5), unit(0.7, 0.5)]
    assert float(fitted(*units)[0].threshold) == pytest.approx(0.95)
    gate, sentence = fitted(*units, max_harm=0.4)
    assert float(gate.threshold) == pytest.approx(0.7)
    assert sentence.startswith("accepts an agreement ≥ 0.700: 3 of 3 validation cases, 1 of them harmed")


def test_a_loss_within_the_tolerance_is_no_harm():
    assert float(fitted(unit(0.9, 0.1, -HARM), max_harm=0.0)[0].threshold) == pytest.approx(0.9)
    assert decide(fitted(unit(0.9, 0.1, -HARM - 1e-6), max_harm=0.0)[0], 1.0)[0] is False


def test_equal_agreements_are_taken_together():
    gate, _ = fitted(unit(0.9, 0.3), unit(0.9, -0.4, 0.0))
    assert decide(gate, 1.0)[0] is False


def test_equal_masks_count_for_nothing():
    """A hundred cases the refiner left as they were do not make up for two of four that it harmed."""
    units = [unit(1.0, 0.0)] * 100 + [unit(0.9, 0.1), unit(0.9, 0.1), unit(0.9, -0.05), unit(0.9, -0.05)]
    assert decide(fitted(*units)[0], 1.0)[0] is False
    gate, sentence = fitted(*[unit(1.0, 0.0)] * 100)
    assert decide(gate, 1.0)[0] is False
    assert sentence.startswith("0 of 100 validation cases were changed")


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
    gate, _ = fitted(unit(0.5, 0.1))
    evidence = gate.evidence(empty, empty, valid)
    np.testing.assert_array_equal(evidence, [0, 0])
    assert gate.decide(evidence) == (True, "agreement 1.000 ≥ 0.500")
    some = empty.copy()
    some[0, 0, 0] = 1
    assert gate.decide(gate.evidence(empty, some, valid)) == (False, "agreement 0.000 < 0.500")


def test_the_threshold_travels_with_the_weights():
    gate, _ = fitted(unit(0.8125, 0.1))
    other = AgreementGate()
    other.load_state_dict(gate.state_dict())
    assert decide(other, 0.8125)[0] is True
    assert decide(other, 0.8124)[0] is False
    assert other.threshold.dtype == torch.float64  # in float32 a case on the threshold might fall below it


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_max_harm_is_a_share(share):
    with pytest.raises(SegcganError) as error:
        AgreementGate(share)
    assert str(error.value) == f"gate max_harm is {share}; it is a share and must lie between 0 and 1"


def test_confidence_is_below_one():
    with pytest.raises(SegcganError, match="gate confidence is 1; it must be at least 0 and below 1"):
        AgreementGate(confidence=1)


def test_no_number_of_cases_shows_that_nothing_is_harmed():
    with pytest.raises(SegcganError, match="gate max_harm is 0, which no number of cases shows; give more, or"):
        AgreementGate(max_harm=0)


def test_a_gain_that_may_be_chance_opens_nothing():
    """Student's t of the mean gain by hand: 0.02 ± 0.01 of four cases needs 2.353 standard errors."""
    wide = [unit(0.9, gain) for gain in (0.05, 0.03, 0.0, 0.0)]  # standard error 0.0122, bound -0.0088
    gate, sentence = fitted(*wide, max_harm=1, confidence=0.95)
    assert decide(gate, 1.0)[0] is False
    assert sentence == (
        "no threshold surely gains on the 4 validation cases and harms at most 100% of the accepted (95%): "
        "the gate is shut"
    )
    assert decide(fitted(*wide, max_harm=1, confidence=0.5)[0], 1.0)[0] is True
    narrow = [unit(0.9, gain) for gain in (0.03, 0.03, 0.01, 0.01)]  # standard error 0.0058
    assert decide(fitted(*narrow, max_harm=1, confidence=0.85)[0], 0.9)[0] is True


def test_too_few_cases_show_nothing():
    gate, sentence = fitted(*[unit(0.9, 0.5)] * 28, confidence=0.95)
    assert decide(gate, 1.0)[0] is False
    assert sentence == (
        "28 of 28 validation cases were changed, and it takes 29 or more to show that at most 10% are harmed "
        "(95%): the gate is shut"
    )
    enough, _ = fitted(*[unit(0.9, 0.5 + k / 100) for k in range(29)], confidence=0.95)
    assert decide(enough, 0.9)[0] is True
    assert AgreementGate(max_harm=0.05).fewest == 59
    assert AgreementGate(max_harm=1).fewest == 2


def test_one_harmed_of_thirty_is_too_many_and_of_sixty_is_not():
    """Clopper & Pearson: at most 0.149 of thirty, 0.077 of sixty (0.089 for two levels together)."""
    for count, open_ in ((30, False), (60, True)):
        cases = [unit(0.9 - k / 1000, 0.1 + k / 1000) for k in range(count - 1)]
        gate, _ = fitted(unit(0.95, -0.03), *cases, confidence=0.95)
        assert decide(gate, 1.0)[0] is open_


def test_one_case_proves_nothing_and_a_doubtful_threshold_leaves_a_certain_one():
    assert decide(fitted(unit(0.9, 0.5), max_harm=1, confidence=0.95)[0], 1.0)[0] is False
    certain = [unit(0.95 - k / 100, 0.02 + k / 1000) for k in range(3)]
    doubtful = [unit(0.8, 0.9), unit(0.8, -0.3, 0.0), unit(0.8, 0.9)]
    units = [*certain, *doubtful]
    assert float(fitted(*units, max_harm=1, confidence=0.95)[0].threshold) == pytest.approx(0.93)
    assert float(fitted(*units, max_harm=1)[0].threshold) == pytest.approx(0.8)


def chance(gate_of, draw, repeats=300):
    """The share of draws of cases for which the gate opens."""
    rng = np.random.default_rng(0)
    return np.mean([decide(gate_of(draw(rng)), 1.0)[0] for _ in range(repeats)])


def test_seldom_opened_by_noise():
    def draw(rng):
        return [unit(0.9 - k / 1000, gain) for k, gain in enumerate(rng.normal(0, 0.02, 100))]

    assert 0 < chance(lambda units: fitted(*units, max_harm=1, confidence=0.95)[0], draw) <= 0.09  # 5 % promised
    assert chance(lambda units: fitted(*units, max_harm=1)[0], draw) > 0.5


def test_seldom_opened_when_more_are_harmed_than_said():
    """A tenth harmed whatever the agreement: counting alone lets through what the bound does not."""

    def draw(rng):
        return [unit(0.9 - k / 1000, -0.05 if rng.random() < 0.1 else 0.1) for k in range(100)]

    assert chance(lambda units: fitted(*units, confidence=0.95)[0], draw) <= 0.09
    assert chance(lambda units: fitted(*units)[0], draw) > 0.5


def test_a_gate_needs_three_methods():
    class Half(Gate):
        def decide(self, evidence):
            return True, "always"

    with pytest.raises(TypeError, match="abstract"):
        Half()
