"""The one LightningModule: trains what its stage trains, and scores whole cases with the real engine."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from segcgan.batch import Batch
from segcgan.case import Case
from segcgan.chain import Chain
from segcgan.data.module import SegmentationData
from segcgan.errors import SegcganError
from segcgan.gates import Gate, Unit
from segcgan.inference.engine import Outcome, predict_case
from segcgan.inference.store import MemoryStore
from segcgan.losses import cross_entropy, dice_loss
from segcgan.metrics.cases import Row, score_case
from segcgan.noise import Noise
from segcgan.refiners import Refiner


class SegmentationTask(pl.LightningModule):
    """Segmenter, refiner and gate in one module; ``stage`` says which part learns.

    What a stage does not train is frozen here, before DDP wraps the module. Validation and test use the moving
    average of the weights, and whole cases.

    Args:
        segmenter: image (B, C, H, W) → logits (B, K, H, W).
        refiner: None = the coarse mask is the result.
        gate: None = the refined mask is always kept.
        stage: "fold-0", "fold-1", …, "segmenter", "refiner" or "chain" (nothing learns; everything is scored).
        lr: peak learning rate of AdamW; cosine with a short warm-up.
        weight_decay: of AdamW.
        average: decay of the moving average per step.
        clip: largest gradient norm.
    """

    def __init__(
        self,
        segmenter: nn.Module,
        refiner: Refiner | None = None,
        gate: Gate | None = None,
        stage: str = "segmenter",
        lr: float = 1e-3,
        weight_decay: float = 1e-2,
        average: float = 0.99,
        clip: float = 1.0,
    ) -> None:
        super().__init__()
        self.segmenter, self.refiner, self.gate, self.stage = segmenter, refiner, gate, stage
        self.lr, self.weight_decay, self.clip = lr, weight_decay, clip
        if stage == "refiner" and refiner is None:
            raise SegcganError("stage 'refiner' needs model.refiner in the config")
        trained: nn.Module | None = None
        if stage != "chain":
            trained = refiner if stage == "refiner" else segmenter
        for part in (segmenter, refiner):
            if part is not None and part is not trained:
                part.requires_grad_(False)
        self.average = None
        if trained is not None:
            self.average = AveragedModel(trained, avg_fn=_Warming(average), use_buffers=True).requires_grad_(False)
        self.rows: list[Row] = []
        self.confusions: dict[str, dict[str, Any]] = {}
        self.units: dict[str, Unit] = {}

    # -- training ---------------------------------------------------------------------------------------------------

    def on_train_epoch_start(self) -> None:
        """Restart torch's generators per epoch, so that a resumed run equals an uninterrupted one."""
        torch.manual_seed(self.trainer.datamodule.seed * 1_000_003 + self.current_epoch)  # type: ignore[attr-defined]

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the loss of one batch of windows."""
        if self.stage == "refiner" and self.refiner is not None:
            seed = self.current_epoch * 2**20 + index
            terms, _ = self.refiner.training_loss(batch, Noise(seed, 0, batch))
        else:
            if batch.target is None:
                raise SegcganError("training needs reference masks")
            logits = self.segmenter(batch.image)
            terms = {
                "dice": dice_loss(logits, batch.target, batch.scored),
                "ce": cross_entropy(logits, batch.target, batch.scored),
            }
        loss = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(loss):
            parts = ", ".join(f"{name} = {float(value):.3g}" for name, value in terms.items())
            raise SegcganError(f"the loss is not finite at epoch {self.current_epoch} ({parts}); lower model.lr")
        logged = {f"train/{name}": value.detach() for name, value in (terms | {"loss": loss}).items()}
        self.log_dict(logged, on_step=False, on_epoch=True, batch_size=len(batch.image), sync_dist=True)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Update the moving average."""
        trained = self.refiner if self.stage == "refiner" else self.segmenter
        if self.average is not None and trained is not None:
            self.average.update_parameters(trained)

    def configure_optimizers(self) -> Any:
        """AdamW with a warm-up of 5 % and a cosine decay to 0, per step."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=self.lr, weight_decay=self.weight_decay)
        total = max(1, int(self.trainer.estimated_stepping_batches))
        warm = max(1, total // 20)

        def factor(step: int) -> float:
            if step < warm:
                return (step + 1) / warm
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, total - warm))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip by norm unless the trainer was told a value of its own."""
        value = self.clip if gradient_clip_val is None else gradient_clip_val
        self.clip_gradients(
            optimizer, gradient_clip_val=value, gradient_clip_algorithm=gradient_clip_algorithm or "norm"
        )

    # -- scoring ----------------------------------------------------------------------------------------------------

    @property
    def chain(self) -> Chain:
        """The chain of this stage, with averaged weights."""
        data: SegmentationData = self.trainer.datamodule  # type: ignore[attr-defined]
        if data.normalisation is None:
            raise RuntimeError("the data module is not set up")
        learnt = self.average.module if self.average is not None else None
        whole = self.stage == "chain"
        return Chain(
            normalisation=data.normalisation,
            segmenter=self.segmenter if whole or self.stage == "refiner" else learnt,
            refiner=self.refiner if whole else learnt if self.stage == "refiner" else None,  # type: ignore[arg-type]
            gate=self.gate if whole else None,
            classes=data.classes,
            sampling=data.sampling,
            bf16="bf16" in str(self.trainer.precision),
        )

    def on_validation_epoch_start(self) -> None:
        """Forget the previous scores."""
        self.rows, self.confusions, self.units = [], {}, {}

    on_test_epoch_start = on_validation_epoch_start

    def validation_step(self, case: Case, index: int) -> None:
        """Predict one whole case and score it."""
        if case.reference is None:
            return
        outcome = predict_case(case, self.chain, MemoryStore(), seed=self.trainer.datamodule.seed)  # type: ignore[attr-defined]
        self._score(case, outcome)

    test_step = validation_step

    def on_validation_epoch_end(self) -> None:
        """Log the scores over all processes; ``val/score`` is the mean of IoU and Boundary IoU."""
        self._gather()
        variant = "coarse" if self.stage == "segmenter" or self.refiner is None else "refined"
        rows = [row for row in self.rows if row.variant == variant]
        values = {}
        for name in ("dice", "iou", "boundary_iou"):
            column = [getattr(row, name) for row in rows]
            values[f"val/{name}"] = float(np.nanmean(column)) if np.isfinite(column).any() else 0.0
        values["val/score"] = (values["val/iou"] + values["val/boundary_iou"]) / 2
        self.log_dict(values, rank_zero_only=False)

    def on_test_epoch_end(self) -> None:
        """Collect the rows of all processes."""
        self._gather()

    def _score(self, case: Case, outcome: Outcome) -> None:
        data: SegmentationData = self.trainer.datamodule  # type: ignore[attr-defined]
        masks = {"reference": case.read_reference(case.whole), "coarse": outcome.read("coarse", case.whole)}
        if self.stage in ("refiner", "chain") and self.refiner is not None:
            masks["refined"] = outcome.read("refined", case.whole)
        valid = case.read(case.whole)[1][0]
        masks = {name: np.where(valid, mask, 0) if name != "reference" else mask for name, mask in masks.items()}
        rows, confusions = score_case(
            case.name,
            masks,
            data.classes,
            case.geometry,
            data.boundary,
            group=case.group,
            valid=valid,
            hd95=self.stage == "chain",
        )
        self.rows += rows
        self.confusions[case.name] = confusions
        if outcome.evidence.size:
            gain = _mean(rows, "refined") - _mean(rows, "coarse")
            change = _mean(rows, "refined", "iou") - _mean(rows, "coarse", "iou")
            self.units[case.name] = Unit(outcome.evidence, gain, change)

    def choose(self) -> None:
        """Add the variant "chosen" to rows and confusions: per case what the gate, fitted by now, decides."""
        for name, counts in self.confusions.items():
            if "refined" in counts:
                kept = self.gate is None or self.gate.decide(self.units[name].evidence)[0]
                source = "refined" if kept else "coarse"
                counts["chosen"] = counts[source]
                mine = [row for row in self.rows if row.case == name and row.variant == source]
                self.rows += [replace(row, variant="chosen") for row in mine]

    def _gather(self) -> None:
        if self.trainer.world_size == 1:
            return
        gathered: list[Any] = [None] * self.trainer.world_size
        mine = (self.rows, self.confusions, self.units)
        torch.distributed.all_gather_object(gathered, mine)
        self.rows = [row for rows, _, _ in gathered for row in rows]
        self.confusions = {name: counts for _, found, _ in gathered for name, counts in found.items()}
        self.units = {name: unit for _, _, found in gathered for name, unit in found.items()}


class _Warming:
    """Exponential moving average whose decay starts small: (1 + n) / (10 + n) until it reaches ``decay``."""

    def __init__(self, decay: float) -> None:
        self.decay = decay

    def __call__(self, averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        n = float(count)
        decay = min(self.decay, (1 + n) / (10 + n))
        return averaged + (current - averaged) * (1 - decay) if averaged.is_floating_point() else current.clone()


def _mean(rows: list[Row], variant: str, name: str | None = None) -> float:
    """Mean over classes of one score, or of the mean of IoU and Boundary IoU."""
    chosen = [row for row in rows if row.variant == variant]
    values = [getattr(row, name) if name else (row.iou + row.boundary_iou) / 2 for row in chosen]
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
