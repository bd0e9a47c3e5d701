"""Regularisers: further loss terms of a segmenter, off unless the config lists them."""

from segcgan.regularisers.base import Regulariser
from segcgan.regularisers.entropy import Entropy
from segcgan.regularisers.shape import ShapeLatent

__all__ = ["Entropy", "Regulariser", "ShapeLatent"]
