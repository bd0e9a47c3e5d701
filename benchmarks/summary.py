"""What the rows scored, compared, as a table and as JSON."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept import SCORES  # beside this file
from scored import SPREADS, Scored, collect

from segcgan.metrics.blocks import block_differences
from segcgan.metrics.comparison import Difference, by_case, differences

RESULTS = Path(__file__).parent / "results"
BASES = ("segmenter", "trained longer", "mean of two", "post-processed")
SHOWN = BASES[:2]  # in the printed table; the JSON has all


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


def _interval(groups: int, found: dict[str, Scored]) -> str:
    if groups == 1 and not any(any(scored.blocks.values()) for scored in found.values()):
        return "none: a single volume"
    return "95 %, bootstrap over " + ("groups" if groups > 1 else "blocks") + " of the mean over seeds"


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
        "interval": _interval(groups, found),
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"refiners_{config}.json").write_text(json.dumps(facts | {"rows": lines}, indent=1))
    cost = ", ".join(f"{name} {value:.2f}" for name, value in costs.items())
    print(f"{config}: {facts['cases']} test cases of {groups} groups; a step costs, in segmenter steps: {cost}")
    print(f"means over the cases that every row has a score of: {facts['cases scored by every row']}")
    spreads = [key for key in SPREADS.values() if any(key in line for line in lines)]
    heads = ["row", "seeds", *SCORES.values(), *spreads]
    heads += [f"{SCORES[score]} − {base} [95 %]" for base in SHOWN for score in ("dice", "boundary_iou")]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for line in lines:
        cells = [line["row"], str(len(line["seeds"]))]
        cells += [f"{line[score]['mean']:.3f}" if score in line else "" for score in (*SCORES, *spreads)]
        gains = [line[score].get(f"minus {base}") for base in SHOWN for score in ("dice", "boundary_iou")]
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
