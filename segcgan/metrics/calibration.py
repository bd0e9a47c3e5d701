"""Whether a probability means what it says: reliability, Brier score, log-likelihood, and a temperature that mends it.

Everything is read off sums that may be added up over windows and cases, so nothing is kept per pixel.
"""

from dataclasses import dataclass

import numpy as np

from segcgan.case import IGNORE, Array
from segcgan.errors import SegcganError

LEVELS = 254  # a stored probability is a multiple of 1/254; 255 says that there is none
CONVENTION = (
    "expected calibration error of the most likely class in bins of equal width, closed below, weighted by pixels "
    "(Guo 2017); Brier score summed over classes; negative log-likelihood in nats; means over all pixels of all cases"
)

_CHUNK = 1 << 20  # pixels


@dataclass(frozen=True, eq=False)
class Calibration:
    """Sums over pixels; records of several cases may be added up.

    The arrays have a row per class (one against the rest), and a last row for the most likely class.
    """

    counts: Array  # (K + 1, bins) int64: pixels
    confidence: Array  # (K + 1, bins) float64: sum of the probability
    hits: Array  # (K + 1, bins) int64: pixels of which it is the class
    squares: float  # sum over pixels and classes of the squared error
    surprise: float  # sum over pixels of −log p(reference class), nats

    def __add__(self, other: "Calibration | int") -> "Calibration":
        if isinstance(other, int):  # where sum() starts
            return self
        if other.counts.shape != self.counts.shape:
            mine, its = (tuple(each.counts.shape) for each in (self, other))
            raise SegcganError(f"calibrations of shape {mine} and {its} do not add up; take the same classes and bins")
        return Calibration(
            self.counts + other.counts,
            self.confidence + other.confidence,
            self.hits + other.hits,
            self.squares + other.squares,
            self.surprise + other.surprise,
        )

    __radd__ = __add__

    @property
    def pixels(self) -> int:
        """Number of pixels scored."""
        return int(self.counts[-1].sum())

    @property
    def bins(self) -> int:
        """Number of bins of equal width between 0 and 1."""
        return int(self.counts.shape[1])

    def ece(self, index: int = -1) -> float:
        """Return the expected calibration error: the mean of |frequency − confidence| over bins, by pixels.

        Args:
            index: of a class against the rest; −1 for the most likely class, whichever it is (Guo et al. 2017,
                arXiv:1706.04599).

        Returns:
            0 to 1; NaN when no pixel was scored.
        """
        gaps = np.abs(self.hits[index] - self.confidence[index])
        return float(gaps.sum() / self.pixels) if self.pixels else float("nan")

    def mce(self, index: int = -1) -> float:
        """Return the maximum calibration error: the largest gap of a bin that holds pixels; NaN when none does."""
        held = self.counts[index] > 0
        gaps = np.abs(self.hits[index] - self.confidence[index])[held] / self.counts[index][held]
        return float(gaps.max()) if gaps.size else float("nan")

    @property
    def brier(self) -> float:
        """Brier score: the squared error summed over classes, mean over pixels, 0 to 2; NaN without pixels."""
        return self.squares / self.pixels if self.pixels else float("nan")

    @property
    def nll(self) -> float:
        """Negative log-likelihood of the reference, nats per pixel; NaN without pixels."""
        return self.surprise / self.pixels if self.pixels else float("nan")


