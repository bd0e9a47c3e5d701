"""Rows of the table: what the runs of benchmarks/refiners.py scored, and the cheap ones that need no training."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import kept  # beside this file
import numpy as np
from scipy import ndimage

from segcgan.atomic import write_text
from segcgan.case import IGNORE
from segcgan.inference.engine import predict_case
from segcgan.inference.store import MemoryStore
from segcgan.metrics.ambiguity import ambiguity
from segcgan.metrics.blocks import Block, score_blocks
from segcgan.metrics.boundary import Convention
from segcgan.metrics.cases import Row, score_case, settle
from segcgan.metrics.records import read_records, write_records
from segcgan.runs import Run, load
from segcgan.segmenters import Ensemble
from segcgan.tasks.stage import StageCLI
from segcgan.tasks.temperature import fit_temperatures
from segcgan.tasks.thresholds import fit_thresholds, values_of

SPREADS = {"GED²": "ged2", "matched IoU": "matched_iou", "diversity of samples": "diversity"}
THRESHOLDS = "segmenter, thresholds"  # where references disagree
OLDER = " (older config)"
ORDER = (
    kept.TEMPLATE, THRESHOLDS, "segmenter", "trained longer", "mean of two", "post-processed",
    "+ residual", "+ cGAN", "+ VAE",
)  # fmt: skip


@dataclass
class Scored:
    """A row of the table, by seed: what its masks scored. Their variant is the name of the row."""

    name: str
    settings: tuple[str, str, str] = ("", "", "")
    date: str = ""  # when the newest was kept
    rows: dict[int, list[Row]] = field(default_factory=dict)
    blocks: dict[int, list[Block]] = field(default_factory=dict)
    spreads: dict[int, dict[str, float]] = field(default_factory=dict)

    def add(self, seed: int, cases: Path, variant: str, spreads: dict[str, float] | None = None) -> None:
        """Read what was scored with one seed."""
        rows = read_records(cases, Row)
        blocks = read_records(cases.with_name(cases.name.replace("cases_", "blocks_")), Block)
        self.rows[seed] = [replace(row, variant=self.name) for row in rows if row.variant == variant]
        self.blocks[seed] = [replace(each, variant=self.name) for each in blocks if each.variant == variant]
        self.spreads[seed] = spreads or {}


    def read(self, seed: int, base: Path, variant: str) -> None:
        """Read what the newest finished run below a folder scored, if there is one."""
        run = finished(base)
        if run is not None and (run.folder / "cases_test.csv").is_file():
            self.add(seed, run.folder / "cases_test.csv", variant, _spreads(run, variant))


def segmenter_of(seed: Path, config: str) -> Path:
    """Return where the runs of a seed's segmenter are."""
    return seed / "segmenter" / config


def refiner_of(seed: Path, config: str, overlay: str, own: str) -> Path:
    """Return where the runs of a refiner behind it are; ``own`` is the digest of its overlay."""
    return seed / f"{overlay}_{own}" / f"{config}+{overlay}"


def finished(base: Path) -> Run | None:
    """Return the newest finished run below a folder."""
    found = [Run(path) for path in sorted(base.glob("2*"))] if base.is_dir() else []
    return next((run for run in reversed(found) if run.finished("chain")), None)


def other_rows(seed: Path, config: str, following: Path) -> dict[str, Path]:
    """Score, once, what is no run of its own: the mean of two segmenters, and post-processing chosen by validation.

    Args:
        seed: folder of the runs of a seed.
        config: its name.
        following: the same of the next seed, whose segmenter is the second one if ``seed`` holds none of its own.

    Returns:
        Files by row.
    """
    first = finished(segmenter_of(seed, config))
    second = finished(seed / "second" / config) or finished(segmenter_of(following, config))
    if first is None:
        return {}
    files = {"post-processed": seed / "cases_post_processed.csv"}
    if second is not None and second.folder != first.folder:
        files["mean of two"] = seed / "cases_mean_of_two.csv"
    if not all(path.is_file() for path in files.values()):
        cli = StageCLI(["--config", str(first.folder / "config.yaml")], "chain")
        cli.datamodule.setup()
        _score(cli, files["post-processed"], _post_processed(cli, first))
        if "mean of two" in files and second is not None:
            _score(cli, files["mean of two"], _coarse(cli, first, "test", [second]))
    return files


