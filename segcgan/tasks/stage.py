"""One stage: an ordinary Lightning fit, built fresh from the one config."""

import json
import re
from dataclasses import dataclass
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentError
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint, ProgressBar
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.utilities.exceptions import MisconfigurationException  # type: ignore[attr-defined]

from segcgan.chain import has_bf16
from segcgan.data.module import SegmentationData
from segcgan.errors import SegcganError, at_least
from segcgan.parts import allow_own_modules, pretrained
from segcgan.runs import Run
from segcgan.tasks.balance import CriticHealth
from segcgan.tasks.console import log, progress_callbacks, quiet_lightning
from segcgan.tasks.journal import keep_earlier_metrics
from segcgan.tasks.previews import Previews
from segcgan.tasks.segmentation import SegmentationTask
from segcgan.tasks.tracking import check_installed, settle

VALIDATED = ("segmenter", "refiner", "joint")  # stages that score validation cases while they train
_MISTAKES = (
    ArgumentError, MisconfigurationException, ImportError, TypeError, ValueError, LookupError, OSError
)  # fmt: skip


@dataclass
class Schedule:
    """The stages of a training and how long each lasts.

    Args:
        folds: segmenters trained on parts of the training data so that the refiner learns from coarse masks of images
            their segmenter never saw, mixed with corruptions; 0 = from corruptions alone, which costs no training.
        fold_epochs: epochs of each fold; None = as many as the segmenter has. Fewer cost less, but a refiner that
            learned from worse masks than it meets corrects what is not wrong.
        segmenter_epochs: epochs of the segmenter.
        refiner_epochs: epochs of the refiner; 0 = no refiner.
        prior_epochs: epochs of what is trained before everything else, if a part of the model asks for it.
        joint: train segmenter and refiner at once on each other's masks, for both their epochs and without folds; an
            ablation, because the refiner then meets masks of images the segmenter knows.
        segmenter_from: another run of the same data and segmenter; its folds, segmenter and coarse masks are taken over
            and only the refiner is trained.
        preview_every: epochs of segmenter and refiner between pictures of two validation cases, in ``previews/`` of
            the run, TensorBoard and wandb; the last epoch has one as well. 0 = none.
        runs: folder of all runs.
    """

    folds: int = 0
    fold_epochs: int | None = None
    segmenter_epochs: int = 10
    refiner_epochs: int = 10
    prior_epochs: int = 5
    joint: bool = False
    segmenter_from: str | None = None
    preview_every: int = 5
    runs: str = "runs"

    def stages(self, refiner: bool, prior: bool = False) -> dict[str, int]:
        """Return the stages in order with their epochs."""
        if self.folds == 1 or self.folds < 0:
            raise SegcganError(f"plan.folds is {self.folds}; give 0 (corruptions only) or at least 2")
        if self.preview_every < 0:
            raise SegcganError(f"plan.preview_every is {self.preview_every}; give a number of epochs, or 0 for none")
        at_least("plan.", 0, refiner_epochs=self.refiner_epochs)
        at_least("plan.", 1, segmenter_epochs=self.segmenter_epochs)
        if self.fold_epochs is not None:
            at_least("plan.", 1, fold_epochs=self.fold_epochs)
        if prior and self.prior_epochs < 1:
            raise SegcganError(f"plan.prior_epochs is {self.prior_epochs}, but the model has a prior; give at least 1")
        plan = {"prior": self.prior_epochs} if prior else {}
        refining = refiner and self.refiner_epochs > 0
        if refining and self.joint:
            return plan | {"joint": self.segmenter_epochs + self.refiner_epochs}
        epochs = self.segmenter_epochs if self.fold_epochs is None else self.fold_epochs
        plan |= {f"fold-{k}": epochs for k in range(self.folds if refining else 0)}
        plan["segmenter"] = self.segmenter_epochs
        return plan | ({"refiner": self.refiner_epochs} if refining else {})


