"""wandb without a network: a run per stage, inside the run folder."""

import json
from pathlib import Path

import pytest
import yaml

from segcgan.cli import main
from segcgan.runs import Run
from segcgan.tasks.stage import StageCLI

SHORT = ["--plan.folds=0", "--plan.segmenter_epochs=1", "--plan.refiner_epochs=1", "--plan.preview_every=0"]


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)


def wandb_files(run: Run) -> dict[str, bytes]:
    """Return the recordings by file name."""
    return {path.name: path.read_bytes() for path in run.folder.glob("logs/wandb/offline-run-*/*.wandb")}


@pytest.mark.usefixtures("offline")
def test_every_stage_is_a_wandb_run_in_the_run_folder(tiny: Path, tmp_path: Path) -> None:
    assert main(["fit", "--config", str(tiny), *SHORT, "--trainer.logger+=WandbLogger"]) == 0
    run = Run.find(tmp_path / "runs" / "tiny")
    token, found = run.facts["tracked"], wandb_files(run)
    assert set(found) == {f"run-{token}-segmenter.wandb", f"run-{token}-refiner.wandb"}
    for stage, other in (("segmenter", "refiner"), ("refiner", "segmenter")):
        written = found[f"run-{token}-{stage}.wandb"]
        for word in (f"tiny/{run.folder.name}/{stage}", "val/score", "train/loss", "ResidualRefiner"):
            assert word.encode() in written, word
        assert f"{token}-{other}".encode() not in written
        assert (run.folder / "logs" / stage / "metrics.csv").is_file()
        assert list((run.folder / "logs" / stage).glob("events.out.tfevents.*"))
    assert not (tmp_path / "wandb").exists()


@pytest.mark.usefixtures("offline")
def test_a_config_section_with_a_name_of_its_own_and_a_test(tiny: Path, tmp_path: Path) -> None:
    config = yaml.safe_load(tiny.read_text())
    place = "pytorch_lightning.loggers.WandbLogger"
    config["trainer"]["logger"] = {"class_path": place, "init_args": {"name": "mine", "project": "discs"}}
    config["plan"] |= {"folds": 0, "segmenter_epochs": 1, "refiner_epochs": 0}
    tiny.write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(tiny)]) == 0
    assert main(["test", "--config", str(tiny)]) == 0
    (written,) = wandb_files(Run.find(tmp_path / "runs" / "tiny")).values()
    assert b"mine/segmenter" in written
    assert b"discs" in written


@pytest.mark.usefixtures("offline")
def test_a_wandb_run_of_somebody_else_is_left_open(tiny: Path, tmp_path: Path) -> None:
    import wandb

    theirs = wandb.init(project="theirs", dir=str(tmp_path))
    try:
        assert main(["fit", "--config", str(tiny), *SHORT, "--plan.refiner_epochs=0"]) == 0
        assert wandb.run is theirs
    finally:
        theirs.finish()


def test_a_resumed_stage_keeps_its_id_and_others_have_their_own(tiny: Path, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    runs = [Run.create(tmp_path / "runs" / "tiny") for _ in range(2)]
    for run in runs:
        run.note(name="tiny")
    args = ["--config", str(tiny), "--trainer.logger+=WandbLogger"]

    def version(run: Run, stage: str) -> object:
        return StageCLI(args, stage, run).trainer.loggers[-1].version

    found = [version(run, stage) for run in runs for stage in ("segmenter", "refiner")]
    assert len(set(found)) == 4
    assert [version(run, stage) for run in runs for stage in ("segmenter", "refiner")] == found


def test_wandb_that_is_not_installed(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("segcgan.tasks.tracking.find_spec", lambda name: None)
    assert main(["fit", "--config", str(tiny), "--trainer.logger+=WandbLogger"]) == 1
    said = capsys.readouterr().err
    assert "error: trainer.logger WandbLogger needs wandb, which is not installed" in said
    assert "pip install 'segcgan[track]'" in said
    assert not (tiny.parent / "runs").exists()  # said before there is a run


def test_without_wandb_nothing_is_tracked(tiny: Path, tmp_path: Path) -> None:
    assert main(["fit", "--config", str(tiny), *SHORT, "--plan.refiner_epochs=0"]) == 0
    run = Run.find(tmp_path / "runs" / "tiny")
    assert "tracked" not in json.loads((run.folder / "run.json").read_text())
    assert not wandb_files(run)
