"""Ellipses of random place and size, and networks' answers that have such shapes but are soft."""

import torch
from torch.nn import functional as F

from segcgan.batch import Batch


def ellipses(count, generator, size=48):
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    centre = torch.rand(count, 2, 1, 1, generator=generator) * (size - 28) + 14
    radius = torch.rand(count, 2, 1, 1, generator=generator) * 8 + 4
    inside = ((y - centre[:, :1]) / radius[:, :1]) ** 2 + ((x - centre[:, 1:]) / radius[:, 1:]) ** 2 < 1
    return inside[:, 0].long()


def windows(count, generator, channels=1, size=48):
    target = ellipses(count, generator, size)
    return Batch(
        image=torch.randn(count, channels, size, size, generator=generator),
        valid=torch.ones(count, 1, size, size, dtype=torch.bool),
        spacing=torch.ones(count, 2),
        origin=torch.zeros(count, 2, dtype=torch.long),
        key=torch.arange(count),
        target=target,
    )


def soft_logits(target, generator):
    """Logits of the shapes of ``target``, of random confidence and with soft edges."""
    one_hot = F.one_hot(target, 2).permute(0, 3, 1, 2).float()
    confidence = 1.2 + 1.6 * torch.rand(len(target), 1, 1, 1, generator=generator)
    return F.avg_pool2d((one_hot - 0.5) * 2 * confidence, 3, 1, 1, count_include_pad=False)
