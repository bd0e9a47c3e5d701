"""Scores of finished seeds, kept beside the results: a table can grow although its runs were thrown away."""

import csv
import hashlib
import json
from pathlib import Path

import yaml

from segcgan.atomic import replacing, write_text
from segcgan.metrics.blocks import Block
from segcgan.metrics.cases import Row
from segcgan.metrics.records import read_records, write_records

KEPT = Path(__file__).parent / "results" / "seeds"
CONFIGS = Path(__file__).parents[1] / "configs"
SCORES = {"dice": "Dice", "iou": "IoU", "boundary_iou": "Boundary IoU", "hd95": "HD95"}

Spreads = dict[str, dict[str, float]]


def digest(configs: list[str], extra: list[str]) -> str:
    """Return what tells settings apart: of seeds trained otherwise no table is made."""
    paths = [*(CONFIGS / f"{config}.yaml" for config in configs), *sorted((CONFIGS / "refiners").glob("*.yaml"))]
    settings = [yaml.safe_load(path.read_text()) for path in paths]
    return hashlib.sha256(json.dumps([settings, extra], sort_keys=True).encode()).hexdigest()[:8]


def path_of(config: str, seed: int, settings: str) -> Path:
    """Return where the scores of a seed are kept."""
    return KEPT / f"{config}_{settings}_seed_{seed}.csv"


def keep(path: Path, rows: dict[str, list[Row]], blocks: dict[str, list[Block]], spreads: Spreads) -> None:
    """Write the rows of one seed by name of the table's row; blocks only where a single scene makes them needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft, draft.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["row", "case", "group", "class", "unit", "band", *SCORES])
        for name, found in rows.items():
            for row in found:
                values = [f"{getattr(row, score):.5g}" for score in SCORES]
                writer.writerow([name, row.case, row.group, row.class_name, row.unit, row.band, *values])
    counts = [each for found in blocks.values() for each in found]  # a volume has none
    if counts and len({row.group for found in rows.values() for row in found}) == 1:
        write_records(path.with_suffix(".blocks.csv"), Block, counts)
    if any(spreads.values()):
        write_text(path.with_suffix(".json"), json.dumps(spreads, indent=1) + "\n")


def recall(path: Path) -> tuple[dict[str, list[Row]], list[Block], Spreads]:
    """Read what ``keep`` wrote; the variant of a row is the name of the table's row."""
    rows: dict[str, list[Row]] = {}
    with path.open(newline="", encoding="utf-8") as stream:
        for line in csv.DictReader(stream):
            scores = {score: float(line[score]) for score in SCORES}
            row = Row(line["case"], line["group"], line["row"], line["class"], "", **scores, voxels_reference=0,
                      voxels_prediction=0, unit=line["unit"], band=float(line["band"]))  # fmt: skip
            rows.setdefault(line["row"], []).append(row)
    counts, more = path.with_suffix(".blocks.csv"), path.with_suffix(".json")
    blocks = read_records(counts, Block) if counts.is_file() else []
    return rows, blocks, json.loads(more.read_text()) if more.is_file() else {}
