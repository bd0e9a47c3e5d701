"""A proper score of samples: what makes a stochastic refiner's samples as different as the references are."""

import torch
from torch import Tensor


def energy_score(samples: Tensor, reference: Tensor, scored: Tensor) -> Tensor:
    """Energy score of samples of a mask (Gneiting & Raftery, JASA 2007): E‖S − Y‖ − ½ E‖S − S'‖.

    It is least when samples are drawn from the distribution of the references, whole masks and not pixels: the first
    part draws every sample to the reference, the second pushes samples apart. The norm is over all pixels and classes
    of an image, as a root mean square.

    Args:
        samples: (N, B, K, *S) probabilities, N at least 2.
        reference: (B, K, *S) one-hot.
        scored: (B, *S) bool; an image without a scored pixel contributes no slope.

    Returns:
        Scalar: mean over images.
    """
    known = scored[:, None].float()
    count = (known.flatten(1).sum(1) * samples.shape[2]).clamp_min(1)

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return (((a - b) * known).square().flatten(1).sum(1) / count + 1e-8).sqrt()  # the root has no slope at 0

    n = len(samples)
    truth = torch.stack([distance(sample, reference) for sample in samples]).mean(0)
    apart = torch.stack([distance(samples[i], samples[j]) for i in range(n) for j in range(i)]).mean(0)
    return (truth - 0.5 * apart).mean()
