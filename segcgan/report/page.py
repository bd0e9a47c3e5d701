"""The report of a run folder, from the files in it; needs no network and no GPU."""

import json
from pathlib import Path

from segcgan.errors import SegcganError
from segcgan.metrics.cases import Row
from segcgan.metrics.records import read_records
from segcgan.metrics.summary import case_table
from segcgan.report.curves import curves
from segcgan.report.html import write_report
from segcgan.report.strips import first_strips

_CASES_SHOWN = 60
_SHEETS_SHOWN = 4
_GATE = (
    "The gate promises something about groups (patients, scenes) like those of validation. Harm to a group: the pixels "
    "that its accepted refined masks make wrong where the coarse mask was right, over the foreground of its reference, "
    "at most 1; and 1 if the reference is empty and a pixel is added."
)
_WORDS = {"best": "Best case by mean Dice", "median": "Median case", "worst": "Worst case"}


def write_run_report(run: Path) -> Path:
    """Write ``report.html`` of a run: the test split if it was scored, else validation.

    Raises:
        SegcganError: nothing was scored yet.
    """
    split = next((name for name in ("test", "val") if (run / f"scores_{name}.json").is_file()), None)
    if split is None:
        raise SegcganError(f"{run} has no scores yet; finish its training with the same fit command")
    scores = json.loads((run / f"scores_{split}.json").read_text())
    facts = json.loads((run / "run.json").read_text())
    shown = {
        "config": facts.get("name", ""),
        "scored on": f"{scores['cases']} {'test' if split == 'test' else 'validation'} cases",
        "refined masks kept": f"{scores['accepted']} of {scores['cases']}",
        "gate": facts.get("gate", "none"),
    }
    promised = facts.get("gate_fit", {}).get("promised")  # not of older runs, nor of every gate
    if promised:
        shown["gate promises"] = promised if facts["gate_fit"]["open"] else "nothing, every coarse mask is kept"
    shown |= {f"threshold, {what}": said for what, said in facts.get("thresholds", {}).items()}
    shown |= _stages(run, facts.get("bank", {}))
    shown["segcgan"] = f"{facts.get('version', '')}, torch {facts.get('torch', '')}"
    curve_files = sorted((run / "logs").glob("*/metrics.csv"), key=lambda path: path.stat().st_mtime)
    logs = {path.parent.name: path for path in curve_files}
    pictures = {said: run / "previews" / f"{split}_{word}.png" for word, said in _WORDS.items()}
    header, lines = case_table(read_records(run / f"cases_{split}.csv", Row))
    notes = (
        []
        if split == "test"
        else ["Validation cases chose epochs, thresholds and gate: the test split tells how well it does."]
    )
    if promised:
        notes.append(_GATE)
    if len(lines) > _CASES_SHOWN:
        notes.append(f"The first {_CASES_SHOWN} of {len(lines)} rows are shown; all are in cases_{split}.csv.")
    write_report(
        run / "report.html",
        f"{facts.get('name', 'segcgan')} – {run.name}",
        shown,
        (scores["table"][0], scores["table"][1]),
        curves(logs) if logs else None,
        [(said, path.read_bytes()) for said, path in pictures.items() if path.is_file()],
        (header, lines[:_CASES_SHOWN]),
        notes,
        _epochs(run / "previews"),
    )
    return run / "report.html"


def _stages(run: Path, bank: dict[str, dict[str, float]]) -> dict[str, str]:
    """What each stage did, in the order of training."""
    said = {}
    for path in sorted((run / "stages").glob("*.json"), key=lambda path: path.stat().st_mtime):
        stage = json.loads(path.read_text())
        if "seconds" in stage:
            text = f"{stage['epochs']} epochs, best {stage['epoch'] + 1}, {stage['seconds'] / 60:.1f} min"
            if path.stem in bank:
                kind = "validation" if path.stem == "segmenter" else "held-out"
                found = bank[path.stem]
                text += f"; coarse Dice {found['dice']:.3f} on {found['cases']} {kind} cases"
            said[path.stem] = text
    return said


def _epochs(folder: Path) -> list[tuple[str, bytes]]:
    """One case over the epochs of each stage, first and last among them: (caption, PNG file)."""
    stages: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*_epoch_*.png"), key=lambda path: path.stat().st_mtime):
        stages.setdefault(path.name.partition("_epoch_")[0], []).append(path)
    shown = []
    for stage, sheets in stages.items():
        sheets = sorted(sheets, key=lambda path: int(path.stem.rpartition("_")[2]))
        count = min(len(sheets), _SHEETS_SHOWN)
        picked = [sheets[round(i * (len(sheets) - 1) / max(1, count - 1))] for i in range(count)]
        shown.append((f"{stage}: the same validation case in {count} epochs", first_strips(picked)))
    return shown
