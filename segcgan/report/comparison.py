"""The verb ``compare``: two runs on the same cases, as a table, a JSON file and a picture."""

import argparse
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from segcgan.atomic import replacing, write_text
from segcgan.errors import SegcganError
from segcgan.metrics import comparison as paired
from segcgan.metrics.blocks import SIDE, Block, block_differences
from segcgan.metrics.cases import Row, settle
from segcgan.metrics.objects import HARM, Object
from segcgan.metrics.pair import Convention
from segcgan.metrics.records import read_records
from segcgan.metrics.summary import Table, number
from segcgan.report.forest import forest, scatter
from segcgan.runs import Run


def command(chosen: argparse.Namespace) -> tuple[Table, list[str]]:
    """Compare every pair asked for.

    Args:
        chosen: pairs of comma-separated runs, split, variants, score of masks that are rightly empty, output folder.

    Returns:
        the table, and sentences to go with it.

    Raises:
        SegcganError: a run without scores of the split, different cases, scores measured differently, or no score.
    """
    Convention(empty=chosen.empty)  # refuses what is no score
    pairs = [(chosen.first, chosen.second), *(chosen.pair or [])]
    found = [_compare(a, b, chosen) for a, b in pairs]
    names = [one["name"] for one in found]
    for place, one in enumerate(found):
        if names.count(one["name"]) > 1:  # the same config twice is two lines of the picture, not one
            one["name"] += f" {names[: place + 1].count(names[place])}"
            one["sentences"] = [f"{one['name']}{said.removeprefix(names[place])}" for said in one["sentences"]]
    adjusted = paired.holm([each for one in found for each in one["differences"]])
    for one in found:
        one["differences"], adjusted = adjusted[: len(one["differences"])], adjusted[len(one["differences"]) :]
    folder = Path(chosen.output) if chosen.output else Run.find(Path(pairs[0][1].split(",")[0])).folder / "compare"
    folder.mkdir(parents=True, exist_ok=True)
    plain = [one | {"differences": [asdict(each) for each in one["differences"]]} for one in found]
    write_text(folder / "compare.json", json.dumps(plain, indent=1, default=asdict))
    with replacing(folder / "compare.png") as draft:
        draft.write_bytes(forest({one["name"]: one["differences"] for one in found}))
    with replacing(folder / "cases.png") as draft:
        draft.write_bytes(scatter({one["name"]: one["ious"] for one in found}))
    said = [sentence for one in found for sentence in one["sentences"]]
    return _table(found), [*said, _rule(chosen.empty), f"written: compare.json, compare.png and cases.png in {folder}"]


def _compare(a: str, b: str, chosen: argparse.Namespace) -> dict[str, Any]:
    sides = [_read(each, chosen.split, chosen.empty) for each in (a, b)]
    wishes = zip(sides, (chosen.variant_a, chosen.variant_b), strict=True)
    variants = [_variant(side.rows[0], wish) for side, wish in wishes]
    first, second = (
        paired.by_case(side.rows, variant, name, chosen.empty)
        for side, variant, name in zip(sides, variants, (a, b), strict=True)
    )
    paired.same_cases(first, second, a, b)
    reference, *others = [*sides[0].rows, *sides[1].rows]
    for rows in others:
        paired.same_measure(reference, rows, a, b)
    groups = {row.case: row.group for row in reference}
    found = paired.differences(first, second, groups)
    ious = paired.case_pairs(first, second)
    cases = paired.tally([b - a for a, b in ious])
    objects = paired.tally(paired.object_changes(sides[0].objects, sides[1].objects, *variants))
    name = Run.find(Path(b.split(",")[0])).facts.get("name", Path(b).name)
    sentences = [_said("cases", cases), *([_said("objects", objects)] if objects.units else [])]
    count = len({groups[case] for case, _ in first})
    if count == 1:
        parts = block_differences(sides[0].blocks, sides[1].blocks, variants, empty=chosen.empty)
        pooled = {each.score: each for each in parts}
        found = [pooled.get(each.score, each) for each in found]
        sentences.append(_one_group(next((each.groups for each in pooled.values()), 0)))
    elif count < paired.FEW_GROUPS:
        least = f"no p below {2 / 2**count:.3g} is possible"
        sentences.append(f"only {count} patients or scenes: {least}; take the intervals as a hint")
    for path in [*sides[0].missing, *sides[1].missing]:
        table = path.name.partition("_")[0]
        if table == "objects" or count == 1:
            sentences.append(f"{path} is missing, so {table} are not compared; score that run again")
    return {"name": name, "a": a, "b": b, "split": chosen.split, "variants": variants,
            "rightly empty": str(chosen.empty), "differences": found,
            "cases": asdict(cases), "objects": asdict(objects), "ious": ious,
            "sentences": [f"{name}: {each}" for each in sentences]}  # fmt: skip


