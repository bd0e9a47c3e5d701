"""Stages, resuming, and what a finished run holds."""

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from segcgan.cli import main
from segcgan.errors import SegcganError
from segcgan.runs import FORMAT, Run, load
from segcgan.tasks.banking import compare_banks
from segcgan.tasks.scoring import Scoreboard
from tests.tasks.conftest import interrupted


def run_of(config: Path) -> Run:
    return Run.find(config.parent / "runs" / config.stem)


def test_fit_leaves_a_complete_run(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--config", str(tiny)]) == 0
    assert "Boundary IoU" in capsys.readouterr().out
    run = run_of(tiny)
    expected = "config.yaml run.json splits.csv metrics.csv cases_val.csv report.html chain.json chain.safetensors"
    for name in expected.split():
        assert (run.folder / name).is_file(), name
    assert [run.finished(s) for s in ("fold-0", "fold-1", "segmenter", "refiner", "chain")] == [True] * 5
    assert sorted(p.name for p in (run.folder / "previews").glob("val_*")) >= ["val_best.png"]
    assert not (run.folder.parent / "latest").readlink().is_absolute()
    said = "too few groups: 2 validation groups, 4 are needed, each image counted as its own group; --no-gate uses them"
    assert run.facts["gate"] == run.facts["gate_fit"]["sentence"] == f"refined masks not used, {said}"
    page = (run.folder / "report.html").read_text()
    assert said in page
    assert "nothing, every coarse mask is kept" in page
    chain = load(run.folder)
    assert chain.refiner is not None
    assert [spec.name for spec in chain.classes] == ["background", "disc"]
    # every training case and every validation case has a banked coarse mask
    with (run.folder / "splits.csv").open() as stream:
        banked = {row["case"] for row in csv.DictReader(stream) if row["split"] in ("train", "val")}
    assert {path.stem for path in (run.folder / "bank").glob("*.npy")} == banked
    assert main(["test", "--config", str(tiny)]) == 0
    assert json.loads((run.folder / "scores_test.json").read_text())["cases"] == 2


def test_a_finished_run_is_not_overwritten(tiny: Path) -> None:
    quick = ["--plan.folds=0", "--plan.segmenter_epochs=1", "--plan.refiner_epochs=0"]
    for _ in range(2):
        assert main(["fit", "--config", str(tiny), *quick]) == 0
    assert len([p for p in (tiny.parent / "runs" / "tiny").iterdir() if not p.is_symlink()]) == 2


def test_a_run_begun_by_older_code_is_left_alone_and_a_new_one_begun(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--plan.folds=0", "--plan.segmenter_epochs=2"]
    with interrupted("segmenter"):
        assert main(["fit", "--config", str(tiny), *words]) == 130
    older = run_of(tiny)
    facts = json.loads((older.folder / "run.json").read_text())
    assert facts.pop("format") == FORMAT
    (older.folder / "run.json").write_text(json.dumps(facts))
    before = sorted(path.name for path in older.folder.iterdir())
    assert main(["fit", "--config", str(tiny), *words]) == 0
    said = f"{older.folder} was begun with format 1 of runs, here it is {FORMAT}: not resumed; plan.segmenter_from"
    assert said in capsys.readouterr().err
    assert run_of(tiny).folder != older.folder
    assert sorted(path.name for path in older.folder.iterdir()) == before


def test_an_interrupted_fit_resumes_to_the_same_weights(tiny: Path) -> None:
    assert main(["fit", "--config", str(tiny)]) == 0
    straight = load_file(run_of(tiny).folder / "chain.safetensors")
    config = tiny.with_name("broken.yaml")
    config.write_text(tiny.read_text())

    with interrupted("segmenter"):
        assert main(["fit", "--config", str(config)]) == 130
    broken = run_of(config)
    assert broken.finished("fold-1")
    assert not broken.finished("segmenter")
    assert main(["fit", "--config", str(config)]) == 0
    assert run_of(config).folder == broken.folder
    resumed = load_file(broken.folder / "chain.safetensors")
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


@pytest.mark.slow
def test_kill_in_training_then_the_same_command(tiny: Path) -> None:
    command = [sys.executable, "-m", "segcgan", "fit", "--config", str(tiny), "--plan.segmenter_epochs=40"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    runs = tiny.parent / "runs" / "tiny"
    deadline = time.monotonic() + 120
    while not list(runs.glob("2*/checkpoints/segmenter/last.ckpt")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not run_of(tiny).finished("segmenter")
    assert main(command[3:]) == 0
    assert len(list(runs.glob("2*"))) == 1
    assert run_of(tiny).finished("chain")


def test_folds_of_a_single_case_are_blocks(tiny: Path) -> None:
    manifest = tiny.parent / "data" / "one.csv"
    manifest.write_text(
        "case,image,mask,split\n"
        "a,images/disc_0.png,masks/disc_0.png,train\nb,images/disc_1.png,masks/disc_1.png,val\n"
    )
    assert main(["fit", "--config", str(tiny), "--data.images.manifest=one.csv", "--data.sampling.patch=[8,8]"]) == 0
    assert {p.stem for p in (run_of(tiny).folder / "bank").glob("*.npy")} == {"a@0-20", "a@20-40", "b"}


def test_a_run_in_use_is_not_trained_twice(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (tmp_path / "running").write_text(f"{socket.gethostname()} {other.pid}")
    with pytest.raises(SegcganError, match=f"is being trained by process {other.pid}; wait for it, or delete"):
        Run(tmp_path).claim().__enter__()
    other.kill()
    other.wait()
    with Run(tmp_path).claim():
        assert (tmp_path / "running").is_file()
    assert not (tmp_path / "running").exists()


@pytest.mark.parametrize(("held_out", "warned"), [(0.85, False), (0.7, True)])
def test_coarse_masks_much_worse_than_those_met_later_are_told(held_out, warned, caplog):
    compare_banks({"fold-0": {"dice": held_out, "cases": 3}, "segmenter": {"dice": 0.9, "cases": 2}})
    said = f"learns from coarse masks of Dice {held_out:.3f} but meets 0.900 on validation cases"
    assert (said in caplog.text) == warned


@pytest.mark.parametrize("size", [0, 3])
def test_a_training_that_finds_nothing_is_told(tiny: Path, size: int, monkeypatch, capsys) -> None:
    def gather(self) -> None:  # what a collapsed network would have scored
        self.rows = [replace(row, voxels_prediction=size * row.voxels_prediction) for row in self.rows]

    monkeypatch.setattr(Scoreboard, "gather", gather)
    quick = ["--plan.folds=0", "--plan.segmenter_epochs=4", "--plan.refiner_epochs=0", "--model.lr=0.01"]
    assert main(["fit", "--config", str(tiny), *quick]) == 0
    said = "the coarse masks of validation cases never show disc, which the references do"
    assert (said in capsys.readouterr().err) == (not size)


def test_a_class_that_validation_never_shows_is_told(tiny: Path, capsys) -> None:
    for path in (tiny.parent / "data" / "masks").iterdir():  # 255 is what nobody knows
        Image.fromarray(255 * np.asarray(Image.open(path))).save(path)
    quick = ["--plan.folds=0", "--plan.segmenter_epochs=1", "--plan.refiner_epochs=0"]
    assert main(["fit", "--config", str(tiny), *quick]) == 0
    assert "no validation case shows disc; if some should, its values in data.classes" in capsys.readouterr().err


def test_a_run_goes_on_with_the_splits_it_began_with(tiny: Path, capsys) -> None:
    words = ["fit", "--config", str(tiny), "--plan.folds=0"]
    with interrupted("segmenter"):
        assert main(words) == 130
    run, data = run_of(tiny), tiny.parent / "data"
    drawn = (run.folder / "splits.csv").read_text()
    for kind in ("images", "masks"):
        for index in range(8):
            shutil.copy(data / kind / f"disc_{index}.png", data / kind / f"another_{index}.png")
    assert main(words) == 1
    assert f"when {run.folder} was trained and is in" in capsys.readouterr().err.splitlines()[-1]
    assert (run.folder / "splits.csv").read_text() == drawn
    for path in data.glob("*/another_*"):
        path.unlink()
    assert main(words) == 0
    assert run_of(tiny).folder == run.folder


def test_early_stopping_leaves_folds_alone(tiny: Path) -> None:
    at_once = {"monitor": "val/score", "mode": "max", "stopping_threshold": 0}
    stop = json.dumps([{"class_path": "EarlyStopping", "init_args": at_once}])
    assert main(["fit", "--config", str(tiny), "--plan.fold_epochs=2", f"--trainer.callbacks={stop}"]) == 0
    stages = run_of(tiny).folder / "stages"
    last = [json.loads((stages / f"{name}.json").read_text())["epoch"] for name in ("fold-0", "fold-1", "segmenter")]
    assert last == [1, 1, 0]


def test_a_mask_of_validation_that_cannot_be_scored_is_told_before_a_run_is_made(tiny: Path, capsys) -> None:
    assert main(["fit", "--config", str(tiny), "--plan.runs", str(tiny.parent / "other"), "--plan.folds=0"]) == 0
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"segcgan test --config {tiny} --plan.runs {tiny.parent / 'other'}   |" in said
    with (Run.find(tiny.parent / "other" / "tiny").folder / "splits.csv").open() as stream:
        name = next(row["case"] for row in csv.DictReader(stream) if row["split"] == "val")
    path = tiny.parent / "data" / "masks" / f"{name}.png"
    Image.fromarray(7 * np.asarray(Image.open(path))).save(path)
    assert main(["fit", "--config", str(tiny)]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"{path}: label values [7] belong to no class" in said
    assert not (tiny.parent / "runs").exists()
