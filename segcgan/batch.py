"""What networks train on: a handful of windows with everything known about each pixel."""

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from segcgan.case import IGNORE


@dataclass  # not frozen: Lightning moves batches by assigning to their fields
class Batch:
    """B windows; ``*S`` is ``H, W`` (or ``D, H, W`` for volume networks).

    Args:
        image: (B, C, *S) normalised; neighbouring slices of a 2.5-D network are further channels.
        valid: (B, 1, *S) bool; False = nodata, padding or outside the scan.
        spacing: (B, dims) physical size of a pixel.
        origin: (B, dims) position of the window in its case, in pixels; may be negative.
        key: (B,) int64 that identifies case and slice (in training: the sample), for :class:`segcgan.noise.Noise`.
        target: (B, *S) class indices, ``IGNORE`` where unknown.
        coarse: (B, K, *S) probabilities; hard masks are one-hot; 0 where invalid.
        several: (B,) bool; the target is the mask of one of several raters, drawn at random, so only proper scores
            (cross entropy) may be minimised: Dice on one random rater favours one answer.
    """

    image: Tensor
    valid: Tensor
    spacing: Tensor
    origin: Tensor
    key: Tensor
    target: Tensor | None = None
    coarse: Tensor | None = None
    several: Tensor | None = None

    def to(self, *args: object, **kwargs: object) -> "Batch":
        """Return the batch on another device (arguments as for ``Tensor.to``)."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        moved: dict[str, Any] = {k: v if v is None else v.to(*args, **kwargs) for k, v in values.items()}
        return Batch(**moved)

    @property
    def scored(self) -> Tensor:
        """(B, *S) bool: pixels that may train or score (valid and with a known target)."""
        if self.target is None:
            raise ValueError("this batch has no target")
        return self.valid[:, 0] & (self.target != IGNORE)

    @property
    def alone(self) -> Tensor | None:
        """(B, *S) bool: scored pixels whose target is the only answer, for losses that are no proper scores.

        None if every image has several raters.
        """
        if self.several is None:
            return self.scored
        if self.several.all():
            return None
        return self.scored & ~self.several.view(-1, *([1] * (self.valid.ndim - 2)))


def collate(items: list[Batch]) -> Batch:
    """Join batches of one window each (all with the same fields present) into one batch."""
    columns = {f.name: [getattr(item, f.name) for item in items] for f in fields(Batch)}
    joined: dict[str, Any] = {k: None if v[0] is None else torch.cat(v) for k, v in columns.items()}
    return Batch(**joined)
