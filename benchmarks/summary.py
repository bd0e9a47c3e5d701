"""What the runs of benchmarks/refiners.py scored, as a table and as JSON."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import kept  # beside this file
import numpy as np
import torch
from kept import SCORES
from scipy import ndimage

from segcgan.atomic import write_text
from segcgan.case import IGNORE
from segcgan.inference.engine import predict_case
from segcgan.inference.store import MemoryStore
from segcgan.metrics.ambiguity import ambiguity
from segcgan.metrics.blocks import Block, block_differences, score_blocks
from segcgan.metrics.boundary import Convention
from segcgan.metrics.cases import Row, score_case
from segcgan.metrics.comparison import Difference, by_case, differences
from segcgan.metrics.records import read_records, write_records
from segcgan.runs import Run, load
from segcgan.segmenters import Ensemble
from segcgan.tasks.stage import StageCLI

RESULTS = Path(__file__).parent / "results"
SPREADS = {"GED²": "ged2", "matched IoU": "matched_iou", "diversity of samples": "diversity"}
BASES = ("segmenter", "trained longer")
LAST = {"trained longer", "mean of two"}  # trained after the others: a seed that has them is kept
THRESHOLDS = "segmenter, thresholds"  # where references disagree


@dataclass
class Scored:
    """A row of the table, by seed: what its masks scored. Their variant is the name of the row."""

    name: str
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
    behind = Path("refiners") / f"{config}+residual"
    first, second = finished(seed / behind), finished(seed / "second" / config) or finished(following / behind)
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
    path, run = seed / "thresholds.json", finished(seed / "refiners" / f"{config}+residual")
    if run is not None and _spreads(run, "coarse") and not path.is_file():
        cli = StageCLI(["--config", str(run.folder / "config.yaml")], "chain")
        cli.datamodule.setup()
        chain, count = replace(load(run.folder), refiner=None, gate=None), cli.model.samples
        levels = ((np.arange(count) + 0.5) / count)[:, None, None, None]
        found = []
        for case in cli.datamodule.split("test") if len(chain.classes) == 2 else ():
            if case.raters is not None:
                foreground = predict_case(case, chain, MemoryStore()).read("p_coarse", case.whole)[1] / 254
                drawn = (foreground[None] > levels).astype(np.uint8)
                found.append(ambiguity(drawn, case.read_raters(case.whole), 2))
        means = {name: float(np.nanmean([each[name] for each in found])) for name in SPREADS.values() if found}
        write_text(path, json.dumps(means))
    return json.loads(path.read_text()) if path.is_file() else {}


def _coarse(cli: StageCLI, run: Run, split: str, others: list[Run] = []) -> list[tuple[Any, Any]]:  # noqa: B006
    chain = replace(load(run.folder), refiner=None, gate=None)
    if others:
        chain = replace(chain, segmenter=Ensemble([chain.segmenter, *(load(each.folder).segmenter for each in others)]))
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


def collect(config: str, seeds: list[int], runs: Path, settings: str) -> dict[str, Scored]:
    """Return {row of the table: what it scored} of the runs that are there, else of what was kept of them."""
    found: dict[str, Scored] = {}
    for seed, following in zip(seeds, [*seeds[1:], seeds[0]], strict=True):
        place, path = runs / f"seed_{seed}", kept.path_of(config, seed, settings)
        if not place.is_dir() and path.is_file():
            rows, blocks, spreads = kept.recall(path)
            for name, mine in rows.items():
                row = found.setdefault(name, Scored(name))
                row.rows[seed], row.spreads[seed] = mine, spreads.get(name, {})
                row.blocks[seed] = [each for each in blocks if each.variant == name]
            continue
        for name, base, variants in (
            ("segmenter", place / "refiners" / f"{config}+residual", ("coarse",)),
            ("trained longer", place / "longer" / config, ("coarse",)),
            ("+ residual", place / "refiners" / f"{config}+residual", ("refined", "chosen")),
            ("+ cGAN", place / "refiners" / f"{config}+cgan", ("refined", "chosen")),
            ("+ VAE", place / "refiners" / f"{config}+vae", ("refined", "chosen")),
        ):
            run = finished(base)
            if run is None or not (run.folder / "cases_test.csv").is_file():
                continue
            for variant in variants:
                words = {"refined": ", no gate", "chosen": ", gate"}.get(variant, "")
                row = found.setdefault(name + words, Scored(name + words))
                row.add(seed, run.folder / "cases_test.csv", variant, _spreads(run, variant))
        for name, file in other_rows(place, config, runs / f"seed_{following}").items():
            found.setdefault(name, Scored(name)).add(seed, file, "coarse")
        if spreads := thresholds(place, config):
            same, row = found["segmenter"], found.setdefault(THRESHOLDS, Scored(THRESHOLDS))
            row.rows[seed] = [replace(each, variant=THRESHOLDS) for each in same.rows[seed]]
            row.blocks[seed] = [replace(each, variant=THRESHOLDS) for each in same.blocks[seed]]
            row.spreads[seed] = spreads
        mine = {name: row for name, row in found.items() if seed in row.rows}
        if mine.keys() >= LAST:
            parts = (
                {name: getattr(row, part)[seed] for name, row in mine.items()} for part in ("rows", "blocks", "spreads")
            )
            kept.keep(path, *parts)
    return found


def _spreads(run: Run, variant: str) -> dict[str, float]:
    """How samples match several references, if the set has them."""
    header, lines = json.loads((run.folder / "scores_test.json").read_text())["table"]
    column = header.index(variant)
    found = {key: [line[column] for line in lines if line[0].startswith(start)] for start, key in SPREADS.items()}
    return {key: float(cells[0]) for key, cells in found.items() if cells and cells[0] not in ("", "–")}


def against(row: Scored, base: Scored) -> dict[str, Difference]:
    """Compare as ``segcgan compare`` does: means over common seeds, resampled by group; by block in a single scene."""
    seeds = sorted(row.rows.keys() & base.rows.keys())
    if not seeds:
        return {}
    first, second = (by_case([each.rows[s] for s in seeds], each.name, "") for each in (base, row))
    groups = {each.case: each.group for each in row.rows[seeds[0]]}
    found = differences(first, second, groups)
    if len(set(groups.values())) == 1:
        blocks = [[each.blocks[s] for s in seeds] for each in (base, row)]
        found = block_differences(*blocks, (base.name, row.name))
    return {each.score: each for each in found}


def costs_before(config: str, settings: str) -> dict[str, float]:
    """Return the costs of steps that an earlier table with these settings names."""
    path = RESULTS / f"refiners_{config}.json"
    facts = json.loads(path.read_text()) if path.is_file() else {}
    return facts["step costs"] if facts.get("settings") == settings else {}


def write_table(config: str, seeds: list[int], runs: Path, costs: dict[str, float], settings: str) -> None:
    """Print the table and write ``results/refiners_<config>.json``."""
    found = collect(config, seeds, runs, settings)
    if not found:
        raise SystemExit(f"{runs} holds no scored run yet")
    both = {score: _scored_by_all(found, score) for score in SCORES}
    lines: list[dict[str, Any]] = []
    for name, scored in found.items():
        line: dict[str, Any] = {"row": name, "seeds": sorted(scored.rows)}
        for score in SCORES:
            shared = [
                [row for row in rows if (row.case, row.class_name) in both[score]] for rows in scored.rows.values()
            ]
            line[score] = _over_seeds([[getattr(row, score) for row in rows] for rows in shared])
        for score in next(iter(scored.spreads.values())):
            line[score] = _over_seeds([[spread[score]] for spread in scored.spreads.values()])
        for base in BASES:
            for score, gain in against(scored, found[base]).items() if name != base and base in found else ():
                if score in SCORES:
                    values = {"mean": gain.mean, "interval": (gain.low, gain.high), "p": gain.p, "units": gain.groups}
                    line[score][f"minus {base}"] = values
        lines.append(line)
    rows = next(iter(next(iter(found.values())).rows.values()))
    groups = len({row.group for row in rows})
    facts = {
        "config": config, "settings": settings, "cases": len({row.case for row in rows}), "groups": groups,
        "cases scored by every row": {score: len({case for case, _ in keys}) for score, keys in both.items()},
        "unit": rows[0].unit, "boundary band": rows[0].band, "step costs": costs, "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "interval": "95 %, bootstrap over " + ("groups" if groups > 1 else "blocks") + " of the mean over seeds",
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"refiners_{config}.json").write_text(json.dumps(facts | {"rows": lines}, indent=1))
    cost = ", ".join(f"{name} {value:.2f}" for name, value in costs.items())
    print(f"{config}: {facts['cases']} test cases of {groups} groups; a step costs, in segmenter steps: {cost}")
    print(f"means over the cases that every row has a score of: {facts['cases scored by every row']}")
    spreads = [key for key in SPREADS.values() if any(key in line for line in lines)]
    heads = ["row", "seeds", *SCORES.values(), *spreads]
    heads += [f"{SCORES[score]} − {base} [95 %]" for base in BASES for score in ("dice", "boundary_iou")]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for line in lines:
        cells = [line["row"], str(len(line["seeds"]))]
        cells += [f"{line[score]['mean']:.3f}" if score in line else "" for score in (*SCORES, *spreads)]
        gains = [line[score].get(f"minus {base}") for base in BASES for score in ("dice", "boundary_iou")]
        cells += ["" if g is None else "{:+.3f} [{:+.3f}, {:+.3f}]".format(g["mean"], *g["interval"]) for g in gains]
        print("| " + " | ".join(cells) + " |")


def _scored_by_all(found: dict[str, Scored], score: str) -> set[tuple[str, str]]:
    """Cases and classes with a score in every row: where nothing is, an empty mask has none and any other has 0."""
    tables = [
        {(row.case, row.class_name) for row in rows if getattr(row, score) == getattr(row, score)}
        for scored in found.values()
        for rows in scored.rows.values()
    ]
    return set.intersection(*tables)


def _over_seeds(values: list[list[float]]) -> dict[str, Any]:
    """Mean over cases of every seed, and over seeds."""
    means = [float(np.nanmean(each)) for each in values]
    return {"mean": float(np.mean(means)), "by seed": means}
