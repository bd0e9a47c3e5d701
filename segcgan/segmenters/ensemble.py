"""The mean of several segmenters: what a refiner has to beat at the same cost."""

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """Averages the probabilities of segmenters (Lakshminarayanan et al., NeurIPS 2017).

    Of trained ones: a loss or a prior that a member has of its own is not trained through this.

    Args:
        members: each image (B, C, *S) → logits (B, K, *S).
    """

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, image: Tensor) -> Tensor:
        """Return the log of the mean probability (B, K, *S)."""
        p = torch.stack([member(image).float().softmax(1) for member in self.members]).mean(0)
        return p.clamp_min(torch.finfo(torch.float32).tiny).log()
