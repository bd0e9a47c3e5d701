"""A stochastic refiner that draws whole masks in one pass, made to be trained against a critic."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from segcgan.batch import Batch
from segcgan.errors import SegcganError, at_least
from segcgan.losses import energy_score, mask_terms
from segcgan.losses.region import one_hot
from segcgan.noise import Noise
from segcgan.refiners.base import Refiner
from segcgan.refiners.ushape import (
    Block,
    Correction,
    Decoder,
    Encoder,
    beside_latents,
    coarse_logits,
    reach,
    refiner_input,
)

_MAPS = 4  # channels of the noise map at the coarsest resolution
_CASE = 4  # noise numbers for a whole case


class AdversarialRefiner(Refiner):
    """Calibrated adversarial refinement (Kassapis et al., ICCV 2021): a conditional GAN over masks.

    Each sample is pushed towards what the critic takes for a reference mask, while the cross entropy holds the *mean of
    the samples* to the reference and, where the coarse mask is a probability, ``calibration`` holds it to the coarse
    distribution. So samples may be sharp without the mean being overconfident. That alone lets all samples be one and
    the same undecided mask; the energy score of the samples does not. Dice and Sobel L1 are no proper scores: where
    references disagree they favour one answer, so the first is left out and the second is off. Noise enters as a map
    by absolute position and as one vector per case: a sample is the same however the image is cut into windows.

    Args:
        channels: of the image, with 2.5-D context (C x slices).
        classes: K.
        width: features at full resolution; doubled at each level.
        levels: resolutions; each halves the previous.
        boundary_weight: of the Sobel term of the mean; windows with several raters have none.
        draws: samples per training step, at least 2.
        calibration: weight of KL(mean of samples ‖ coarse), nats per pixel; one-hot coarse masks are left out.
        energy: weight of the energy score of the samples; without it they collapse into one.

    Attributes:
        joint_norm: how runs of before format 2 compute: the noise is scaled together with the features.
    """

    stochastic = True
    joint_norm = False

    def __init__(
        self,
        channels: int,
        classes: int,
        width: int = 24,
        levels: int = 4,
        boundary_weight: float = 0.0,
        draws: int = 3,
        calibration: float = 0.05,
        energy: float = 1.0,
    ) -> None:
        super().__init__()
        if draws < 2:
            raise SegcganError(f"refiner draws is {draws}; a mean of samples needs at least 2")
        at_least("refiner ", 1, width=width, levels=levels)
        at_least("refiner ", 0, boundary_weight=boundary_weight, calibration=calibration, energy=energy)
        self.boundary_weight, self.draws = boundary_weight, draws
        self.calibration, self.energy = calibration, energy
        self.encoder = Encoder(channels + classes + 1, width, levels)
        self.decoder = Decoder(self.encoder.widths)
        self.stir = nn.Sequential(  # normalised before: the identity keeps the names of the weights
            nn.Identity(), nn.Conv2d(width + _MAPS + _CASE, width, 1), nn.SiLU(), Block(width)
        )
        self.head = Correction(width, classes)
        self.stride, self.reach = self.encoder.stride, reach(levels) + 2

    def training_loss(self, batch: Batch, noise: Noise) -> tuple[dict[str, Tensor], Tensor]:
        """Return the terms ce, sobel and calibration of the mean of samples, their energy, and one sample."""
        noises = [replace(noise, sample=noise.sample * self.draws + draw) for draw in range(self.draws)]
        drawn = list(self.samples(batch, noises))
        p = torch.stack([logits.softmax(1) for logits in drawn])
        mean = p.mean(0).clamp_min(torch.finfo(torch.float32).tiny).log()
        terms = mask_terms(mean, batch, self.boundary_weight)
        terms.pop("dice", None)
        if self.calibration:
            terms["calibration"] = self.calibration * _divergence(mean, batch)
        if self.energy and batch.target is not None:
            reference = one_hot(batch.target, p.shape[2])
            terms["energy"] = self.energy * energy_score(p, reference, batch.scored)
        with torch.no_grad():
            mine, other = (each[:, 1:] * batch.scored[:, None] for each in p[:2])
            union = torch.maximum(mine, other).sum().clamp_min(1e-6)
            self.diagnostics["diversity"] = 1 - torch.minimum(mine, other).sum() / union
        return terms, drawn[0]

    def refine(self, batch: Batch, noise: Noise) -> Tensor:
        """Return one sample of logits (B, K, H, W)."""
        return next(self.samples(batch, [noise]))

    def samples(self, batch: Batch, noises: Sequence[Noise]) -> Iterator[Tensor]:
        """Yield one sample of logits per noise; the U-shape runs once."""
        features, coarse = self.decoder(self.encoder(refiner_input(batch))), coarse_logits(batch).float()
        cells = tuple(n // self.stride for n in features.shape[2:])
        for noise in noises:
            maps = noise.normal("map", _MAPS, cells, self.stride)
            stirred = self.stir(beside_latents(features, maps, noise.per_case("case", _CASE), self.joint_norm))
            yield self.head(stirred, coarse)


def _divergence(mean: Tensor, batch: Batch) -> Tensor:
    """KL(mean ‖ coarse) in nats per scored pixel of the images whose coarse mask is a probability."""
    coarse = coarse_logits(batch).float().log_softmax(1)
    soft = (coarse_logits(batch).amax(1) < -1e-3) & batch.scored  # one-hot pixels say nothing of a distribution
    images = soft.flatten(1).any(1).view(-1, *([1] * (soft.ndim - 1)))
    count = images & batch.scored
    nats = (mean.exp() * (mean - coarse)).sum(1)
    return (nats * count).sum() / count.sum().clamp_min(1)
