"""The fields of a strip, put together from refiner tiles."""

from collections.abc import Iterable

import numpy as np

from segcgan.case import Array, Window
from segcgan.inference.windows import Plan, gaussian

SEAM = "seam"
"""Key of what blended tiles leave beside the layers of a strip: [sum of squared disagreement, pixels it is over]."""


class Canvas:
    """Where tiles are placed.

    A refiner of finite reach leaves tiles that fit: each is cut to its core. Of one of unbounded reach each tile is a
    window as in training; windows overlap by half and are blended with Gaussian weights, as the segmenter's are, and
    how much they disagree is measured. Labels are not blended: they are those of the window with the largest weight.

    Args:
        fields: (C, d, h, w) by name, as they are where no tile comes.
        window: of the case that the fields cover.
        plan: tiles of the case.
    """

    def __init__(self, fields: dict[str, Array], window: Window, plan: Plan) -> None:
        self.fields, self._window, self._plan = fields, window, plan
        if plan.blended:
            shape = next(iter(fields.values())).shape[1:]
            self._weights = gaussian(plan.tile)
            self._sums = {name: np.zeros_like(f) for name, f in fields.items() if f.dtype != np.uint8}
            self._total, self._most = np.zeros(shape, np.float32), np.zeros(shape, np.float32)  # of weights
            self._times = np.zeros(shape, np.uint8)
            self._squares = np.zeros_like(fields["probability"])

    def place(self, tiles: Iterable[tuple[int, int, int]], found: dict[str, Array]) -> None:
        """Add tiles that start, without their halo, at (z, y, x), with values (B, C, h, w) by name."""
        for index, tile in enumerate(tiles):
            here, there = self._overlap(tile)
            values = {name: batch[index][:, *there] for name, batch in found.items()}
            if self._plan.blended:
                self._blend(here, self._weights[there], values)
            else:
                for name, each in values.items():
                    self.fields[name][:, *here] = each

    def finish(self, valid: Array) -> dict[str, Array]:
        """Return the fields; of blended tiles also how much they disagree, over valid pixels (d, h, w)."""
        if not self._plan.blended:
            return self.fields
        seen, total = self._total > 0, np.maximum(self._total, 1e-12)
        for name, field in self._sums.items():
            self.fields[name] = np.where(seen, field / total, self.fields[name])
        spread = (self._squares / total - self.fields["probability"] ** 2).clip(min=0).max(0)
        several = valid & (self._times > 1)
        return self.fields | {SEAM: np.array([spread[several].sum(dtype=np.float64), np.count_nonzero(several)])}

    def _blend(self, here: tuple[int, slice, slice], weights: Array, values: dict[str, Array]) -> None:
        for name, each in values.items():
            if name in self._sums:
                self._sums[name][:, *here] += weights * each
            else:
                self.fields[name][:, *here] = np.where(weights > self._most[here], each, self.fields[name][:, *here])
        self._squares[:, *here] += weights * values["probability"] ** 2
        self._most[here] = np.maximum(self._most[here], weights)
        self._total[here] += weights
        self._times[here] += 1

    def _overlap(self, tile: tuple[int, int, int]) -> tuple[tuple[int, slice, slice], tuple[slice, slice]]:
        """Where a tile lies in the fields, and which part of it."""
        halo = self._plan.halo
        border = (0, 0) if self._plan.blended else halo
        inside, outside = [], []
        for start, part, n, margin, cut in zip(tile[1:], self._window[1:], self._plan.tile, halo, border, strict=True):
            first = start - margin  # of the tile with its halo
            low, high = max(first + cut, part.start), min(first + n - cut, part.stop)
            inside.append(slice(low - part.start, high - part.start))
            outside.append(slice(low - first, high - first))
        return (tile[0] - self._window[0].start, inside[0], inside[1]), (outside[0], outside[1])
