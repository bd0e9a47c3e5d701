"""Discs to learn from."""

import numpy as np
import torch

from segcgan.batch import Batch


def discs(seed: int, count: int = 4, size: int = 32, channels: int = 1) -> Batch:
    """Return a batch of noisy images of one disc each, with masks."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    centres, radii = rng.uniform(size / 3, 2 * size / 3, (count, 2)), rng.uniform(size / 6, size / 4, count)
    masks = [np.hypot(y - c[0], x - c[1]) < r for c, r in zip(centres, radii, strict=True)]
    target = torch.from_numpy(np.stack(masks)).long()
    noise = torch.from_numpy(rng.normal(0, 0.2, (count, channels, size, size))).float()
    return Batch(
        image=2.0 * target[:, None] - 0.6 + noise,
        valid=torch.ones(count, 1, size, size, dtype=torch.bool),
        spacing=torch.ones(count, 2),
        origin=torch.zeros(count, 2, dtype=torch.int64),
        key=torch.arange(count) + 1000 * seed,
        target=target,
    )
