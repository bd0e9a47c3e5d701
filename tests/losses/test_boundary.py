"""The Sobel loss against values worked out by hand."""

import pytest
import torch

from segcgan.losses import sobel_l1


def sure(mask, classes=2):
    return 60 * torch.nn.functional.one_hot(mask, classes).permute(0, 3, 1, 2).float()


def square(size=9, begin=3, end=6, label=1):
    mask = torch.zeros(1, size, size, dtype=torch.long)
    mask[:, begin:end, begin:end] = label
    return mask


def everything(mask):
    return torch.ones_like(mask, dtype=torch.bool)


@pytest.mark.parametrize("classes", [2, 4])
def test_equal_masks_cost_nothing(classes):
    mask = square(label=classes - 1)
    assert sobel_l1(sure(mask, classes), mask, everything(mask)).item() == pytest.approx(0, abs=1e-6)


def test_a_straight_edge_by_hand():
    target = torch.zeros(1, 6, 8, dtype=torch.long)
    predicted = target.clone()
    predicted[:, :, 4:] = 1
    # |horizontal Sobel| of a step is (1 + 2 + 1) / 8 in the two columns beside it, in both classes; the vertical is 0
    assert sobel_l1(sure(predicted), target, everything(target)).item() == pytest.approx(0.5 * 2 / 8)


def test_one_pixel_by_hand():
    target = torch.zeros(1, 5, 5, dtype=torch.long)
    predicted = target.clone()
    predicted[0, 2, 2] = 1
    # a kernel's absolute values sum to 1, and both kernels apply
    assert sobel_l1(sure(predicted), target, everything(target)).item() == pytest.approx(2 / 25)


def test_rows_and_columns_weigh_the_same():
    target, predicted = square(), square(begin=2, end=5)
    predicted[0, 2] = 0
    loss = sobel_l1(sure(predicted), target, everything(target))
    turned = sobel_l1(sure(predicted.mT), target.mT, everything(target))
    torch.testing.assert_close(loss, turned)
    assert loss > 0


def test_constant_error_has_no_edge():
    target = torch.zeros(1, 6, 6, dtype=torch.long)
    assert sobel_l1(sure(torch.ones_like(target)), target, everything(target)).item() == pytest.approx(0, abs=1e-6)


def test_edges_beside_unscored_pixels_do_not_count():
    target, predicted = square(), torch.zeros(1, 9, 9, dtype=torch.long)
    scored = everything(target)
    scored[0, 4, 4] = False  # every pixel of the square touches it, the ring around the square does not
    partly = sobel_l1(sure(predicted), target, scored)
    assert 0 < partly < sobel_l1(sure(predicted), target, everything(target)) * 81 / 72
    scored[0, 1:8, 1:8] = False
    assert sobel_l1(sure(predicted), target, scored).item() == pytest.approx(0, abs=1e-6)


def test_the_error_of_one_class_among_many():
    target = square()
    predicted = torch.where(target == 1, 2, 0)
    wrong = sobel_l1(sure(predicted, 4), target, everything(target))
    missed = sobel_l1(sure(torch.zeros_like(target), 4), target, everything(target))
    torch.testing.assert_close(wrong, missed)  # two of four classes are wrong either way
