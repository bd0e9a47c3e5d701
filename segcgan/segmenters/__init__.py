"""Segmenters beyond the ``nn.Module`` from image to logits that any library offers."""

from segcgan.segmenters.base import segmenter_loss
from segcgan.segmenters.ensemble import Ensemble

__all__ = ["Ensemble", "segmenter_loss"]
