"""The scores of whole cases: collected case by case, joined over processes, completed by the gate's choice."""

from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import torch

from segcgan.case import IGNORE, Array, Case
from segcgan.data.module import SegmentationData
from segcgan.gates import Gate, GateExample
from segcgan.inference.engine import Outcome
from segcgan.metrics.ambiguity import ambiguity
from segcgan.metrics.blocks import Block, score_blocks
from segcgan.metrics.calibration import Calibration, calibrate
from segcgan.metrics.cases import Row, never_found, pool, score_case
from segcgan.metrics.comparison import by_case, case_pairs
from segcgan.metrics.harm import count_harm
from segcgan.metrics.objects import Object, detection, score_objects
from segcgan.metrics.pair import Convention
from segcgan.metrics.summary import Table, number, summarise, table

_LACKING = 1e-6  # so much of its score is left of an epoch that never shows a class: 0 in every table
_DETECTION = {
    "precision": "object precision ↑ (IoU above 0.5, pooled)",
    "recall": "object recall ↑ (IoU above 0.5, pooled)",
    "pq": "panoptic quality ↑ (components, pooled)",
}
_SPREADS = {
    "ged2": "GED² ↓ (samples against raters, 1 − IoU, biased)",
    "matched_iou": "matched IoU ↑ (samples against raters, Hungarian)",
    "diversity": "diversity of samples (1 − IoU of two)",
    "rater_diversity": "diversity of raters (1 − IoU of two)",
}


