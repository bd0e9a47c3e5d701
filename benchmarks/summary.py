"""What the rows scored, compared, as a table and as JSON."""

import json
from pathlib import Path
from typing import Any

import kept  # beside this file
import numpy as np
from scored import OLDER, SPREADS, Scored, collect

from segcgan.metrics.blocks import block_differences
from segcgan.metrics.comparison import MEDIANS, SHARES, Difference, by_case, differences

RESULTS = Path(__file__).parent / "results"
SCORES = {
    "dice": "Dice", "iou": "IoU", "boundary_iou": "Boundary IoU", "hd95_median": "HD95, median", "missed": "missed",
    "invented": "invented", "hd95": "HD95, mean",
}  # fmt: skip
BASES = ("segmenter", "trained longer", "mean of two", "post-processed")
SHOWN = BASES[1:3]  # in the printed table; the JSON has all
RULE = "a mask that is rightly empty scores 1 and has no HD95"
CONVENTIONS = {
    "rightly empty": f"{RULE}; 'left out': such cases dropped from both sides, the rule until 28 November",
    "hd95_median": "median over the cases where both masks exist, mean of it over seeds; a difference is one of "
    "medians, over cases where both rows have an HD95, averaged over seeds first",
    "missed": "share of references that show the class and got no mask of it",
    "invented": "share of references that lack the class and got a mask of it",
    "hd95": "mean over the cases that every row has one of; a missed or invented object counts the image diagonal",
}


def against(row: Scored, base: Scored, empty: float = 1.0) -> dict[str, Difference]:
    """Compare as ``segcgan compare`` does: means over common seeds, resampled by group; by block in a single scene."""
    seeds = sorted(row.rows.keys() & base.rows.keys())
    if not seeds:
        return {}
    first, second = (by_case([each.rows[s] for s in seeds], each.name, "", empty) for each in (base, row))
    groups = {each.case: each.group for each in row.rows[seeds[0]]}
    found = differences(first, second, groups)
    if len(set(groups.values())) == 1:
        blocks = [[each.blocks[s] for s in seeds] for each in (base, row)]
        found = block_differences(*blocks, (base.name, row.name), empty=empty)
    return {each.score: each for each in found}


def bases_of(name: str, found: dict[str, Scored]) -> dict[str, Scored]:
    """Return what a row is compared with: rows behind the same segmenter, and itself by its older config.

    Of a row without a segmenter it is today's, or else any.
    """
    mine = found[name]
    related = [row for row in found.values() if row.settings[0] == mine.settings[0]]
    if name.startswith(kept.TEMPLATE):
        related = list(found.values())
    bases = {base: next(row for row in related if row.name.split(OLDER[:-1])[0] == base) for base in BASES
             if any(row.name.split(OLDER[:-1])[0] == base for row in related)}  # fmt: skip
    if f"{name}{OLDER}" in found:
        bases["its older config"] = found[f"{name}{OLDER}"]
    return bases


def lines_of(found: dict[str, Scored]) -> list[dict[str, Any]]:
    """Return a line per row: means, by seed, and differences with their intervals under both rules."""
    measured = {(r.case, r.class_name) for s in found.values() for rows in s.rows.values() for r in rows}
    for scored in found.values():
        for rows in scored.rows.values():
            measured &= {(row.case, row.class_name) for row in rows if row.hd95 == row.hd95}
    lines: list[dict[str, Any]] = []
    for name, scored in found.items():
        line: dict[str, Any] = {
            "row": name, "config": scored.settings[0], "overlay": " ".join(scored.settings[1:]).strip(),
            "scored": scored.date, "older config": OLDER[:-1] in name, "seeds": sorted(scored.rows),
        }  # fmt: skip
        for score in SCORES:
            values = [[getattr(row, score) for row in rows if score != "hd95" or (row.case, row.class_name) in measured]
                      for rows in scored.rows.values()]  # fmt: skip
            line[score] = _over_seeds(values, np.median if score in MEDIANS else np.mean)
        for score in next(iter(scored.spreads.values())):
            line[score] = _over_seeds([[spread[score]] for spread in scored.spreads.values()], np.mean)
        for base, other in bases_of(name, found).items():
            if other is scored:
                continue
            gains = against(scored, other)
            statuses = {row.status for one in (scored, other) for rows in one.rows.values() for row in rows}
            without = against(scored, other, float("nan")) if "both_empty" in statuses else gains
            rules = {"": gains, ", left out": without}
            for said, gains in rules.items():
                for score, gain in gains.items():
                    if score in SCORES and not (said and score in (*MEDIANS, *SHARES, "hd95")):
                        line[score][f"minus {base}{said}"] = _gain(gain)
        lines.append(line)
    return lines


