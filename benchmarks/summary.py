"""What the runs of benchmarks/refiners.py scored, as a table and as JSON."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from segcgan.case import IGNORE
from segcgan.inference.engine import predict_case
from segcgan.inference.store import MemoryStore
from segcgan.metrics.cases import Row, read_rows, score_case, write_rows
from segcgan.metrics.comparison import bootstrap
from segcgan.runs import Run, load
from segcgan.segmenters import Ensemble
from segcgan.tasks.stage import StageCLI

RESULTS = Path(__file__).parent / "results"
SCORES = {"dice": "Dice", "iou": "IoU", "boundary_iou": "Boundary IoU", "hd95": "HD95"}


def finished(base: Path) -> Run | None:
    """Return the newest finished run below a folder."""
    found = [Run(path) for path in sorted(base.glob("2*"))] if base.is_dir() else []
    return next((run for run in reversed(found) if run.finished("chain")), None)


def other_rows(seed: Path, config: str) -> dict[str, list[Row]]:
    """Score, once, what is no run of its own: the mean of two segmenters, and post-processing chosen by validation."""
    first, second = finished(seed / "refiners" / config), finished(seed / "second" / config)
    if first is None or second is None:
        return {}
    files = {"mean of two": seed / "mean_of_two.csv", "post-processed": seed / "post_processed.csv"}
    if not all(path.is_file() for path in files.values()):
        cli = StageCLI(["--config", str(first.folder / "config.yaml")], "chain")
        cli.datamodule.setup()
        for name, rows in zip(files, (_mean_of_two(cli, first, second), _post_processed(cli, first)), strict=True):
            write_rows(files[name], rows)
    return {name: read_rows(path) for name, path in files.items()}


def _coarse(cli: StageCLI, run: Run, split: str, others: list[Run] = []) -> list[tuple[Any, Any]]:  # noqa: B006
    chain = replace(load(run.folder), refiner=None, gate=None)
    if others:
        chain = replace(chain, segmenter=Ensemble([chain.segmenter, *(load(each.folder).segmenter for each in others)]))
    cases = [case for case in cli.datamodule.split(split) if case.reference is not None]
    return [(case, predict_case(case, chain, MemoryStore()).read("coarse", case.whole)) for case in cases]


def _score(cli: StageCLI, case: Any, mask: Any) -> list[Row]:
    known = mask != IGNORE
    masks = {"reference": case.read_reference(case.whole), "coarse": np.where(known, mask, 0)}
    data = cli.datamodule
    return score_case(case.name, masks, data.classes, case.geometry, data.boundary, group=case.group, valid=known)[0]


def _mean_of_two(cli: StageCLI, first: Run, second: Run) -> list[Row]:
    return [row for case, mask in _coarse(cli, first, "test", [second]) for row in _score(cli, case, mask)]


def _post_processed(cli: StageCLI, run: Run) -> list[Row]:
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
        rows = [row for case, mask in validation for row in _score(cli, case, change(mask, largest, fill))]
        return float(np.nanmean([(row.iou + row.boundary_iou) / 2 for row in rows]))

    best = max(((a, b) for a in (False, True) for b in (False, True)), key=lambda options: value(*options))
    (run.folder / "post_processing.json").write_text(json.dumps(dict(zip(("largest", "fill"), best, strict=True))))
    return [row for case, mask in _coarse(cli, run, "test") for row in _score(cli, case, change(mask, *best))]


def collect(config: str, seeds: list[int], runs: Path) -> dict[str, dict[int, list[Row]]]:
    """Return {row of the table: {seed: its rows}} of what is there."""
    found: dict[str, dict[int, list[Row]]] = {}

    def add(name: str, seed: int, rows: list[Row], variant: str) -> None:
        found.setdefault(name, {})[seed] = [row for row in rows if row.variant == variant]

    for seed in seeds:
        place = runs / f"seed_{seed}"
        for name, base, variants in (
            ("segmenter", place / "refiners" / config, ("coarse",)),
            ("trained longer", place / "longer" / config, ("coarse",)),
            ("+ residual", place / "refiners" / config, ("refined", "chosen")),
            ("+ cGAN", place / "refiners" / f"{config}+cgan", ("refined", "chosen")),
            ("+ VAE", place / "refiners" / f"{config}+vae", ("refined", "chosen")),
        ):
            run = finished(base)
            path = None if run is None else run.folder / "cases_test.csv"
            for variant in variants if path is not None and path.is_file() else ():
                words = {"refined": ", no gate", "chosen": ", gate"}.get(variant, "")
                add(name + words, seed, read_rows(path), variant)  # type: ignore[arg-type]
        for name, rows in other_rows(place, config).items():
            add(name, seed, rows, "coarse")
    return found


def against(rows: dict[int, list[Row]], base: dict[int, list[Row]], score: str) -> dict[str, list[float]]:
    """Return {group: differences of its cases}, each the mean over the seeds both have."""
    cases: dict[tuple[str, str, str], list[float]] = {}
    for seed in rows.keys() & base.keys():
        other = {(row.case, row.class_name): getattr(row, score) for row in base[seed]}
        for row in rows[seed]:
            gain = getattr(row, score) - other[row.case, row.class_name]
            if gain == gain:
                cases.setdefault((row.group, row.case, row.class_name), []).append(gain)
    groups: dict[str, list[float]] = {}
    for (group, _, _), gains in cases.items():
        groups.setdefault(group, []).append(float(np.mean(gains)))
    return groups


def write_table(config: str, seeds: list[int], runs: Path, costs: dict[str, float]) -> None:
    """Print the table and write ``results/refiners_<config>.json``."""
    found = collect(config, seeds, runs)
    lines: list[dict[str, Any]] = []
    for name, by_seed in found.items():
        line: dict[str, Any] = {"row": name, "seeds": sorted(by_seed)}
        for score in SCORES:
            means = [float(np.nanmean([getattr(row, score) for row in rows])) for rows in by_seed.values()]
            line[score] = {"mean": float(np.mean(means)), "by seed": means}
            for base in ("segmenter", "trained longer"):
                if name != base and base in found and (gains := against(by_seed, found[base], score)):
                    mean, low, high, _ = bootstrap(list(gains.values()))
                    line[score][f"minus {base}"] = {"mean": mean, "interval": (low, high)}
        lines.append(line)
    if not lines:
        raise SystemExit(f"{runs} holds no scored run yet")
    rows = next(iter(next(iter(found.values())).values()))
    facts = {
        "config": config, "cases": len({row.case for row in rows}), "groups": len({row.group for row in rows}),
        "unit": rows[0].unit, "boundary band": rows[0].band, "step costs": costs, "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "interval": "95 %, bootstrap over groups of the mean over seeds, as in segcgan compare",
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"refiners_{config}.json").write_text(json.dumps(facts | {"rows": lines}, indent=1))
    print(f"{config}: {facts['cases']} test cases of {facts['groups']} groups; step costs {costs}")
    print("| row | seeds | " + " | ".join(SCORES.values()) + " | Dice − longer [95 %] | Boundary IoU − longer [95 %] |")
    print("|---" * (len(SCORES) + 4) + "|")
    for line in lines:
        cells = [f"{line[score]['mean']:.3f}" for score in SCORES]
        for score in ("dice", "boundary_iou"):
            gain = line[score].get("minus trained longer")
            cells.append("" if gain is None else "{:+.3f} [{:+.3f}, {:+.3f}]".format(gain["mean"], *gain["interval"]))
        print(f"| {line['row']} | {len(line['seeds'])} | " + " | ".join(cells) + " |")