def _rule(empty: float) -> str:
    overlap = "have no score" if empty != empty else f"score {empty:g}"
    return f"masks that are rightly empty {overlap} and have no distance; shares and medians are of case × class"


def _variant(rows: list[Row], wish: str | None) -> str:
    """What the gate chose, or the coarse mask of a run without refiner, unless something else is wished."""
    return wish or ("chosen" if any(row.variant == "chosen" for row in rows) else "coarse")


def _one_group(blocks: int) -> str:
    if blocks < 2:
        return "all cases belong to one patient or scene: there is no interval"
    return (
        f"all cases belong to one scene: Dice, IoU and Boundary IoU are pooled over its pixels and their intervals are "
        f"over {blocks} blocks of {SIDE} × {SIDE} pixels, neighbours taken as independent: they say nothing of "
        "other scenes"
    )


@dataclass
class _Side:
    """What is known of one run, or of several of the same config that differ in their seed."""

    rows: list[list[Row]] = field(default_factory=list)
    objects: list[list[Object]] = field(default_factory=list)
    blocks: list[list[Block]] = field(default_factory=list)
    missing: list[Path] = field(default_factory=list)  # tables that older versions did not write


def _read(names: str, split: str, empty: float) -> _Side:
    side = _Side()
    for name in names.split(","):
        folder = Run.find(Path(name)).folder
        path = folder / f"cases_{split}.csv"
        if not path.is_file():
            verb = "test" if split == "test" else "validate"
            raise SegcganError(f"{folder} has no scores of the {split} split; make them with segcgan {verb}")
        side.rows.append(settle(read_records(path, Row), empty))
        objects, blocks = (folder / f"{table}_{split}.csv" for table in ("objects", "blocks"))
        side.missing += [each for each in (objects, blocks) if not each.is_file()]
        side.objects.append(read_records(objects, Object) if objects.is_file() else [])
        side.blocks.append(read_records(blocks, Block) if blocks.is_file() else [])
    return side


def _said(what: str, tally: paired.Tally) -> str:
    return (
        f"of {tally.units} {what} {tally.better} better, {tally.worse} worse, {tally.harmed} harmed "
        f"(IoU down by more than {HARM}; at most {tally.bound:.1%} with 95 % confidence if they were independent)"
    )


def _table(found: list[dict[str, Any]]) -> Table:
    several = len(found) > 1
    header = ["score", "A", "B", "B − A", "95 % interval", "p", "p (Holm)", "cases", "groups"]
    header = ["data", *header] if several else header
    lines = []
    for one in found:
        for each in one["differences"]:
            digits = 2 if each.score in paired.DISTANCES else 4
            span = f"{number(each.low, digits, signed=True)} … {number(each.high, digits, signed=True)}"
            cells = [paired.SCORES[each.score], number(each.first, digits), number(each.second, digits),
                     number(each.mean, digits, signed=True), span if each.low == each.low else "–",
                     number(each.p, 4), number(each.adjusted, 4), str(each.cases), str(each.groups)]  # fmt: skip
            lines.append([*([one["name"]] if several else []), *cells])
    return header, lines
