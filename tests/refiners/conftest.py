"""Windows for refiners: a square in noise, with coarse probabilities."""

import torch

from segcgan.batch import Batch


def batch(size, count=1, classes=2, channels=1, seed=0, origin=(0, 0)):
    generator = torch.Generator().manual_seed(seed)
    target = torch.zeros(count, size, size, dtype=torch.long)
    target[:, size // 4 : 3 * size // 4, size // 4 : 3 * size // 4] = 1
    return Batch(
        image=torch.randn(count, channels, size, size, generator=generator),
        valid=torch.ones(count, 1, size, size, dtype=torch.bool),
        spacing=torch.ones(count, 2),
        origin=torch.tensor([origin] * count),
        key=torch.arange(count) << 20,  # a case each
        target=target,
        coarse=torch.randn(count, classes, size, size, generator=generator).mul(2).softmax(1),
    )


def cut(whole, low, high):
    """The part of a batch from pixel ``low`` to ``high`` of both axes."""
    part = slice(low, high)
    fields = {name: getattr(whole, name) for name in ("image", "valid", "coarse")}
    return Batch(
        **{name: value[..., part, part] for name, value in fields.items()},
        spacing=whole.spacing,
        origin=whole.origin + low,
        key=whole.key,
    )
