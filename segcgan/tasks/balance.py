"""Watches the game between generator and critic, and says when it has gone wrong."""

import logging

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from segcgan.critics import Adversary

log = logging.getLogger("segcgan")

_RULES = (
    ("critic_accuracy", lambda v: v > 0.97, "the critic tells every mask; lower adversary.lr_ratio or cap, or add r1"),
    ("leak", lambda v: v > 0.5, "the critic judges softness, not shape; use the representation StraightThrough"),
    ("diversity", lambda v: v < 1e-3, "all samples are equal (mode collapse); raise refiner.calibration or draws"),
)


class CriticHealth(Callback):
    """One warning for each thing that goes wrong, at the end of the first epoch in which it does."""

    def __init__(self) -> None:
        self._said: set[str] = set()
        self._playing = False

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Notice whether the epoch begins after the warm-up."""
        self._playing = isinstance(pl_module.rival, Adversary) and pl_module.rival.plays()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the means of the epoch, unless the warm-up is in it."""
        if trainer.global_rank or not self._playing:
            return
        for name, wrong, cure in _RULES:
            value = trainer.callback_metrics.get(f"train/{name}")
            if value is not None and wrong(float(value)) and name not in self._said:
                self._said.add(name)
                place = f"{getattr(pl_module, 'stage', 'fit')} epoch {trainer.current_epoch + 1}"
                log.warning("%s: %s is %.3f: %s", place, name.replace("_", " "), float(value), cure)
