"""What README.md and benchmarks/README.md say of the results is what benchmarks/results says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = {"README.md": ROOT / "README.md", "benchmarks/README.md": ROOT / "benchmarks" / "README.md"}
SETS = {
    "water": "water_multispectral", "nuclei": "nuclei", "cardiac MR": "cardiac_mr", "aerial": "aerial_buildings",
    "liver CT": "ct_liver", "lung nodules": "lung_nodule_raters",
}  # fmt: skip
ROWS = {"thresholds": "segmenter, thresholds", "template": "image-blind template"}
ROWS |= {f"+ {name}": f"+ {name}, no gate" for name in ("residual", "cGAN", "VAE")}
COLUMNS = {
    "Dice": "dice", "IoU": "iou", "Boundary IoU": "boundary_iou", "HD95, median": "hd95_median", "missed": "missed",
    "invented": "invented", "HD95, mean": "hd95", "GED²": "ged2", "matched IoU": "matched_iou",
}  # fmt: skip
INTERVAL = re.compile(r"([+−]\d\.\d{3}) \(([+−]\d\.\d{3}) … ([+−]\d\.\d{3})\)")


def results(config: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"refiners_{config}.json").read_text())


def tables(page: str) -> list[list[list[str]]]:
    """All tables of a page: lists of lines of cells, without the line of dashes."""
    found, lines = [], []
    for line in [*PAGES[page].read_text(encoding="utf-8").splitlines(), ""]:
        if line.startswith("|"):
            lines.append([cell.strip().strip("*") for cell in line.strip().strip("|").split("|")])
        elif lines:
            found.append([lines[0], *lines[2:]])
            lines = []
    return found


def row_of(config: str, label: str) -> dict[str, Any]:
    """The line of a row: of today's config if there is one and no other is named, else of the older."""
    name = ROWS.get(label.removesuffix(" (older config)"), label.removesuffix(" (older config)"))
    rows = {row["row"]: row for row in results(config)["rows"]}
    older = f"{name} (older config)"
    return rows[older] if label.endswith("(older config)") or name not in rows else rows[name]


def written(value: str) -> float:
    return float(value.replace("−", "-"))


def same(shown: str, value: float) -> bool:
    digits = len(shown.partition(".")[2])
    return abs(written(shown) - value) <= 0.5 * 10**-digits * (1 + 1e-6)


def comparisons() -> list[tuple[float, float, float]]:
    """Every difference with an interval that any result file holds."""
    found = []

    def walk(part: Any) -> None:
        if isinstance(part, dict):
            if part.get("interval") and "mean" in part:
                found.append((part["mean"], *part["interval"]))
            for each in part.values():
                walk(each)
        elif isinstance(part, list):
            for each in part:
                walk(each)

    for path in RESULTS.glob("*.json"):
        walk(json.loads(path.read_text()))
    return found


def test_the_results_table_of_the_readme_is_that_of_the_json():
    (table,) = [each for each in tables("README.md") if each[0][1].startswith("water")]
    header, *lines = table
    checked = 0
    for label, *cells in lines:
        for head, cell in zip(header[1:], cells, strict=True):
            if not cell:
                continue
            if head.startswith(("GED²", "missed")):
                row = row_of("lung_nodule_raters", label)
                scores = ["ged2"] if head.startswith("GED²") else ["missed", "invented"]
            else:
                name, seeds = head.rsplit(", ", 1)
                row, scores = row_of(SETS[name], label), ["dice", "iou", "boundary_iou"]
                if seeds.endswith("seeds"):
                    assert len(row["seeds"]) == int(seeds.split()[0]), (label, head)
            shown = cell.replace("*", "").split(" / ")
            for text, score in zip(shown, scores, strict=True):
                assert same(text, row[score]["mean"]), (label, head, text, row[score]["mean"])
                checked += 1
    assert checked > 100


@pytest.mark.parametrize("page", PAGES)
def test_every_difference_with_an_interval_is_one_of_the_json(page):
    known = comparisons()
    found = INTERVAL.findall(PAGES[page].read_text(encoding="utf-8").replace("\n", " "))
    assert len(found) >= 3
    for shown in found:
        assert any(all(map(same, shown, values)) for values in known), shown


def test_the_table_of_lung_nodules_is_that_of_the_json():
    (table,) = [each for each in tables("benchmarks/README.md") if "HD95, median" in each[0]]
    header, *lines = table
    assert len(lines) >= 9
    for label, *cells in lines:
        row = row_of("lung_nodule_raters", label)
        for head, cell in zip(header[1:], cells, strict=True):
            assert not cell or same(cell, row[COLUMNS[head]]["mean"]), (label, head, cell, row[COLUMNS[head]])


def test_the_claims_of_both_rules_are_those_of_the_json():
    (table,) = [each for each in tables("benchmarks/README.md") if "left out" in each[0]]
    claims = json.loads((RESULTS / "claims.json").read_text())["claims"]
    header, *lines = table
    assert header[:3] == ["row", "score", "minus"]
    assert len(lines) >= 5
    for name, score, minus, *cells in lines:
        (claim,) = [
            each for each in claims
            if each["config"] == "lung_nodule_raters" and each["minus"] == minus and each["score"] == COLUMNS[score]
            and each["row"].removesuffix(" (older config)") == ROWS[f"+ {name}"]
        ]  # fmt: skip
        for (gain, holm), rule in zip(
            (cells[:2], cells[2:]), ("rightly empty = 1", "rightly empty left out"), strict=True
        ):
            (shown,) = INTERVAL.findall(gain)
            assert all(map(same, shown, (claim[rule]["mean"], *claim[rule]["interval"]))), (name, minus, gain)
            assert same(holm, claim[rule]["p (Holm)"]), (name, minus, holm)


def test_every_table_says_its_rule_and_what_made_its_rows():
    for config in SETS.values():
        facts = results(config)
        assert facts["conventions"]["rightly empty"].startswith("a mask that is rightly empty scores 1 and has no HD95")
        assert facts["intervals are"] == "not corrected for their number"
        for row in facts["rows"]:
            assert re.fullmatch(r"[0-9a-f]{8}", row["config"])
            assert re.fullmatch(r"\d{4}-\d\d-\d\d", row["scored"])
