"""A segmenter that also sees what a variational autoencoder makes of the image, and is regularised by its latent."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segcgan.batch import Batch
from segcgan.losses import mask_terms
from segcgan.noise import Noise
from segcgan.priors import ImageVAE


class LatentSegmenter(nn.Module):
    """Feeds the latent of an image VAE to a segmenter as further channels; the KL of the latent regularises both.

    The VAE is trained on the images alone in the stage "prior"; its encoder goes on learning with the segmenter.

    Args:
        network: any segmenter with in_channels = channels of the image + latent of the VAE.
        prior: the VAE.
        weight: of its reconstruction and KL beside the mask terms (nats per pixel); 0 = only its features are used.
    """

    def __init__(self, network: nn.Module, prior: ImageVAE, weight: float = 0.1) -> None:
        super().__init__()
        self.network, self.prior, self.weight = network, prior, weight

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K, H, W)."""
        code = self.prior.encode(image).mean.to(image.dtype)
        wide = F.interpolate(code, scale_factor=float(self.prior.stride), mode="bilinear")
        logits: Tensor = self.network(torch.cat([image, wide], 1))
        return logits

    def training_loss(self, batch: Batch, noise: Noise) -> tuple[dict[str, Tensor], Tensor]:
        """Return Dice, cross entropy and the weighted terms of the VAE, and logits."""
        logits = self(batch.image)
        terms = mask_terms(logits, batch)
        if self.weight:
            more = self.prior.training_loss(batch, noise)
            terms |= {f"image_{name}": self.weight * value for name, value in more.items()}
        return terms, logits

    @property
    def diagnostics(self) -> dict[str, Tensor]:
        """What the VAE measured in the last step."""
        return self.prior.diagnostics
