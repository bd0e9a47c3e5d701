"""Refiners: (image, coarse mask, noise) → one sample of corrected logits. One family per file."""

from segcgan.refiners.base import Refiner
from segcgan.refiners.residual import ResidualRefiner

__all__ = ["Refiner", "ResidualRefiner"]
