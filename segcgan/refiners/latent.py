"""A stochastic refiner with a latent: a conditional variational autoencoder over masks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segcgan.batch import Batch
from segcgan.errors import SegcganError, at_least
from segcgan.losses import mask_terms
from segcgan.losses.region import one_hot
from segcgan.losses.variational import Gaussian, active_units, kl_nats, warmed_up
from segcgan.noise import Noise
from segcgan.refiners.base import Refiner
from segcgan.refiners.ushape import (
    Correction,
    Decoder,
    Encoder,
    beside_latents,
    coarse_logits,
    reach,
    refiner_input,
)


@dataclass
class KL:
    """What the latent costs.

    Args:
        beta: weight of the KL, reached after ``warmup`` steps.
        warmup: steps over which the weight rises from 0.
        target_ce: cross entropy in nats per pixel to be reached; given, GECO (Rezende & Viola 2018) weighs the cross
            entropy instead of ``beta`` weighing the KL.

    Raises:
        SegcganError: ``beta`` or ``warmup`` is negative.
    """

    beta: float = 1.0
    warmup: int = 100
    target_ce: float | None = None

    def __post_init__(self) -> None:
        at_least("refiner kl.", 0, beta=self.beta, warmup=self.warmup)

    def weight(self, steps: int) -> float:
        """Return the weight of the KL after so many steps."""
        return 1.0 if self.target_ce is not None else warmed_up(self.beta, steps, self.warmup)


class LatentRefiner(Refiner):
    """Probabilistic U-Net (Kohl et al., NeurIPS 2018) as a refiner, its latent in two parts.

    A *map* at the coarsest resolution, as in the hierarchical variant (Kohl et al. 2019), says what is open where: its
    prior p(z | image, coarse) and, in training, posterior q(z | image, coarse, reference) are Gaussians. A *style*, one
    vector per case with a standard normal prior, says what is open everywhere at once (how generously this rater
    draws). Neither needs to see a whole image, so the reach is finite and windows fit together. A further sample costs
    three 1 x 1 convolutions.

    All terms are nats of an image divided by its pixels, so at ``beta`` 1 cross entropy and KL are the negative ELBO.
    With several raters they are the whole loss. Where there is one right answer, Dice and Sobel are added, as further
    nats: Sobel is a mean over pixels as the cross entropy is; Dice is not, and ``dice`` says how many nats per pixel a
    Dice loss of 1 is worth. At 1 it would be worth 9216 nats in a window of 96 x 96 pixels, and no latent too dear.

    Training sees posterior samples, prediction prior samples: where an image has one right answer, the posterior says
    where its boundary is, and without it the boundary blurs. ``hybrid`` therefore trains prior samples as well.

    Args:
        channels: of the image, with 2.5-D context (C x slices).
        classes: K.
        width: features at full resolution; doubled at each level.
        levels: resolutions; each halves the previous. The latent lives on the coarsest.
        latent: channels of the map, and numbers of the style.
        kl: see :class:`KL`.
        boundary_weight: of the Sobel term; windows with several raters have none.
        hybrid: share of prior samples in the mask terms (Sohn et al., NeurIPS 2015); draws samples together, so windows
            with several raters train posterior samples alone.
        dice: nats per pixel of a Dice loss of 1. At the default, Dice and cross entropy pull alike at an object that
            fills a fiftieth of the window; windows with several raters have none.

    Attributes:
        joint_norm: how runs of before format 2 compute: the latents are scaled together with the features.
    """

    stochastic = True
    steps: Tensor
    multiplier: Tensor
    excess: Tensor
    joint_norm = False

    def __init__(
        self,
        channels: int,
        classes: int,
        width: int = 24,
        levels: int = 4,
        latent: int = 4,
        kl: KL | None = None,
        boundary_weight: float = 5.0,
        hybrid: float = 0.0,
        dice: float = 0.02,
    ) -> None:
        super().__init__()
        if not 0 <= hybrid <= 1:
            raise SegcganError(f"refiner hybrid is {hybrid}; it must lie between 0 and 1")
        at_least("refiner ", 1, latent=latent, width=width, levels=levels)
        at_least("refiner ", 0, boundary_weight=boundary_weight, dice=dice)
        self.latent, self.kl, self.hybrid = latent, kl or KL(), hybrid
        self.boundary_weight, self.dice = boundary_weight, dice
        self.encoder = Encoder(channels + classes + 1, width, levels)
        self.posterior_encoder = Encoder(channels + 2 * classes + 1, width, levels)
        widths = self.encoder.widths
        self.prior, self.posterior = (nn.Conv2d(widths[-1], 2 * latent, 1) for _ in range(2))
        self.style = nn.Linear(widths[-1], 2 * latent)
        self.decoder = Decoder(widths)
        self.fuse = nn.Sequential(  # normalised before: the identity keeps the names of the weights
            nn.Identity(), nn.Conv2d(width + 2 * latent, width, 1), nn.SiLU(), nn.Conv2d(width, width, 1), nn.SiLU()
        )
        self.head = Correction(width, classes)
        self.stride = self.encoder.stride
        self.reach = reach(levels) + 2 * self.stride  # z is interpolated between its cells
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("multiplier", torch.ones(()))  # GECO's, of the cross entropy
        self.register_buffer("excess", torch.zeros(()))  # moving average of cross entropy - target

    def training_loss(self, batch: Batch, noise: Noise) -> tuple[dict[str, Tensor], Tensor]:
        """Return the terms dice, ce, sobel and kl, and logits of a prior sample."""
        features, prior, coarse = self._encode(batch)
        posterior, style = self._posterior(batch)
        size = tuple(prior.mean.shape[2:])
        z = posterior.sample(noise.normal("posterior", self.latent, size, self.stride))
        w = style.sample(noise.per_case("posterior style", self.latent))
        met = self._draw(features, z, w, coarse)
        drawn = self._draw(features, *self._prior_sample(prior, noise), coarse)
        nats = kl_nats(posterior, prior, self._known(batch)) + kl_nats(style) * batch.scored.flatten(1).any(1)
        pixels = batch.scored.flatten(1).sum(1).clamp_min(1)
        used = active_units(posterior.mean) + active_units(style.mean)
        self.diagnostics = {"kl_nats": nats.detach().mean(), "active_units": used}
        terms = self._mask_terms(met, batch)
        if self.kl.target_ce is not None:
            terms["ce"] = self._geco(terms["ce"], self.kl.target_ce)
        one_answer = torch.ones_like(nats) if batch.several is None else (~batch.several).float()
        terms["kl"] = self.kl.weight(int(self.steps)) * ((1 - self.hybrid * one_answer) * nats / pixels).mean()
        self.steps += 1
        if self.hybrid and one_answer.any():
            mixed = torch.where(one_answer.view(-1, 1, 1, 1) > 0, drawn, met)
            for name, value in self._mask_terms(mixed, batch).items():
                terms[name] = (1 - self.hybrid) * terms[name] + self.hybrid * value
        return terms, drawn

    def refine(self, batch: Batch, noise: Noise) -> Tensor:
        """Return one sample of logits (B, K, H, W)."""
        return next(self.samples(batch, [noise]))

    def samples(self, batch: Batch, noises: Sequence[Noise]) -> Iterator[Tensor]:
        """Yield one sample of logits per noise; only the last three layers run for each."""
        features, prior, coarse = self._encode(batch)
        for noise in noises:
            yield self._draw(features, *self._prior_sample(prior, noise), coarse)

    def _encode(self, batch: Batch) -> tuple[Tensor, Gaussian, Tensor]:
        levels = self.encoder(refiner_input(batch))
        return self.decoder(levels), Gaussian.of(self.prior(levels[-1])), coarse_logits(batch).float()

    def _prior_sample(self, prior: Gaussian, noise: Noise) -> tuple[Tensor, Tensor]:
        z = prior.sample(noise.normal("z", self.latent, tuple(prior.mean.shape[2:]), self.stride))
        return z, noise.per_case("style", self.latent)

    def _posterior(self, batch: Batch) -> tuple[Gaussian, Gaussian]:
        if batch.target is None:
            raise ValueError("training needs a target")
        target = one_hot(batch.target, coarse_logits(batch).shape[1]) * batch.scored[:, None]
        levels = self.posterior_encoder(torch.cat([refiner_input(batch), target], 1))
        known = self._known(batch)
        mean = (levels[-1] * known).flatten(2).sum(2) / known.flatten(2).sum(2).clamp_min(1)
        return Gaussian.of(self.posterior(levels[-1])), Gaussian.of(self.style(mean))

    def _draw(self, features: Tensor, z: Tensor, style: Tensor, coarse: Tensor) -> Tensor:
        logits: Tensor = self.head(self.fuse(beside_latents(features, z, style, self.joint_norm)), coarse)
        return logits

    def _mask_terms(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        terms = mask_terms(logits, batch, self.boundary_weight)
        if "dice" in terms:
            terms["dice"] = self.dice * terms["dice"]
        return terms

    def _known(self, batch: Batch) -> Tensor:
        """(B, 1, h, w) bool: cells of the latent that cover a scored pixel; the others cost no nats."""
        return F.max_pool2d(batch.scored[:, None].float(), self.stride) > 0

    def _geco(self, ce: Tensor, target: float) -> Tensor:
        """Weigh the cross entropy so that its moving average comes down to the target."""
        with torch.no_grad():
            self.excess.lerp_(ce.detach().float() - target, 0.01 if int(self.steps) else 1.0)
            self.multiplier.mul_((0.1 * self.excess).clamp(-0.1, 0.1).exp()).clamp_(1e-2, 1e2)
        self.diagnostics["geco_multiplier"] = self.multiplier.clone()
        return self.multiplier.clone() * ce
