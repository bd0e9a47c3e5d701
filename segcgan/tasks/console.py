"""What a person sees while training: a bar on a terminal, plain lines elsewhere."""

import logging
import sys
import time
import warnings
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, RichProgressBar

from segcgan.tasks.processes import rank

log = logging.getLogger("segcgan")


def quiet_lightning() -> None:
    """Silence advice that does not concern users of segcgan."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if rank():
        log.setLevel(logging.WARNING)  # what goes on is said once
    for text in (
        "LightningCLI's args",
        ".*does not have many workers",
        ".*Checkpoint directory",
        ".*logging interval",
        ".*sync_dist=True",  # scores are gathered before they are logged
        "Experiment logs",
    ):
        warnings.filterwarnings("ignore", text)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)


def progress_callbacks() -> list[Callback]:
    """Return a progress bar for terminals, epoch lines for logs."""
    return [RichProgressBar(leave=True)] if sys.stderr.isatty() else [EpochLines()]


class EpochLines(Callback):
    """One line per epoch."""

    def __init__(self) -> None:
        self._begin = time.perf_counter()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._begin = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say how the epoch went."""
        if trainer.global_rank:
            return
        values: dict[str, Any] = trainer.callback_metrics
        every = trainer.check_val_every_n_epoch or 1
        keys = ["train/loss"] + ["val/score"] * ((trainer.current_epoch + 1) % every == 0)  # else it is an old one
        shown = [f"{key.removeprefix('train/')} {float(values[key]):.4f}" for key in keys if key in values]
        place = f"{getattr(pl_module, 'stage', 'fit')} epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        log.info("%s: %s (%.1f s)", place, ", ".join(shown), time.perf_counter() - self._begin)
