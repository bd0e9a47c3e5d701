"""Parts of a scene: what its overlap scores are made of, block by block, so that one scene can be resampled."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segcgan.case import Array
from segcgan.metrics.comparison import Difference
from segcgan.metrics.empty import RIGHTLY_EMPTY
from segcgan.metrics.nearest import band
from segcgan.metrics.pair import band_width
from segcgan.metrics.statistics import RESAMPLES, interval

SIDE = 64  # pixels
COUNTS = ("both", "sizes", "band_both", "band_either")
_AT_ONCE = 200  # resamples: their weights are an array of that many times the number of blocks


@dataclass(frozen=True)
class Block:
    """Pixel counts of one variant and class in a block; their sums over a case give its scores."""

    case: str
    variant: str
    class_name: str
    row: int  # of the first pixel
    column: int
    both: int  # pixels of reference and prediction
    sizes: int  # pixels of the reference plus pixels of the prediction
    band_both: int  # pixels of both boundary bands
    band_either: int

    @property
    def key(self) -> tuple[str, str, str, int, int]:
        """What makes a block unique: one of a case scored twice (DDP pads its last batch) counts once."""
        return self.case, self.variant, self.class_name, self.row, self.column


def score_blocks(
    case: str, masks: dict[str, Array], names: Sequence[str], known: Array, spacing: Sequence[float], distance: float
) -> list[Block]:
    """Count pixels of every variant block by block; a block with neither reference nor prediction is left out.

    Args:
        case: its name.
        masks: class indices (D, H, W): "reference" and the variants. A volume (D > 1) gives no blocks.
        names: of all classes, the background first.
        known: bool (D, H, W); where False there is neither reference nor prediction.
        spacing: (D, H, W) of a pixel.
        distance: width of the boundary band in the unit of ``spacing``.
    """
    reference, found = masks["reference"], []
    if reference.shape[0] > 1:
        return []
    width, plane = band_width(tuple(spacing), distance), tuple(spacing)[1:]
    for index, name in list(enumerate(names))[1:]:
        truth = ((reference == index) & known)[0]
        rim = band(truth, plane, width)
        for variant in (variant for variant in masks if variant != "reference"):
            guess = ((masks[variant] == index) & known)[0]
            edge = band(guess, plane, width)
            layers = truth & guess, truth.astype(np.int64) + guess, rim & edge, rim | edge
            sums = [_sums(layer) for layer in layers]
            for i, j in np.argwhere(sums[1]):
                counts = (int(each[i, j]) for each in sums)
                found.append(Block(case, variant, name, int(i) * SIDE, int(j) * SIDE, *counts))
    return found


def _sums(layer: Array) -> Array:
    """Sums (⌈H/64⌉, ⌈W/64⌉) over blocks; those at the far edges may be smaller."""
    rows = np.add.reduceat(layer.astype(np.int64), np.arange(0, layer.shape[0], SIDE), axis=0)
    sums: Array = np.add.reduceat(rows, np.arange(0, layer.shape[1], SIDE), axis=1)
    return sums


def block_differences(
    first: Sequence[Sequence[Block]],
    second: Sequence[Sequence[Block]],
    variants: Sequence[str],
    seed: int = 0,
    empty: float = RIGHTLY_EMPTY,
) -> list[Difference]:
    """Compare Dice, IoU and Boundary IoU, pooled over all pixels, with blocks resampled (a ratio of sums each time).

    Args:
        first: blocks of A, of one run or of several that differ in their seed.
        second: of B.
        variants: the masks of A and of B.
        seed: of the resampling.
        empty: score of a class that neither the reference nor the mask shows, of what is drawn; NaN leaves it out.

    Returns:
        a difference per score, whose ``groups`` are blocks; nothing where one side has no blocks.
    """
    sides = [
        [{each.key: each for each in run if each.variant == variant} for run in runs]
        for runs, variant in zip((first, second), variants, strict=True)
    ]
    if not all(table for side in sides for table in side):
        return []
    each = [block for side in sides for table in side for block in table.values()]
    places = sorted({(b.case, b.row, b.column) for b in each})
    names = sorted({b.class_name for b in each})
    at, of = {place: i for i, place in enumerate(places)}, {name: i for i, name in enumerate(names)}
    counts = []
    for side in sides:
        table = np.zeros((len(places), len(side), len(names), len(COUNTS)))
        for run, blocks in enumerate(side):
            for part in blocks.values():
                place = at[part.case, part.row, part.column]
                table[place, run, of[part.class_name]] = [getattr(part, name) for name in COUNTS]
        counts.append(table)
    cases = len({case for case, *_ in places})
    centre = [_scores(table.sum(0)[None], empty) for table in counts]
    drawn = _resampled(counts, np.random.default_rng(seed), empty) if len(places) > 1 else None
    found = []
    for index, score in enumerate(("dice", "iou", "boundary_iou")):
        a, b = _paired(centre[0][index], centre[1][index])
        low = high = p = float("nan")
        if drawn is not None and len(drawn[index]):  # none are drawn where the two sides share no class with a score
            low, high, p = interval(drawn[index], len(places))
        found.append(
            Difference(score, float(a[0]), float(b[0]), float(b[0] - a[0]), low, high, p, p, cases, len(places))
        )
    return found


def _resampled(counts: list[Array], rng: np.random.Generator, empty: float) -> list[Array]:
    """Differences (3 scores) × (resamples,), blocks drawn with replacement and the same ones for both sides."""
    size, found = len(counts[0]), []
    for _ in range(0, RESAMPLES, _AT_ONCE):
        weights = rng.multinomial(size, np.full(size, 1 / size), size=_AT_ONCE).astype(float)
        sides = [_scores(np.tensordot(weights, table, 1), empty) for table in counts]
        pairs = [_paired(a, b) for a, b in zip(*sides, strict=True)]
        found.append([b - a for a, b in pairs])
    return [np.concatenate(parts)[np.isfinite(np.concatenate(parts))] for parts in zip(*found, strict=True)]


def _scores(sums: Array, empty: float) -> list[Array]:
    """Dice, IoU and Boundary IoU (R, K), averaged over runs, from counts (R, runs, K, 4)."""
    both, sizes, band_both, band_either = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where empty masks have no score
        ratios = 2 * both / sizes, both / (sizes - both), band_both / band_either
        return [np.nanmean(np.where(sizes > 0, ratio, empty), axis=1) for ratio in ratios]


def _paired(a: Array, b: Array) -> tuple[Array, Array]:
    """Means (R,) over the classes that both sides have."""
    known = np.isfinite(a) & np.isfinite(b)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmean(np.where(known, a, np.nan), 1), np.nanmean(np.where(known, b, np.nan), 1)
