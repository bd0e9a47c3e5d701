"""Fixtures shared by all tests."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from segcgan.batch import Batch

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny convolutions are many times slower when their threads wait for each other on a busy machine."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images: $SEGCGAN_DATA, by default ../shared/data next to the checkout."""
    folder = Path(os.environ.get("SEGCGAN_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"needs the real images: {folder} is missing; set SEGCGAN_DATA")
    return folder


@pytest.fixture(scope="session")
def discs() -> Callable[..., "Batch"]:
    """Makes batches of noisy images of one disc each, with masks."""
    import torch

    from segcgan.batch import Batch

    def make(seed: int, count: int = 4, size: int = 32, channels: int = 1) -> Batch:
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
            key=(torch.arange(count) + 1000 * seed) << 20,  # a case each
            target=target,
        )

    return make
