"""Regularisers: further loss terms of a segmenter, off unless the config lists them."""

from segcgan.regularisers.base import Regulariser

__all__ = ["Regulariser"]
