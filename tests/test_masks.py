"""The running moments of mask samples."""

import math

import pytest
import torch

from segcgan.masks import MaskDistribution


def distribution(*samples):
    masks = MaskDistribution()
    for sample in samples:
        masks.add(sample)
    return masks


def test_one_sample_disagrees_with_nobody():
    logits = 5 * torch.randn(2, 3, 7, 9, generator=torch.Generator().manual_seed(0))
    masks = distribution(logits)
    assert (masks.mutual_information == 0).all()
    assert masks.mutual_information.shape == (2, 7, 9)
    torch.testing.assert_close(masks.probability, logits.softmax(1))
    torch.testing.assert_close(masks.logits, logits.log_softmax(1))
    assert masks.count == 1


def test_two_sure_samples_that_contradict_each_other():
    sure = torch.tensor([50.0, -50.0]).view(1, 2, 1, 1)
    masks = distribution(sure, -sure)
    torch.testing.assert_close(masks.probability, torch.full((1, 2, 1, 1), 0.5))
    for value in (masks.entropy, masks.mutual_information):
        torch.testing.assert_close(value, torch.full((1, 1, 1), math.log(2)))


def test_equal_samples_agree_however_unsure():
    unsure = torch.zeros(1, 4, 3, 3)
    masks = distribution(unsure, unsure, unsure)
    torch.testing.assert_close(masks.entropy, torch.full((1, 3, 3), math.log(4)))
    torch.testing.assert_close(masks.mutual_information, torch.zeros(1, 3, 3), atol=1e-6, rtol=0)


def test_bounds_and_order():
    samples = [3 * torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(i)) for i in range(6)]
    masks, turned = distribution(*samples), distribution(*samples[::-1])
    assert (masks.entropy >= masks.mutual_information).all()
    assert (masks.entropy <= math.log(3) + 1e-6).all()
    assert (masks.mutual_information >= 0).all()
    assert masks.mutual_information.mean() > 0.1
    torch.testing.assert_close(masks.probability.sum(1), torch.ones(1, 16, 16))
    for name in ("probability", "entropy", "mutual_information"):
        torch.testing.assert_close(getattr(masks, name), getattr(turned, name), atol=1e-6, rtol=0)
    expected = torch.stack([-(s.softmax(1) * s.log_softmax(1)).sum(1) for s in samples]).mean(0)
    torch.testing.assert_close(masks.mutual_information, masks.entropy - expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("large", [200.0, float("inf")])
def test_probabilities_of_zero_have_no_entropy(large):
    masks = distribution(torch.tensor([0.0, -large]).view(1, 2, 1, 1))
    assert masks.entropy == 0
    assert torch.isfinite(masks.logits).all()


def test_half_precision_samples_are_summed_in_single():
    assert distribution(torch.zeros(1, 2, 1, 1, dtype=torch.bfloat16)).probability.dtype == torch.float32


def test_nothing_added():
    masks = MaskDistribution()
    for name in ("probability", "logits", "entropy", "mutual_information"):
        with pytest.raises(ValueError, match="no sample was added to this mask distribution"):
            getattr(masks, name)
