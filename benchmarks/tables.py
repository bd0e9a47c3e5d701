"""All tables of benchmarks/refiners.py and the claims made of them, again, from the scores that are kept.

    python benchmarks/tables.py         (a few minutes; trains nothing and needs no data)

Writes results/refiners_<config>.json for every config with kept seeds, and results/claims.json: every comparison of a
refiner with the same compute spent otherwise, under both rules for rightly empty masks, with Holm's correction.
"""

import json
from dataclasses import dataclass
from typing import Any

from kept import OVERLAYS, listed  # beside this file
from summary import RESULTS, shown, write_table

from segcgan.metrics.comparison import Difference, holm

BASES = {"trained longer": ("dice", "boundary_iou"), "mean of two": ("dice", "boundary_iou")}
RULES = ("", ", left out")


@dataclass(frozen=True)
class Claim:
    """A comparison under both rules."""

    config: str
    row: str
    score: str
    base: str
    gains: tuple[dict[str, Any], dict[str, Any]]


def claims_of(table: dict[str, Any]) -> list[Claim]:
    """Return the comparisons of one table that have an interval."""
    found = []
    for line in table["rows"]:
        if not any(line["row"].startswith(f"+ {name}, no gate") for name in OVERLAYS):
            continue
        for base, scores in BASES.items():
            for score in scores:
                gains = tuple(line[score].get(f"minus {base}{rule}") for rule in RULES)
                if all(gain and gain["interval"] for gain in gains):
                    found.append(Claim(table["config"], line["row"], score, base, gains))
    return found


def write_claims(tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Write ``results/claims.json``: all comparisons, with p values adjusted over all of them."""
    claims = [claim for table in tables for claim in claims_of(table)]
    adjusted = [_adjusted([claim.gains[index] for claim in claims]) for index in range(len(RULES))]
    lines = []
    for place, claim in enumerate(claims):
        line: dict[str, Any] = {"config": claim.config, "row": claim.row, "score": claim.score, "minus": claim.base}
        for index, said in enumerate(("rightly empty = 1", "rightly empty left out")):
            line[said] = claim.gains[index] | {"p (Holm)": adjusted[index][place]}
        lines.append(line)
    facts = {"comparisons": len(lines), "Holm": "over all comparisons of this file, of each rule", "claims": lines}
    (RESULTS / "claims.json").write_text(json.dumps(facts, indent=1) + "\n")
    return lines


def _adjusted(gains: list[dict[str, Any]]) -> list[float]:
    return [each.adjusted for each in holm([Difference("", 0, 0, 0, 0, 0, g["p"], g["p"], 0, 0) for g in gains])]


def main() -> None:
    """Remake everything that is made of kept scores."""
    configs = sorted({one.config for one in listed()})
    lines = write_claims([write_table(config) for config in configs])
    heads = ["set", "row", "score", "minus", "rightly empty = 1", "p", "p (Holm)", "left out", "p", "p (Holm)"]
    print("\n| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for line in lines:
        cells = [line["config"], line["row"], line["score"], line["minus"]]
        for said in ("rightly empty = 1", "rightly empty left out"):
            cells += [shown(line[said]), f"{line[said]['p']:.4f}", f"{line[said]['p (Holm)']:.3f}"]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
