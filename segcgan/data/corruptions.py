"""Corruptions: turn a reference mask into a coarse mask such as a segmenter would draw."""

import numpy as np

from segcgan.case import IGNORE, Array
from segcgan.errors import SegcganError


class Corruption:
    """Draw realistic errors into a reference mask.

    In the manner of the perturbed masks that train CascadePSP (Cheng et al. 2020, arXiv 2005.02551) and
    SegRefiner (Wang et al. 2023, arXiv 2312.12425), but by moving boundaries: a pixel at distance ``d`` from one
    takes the class of the other side where smooth noise exceeds ``d``. So the mask erodes here and dilates there,
    with large errors in few places as real segmenters make them. Whole components are lost, false blobs are
    added, and detail is lost to a low resolution. All sizes are in pixels.

    Each call draws a severity between 0 and 2 that scales ``boundary``, ``soften``, ``drop`` and ``add``; their
    values are those at severity 1, the mean.

    Args:
        boundary: standard deviation of the boundary's displacement.
        smooth: distance over which the displacement changes.
        drop: probability that a component is lost.
        add: probability of a false blob.
        soften: width of the blur between the classes; 0 gives one-hot masks.
        lowres: probability that the mask passes through 1/2 to 1/4 of its resolution.

    Raises:
        SegcganError: a probability is outside [0, 1], a size is negative or ``smooth`` is not positive.
    """

    def __init__(
        self,
        boundary: float = 3.0,
        smooth: float = 8.0,
        drop: float = 0.1,
        add: float = 0.1,
        soften: float = 1.5,
        lowres: float = 0.2,
    ) -> None:
        for name, chance in (("drop", drop), ("add", add), ("lowres", lowres)):
            if not 0 <= chance <= 1:
                raise SegcganError(f"corruption.{name} is {chance}; it must lie between 0 and 1: set it so")
        for name, size in (("boundary", boundary), ("soften", soften)):
            if size < 0:
                raise SegcganError(f"corruption.{name} is {size}; it must not be negative: set 0 px or more")
        if smooth <= 0:
            raise SegcganError(f"corruption.smooth is {smooth}; it must be positive: set about 8 px")
        self.boundary, self.smooth = boundary, smooth
        self.drop, self.add = drop, add
        self.soften, self.lowres = soften, lowres

    def __call__(self, rng: np.random.Generator, target: Array, classes: int) -> Array:
        """Corrupt one mask.

        Args:
            rng: the only source of randomness.
            target: class indices (H, W) uint8; ``IGNORE`` counts as background.
            classes: number of classes K, background included.

        Returns:
            Probabilities (K, H, W) float32 that sum to 1 over the classes.
        """
        severity = rng.uniform(0, 2)
        labels = np.where(target == IGNORE, 0, target)
        self._drop_components(rng, labels, min(1.0, self.drop * severity))
        if rng.random() < self.add * severity:
            _add_blob(rng, labels, classes)
        probability = self._move_boundaries(rng, labels, classes, severity)
        if rng.random() < self.lowres:
            probability = _through_low_resolution(probability, step=int(rng.integers(2, 5)))
        return probability

    def _drop_components(self, rng: np.random.Generator, labels: Array, chance: float) -> None:
        from scipy import ndimage  # slow to import

        for index in np.unique(labels[labels > 0]):
            components, count = ndimage.label(labels == index)
            lost = np.concatenate([[False], rng.random(count) < chance])
            labels[lost[components]] = 0

    def _move_boundaries(self, rng: np.random.Generator, labels: Array, classes: int, severity: float) -> Array:
        distance, other = _nearest_other(labels)
        # A product of two fields has heavy tails (mostly accurate, here and there far off); the constant part
        # makes some masks too large or too small as a whole. Variances add up to 1, halved as two classes meet.
        leak = 0.9 * _smooth_noise(rng, labels.shape, 3 * self.smooth)
        shift = np.zeros(labels.shape, np.float32)  # how far the other side reaches beyond the boundary
        for index in range(classes):
            field = leak * _smooth_noise(rng, labels.shape, self.smooth) + np.float32(0.44 * rng.standard_normal())
            shift += field * ((other == index).astype(np.float32) - (labels == index))
        reach = shift * np.float32(self.boundary * severity / np.sqrt(2)) - distance
        width = max(self.soften * severity / 1.7, 1e-6)  # logistic of width w ≈ normal of sigma 1.7 w
        moved = 1 / (1 + np.exp(np.clip(-reach / np.float32(width), -60, 60)))
        if not self.soften:
            moved = np.round(moved)
        probability = np.empty((classes, *labels.shape), np.float32)
        for index in range(classes):
            probability[index] = np.where(labels == index, 1 - moved, np.where(other == index, moved, 0))
        return probability


