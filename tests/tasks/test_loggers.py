"""wandb, offline: a run per stage, kept in the run folder."""

import sys
from pathlib import Path

import pytest

from segcgan.cli import main
from segcgan.runs import Run

WANDB = ["--trainer.logger=pytorch_lightning.loggers.WandbLogger", "--trainer.logger.offline=true"]


def test_every_stage_is_a_wandb_run_of_one_group(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny.parent)
    monkeypatch.setenv("WANDB_SILENT", "true")
    assert main(["fit", "--config", str(tiny), *WANDB, "--plan.folds=0"]) == 0
    run = Run.find(tiny.parent / "runs" / "tiny")
    found = list((run.folder / "logs" / "wandb").glob("offline-run-*"))
    assert len(found) == 2  # segmenter and refiner
    assert all(list(path.glob("*.wandb")) for path in found)
    assert not (tiny.parent / "wandb").exists()
    for stage in ("segmenter", "refiner"):
        assert (run.folder / "logs" / stage / "metrics.csv").is_file()
        assert list((run.folder / "logs" / stage).glob("events.out.tfevents.*"))


def test_a_missing_wandb_is_one_sentence(tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr("pytorch_lightning.loggers.wandb._WANDB_AVAILABLE", False)
    assert main(["fit", "--config", str(tiny), *WANDB]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "wandb" in said
    assert "pip install" in said
