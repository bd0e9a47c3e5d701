"""Segmenters beyond the ``nn.Module`` from image to logits that any library offers."""

from segcgan.segmenters.base import segmenter_loss
from segcgan.segmenters.boundary import BoundarySegmenter
from segcgan.segmenters.ensemble import Ensemble
from segcgan.segmenters.latent import LatentSegmenter
from segcgan.segmenters.unused import all_learn, remove_modules, unused_modules, without

__all__ = [
    "BoundarySegmenter", "Ensemble", "LatentSegmenter", "all_learn", "remove_modules", "segmenter_loss",
    "unused_modules", "without",
]  # fmt: skip
