"""Noise that does not care how an image was cut into windows.

Every value is a hash of (seed, sample, key, absolute position), so two windows that overlap see the same field and a
rerun repeats it exactly. Counter-based generation after Salmon et al., "Parallel random numbers: as easy as 1, 2, 3"
(SC 2011), with the SplitMix64 finaliser.
"""

import zlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segcgan.batch import Batch

_SLICES = 20  # bits of a key that count the slices of a case
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def case_key(name: str, z: int) -> int:
    """Return the key of a slice of a case for :class:`segcgan.batch.Batch`."""
    return zlib.crc32(name.encode()) << _SLICES | z


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _combine(state: NDArray[np.uint64], value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        return _mix(state * _GOLDEN + value)


def _as_uint64(values: object) -> NDArray[np.uint64]:
    return np.asarray(values, dtype=np.int64).view(np.uint64)


@dataclass
class Noise:
    """Noise for the windows of one batch.

    Args:
        seed: of the whole prediction or training step.
        sample: index of the sample drawn.
        batch: gives key, origin and device.
    """

    seed: int
    sample: int
    batch: Batch

    def normal(self, key: str, channels: int, size: tuple[int, ...], stride: int = 1) -> Tensor:
        """Return standard normal noise (B, channels, *size) for a feature map at ``1 / stride`` resolution.

        The stride is not part of the hash: use another ``key`` at every resolution.

        Raises:
            ValueError: a window does not start at a multiple of ``stride``.
        """
        origin = self.batch.origin.cpu().numpy()
        if (origin % stride).any():
            msg = f"windows start at {origin.tolist()}, which is not a multiple of the noise stride {stride}"
            raise ValueError(msg)
        axes = []
        for dim, length in enumerate(size):
            position = origin[:, dim, None] // stride + np.arange(length)
            shape = [len(origin), 1] + [length if d == dim else 1 for d in range(len(size))]
            axes.append(_as_uint64(position).reshape(shape))
        return self._field(key, channels, self.batch.key, axes)

    def per_case(self, key: str, channels: int) -> Tensor:
        """Return standard normal noise (B, channels): one draw for a whole case, whatever the window or slice."""
        return self._field(key, channels, self.batch.key >> _SLICES, [])

    def _field(self, key: str, channels: int, keys: Tensor, axes: list[NDArray[np.uint64]]) -> Tensor:
        dims = len(axes)
        shape = (-1, *([1] * (dims + 1)))
        state = _combine(_as_uint64([self.seed]), _as_uint64([self.sample]))
        state = _combine(state, _as_uint64([zlib.crc32(key.encode())]))
        state = _combine(state, _as_uint64(keys.cpu().numpy())).reshape(shape)
        state = _combine(state, _as_uint64(np.arange(channels)).reshape(1, -1, *([1] * dims)))
        for axis in axes:
            state = _combine(state, axis)
        bits = [_mix(state + np.uint64(salt)) >> np.uint64(11) for salt in (1, 2)]
        first, second = ((b.astype(np.float64) + 0.5) / 2.0**53 for b in bits)
        field = np.sqrt(-2 * np.log(first)) * np.cos(2 * np.pi * second)  # Box-Muller
        return torch.from_numpy(field.astype(np.float32)).to(self.batch.image.device)
