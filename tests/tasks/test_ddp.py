"""Two processes learn what one does: equal weights on both, the same curve for the same global batch."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from segcgan.cli import main
from segcgan.runs import Run

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


@pytest.mark.slow
def test_two_processes_equal_one(tiny: Path) -> None:
    (tiny.parent / "probe_ddp.py").write_text(PROBE)
    alone = ["--plan.runs", str(tiny.parent / "alone"), "--data.sampling.batch_size=4"]
    assert main(["fit", "--config", str(tiny), *alone]) == 0

    pair = ["--plan.runs", str(tiny.parent / "pair"), "--data.sampling.batch_size=2"]
    pair += ["--trainer.devices=2", "--trainer.strategy=ddp"]
    pair += ["--trainer.callbacks+=probe_ddp.Probe", f"--trainer.callbacks.folder={tiny.parent}"]
    command = [sys.executable, "-m", "segcgan", "fit", "--config", str(tiny), *pair]
    done = subprocess.run(command, cwd=tiny.parent, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]

    for stage in ("segmenter", "refiner"):
        first, second = (torch.load(tiny.parent / f"{stage}_{rank}.pt") for rank in (0, 1))
        assert all(torch.equal(first[name], second[name]) for name in first)
    runs = [Run.find(tiny.parent / name / "tiny") for name in ("alone", "pair")]
    assert len(list((tiny.parent / "pair" / "tiny").glob("2*"))) == 1  # the second process made no run of its own
    assert losses(runs[0]) == pytest.approx(losses(runs[1]), rel=1e-4)
    one, two = (load_file(run.folder / "chain.safetensors") for run in runs)
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-4)
    banks = [sorted(path.name for path in (run.folder / "bank").iterdir()) for run in runs]
    assert banks[0] == banks[1]
    lines = [(run.folder / "cases_val.csv").read_text().count("\n") for run in runs]
    assert lines[0] == lines[1]
