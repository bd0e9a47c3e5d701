"""Priors: models of masks or of images alone, trained in a stage of their own."""

from segcgan.priors.base import Prior
from segcgan.priors.image_vae import ImageVAE
from segcgan.priors.mask_autoencoder import MaskAutoencoder

__all__ = ["ImageVAE", "MaskAutoencoder", "Prior"]
