"""Boundary losses."""

import torch
from torch import Tensor
from torch.nn import functional as F

from segcgan.losses.region import one_hot


def sobel_l1(logits: Tensor, target: Tensor, scored: Tensor) -> Tensor:
    """L1 distance between the Sobel gradients of the probability and of the reference (CascadePSP, CVPR 2020).

    Args:
        logits: (B, K, H, W).
        target: (B, H, W) class indices.
        scored: (B, H, W) bool; a gradient counts where its whole 3 x 3 neighbourhood is scored.

    Returns:
        Scalar: mean over scored pixels of an image and classes, then over images.
    """
    classes = logits.shape[1]
    difference = logits.float().softmax(1) - one_hot(target, classes)
    row = torch.tensor([[1.0, 2.0, 1.0], [0.0, 0.0, 0.0], [-1.0, -2.0, -1.0]], device=logits.device) / 8
    kernel = torch.stack([row, row.T])[:, None]
    # the operator is linear: the gradient of the difference is the difference of the gradients
    flat = F.pad(difference.flatten(0, 1)[:, None], (1, 1, 1, 1), mode="replicate")
    gradient = F.conv2d(flat, kernel).abs().sum(1).view_as(difference)
    whole = -F.max_pool2d((~scored).float()[:, None], 3, 1, 1) + 1
    return ((gradient * whole).flatten(1).sum(1) / (whole.flatten(1).sum(1) * classes).clamp_min(1)).mean()