class StageCLI(LightningCLI):
    """LightningCLI for one stage; nothing runs by itself.

    Args:
        args: command line behind the verb, with ``--config``.
        stage: see :class:`SegmentationTask`.
        run: where everything goes; None = only look.
        overrides: further arguments, which win.
    """

    def __init__(
        self, args: list[str], stage: str, run: Run | None = None, overrides: dict[str, Any] | None = None
    ) -> None:
        quiet_lightning()
        allow_own_modules()
        more = {"model.stage": stage} | (overrides or {})
        if run is not None:
            more["trainer.default_root_dir"] = str(run.folder)
        self._all_learn = run is not None and run.all_learn
        try:
            self._build(args, more)
        except _MISTAKES as error:
            raise SegcganError(_cure(error, self._fetched())) from error
        self.datamodule.stage = stage
        stages = self.schedule.stages(self.model.refiner is not None)
        self.datamodule.fold_count = sum(name.startswith("fold-") for name in stages)
        if run is not None:
            self.model.leave_out(run.unused)
            self.datamodule.bank = run.folder / "bank"
            self._equip(stage, run)
        if self.model.adversary is not None:
            self._check_turns()

    def _build(self, args: list[str], more: dict[str, Any]) -> None:
        super().__init__(
            SegmentationTask,
            SegmentationData,
            run=False,
            args=[*args, *(f"--{key}={value}" for key, value in more.items())],
            save_config_callback=None,
            auto_configure_optimizers=False,
            seed_everything_default=0,
            trainer_defaults={
                "use_distributed_sampler": False,  # the data module deals samples itself, without repeats
                "enable_model_summary": False,
                "num_sanity_val_steps": 0,
                "log_every_n_steps": 1,
                "logger": False,
            },
            parser_kwargs={"exit_on_error": False},
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the section ``plan``."""
        parser.add_class_arguments(Schedule, "plan")

    def before_instantiate_classes(self) -> None:
        """Fall back to fp32 where bf16 would be emulated; fetch pretrained weights only where training starts.

        Several processes get plain DDP for a segmenter alone of which every parameter gets a gradient, and else one
        that tolerates parameters without: adversaries take turns, and a refiner of somebody's own may have some.
        """
        trainer, model = self.config.trainer, self.config.model
        self._check_precision(str(trainer.precision or 32))
        check_installed(trainer.logger)
        several = trainer.devices if trainer.devices not in ("auto", -1, "-1") else torch.cuda.device_count()
        if trainer.strategy in ("auto", "ddp") and str(several) not in ("0", "1"):
            alone = model.stage == "segmenter" or str(model.stage).startswith("fold-")
            plain = alone and self._all_learn and model.adversary is None and not model.regularisers
            trainer.strategy = "ddp" if plain else "ddp_find_unused_parameters_true"
        if self.config.model.stage in ("refiner", "chain"):
            for arguments, name, _ in pretrained(self.config.model.segmenter):
                arguments[name] = None
        precision, accelerator = str(self.config.trainer.precision), self.config.trainer.accelerator
        on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.cuda.is_available())
        if "bf16" in precision and on_cpu and not has_bf16("cpu"):
            if self.config.model.stage == "segmenter":
                log.info("this processor has no bf16 arithmetic: fp32 instead of %s", precision)
            self.config.trainer.precision = "32-true"

    def _check_precision(self, asked: str) -> None:
        """Refuse what casts whole cases, and what scales losses where two optimisers take turns."""
        cure = "give 32-true, bf16-mixed or 16-mixed"
        if asked not in ("32", "32-true", "16", "16-mixed", "bf16", "bf16-mixed"):
            raise SegcganError(f"trainer.precision is {asked}, in which cases are not scored; {cure}")
        if asked in ("16", "16-mixed") and self.config.model.adversary is not None:
            raise SegcganError(f"trainer.precision is {asked}, which does not go with model.adversary; give bf16-mixed")

    def _fetched(self) -> str:
        """Name the first setting that makes the segmenter fetch weights."""
        segmenter = self.config.model.segmenter if hasattr(self, "config") else None
        keys = [key for _, _, key in pretrained(segmenter, "model.segmenter")]
        return keys[0] if keys else "model.segmenter.init_args.encoder_weights"

    def _check_turns(self) -> None:
        """With an adversary two optimisers take turns, which these settings of Lightning do not allow."""
        for name, plain in (("gradient_clip_val", None), ("accumulate_grad_batches", 1)):
            value = getattr(self.trainer, name)
            if value != plain:
                raise SegcganError(f"trainer.{name} is {value}, which does not go with model.adversary; leave it out")

    @property
    def schedule(self) -> Schedule:
        """The section ``plan`` of the config."""
        plan = self.config.plan
        return Schedule(**{name: plan[name] for name in Schedule.__dataclass_fields__})

    def specs(self) -> dict[str, Any]:
        """Return ``class_path`` and ``init_args`` of the exchangeable parts, as plain data."""
        dumped = self.config.model.as_dict() if hasattr(self.config.model, "as_dict") else dict(self.config.model)
        return {name: json.loads(json.dumps(dumped.get(name))) for name in ("segmenter", "refiner", "gate")}

    def _settings(self) -> dict[str, Any]:
        return dict(yaml.safe_load(self.parser.dump(self.config, skip_none=False)))

    def _equip(self, stage: str, run: Run) -> None:
        """Give trainer and logger their places in the run folder; fresh objects for every stage."""
        folder = run.folder / "checkpoints" / stage
        callbacks: list[Callback] = progress_callbacks()
        self.trainer.loggers = settle(self.trainer, run, stage, self._settings)
        if stage != "chain":
            keep_earlier_metrics(run.folder / "logs" / stage)
            self.trainer.loggers = [
                CSVLogger(run.folder / "logs", name="", version=stage),
                TensorBoardLogger(run.folder / "logs", name="", version=stage, default_hp_metric=False),
                *self.trainer.loggers,
            ]
        if self.model.rival is not None:
            callbacks.append(CriticHealth())
        ours: tuple[type[Callback], ...] = (ProgressBar, ModelCheckpoint)  # the trainer's give way to them
        if stage in VALIDATED:
            callbacks.append(Previews(run.folder / "previews", self.schedule.preview_every))
            callbacks.append(
                ModelCheckpoint(folder, "best", monitor="val/score", mode="max", enable_version_counter=False)
            )
        else:
            ours += (EarlyStopping,)  # what never sees a score cannot stop by one
        if stage != "chain":  # behind "best", or what is resumed would not know the score of its last epoch
            last = ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)
            callbacks.append(last)
        present: list[Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        kept = [c for c in present if not isinstance(c, ours)]
        self.trainer.callbacks = kept + callbacks  # type: ignore[attr-defined]


def _cure(error: BaseException, fetched: str) -> str:
    text = one_sentence(error)
    if any(word in text for word in ("Hub", "urlopen", "huggingface")):
        return (
            "the pretrained encoder weights could not be downloaded (is there a network?); to train without them set "
            f"{fetched}: null"
        )
    return f"the config cannot be used: {text}"


def one_sentence(error: BaseException) -> str:
    """Return the part of a jsonargparse error a person can act on."""
    # of an optional part there is one complaint per type it might have: that it is not None, and what is wrong with it
    bullets = re.split(r"^ *- ", str(error), flags=re.MULTILINE)[1:]
    said = [each for each in bullets if not each.startswith(("Expected a", "Does not validate"))]
    text = " ".join((said or [str(error)])[0].partition("Given value type")[0].split())
    found = re.search(r"(?:Parser key|Key) [\"']?([\w.]+)[\"']?:? ?(.*)", text)
    return f"{found.group(1)}: {found.group(2).strip()[:300]}" if found else text[:300]
