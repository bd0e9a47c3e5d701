"""Which windows a case is cut into, and how overlapping ones are blended."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np

from segcgan.case import Array, Case
from segcgan.data.patches import Sampling
from segcgan.data.splits import slow_axis
from segcgan.refiners import Refiner

T = TypeVar("T")


@dataclass(frozen=True)
class Windows:
    """The wish, before a case is known.

    Args:
        overlap: of segmenter windows, as a share of their size.
        strip: pixels in flight; a strip is as many whole slices of a volume, or rows of tiles of a scene, as that
            holds. None = the whole case at once, which gives the same masks.
        batch: windows per network call.
    """

    overlap: float = 0.5
    strip: int | None = 2**22
    batch: int = 4


@dataclass(frozen=True)
class Plan:
    """Windows and strips of one case; lengths in pixels of the case.

    Args:
        axis: the slow axis, 0 or 1.
        size: (height, width) of a segmenter window.
        starts: (rows, columns) where segmenter windows start.
        strips: (start, stop) along the slow axis.
        core: (height, width) of a refiner tile without its halo.
        halo: (rows, columns) around it.
        network_core: ``core`` in pixels of the network, which differ when images are resampled.
        network_halo: ``halo`` in pixels of the network. Both are multiples of the refiner's stride.
        blended: the refiner's reach is unbounded: tiles with their halo are windows as in training, and all of each is
            used.
    """

    axis: int
    size: tuple[int, int]
    starts: tuple[list[int], list[int]]
    strips: list[tuple[int, int]]
    core: tuple[int, int]
    halo: tuple[int, int]
    network_core: tuple[int, int]
    network_halo: int
    blended: bool = False

    @property
    def tile(self) -> tuple[int, int]:
        """(height, width) of a tile with its halo."""
        return self.core[0] + 2 * self.halo[0], self.core[1] + 2 * self.halo[1]

    @property
    def margin(self) -> int:
        """How far beyond a strip, along the slow axis, its tiles reach."""
        if self.axis == 0:
            return 0
        return self.halo[0] + (self.core[0] if self.blended else 0)


def make_plan(case: Case, sampling: Sampling, refiner: Refiner | None, windows: Windows) -> Plan:
    """Lay out windows, strips and refiner tiles for a case: one tile alone if it is no larger than a tile with halo."""
    size = sampling.extent(case)
    axis, length = slow_axis(case), case.shape[slow_axis(case)]
    starts = [window_starts(n, w, windows.overlap) for n, w in zip(case.shape[1:], size, strict=True)]
    stride = refiner.stride if refiner is not None else 1
    scale = [n / p for n, p in zip(size, sampling.patch, strict=True)]
    # halo and tile in network pixels first, so that a resampled tile is still divisible by the stride
    patch = [round_up(p, stride) for p in sampling.patch]
    needed = [math.ceil(n / s) for n, s in zip(case.shape[1:], scale, strict=True)]
    blended = refiner is not None and refiner.reach is None
    if blended:  # no window is larger than in training; a case that fits in one needs no second
        halo = 0 if all(n <= p for n, p in zip(needed, patch, strict=True)) else min(patch) // (4 * stride) * stride
        height, width = (p - 2 * halo for p in patch)
    else:
        halo = round_up(0 if refiner is None or refiner.reach is None else refiner.reach, stride)
        height, width = (round_up(min(n, p), stride) for n, p in zip(needed, sampling.patch, strict=True))
        alone = [round_up(n, stride) for n in needed]
        if math.prod(alone) <= (height + 2 * halo) * (width + 2 * halo):  # one tile, no seam: nothing to surround
            halo, (height, width) = 0, alone
    tile = (max(1, round(height * scale[0])), max(1, round(width * scale[1])))
    across = case.shape[2] if axis == 1 else case.shape[1] * case.shape[2]
    step = length if windows.strip is None else max(1, windows.strip // across)
    step = min(round_up(step, tile[0]) if axis == 1 else step, length)
    return Plan(
        axis=axis,
        size=size,
        starts=(starts[0], starts[1]),
        strips=[(a, min(a + step, length)) for a in range(0, length, step)],
        core=tile,
        halo=(round(halo * scale[0]), round(halo * scale[1])),
        network_core=(height, width),
        network_halo=halo,
        blended=blended and halo > 0,
    )


def window_starts(length: int, size: int, overlap: float) -> list[int]:
    """Return where windows of ``size`` start so that they cover ``length`` evenly; one start if it fits in one."""
    if length <= size:
        return [(length - size) // 2]
    count = math.ceil((length - size) / max(1, round(size * (1 - overlap)))) + 1
    return [round(i * (length - size) / (count - 1)) for i in range(count)]


def gaussian(size: tuple[int, int]) -> Array:
    """Return blending weights (height, width) float32: a Gaussian of width 1/8, never 0 (Isensee et al., 2021)."""
    profiles = []
    for n in size:
        x = (np.arange(n) - (n - 1) / 2) / (n / 8)
        profiles.append(np.maximum(np.exp(-0.5 * x**2), 1e-2))
    return np.outer(*profiles).astype(np.float32)


def round_up(value: int, multiple: int) -> int:
    """Return the smallest multiple that is not below ``value``."""
    return -(-value // multiple) * multiple


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of at most ``size`` items (``itertools.batched`` needs Python 3.12)."""
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch
