"""The report of a run folder, from the files in it; needs no network and no GPU."""

import json
from pathlib import Path

from segcgan.errors import SegcganError
from segcgan.metrics.cases import read_rows
from segcgan.metrics.summary import case_table
from segcgan.report.curves import curves
from segcgan.report.html import write_report

_CASES_SHOWN = 60
_WORDS = ("best", "median", "worst")


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
        "gate": facts.get("gate", "none"),
        "refined masks kept": f"{scores['accepted']} of {scores['cases']}",
        "segcgan": f"{facts.get('version', '')}, torch {facts.get('torch', '')}",
    }
    stages = sorted((run / "stages").glob("*.json"), key=lambda path: path.stat().st_mtime)
    for path in stages:
        stage = json.loads(path.read_text())
        if "seconds" in stage:
            shown[path.stem] = (
                f"{stage['epochs']} epochs, best {stage['epoch'] + 1}, {stage['seconds'] / 60:.1f} min"
            )
    for stage, bank in facts.get("bank", {}).items():
        kind = "validation" if stage == "segmenter" else "held-out"
        shown[f"coarse Dice, {stage}"] = f"{bank['dice']:.3f} on {bank['cases']} {kind} cases"
    curve_files = sorted((run / "logs").glob("*/metrics.csv"), key=lambda path: path.stat().st_mtime)
    logs = {path.parent.name: path for path in curve_files}
    pictures = {word: run / "previews" / f"{split}_{word}.png" for word in _WORDS}
    header, lines = case_table(read_rows(run / f"cases_{split}.csv"))
    notes = (
        []
        if split == "test"
        else ["Validation cases chose epochs and gate: the test split tells how well it does."]
    )
    if len(lines) > _CASES_SHOWN:
        notes.append(f"The first {_CASES_SHOWN} of {len(lines)} rows are shown; all are in cases_{split}.csv.")
    write_report(
        run / "report.html",
        f"{facts.get('name', 'segcgan')} – {run.name}",
        shown,
        (scores["table"][0], scores["table"][1]),
        curves(logs) if logs else None,
        [(word, path.read_bytes()) for word, path in pictures.items() if path.is_file()],
        (header, lines[:_CASES_SHOWN]),
        notes,
    )
    return run / "report.html"
