"""A segmenter that also sees what a VAE of the images makes of them."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segcgan.batch import Batch
from segcgan.errors import SegcganError, at_least
from segcgan.losses.variational import Gaussian
from segcgan.noise import Noise
from segcgan.priors import ImageVAE
from segcgan.segmenters.base import segmenter_loss


class LatentSegmenter(nn.Module):
    """Wraps a segmenter: an image VAE feeds it, and the VAE's KL regularises what it is fed.

    The segmenter sees the image, the finest features of the VAE's encoder and its latent, enlarged: a sample in
    training, the mean in prediction. The VAE is trained on images alone in the stage "prior" and goes on learning with
    the segmenter, held by ``weight`` times its negative ELBO. Its first convolution gets the further channels, at
    weight 0: in the beginning this is the segmenter alone, pretrained weights included. The latent is a map of finite
    reach, so prediction in windows stays what it is for the wrapped segmenter.

    Args:
        segmenter: image (B, C, H, W) → logits (B, K, H, W).
        prior: the VAE.
        weight: of reconstruction and KL, in nats per pixel.
    """

    def __init__(self, segmenter: nn.Module, prior: ImageVAE, weight: float = 0.05) -> None:
        super().__init__()
        at_least("segmenter ", 0, weight=weight)
        self.segmenter = widened(segmenter, prior.channels, prior.features + prior.latent)
        self.prior, self.weight = prior, weight

    @property
    def diagnostics(self) -> dict[str, Tensor]:
        """What the VAE measured in the last training step."""
        return self.prior.diagnostics

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K, H, W)."""
        posterior, features = self.prior.encode(image)
        logits: Tensor = self.segmenter(self._joined(image, features, posterior.mean))
        return logits

    def training_loss(self, batch: Batch, noise: Noise) -> tuple[dict[str, Tensor], Tensor]:
        """Return the terms of the wrapped segmenter, vae_reconstruction and vae_kl, and logits."""
        image = batch.image * batch.valid
        posterior, features = self.prior.encode(image)
        z = self._sample(posterior, noise)
        terms, logits = segmenter_loss(self.segmenter, replace(batch, image=self._joined(image, features, z)), noise)
        elbo = self.prior.elbo_terms(batch, posterior, z)
        return terms | {f"vae_{name}": self.weight * value for name, value in elbo.items()}, logits

    def _sample(self, posterior: Gaussian, noise: Noise) -> Tensor:
        size = tuple(posterior.mean.shape[2:])
        return posterior.sample(noise.normal("latent", self.prior.latent, size, self.prior.stride))

    def _joined(self, image: Tensor, features: Tensor, z: Tensor) -> Tensor:
        wide = F.interpolate(z, scale_factor=float(self.prior.stride), mode="bilinear")
        return torch.cat([image, features.to(image.dtype), wide.to(image.dtype)], 1)


def widened(network: nn.Module, channels: int, more: int) -> nn.Module:
    """Return the network with ``more`` input channels: its first convolution gets them, at weight 0.

    Raises:
        SegcganError: the first convolution is not one of the image.
    """
    found = [part for part in network.modules() if isinstance(part, nn.Conv2d)]
    if not found or found[0].in_channels != channels or found[0].groups != 1:
        kind = type(network).__name__
        saw = f"takes {found[0].in_channels}" if found else "does not exist"
        cure = "give in_channels of the segmenter and channels of the prior the same number"
        raise SegcganError(f"the first convolution of {kind} {saw}, the images have {channels} channels; {cure}")
    first = found[0]  # in place: it may pad in a way of its own
    weight = first.weight.detach()
    first.weight = nn.Parameter(torch.cat([weight, weight.new_zeros(len(weight), more, *weight.shape[2:])], 1))
    first.in_channels += more
    return network
