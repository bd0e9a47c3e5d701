"""Pictures of the same validation cases every few epochs: to disk, to TensorBoard, to wandb.

``runs/<config>/<time>/previews/<stage>_epoch_<NNN>.png``, epochs counted from 1: a strip (image, reference, coarse,
refined, error) per case, below each other.
"""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities.seed import isolate_rng

from segcgan.case import Case
from segcgan.inference.engine import predict_case
from segcgan.inference.store import MemoryStore
from segcgan.report.strips import Place, case_strip, closeup, write_sheet
from segcgan.tasks.console import log


class Previews(Callback):
    """Draws a few validation cases with the averaged weights; training neither notices nor fails by it.

    Only the first process draws. One slice of a volume, or a window of a scene, is predicted on its own, so near the
    edge of the window it may differ a little from what validation scores.

    Args:
        folder: of the pictures.
        every: epochs; the last epoch is drawn as well. 0 = never.
        count: of cases, evenly from the validation split.
    """

    def __init__(self, folder: Path, every: int, count: int = 2) -> None:
        self._folder, self._every, self._count = folder, every, count
        self._parts: list[tuple[Case, Place]] = []
        self._failed = False

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw, if it is time; what goes wrong is said once and training goes on."""
        epoch = trainer.current_epoch + 1
        due = self._every and (epoch % self._every == 0 or epoch == trainer.max_epochs)
        if not due or trainer.global_rank:
            return
        modes = {module: module.training for module in pl_module.modules()}
        try:
            with isolate_rng():
                self._draw(trainer, pl_module, epoch)
        except Exception as error:  # noqa: BLE001 - a picture is never worth a training
            if not self._failed:
                why = " ".join(str(error).split()) or type(error).__name__
                log.warning("preview of epoch %d failed (%s); training goes on without", epoch, why)
            self._failed = True
        finally:
            for module, mode in modes.items():
                module.training = mode  # prediction switches to eval

    def _draw(self, trainer: pl.Trainer, task: Any, epoch: int) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        chain = task.chain
        if not self._parts:
            cases = [case for case in data.split("val") if case.reference is not None]
            step = max(1, len(cases) // self._count)
            chosen = cases[::step][: self._count]
            chosen = [data.banked(case) for case in chosen] if task.stage == "refiner" else chosen
            self._parts = [closeup(case, chain.sampling.context) for case in chosen]
        strips = []
        for part, place in self._parts:
            outcome = predict_case(part, chain, MemoryStore(), samples=task.samples, seed=data.seed)
            strips.append(case_strip(part, outcome, data.classes, f"{task.stage}, epoch {epoch}: {part.name}", place))
        if strips:
            sheet = write_sheet(self._folder / f"{task.stage}_epoch_{epoch:03d}.png", strips)
            for logger in trainer.loggers:
                _hand_over(logger, f"preview/{task.stage}", sheet, trainer.global_step)


def _hand_over(logger: Any, key: str, sheet: Any, step: int) -> None:
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(key, sheet, step, dataformats="HWC")
    elif hasattr(logger, "log_image"):  # wandb, also neptune-like loggers
        logger.log_image(key, [sheet], step)
