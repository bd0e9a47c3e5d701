"""The verb ``compare``: two runs on the same cases, as a table, a JSON file and a picture."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from segcgan.atomic import replacing, write_text
from segcgan.errors import SegcganError
from segcgan.metrics import comparison as paired
from segcgan.metrics.blocks import SIDE, Block, block_differences, read_blocks
from segcgan.metrics.cases import Row, read_rows
from segcgan.metrics.objects import HARM, Object, read_objects
from segcgan.metrics.summary import Table, number
from segcgan.report.forest import forest, scatter
from segcgan.runs import Run


def command(chosen: argparse.Namespace) -> tuple[Table, list[str]]:
    """Compare every pair asked for.

    Args:
        chosen: pairs of comma-separated runs, split, variants, output folder.

    Returns:
        the table, and sentences to go with it.

    Raises:
        SegcganError: a run without scores of the split, different cases, or scores measured differently.
    """
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
    return _table(found), [*said, f"written: compare.json, compare.png and cases.png in {folder}"]


def _compare(a: str, b: str, chosen: argparse.Namespace) -> dict[str, Any]:
    (rows_a, objects_a, blocks_a), (rows_b, objects_b, blocks_b) = (_read(each, chosen.split) for each in (a, b))
    variants = [_variant(rows[0], wish) for rows, wish in ((rows_a, chosen.variant_a), (rows_b, chosen.variant_b))]
    first, second = paired.by_case(rows_a, variants[0], a), paired.by_case(rows_b, variants[1], b)
    paired.same_cases(first, second, a, b)
    for rows in [*rows_a[1:], *rows_b]:
        paired.same_measure(rows_a[0], rows, a, b)
    groups = {row.case: row.group for row in rows_a[0]}
    found = paired.differences(first, second, groups)
    ious = paired.case_pairs(first, second)
    cases = paired.tally([b - a for a, b in ious])
    objects = paired.tally(paired.object_changes(objects_a, objects_b, *variants))
    name = Run.find(Path(b.split(",")[0])).facts.get("name", Path(b).name)
    sentences = [_said("cases", cases), *([_said("objects", objects)] if objects.units else [])]
    count = len({groups[case] for case, _ in first})
    if count == 1:
        pooled = {each.score: each for each in block_differences(blocks_a, blocks_b, variants)}
        found = [pooled.get(each.score, each) for each in found]
        sentences.append(_one_group(next((each.groups for each in pooled.values()), 0)))
    elif count < paired.FEW_GROUPS:
        least = f"no p below {2 / 2**count:.3g} is possible"
        sentences.append(f"only {count} patients or scenes: {least}; take the intervals as a hint")
    return {"name": name, "a": a, "b": b, "split": chosen.split, "variants": variants,
            "differences": found, "cases": asdict(cases), "objects": asdict(objects), "ious": ious,
            "sentences": [f"{name}: {each}" for each in sentences]}  # fmt: skip


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


def _read(names: str, split: str) -> tuple[list[list[Row]], list[list[Object]], list[list[Block]]]:
    """Read rows, objects and blocks of one run, or of several of the same config that differ in their seed."""
    rows, objects, blocks = [], [], []
    for name in names.split(","):
        folder = Run.find(Path(name)).folder
        path = folder / f"cases_{split}.csv"
        if not path.is_file():
            verb = "test" if split == "test" else "validate"
            raise SegcganError(f"{folder} has no scores of the {split} split; make them with segcgan {verb}")
        rows.append(read_rows(path))
        objects.append(read_objects(folder / f"objects_{split}.csv"))
        blocks.append(read_blocks(folder / f"blocks_{split}.csv"))
    return rows, objects, blocks


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
            digits = 2 if each.score in ("hd95", "assd") else 4
            span = f"{number(each.low, digits, signed=True)} … {number(each.high, digits, signed=True)}"
            cells = [paired.SCORES[each.score], number(each.first, digits), number(each.second, digits),
                     number(each.mean, digits, signed=True), span if each.low == each.low else "–",
                     number(each.p, 4), number(each.adjusted, 4), str(each.cases), str(each.groups)]  # fmt: skip
            lines.append([*([one["name"]] if several else []), *cells])
    return header, lines
