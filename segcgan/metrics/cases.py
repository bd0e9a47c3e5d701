"""Scores of one case: a row per variant of its mask (coarse, refined, chosen) and foreground class; the CSV."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from segcgan.case import Array, Geometry
from segcgan.classes import ClassSpec
from segcgan.errors import SegcganError
from segcgan.metrics.calibration import Calibration
from segcgan.metrics.empty import RIGHTLY_EMPTY, overlap_where_empty
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
    status: str  # "ok", "both_empty", "pred_empty", "ref_empty"; "unscored" without a valid, known pixel
    dice: float  # 1 when both masks are empty (see ``settle``), NaN when nothing was scored; so are the next two
    iou: float
    boundary_iou: float
    hd95: float  # NaN when both masks are empty, the image diagonal when one is; NaN when not measured
    voxels_reference: int
    voxels_prediction: int
    unit: str  # of distances and band
    band: float  # width of the boundary band, and the tolerance of the next two
    nsd: float = float("nan")  # as dice, NaN when not measured; so is the next one
    boundary_f: float = float("nan")
    assd: float = float("nan")  # as hd95
    convention: str = ""  # of hd95, nsd, boundary_f and assd; empty when not measured
    cldice: float = float("nan")  # as dice, NaN when not measured

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes a row unique: a case scored twice (DDP pads its last batch) counts once."""
        return self.case, self.variant, self.class_name

    @property
    def invented(self) -> float:
        """1 if the reference is empty and the mask is not, 0 if neither shows anything; NaN of other references."""
        return {"ref_empty": 1.0, "both_empty": 0.0}.get(self.status, float("nan"))

    @property
    def missed(self) -> float:
        """1 if the mask is empty and the reference is not, 0 if both show something; NaN of empty references."""
        return {"pred_empty": 1.0, "ok": 0.0}.get(self.status, float("nan"))

    @property
    def hd95_median(self) -> float:
        """HD95 where both masks show something, else NaN: medians are taken of it, as no diagonal enters it."""
        return self.hd95 if self.status == "ok" else float("nan")

    @property
    def assd_median(self) -> float:
        """ASSD where both masks show something, else NaN."""
        return self.assd if self.status == "ok" else float("nan")


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
        convention: of distances and rightly empty masks; None: boundary voxels, the larger directed percentile, 1.

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
        overlap = [score(counts[variant], (convention or Convention()).empty) for score in (dice, iou)]
        for index, spec in list(enumerate(classes))[1:]:
            truth, guess = reference == index, mask == index  # MaskPair takes out what is not known
            pair = MaskPair(truth, guess, geometry.spacing, convention, known)
            rows.append(Row(
                case=name,
                group=group or name,
                variant=variant,
                class_name=spec.name,
                status=pair.status if known.any() else "unscored",
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


def settle(rows: Iterable[Row], empty: float = RIGHTLY_EMPTY) -> list[Row]:
    """Give masks that are rightly empty the score ``empty``, however the rows were made or read.

    The status of a row says which those are, so tables of older versions, where they have no score, come out alike.
    Distances of such masks are absent (NaN), and what was not measured stays so.

    Args:
        rows: of one table.
        empty: their Dice, IoU, Boundary IoU, NSD, boundary F and clDice; NaN leaves them out of all means.
    """
    rows = list(rows)
    centreline = any(row.cldice == row.cldice for row in rows)
    absent = float("nan")
    found = []
    for row in rows:
        if row.convention:
            row = replace(row, convention=str(replace(Convention.parse(row.convention), empty=empty)))
        if row.status == "both_empty":
            score = overlap_where_empty("both_empty", empty)
            row = replace(row, dice=score, iou=score, boundary_iou=score, hd95=absent, assd=absent)
            if row.convention:
                row = replace(row, nsd=score, boundary_f=score)
            row = replace(row, cldice=score if centreline else absent)
        found.append(row)
    return found


def never_found(rows: Iterable[Row]) -> list[tuple[str, str]]:
    """Return (variant, class) of what references show in some case and masks in none: training collapsed."""
    rows = list(rows)
    shown = {(row.variant, row.class_name) for row in rows if row.voxels_reference}
    return sorted(shown - {(row.variant, row.class_name) for row in rows if row.voxels_prediction})


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
