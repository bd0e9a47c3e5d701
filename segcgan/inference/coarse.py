"""Where coarse probabilities come from: overlapping segmenter windows, blended as the strips advance."""

from collections import deque
from typing import Protocol

import numpy as np
import torch
from torch.nn import functional as F

from segcgan.case import Array, Case, Window
from segcgan.chain import Chain
from segcgan.data.patches import network_input, planes
from segcgan.errors import SegcganError
from segcgan.inference.windows import Plan, batches, gaussian


class CoarseSource(Protocol):
    """Coarse probabilities by window."""

    def read(self, window: Window) -> Array:
        """Return (K, d, h, w) float32; 0 outside the case."""

    def forget(self, before: int) -> None:
        """Free what lies before this index of the slow axis."""


class GivenCoarse:
    """Coarse masks somebody else made, read with the case.

    Args:
        case: with a coarse mask.
        classes: K.
    """

    def __init__(self, case: Case, classes: int) -> None:
        self._case, self._classes = case, classes

    def read(self, window: Window) -> Array:
        """Return (K, d, h, w) float32; 0 outside the case.

        Raises:
            SegcganError: the mask has another number of classes.
        """
        values = self._case.read_coarse(window)
        if len(values) != self._classes:
            found = f"has {len(values)} classes but the chain has {self._classes}"
            raise SegcganError(f"the coarse mask of {self._case.name} {found}; give one probability per class")
        return values

    def forget(self, before: int) -> None:
        """Nothing is kept."""


class SegmentedCoarse:
    """Segmenter windows, blended with Gaussian weights.

    Windows are visited in order of the slow axis; sums are kept only from the last ``forget`` on. Neither the order of
    the sums nor which windows share a batch depends on strips, so a streamed result equals that of the whole case in
    memory.

    Args:
        case: to be segmented.
        chain: with a segmenter.
        plan: windows of the case.
        batch: windows per network call.
        first: index of the slow axis from which results will be read.
    """

    def __init__(self, case: Case, chain: Chain, plan: Plan, batch: int, first: int) -> None:
        self._case, self._chain, self._plan = case, chain, plan
        self._weights = gaussian(plan.size)
        starts = ((z, y, x) for z in range(case.shape[0]) for y in plan.starts[0] for x in plan.starts[1])
        self._todo = deque(b for b in batches(starts, batch) if b[-1][plan.axis] + self._length() > first)
        self._base = max(first, 0)
        shape = list(case.shape)
        shape[plan.axis] = 0
        self._total = np.zeros((len(chain.classes), *shape), np.float32)
        self._weight = np.zeros((1, *shape), np.float32)

    def read(self, window: Window) -> Array:
        """Return (K, d, h, w) float32; 0 outside the case and where nothing is valid."""
        axis = self._plan.axis
        self._advance(min(window[axis].stop, self._case.shape[axis]))
        parts, pads = [], [(0, 0)]
        for dim, part in enumerate(window):
            base = self._base if dim == axis else 0
            start, stop = max(part.start, 0), min(part.stop, self._case.shape[dim])
            parts.append(slice(start - base, stop - base))
            pads.append((start - part.start, part.stop - stop))
        total, weight = self._total[(slice(None), *parts)], self._weight[(slice(None), *parts)]
        return np.pad(total / np.maximum(weight, 1e-12), pads)

    def forget(self, before: int) -> None:
        """Free what lies before this index of the slow axis."""
        drop = before - self._base
        if drop > 0:
            keep = tuple(slice(drop if dim == self._plan.axis + 1 else 0, None) for dim in range(4))
            self._total, self._weight = self._total[keep].copy(), self._weight[keep].copy()
            self._base = before

    def _length(self) -> int:
        return 1 if self._plan.axis == 0 else self._plan.size[0]

    def _advance(self, stop: int) -> None:
        while self._todo and self._todo[0][0][self._plan.axis] < stop:
            inputs = []
            for z, y, x in self._todo.popleft():
                h, w = self._plan.size
                context = self._chain.sampling.context
                raw = self._case.read_input(planes(z, slice(y, y + h), slice(x, x + w), context))
                if raw[1][:, context].any():
                    image, valid = network_input(*raw, self._chain.normalisation, self._chain.sampling.patch)
                    inputs.append(((z, y, x), image, valid))
            if inputs:
                probability = self._chain.segment(torch.stack([image for _, image, _ in inputs]))
                if tuple(probability.shape[2:]) != self._plan.size:
                    probability = F.interpolate(probability, self._plan.size, mode="bilinear")
                for (start, _, _), p in zip(inputs, probability.numpy(), strict=True):
                    self._add(start, p)
        self._grow(stop - self._base)  # windows without a valid pixel added nothing

    def _add(self, start: tuple[int, int, int], probability: Array) -> None:
        axis, shape = self._plan.axis, self._case.shape
        self._grow(min(start[axis] + self._length(), shape[axis]) - self._base)
        here, there = [slice(None)], [slice(None)]
        for dim, length in enumerate((1, *self._plan.size)):
            low = max(start[dim], self._base if dim == axis else 0)
            high = min(start[dim] + length, shape[dim])
            if high <= low:
                return
            base = self._base if dim == axis else 0
            here.append(slice(low - base, high - base))
            there.append(slice(low - start[dim], high - start[dim]))
        self._total[tuple(here)] += (probability * self._weights)[:, None][tuple(there)]
        self._weight[tuple(here)] += self._weights[None, None][tuple(there)]

    def _grow(self, length: int) -> None:
        missing = length - self._total.shape[self._plan.axis + 1]
        if missing > 0:
            pads = [(0, missing if dim == self._plan.axis + 1 else 0) for dim in range(4)]
            self._total, self._weight = np.pad(self._total, pads), np.pad(self._weight, pads)
