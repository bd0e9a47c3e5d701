"""Refiners: (image, coarse mask, noise) → one sample of corrected logits. One family per file."""

from segcgan.refiners.adversarial import AdversarialRefiner
from segcgan.refiners.base import Refiner
from segcgan.refiners.latent import LatentRefiner
from segcgan.refiners.residual import ResidualRefiner

__all__ = ["AdversarialRefiner", "LatentRefiner", "Refiner", "ResidualRefiner"]
