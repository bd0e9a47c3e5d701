"""Entropy minimisation: its value, its direction, and the pixels that have no say."""

import math

import pytest
import torch

from segcgan.batch import Batch
from segcgan.errors import SegcganError
from segcgan.regularisers import Entropy


def batch(count=2, size=8, target=True):
    return Batch(
        image=torch.zeros(count, 1, size, size),
        valid=torch.ones(count, 1, size, size, dtype=torch.bool),
        spacing=torch.ones(count, 2),
        origin=torch.zeros(count, 2, dtype=torch.int64),
        key=torch.arange(count),
        target=torch.zeros(count, size, size, dtype=torch.long) if target else None,
    )


@pytest.mark.parametrize("classes", [2, 5])
def test_undecided_costs_log_k_and_decided_nothing(classes):
    undecided, decided = torch.zeros(2, classes, 8, 8), torch.zeros(2, classes, 8, 8)
    decided[:, 0] = 100
    terms = Entropy(weight=0.5).terms(batch(), undecided)
    assert set(terms) == {"entropy"}
    assert float(terms["entropy"]) == pytest.approx(0.5 * math.log(classes), rel=1e-6)
    assert float(Entropy(weight=0.5).terms(batch(), decided)["entropy"]) == pytest.approx(0, abs=1e-6)


def test_it_equals_the_entropy_of_torch():
    logits = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    wanted = torch.distributions.Categorical(logits=logits.movedim(1, -1)).entropy().mean()
    torch.testing.assert_close(Entropy(weight=1).terms(batch(), logits)["entropy"], wanted)


def test_going_down_makes_the_probable_more_probable():
    logits = torch.tensor([0.1, -0.1]).view(1, 2, 1, 1).repeat(2, 1, 8, 8).requires_grad_()
    windows, before = batch(), None
    for _ in range(20):
        value = Entropy(weight=1).terms(windows, logits)["entropy"]
        assert before is None or value.item() < before
        before = value.item()
        (gradient,) = torch.autograd.grad(value, logits)
        logits = (logits - 50 * gradient).detach().requires_grad_()
    assert float(logits.detach().softmax(1)[:, 0].min()) > 0.6


def test_invalid_pixels_have_no_say_and_unknown_ones_do():
    windows, logits = batch(), torch.randn(2, 2, 8, 8)
    windows.valid[:, :, :, :4] = False
    windows.target[:] = 255  # unknown everywhere: entropy needs no reference
    first = Entropy().terms(windows, logits)["entropy"]
    assert float(first) > 0
    logits[..., :4] = torch.inf
    logits.requires_grad_()
    second = Entropy().terms(windows, logits)["entropy"]
    assert first.item() == second.item()
    (gradient,) = torch.autograd.grad(second, logits)
    assert not gradient[..., :4].any()
    assert gradient[..., 4:].all()


def test_edges_nothing_valid_one_pixel_no_target():
    windows = batch(target=False)
    windows.valid[:] = False
    assert float(Entropy().terms(windows, torch.zeros(2, 2, 8, 8))["entropy"]) == 0
    single = batch(count=1, size=1, target=False)
    assert float(Entropy(1).terms(single, torch.zeros(1, 2, 1, 1))["entropy"]) == pytest.approx(math.log(2))


def test_a_negative_weight_is_refused():
    with pytest.raises(SegcganError, match=r"^regulariser weight is -1; it must be at least 0$"):
        Entropy(-1)
