"""Region losses, averaged per image first so that the result does not depend on how images are dealt to GPUs."""

import torch
from torch import Tensor
from torch.nn import functional as F

_SMOOTH = 1.0  # pixels
_ABSENT = 0.01  # share of the scored pixels


def one_hot(target: Tensor, classes: int) -> Tensor:
    """Return (B, K, *S) float one-hot of class indices (B, *S); ignored pixels become all zero."""
    indices = torch.arange(classes, device=target.device).view(1, -1, *([1] * (target.ndim - 1)))
    return (target[:, None] == indices).float()


def dice_loss(logits: Tensor, target: Tensor, scored: Tensor) -> Tensor:
    """Soft Dice loss, mean over images and foreground classes (Milletari et al., 3DV 2016).

    Empty rule: a class absent from an image still counts. Its loss is ``1 - s / (p + s)`` with ``p`` the predicted
    area and ``s`` a hundredth of the image, so a false positive costs and a rightly empty prediction costs nothing.
    With one pixel as ``s`` its slope at p = 0 would exceed by far what a small object pulls: where many images are
    empty, everything stays empty.

    Args:
        logits: (B, K, *S).
        target: (B, *S) class indices.
        scored: (B, *S) bool, the pixels that count.
    """
    count = scored[:, None]
    p = logits.float().softmax(1)[:, 1:] * count
    y = one_hot(target, logits.shape[1])[:, 1:] * count
    p, y = p.flatten(2), y.flatten(2)
    absent = _ABSENT * count.flatten(2).sum(2).clamp_min(1 / _ABSENT)
    smooth = torch.where(y.sum(2) > 0, _SMOOTH, absent)
    dice = (2 * (p * y).sum(2) + smooth) / (p.sum(2) + y.sum(2) + smooth)
    return (1 - dice).mean()


def cross_entropy(logits: Tensor, target: Tensor, scored: Tensor) -> Tensor:
    """Cross entropy in nats per pixel: mean over the scored pixels of an image, then over images.

    An image without a scored pixel contributes 0. Arguments as for :func:`dice_loss`.
    """
    nats = F.cross_entropy(logits.float(), target.long().masked_fill(~scored, 0), reduction="none") * scored
    return (nats.flatten(1).sum(1) / scored.flatten(1).sum(1).clamp_min(1)).mean()
