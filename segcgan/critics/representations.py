"""How masks are shown to a critic, so that it cannot tell real from fake by their softness.

A reference mask holds only 0 and 1, a network's probabilities never do: a critic that sees both as they are learns
nothing else (Luc et al. 2016). A representation shows both in the same way; ``tests/critics`` measures what leaks.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segcgan.errors import SegcganError


class Representation(nn.Module, ABC):
    """Shows masks to a critic.

    Attributes:
        leaks: True if softness alone tells real from fake.
    """

    leaks: bool = False

    @abstractmethod
    def fake(self, logits: Tensor, scored: Tensor) -> Tensor:
        """Show a drawn mask: logits (B, K, H, W) → the same shape, with gradients.

        Pixels outside ``scored``, (B, 1, H, W) bool, are 0, as they are in a reference mask.
        """

    def real(self, mask: Tensor) -> Tensor:
        """Show a reference mask: one-hot (B, K, H, W) → the same shape."""
        return mask

    def terms(self, mask: Tensor, scored: Tensor) -> dict[str, Tensor]:
        """Return what a representation with parameters minimises beside the critic.

        Args:
            mask: (B, K, H, W) one-hot reference.
            scored: (B, 1, H, W) bool.
        """
        return {}


class Soft(Representation):
    """Probabilities against one-hot masks, as they are: for comparison, because it leaks."""

    leaks = True

    def fake(self, logits: Tensor, scored: Tensor) -> Tensor:
        """Return probabilities."""
        return logits.float().softmax(1) * scored


class StraightThrough(Representation):
    """The most probable class, one-hot; gradients pass as if it were the probability (Bengio et al. 2013)."""

    def fake(self, logits: Tensor, scored: Tensor) -> Tensor:
        """Return a one-hot mask whose gradient is that of the probabilities."""
        p = logits.float().softmax(1)
        hard = F.one_hot(p.argmax(1), p.shape[1]).permute(0, 3, 1, 2).to(p)
        return (hard + p - p.detach()) * scored


class Gumbel(Representation):
    """A class drawn from the probabilities, one-hot, straight-through (Jang et al., ICLR 2017).

    Args:
        temperature: of the relaxation behind the gradient.
        shared: one draw for a whole image, which moves its boundary as a whole; False draws every pixel by itself,
            and the critic then sees salt and pepper wherever the network is unsure.
    """

    def __init__(self, temperature: float = 1.0, shared: bool = True) -> None:
        super().__init__()
        if temperature <= 0:
            raise SegcganError(f"representation temperature is {temperature}; it must be above 0, e.g. 1.0")
        self.temperature, self.shared = temperature, shared
        self.leaks = not shared

    def fake(self, logits: Tensor, scored: Tensor) -> Tensor:
        """Return a one-hot draw with the gradient of its relaxation."""
        shape = (*logits.shape[:2], 1, 1) if self.shared else logits.shape
        noise = -torch.empty(shape, device=logits.device).exponential_().log()
        p = ((logits.float() + noise) / self.temperature).softmax(1)
        hard = F.one_hot(p.argmax(1), p.shape[1]).permute(0, 3, 1, 2).to(p)
        return (hard + p - p.detach()) * scored


class Noisy(Representation):
    """Probabilities and one-hot masks under the same Gaussian noise (Sønderby et al., ICLR 2017).

    It hides softness from a single pixel, not from a patch, where noise averages out.

    Args:
        sigma: standard deviation of the noise.
    """

    leaks = True

    def __init__(self, sigma: float = 0.5) -> None:
        super().__init__()
        if sigma < 0:
            raise SegcganError(f"representation sigma is {sigma}; a standard deviation is at least 0")
        self.sigma = sigma

    def fake(self, logits: Tensor, scored: Tensor) -> Tensor:
        """Return noisy probabilities."""
        return self.real(logits.float().softmax(1) * scored)

    def real(self, mask: Tensor) -> Tensor:
        """Return a noisy mask."""
        return mask + self.sigma * torch.randn_like(mask)


class Autoencoded(Representation):
    """Both masks as one small autoencoder returns them: real and fake come out of the same decoder.

    After Zorzi et al. (ICPR 2020), where the generator's own decoder does this. The autoencoder learns beside the
    critic to give back reference masks of any softness, so what comes out says nothing about the softness of what
    went in.

    Args:
        classes: K.
        width: features; the code is at a quarter of the resolution.
    """

    def __init__(self, classes: int, width: int = 16) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(classes, width, 4, 2, 1), nn.SiLU(), nn.Conv2d(width, 2 * width, 4, 2, 1), nn.SiLU()
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1), nn.SiLU(), nn.ConvTranspose2d(width, classes, 4, 2, 1)
        )

    def fake(self, logits: Tensor, scored: Tensor) -> Tensor:
        """Return the autoencoded probabilities."""
        return self.real(logits.float().softmax(1) * scored)

    def real(self, mask: Tensor) -> Tensor:
        """Return an autoencoded mask."""
        return self._logits(mask).softmax(1)

    def terms(self, mask: Tensor, scored: Tensor) -> dict[str, Tensor]:
        """Return the cross entropy between a reference mask and what comes back of a softened one."""
        share = torch.rand(len(mask), 1, 1, 1, device=mask.device)
        softened = torch.lerp(torch.full_like(mask, 1 / mask.shape[1]), mask, 0.5 + 0.5 * share)
        nats = -(self._logits(softened * scored).log_softmax(1) * mask).sum(1, keepdim=True) * scored
        return {"autoencoder": nats.sum() / scored.sum().clamp_min(1)}

    def _logits(self, mask: Tensor) -> Tensor:
        return self.decoder(self.encoder(mask)).float()