def thresholds(seed: Path, config: str) -> dict[str, float]:
    """Score, once, the cheapest samples there are: the coarse probability of two classes, cut at even levels.

    Returns:
        Means over test cases; nothing for a set without raters.
    """
    path, run = seed / "thresholds.json", finished(segmenter_of(seed, config))
    if run is not None and _spreads(run, "coarse") and not path.is_file():
        cli = StageCLI(["--config", str(run.folder / "config.yaml")], "chain")
        cli.datamodule.setup()
        chain, count = replace(load(run.folder), refiner=None, gate=None), cli.model.samples
        levels = ((np.arange(count) + 0.5) / count)[:, None, None, None]
        found = []
        for case in cli.datamodule.split("test") if len(chain.classes) == 2 else ():
            if case.raters is not None:
                foreground = predict_case(case, chain, MemoryStore()).read("p_coarse", case.whole)[1]
                drawn = np.where(foreground == IGNORE, IGNORE, foreground / 254 > levels).astype(np.uint8)
                found.append(ambiguity(drawn, case.read_raters(case.whole), 2))
        means = {name: float(np.nanmean([each[name] for each in found])) for name in SPREADS.values() if found}
        write_text(path, json.dumps(means))
    return json.loads(path.read_text()) if path.is_file() else {}


def _coarse(cli: StageCLI, run: Run, split: str, others: list[Run] = []) -> list[tuple[Any, Any]]:  # noqa: B006
    chain = replace(load(run.folder), refiner=None, gate=None)
    if others:  # temperature and thresholds are those of the mean, as of any other segmenter
        segmenters = [chain.segmenter, *(load(each.folder).segmenter for each in others)]
        chain = replace(chain, segmenter=Ensemble(segmenters), temperatures={}, thresholds={})
        data = cli.datamodule
        if spare := data.split("calibrate"):
            chain.temperatures = fit_temperatures(chain, spare, 1, data.seed)
        chain.thresholds = values_of(fit_thresholds(chain, data.split("val"), 1, data.seed))
    cases = [case for case in cli.datamodule.split(split) if case.reference is not None]
    return [(case, predict_case(case, chain, MemoryStore()).read("coarse", case.whole)) for case in cases]


def _rows(cli: StageCLI, case: Any, mask: Any, blocks: list[Block]) -> list[Row]:
    data, known = cli.datamodule, mask != IGNORE
    masks = {"reference": case.read_reference(case.whole), "coarse": np.where(known, mask, 0)}
    scored = known & (masks["reference"] != IGNORE)
    names = [spec.name for spec in data.classes]
    blocks += score_blocks(case.name, masks, names, scored, case.geometry.spacing, data.boundary)
    how = Convention(data.surfaces.surface, data.surfaces.combine)
    return score_case(
        case.name, masks, data.classes, case.geometry, data.boundary, group=case.group, valid=known, convention=how
    )[0]


def _score(cli: StageCLI, path: Path, masks: list[tuple[Any, Any]]) -> None:
    blocks: list[Block] = []
    rows = [row for case, mask in masks for row in _rows(cli, case, mask, blocks)]
    write_records(path.with_name(path.name.replace("cases_", "blocks_")), Block, blocks)
    write_records(path, Row, rows)


def _post_processed(cli: StageCLI, run: Run) -> list[tuple[Any, Any]]:
    def change(mask: Any, largest: bool, fill: bool) -> Any:
        out = mask.copy()
        for index in range(1, len(cli.datamodule.classes)):
            part = mask == index
            if largest and part.any():
                labels, count = ndimage.label(part)
                part = labels == 1 + np.bincount(labels.ravel(), minlength=count + 1)[1:].argmax()
            if fill:
                part = np.stack([ndimage.binary_fill_holes(each) for each in part])
            out = np.where(mask == index, 0, out)
            out = np.where(part & (mask != IGNORE), index, out)
        return out.astype(np.uint8)

    validation = _coarse(cli, run, "val")

    def value(largest: bool, fill: bool) -> float:
        rows = [row for case, mask in validation for row in _rows(cli, case, change(mask, largest, fill), [])]
        return float(np.nanmean([(row.iou + row.boundary_iou) / 2 for row in rows]))

    best = max(((a, b) for a in (False, True) for b in (False, True)), key=lambda options: value(*options))
    (run.folder / "post_processing.json").write_text(json.dumps(dict(zip(("largest", "fill"), best, strict=True))))
    return [(case, change(mask, *best)) for case, mask in _coarse(cli, run, "test")]


