"""What does the framework cost? A training step as segcgan runs it against a bare PyTorch loop with the same work.

    python benchmarks/step.py cardiac_mr            (needs $SEGCGAN_DATA; a few minutes on two CPU cores)

Both loops draw the same windows from the same loader, and do forward, loss, backward, clipping, optimiser, schedule and
moving average. Pairs are interleaved; the table shows the median ratio, and the loader's share of a step.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from segcgan.about import find_config
from segcgan.noise import Noise
from segcgan.runs import Run
from segcgan.segmenters import segmenter_loss
from segcgan.tasks.learning import Warming, optimizers
from segcgan.tasks.stage import StageCLI

RESULTS = Path(__file__).parent / "results"


class Clock(pl.Callback):
    """Seconds between the start of the second batch and the end of the last: the first one warms up."""

    def __init__(self) -> None:
        self.begin = self.end = 0.0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Start with the second batch."""
        if batch_idx == 1:
            self.begin = time.perf_counter()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Note the end of each."""
        self.end = time.perf_counter()


def ours(args: list[str], steps: int, run: Run) -> float:
    """Return the seconds per step of an ordinary stage."""
    cli = StageCLI(args, "segmenter", run, {"trainer.max_epochs": 1, "trainer.limit_val_batches": 0})
    clock = Clock()
    cli.trainer.callbacks.append(clock)
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    return (clock.end - clock.begin) / (steps - 1)


def bare(args: list[str], steps: int) -> tuple[float, float]:
    """Return the seconds per step of a plain loop, and those of them spent waiting for the loader."""
    cli = StageCLI(args, "segmenter")
    data, task = cli.datamodule, cli.model
    data.setup()
    network = nn.ModuleDict({"segmenter": task.segmenter}).train()
    average = AveragedModel(network, avg_fn=Warming(0.98), use_buffers=True)
    ((optimizer,), (schedule,)) = optimizers(network, None, task.lr, steps)
    loader = iter(data.train_dataloader())
    begin, waited = 0.0, 0.0
    for step in range(steps):
        before = time.perf_counter()
        batch = next(loader)
        waited += time.perf_counter() - before
        if step == 1:  # with its batch at hand, as Clock does
            begin, waited = time.perf_counter(), 0.0
        with torch.autocast("cpu", torch.bfloat16, enabled="bf16" in str(cli.trainer.precision)):
            terms, _ = segmenter_loss(task.segmenter, batch, Noise(step, 0, batch))
            loss = torch.stack([value.float() for value in terms.values()]).sum()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule["scheduler"].step()
        average.update_parameters(network)
    return (time.perf_counter() - begin) / (steps - 1), waited / (steps - 2)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", help="name of a shipped config, e.g. cardiac_mr")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--steps", type=int, default=16)
    chosen, extra = parser.parse_known_args()
    args = ["--config", str(find_config(f"{chosen.config}.yaml")), f"--data.sampling.steps={chosen.steps}", *extra]
    ratios, shares, seconds = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for pair in range(chosen.pairs + 1):
            plain, waited = bare(args, chosen.steps)
            framed = ours(args, chosen.steps, Run.create(Path(folder) / str(pair)))
            if pair:  # the first pair warms up
                ratios.append(framed / plain)
                shares.append(waited / plain)
                seconds.append(plain)
    found = {
        "config": chosen.config, "pairs": chosen.pairs, "steps": chosen.steps, "threads": torch.get_num_threads(),
        "ratio": statistics.median(ratios), "ratios": ratios, "loader share": statistics.median(shares),
        "seconds per bare step": statistics.median(seconds),
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "step.json").write_text(json.dumps(found, indent=1))
    print(f"{chosen.config}: {found['ratio']:.3f} times the step of a bare loop (median of {chosen.pairs} pairs,")
    print(f"{min(ratios):.3f} to {max(ratios):.3f}); the loader takes {found['loader share']:.1%} of a step")


if __name__ == "__main__":
    main()
