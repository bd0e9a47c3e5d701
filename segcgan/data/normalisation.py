"""Intensity normalisation, fitted on training data and stored with the weights."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from segcgan.case import Case
from segcgan.errors import SegcganError

_WINDOWS_PER_FIT = 64
_WINDOW = 256  # pixels


class Normalisation(nn.Module):
    """Clip each channel, subtract the mean, divide by the deviation; invalid pixels become 0.

    Args:
        channels: C of the files (2.5-D context shares the statistics of its channel).
    """

    low: Tensor
    high: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name, value in (("low", -1.0), ("high", 1.0), ("mean", 0.0), ("std", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))

    def forward(self, image: Tensor, valid: Tensor) -> Tensor:
        """Normalise.

        Args:
            image: (..., C, D, H, W) raw values.
            valid: (..., 1, D, H, W) bool.
        """
        low, high, mean, std = (b.view(-1, 1, 1, 1) for b in (self.low, self.high, self.mean, self.std))
        return ((image.clamp(low, high) - mean) / std) * valid


def fit_normalisation(
    cases: Sequence[Case], clip: list[float] | None, percentiles: list[float], seed: int
) -> Normalisation:
    """Fit on valid pixels of training windows drawn at random, at most 64 of 256 x 256.

    Args:
        cases: for training.
        clip: fixed [low, high] of all channels (a CT window in HU); None = per-channel percentiles.
        percentiles: [low, high] in percent, used without ``clip``.
        seed: of the draw.

    Raises:
        SegcganError: no valid pixel was found, the cases differ in their number of channels, or a range is empty.
    """
    for name, bounds in (("clip", clip), ("percentiles", percentiles)):
        if bounds is not None and (len(bounds) != 2 or not bounds[0] < bounds[1]):
            raise SegcganError(f"data.intensity.{name} is {bounds}; give [low, high] with low below high")
    if not 0 <= percentiles[0] <= percentiles[1] <= 100:
        raise SegcganError(f"data.intensity.percentiles is {percentiles}; they lie between 0 and 100")
    check_channels(cases)
    channels = cases[0].channels
    rng = np.random.default_rng(seed)
    samples = []
    for index in rng.integers(len(cases), size=_WINDOWS_PER_FIT):
        case = cases[index]
        z = int(rng.integers(case.shape[0]))
        y, x = (int(rng.integers(max(1, n - _WINDOW + 1))) for n in case.shape[1:])
        image, valid = case.read((slice(z, z + 1), slice(y, y + _WINDOW), slice(x, x + _WINDOW)))
        samples.append(image[:, valid[0]])
    values = np.concatenate(samples, axis=1).astype(np.float64)
    if values.shape[1] == 0:
        raise SegcganError(f"no valid pixel in {_WINDOWS_PER_FIT} windows of the training cases; is nodata right?")
    low, high = np.tile(clip, (channels, 1)).T if clip else np.percentile(values, percentiles, axis=1)
    high = np.maximum(high, low + 1e-6)
    values = values.clip(low[:, None], high[:, None])
    fitted = Normalisation(channels)
    statistics = {"low": low, "high": high, "mean": values.mean(1), "std": np.maximum(values.std(1), 1e-6)}
    fitted.load_state_dict({name: torch.from_numpy(np.asarray(v, np.float32)) for name, v in statistics.items()})
    return fitted


def check_channels(cases: Sequence[Case]) -> None:
    """Raise SegcganError if cases differ in their number of channels."""
    first = cases[0]
    for case in cases:
        if case.channels != first.channels:
            counts = f"{case.path} has {case.channels} channel(s) but {first.path} has {first.channels}"
            raise SegcganError(f"{counts}; train on one kind")
