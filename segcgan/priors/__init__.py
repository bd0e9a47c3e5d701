"""Priors: models of masks or of images alone, trained in a stage of their own."""

from segcgan.priors.base import Prior

__all__ = ["Prior"]
