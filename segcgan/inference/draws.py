"""Masks drawn from the refiner for a batch of tiles, and what they say of how sure it is."""

import math
from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from segcgan.batch import Batch
from segcgan.case import IGNORE, Array
from segcgan.chain import Chain
from segcgan.inference.windows import Plan

EXTRA = ("uncertainty", "disagreement", "samples")
"""Layers made on request, of the refiner's samples whichever mask the gate keeps, or of the coarse mask without a
refiner; 255 = nodata. "uncertainty" and "disagreement", (1, d, h, w) uint8: entropy of the mean probability and mutual
information (Kendall & Gal, NeurIPS 2017), as a share x 254 of the log K of knowing nothing. "samples", (n, d, h, w)
uint8: class indices of each draw; one draw where the refiner is not stochastic, none without a refiner."""


class Draws:
    """Draws masks for tiles; only running moments are kept, and labels if asked for.

    Args:
        chain: with its refiner.
        plan: gives the size of a tile with halo, in pixels of the case.
        samples: from a stochastic refiner.
        seed: of the noise.
        extra: of ``EXTRA``.

    Raises:
        ValueError: no such extra layer.
    """

    def __init__(self, chain: Chain, plan: Plan, samples: int, seed: int, extra: Collection[str] = ()) -> None:
        for name in extra:
            if name not in EXTRA:
                raise ValueError(f"there is no extra layer {name!r}; choose from {', '.join(EXTRA)}")
        self._chain, self._seed, self._extra = chain, seed, [name for name in EXTRA if name in extra]
        self._count = samples if chain.refiner is not None and chain.refiner.stochastic else 1
        self._size = plan.tile

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Return (B, C, h, w) by name: "probability" and the extra layers, for tiles with halo."""
        masks = self._chain.refine(batch, self._seed, self._count, keep="samples" in self._extra)
        found = {"probability": self._fit(masks.probability)}
        most = math.log(masks.probability.shape[1])
        for name in self._extra:
            if name == "samples":
                labels = [self._fit(logits.softmax(1)).argmax(1) for logits in masks.samples or []]
                found[name] = torch.stack(labels, 1).to(torch.uint8)
            else:
                nats = masks.entropy if name == "uncertainty" else masks.mutual_information
                found[name] = self._fit(nats[:, None]) / most
        return found

    def empty(self, shape: tuple[int, ...]) -> dict[str, Array]:
        """Return the extra fields (C, d, h, w) before anything was drawn."""
        kinds = {"samples": (self._count, np.uint8)}
        found = {name: kinds.get(name, (1, np.float32)) for name in self._extra}
        return {name: np.zeros((channels, *shape), kind) for name, (channels, kind) in found.items()}

    def certain(self, probability: Array) -> dict[str, Array]:
        """Return the extra fields of the one mask (K, d, h, w) there is without a refiner."""
        entropy = torch.special.entr(torch.from_numpy(probability)).sum(0, keepdim=True).numpy()
        shown = {"uncertainty": entropy / math.log(len(probability)), "disagreement": np.zeros_like(entropy)}
        return {name: field for name, field in shown.items() if name in self._extra}

    def _fit(self, values: Tensor) -> Tensor:
        same = tuple(values.shape[2:]) == self._size
        return values if same else F.interpolate(values, self._size, mode="bilinear")


def shares(fields: dict[str, Array], valid: Array) -> dict[str, Array]:
    """Encode fields (C, d, h, w) as uint8: labels as they are, shares in 0…1 x 254; 255 where invalid."""
    encoded = {n: f if f.dtype == np.uint8 else np.rint(f.clip(0, 1) * 254) for n, f in fields.items()}
    return {name: np.where(valid, field, IGNORE).astype(np.uint8) for name, field in encoded.items()}
