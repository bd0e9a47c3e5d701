"""Two processes learn what one does: equal weights on both, the same curve for the same global batch."""

import csv
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from segcgan.cli import main
from segcgan.errors import SegcganError
from segcgan.runs import Run
from segcgan.tasks.processes import await_run, launch, rank
from tests.tasks.test_adversarial import overlay

PROBE = '''
import torch
from pathlib import Path
from pytorch_lightning import Callback

class Probe(Callback):
    def __init__(self, folder: str):
        self.folder = folder

    def on_train_end(self, trainer, pl_module):
        path = Path(self.folder) / f"{pl_module.stage}_{trainer.global_rank}.pt"
        torch.save(pl_module.state_dict(), path)
'''


def losses(run: Run) -> list[float]:
    with (run.folder / "metrics.csv").open() as stream:
        return [float(line["train/loss"]) for line in csv.DictReader(stream) if line["train/loss"]]


def outcome_of(tiny: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, cwd=tiny.parent, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def fit_as_pair(tiny: Path, *more: str) -> Run:
    (tiny.parent / "probe_ddp.py").write_text(PROBE)
    pair = ["--plan.runs", str(tiny.parent / "pair"), "--data.sampling.batch_size=2"]
    pair += ["--trainer.devices=2", "--trainer.strategy=ddp"]
    pair += ["--trainer.callbacks+=probe_ddp.Probe", f"--trainer.callbacks.folder={tiny.parent}"]
    outcome_of(tiny, "segcgan", "fit", "--config", str(tiny), *more, *pair)
    return Run.find(next((tiny.parent / "pair").iterdir()))


@pytest.mark.slow
def test_two_processes_equal_one(tiny: Path) -> None:
    alone = ["--plan.runs", str(tiny.parent / "alone"), "--data.sampling.batch_size=4"]
    assert main(["fit", "--config", str(tiny), *alone]) == 0
    runs = [Run.find(tiny.parent / "alone" / "tiny"), fit_as_pair(tiny)]
    for stage in ("segmenter", "refiner"):
        first, second = (torch.load(tiny.parent / f"{stage}_{rank}.pt") for rank in (0, 1))
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert len(list((tiny.parent / "pair" / "tiny").glob("2*"))) == 1  # the second process made no run of its own
    assert losses(runs[0]) == pytest.approx(losses(runs[1]), rel=1e-4)
    one, two = (load_file(run.folder / "chain.safetensors") for run in runs)
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-4)
    banks = [sorted(path.name for path in (run.folder / "bank").iterdir()) for run in runs]
    assert banks[0] == banks[1]
    lines = [(run.folder / "cases_val.csv").read_text().count("\n") for run in runs]
    assert lines[0] == lines[1]


@pytest.mark.slow
def test_processes_of_torchrun_share_one_run(tiny: Path) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    torchrun = ["torch.distributed.run", "--nproc_per_node=2", "--master_addr=127.0.0.1", f"--master_port={port}"]
    words = ["--plan.folds=0", "--trainer.devices=2", "--trainer.strategy=ddp"]
    for verb in ("fit", "test"):
        done = outcome_of(tiny, *torchrun, "-m", "segcgan", verb, "--config", str(tiny), *words)
        assert done.stdout.count("Dice ↑") == 1  # said once
    runs = list((tiny.parent / "runs" / "tiny").glob("2*"))
    assert len(runs) == 1
    assert json.loads((runs[0] / "scores_test.json").read_text())["cases"] == 2


def test_a_process_waits_for_the_run_of_its_own_launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "1", "SLURM_PROCID": "3"}.items():
        monkeypatch.setenv(name, value)
    for name in ("RANK", "LOCAL_RANK", "TORCHELASTIC_RUN_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    assert (rank(), launch()) == (3, "srun 7.1 0")
    run = Run(tmp_path)
    run.note(launch="srun 7.0 0")  # an earlier step of the same job
    with pytest.raises(SegcganError) as error:
        await_run(lambda: run, patience=0.3)
    assert str(error.value) == "process 3 waited 0 s for the first one to name a run; see what that says"
    run.note(launch="srun 7.1 0")
    assert await_run(lambda: run, patience=5) is run


@pytest.mark.slow
def test_with_a_critic_both_ranks_stay_equal(tiny: Path) -> None:
    """Two optimisers, penalties with double backward, and a cap that must pause both critics at the same step."""
    words = [*overlay(tiny)[2:], "--model.adversary.cap=0.6", "--plan.refiner_epochs=4", "--plan.folds=0"]
    run = fit_as_pair(tiny, *words)
    first, second = (torch.load(tiny.parent / f"refiner_{rank}.pt") for rank in (0, 1))
    assert any("adversary" in name for name in first)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert int(first["adversary.steps"]) == 12
    assert len(list((tiny.parent / "pair" / "tiny+gan").glob("2*"))) == 1
    assert run.finished("chain")


AUXILIARY = """
from torch import nn

class Auxiliary(nn.Module):
    def __init__(self):
        super().__init__()
        self.main, self.auxiliary = nn.Conv2d(1, 2, 5, padding=2), nn.Conv2d(1, 2, 1)

    def forward(self, image):
        self.auxiliary(image)  # as of networks whose auxiliary output a wrapper throws away
        return self.main(image)
"""


@pytest.mark.slow
def test_a_parameter_that_no_gradient_reaches_does_not_stop_several_processes(tiny: Path) -> None:
    (tiny.parent / "auxiliary_ddp.py").write_text(AUXILIARY)
    words = ["--model.segmenter=auxiliary_ddp.Auxiliary", "--plan.folds=0", "--plan.refiner_epochs=0"]
    assert fit_as_pair(tiny, *words).finished("chain")
