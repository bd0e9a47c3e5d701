"""The game: who learns when, what does not count, and whether a refiner gets better masks out of it."""

import logging
from dataclasses import replace

import pytest
import torch

from segcgan.critics import Adversary, Objective, PatchCritic, Soft
from segcgan.errors import SegcganError
from tests.critics.conftest import soft_logits, windows


def make(**more):
    torch.manual_seed(0)
    return Adversary(PatchCritic(1, 2, width=8, layers=2), **more)


def batch(count=2):
    return windows(count, torch.Generator().manual_seed(0))


def test_a_patch_critic_scores_patches_of_mask_and_image():
    critic = PatchCritic(3, 2, width=8, layers=3).eval()
    mask, image = torch.randn(2, 2, 64, 64), torch.randn(2, 3, 64, 64)
    score, features = critic(mask, image)
    assert score.shape == (2, 1, 8, 8)
    assert [f.shape[1] for f in features] == [8, 16, 32]
    assert not torch.equal(score, critic(mask, torch.randn_like(image))[0])
    blind = PatchCritic(0, 2, width=8).eval()
    assert torch.equal(blind(mask, image)[0], blind(mask)[0])


@pytest.mark.parametrize("layers", [2, 3])
def test_a_patch_is_as_large_as_said(layers):
    critic = PatchCritic(0, 1, width=4, layers=layers, spectral=False)
    mask = torch.randn(1, 1, 128, 128, requires_grad=True)
    score = critic(mask)[0]
    score[0, 0, score.shape[2] // 2, score.shape[3] // 2].backward()
    rows = mask.grad[0, 0].abs().sum(1).nonzero().flatten()
    assert int(rows.max() - rows.min()) + 1 == {2: 18, 3: 38}[layers]


def test_a_spectral_critic_cannot_grow_without_bound():
    critic = PatchCritic(0, 2, width=8)
    for parameter in critic.parameters():
        parameter.data *= 1000
    critic(torch.randn(1, 2, 32, 32))  # one power iteration
    for layer in critic.body:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2) < 3


def test_the_critic_starts_first_and_the_generator_after_the_warm_up():
    adversary, windows_ = make(start=2, warmup=1), batch()
    logits = soft_logits(windows_.target, torch.Generator().manual_seed(3)).requires_grad_()
    seen = []
    for _ in range(4):
        critic = bool(adversary.critic_terms(logits.detach(), windows_)) and adversary.learns()
        seen.append((critic, bool(adversary.generator_terms(logits, windows_))))
        adversary.count()
    assert seen == [(False, False), (False, False), (True, False), (True, True)]


@pytest.mark.parametrize(
    ("steps", "warmup", "silent"),
    [(3000, None, 300), (12_000, None, 1200), (60, None, 6), (5, None, 1), (3000, 50, 50), (60, 0, 0)],
)
def test_the_warm_up_is_a_tenth_of_the_training_unless_it_is_given(steps, warmup, silent):
    adversary = make(warmup=warmup, start=7)
    adversary.plan(steps)
    adversary.steps.fill_(7 + silent - 1)
    assert not adversary.plays()
    adversary.count()
    assert adversary.plays()


def test_weight_0_trains_no_critic_and_asks_none(monkeypatch):
    adversary, windows_ = make(warmup=0, weight=0.0, objective=Objective(r1=1.0, r2=1.0)), batch()
    monkeypatch.setattr(adversary.critic, "forward", None)  # would fail if it were asked
    logits = torch.randn(2, 2, 48, 48, requires_grad=True)
    assert adversary.generator_terms(logits, windows_) == {}
    assert adversary.critic_terms(logits.detach(), windows_) == {}
    assert (adversary.plays(), adversary.learns(), adversary.against(["refiner"])) == (False, False, False)


def test_features_are_matched_without_an_adversarial_term_too():
    adversary, windows_ = make(warmup=0, weight=0.0, objective=Objective(feature_matching=0.5)), batch()
    assert list(adversary.generator_terms(torch.randn(2, 2, 48, 48), windows_)) == ["matching"]
    assert adversary.against(["segmenter", "refiner"])
    assert not adversary.against(["segmenter"])


def test_a_critic_far_ahead_pauses_and_is_still_watched():
    adversary, windows_ = make(warmup=0, cap=0.8), batch()
    adversary.ahead.fill_(0.9)
    assert not adversary.learns()
    adversary.critic_terms(torch.zeros(2, 2, 48, 48), windows_)
    assert adversary.ahead < 0.9  # an untrained critic is right half the time
    adversary.ahead.fill_(0.79)
    assert adversary.learns()


