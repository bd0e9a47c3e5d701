"""What training images were like, so that one that is quite different is said to be."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from segcgan.case import Array, Case, Window
from segcgan.data.normalisation import Normalisation

_CASES = 64  # looked at when fitting
_SLICES = 5
_PLANE = 1024**2  # pixels of a slice that are read at once; of a larger one nine windows are
_WINDOW = 192
_FACTOR = 8  # pixels larger or smaller than any in training by this are far
_SHOWN = 3  # channels
_MILLIMETRES = {"mm": 1.0, "m": 1000.0}


@dataclass(frozen=True)
class Profile:
    """Values and pixel sizes of training images, per channel over the cases.

    Args:
        low: smallest and largest 1st percentile.
        high: smallest and largest 99th percentile.
        spread: smallest difference of the two.
        size: smallest and largest pixel in millimetres; None where files know none.
        resampled: images are resampled to one pixel size, so that finer ones do not matter.
        cut: the values are those of a normalisation, which images may go beyond.
    """

    low: list[list[float]]
    high: list[list[float]]
    spread: list[float]
    size: list[float] | None = None
    resampled: bool = False
    cut: bool = False

    @classmethod
    def fit(cls, cases: Sequence[Case], resampled: bool) -> "Profile | None":
        """Look at up to 64 training cases, a few windows each; None where none holds a valid pixel."""
        step = max(1, len(cases) // _CASES)
        ranges = [found for case in cases[::step] if (found := _range(case)) is not None]
        if not ranges:
            return None
        values = np.stack(ranges)  # (cases, 2, channels)
        sizes = [size for case in cases if (size := _size(case)) is not None]
        return cls(
            low=np.stack([values[:, 0].min(0), values[:, 0].max(0)], axis=1).tolist(),
            high=np.stack([values[:, 1].min(0), values[:, 1].max(0)], axis=1).tolist(),
            spread=(values[:, 1] - values[:, 0]).min(0).tolist(),
            size=[min(sizes), max(sizes)] if sizes else None,
            resampled=resampled,
        )

    @classmethod
    def of_range(cls, normalisation: Normalisation) -> "Profile":
        """Return what the range of a normalisation says of training images.

        It is that of no single image (and may be a window of HU), so that only values far from it can be told.
        """
        low, high = (bound.double().tolist() for bound in (normalisation.low, normalisation.high))
        pairs = list(zip(low, high, strict=True))
        return cls(
            low=[[least, most] for least, most in pairs],
            high=[[least, most] for least, most in pairs],
            spread=[(most - least) / 50 for least, most in pairs],
            cut=True,
        )

    def facts(self) -> dict[str, Any]:
        """Return what the constructor takes, as plain values."""
        return asdict(self)

    def differences(self, case: Case) -> list[str]:
        """Return how far a case is from the training images, in words; nothing where it is alike.

        Values are far when they lie outside those of all training images, span less than a twentieth of any, reach
        above all by ten times their range or below by twice, or begin or end half of that range inside of any.
        """
        found = _range(case) if case.channels == len(self.low) else None  # others are refused elsewhere
        told = [] if found is None else [self._values(found)]
        return [text for text in [*told, self._pixels(_size(case))] if text]

    def _values(self, found: Array) -> str:
        far = []
        for channel, ((least, most), low, high) in enumerate(zip(found.T, self.low, self.high, strict=True)):
            whole = high[1] - low[0]
            outside = least > high[1] or most < low[0]
            flat = most - least < self.spread[channel] / 20
            below = low[0] - (10 if self.cut else 2) * whole  # less than above, where clouds and metal are
            beyond = most > high[1] + 10 * whole or least < below
            shifted = least > low[1] + whole / 2 or most < high[0] - whole / 2
            if outside or flat or beyond or shifted:
                name = f"channel {channel + 1} " if len(self.low) > 1 else ""
                far.append(f"{name}{_span(least, most)}, trained on {_span(low[0], high[1])}")
        more = f" and {len(far) - _SHOWN} channels more" if len(far) > _SHOWN else ""
        return f"values unlike those of training: {'; '.join(far[:_SHOWN])}{more}" if far else ""

    def _pixels(self, size: float | None) -> str:
        if size is None or self.size is None:
            return ""
        fine, coarse = self.size
        if size <= coarse * _FACTOR and (self.resampled or size >= fine / _FACTOR):
            return ""
        usual = _length(fine) if _length(fine) == _length(coarse) else f"{_length(fine)} to {_length(coarse)}"
        return f"pixels of {_length(size)}, trained on {usual}"


def _range(case: Case) -> Array | None:
    """Return the 1st and the 99th percentile per channel, (2, channels), of a few windows; None if all is invalid."""
    samples = []
    for window in _windows(case):
        image, valid = case.read(window)
        samples.append(image[:, valid[0]])
    values = np.concatenate(samples, axis=1)
    return np.percentile(values.astype(np.float64), (1, 99), axis=1) if values.shape[1] else None


def _windows(case: Case) -> Iterator[Window]:
    depth, height, width = case.shape
    for z in np.unique((np.linspace(0.1, 0.9, _SLICES) * (depth - 1)).round().astype(int)).tolist():
        if height * width <= _PLANE:
            yield slice(z, z + 1), slice(0, height), slice(0, width)
            continue
        for y, x in np.ndindex(3, 3):
            top, left = ((max(0, n - _WINDOW) * part) // 2 for n, part in ((height, y), (width, x)))
            yield slice(z, z + 1), slice(top, min(top + _WINDOW, height)), slice(left, min(left + _WINDOW, width))


def _size(case: Case) -> float | None:
    """Return the mean side of a pixel in millimetres; None where the file knows none."""
    factor = _MILLIMETRES.get(case.geometry.unit)
    return None if factor is None else float(np.mean(case.geometry.spacing[1:])) * factor


def _span(low: float, high: float) -> str:
    return "–".join(f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}" for value in (low, high))


def _length(millimetres: float) -> str:
    for unit, factor in (("km", 1e6), ("m", 1e3)):
        if millimetres >= factor:
            return f"{millimetres / factor:.3g} {unit}"
    return f"{millimetres:.3g} mm"