def harvest(config: str, seeds: list[int], runs: Path, base: str) -> None:
    """Keep what the finished runs below ``runs`` scored; see ``kept``."""
    for seed, following in zip(seeds, [*seeds[1:], seeds[0]], strict=True):
        place = runs / f"seed_{seed}"
        if finished(segmenter_of(place, config)) is None:
            continue
        found = {"segmenter": Scored("segmenter"), "trained longer": Scored("trained longer")}
        for name, folder in (("segmenter", segmenter_of(place, config)), ("trained longer", place / "longer" / config)):
            found[name].read(seed, folder, "coarse")
        for name, file in other_rows(place, config, runs / f"seed_{following}").items():
            found[name] = Scored(name)
            found[name].add(seed, file, "coarse")
        if spreads := thresholds(place, config):
            same, row = found["segmenter"], Scored(THRESHOLDS)
            row.rows[seed] = [replace(each, variant=THRESHOLDS) for each in same.rows[seed]]
            row.blocks[seed] = [replace(each, variant=THRESHOLDS) for each in same.blocks[seed]]
            row.spreads[seed] = spreads
            found[THRESHOLDS] = row
        _keep(config, (base, "", ""), seed, found)
        for name, overlay in kept.OVERLAYS.items():
            own = kept.own_digest(overlay)
            behind = {}
            for variant, words in (("refined", "no gate"), ("chosen", "gate")):
                row = behind[f"+ {name}, {words}"] = Scored(f"+ {name}, {words}")
                row.read(seed, refiner_of(place, config, overlay, own), variant)
            _keep(config, (base, overlay, own), seed, behind)


def _keep(config: str, settings: tuple[str, str, str], seed: int, found: dict[str, Scored]) -> None:
    mine = {name: row for name, row in found.items() if seed in row.rows}
    if mine:
        parts = (
            {name: getattr(row, part)[seed] for name, row in mine.items()} for part in ("rows", "blocks", "spreads")
        )
        kept.keep(config, settings, seed, *parts)


def collect(config: str, seeds: list[int] | None = None, base: str = "") -> dict[str, Scored]:
    """Return {row of the table: what it scored} of what is kept; rows of settings that have changed since have a mark.

    Args:
        config: its name.
        seeds: those wanted; None = all.
        base: digest of the settings that have no mark; empty = the config as it is shipped.
    """
    today, found = kept.current(config, base), {}
    for one in kept.listed(config):
        if seeds is not None and one.seed not in seeds:
            continue
        rows, blocks, spreads = kept.recall(one.path)
        for name, mine in rows.items():
            label = name if one.settings in today else f"{name}{OLDER}"
            if label in found and found[label].settings != one.settings:
                label = f"{name}{OLDER[:-1]}, {one.date})"
            row = found.setdefault(label, Scored(label, one.settings, one.date))
            row.rows[one.seed], row.spreads[one.seed] = settle(mine), spreads.get(name, {})
            row.blocks[one.seed] = [each for each in blocks if each.variant == name]
            for part in (row.rows, row.blocks):
                part[one.seed] = [replace(each, variant=label) for each in part[one.seed]]
    for name, row in found.items():
        if name.startswith(kept.TEMPLATE):  # the same whatever the seed of a network
            every = {seed for other in found.values() for seed in other.rows}
            for part in (row.rows, row.blocks, row.spreads):
                part.update(dict.fromkeys(every, next(iter(part.values()))))
    return dict(sorted(found.items(), key=lambda item: _place(item[0])))


def _place(name: str) -> tuple[bool, int]:
    """Rows of today's configs first, each in the order of ``ORDER``."""
    return OLDER[:-1] in name, next((i for i, start in enumerate(ORDER) if name.startswith(start)), len(ORDER))


def _spreads(run: Run, variant: str) -> dict[str, float]:
    """How samples match several references, if the set has them."""
    header, lines = json.loads((run.folder / "scores_test.json").read_text())["table"]
    column = header.index(variant)
    found = {key: [line[column] for line in lines if line[0].startswith(start)] for start, key in SPREADS.items()}
    return {key: float(cells[0]) for key, cells in found.items() if cells and cells[0] not in ("", "–")}