def test_the_generator_is_drawn_by_the_critic_and_the_critic_not_by_the_generator():
    adversary, windows_ = make(warmup=0, weight=0.5, objective=Objective(feature_matching=1.0)), batch()
    logits = torch.randn(2, 2, 48, 48, requires_grad=True)
    terms = adversary.generator_terms(logits, windows_)
    assert sorted(terms) == ["adversarial", "matching"]
    torch.stack(list(terms.values())).sum().backward()
    assert logits.grad.abs().sum() > 0
    terms = adversary.critic_terms(logits.detach(), windows_)
    assert terms["critic"].requires_grad


@pytest.mark.parametrize("kind", ["hinge", "relativistic", "least-squares", "non-saturating"])
def test_pixels_that_do_not_count_change_nothing(kind):
    windows_ = batch()
    windows_.valid[..., 24:] = False
    objective = Objective(kind, r1=1.0, r2=1.0, feature_matching=1.0)
    logits = torch.randn(2, 2, 48, 48)
    found = []
    for noise in (0.0, 5.0):
        adversary = make(warmup=0, objective=objective)
        image = windows_.image.clone()
        image[..., 24:] += noise
        target = windows_.target.clone()
        target[..., 24:] = int(noise > 0)
        logits = logits.clone()
        logits[..., 24:] += noise * torch.randn(2, 2, 48, 24)
        changed = replace(windows_, image=image, target=target)
        found.append(adversary.generator_terms(logits, changed) | adversary.critic_terms(logits, changed))
    assert sorted(found[0]) == ["adversarial", "critic", "matching", "r1", "r2"]
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name])


def test_a_leak_is_measured():
    """A critic that scores sharpness alone: hardening the fake masks closes the whole gap."""

    class Sharpness(torch.nn.Module):
        def forward(self, mask, image):
            return 10 * mask.amax(1, keepdim=True), []

    windows_ = batch()
    soft = soft_logits(windows_.target, torch.Generator().manual_seed(1))
    leaking = Adversary(Sharpness(), representation=Soft(), weight=0.01)
    leaking.critic_terms(soft, windows_)
    assert leaking.diagnostics["leak"] == pytest.approx(1.0, abs=1e-3)
    tight = Adversary(Sharpness())
    tight.critic_terms(soft, windows_)
    assert tight.diagnostics["leak"] == 0


def test_a_leaking_representation_with_weight_is_warned_of(caplog):
    with caplog.at_level(logging.WARNING, "segcgan"):
        make(representation=Soft(), weight=0.01)
        assert caplog.text == ""
        make(representation=Soft(), weight=0.1)
    assert "the representation Soft lets the critic tell real from fake by softness; use StraightThrough" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"trains": "gate"}, "adversary trains 'gate'; it can train the refiner or the segmenter"),
        ({"weight": -1}, "adversary weight is -1; it must be at least 0"),
        ({"cap": 0.5}, "adversary cap is 0.5; an accuracy between 0.5 and 1 (1 = the critic never pauses)"),
    ],
)
def test_wrong_settings(arguments, said):
    with pytest.raises(SegcganError) as error:
        make(**arguments)
    assert str(error.value) == said


def test_a_generator_learns_shapes_from_the_critic_alone():
    """Free logits, no other loss: the critic alone makes a mask look more like an ellipse than like noise."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    adversary = Adversary(PatchCritic(0, 2, width=16, layers=2), warmup=0, weight=1.0, cap=1.0)
    logits = torch.nn.Parameter(0.1 * torch.randn(8, 2, 48, 48, generator=generator))
    mine, other = torch.optim.Adam([logits], 0.05), torch.optim.Adam(adversary.parameters(), 1e-3, betas=(0.5, 0.99))

    def roughness():
        mask = logits.argmax(1).float()
        return float(mask.diff(dim=1).abs().mean() + mask.diff(dim=2).abs().mean())

    before = roughness()
    for _ in range(120):
        real = windows(8, generator)
        mine.zero_grad()
        adversary.generator_terms(logits, real)["adversarial"].backward()
        mine.step()
        other.zero_grad()
        adversary.critic_terms(logits.detach(), real)["critic"].backward()
        other.step()
        adversary.count()
    assert roughness() < before / 4


def test_a_batch_that_says_nothing_does_not_change_the_accuracy():
    adversary, windows_ = make(warmup=0), batch()
    adversary.ahead.fill_(0.9)
    windows_.valid[:] = False
    adversary.critic_terms(torch.randn(2, 2, 48, 48), windows_)
    assert float(adversary.ahead) == pytest.approx(0.9)


def test_a_step_with_penalties_stands_for_those_without():
    adversary, windows_ = make(warmup=0, objective=Objective(r1=1.0, every=4)), batch()
    found = []
    for _ in range(5):
        terms = adversary.critic_terms(torch.randn(2, 2, 48, 48), windows_)
        found.append(adversary.heaviness(terms))
        adversary.count()
    assert found == [4, 1, 1, 1, 4]
