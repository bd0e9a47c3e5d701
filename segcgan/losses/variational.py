"""Diagonal Gaussians and their divergence, in nats per image."""

from dataclasses import dataclass

import torch
from torch import Tensor

_LOG_SIGMA = 10.0  # beyond it exp() makes infinities of what a bad step suggests


@dataclass(frozen=True)
class Gaussian:
    """Independent normal distributions.

    Args:
        mean: (B, Z, *S).
        log_sigma: (B, Z, *S), within ±10.
    """

    mean: Tensor
    log_sigma: Tensor

    @classmethod
    def of(cls, parameters: Tensor) -> "Gaussian":
        """Take (B, 2 Z, *S) apart into mean and log σ."""
        mean, log_sigma = parameters.float().chunk(2, 1)
        return cls(mean, log_sigma.clamp(-_LOG_SIGMA, _LOG_SIGMA))

    def sample(self, noise: Tensor) -> Tensor:
        """Return mean + σ · noise."""
        return self.mean + self.log_sigma.exp() * noise


def kl_nats(posterior: Gaussian, prior: Gaussian | None = None, known: Tensor | None = None) -> Tensor:
    """Return KL(posterior ‖ prior) of each image (B,) in nats: summed over units and positions.

    Args:
        posterior: of shape (B, Z, *S).
        prior: None = standard normal.
        known: (B, 1, *S) bool; positions that count.
    """
    mean, log_sigma = posterior.mean, posterior.log_sigma
    if prior is None:
        prior = Gaussian(torch.zeros_like(mean), torch.zeros_like(log_sigma))
    variance = (2 * (log_sigma - prior.log_sigma)).exp()
    distance = ((mean - prior.mean) / prior.log_sigma.exp()).square()
    nats = 0.5 * (variance + distance - 1) - (log_sigma - prior.log_sigma)
    return (nats if known is None else nats * known).flatten(1).sum(1)


def warmed_up(weight: float, steps: int, warmup: int) -> float:
    """Return the weight of the KL after so many steps: it rises evenly from 0 over ``warmup`` of them."""
    return weight * min(1.0, (steps + 1) / max(1, warmup))


def active_units(means: Tensor) -> Tensor:
    """Count units (channels of (B, Z, *S)) whose posterior mean varies over the batch by more than 0.01.

    A unit that does not is ignored by the decoder: posterior collapse (Burda et al., ICLR 2016).
    """
    return (means.detach().transpose(0, 1).flatten(1).var(1, correction=0) > 0.01).sum().float()
