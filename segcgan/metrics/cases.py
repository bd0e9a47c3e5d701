"""Scores of one case: a row per variant of its mask (coarse, refined, chosen) and foreground class; the CSV."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from segcgan.case import Array, Geometry
from segcgan.classes import ClassSpec
from segcgan.errors import SegcganError
from segcgan.metrics.calibration import Calibration
from segcgan.metrics.overlap import confusion, dice, iou, scored
from segcgan.metrics.pair import Convention, MaskPair, band_width
from segcgan.metrics.skeleton import cldice_of

Tally = TypeVar("Tally", Array, Calibration)


@dataclass(frozen=True)
class Row:
    """How one variant of one case's mask does on one foreground class."""

    case: str
    group: str
    variant: str  # "coarse", "refined", "chosen", …
    class_name: str
    status: str  # "ok", "both_empty", "pred_empty", "ref_empty"
    dice: float  # NaN when both masks are empty, and so are the next two
    iou: float
    boundary_iou: float
    hd95: float  # 0 when both masks are empty, the image diagonal when one is; NaN when not measured
    voxels_reference: int
    voxels_prediction: int
    unit: str  # of distances and band
    band: float  # width of the boundary band, and the tolerance of the next two
    nsd: float = float("nan")  # NaN when both masks are empty or when not measured, and so is the next one
    boundary_f: float = float("nan")
    assd: float = float("nan")  # as hd95
    convention: str = ""  # of hd95, nsd, boundary_f and assd; empty when not measured
    cldice: float = float("nan")  # NaN when both masks are empty or when not measured

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes a row unique: a case scored twice (DDP pads its last batch) counts once."""
        return self.case, self.variant, self.class_name


def score_case(
    name: str,
    masks: dict[str, Array],
    classes: list[ClassSpec],
    geometry: Geometry,
    distance: float,
    *,
    group: str = "",
    valid: Array | None = None,
    measures: Collection[str] = ("distances",),
    convention: Convention | None = None,
) -> tuple[list[Row], dict[str, Array]]:
    """Score every variant of a case's mask against its reference.

    Args:
        name: of the case.
        masks: class indices (D, H, W): ``"reference"`` and the variants, in the order tables show them.
        classes: all classes, index 0 is the background.
        geometry: of the case: spacing and its unit.
        distance: boundary band and tolerance in that unit; one pixel in the plane if that is larger.
        group: patient or scene; the case itself if empty.
        valid: bool, shaped like the masks; what is invalid or ignored in the reference counts nowhere.
        measures: "distances" between surfaces (HD95, ASSD, NSD, boundary F), "centreline" (clDice); NaN if left out.
        convention: of distances; as it stands boundary voxels, and the larger of the directed percentiles.

    Returns:
        rows, and for each variant its confusion matrix (K, K) with reference classes as rows.

    Raises:
        SegcganError: no reference, shapes that differ, or a class outside the list.
    """
    if "reference" not in masks:
        raise SegcganError(f"case {name!r} has no reference mask, so it has no score; give one in the manifest")
    reference, band = masks["reference"], band_width(geometry.spacing, distance)
    rows, counts = [], {}
    for variant, mask in masks.items():
        if variant == "reference":
            continue
        counts[variant] = confusion(reference, mask, len(classes), valid)
        known = scored(reference, mask, valid)
        overlap = dice(counts[variant]), iou(counts[variant])
        for index, spec in list(enumerate(classes))[1:]:
            truth, guess = (reference == index) & known, (mask == index) & known
            pair = MaskPair(truth, guess, geometry.spacing, convention)
            rows.append(Row(
                case=name,
                group=group or name,
                variant=variant,
                class_name=spec.name,
                status=pair.status,
                dice=float(overlap[0][index]),
                iou=float(overlap[1][index]),
                boundary_iou=pair.boundary_iou(band),
                voxels_reference=int(np.count_nonzero(pair.reference)),
                voxels_prediction=int(np.count_nonzero(pair.prediction)),
                unit=geometry.unit,
                band=band,
                **_slow(pair, band, measures),
            ))
    return rows, counts


def _slow(pair: MaskPair, tolerance: float, measures: Collection[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"hd95": float("nan")}
    if "centreline" in measures:
        found["cldice"] = cldice_of(pair)
    if "distances" not in measures:
        return found
    return found | {
        "hd95": pair.hausdorff(95),
        "nsd": pair.nsd(tolerance),
        "boundary_f": pair.boundary_f(tolerance),
        "assd": pair.assd(),
        "convention": str(pair.convention),
    }


def unique(rows: Iterable[Row]) -> list[Row]:
    """Keep the first row of every case, variant and class."""
    found: dict[tuple[str, str, str], Row] = {}
    for row in rows:
        found.setdefault(row.key, row)
    return list(found.values())


def pool(tallies: dict[str, dict[str, Tally]]) -> dict[str, Tally]:
    """Add up confusion matrices or calibrations over cases: {case: {variant: tally}} → {variant: tally}."""
    total: dict[str, Any] = {}
    for found in tallies.values():
        for variant, tally in found.items():
            total[variant] = total.get(variant, 0) + tally
    return total
