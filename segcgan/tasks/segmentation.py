"""The one LightningModule: trains what its stage trains, and scores whole cases with the real engine."""

from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from segcgan.batch import Batch
from segcgan.case import Case
from segcgan.chain import Chain, lay_out
from segcgan.critics import Adversary
from segcgan.data.module import SegmentationData
from segcgan.errors import SegcganError, at_least
from segcgan.gates import Gate
from segcgan.inference.engine import predict_case
from segcgan.inference.store import MemoryStore
from segcgan.noise import Noise
from segcgan.priors import Prior
from segcgan.refiners import Refiner
from segcgan.regularisers import Regulariser
from segcgan.segmenters import remove_modules, segmenter_loss
from segcgan.tasks.learning import Warming, optimizers
from segcgan.tasks.scoring import Scoreboard

_CLIP = 1.0  # largest gradient norm, unless trainer.gradient_clip_val says otherwise


class SegmentationTask(pl.LightningModule):
    """Segmenter, refiner, adversary and gate in one module; ``stage`` says which part learns.

    What a stage does not train is frozen here, before DDP wraps the module. Validation and test use the moving
    average of the weights, and whole cases.

    Args:
        segmenter: image (B, C, H, W) → logits (B, K, H, W).
        refiner: None = the coarse mask is the result.
        adversary: a critic the refiner (or the segmenter) is trained against; None = none.
        gate: None = the refined mask is always kept.
        regularisers: further loss terms of the segmenter.
        stage: "prior", "fold-0", …, "segmenter", "refiner", "joint" (both at once) or "chain" (all is scored).
        lr: peak learning rate of AdamW; cosine with a short warm-up.
        average: decay of the moving average per step.
        samples: masks drawn from a stochastic refiner when cases are scored.
    """

    def __init__(
        self,
        segmenter: nn.Module,
        refiner: Refiner | None = None,
        adversary: Adversary | None = None,
        gate: Gate | None = None,
        regularisers: list[Regulariser] | None = None,
        stage: str = "segmenter",
        lr: float = 1e-3,
        average: float = 0.99,
        samples: int = 4,
    ) -> None:
        super().__init__()
        at_least("model.", 0, lr=lr)
        at_least("model.", 1, samples=samples)
        lay_out(segmenter, refiner)
        self.segmenter, self.refiner, self.gate = segmenter, refiner, gate
        self.stage, self.lr, self.samples = stage, lr, samples
        self.regularisers = nn.ModuleList(regularisers or [])
        if refiner is None and stage in ("refiner", "joint"):
            raise SegcganError(f"stage {stage!r} needs model.refiner in the config")
        if refiner is None and adversary is not None and adversary.trains == "refiner":
            cure = "add model.refiner, or let it train the segmenter (trains: segmenter)"
            raise SegcganError(f"model.adversary trains a refiner but there is none; {cure}")
        self.trained = self._trained()  # a plain dictionary: these modules are registered already
        self.adversary = adversary
        self.automatic_optimization = self.rival is None
        learning = {*map(id, nn.ModuleDict(self.trained).parameters())}
        learning |= set() if self.rival is None else {*map(id, self.rival.parameters())}
        for parameter in self.parameters():
            if id(parameter) not in learning:
                parameter.requires_grad_(False)
        self.average = None
        if self.trained:
            whole = nn.ModuleDict(self.trained)
            self.average = AveragedModel(whole, avg_fn=Warming(average), use_buffers=True).requires_grad_(False)
        self.board = Scoreboard()
        self.temperatures: dict[str, float] = {}
        self.thresholds: dict[str, list[float]] = {}

    def leave_out(self, names: list[str]) -> int:
        """Remove parts of the segmenter that nothing needs, from its moving average too; return how many parameters."""
        if self.average is not None and "segmenter" in self.trained:
            remove_modules(self.average.module["segmenter"], names)  # type: ignore[index]
        return remove_modules(self.segmenter, names)

    @property
    def rival(self) -> Adversary | None:
        """The adversary, in a stage that trains against it; with weight 0 none does."""
        return self.adversary if self.adversary is not None and self.adversary.against(self.trained) else None

    def priors(self) -> dict[str, Prior]:
        """Return what the stage "prior" trains, by name: parts of the segmenter and of the regularisers."""
        # not "segmenter": a prior is no segmenter, neither for an adversary nor for the chain
        found = {"segmenter-prior": getattr(self.segmenter, "prior", None)}
        found |= {f"regulariser-{index}": part.prior for index, part in enumerate(self.regularisers)}
        return {name: prior for name, prior in found.items() if isinstance(prior, Prior)}

    def _trained(self) -> dict[str, nn.Module]:
        if self.stage == "chain":
            return {}
        if self.stage == "prior":
            return dict(self.priors())
        parts = {"segmenter": self.segmenter} if self.stage != "refiner" else {}
        if self.refiner is not None and self.stage in ("refiner", "joint"):
            parts["refiner"] = self.refiner
        return parts

    # -- training ---------------------------------------------------------------------------------------------------

    def on_train_epoch_start(self) -> None:
        """Restart torch's generators per epoch, so that a resumed run equals an uninterrupted one."""
        torch.manual_seed(self.trainer.datamodule.seed * 1_000_003 + self.current_epoch)  # type: ignore[attr-defined]

    def training_step(self, batch: Batch, index: int) -> Tensor | None:
        """Learn from one batch of windows; with an adversary the optimisers are stepped here."""
        terms, logits = self._losses(batch, Noise(self.current_epoch * 2**20 + index, 0, batch))
        if self.rival is not None:
            self._play(self.rival, terms, logits[self.rival.trains], batch)
            return None
        loss = self._total(terms)
        self._log(terms | {"loss": loss}, len(batch.image))
        return loss

    def _losses(self, batch: Batch, noise: Noise) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the loss terms of the stage, and the logits of what it trains."""
        terms: dict[str, Tensor] = {}
        logits: dict[str, Tensor] = {}
        if self.stage == "prior":
            for name, prior in self.priors().items():
                terms |= {f"{name}_{key}": value for key, value in prior.training_loss(batch, noise).items()}
            return terms, logits
        if "segmenter" in self.trained:
            terms, logits["segmenter"] = segmenter_loss(self.segmenter, batch, noise)
            for index, part in enumerate(self.regularisers):
                for key, value in part.terms(batch, logits["segmenter"]).items():  # type: ignore[operator]
                    terms[key if key not in terms else f"{key}_{index}"] = value  # there may be two of a kind
        if "refiner" in self.trained and self.refiner is not None:
            if self.stage == "joint":
                batch = replace(batch, coarse=logits["segmenter"].float().softmax(1) * batch.valid)
            more, logits["refiner"] = self.refiner.training_loss(batch, noise)
            terms |= {f"refiner_{key}": value for key, value in more.items()} if self.stage == "joint" else more
        return terms, logits

    def _play(self, adversary: Adversary, terms: dict[str, Tensor], logits: Tensor, batch: Batch) -> None:
        """One step of the generator, then one of the critic unless it is far ahead."""
        generator, critic = self.optimizers()  # type: ignore[attr-defined]
        self.toggle_optimizer(generator)
        terms = terms | adversary.generator_terms(logits, batch)
        loss = self._total(terms)
        self._descend(generator, loss)
        self.untoggle_optimizer(generator)
        self.toggle_optimizer(critic)
        found = adversary.critic_terms(logits.detach(), batch)
        if found and adversary.learns():
            self._descend(critic, self._total(found), _CLIP * adversary.heaviness(found))
        self.untoggle_optimizer(critic)
        adversary.count()
        for schedule in self.lr_schedulers():  # type: ignore[union-attr]
            schedule.step()
        self._log(terms | found | adversary.diagnostics | {"loss": loss}, len(batch.image))

    def _descend(self, optimizer: Any, loss: Tensor, clip: float = _CLIP) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        self.clip_gradients(optimizer, clip, "norm")
        optimizer.step()

    def _total(self, terms: dict[str, Tensor]) -> Tensor:
        loss = torch.stack([value.float() for value in terms.values()]).sum()
        if not torch.isfinite(loss):
            parts = ", ".join(f"{name} = {float(value.detach()):.3g}" for name, value in terms.items())
            raise SegcganError(f"the loss is not finite at epoch {self.current_epoch} ({parts}); lower model.lr")
        return loss

    def _log(self, values: dict[str, Tensor], count: int) -> None:
        for part in self.trained.values():
            values = values | getattr(part, "diagnostics", {})
        logged = {f"train/{name}": value.detach() for name, value in values.items()}
        self.log_dict(logged, on_step=False, on_epoch=True, batch_size=count, sync_dist=True)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Update the moving average."""
        if self.average is not None:
            self.average.update_parameters(nn.ModuleDict(self.trained))

    def configure_optimizers(self) -> Any:
        """AdamW, and Adam for a critic, with a warm-up of 5 % and a cosine decay to 0, per step."""
        own = nn.ModuleDict(self.trained)
        return optimizers(own, self.rival, self.lr, int(self.trainer.estimated_stepping_batches))

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip by norm unless the trainer was told a value of its own."""
        value = _CLIP if gradient_clip_val is None else gradient_clip_val
        self.clip_gradients(optimizer, value, gradient_clip_algorithm or "norm")

    # -- scoring ----------------------------------------------------------------------------------------------------

    @property
    def chain(self) -> Chain:
        """The chain of this stage, with averaged weights."""
        return self.chain_for(self.trainer.datamodule, str(self.trainer.precision))  # type: ignore[attr-defined]

    def chain_for(self, data: SegmentationData, precision: str) -> Chain:
        """Return the chain as it would predict the data."""
        if data.normalisation is None:
            raise RuntimeError("the data module is not set up")
        learnt: dict[str, Any] = dict(self.average.module) if self.average is not None else {}  # type: ignore[call-overload]
        whole = self.stage == "chain"
        return Chain(
            normalisation=data.normalisation,
            segmenter=learnt.get("segmenter", self.segmenter),
            refiner=self.refiner if whole else learnt.get("refiner"),
            gate=self.gate if whole else None,
            classes=data.classes,
            sampling=data.sampling,
            bf16="bf16" in precision,
            temperatures=self.temperatures,
            thresholds=self.thresholds,
        )

    def on_validation_epoch_start(self) -> None:
        """Forget the previous scores."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self.board = Scoreboard(several=any(case.raters is not None for case in data.split(data.evaluated)))

    on_test_epoch_start = on_validation_epoch_start

    def validation_step(self, case: Case, index: int) -> None:
        """Predict one whole case and score it."""
        if case.reference is None or self.stage == "prior":
            return
        data, chain = self.trainer.datamodule, self.chain  # type: ignore[attr-defined]
        extra = ("samples",) if case.raters is not None and self.stage == "chain" and chain.refiner is not None else ()
        outcome = predict_case(case, chain, MemoryStore(), samples=self.samples, seed=data.seed, extra=extra)
        self.board.add(case, outcome, data, final=self.stage == "chain", refined=chain.refiner is not None)

    test_step = validation_step

    def on_validation_epoch_end(self) -> None:
        """Log the scores over all processes; ``val/score`` see :meth:`Scoreboard.means`."""
        self.board.gather()
        refined = self.refiner is not None and self.stage in ("refiner", "joint", "chain")
        means = self.board.means("refined" if refined else "coarse")
        self.log_dict({f"val/{name}": value for name, value in means.items()}, rank_zero_only=False)

    def on_test_epoch_end(self) -> None:
        """Collect the rows of all processes."""
        self.board.gather()
