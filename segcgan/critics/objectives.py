"""What critic and generator minimise, and what keeps the critic smooth."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from segcgan.errors import SegcganError, nearest

Kind = Literal["non-saturating", "least-squares", "hinge", "wasserstein", "relativistic"]


@dataclass
class Objective:
    """The game that critic and generator play. Scores are raw; each penalty is a weight and 0 switches it off.

    Args:
        kind: non-saturating (Goodfellow 2014), least-squares (Mao 2017), hinge (Lim & Ye 2017), wasserstein (Arjovsky
            2017; needs ``gradient_penalty``) or relativistic (the pairing loss of Huang et al., NeurIPS 2024, R3GAN;
            wants ``r1`` and ``r2``).
        r1: half the squared gradient of a score at reference masks (Mescheder, ICML 2018), see :func:`squared_slope`.
            Spectral normalisation bounds the slope already: 0.1 costs the critic about 0.04 then and leaves it able to
            tell (accuracy 0.59 instead of 0.61 on wobbly discs), 1 stops it (0.51); measured in 160 steps.
        r2: the same at generated masks.
        gradient_penalty: squared distance of the gradient norm from 1 between the two (Gulrajani, NeurIPS 2017).
        every: penalties are computed in fp32 every so many steps and weigh as many times more (Karras 2020); in these
            steps the critic's gradient may be as many times longer before it is clipped.
        feature_matching: L1 distance of the critic's mean features, for the generator (Salimans, NeurIPS 2016).
    """

    kind: Kind = "hinge"
    r1: float = 0.0
    r2: float = 0.0
    gradient_penalty: float = 0.0
    every: int = 16
    feature_matching: float = 0.0

    def __post_init__(self) -> None:
        kinds = get_args(Kind)
        if self.kind not in kinds:
            raise SegcganError(f"adversary objective.kind {self.kind!r} is unknown{nearest(self.kind, kinds)}")
        for name in ("r1", "r2", "gradient_penalty", "feature_matching"):
            if getattr(self, name) < 0:
                raise SegcganError(f"adversary objective.{name} is {getattr(self, name)}; a weight is at least 0")
        if self.every < 1:
            raise SegcganError(f"adversary objective.every is {self.every}; penalties come every 1 or more steps")
        if self.kind == "wasserstein" and self.gradient_penalty == 0:
            cure = "set objective.gradient_penalty: 10"
            raise SegcganError(f"adversary objective.kind wasserstein has no bound without a penalty; {cure}")


def critic_loss(kind: Kind, real: Tensor, fake: Tensor, count: Tensor) -> Tensor:
    """Return what the critic minimises.

    Args:
        kind: see :class:`Objective`.
        real: scores (B, 1, h, w) of reference masks.
        fake: scores of generated masks, image by image beside ``real``.
        count: (B, 1, h, w) weight of each score.
    """
    if kind == "hinge":
        return _mean(F.relu(1 - real), count) + _mean(F.relu(1 + fake), count)
    if kind == "least-squares":
        return 0.5 * (_mean((real - 1).square(), count) + _mean((fake + 1).square(), count))
    if kind == "wasserstein":
        return _mean(fake - real, count)
    if kind == "relativistic":
        return _mean(F.softplus(fake - real), count)
    return _mean(F.softplus(-real), count) + _mean(F.softplus(fake), count)


def generator_loss(kind: Kind, real: Tensor, fake: Tensor, count: Tensor) -> Tensor:
    """Return what the generator minimises; arguments as for :func:`critic_loss`."""
    if kind == "least-squares":
        return 0.5 * _mean((fake - 1).square(), count)
    if kind == "relativistic":
        return _mean(F.softplus(real - fake), count)
    return _mean(F.softplus(-fake) if kind == "non-saturating" else -fake, count)


def feature_distance(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Return the L1 distance between the mean features of two sets of masks, averaged over layers."""
    means = [(a.float().mean((0, 2, 3)), b.float().mean((0, 2, 3))) for a, b in zip(real, fake, strict=True)]
    return torch.stack([(a - b).abs().mean() for a, b in means]).mean()


def squared_slope(score: Callable[[Tensor], Tensor], mask: Tensor, count: Tensor | None = None) -> Tensor:
    """Return the squared norm (B,) of the gradient of a score with respect to the patch it judges, mean over patches.

    What a critic of patches judges is a patch, so the gradient of its scores' sum is taken, and its square divided by
    their number: the same for any size of image, as the critic's own loss is. The gradient of their mean is smaller by
    the number of scores once more (144 for 96 x 96 pixels): a penalty on it did nothing (0.0006 at weight 0.1).

    Args:
        score: critic as a function of the mask alone.
        mask: (B, K, H, W).
        count: (B, 1, h, w) weight of each score; None = all alike.
    """
    at = mask.detach().float().requires_grad_()
    scores = score(at).float()
    weights = torch.ones_like(scores) if count is None else count
    (slope,) = torch.autograd.grad((scores * weights).sum(), at, create_graph=True)
    return slope.square().flatten(1).sum(1) / weights.flatten(1).sum(1).clamp_min(1e-6)


def penalties(
    objective: Objective,
    score: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    count: Tensor | None = None,
) -> dict[str, Tensor]:
    """Return the weighted penalties of an objective.

    Args:
        objective: says which.
        score: critic as a function of the mask alone, in fp32.
        real: (B, K, H, W) reference masks as the critic sees them.
        fake: generated ones.
        count: (B, 1, h, w) weight of each score; None = all alike.
    """
    found = {}
    if objective.r1:
        found["r1"] = objective.every * objective.r1 / 2 * squared_slope(score, real, count).mean()
    if objective.r2:
        found["r2"] = objective.every * objective.r2 / 2 * squared_slope(score, fake, count).mean()
    if objective.gradient_penalty:
        share = torch.rand(len(real), 1, 1, 1, device=real.device)
        norm = (squared_slope(score, torch.lerp(fake.float(), real.float(), share), count) + 1e-12).sqrt()
        found["gradient_penalty"] = objective.every * objective.gradient_penalty * (norm - 1).square().mean()
    return found


def _mean(values: Tensor, count: Tensor) -> Tensor:
    return (values.float() * count).sum() / count.sum().clamp_min(1e-6)