def _nearest_other(labels: Array) -> tuple[Array, Array]:
    """Distance (H, W) from each pixel to the nearest boundary, and the class on the other side of it.

    One distance transform serves any number of classes. A mask without a boundary is infinitely far from one.
    """
    from scipy import ndimage  # slow to import

    other = labels.copy()
    for axis in (0, 1):
        first, second = np.moveaxis(labels, axis, 0)[:-1], np.moveaxis(labels, axis, 0)[1:]
        differs, view = first != second, np.moveaxis(other, axis, 0)
        np.copyto(view[:-1], second, where=differs)
        np.copyto(view[1:], first, where=differs)
    edge = other != labels
    if not edge.any():
        return np.full(labels.shape, np.inf, np.float32), (labels == 0).astype(labels.dtype)
    distance, (rows, columns) = ndimage.distance_transform_edt(~edge, return_indices=True)
    return distance.astype(np.float32) + np.float32(0.5), other[rows, columns]


def _add_blob(rng: np.random.Generator, labels: Array, classes: int) -> None:
    """Draw a filled ellipse of a random class into the background, smaller than the average class region."""
    height, width = labels.shape
    present = max(len(np.unique(labels[labels > 0])), 1)
    size = np.sqrt(np.count_nonzero(labels) / present / np.pi) or 0.1 * min(height, width)
    radius, stretch, turn = size * rng.uniform(0.2, 0.6), rng.uniform(1, 2), rng.uniform(0, np.pi)
    row, column = rng.uniform(0, height), rng.uniform(0, width)
    y, x = np.ogrid[:height, :width]
    along = (x - column) * np.cos(turn) + (y - row) * np.sin(turn)
    across = (y - row) * np.cos(turn) - (x - column) * np.sin(turn)
    inside = (along / stretch) ** 2 + (across * stretch) ** 2 <= radius**2
    labels[inside & (labels == 0)] = rng.integers(1, classes)


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], length: float) -> Array:
    """Normal noise of variance 1 at every pixel, correlated over ``length`` pixels, shape (H, W) float32.

    White noise on a coarse grid, interpolated by cubic B-splines. A product with a matrix of weights would be
    shorter, but the threads of the linear algebra library fight for the cores with training: ten times slower.
    """
    step = 1.25 * length  # B-splines on this grid give a correlation of width ``length``
    places = [np.arange(size) / step + rng.random() for size in shape]
    field = rng.standard_normal([int(place[-1]) + 4 for place in places], np.float32)
    for axis, place in enumerate(places):
        low = place.astype(int)
        t = (place - low).astype(np.float32)
        taps = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 1 + 3 * t + 3 * t**2 - 3 * t**3, t**3])
        taps /= np.linalg.norm(taps, axis=0)
        rows = np.moveaxis(field, axis, -1)
        field = np.moveaxis(sum(rows[:, low + k] * tap for k, tap in enumerate(taps)), -1, axis)
    return field


def _through_low_resolution(probability: Array, step: int) -> Array:
    """Sample (K, H, W) every ``step`` pixels and interpolate back linearly; sums over classes stay 1."""
    from scipy import ndimage  # slow to import

    rows, columns = (
        np.minimum(np.arange(size) // step * step + step // 2, size - 1) for size in probability.shape[1:]
    )
    blocks = probability[:, rows[:, None], columns]
    # a box over constant blocks is linear interpolation
    return ndimage.uniform_filter(blocks, (0, step, step), mode="nearest")
