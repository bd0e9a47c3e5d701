import numpy as np
import pytest

from segcgan.errors import SegcganError
from segcgan.metrics.overlap import confusion, dice, iou, pixel_accuracy


def test_confusion_has_reference_rows_and_leaves_out_ignored_and_invalid_pixels():
    reference = np.array([[0, 0, 1, 255], [2, 2, 1, 1]], np.uint8)
    prediction = np.array([[0, 1, 1, 2], [2, 0, 255, 0]], np.uint8)
    valid = np.array([[1, 1, 1, 1], [1, 1, 0, 1]], bool)
    counts = confusion(reference, prediction, 3, valid)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, [[1, 1, 0], [1, 1, 0], [1, 0, 1]])


def test_confusion_in_chunks_equals_confusion_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    reference, prediction = rng.integers(0, 4, (2, 5, 31, 17)).astype(np.uint8)
    whole = confusion(reference, prediction, 4)
    monkeypatch.setattr("segcgan.metrics.overlap._CHUNK", 100)
    np.testing.assert_array_equal(confusion(reference, prediction, 4), whole)
    assert whole.sum() == reference.size
    assert whole[1, 2] == np.count_nonzero((reference == 1) & (prediction == 2))


def test_class_in_neither_mask_is_one_and_class_in_one_is_zero():
    counts = confusion(np.array([0, 0, 1]), np.array([0, 0, 0]), 3)
    np.testing.assert_allclose(iou(counts), [2 / 3, 0, 1])
    np.testing.assert_allclose(dice(counts), [4 / 5, 0, 1])
    np.testing.assert_allclose(iou(counts, np.nan), [2 / 3, 0, np.nan])
    np.testing.assert_allclose(dice(counts, np.nan), [4 / 5, 0, np.nan])
    assert pixel_accuracy(counts) == pytest.approx(2 / 3)


def test_nothing_scored_is_nan_not_zero():
    counts = confusion(np.full(4, 255, np.uint8), np.zeros(4, np.uint8), 2)
    assert np.isnan([iou(counts), dice(counts)]).all()
    assert np.isnan(pixel_accuracy(counts))


def test_case_b_of_the_reference_values():
    reference, prediction = np.zeros((2, 6, 6), np.uint8)
    reference[1:3, 1:3] = 1
    prediction[1:4, 1:3] = 1
    counts = confusion(reference, prediction, 2)
    assert dice(counts)[1] == pytest.approx(0.8)
    assert iou(counts)[1] == pytest.approx(2 / 3)


def test_dice_and_iou_agree_with_monai():
    torch = pytest.importorskip("torch")
    monai = pytest.importorskip("monai.metrics")
    rng = np.random.default_rng(1)
    reference, prediction = rng.integers(0, 3, (2, 9, 20, 15))
    hot = [torch.from_numpy(np.eye(3)[each]).movedim(-1, 0)[None] for each in (prediction, reference)]
    counts = confusion(reference, prediction, 3)
    np.testing.assert_allclose(dice(counts), monai.compute_dice(*hot)[0], rtol=1e-6)
    np.testing.assert_allclose(iou(counts), monai.compute_iou(*hot)[0], rtol=1e-6)


def test_errors_name_value_rule_and_cure():
    reference = np.zeros((2, 2), np.uint8)
    with pytest.raises(SegcganError, match=r"prediction holds class 255 .* 2 classes are 0 to 1; mark such"):
        confusion(reference, np.full((2, 2), 255, np.uint8), 2)
    with pytest.raises(SegcganError, match=r"reference holds class 3"):
        confusion(reference + 3, reference, 2)
    with pytest.raises(SegcganError, match=r"prediction holds class -1"):
        confusion(reference, reference.astype(int) - 1, 2)
    with pytest.raises(SegcganError, match=r"prediction has shape \(3,\) but the reference \(2, 2\); bring them"):
        confusion(reference, np.zeros(3, np.uint8), 2)
    with pytest.raises(SegcganError, match=r"validity has shape"):
        confusion(reference, reference, 2, np.ones((1, 2, 2), bool))
