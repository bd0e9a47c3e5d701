"""The row *image-blind template*: the mean training mask of all raters, cut at even levels. It looks at no image.

    python benchmarks/template.py lung_nodule_raters        (needs $SEGCGAN_DATA; seconds; kept in results/seeds)

A set whose objects lie in the middle of their crops gives this row much for nothing: whatever trains has to beat it.
Its 16 cuts are samples; its one mask is the cut with the best mean of IoU and Boundary IoU on validation cases.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from kept import TEMPLATE, keep, template_digest  # beside this file

from segcgan.about import find_config
from segcgan.case import IGNORE, Array, Case
from segcgan.data.module import SegmentationData
from segcgan.metrics.ambiguity import ambiguity
from segcgan.metrics.cases import Row, score_case
from segcgan.tasks.scoring import Scoreboard
from segcgan.tasks.stage import StageCLI

CUTS = 16


def mean_mask(cases: Iterable[Case]) -> Array:
    """Return the share (D, H, W) of raters and training cases that mark each pixel; all cases have one size."""
    return np.mean([(case.read_raters(case.whole) == 1).mean(0) for case in cases if case.raters is not None], 0)


def rows_of(case: Case, mask: Array, data: SegmentationData) -> list[Row]:
    """Score one mask (D, H, W) of one case."""
    masks = {"reference": case.read_reference(case.whole), TEMPLATE: mask}
    valid = case.read(case.whole)[1][0]
    return score_case(
        case.name, masks, data.classes, case.geometry, data.boundary, group=case.group, valid=valid
    )[0]


def best_cut(cuts: Array, cases: list[Case], data: SegmentationData) -> int:
    """Return the index of the cut (N, D, H, W) that does best on validation cases, as an epoch is chosen."""
    scores = []
    for cut in cuts:
        rows = [row for case in cases for row in rows_of(case, cut, data)]
        scores.append(Scoreboard(rows=rows).means(TEMPLATE)["score"])
    return int(np.argmax(scores))


def main() -> None:
    """Score the template on the test split and keep it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", help="name of a shipped config with raters and two classes, e.g. lung_nodule_raters")
    config = parser.parse_args().config
    data = StageCLI(["--config", str(find_config(f"{config}.yaml"))], "segmenter").datamodule
    data.setup()
    levels = ((np.arange(CUTS) + 0.5) / CUTS)[:, None, None, None]
    cuts = (mean_mask(data.split("train")) > levels).astype(np.uint8)
    best = best_cut(cuts, [case for case in data.split("val") if case.reference is not None], data)
    rows, spreads = [], []
    for case in data.split("test"):
        rows += rows_of(case, cuts[best], data)
        raters = case.read_raters(case.whole)
        spreads.append(ambiguity(np.where((raters != IGNORE).all(0), cuts, IGNORE), raters, 2))
    means = {name: float(np.mean([each[name] for each in spreads])) for name in ("ged2", "matched_iou", "diversity")}
    path = keep(config, (template_digest(config), "", ""), 0, {TEMPLATE: rows}, {}, {TEMPLATE: means})
    print(f"{means}; one mask: the cut at {float(levels[best].item()):.3f}; kept in {Path(path).name}")


if __name__ == "__main__":
    main()
