"""Region losses against values worked out by hand, and what must not change them."""

import math

import pytest
import torch

from segcgan.case import IGNORE
from segcgan.losses import cross_entropy, dice_loss, sobel_l1

LOSSES = [dice_loss, cross_entropy, sobel_l1]


def sure(mask, classes=2, height=60.0):
    """Logits of a network that is certain of ``mask`` (B, H, W)."""
    return height * torch.nn.functional.one_hot(mask, classes).permute(0, 3, 1, 2).float()


def everything(mask):
    return torch.ones_like(mask, dtype=torch.bool)


def random(batch=4, classes=3, size=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, classes, size, size, generator=generator)
    target = torch.randint(classes, (batch, size, size), generator=generator)
    return logits, target, torch.rand(batch, size, size, generator=generator) < 0.7


def test_dice_by_hand():
    target = torch.tensor([[[1, 1, 0, 0]]])
    predicted = torch.tensor([[[1, 0, 1, 1]]])  # one hit, three and two pixels
    assert dice_loss(sure(predicted), target, everything(target)).item() == pytest.approx(1 - (2 + 1) / (3 + 2 + 1))


def test_dice_of_soft_predictions_by_hand():
    logits = torch.tensor([0.0, math.log(3.0)]).view(1, 2, 1, 1).expand(1, 2, 2, 2)  # probability 3/4 everywhere
    target = torch.tensor([[[1, 1], [0, 0]]])
    expected = 1 - (2 * 1.5 + 1) / (3 + 2 + 1)
    assert dice_loss(logits, target, everything(target)).item() == pytest.approx(expected)


def test_dice_is_the_mean_over_foreground_classes():
    target = torch.tensor([[[1, 1, 2, 0]]])
    predicted = torch.tensor([[[1, 1, 0, 0]]])
    first, second = 0.0, 1 - 1 / (0 + 1 + 1)
    assert dice_loss(sure(predicted, 3), target, everything(target)).item() == pytest.approx((first + second) / 2)


@pytest.mark.parametrize("area", [0, 1, 3, 16])
def test_an_absent_class_costs_by_its_false_area(area):
    target = torch.zeros(1, 4, 4, dtype=torch.long)
    predicted = target.clone()
    predicted.view(-1)[:area] = 1
    assert dice_loss(sure(predicted), target, everything(target)).item() == pytest.approx(1 - 1 / (area + 1), abs=1e-6)


def test_an_empty_image_does_not_drown_what_a_small_object_pulls():
    """At an empty prediction: else nothing ever starts to grow where a third of the images is empty."""
    target = torch.zeros(2, 96, 96, dtype=torch.long)
    target[0, 40:48, 40:48] = 1
    p = torch.full((2, 96, 96), 1e-4, requires_grad=True)
    dice_loss(torch.stack([1 - p, p], 1).log(), target, everything(target)).backward()
    pull, push = -p.grad[0, 44, 44], p.grad[1, 44, 44]
    assert push == pytest.approx(0.5 * 92.16 / (92.16 + 0.9216) ** 2, rel=1e-3)
    assert pull > push > 0


def test_a_false_area_of_a_hundredth_of_the_image_costs_half():
    target = torch.zeros(1, 20, 20, dtype=torch.long)
    predicted = target.clone()
    predicted[0, 0, :4] = 1
    assert dice_loss(sure(predicted), target, everything(target)).item() == pytest.approx(0.5, abs=1e-6)


def test_cross_entropy_by_hand():
    logits = torch.tensor([0.0, math.log(3.0)]).view(1, 2, 1, 1).expand(1, 2, 1, 2)
    target = torch.tensor([[[1, 0]]])
    expected = -(math.log(0.75) + math.log(0.25)) / 2
    assert cross_entropy(logits, target, everything(target)).item() == pytest.approx(expected)
    uniform = torch.zeros(1, 5, 3, 3)
    target = torch.zeros(1, 3, 3, dtype=torch.long)
    assert cross_entropy(uniform, target, everything(target)).item() == pytest.approx(math.log(5))


@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_scored_costs_nothing(loss):
    logits, target, _ = random()
    logits.requires_grad_()
    value = loss(logits, target, torch.zeros_like(target, dtype=torch.bool))
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-7)
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_pixels_that_do_not_count_carry_no_gradient_and_no_value(loss):
    logits, target, scored = random()
    scored[:, :4] = True  # so that some 3 x 3 neighbourhoods are whole
    target[~scored] = IGNORE
    logits.requires_grad_()
    value = loss(logits, target, scored)
    value.backward()
    out = ~scored[:, None].expand_as(logits)
    assert (logits.grad[out] == 0).all()
    assert (logits.grad[~out] != 0).any()
    changed = torch.where(out, 100 * torch.randn_like(logits), logits.detach())
    assert loss(changed, target, scored).item() == pytest.approx(value.item(), rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_batch_is_the_mean_of_its_halves(loss):
    logits, target, scored = random()
    scored[0, 1:] = False  # images with few and with many scored pixels weigh the same
    halves = [loss(logits[part], target[part], scored[part]) for part in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close(loss(logits, target, scored), torch.stack(halves).mean())


@pytest.mark.parametrize("loss", LOSSES)
def test_half_precision_logits_are_computed_in_single(loss):
    logits, target, scored = random()
    assert loss(logits.bfloat16(), target, scored).dtype == torch.float32


@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_downhill_helps(loss):
    logits, target, _ = random()
    logits.requires_grad_()
    before = loss(logits, target, everything(target))
    before.backward()
    after = loss(logits.detach() - 5 * logits.grad, target, everything(target))
    assert after < before


@pytest.mark.parametrize("loss", [dice_loss, cross_entropy])
def test_volumes(loss):
    logits = torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(1))
    target = logits.argmax(1)
    right = loss(60 * logits, target, everything(target))
    assert right < loss(-60 * logits, target, everything(target))
    assert right.item() < 0.3
