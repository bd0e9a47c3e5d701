import numpy as np
import pytest

from segcgan.case import IGNORE
from segcgan.errors import SegcganError
from segcgan.metrics.calibration import CONVENTION, LEVELS, calibrate, fit_temperature

# MetricsReloaded's suite, figure SN 2.24 of Pitfalls: probability of class 1, and the class
SCORES = np.array([0.22, 0.48, 0.49, 0.96, 0.55, 0.64, 0.78, 0.82, 0.34, 0.87])
LABELS = np.array([0, 1, 0, 0, 1, 1, 1, 1, 1, 0])
PAIR = np.stack([1 - SCORES, SCORES])


@pytest.mark.parametrize(("bins", "ece", "mce"), [(2, 0.11, 0.12), (5, 0.32, 0.55), (10, 0.36, 0.96)])
def test_calibration_errors_of_metrics_reloaded(bins, ece, mce):
    found = calibrate(LABELS, PAIR, bins=bins)
    assert found.ece(1) == pytest.approx(ece, abs=0.006)
    assert found.mce(1) == pytest.approx(mce, abs=0.006)
    assert found.pixels == 10


def test_brier_and_log_score_of_metrics_reloaded():
    found = calibrate(np.array([1, 0]), np.array([[0.2, 0.4], [0.8, 0.6]]))
    assert found.brier == pytest.approx(0.4)
    assert found.nll == pytest.approx(0.57, abs=0.005)  # its "logarithmic score" is the negative
    assert found.nll == pytest.approx(-(np.log(0.8) + np.log(0.4)) / 2)


def softmax(logits):
    every = np.exp(logits - logits.max(axis=0))
    return every / every.sum(axis=0)


