"""An adversary: critic, objective, mask representation and schedule; any refiner or segmenter trains against one."""

import logging
from collections.abc import Collection
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segcgan.batch import Batch
from segcgan.critics.objectives import Objective, critic_loss, feature_distance, generator_loss, penalties
from segcgan.critics.representations import Representation, StraightThrough
from segcgan.errors import SegcganError, at_least
from segcgan.losses.region import one_hot

log = logging.getLogger("segcgan")

_SAFE_WEIGHT = 0.01  # below it a leaking representation did no harm in the literature (Hung et al. 2018)


class Adversary(nn.Module):
    """Trains a refiner (or segmenter) to draw masks a critic cannot tell from references, given the image.

    Attributes:
        diagnostics: of the last step: ``critic_accuracy`` (0.5 = cannot tell), ``leak`` (share of the gap between the
            scores of real and fake masks that closes when the fake ones are hardened).

    Args:
        critic: (mask, image) → scores and features, see :class:`segcgan.critics.PatchCritic`.
        objective: what both minimise.
        representation: how masks are shown; StraightThrough unless said otherwise.
        trains: "refiner" or "segmenter".
        weight: of the adversarial term beside Dice, cross entropy …; small, it only has to break ties. 0 (and no
            feature matching) = no critic is trained or asked, for comparison: the same steps without it.
        lr_ratio: the critic's learning rate as a share of ``model.lr``: a slower critic does not run away.
        start: steps before the critic begins to learn.
        warmup: further steps in which only the critic learns from the other; None = a tenth of the training, which is
            at least 300 in trainings of 3000 steps or more.
        cap: the critic pauses while its mean accuracy is above this; 1 = never.
    """

    ahead: Tensor
    steps: Tensor

    def __init__(
        self,
        critic: nn.Module,
        objective: Objective | None = None,
        representation: Representation | None = None,
        trains: Literal["refiner", "segmenter"] = "refiner",
        weight: float = 0.02,
        lr_ratio: float = 0.5,
        start: int = 0,
        warmup: int | None = None,
        cap: float = 0.85,
    ) -> None:
        super().__init__()
        if trains not in ("refiner", "segmenter"):
            raise SegcganError(f"adversary trains {trains!r}; it can train the refiner or the segmenter")
        at_least("adversary ", 0, weight=weight, lr_ratio=lr_ratio, start=start, warmup=warmup or 0)
        if not 0.5 < cap <= 1:
            raise SegcganError(f"adversary cap is {cap}; an accuracy between 0.5 and 1 (1 = the critic never pauses)")
        self.critic, self.objective = critic, objective or Objective()
        self.representation = representation or StraightThrough()
        self.trains, self.weight, self.lr_ratio = trains, weight, lr_ratio
        self.start, self.warmup, self.cap = start, warmup, cap
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("ahead", torch.full((), 0.5))  # running accuracy
        self.planned = 0  # steps of the whole training, see :meth:`plan`
        self.diagnostics: dict[str, Tensor] = {}
        if self.representation.leaks and weight > _SAFE_WEIGHT:
            kind = type(self.representation).__name__
            log.warning(
                "adversary: the representation %s lets the critic tell real from fake by softness; use "
                "StraightThrough, or a weight of at most %s (it is %s)", kind, _SAFE_WEIGHT, weight
            )

    def generator_terms(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the terms that draw masks towards what the critic takes for real; none before the warm-up is over.

        Args:
            logits: (B, K, H, W) with gradients.
            batch: with targets.
        """
        if not self.plays():
            return {}
        scored = batch.scored[:, None]
        fake, features = self._judge(self.representation.fake(logits, scored), batch)
        count = F.adaptive_avg_pool2d(scored.float(), (fake.shape[-2], fake.shape[-1]))
        real, wanted = fake.detach(), features
        if self.objective.kind == "relativistic" or self.objective.feature_matching:
            with torch.no_grad():
                real, wanted = self._judge(self.representation.real(self._reference(batch, logits.shape[1])), batch)
        terms = {}
        if self.weight:
            terms["adversarial"] = self.weight * generator_loss(self.objective.kind, real, fake, count)
        if self.objective.feature_matching:
            terms["matching"] = self.objective.feature_matching * feature_distance(wanted, features)
        return terms

    def critic_terms(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return what the critic minimises, and measure how it does; none before ``start``.

        Args:
            logits: (B, K, H, W) without gradients.
            batch: with targets.
        """
        if self.idle or int(self.steps) < self.start:
            return {}
        scored, mask = batch.scored[:, None], self._reference(batch, logits.shape[1])
        terms = self.representation.terms(mask, scored)
        with torch.no_grad():
            shown = self.representation.real(mask), self.representation.fake(logits, scored)
        scores, _ = self._judge(torch.cat(shown), batch)  # one pass: both meet the same weights
        real, fake = scores.float().chunk(2)
        count = F.adaptive_avg_pool2d(scored.float(), (real.shape[-2], real.shape[-1]))
        terms["critic"] = critic_loss(self.objective.kind, real, fake, count)
        self._measure(real.detach(), fake.detach(), count)
        if int(self.steps) % self.objective.every == 0:
            self._measure_leak(logits, batch, real.detach(), fake.detach())
            with torch.autocast(logits.device.type, enabled=False):
                terms |= penalties(self.objective, lambda mask: self._judge(mask, batch)[0], *shown, count)
        return terms

    def rehearse(self, logits: Tensor, batch: Batch) -> None:
        """Show the critic one batch; fails as the critic does if it does not fit."""
        self._judge(self.representation.real(self.representation.fake(logits, batch.scored[:, None])), batch)

    @property
    def idle(self) -> bool:
        """True if nothing would be learnt from the critic."""
        return self.weight == 0 and self.objective.feature_matching == 0

    def against(self, parts: Collection[str]) -> bool:
        """Tell whether one of these parts, by name, is trained against it."""
        return self.trains in parts and not self.idle

    def plan(self, steps: int) -> None:
        """Take note of how many steps the whole training has; a resumed one has the same."""
        self.planned = steps

    def plays(self) -> bool:
        """Tell whether the warm-up is over and something is to be learnt."""
        warmup = -(-self.planned // 10) if self.warmup is None else self.warmup
        return not self.idle and int(self.steps) >= self.start + warmup

    def learns(self) -> bool:
        """Tell whether the critic is to take its step: not while it is far ahead."""
        return not self.idle and int(self.steps) >= self.start and float(self.ahead) <= self.cap

    def heaviness(self, terms: dict[str, Tensor]) -> int:
        """Return how many times heavier than usual a step with these terms is: penalties stand for those left out."""
        return self.objective.every if terms.keys() & {"r1", "r2", "gradient_penalty"} else 1

    def count(self) -> None:
        """Count one step."""
        self.steps += 1

    def _reference(self, batch: Batch, classes: int) -> Tensor:
        if batch.target is None:
            raise ValueError("an adversary needs a target")
        return one_hot(batch.target, classes) * batch.scored[:, None]

    def _judge(self, mask: Tensor, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Score masks; pixels that do not count are 0 in mask and image, real or fake."""
        scored, turns = batch.scored[:, None], len(mask) // len(batch.image)
        image = (batch.image * scored).repeat(turns, 1, 1, 1)
        found: tuple[Tensor, list[Tensor]] = self.critic(mask * scored.repeat(turns, 1, 1, 1), image)
        return found

    def _measure(self, real: Tensor, fake: Tensor, count: Tensor) -> None:
        if self.objective.kind in ("relativistic", "wasserstein"):
            right = (real > fake).float() + 0.5 * (real == fake)
        else:
            right = ((real > 0).float() + (fake < 0).float()) / 2
        sums = torch.stack([(right * count).sum(), count.sum()])
        if torch.distributed.is_available() and torch.distributed.is_initialized():  # or ranks would pause apart
            torch.distributed.all_reduce(sums)
        if sums[1] > 0:  # else nothing was judged
            accuracy = sums[0] / sums[1]
            self.ahead.lerp_(accuracy.to(self.ahead), 0.1)
            self.diagnostics["critic_accuracy"] = accuracy

    @torch.no_grad()
    def _measure_leak(self, logits: Tensor, batch: Batch, real: Tensor, fake: Tensor) -> None:
        hard = one_hot(logits.argmax(1), logits.shape[1]) * batch.scored[:, None]
        hardened = self._judge(self.representation.real(hard), batch)[0].float().mean()
        gap = real.mean() - fake.mean()
        closed = (hardened - fake.mean()) / gap.clamp_min(1e-3)
        self.diagnostics["leak"] = torch.where(gap > 0.05, closed.clamp(0, 1), 0.0)
