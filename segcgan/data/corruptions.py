"""Corruptions: turn a reference mask into a coarse mask such as a segmenter would draw."""

from collections.abc import Sequence
from dataclasses import dataclass

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

    An error of 3 px is a boundary error of a large object and the loss of a small one. So ``boundary`` is at most
    ``share`` of an object's radius (that of the largest disc inside: half the width of a road), and ``soften`` shrinks
    with it, object by object. ``smooth`` and the step of a low resolution go by the largest object of the mask. Objects
    of radius ``boundary / share`` or more, 12 px, meet the sizes as they are given.

    Each call draws a severity between 0 and 2 that scales ``boundary``, ``soften``, ``drop`` and ``add``; their
    values are those at severity 1, the mean.

    Args:
        boundary: standard deviation of the boundary's displacement.
        smooth: distance over which the displacement changes.
        drop: probability that a component is lost.
        add: probability of a false blob.
        soften: width of the blur between the classes; 0 gives one-hot masks.
        lowres: probability that the mask passes through 1/2 to 1/4 of its resolution.
        share: largest ``boundary`` of an object, as a share of its radius.

    Raises:
        SegcganError: a probability is outside [0, 1], a size is negative, ``smooth`` or ``share`` is not positive.
    """

    def __init__(
        self,
        boundary: float = 3.0,
        smooth: float = 8.0,
        drop: float = 0.1,
        add: float = 0.1,
        soften: float = 1.5,
        lowres: float = 0.2,
        share: float = 0.25,
    ) -> None:
        for name, chance in (("drop", drop), ("add", add), ("lowres", lowres)):
            if not 0 <= chance <= 1:
                raise SegcganError(f"corruption.{name} is {chance}; it must lie between 0 and 1: set it so")
        for name, size in (("boundary", boundary), ("soften", soften)):
            if size < 0:
                raise SegcganError(f"corruption.{name} is {size}; it must not be negative: set 0 px or more")
        if smooth <= 0:
            raise SegcganError(f"corruption.smooth is {smooth}; it must be positive: set about 8 px")
        if not share > 0:
            raise SegcganError(f"corruption.share is {share}; it must be positive: set about 0.25 of the radius")
        self.boundary, self.smooth = boundary, smooth
        self.drop, self.add = drop, add
        self.soften, self.lowres = soften, lowres
        self.share = share

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
        boundary = _Boundary.of(labels)
        probability = self._move_boundaries(rng, labels, classes, severity, boundary)
        if rng.random() < self.lowres:
            step = int(min(float(rng.integers(2, 5)), boundary.largest / 2))  # two samples per radius find an object
            probability = _through_low_resolution(probability, step) if step > 1 else probability
        return probability

    def _scale(self, radius: Array | float) -> Array:
        """Return by how much the sizes shrink at objects of such a radius."""
        if not self.boundary:
            return np.ones_like(radius, dtype=np.float32)
        return np.minimum(1, np.asarray(radius, np.float32) * np.float32(self.share / self.boundary))

    def _drop_components(self, rng: np.random.Generator, labels: Array, chance: float) -> None:
        from scipy import ndimage  # slow to import

        for index in np.unique(labels[labels > 0]):
            components, count = ndimage.label(labels == index)
            lost = np.concatenate([[False], rng.random(count) < chance])
            labels[lost[components]] = 0

    def _move_boundaries(
        self, rng: np.random.Generator, labels: Array, classes: int, severity: float, boundary: "_Boundary"
    ) -> Array:
        distance = boundary.distance
        other = boundary.other
        smooth = min(self.smooth, max(1.0, self.smooth * float(self._scale(boundary.largest))))
        # A product of two fields has heavy tails (mostly accurate, here and there far off); the constant part
        # makes some masks too large or too small as a whole. Variances add up to 1, halved as two classes meet.
        leak = 0.9 * _smooth_noise(rng, labels.shape, 3 * smooth)
        shift = np.zeros(labels.shape, np.float32)  # how far the other side reaches beyond the boundary
        for index in range(classes):
            field = leak * _smooth_noise(rng, labels.shape, smooth) + np.float32(0.44 * rng.standard_normal())
            shift += field * ((other == index).astype(np.float32) - (labels == index))
        scale = self._scale(boundary.radius)
        reach = shift * (np.float32(self.boundary * severity / np.sqrt(2)) * scale) - distance
        # logistic of width w ≈ normal of sigma 1.7 w
        width = np.maximum(np.float32(self.soften * severity / 1.7) * scale, np.float32(1e-6))
        moved = 1 / (1 + np.exp(np.clip(-reach / width, -60, 60)))
        if not self.soften:
            moved = np.round(moved)
        probability = np.empty((classes, *labels.shape), np.float32)
        for index in range(classes):
            probability[index] = np.where(labels == index, 1 - moved, np.where(other == index, moved, 0))
        return probability


def blend(rng: np.random.Generator, masks: Sequence[Array]) -> Array:
    """Average the corrupted masks of several raters at random weights, evenly drawn (Dirichlet, all parameters 1).

    Their plain mean is at 1/4, 2/4 … where 1, 2 … of four raters marked a pixel: a refiner would only have to read that
    level to know what share of them to draw, which no segmenter's probability is exact enough for.

    Args:
        rng: gives the weights.
        masks: probabilities (K, H, W) float32, one array per rater.
    """
    weights = rng.dirichlet(np.ones(len(masks))).astype(np.float32)
    return np.asarray(sum(weight * mask for weight, mask in zip(weights, masks, strict=True)))


@dataclass(frozen=True)
class _Boundary:
    """Where the classes of a mask (H, W) meet.

    Args:
        distance: (H, W) float32, from each pixel to the nearest boundary; infinite in a mask without one.
        other: (H, W), the class on the other side of it.
        radius: (H, W) float32, of the smaller of the objects that meet there; infinite where none does.
        largest: radius of the largest object; infinite if there is none.
    """

    distance: Array
    other: Array
    radius: Array
    largest: float

    @classmethod
    def of(cls, labels: Array) -> "_Boundary":
        """Find the boundaries; one distance transform serves any number of classes and objects."""
        from scipy import ndimage  # slow to import

        other = _across(labels, labels)
        edge = other != labels
        if not edge.any():
            nowhere = np.full(labels.shape, np.inf, np.float32)
            return cls(nowhere, (labels == 0).astype(labels.dtype), nowhere, np.inf)
        found, (rows, columns) = ndimage.distance_transform_edt(~edge, return_indices=True)
        distance = found.astype(np.float32) + np.float32(0.5)
        radius = _radii(labels, distance)
        objects = radius[np.isfinite(radius)]
        met = np.minimum(radius, _across(labels, radius))
        return cls(distance, other[rows, columns], met[rows, columns], float(objects.max()) if len(objects) else np.inf)


def _across(labels: Array, values: Array) -> Array:
    """Return (H, W) values, at pixels beside another class those of a neighbour of that class."""
    found = values.copy()
    for axis in (0, 1):
        first, second = np.moveaxis(labels, axis, 0)[:-1], np.moveaxis(labels, axis, 0)[1:]
        before, after = np.moveaxis(values, axis, 0)[:-1], np.moveaxis(values, axis, 0)[1:]
        differs = first != second
        view = np.moveaxis(found, axis, 0)
        np.copyto(view[:-1], after, where=differs)
        np.copyto(view[1:], before, where=differs)
    return found


def _radii(labels: Array, distance: Array) -> Array:
    """Return (H, W) float32 the radius of the largest disc inside the object of each pixel; infinite in no object."""
    from scipy import ndimage  # slow to import

    radius = np.full(labels.shape, np.inf, np.float32)
    for index in np.unique(labels[labels > 0]):
        components, count = ndimage.label(labels == index)
        largest = np.concatenate([[np.inf], ndimage.maximum(distance, components, np.arange(1, count + 1))])
        radius = np.where(components > 0, largest.astype(np.float32)[components], radius)
    return radius


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
