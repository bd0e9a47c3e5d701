"""A segmenter with a branch that learns where the boundaries are."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segcgan.batch import Batch
from segcgan.losses import mask_terms
from segcgan.losses.boundary import edges
from segcgan.noise import Noise


class BoundarySegmenter(nn.Module):
    """Boundary detection as an auxiliary task (as in Gated-SCNN, Takikawa et al., ICCV 2019), for any segmenter.

    A small head on the segmenter's logits and the image predicts the pixels next to another class; its loss, balanced
    between the few boundary pixels and the rest, reaches the segmenter through the logits. It is not used to predict.

    Args:
        network: any segmenter.
        channels: of the image.
        classes: K.
        width: features of the head.
        weight: of the boundary term.
    """

    def __init__(
        self, network: nn.Module, channels: int, classes: int, width: int = 16, weight: float = 0.3
    ) -> None:
        super().__init__()
        self.network, self.weight = network, weight
        self.branch = nn.Sequential(
            nn.Conv2d(channels + classes, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, 1, 3, padding=1)
        )

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K, H, W)."""
        logits: Tensor = self.network(image)
        return logits

    def training_loss(self, batch: Batch, noise: Noise) -> tuple[dict[str, Tensor], Tensor]:
        """Return Dice, cross entropy and ``edge``, and logits."""
        logits = self(batch.image)
        terms = mask_terms(logits, batch)
        if batch.target is None:
            raise ValueError("training needs a target")
        found = self.branch(torch.cat([batch.image.to(logits.dtype), logits], 1)).float()[:, 0]
        edge, known = edges(batch.target, batch.scored)
        rare = (edge & known).sum() / known.sum().clamp_min(1)
        balance = torch.where(edge, 1 - rare, rare) * known
        nats = F.binary_cross_entropy_with_logits(found, edge.float(), reduction="none") * balance
        terms["edge"] = self.weight * nats.sum() / balance.sum().clamp_min(1e-6)
        return terms, logits
