"""Each objective against its formula, and which way it pulls."""

import math

import pytest
import torch
from torch.nn import functional as F

from segcgan.critics.objectives import (
    Objective,
    critic_loss,
    feature_distance,
    generator_loss,
    penalties,
    squared_slope,
)
from segcgan.errors import SegcganError

REAL, FAKE = torch.tensor([[[[0.5, 2.0]]]]), torch.tensor([[[[-0.25, 0.75]]]])
COUNT = torch.ones(1, 1, 1, 2)
KINDS = ["non-saturating", "least-squares", "hinge", "wasserstein", "relativistic"]


def softplus(x):
    return math.log1p(math.exp(x))


@pytest.mark.parametrize(
    ("kind", "critic", "generator"),
    [
        (
            "non-saturating",
            (softplus(-0.5) + softplus(-2)) / 2 + (softplus(-0.25) + softplus(0.75)) / 2,
            (softplus(0.25) + softplus(-0.75)) / 2,
        ),
        ("least-squares", 0.5 * ((0.25 + 1) / 2 + (0.5625 + 3.0625) / 2), 0.5 * (1.5625 + 0.0625) / 2),
        ("hinge", 0.25 + (0.75 + 1.75) / 2, -0.25),
        ("wasserstein", 0.25 - 1.25, -0.25),
        ("relativistic", (softplus(-0.75) + softplus(-1.25)) / 2, (softplus(0.75) + softplus(1.25)) / 2),
    ],
)
def test_values(kind, critic, generator):
    assert float(critic_loss(kind, REAL, FAKE, COUNT)) == pytest.approx(critic, abs=1e-6)
    assert float(generator_loss(kind, REAL, FAKE, COUNT)) == pytest.approx(generator, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_critic_and_generator_pull_in_opposite_directions(kind):
    real, fake = torch.zeros(1, 1, 1, 1, requires_grad=True), torch.zeros(1, 1, 1, 1, requires_grad=True)
    count = torch.ones(1, 1, 1, 1)
    critic_loss(kind, real, fake, count).sum().backward()
    assert real.grad.item() < 0 < fake.grad.item()
    fake.grad = None
    generator_loss(kind, real.detach(), fake, count).backward()
    assert fake.grad.item() < 0


@pytest.mark.parametrize("kind", KINDS)
def test_scores_without_weight_do_not_count(kind):
    count = torch.tensor([[[[1.0, 0.0]]]])
    other = FAKE.clone()
    other[..., 1] = 100
    assert torch.equal(critic_loss(kind, REAL, FAKE, count), critic_loss(kind, REAL, other, count))
    assert torch.equal(generator_loss(kind, REAL, FAKE, count), generator_loss(kind, REAL, other, count))
    assert critic_loss(kind, REAL, FAKE, torch.zeros_like(count)) == 0


def test_the_slope_of_a_linear_critic_is_its_weight():
    weight = torch.randn(1, 2, 4, 4)
    slope = squared_slope(lambda mask: (mask * weight).sum((1, 2, 3)).view(-1, 1, 1, 1), torch.randn(3, 2, 4, 4))
    torch.testing.assert_close(slope, weight.square().sum().expand(3))


def test_the_slope_is_that_of_a_patch_whatever_the_size_of_the_image():
    """A critic of patches of 4 x 4 that do not overlap: each score has the slope of the weights, not a share of it."""
    weight = torch.randn(1, 2, 4, 4)
    for size in (4, 8, 32):
        slope = squared_slope(lambda mask: F.conv2d(mask, weight, stride=4), torch.randn(3, 2, size, size))
        torch.testing.assert_close(slope, weight.square().sum().expand(3))


def test_patches_that_do_not_count_have_no_slope_and_dilute_none():
    weight, count = torch.randn(1, 2, 4, 4), torch.zeros(3, 1, 8, 8)
    count[:, :, 0, :2] = 1
    slope = squared_slope(lambda mask: F.conv2d(mask, weight, stride=4), torch.randn(3, 2, 32, 32), count)
    torch.testing.assert_close(slope, weight.square().sum().expand(3))
    assert not squared_slope(lambda mask: F.conv2d(mask, weight, stride=4), torch.randn(3, 2, 32, 32), 0 * count).any()


def test_penalties():
    weight = torch.randn(1, 2, 4, 4)
    square = weight.square().sum()

    def score(mask):
        return (mask * weight).sum((1, 2, 3)).view(-1, 1, 1, 1)

    real, fake = torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4)
    assert penalties(Objective(), score, real, fake) == {}
    found = penalties(Objective(r1=2.0, r2=1.0, gradient_penalty=10.0, every=4), score, real, fake)
    torch.testing.assert_close(found["r1"], 4 * square)
    torch.testing.assert_close(found["r2"], 2 * square)
    torch.testing.assert_close(found["gradient_penalty"], 40 * (square.sqrt() - 1).square())


def test_a_penalty_reaches_the_weights_of_the_critic():
    layer = torch.nn.Conv2d(2, 1, 3)
    real, fake = torch.randn(2, 2, 8, 8), torch.zeros(2, 2, 8, 8)
    found = penalties(Objective(r1=1.0), lambda mask: F.leaky_relu(layer(mask)), real, fake)
    found["r1"].backward()
    assert layer.weight.grad.abs().sum() > 0


def test_features_are_matched_in_the_mean():
    a = [torch.ones(2, 3, 4, 4), torch.zeros(2, 5, 2, 2)]
    b = [torch.zeros(2, 3, 4, 4), torch.zeros(2, 5, 2, 2)]
    assert float(feature_distance(a, b)) == pytest.approx(0.5)
    assert float(feature_distance(a, a)) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"kind": "hing"}, "adversary objective.kind 'hing' is unknown; did you mean 'hinge'?"),
        ({"r1": -1}, "adversary objective.r1 is -1; a weight is at least 0"),
        ({"every": 0}, "adversary objective.every is 0; penalties come every 1 or more steps"),
        (
            {"kind": "wasserstein"},
            "adversary objective.kind wasserstein has no bound without a penalty; set objective.gradient_penalty: 10",
        ),
    ],
)
def test_wrong_settings(arguments, said):
    with pytest.raises(SegcganError) as error:
        Objective(**arguments)
    assert str(error.value) == said
