"""A segmenter with an auxiliary branch that detects boundaries."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segcgan.batch import Batch
from segcgan.errors import SegcganError, at_least
from segcgan.losses import cross_entropy, dice_loss
from segcgan.noise import Noise
from segcgan.segmenters.base import segmenter_loss


class BoundarySegmenter(nn.Module):
    """Wraps a segmenter: a small branch learns where classes meet, and what it needs the segmenter learns too.

    A network with a ``segmentation_head`` (all of segmentation_models_pytorch) shares the features in front of it, as
    in multi-task contour networks (DCAN, Chen et al., CVPR 2016). Of any other the branch sees image and
    probabilities, and is then a boundary loss with a learnt detector. It has no part in prediction, which costs what
    it did.

    Args:
        segmenter: image (B, C, H, W) → logits (B, K, H, W).
        channels: of the image, with 2.5-D context (C x slices).
        classes: K.
        width: features of the branch.
        radius: pixels on either side of a boundary that belong to it.
        weight: of Dice and cross entropy of the boundary.
    """

    def __init__(
        self,
        segmenter: nn.Module,
        channels: int,
        classes: int,
        width: int = 16,
        radius: int = 1,
        weight: float = 0.5,
    ) -> None:
        super().__init__()
        at_least("segmenter ", 1, width=width, radius=radius)
        at_least("segmenter ", 0, weight=weight)
        self.segmenter, self.channels, self.radius, self.weight = segmenter, channels, radius, weight
        first = next((m.in_channels for m in _head(segmenter) if isinstance(m, nn.Conv2d)), channels + classes)
        self.branch = nn.Sequential(nn.Conv2d(first, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, 2, 1))

    @property
    def prior(self) -> nn.Module | None:
        """The prior of the wrapped segmenter, if it has one."""
        found: nn.Module | None = getattr(self.segmenter, "prior", None)
        return found

    @property
    def diagnostics(self) -> dict[str, Tensor]:
        """Those of the wrapped segmenter."""
        return dict(getattr(self.segmenter, "diagnostics", {}))

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K, H, W)."""
        logits: Tensor = self.segmenter(image)
        return logits

    def training_loss(self, batch: Batch, noise: Noise) -> tuple[dict[str, Tensor], Tensor]:
        """Return the terms of the wrapped segmenter, edge_dice and edge_ce, and logits."""
        if batch.target is None:
            raise SegcganError("training needs reference masks")
        terms, logits, features = self._run(batch, noise)
        edges, known = boundary(batch.target, batch.scored, self.radius)
        found = self.branch(features).float()
        if found.shape[2:] != edges.shape[1:]:
            found = F.interpolate(found, edges.shape[1:], mode="bilinear")
        terms["edge_ce"] = self.weight * cross_entropy(found, edges, known)
        alone = batch.alone
        if alone is not None:
            terms["edge_dice"] = self.weight * dice_loss(found, edges, known & alone)
        return terms, logits

    def _run(self, batch: Batch, noise: Noise) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        heads, tapped = list(_head(self.segmenter))[:1], []
        hooks = [head.register_forward_pre_hook(lambda _, inputs: tapped.append(inputs[0])) for head in heads]
        try:
            terms, logits = segmenter_loss(self.segmenter, batch, noise)
        finally:
            for hook in hooks:
                hook.remove()
        if tapped:
            return terms, logits, tapped[0]
        seen = torch.cat([batch.image[:, : self.channels], logits.float().softmax(1)], 1)
        if seen.shape[1] != (wanted := self.branch[0].in_channels):
            cure = "make its channels and classes those of the segmenter"
            raise SegcganError(f"the boundary branch takes {wanted} channels and classes, not {seen.shape[1]}; {cure}")
        return terms, logits, seen


def boundary(target: Tensor, scored: Tensor, radius: int = 1) -> tuple[Tensor, Tensor]:
    """Find the pixels with more than one class within ``radius`` (a square), and those of which that is known.

    Args:
        target: (B, H, W) class indices.
        scored: (B, H, W) bool.
        radius: pixels.

    Returns:
        boundary (B, H, W) long, 0 or 1, and (B, H, W) bool: the whole neighbourhood is scored. The edge of the window
        is no boundary.
    """
    labels, side = target.float().masked_fill(~scored, 0.0)[:, None], 2 * radius + 1
    highest = F.max_pool2d(labels, side, 1, radius)
    lowest = -F.max_pool2d(-labels, side, 1, radius)
    known = F.max_pool2d((~scored).float()[:, None], side, 1, radius) == 0
    return (highest > lowest)[:, 0].long(), known[:, 0]


def _head(network: nn.Module) -> list[nn.Module]:
    """The segmentation head of a network and its layers; empty if it has none."""
    heads = [part for name, part in network.named_modules() if name.rpartition(".")[2] == "segmentation_head"]
    return list(heads[0].modules()) if heads else []
