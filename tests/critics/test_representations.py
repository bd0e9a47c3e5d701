"""Can a critic tell real masks from drawn ones of the same shapes? Only by softness; so it must not see it."""

import pytest
import torch

from segcgan.critics import Adversary, Autoencoded, Gumbel, Noisy, Objective, PatchCritic, Soft, StraightThrough
from segcgan.errors import SegcganError
from tests.critics.conftest import soft_logits, windows


def kind(representation):
    return type(representation).__name__


def accuracy(representation, steps=150):
    """Train a critic on masks that differ from references in softness alone; return its accuracy at the end."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    critic = PatchCritic(0, 2, width=16)
    adversary = Adversary(critic, Objective("non-saturating"), representation, weight=0.01, cap=1.0)
    optimizer = torch.optim.Adam(adversary.parameters(), 2e-3, betas=(0.5, 0.99))
    found = []
    for _ in range(steps):
        batch, other = windows(16, generator), windows(16, generator)
        terms = adversary.critic_terms(soft_logits(other.target, generator), batch)
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
        adversary.count()
        found.append(float(adversary.diagnostics["critic_accuracy"]))
    return sum(found[-40:]) / 40


@pytest.mark.parametrize("representation", [StraightThrough(), Gumbel(), Autoencoded(2)], ids=kind)
def test_nothing_leaks(representation):
    assert not representation.leaks
    assert accuracy(representation) <= 0.55


@pytest.mark.parametrize("representation", [Soft(), Gumbel(shared=False), Noisy(0.5)], ids=kind)
def test_the_others_leak_and_say_so(representation):
    """The test above can fail: where softness shows, the same critic finds it."""
    assert representation.leaks
    assert accuracy(representation) >= 0.65


@pytest.mark.parametrize("representation", [StraightThrough(), Gumbel(0.5), Gumbel(2.0, shared=False)])
def test_masks_are_one_hot_and_carry_gradients(representation):
    logits = torch.randn(2, 3, 8, 8, requires_grad=True)
    mask = representation.fake(logits, torch.ones(2, 1, 8, 8, dtype=torch.bool))
    assert torch.allclose(mask.sum(1), torch.ones(2, 8, 8))
    assert set(mask.detach().round(decimals=5).unique().tolist()) == {0.0, 1.0}
    (mask[:, 1] * torch.randn(2, 8, 8)).sum().backward()
    assert logits.grad.abs().sum() > 0


def test_pixels_of_a_shared_draw_move_together():
    logits = torch.zeros(64, 2, 4, 4)
    scored = torch.ones(64, 1, 4, 4, dtype=torch.bool)
    drawn = Gumbel().fake(logits, scored)[:, 1].flatten(1)
    assert ((drawn - drawn[:, :1]).abs() < 1e-6).all()  # up to rounding of hard + p - p
    assert 0.2 < drawn[:, 0].mean() < 0.8
    alone = Gumbel(shared=False).fake(logits, scored)[:, 1].flatten(1)
    assert (alone != alone[:, :1]).any(1).all()


def test_an_autoencoder_does_not_learn_from_what_is_not_scored():
    torch.manual_seed(0)
    representation = Autoencoded(2)
    mask, scored = torch.zeros(1, 2, 16, 16), torch.ones(1, 1, 16, 16, dtype=torch.bool)
    mask[:, 1] = 1
    scored[..., 8:] = False
    other = mask.clone()
    other[..., 8:] = other[..., 8:].flip(1)
    torch.manual_seed(1)
    first = representation.terms(mask, scored)["autoencoder"]
    torch.manual_seed(1)
    assert torch.equal(first, representation.terms(other, scored)["autoencoder"])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Gumbel(0), "representation temperature is 0; it must be above 0, e.g. 1.0"),
        (lambda: Noisy(-1), "representation sigma is -1; a standard deviation is at least 0"),
    ],
)
def test_wrong_numbers(make, said):
    with pytest.raises(SegcganError) as error:
        make()
    assert str(error.value) == said


@pytest.mark.parametrize("representation", [Soft(), StraightThrough(), Gumbel(), Noisy(0.0), Autoencoded(2)], ids=kind)
def test_what_is_not_scored_is_shown_alike_and_gets_no_gradient(representation):
    """Else a critic would tell real from fake beside every hole of the data."""
    mask, scored = torch.zeros(1, 2, 16, 16), torch.ones(1, 1, 16, 16, dtype=torch.bool)
    mask[:, 1] = 1
    scored[..., 8:] = False
    logits = (2e4 * (mask - 0.5)).requires_grad_()
    fake = representation.fake(logits, scored)
    torch.testing.assert_close(fake, representation.real(mask * scored))
    logits = torch.randn(1, 2, 16, 16, requires_grad=True)
    (representation.fake(logits, scored) * torch.randn(1, 2, 16, 16)).sum().backward()
    assert not logits.grad[..., 8:].any()
    assert logits.grad[..., :8].any()