def drawn(shape=(3, 4, 50, 60), seed=0, sharpness=1.0):
    """Logits, and classes drawn with the probabilities of ``sharpness`` times them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=shape) * 2
    chances = softmax(sharpness * logits).cumsum(axis=0)
    return logits, (rng.random(shape[1:]) > chances[:-1]).sum(axis=0).astype(np.uint8)


@pytest.mark.parametrize("bins", [1, 7, 15])
def test_sums_by_the_definition(bins):
    logits, reference = drawn()
    reference[0, :5] = IGNORE
    valid = np.random.default_rng(1).random(reference.shape) > 0.2
    probability = softmax(logits).astype(np.float32)
    found = calibrate(reference, probability, valid, bins)
    use = valid & (reference != IGNORE)
    p, truth = probability[:, use].astype(float), reference[use]
    hot = np.eye(3)[truth].T
    assert found.pixels == use.sum()
    assert found.bins == bins
    assert found.brier == pytest.approx(((p - hot) ** 2).sum(axis=0).mean())
    assert found.nll == pytest.approx(-np.log((p * hot).sum(axis=0)).mean())
    for index, (confidence, hit) in {0: (p[0], hot[0]), -1: (p.max(axis=0), p.argmax(axis=0) == truth)}.items():
        places = np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1])
        gaps = [abs(hit[places == b].sum() - confidence[places == b].sum()) for b in range(bins)]
        assert found.ece(index) == pytest.approx(sum(gaps) / use.sum())


def test_stored_probabilities_score_as_the_floats_they_are():
    logits, reference = drawn(seed=3)
    stored = np.round(softmax(logits) * LEVELS).astype(np.uint8)
    found, same = calibrate(reference, stored), calibrate(reference, stored / LEVELS)
    np.testing.assert_array_equal(found.counts, same.counts)
    np.testing.assert_array_equal(found.hits, same.hits)
    np.testing.assert_allclose(found.confidence, same.confidence, rtol=1e-12, atol=1e-9)
    assert found.brier == pytest.approx(same.brier)
    exact = calibrate(reference, softmax(logits))
    assert found.ece() == pytest.approx(exact.ece(), abs=0.005)
    assert found.nll == pytest.approx(exact.nll, rel=0.01)
    stored[:, 0] = 255  # no prediction here
    assert calibrate(reference, stored).pixels == reference.size - reference[0].size


def test_a_certain_mistake_costs_but_not_everything():
    wrong = np.array([[254], [0]], np.uint8)
    assert calibrate(np.array([1]), wrong).nll == pytest.approx(np.log(508))
    assert calibrate(np.array([1]), wrong).brier == 2
    assert calibrate(np.array([0]), wrong).nll == 0
    assert calibrate(np.array([1]), wrong / 254.0).nll == pytest.approx(-np.log(1e-12))


def test_cases_add_up_to_the_whole(monkeypatch):
    monkeypatch.setattr("segcgan.metrics.calibration._CHUNK", 1000)  # several chunks, the last one short
    logits, reference = drawn()
    whole = calibrate(reference, softmax(logits))
    parts = sum(calibrate(reference[z], softmax(logits[:, z])) for z in range(4))
    np.testing.assert_array_equal(parts.counts, whole.counts)
    np.testing.assert_array_equal(parts.hits, whole.hits)
    assert (parts.pixels, parts.ece(), parts.brier, parts.nll) == pytest.approx(
        (reference.size, whole.ece(), whole.brier, whole.nll)
    )
    with pytest.raises(SegcganError, match=r"calibrations of shape \(4, 15\) and \(4, 10\) do not add up; take the"):
        whole + calibrate(reference, softmax(logits), bins=10)


def test_nothing_scored_is_nan():
    found = calibrate(np.full((2, 2), IGNORE), np.full((2, 2, 2), 0.5))
    assert found.pixels == 0
    assert all(np.isnan(value) for value in (found.ece(), found.mce(), found.brier, found.nll))
    one = calibrate(np.array([0]), np.array([[1.0], [0.0]]))
    assert (one.ece(), one.brier, one.nll) == (0, 0, 0)
    assert (found + one).pixels == 1


@pytest.mark.parametrize("sharpness", [0.25, 1.0, 2.0])
def test_temperature_is_found_again(sharpness):
    logits, reference = drawn((3, 1, 200, 200), sharpness=sharpness)
    flat, labels = np.log(softmax(logits)).reshape(3, -1).T, reference.ravel()
    temperature = fit_temperature(flat, labels)
    assert temperature == pytest.approx(1 / sharpness, rel=0.05)
    before = calibrate(labels, softmax(flat.T))
    after = calibrate(labels, softmax(flat.T / temperature))
    assert after.nll <= before.nll
    assert after.ece() < 0.01 < before.ece() or sharpness == 1


def test_weights_stand_for_repetition():
    logits, reference = drawn((2, 1, 1, 300))
    flat, labels = logits.reshape(2, -1).T, reference.ravel()
    counts = np.random.default_rng(0).integers(0, 4, 300)
    repeated = fit_temperature(flat.repeat(counts, axis=0), labels.repeat(counts))
    assert fit_temperature(flat, labels, counts) == pytest.approx(repeated, rel=1e-4)


def test_a_network_that_is_never_wrong_gets_the_lowest_temperature():
    assert fit_temperature(np.array([[0.1, 0.0]]), np.array([0])) == pytest.approx(0.05, rel=1e-3)
    assert fit_temperature(np.array([[0.1, 0.0]]), np.array([1])) == pytest.approx(20, rel=1e-3)


def test_errors_name_value_rule_and_cure():
    two, half = np.zeros((2, 2), np.uint8), np.full((2, 2, 2), 0.5)
    with pytest.raises(SegcganError, match=r"shape \(3, 2\) do not fit a reference of shape \(2, 2\); give one layer"):
        calibrate(two, np.zeros((3, 2)))
    with pytest.raises(SegcganError, match=r"the validity has shape \(2,\)"):
        calibrate(two, half, np.ones(2, bool))
    with pytest.raises(SegcganError, match=r"probabilities are int64; give uint8 in steps of 1/254, or floats"):
        calibrate(two, half.astype(np.int64))
    with pytest.raises(SegcganError, match=r"the reference holds class 2, but there are probabilities of 2 classes"):
        calibrate(two + 2, half)
    with pytest.raises(SegcganError, match=r"probabilities lie between -1 and 0.5, but must between 0 and 1"):
        calibrate(two, np.stack([half[0], -2 * half[1]]))
    with pytest.raises(SegcganError, match=r"probabilities lie between nan and nan"):
        calibrate(two, half * np.nan)
    with pytest.raises(SegcganError, match=r"0 bins hold nothing; take 10 or 15"):
        calibrate(two, half, bins=0)
    with pytest.raises(SegcganError, match=r"shape \(2, 2\) do not fit a reference of shape \(3,\); give \(N, K\)"):
        fit_temperature(np.zeros((2, 2)), np.zeros(3))
    with pytest.raises(SegcganError, match=r"there is no pixel to fit a temperature on; give validation cases"):
        fit_temperature(np.zeros((0, 2)), np.zeros(0))
    with pytest.raises(SegcganError, match=r"a temperature needs pixels with finite log-probabilities; clip"):
        fit_temperature(np.full((1, 2), -np.inf), np.zeros(1))
    with pytest.raises(SegcganError, match=r"the reference holds class 255 of 2; leave ignored pixels out"):
        fit_temperature(np.zeros((1, 2)), np.array([IGNORE]))


def test_the_convention_is_said():
    assert all(word in CONVENTION for word in ("equal width", "most likely class", "summed over classes", "nats"))
