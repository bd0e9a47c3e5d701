"""wandb without a network: a run per stage, inside the run folder."""

import json
from pathlib import Path

import pytest
import yaml

from segcgan.cli import main
from segcgan.runs import Run

SHORT = ["--plan.folds=0", "--plan.segmenter_epochs=1", "--plan.refiner_epochs=1", "--plan.preview_every=0"]


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)


def wandb_files(run: Run) -> dict[str, list[Path]]:
    """Return the recordings by stage."""
    found: dict[str, list[Path]] = {}
    for path in sorted(run.folder.glob("logs/*/wandb/offline-run-*/*.wandb")):
        found.setdefault(path.relative_to(run.folder).parts[1], []).append(path)
    return found


@pytest.mark.usefixtures("offline")
def test_every_stage_is_a_wandb_run_in_the_run_folder(tiny: Path, tmp_path: Path) -> None:
    assert main(["fit", "--config", str(tiny), *SHORT, "--trainer.logger+=WandbLogger"]) == 0
    run = Run.find(tmp_path / "runs" / "tiny")
    files = wandb_files(run)
    token = run.facts["tracked"]
    names = {stage: [path.name for path in paths] for stage, paths in files.items()}
    assert names == {stage: [f"run-{token}-{stage}.wandb"] for stage in ("segmenter", "refiner", "chain")}
    for stage, (path,) in files.items():
        written = path.read_bytes()
        assert f"tiny/{run.folder.name}/{stage}".encode() in written
        assert b"val/score" in written
        assert (b"train/loss" in written) == (stage != "chain")
        for other in set(files) - {stage}:
            assert f"{token}-{other}".encode() not in written
    assert not (tmp_path / "wandb").exists()
    for stage in ("segmenter", "refiner"):
        assert (run.folder / "logs" / stage / "metrics.csv").is_file()
        assert list((run.folder / "logs" / stage).glob("events.out.tfevents.*"))


@pytest.mark.usefixtures("offline")
def test_a_config_section_and_a_name_of_its_own(tiny: Path, tmp_path: Path) -> None:
    config = yaml.safe_load(tiny.read_text())
    place = "pytorch_lightning.loggers.WandbLogger"
    config["trainer"]["logger"] = {"class_path": place, "init_args": {"name": "mine", "project": "discs"}}
    tiny.write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(tiny), *SHORT, "--plan.refiner_epochs=0"]) == 0
    assert main(["test", "--config", str(tiny), *SHORT, "--plan.refiner_epochs=0"]) == 0
    files = wandb_files(Run.find(tmp_path / "runs" / "tiny"))
    assert {stage: len(paths) for stage, paths in files.items()} == {"segmenter": 1, "chain": 2}  # chain: val, test
    assert b"mine/segmenter" in files["segmenter"][0].read_bytes()
    assert all(b"discs" in path.read_bytes() for paths in files.values() for path in paths)


def test_wandb_that_is_not_installed(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("segcgan.tasks.tracking.find_spec", lambda name: None)
    assert main(["fit", "--config", str(tiny), "--trainer.logger+=WandbLogger"]) == 1
    said = capsys.readouterr().err
    assert "error: trainer.logger WandbLogger needs wandb, which is not installed" in said
    assert "pip install 'segcgan[track]'" in said


def test_without_wandb_nothing_is_tracked(tiny: Path, tmp_path: Path) -> None:
    assert main(["fit", "--config", str(tiny), *SHORT, "--plan.refiner_epochs=0"]) == 0
    run = Run.find(tmp_path / "runs" / "tiny")
    assert "tracked" not in json.loads((run.folder / "run.json").read_text())
    assert not wandb_files(run)