@dataclass
class Scoreboard:
    """What is known of the cases scored so far.

    Args:
        rows: a row per case, variant and class.
        confusions: {case: {variant: (K, K)}}.
        examples: what a gate is fitted on, by case.
        calibrations: {case: {variant: how its probabilities fare}}, of final scores, and of all where some cases have
            several raters: the sum over raters.
        objects: components of every case, of final scores.
        blocks: counts in parts of every case of one slice, of final scores.
        spreads: {case: {variant: how its samples, or its one coarse mask, match its raters}}, of final scores.
        several: there are cases with several raters; known from the start, or those scored before the first of them
            have no part in the log-likelihood.
    """

    rows: list[Row] = field(default_factory=list)
    confusions: dict[str, dict[str, Any]] = field(default_factory=dict)
    examples: dict[str, GateExample] = field(default_factory=dict)
    calibrations: dict[str, dict[str, Calibration]] = field(default_factory=dict)
    objects: list[Object] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    spreads: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    several: bool = False

    def add(self, case: Case, outcome: Outcome, data: SegmentationData, *, final: bool, refined: bool) -> None:
        """Score one predicted case.

        Args:
            case: with a reference.
            outcome: its prediction.
            data: classes and boundary width.
            final: with the slower scores too, which no choice of weights depends on.
            refined: there is a refined mask.
        """
        masks = {"reference": case.read_reference(case.whole), "coarse": outcome.read("coarse", case.whole)}
        if refined:
            masks["refined"] = outcome.read("refined", case.whole)
        valid = case.read(case.whole)[1][0]
        masks = {name: np.where(valid, mask, 0) if name != "reference" else mask for name, mask in masks.items()}
        how = data.surfaces
        rows, self.confusions[case.name] = score_case(
            case.name, masks, data.classes, case.geometry, data.boundary, group=case.group, valid=valid,
            measures=("distances", *(["centreline"] if how.centreline else [])) if final else (),
            convention=Convention(how.surface, how.combine),
        )  # fmt: skip
        self.rows += rows
        self.several |= case.raters is not None
        votes = masks["reference"][None] if case.raters is None else case.read_raters(case.whole)
        if final or self.several:
            self.calibrations[case.name] = {
                name: _calibrated(votes, outcome.read(f"p_{name}", case.whole), valid)
                for name in masks
                if name != "reference"
            }
        known = valid & (masks["reference"] != IGNORE)
        if final:
            names = [spec.name for spec in data.classes]
            self.objects += score_objects(case.name, case.group, masks, names, known)
            self.blocks += score_blocks(case.name, masks, names, known, case.geometry.spacing, data.boundary)
            if case.raters is not None:
                drawn = {name: mask[None] for name, mask in masks.items() if name != "reference"}
                if "samples" in outcome.layers:
                    drawn["refined"] = outcome.read("samples", case.whole)
                self.spreads[case.name] = {
                    name: ambiguity(samples, votes, len(data.classes)) for name, samples in drawn.items()
                }
        if outcome.evidence.size:
            self.examples[case.name] = GateExample(
                case.name,
                case.group or case.name,
                outcome.evidence,
                *count_harm(masks["reference"], masks["coarse"], masks["refined"], known),
                gain=_gain(rows, "iou", "boundary_iou"),
            )

    def gather(self) -> None:
        """Join the scores of all processes, if there are several."""
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return
        found: list[Any] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(found, self)
        rows = [row for other in found for row in other.rows]
        self.rows = list({(row.case, row.variant, row.class_name): row for row in rows}.values())
        self.objects = list({each.key: each for other in found for each in other.objects}.values())
        self.blocks = list({each.key: each for other in found for each in other.blocks}.values())
        self.confusions = {name: counts for other in found for name, counts in other.confusions.items()}
        self.examples = {name: each for other in found for name, each in other.examples.items()}
        self.calibrations = {name: each for other in found for name, each in other.calibrations.items()}
        self.spreads = {name: each for other in found for name, each in other.spreads.items()}
        self.several = any(other.several for other in found)

    def means(self, variant: str) -> dict[str, float]:
        """Return the means over cases and classes of a variant, masks that are rightly empty counting 1.

        ``score``, which chooses the epoch, is the mean of IoU and Boundary IoU. It is 0 where masks never show a class
        that references show: else an all-background epoch would win where most cases are empty. With several raters it
        is −``nll``, the log-likelihood of all their votes, a proper score; a case with one reference has one vote.
        """
        mine, values = [row for row in self.rows if row.variant == variant], {}
        for name in ("dice", "iou", "boundary_iou"):
            mean = _mean_of([getattr(row, name) for row in mine])
            values[name] = 0.0 if np.isnan(mean) else mean
        if self.several:
            nll = pool(self.calibrations)[variant].nll
            return values | {"nll": nll, "score": -nll}
        absent = {name for _, name in never_found(mine)}
        found = [0.0 if row.class_name in absent else (row.iou + row.boundary_iou) / 2 for row in mine]
        score = _mean_of(found) if found else 0.0
        score = 0.0 if np.isnan(score) else score
        # of epochs that all lack a class the best is kept, not the first
        return values | {"score": score * (_LACKING if absent else 1)}

    def choose(self, gate: Gate | None) -> None:
        """Add the variant "chosen" to rows and confusions: per case what the gate, fitted by now, decides."""
        for name, counts in self.confusions.items():
            if "refined" in counts:
                kept = gate is None or gate.decide(self.examples[name].evidence)[0]
                source = "refined" if kept else "coarse"
                counts["chosen"] = counts[source]
                per_variant: list[dict[str, dict[str, Any]]] = [self.calibrations, self.spreads]
                for scores in per_variant:
                    if name in scores:
                        scores[name]["chosen"] = scores[name][source]
                mine = [row for row in self.rows if row.case == name and row.variant == source]
                self.rows += [replace(row, variant="chosen") for row in mine]
                those = [each for each in self.objects if each.case == name and each.variant == source]
                self.objects += [replace(each, variant="chosen") for each in those]
                parts = [each for each in self.blocks if each.case == name and each.variant == source]
                self.blocks += [replace(each, variant="chosen") for each in parts]

    def table(self) -> Table:
        """Return the score table: header and lines."""
        variants = pool(self.confusions)
        header, lines = table(summarise(self.rows, variants, pool(self.calibrations)))
        found = [detection(each for each in self.objects if each.variant == variant) for variant in variants]
        for name, label in _DETECTION.items() if self.objects else ():
            lines.append([label, *(number(getattr(each, name), 4) for each in found)])
        for name, label in _SPREADS.items() if self.spreads else ():
            means = [_mean_of([each[variant][name] for each in self.spreads.values()]) for variant in variants]
            lines.append([label, *(number(mean, 4) for mean in means)])
        return header, [line + [""] * (len(header) - len(line)) for line in lines]

    def accepted(self, gate: Gate | None) -> int:
        """Count the cases whose refined mask the gate keeps."""
        refined = [name for name, counts in self.confusions.items() if "refined" in counts]
        return sum(gate is None or bool(gate.decide(self.examples[name].evidence)[0]) for name in refined)


def _calibrated(votes: Array, probability: Array, valid: Array) -> Calibration:
    """How a probability (K, d, h, w) fares against every rater's mask (R, d, h, w)."""
    return reduce(add, (calibrate(vote, probability, valid) for vote in votes))


def _gain(rows: list[Row], *scores: str) -> float:
    """Refined minus coarse of one case, mean of scores and classes; 0 where both masks are rightly empty."""
    coarse, refined = (by_case([rows], variant, "") for variant in ("coarse", "refined"))
    return _mean_of([b - a for a, b in case_pairs(coarse, refined, scores)])


def _mean_of(values: list[float]) -> float:
    """Mean of what is no NaN: one sample has no diversity, a case without a known pixel no score."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
