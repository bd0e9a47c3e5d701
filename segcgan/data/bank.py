"""The bank: coarse masks of images whose segmenter never saw them, one file per case."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segcgan.atomic import replacing
from segcgan.case import Array, Window


def write_bank(path: Path, values: Array) -> None:
    """Write probabilities (K, D, H, W) uint8 (x 254, 255 = nothing known) of a case, atomically."""
    with replacing(path) as draft, draft.open("wb") as stream:
        np.save(stream, values)


@dataclass(frozen=True)
class Banked:
    """Reads a coarse mask from the bank of out-of-fold predictions; windows are absolute in the file."""

    path: Path
    start: tuple[int, int, int]

    def __call__(self, window: Window) -> Array:
        """Return probabilities (K, d, h, w) float32; 0 where nothing was predicted."""
        stored = np.load(self.path, mmap_mode="r")
        z, y, x = (slice(p.start - o, p.stop - o) for p, o in zip(window, self.start, strict=True))
        values = stored[:, z, y, x]
        return np.where(values == 255, 0, values).astype(np.float32) / 254
