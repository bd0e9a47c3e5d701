"""A stochastic refiner that draws whole masks in one pass, made to be trained against a critic."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from segcgan.batch import Batch
from segcgan.errors import SegcganError
from segcgan.losses import mask_terms
from segcgan.noise import Noise
from segcgan.refiners.base import Refiner
from segcgan.refiners.ushape import Decoder, Encoder, coarse_logits, correction_head, reach, refiner_input

_MAPS = 4  # noise channels at every resolution but the full one
_CASE = 8  # noise numbers for a whole case


class AdversarialRefiner(Refiner):
    """Calibrated adversarial refinement (Kassapis et al., ICCV 2021): a conditional GAN over masks.

    Each sample is pushed towards what the critic takes for a reference mask, while Dice, cross entropy and Sobel L1
    hold the *mean of the samples* to the reference and, where the coarse mask is a probability, ``calibration`` holds
    it to the coarse distribution. So samples may be sharp without the mean being overconfident. Noise enters as maps
    by absolute position and as one vector per case: a sample is the same however the image is cut into windows.

    Args:
        channels: of the image, with 2.5-D context (C x slices).
        classes: K.
        width: features at full resolution; doubled at each level.
        levels: resolutions; each halves the previous.
        boundary_weight: of the Sobel term.
        draws: samples per training step, at least 2.
        calibration: weight of KL(mean of samples ‖ coarse), nats per pixel; one-hot coarse masks are left out.
    """

    stochastic = True

    def __init__(
        self,
        channels: int,
        classes: int,
        width: int = 24,
        levels: int = 4,
        boundary_weight: float = 5.0,
        draws: int = 2,
        calibration: float = 0.1,
    ) -> None:
        super().__init__()
        if draws < 2:
            raise SegcganError(f"refiner draws is {draws}; a mean of samples needs at least 2")
        if levels < 2:
            raise SegcganError(f"refiner levels is {levels}; noise enters from the second level on, so give at least 2")
        self.boundary_weight, self.draws, self.calibration = boundary_weight, draws, calibration
        self.encoder = Encoder(channels + classes + 1, width, levels)
        widths = self.encoder.widths
        self.mix = nn.ModuleList(nn.Conv2d(_MAPS, w, 1) for w in widths[1:])
        self.modulate = nn.Linear(_CASE, 2 * widths[-1])
        self.decoder = Decoder(widths)
        self.head = correction_head(width, classes)
        self.stride, self.reach = self.encoder.stride, reach(levels)

    def training_loss(self, batch: Batch, noise: Noise) -> tuple[dict[str, Tensor], Tensor]:
        """Return the terms dice, ce, sobel and calibration of the mean of samples, and the logits of one sample."""
        noises = [replace(noise, sample=noise.sample * self.draws + draw) for draw in range(self.draws)]
        drawn = list(self.samples(batch, noises))
        p = torch.stack([logits.softmax(1) for logits in drawn])
        mean = p.mean(0).clamp_min(torch.finfo(torch.float32).tiny).log()
        terms = mask_terms(mean, batch, self.boundary_weight)
        if self.calibration:
            terms["calibration"] = self.calibration * _divergence(mean, batch)
        with torch.no_grad():
            mine, other = (each[:, 1:] * batch.scored[:, None] for each in p[:2])
            union = torch.maximum(mine, other).sum().clamp_min(1e-6)
            self.diagnostics["diversity"] = 1 - torch.minimum(mine, other).sum() / union
        return terms, drawn[0]

    def refine(self, batch: Batch, noise: Noise) -> Tensor:
        """Return one sample of logits (B, K, H, W)."""
        return next(self.samples(batch, [noise]))

    def samples(self, batch: Batch, noises: Sequence[Noise]) -> Iterator[Tensor]:
        """Yield one sample of logits per noise; image and coarse mask are encoded once."""
        features, coarse = self.encoder(refiner_input(batch)), coarse_logits(batch).float()
        for noise in noises:
            yield coarse + self.head(self.decoder(self._stir(features, noise))).float()

    def _stir(self, features: list[Tensor], noise: Noise) -> list[Tensor]:
        stirred = features[:1]
        for level, (mix, x) in enumerate(zip(self.mix, features[1:], strict=True), start=1):
            stirred.append(x + mix(noise.normal(f"level {level}", _MAPS, tuple(x.shape[2:]), 2**level)))
        scale, shift = self.modulate(noise.per_case("case", _CASE))[..., None, None].chunk(2, 1)
        stirred[-1] = stirred[-1] * (1 + scale) + shift
        return stirred


def _divergence(mean: Tensor, batch: Batch) -> Tensor:
    """KL(mean ‖ coarse) in nats per scored pixel of the images whose coarse mask is a probability."""
    coarse = coarse_logits(batch).float().log_softmax(1)
    soft = (coarse_logits(batch).amax(1) < -1e-3) & batch.scored  # one-hot pixels say nothing of a distribution
    images = soft.flatten(1).any(1).view(-1, *([1] * (soft.ndim - 1)))
    count = images & batch.scored
    nats = (mean.exp() * (mean - coarse)).sum(1)
    return (nats * count).sum() / count.sum().clamp_min(1)
