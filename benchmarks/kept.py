"""Scores of finished seeds, kept beside the results: tables are made of them alone, although runs were thrown away.

A file holds the rows of one seed that one set of settings made, and its name says which:

    CONFIG_BASE_DATE_seed_N.csv                   the segmenter and what is made of segmenters alone
    CONFIG_BASE_OVERLAY_OWN_DATE_seed_N.csv       a refiner (configs/refiners/OVERLAY.yaml) behind that segmenter

BASE is the digest of the config and what changes it in every row, OWN that of the overlay alone. So a changed overlay
leaves all other rows in place, and a changed config none. Scores of settings that have changed since stay readable:
they are scores of the settings of their DATE, and tables call them "older config".
"""

import csv
import hashlib
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from segcgan.atomic import replacing, write_text
from segcgan.metrics.blocks import Block
from segcgan.metrics.cases import Row
from segcgan.metrics.records import read_records, write_records
from segcgan.runs import FORMAT

KEPT = Path(__file__).parent / "results" / "seeds"
CONFIGS = Path(__file__).parents[1] / "configs"
SCORES = {"dice": "Dice", "iou": "IoU", "boundary_iou": "Boundary IoU", "hd95": "HD95"}
OVERLAYS = {  # rows' names → configs/refiners/*.yaml
    "residual": "residual", "cGAN": "cgan", "cGAN, weight 0": "cgan_without_critic", "VAE": "vae"
}  # fmt: skip
TEMPLATE = "image-blind template"
_NAME = re.compile(
    r"(?P<config>.+?)_(?P<base>[0-9a-f]{8})(?:_(?P<overlay>[a-z_]+)_(?P<own>[0-9a-f]{8}))?"
    r"_(?P<date>\d{4}-\d\d-\d\d)_seed_(?P<seed>\d+)"
)

Spreads = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Kept:
    """What the name of a file says."""

    config: str
    base: str
    overlay: str  # empty: the segmenter
    own: str  # digest of the overlay; empty without one
    date: str
    seed: int

    @property
    def path(self) -> Path:
        """Where the rows are."""
        behind = f"_{self.overlay}_{self.own}" if self.overlay else ""
        return KEPT / f"{self.config}_{self.base}{behind}_{self.date}_seed_{self.seed}.csv"

    @property
    def settings(self) -> tuple[str, str, str]:
        """What tells its rows from those made otherwise."""
        return self.base, self.overlay, self.own


def base_digest(configs: Sequence[str], extra: Sequence[str]) -> str:
    """Return what tells settings of all rows apart: the configs and words on the command line."""
    return _digest([_settings(config) for config in configs], list(extra))


def own_digest(overlay: str) -> str:
    """Return what tells one refiner apart, behind whatever segmenter: its settings and how refiners learn.

    The format of runs counts changes of the latter.
    """
    return _digest(_settings(f"refiners/{overlay}"), FORMAT)


def template_digest(config: str) -> str:
    """Return what tells apart the settings of a row that only reads training masks."""
    data = _settings(config)["data"]
    return _digest({key: data.get(key) for key in ("images", "classes", "boundary")})


def current(config: str, base: str = "") -> set[tuple[str, str, str]]:
    """Return the settings that the shipped configs have today; a "+" joins a config and what changes it.

    Args:
        config: its name.
        base: digest of what is wanted instead of the config as it is shipped, as words on the command line change it.
    """
    first, *more = config.split("+")
    configs = [first, *(next(CONFIGS.glob(f"*/{name}.yaml")).relative_to(CONFIGS).with_suffix("") for name in more)]
    if any(not (CONFIGS / f"{each}.yaml").is_file() for each in configs):
        return set()
    base = base or base_digest([str(each) for each in configs], [])
    behind = {(base, overlay, own_digest(overlay)) for overlay in OVERLAYS.values()}
    return {(base, "", ""), *behind, (template_digest(first), "", "")}


def listed(config: str = "") -> list[Kept]:
    """Return what is kept, of a config or of all, oldest first; of equal settings and seed only the newest."""
    found = {}
    for path in sorted(KEPT.glob("*.csv")):
        parts = _NAME.fullmatch(path.stem)
        if parts and config in ("", parts["config"]):
            one = Kept(**parts.groupdict("") | {"seed": int(parts["seed"])})
            found[one.config, one.settings, one.seed] = one
    return sorted(found.values(), key=lambda one: (one.config, one.date, one.settings, one.seed))


def keep(
    config: str, settings: tuple[str, str, str], seed: int, rows: dict[str, list[Row]],
    blocks: dict[str, list[Block]], spreads: Spreads, date: str = "",
) -> Path:  # fmt: skip
    """Write the rows of one seed and one set of settings by name of the table's row, in place of older ones."""
    for one in listed(config):
        if (one.settings, one.seed) == (settings, seed):
            for path in (one.path, one.path.with_suffix(".blocks.csv"), one.path.with_suffix(".json")):
                path.unlink(missing_ok=True)
    path = Kept(config, *settings, date or time.strftime("%Y-%m-%d"), seed).path
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft, draft.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["row", "case", "group", "class", "status", "unit", "band", *SCORES])
        for name, found in rows.items():
            for row in found:
                values = [f"{getattr(row, score):.5g}" for score in SCORES]
                writer.writerow([name, row.case, row.group, row.class_name, row.status, row.unit, row.band, *values])
    counts = [each for found in blocks.values() for each in found]  # a volume has none
    if counts and len({row.group for found in rows.values() for row in found}) == 1:  # a single scene needs them
        write_records(path.with_suffix(".blocks.csv"), Block, counts)
    if any(spreads.values()):
        write_text(path.with_suffix(".json"), json.dumps(spreads, indent=1) + "\n")
    return path


def recall(path: Path) -> tuple[dict[str, list[Row]], list[Block], Spreads]:
    """Read what ``keep`` wrote; the variant of a row is the name of the table's row."""
    rows: dict[str, list[Row]] = {}
    with path.open(newline="", encoding="utf-8") as stream:
        for line in csv.DictReader(stream):
            scores = {score: float(line[score]) for score in SCORES}
            row = Row(line["case"], line["group"], line["row"], line["class"], line["status"], **scores,
                      voxels_reference=0, voxels_prediction=0, unit=line["unit"], band=float(line["band"]))  # fmt: skip
            rows.setdefault(line["row"], []).append(row)
    counts, more = path.with_suffix(".blocks.csv"), path.with_suffix(".json")
    blocks = read_records(counts, Block) if counts.is_file() else []
    return rows, blocks, json.loads(more.read_text()) if more.is_file() else {}


def _settings(config: str) -> dict:
    return yaml.safe_load((CONFIGS / f"{config}.yaml").read_text())


def _digest(*what: object) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]
