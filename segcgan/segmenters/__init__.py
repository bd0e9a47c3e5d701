"""Segmenters beyond the ``nn.Module`` from image to logits that any library offers."""

from segcgan.segmenters.base import segmenter_loss
from segcgan.segmenters.boundary import BoundarySegmenter
from segcgan.segmenters.latent import LatentSegmenter

__all__ = ["BoundarySegmenter", "LatentSegmenter", "segmenter_loss"]
