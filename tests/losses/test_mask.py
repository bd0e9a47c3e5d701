"""The terms a mask is trained with, for one rater and for several."""

import torch

from segcgan.batch import Batch
from segcgan.losses import mask_terms


def windows(several):
    count = 4
    target = torch.zeros(count, 8, 8, dtype=torch.int64)
    target[:, 2:6, 2:6] = 1
    return Batch(
        torch.zeros(count, 1, 8, 8), torch.ones(count, 1, 8, 8, dtype=torch.bool), torch.ones(count, 2),
        torch.zeros(count, 2, dtype=torch.int64), torch.arange(count), target, several=several,
    )  # fmt: skip


LOGITS = torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(0))


def test_one_rater_trains_with_dice_cross_entropy_and_sobel():
    for several in (None, torch.zeros(4, dtype=torch.bool)):
        assert set(mask_terms(LOGITS, windows(several), 1.0)) == {"dice", "ce", "sobel"}


def test_with_several_raters_the_cross_entropy_is_the_only_term():
    assert set(mask_terms(LOGITS, windows(torch.ones(4, dtype=torch.bool)), 1.0)) == {"ce"}


def test_in_a_mixed_batch_images_of_several_raters_have_no_part_in_dice_and_sobel():
    several = torch.tensor([True, False, True, False])
    other = LOGITS.clone()
    other[several] += 3 * torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    first, second = (mask_terms(logits, windows(several), 1.0) for logits in (LOGITS, other))
    assert torch.equal(first["dice"], second["dice"])
    assert torch.equal(first["sobel"], second["sobel"])
    assert first["ce"] != second["ce"]


def test_the_cross_entropy_of_random_raters_is_least_at_the_share_of_raters():
    """Three of four raters mark everything: the best constant probability is 0.75, and with Dice it would be 1."""
    batch = windows(torch.ones(4, dtype=torch.bool))
    batch.target = torch.ones_like(batch.target)
    batch.target[0] = 0
    logit = torch.zeros((), requires_grad=True)
    for _ in range(200):
        logits = torch.stack([torch.zeros(4, 8, 8), logit.expand(4, 8, 8)], 1)
        (slope,) = torch.autograd.grad(sum(mask_terms(logits, batch).values()), logit)
        logit = (logit - 2 * slope).detach().requires_grad_()
    assert abs(float(logit.detach().sigmoid()) - 0.75) < 1e-3
