"""Two binary masks prepared once for every score of their boundaries."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from segcgan.case import Array
from segcgan.errors import SegcganError
from segcgan.metrics.empty import RIGHTLY_EMPTY, Status, overlap_where_empty, said
from segcgan.metrics.nearest import ROUNDING, Spacing, band, closest, shell
from segcgan.metrics.overlap import check_shapes
from segcgan.metrics.surfels import surfels

Surface = Literal["voxels", "surfels"]
Combine = Literal["max", "pooled"]


@dataclass(frozen=True)
class Convention:
    """What a surface is made of, how the two directions become one Hausdorff distance, and what an empty mask scores.

    Args:
        surface: ``"voxels"``: the mask minus its erosion by a cross, each counts the same (MONAI, MetricsReloaded,
            MedPy); ``"surfels"``: Nikolov's surface elements with their areas (DeepMind surface-distance).
        combine: ``"max"``: larger of the two directed percentiles (MONAI, MetricsReloaded, DeepMind);
            ``"pooled"``: percentile of both directions together (MedPy, panoptica).
        empty: overlap-like scores of a mask that is rightly empty; NaN = none, so that means leave it out.

    Raises:
        SegcganError: another word, or a score outside 0 to 1.
    """

    surface: Surface = "voxels"
    combine: Combine = "max"
    empty: float = RIGHTLY_EMPTY

    def __post_init__(self) -> None:
        for name, options in (("surface", get_args(Surface)), ("combine", get_args(Combine))):
            value = getattr(self, name)
            if value not in options:
                raise SegcganError(f"{value!r} is no convention of {name}; choose from {', '.join(options)}")
        if self.empty < 0 or self.empty > 1:  # NaN is neither
            msg = f"a rightly empty mask cannot score {self.empty:g}; give 0 to 1, or nan to leave it out of means"
            raise SegcganError(msg)

    def __str__(self) -> str:
        return f"{self.surface}, {self.combine}, {said(self.empty)}"

    @classmethod
    def parse(cls, text: str) -> "Convention":
        """Return the convention that ``str`` wrote (the first of several joined by " / "); the usual one of no text.

        Text of older versions does not say what a rightly empty mask scores: ``settle`` gives it today's score.
        """
        surface, combine, *rest = (text or str(cls())).split(" / ")[0].split(", ")
        empty = float(rest[0].rpartition(" ")[2]) if rest else RIGHTLY_EMPTY
        return cls(surface, combine, empty)  # type: ignore[arg-type]


class MaskPair:
    """A reference and a prediction, cut to their common box; distances are measured on first use and kept.

    Arrays of one slice (1, H, W) are measured as 2-D. Pixels that are not ``valid`` are taken out of both masks
    first, so the rim of a hole in the data becomes a boundary the two masks share. The edge of the image is a
    boundary too, as in all libraries this was compared with.

    Where a mask is empty: overlap-like scores (Boundary IoU, NSD, boundary F) are ``convention.empty`` if both are and
    0 if one is; distances are NaN if both are (there is nothing to measure) and the diagonal of the image if one is (a
    missed organ must not drop out of the mean). Where no pixel is valid there is no score: NaN.

    Args:
        reference: binary mask (H, W) or (D, H, W).
        prediction: binary mask, same shape.
        spacing: size of a pixel along each axis; all distances have its unit.
        convention: what a surface is and how directions are combined.
        valid: bool, same shape; None when all pixels are.

    Raises:
        SegcganError: shapes or number of axes do not match, or spacing is not positive.
    """

    def __init__(
        self,
        reference: Array,
        prediction: Array,
        spacing: Spacing,
        convention: Convention | None = None,
        valid: Array | None = None,
    ) -> None:
        check_shapes(reference, prediction, valid)
        axes = reference.ndim
        if axes not in (2, 3) or len(spacing) != axes or not all(0 < size < np.inf for size in spacing):
            cure = "give one positive size each" if axes in (2, 3) else "give (H, W) or (D, H, W)"
            raise SegcganError(f"spacing {tuple(spacing)} does not fit a mask of {axes} axes; {cure}")
        masks = reference.astype(bool, copy=False), prediction.astype(bool, copy=False)
        if valid is not None:
            masks = masks[0] & valid.astype(bool), masks[1] & valid.astype(bool)
        if axes == 3 and reference.shape[0] == 1:
            masks, spacing = (masks[0][0], masks[1][0]), spacing[1:]
        self.spacing, self.convention = tuple(float(size) for size in spacing), convention or Convention()
        self.diagonal = float(np.linalg.norm(np.multiply(masks[0].shape, self.spacing)))
        box = _box(*masks)
        self.reference, self.prediction = masks[0][box], masks[1][box]
        self.status = status(self.reference, self.prediction)
        self._nothing_valid = valid is not None and not valid.any()

    @cached_property
    def _elements(self) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """For each mask where its surface elements are, and their sizes."""
        padded = np.pad(self.reference, 1), np.pad(self.prediction, 1)
        if self.convention.surface == "surfels":
            return surfels(padded[0], self.spacing), surfels(padded[1], self.spacing)
        edges = shell(padded[0]), shell(padded[1])
        return (edges[0], np.ones(np.count_nonzero(edges[0]))), (edges[1], np.ones(np.count_nonzero(edges[1])))

    @property
    def areas(self) -> tuple[Array, Array]:
        """Size of every surface element of the reference (N,) and of the prediction (M,); 1 for voxels."""
        return self._elements[0][1], self._elements[1][1]

    @cached_property
    def distances(self) -> tuple[Array, Array]:
        """From every surface element of the reference (N,) and of the prediction (M,) to the other surface.

        If one mask is empty, its own list is empty and the other one infinite.
        """
        first, second = (places for places, _ in self._elements)
        return closest(first, second, self.spacing), closest(second, first, self.spacing)

    def hausdorff(self, percentile: float = 100) -> float:
        """Return the Hausdorff distance, or a percentile of it that outliers do not rule.

        Percentiles of voxels are interpolated linearly, those of surfels are the first distance within which that
        share of the area lies, each as the libraries with that kind of surface do it.

        Raises:
            SegcganError: a percentile outside 0 to 100.
        """
        if not 0 < percentile <= 100:
            raise SegcganError(f"percentile {percentile:g} of the distances is not over 0 and up to 100; take 95")
        if self.status != "ok":
            return self._missing_distance
        sides = list(zip(self.distances, self.areas, strict=True))
        if self.convention.combine == "pooled":
            sides = [(np.concatenate(self.distances), np.concatenate(self.areas))]
        if self.convention.surface == "voxels":
            return max(float(np.percentile(lengths, percentile)) for lengths, _ in sides)
        return max(_weighted_percentile(lengths, areas, percentile) for lengths, areas in sides)

    def assd(self) -> float:
        """Return the average symmetric surface distance: the mean over the elements of both surfaces, pooled."""
        if self.status != "ok":
            return self._missing_distance
        return float(np.average(np.concatenate(self.distances), weights=np.concatenate(self.areas)))

    def masd(self) -> float:
        """Return the mean average surface distance: the mean of the two directed means (panoptica's "ASSD")."""
        if self.status != "ok":
            return self._missing_distance
        sides = zip(self.distances, self.areas, strict=True)
        return float(np.mean([np.average(lengths, weights=areas) for lengths, areas in sides]))

    def nsd(self, tolerance: float) -> float:
        """Return the normalised surface distance (surface Dice): the share of both surfaces, pooled, that lies
        within ``tolerance`` of the other one.

        Raises:
            SegcganError: a negative tolerance.
        """
        near, every = self._within(tolerance)
        return self.missing_overlap if self.status != "ok" else sum(near) / sum(every)

    def boundary_f(self, tolerance: float) -> float:
        """Return the F score of the boundary (Csurka et al. 2013): precision is the share of the predicted
        surface within ``tolerance`` of the reference's, recall the other way round.

        Raises:
            SegcganError: a negative tolerance.
        """
        near, every = self._within(tolerance)
        if self.status != "ok":
            return self.missing_overlap
        recall, precision = (part / whole for part, whole in zip(near, every, strict=True))
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0

    def boundary_iou(self, distance: float) -> float:
        """Return the IoU of the inner boundary bands (Cheng et al. 2021), ``band_width`` wide at least.

        Raises:
            SegcganError: ``distance`` is not positive.
        """
        width = band_width(self.spacing, distance)
        if self.status != "ok":
            return self.missing_overlap
        first, second = (band(mask, self.spacing, width) for mask in (self.reference, self.prediction))
        return float(np.count_nonzero(first & second) / np.count_nonzero(first | second))

    def _within(self, tolerance: float) -> tuple[list[float], list[float]]:
        """The size of the surface within the tolerance and of all of it, for reference and prediction."""
        if not tolerance >= 0:
            raise SegcganError(f"the tolerance is {tolerance:g}, but it must not be negative; give it in mm, m or px")
        if self.status != "ok":
            return [], []
        limit = tolerance * (1 + ROUNDING)
        sides = zip(self.distances, self.areas, strict=True)
        return [float(areas[lengths <= limit].sum()) for lengths, areas in sides], [float(a.sum()) for a in self.areas]

    @property
    def _missing_distance(self) -> float:
        return float("nan") if self.status == "both_empty" else self.diagonal

    @property
    def missing_overlap(self) -> float:
        """What overlap-like scores are where at least one mask is empty."""
        return overlap_where_empty("unscored" if self._nothing_valid else self.status, self.convention.empty)


def status(reference: Array, prediction: Array) -> Status:
    """Say which of two binary masks are empty."""
    if reference.any():
        return "ok" if prediction.any() else "pred_empty"
    return "ref_empty" if prediction.any() else "both_empty"


def band_width(spacing: Spacing, distance: float) -> float:
    """Return ``distance``, or the pixel size in the plane if that is larger: a band is one pixel wide at least."""
    if not distance > 0:
        msg = f"the boundary band is {distance:g} wide, but it must be positive; give its width in mm, m or px"
        raise SegcganError(msg)
    return max(distance, *spacing[-2:])


def _weighted_percentile(lengths: Array, areas: Array, percentile: float) -> float:
    order = np.argsort(lengths)
    share = np.cumsum(areas[order]) / areas.sum()
    place = min(int(np.searchsorted(share, percentile / 100)), lengths.size - 1)
    return float(lengths[order[place]])


def _box(*masks: Array) -> tuple[slice, ...]:
    """The smallest box that holds all that is set in any of them; a box of nothing when nothing is."""
    found: list[slice] = []
    for axis in range(masks[0].ndim):
        others = tuple(other for other in range(masks[0].ndim) if other != axis)
        rows = np.flatnonzero(np.any([mask.any(axis=others) for mask in masks], axis=0))
        found.append(slice(int(rows[0]), int(rows[-1]) + 1) if rows.size else slice(0, 0))
        masks = tuple(mask[(slice(None),) * axis + (found[-1],)] for mask in masks)
    return tuple(found)