def calibrate(reference: Array, probability: Array, valid: Array | None = None, bins: int = 15) -> Calibration:
    """Compare the probabilities of one case with its reference.

    Args:
        reference: class indices, any shape; ``IGNORE`` (255) does not count.
        probability: (K, \\*shape): uint8 in steps of 1/254 with 255 = none, or floating, 0 to 1. Bins are closed
            below, the last one on both sides. A probability of 0 for the class that is there counts as half a
            step (1/508) in the log-likelihood, a floating one as 1e-12: else one pixel would make it infinite.
        valid: bool, shaped like the reference; where False nothing counts.
        bins: number of bins of equal width.

    Returns:
        sums that may be added up.

    Raises:
        SegcganError: shapes that do not fit, a class without probability, or values that are none.
    """
    _check(reference, probability, valid, bins)
    quantised = probability.dtype == np.uint8
    known = reference != IGNORE if valid is None else (reference != IGNORE) & valid.astype(bool)
    truth, known, flat = reference.ravel(), known.ravel(), probability.reshape(len(probability), -1)
    total = _none(len(flat), bins)
    for start in range(0, truth.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        use = known[part] & (flat[:, part] != 255).all(axis=0) if quantised else known[part]
        labels, values = truth[part], flat[:, part]
        if not use.all():
            labels, values = labels[use], values[:, use]
        if labels.size and not 0 <= labels.min() <= labels.max() < len(flat):
            raise SegcganError(
                f"the reference holds class {labels.max()}, but there are probabilities of {len(flat)} classes; "
                f"mark such pixels {IGNORE} in the reference or as invalid"
            )
        if not quantised and labels.size and not (values.min() >= 0 and values.max() <= 1 + 1e-6):
            raise SegcganError(
                f"probabilities lie between {values.min():g} and {values.max():g}, but must between 0 and 1; "
                "give the softmax of the logits, without NaN"
            )
        total = total + _sums(labels, values, bins)
    return total


def fit_temperature(log_probability: Array, reference: Array, weight: Array | None = None) -> float:
    """Find the temperature T for which softmax(log p / T) fits the reference best (Guo et al. 2017).

    Fit it on cases that serve nothing else: not those that trained the network, chose its epoch or are scored.

    Args:
        log_probability: (N, K) logits or log-probabilities of pixels: all, a sample, or centres of bins.
        reference: (N,) class indices, none of them ignored.
        weight: (N,) how often each counts, as for bins; None for once each.

    Returns:
        T between 0.05 and 20, over 1 where the network is too sure; the lower end where it is never wrong.

    Raises:
        SegcganError: shapes that do not fit, nothing to fit on, or values that are not finite.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    logits, labels = np.asarray(log_probability, float), np.asarray(reference).astype(np.intp)
    weights = np.ones(len(labels)) if weight is None else np.asarray(weight, float)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or weights.shape != labels.shape:
        shapes = f"log-probabilities of shape {logits.shape} do not fit a reference of shape {labels.shape}"
        raise SegcganError(f"{shapes}; give (N, K) and (N,)")
    if not weights.sum() > 0 or not np.isfinite(logits).all():
        msg = "a temperature needs pixels with finite log-probabilities; clip probabilities of 0 before the logarithm"
        raise SegcganError(msg if labels.size else "there is no pixel to fit a temperature on; give validation cases")
    if not 0 <= labels.min() <= labels.max() < logits.shape[1]:
        msg = f"the reference holds class {labels.max()} of {logits.shape[1]}; leave ignored pixels out"
        raise SegcganError(msg)
    chosen = logits[np.arange(len(labels)), labels]

    def loss(log_temperature: float) -> float:
        sharpness = np.exp(-log_temperature)
        return float(np.average(logsumexp(logits * sharpness, axis=1) - chosen * sharpness, weights=weights))

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def _check(reference: Array, probability: Array, valid: Array | None, bins: int) -> None:
    if probability.ndim < 1 or probability.shape[1:] != reference.shape:
        shapes = f"probabilities of shape {probability.shape} do not fit a reference of shape {reference.shape}"
        raise SegcganError(f"{shapes}; give one layer (K, *shape) per class")
    if valid is not None and valid.shape != reference.shape:
        msg = f"the validity has shape {valid.shape} but the reference {reference.shape}; bring them to one grid"
        raise SegcganError(msg)
    if probability.dtype != np.uint8 and not np.issubdtype(probability.dtype, np.floating):
        raise SegcganError(f"probabilities are {probability.dtype}; give uint8 in steps of 1/{LEVELS}, or floats")
    if bins < 1:
        raise SegcganError(f"{bins} bins hold nothing; take 10 or 15")


def _none(classes: int, bins: int) -> Calibration:
    shape = classes + 1, bins
    return Calibration(np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape, np.int64), 0.0, 0.0)


def _sums(labels: Array, values: Array, bins: int) -> Calibration:
    """The sums of pixels that all count: labels (N,), values (K, N)."""
    total, squares, surprise = _none(len(values), bins), 0.0, 0.0
    highest, likely = values[0], np.zeros(labels.size, labels.dtype)
    for index in range(1, len(values)):  # argmax along so short an axis takes ten times as long
        likely = np.where(values[index] > highest, labels.dtype.type(index), likely)
        highest = np.maximum(values[index], highest)
    for index in range(len(values) + 1):
        top = index == len(values)
        levels, misses, hits = _tally(highest if top else values[index], labels == (likely if top else index))
        places = np.minimum((levels * bins).astype(np.intp), bins - 1)
        total.counts[index] = np.bincount(places, misses + hits, bins)
        total.confidence[index] = np.bincount(places, (misses + hits) * levels, bins)
        total.hits[index] = np.bincount(places, hits, bins)
        if not top:
            squares += float(misses @ levels**2 + hits @ (1 - levels) ** 2)
            least = 0.5 / LEVELS if values.dtype == np.uint8 else 1e-12
            surprise -= float(hits @ np.log(np.maximum(levels, least)))
    return Calibration(total.counts, total.confidence, total.hits, squares, surprise)


def _tally(values: Array, hit: Array) -> tuple[Array, Array, Array]:
    """Probabilities (M,), and how many pixels of each are not (M,) and are (M,) of the class."""
    if values.dtype == np.uint8:  # counted by level: a hundredth of the arithmetic
        both = np.bincount(values.astype(np.intp) + 256 * hit, minlength=512).reshape(2, 256)[:, : LEVELS + 1]
        return np.arange(LEVELS + 1) / LEVELS, both[0].astype(float), both[1].astype(float)
    return values.astype(float), (~hit).astype(float), hit.astype(float)
