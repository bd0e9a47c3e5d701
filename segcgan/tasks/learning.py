"""Optimisers, their schedule and the moving average of the weights."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from segcgan.critics import Adversary
from segcgan.errors import SegcganError

_WEIGHT_DECAY = 1e-2
_BETAS = (0.5, 0.99)  # of a critic: little momentum, because its target moves (Radford et al., ICLR 2016)


def optimizers(trained: nn.Module, adversary: Adversary | None, lr: float, steps: int) -> Any:
    """Return AdamW for what is trained, and Adam for its critic, each with a schedule per step, for Lightning.

    Args:
        trained: parameters that are frozen are left out.
        adversary: learns at ``lr * adversary.lr_ratio``.
        lr: peak rate: a linear warm-up of 5 % of the steps, then a cosine to 0.
        steps: of the whole training.
    """
    warm = max(1, steps // 20)

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, steps - warm))))

    own = [parameter for parameter in trained.parameters() if parameter.requires_grad]
    found: list[torch.optim.Optimizer] = [torch.optim.AdamW(own, lr=lr, weight_decay=_WEIGHT_DECAY)]
    if adversary is not None:
        adversary.plan(steps)
        found.append(torch.optim.Adam(adversary.parameters(), lr=lr * adversary.lr_ratio, betas=_BETAS))
    schedules = [torch.optim.lr_scheduler.LambdaLR(optimizer, factor) for optimizer in found]
    return found, [{"scheduler": schedule, "interval": "step"} for schedule in schedules]


class Warming:
    """Exponential moving average whose decay starts small: (1 + n) / (10 + n) until it reaches ``decay``."""

    def __init__(self, decay: float) -> None:
        if not 0 <= decay < 1:
            raise SegcganError(f"model.average is {decay}; a decay lies between 0 and 1, e.g. 0.99")
        self.decay = decay

    def __call__(self, averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        """Return the new average."""
        n = float(count)
        decay = min(self.decay, (1 + n) / (10 + n))
        return averaged + (current - averaged) * (1 - decay) if averaged.is_floating_point() else current.clone()
