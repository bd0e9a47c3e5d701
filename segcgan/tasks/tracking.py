"""wandb, if the config asks for it: one wandb run per stage, grouped by run folder, its files inside that folder."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger, WandbLogger

from segcgan.errors import SegcganError
from segcgan.runs import Run


def check_installed(logger: Any) -> None:
    """Check the section ``trainer.logger`` of a config.

    Raises:
        SegcganError: it asks for wandb, which is not installed.
    """
    for part in logger if isinstance(logger, list) else [logger]:
        if str(getattr(part, "class_path", "")).endswith("WandbLogger") and find_spec("wandb") is None:
            cure = "pip install 'segcgan[track]', or leave it out"
            raise SegcganError(f"trainer.logger WandbLogger needs wandb, which is not installed; {cure}")


def settle(trainer: pl.Trainer, run: Run, stage: str, settings: Callable[[], dict[str, Any]]) -> list[Logger]:
    """Return the loggers a stage shall have, those for wandb with their places; nothing is started yet.

    Name, group and job type tell run folder and stage, unless the config chose a name or a group. The id is kept in
    ``run.json``, so a resumed stage goes on in the wandb run it began. An id in the config is taken as it is, and then
    all stages share that wandb run. Scoring a chain is no wandb run: its scores are files of the run folder.

    Args:
        trainer: of the stage.
        run: where ``logs/wandb`` is made.
        stage: see :class:`segcgan.tasks.segmentation.SegmentationTask`.
        settings: gives the config that wandb shows.
    """
    if stage == "chain":
        return [logger for logger in trainer.loggers if not isinstance(logger, WandbLogger)]
    for logger in trainer.loggers:
        if not isinstance(logger, WandbLogger) or logger._experiment is not None or trainer.global_rank:
            continue
        folder, title = run.folder / "logs", f"{run.folder.parent.name}/{run.folder.name}"
        folder.mkdir(exist_ok=True)  # without one wandb writes to the system's folder for temporary files
        chosen = logger._wandb_init  # Lightning has no public place for these once a logger is built
        chosen["name"] = f"{chosen.get('name') or title}/{stage}"
        chosen |= {"dir": str(folder), "group": chosen.get("group") or title, "job_type": stage, "config": settings()}
        if chosen.get("id") is None:
            chosen["id"] = f"{_token(run)}-{stage}"
        chosen["resume"] = "allow"
        logger._save_dir, logger._id = str(folder), chosen["id"]
    return trainer.loggers


@contextmanager
def closing(trainer: pl.Trainer) -> Iterator[None]:
    """End the wandb runs of a trainer afterwards, whatever happens; the next stage would write into them."""
    try:
        yield
    finally:
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and logger._experiment is not None and trainer.global_rank == 0:
                logger.experiment.finish()


def _token(run: Run) -> str:
    """Return what tells this run from others, also from one that began in the same second on another machine."""
    if "tracked" not in run.facts:
        run.note(tracked=secrets.token_hex(4))
    return str(run.facts["tracked"])