def _gain(gain: Difference) -> dict[str, Any]:
    interval = None if gain.low != gain.low else (gain.low, gain.high)
    p = None if gain.p != gain.p else gain.p
    return {"mean": gain.mean, "interval": interval, "p": p, "units": gain.groups}


def _interval(groups: int, found: dict[str, Scored]) -> str:
    if groups == 1 and not any(any(scored.blocks.values()) for scored in found.values()):
        return "none: a single volume"
    return "95 %, bootstrap over " + ("groups" if groups > 1 else "blocks") + " of the mean over seeds"


def write_table(
    config: str, seeds: list[int] | None = None, costs: dict[str, float] | None = None, base: str = ""
) -> dict[str, Any]:
    """Print the table and write ``results/refiners_<config>.json``.

    Args:
        config: its name.
        seeds: of the table; None = all that are kept.
        costs: of steps; None or empty = what an earlier table says.
        base: digest of the settings whose rows have no mark; empty = the config as it is shipped.
    """
    found = collect(config, seeds, base)
    if not found:
        raise SystemExit(f"no scores of {config} are kept yet")
    path = RESULTS / f"refiners_{config}.json"
    before = json.loads(path.read_text()).get("step costs", {}) if path.is_file() else {}
    rows = next(iter(next(iter(found.values())).rows.values()))
    groups = len({row.group for row in rows})
    facts = {
        "config": config, "cases": len({row.case for row in rows}), "groups": groups,
        "references without the class": sum(row.status in ("both_empty", "ref_empty") for row in rows),
        "unit": rows[0].unit, "boundary band": rows[0].band, "step costs": costs or before,
        "interval": _interval(groups, found), "intervals are": "not corrected for their number",
        "conventions": CONVENTIONS,
    }  # fmt: skip
    lines = lines_of(found)
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(facts | {"rows": lines}, indent=1) + "\n")
    _print(config, facts, lines)
    return facts | {"rows": lines}


def _print(config: str, facts: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    cost = ", ".join(f"{name} {value:.2f}" for name, value in facts["step costs"].items())
    cases = f"{facts['cases']} test cases of {facts['groups']} groups"
    print(f"\n{config}: {cases}; a step costs, in segmenter steps: {cost}")
    print(f"{facts['references without the class']} references lack the class; {RULE}")
    spreads = [key for key in SPREADS.values() if any(key in line for line in lines)]
    heads = ["row", "scored", "seeds", *SCORES.values(), *spreads]
    heads += [f"{SCORES[score]} − {base} [95 %]" for base in SHOWN for score in ("dice", "boundary_iou")]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for line in lines:
        cells = [line["row"], line["scored"], str(len(line["seeds"]))]
        cells += [_number(line[score]["mean"]) if score in line else "" for score in (*SCORES, *spreads)]
        gains = [line[score].get(f"minus {base}") for base in SHOWN for score in ("dice", "boundary_iou")]
        cells += ["" if gain is None else shown(gain) for gain in gains]
        print("| " + " | ".join(cells) + " |")


def shown(gain: dict[str, Any]) -> str:
    """Return a difference with its interval, as text."""
    span = "" if gain["interval"] is None else " [{:+.3f}, {:+.3f}]".format(*gain["interval"])
    return f"{gain['mean']:+.3f}{span}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _over_seeds(values: list[list[float]], middle: Any) -> dict[str, Any]:
    """Middle over cases of every seed, and the mean over seeds; None where no case has the score."""
    known = [[value for value in each if value == value] for each in values]
    means = [float(middle(each)) if each else None for each in known]
    told = [each for each in means if each is not None]
    return {"mean": float(np.mean(told)) if told else None, "by seed": means}
