"""A distribution over masks, kept as running moments so that its size does not depend on the number of samples."""

import torch
from torch import Tensor


class MaskDistribution:
    """Mean probability, and entropy split into total and expected (Kendall & Gal, NeurIPS 2017).

    Args:
        keep: also keep the logits of every sample, in ``samples``.
    """

    def __init__(self, keep: bool = False) -> None:
        self.count = 0
        self.samples: list[Tensor] | None = [] if keep else None
        self._probability: Tensor | None = None
        self._entropy: Tensor | None = None

    def add(self, logits: Tensor) -> None:
        """Take in one sample of logits (B, K, *S)."""
        p = logits.float().softmax(1)
        entropy = torch.special.entr(p).sum(1)  # 0 where p is 0, also for logits of -inf
        if self._probability is None or self._entropy is None:
            self._probability, self._entropy = p, entropy
        else:
            self._probability, self._entropy = self._probability + p, self._entropy + entropy
        self.count += 1
        if self.samples is not None:
            self.samples.append(logits)

    @property
    def probability(self) -> Tensor:
        """(B, K, *S) mean probability over the samples."""
        if self._probability is None:
            raise ValueError("no sample was added to this mask distribution")
        return self._probability / self.count

    @property
    def logits(self) -> Tensor:
        """(B, K, *S) log of the mean probability."""
        return self.probability.clamp_min(torch.finfo(torch.float32).tiny).log()

    @property
    def entropy(self) -> Tensor:
        """(B, *S) entropy of the mean in nats: total uncertainty."""
        return torch.special.entr(self.probability).sum(1)

    @property
    def mutual_information(self) -> Tensor:
        """(B, *S) in nats: how much the samples disagree; 0 for a single sample."""
        if self._entropy is None:
            raise ValueError("no sample was added to this mask distribution")
        return (self.entropy - self._entropy / self.count).clamp_min(0)
