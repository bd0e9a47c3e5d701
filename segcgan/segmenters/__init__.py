"""Segmenters beyond the ``nn.Module`` from image to logits that any library offers."""

from segcgan.segmenters.base import segmenter_loss

__all__ = ["segmenter_loss"]
