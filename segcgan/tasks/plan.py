"""The plan behind ``fit``: folds, segmenter, refiner, gate; resumable at any point."""

import hashlib
import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import nn

import segcgan
from segcgan.atomic import replacing, write_text
from segcgan.case import Case
from segcgan.chain import Chain
from segcgan.data.bank import write_bank
from segcgan.data.module import SegmentationData
from segcgan.data.splits import write_splits
from segcgan.errors import SegcganError
from segcgan.inference.engine import predict_case
from segcgan.inference.store import MemoryStore
from segcgan.metrics.cases import score_case
from segcgan.runs import Run
from segcgan.tasks.adoption import adopt
from segcgan.tasks.console import log
from segcgan.tasks.evaluation import conclude
from segcgan.tasks.journal import join_metrics
from segcgan.tasks.rehearsal import rehearse
from segcgan.tasks.stage import StageCLI
from segcgan.tasks.tracking import closing

_WORSE = 2.0  # times the error, 1 − Dice


def fit(args: list[str], config: Path, runs: Path) -> Run:
    """Train everything a config asks for; the same command again resumes an unfinished run.

    Args:
        args: command line behind the verb, ``--config`` included.
        config: the file.
        runs: folder of all runs.

    Returns:
        The finished run.
    """
    first = StageCLI(args, "segmenter")
    _check_trainer(first.config.trainer)
    first.datamodule.prepare_data()
    first.datamodule.setup()  # what is wrong with the data is said before a run folder exists
    rehearse(first.model, first.datamodule)
    source = first.schedule.segmenter_from
    source = source and str(Run.find(Path(source)).folder.resolve())  # before "latest" points at the new run
    inherited = os.environ.get("SEGCGAN_RUN")  # set in the processes DDP starts, which must not make runs of their own
    run = Run(Path(inherited)) if inherited else _choose_run(args, config, runs)
    os.environ["SEGCGAN_RUN"] = str(run.folder.resolve())
    if not inherited:
        run.claim()
    try:
        _fit(args, run, first, source)
    finally:
        if not inherited:
            del os.environ["SEGCGAN_RUN"]
            run.release()
    return run


def _check_trainer(trainer: Any) -> None:
    """Refuse what the plan says, and what leaves it nothing to choose weights and gate by."""
    if trainer.max_epochs is not None:
        cure = "set plan.segmenter_epochs and plan.refiner_epochs"
        raise SegcganError(f"trainer.max_epochs is {trainer.max_epochs}, but the plan has epochs of its own; {cure}")
    for name in ("check_val_every_n_epoch", "limit_val_batches"):
        if getattr(trainer, name) == 0:
            raise SegcganError(f"trainer.{name} is 0, but validation chooses weights and gate; leave it out")
    if trainer.fast_dev_run:
        cure = "set data.sampling.steps and plan.segmenter_epochs to 1 instead"
        raise SegcganError(f"trainer.fast_dev_run is {trainer.fast_dev_run} and keeps no weights; {cure}")


def _fit(args: list[str], run: Run, first: StageCLI, source: str | None) -> None:
    plan = first.schedule.stages(first.model.refiner is not None, bool(first.model.priors()))
    if rank() == 0:
        write_text(run.folder / "config.yaml", first.parser.dump(first.config, skip_none=False))
        if source:
            adopt(run, Path(source), list(plan))
    for stage, epochs in plan.items():
        if run.finished(stage):
            log.info("%s: finished before, skipped", stage)
        else:
            _train(args, run, stage, epochs, first.datamodule)
    if not run.finished("chain"):
        conclude(args, run, first.datamodule)


def _choose_run(args: list[str], config: Path, runs: Path) -> Run:
    """Return an unfinished run with equal config, or a new one."""
    others = " ".join(arg for arg in args if not arg.endswith(config.name)).split(" --")  # a value stays at its key
    content = json.dumps([yaml.safe_load(config.read_text()), sorted(others)], sort_keys=True, default=str)
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    base = runs / config.stem
    run = None
    if base.is_dir():
        for folder in sorted(base.iterdir(), reverse=True):
            found = Run(folder)
            if not folder.is_symlink() and found.facts.get("config") == digest and not found.finished("chain"):
                run = found
                log.info("resuming %s", folder)
                break
    if run is None:
        run = Run.create(base)
        run.note(config=digest, name=config.stem, version=segcgan.__version__, torch=str(torch.__version__))
        log.info("new run %s", run.folder)
    return run


def _train(args: list[str], run: Run, stage: str, epochs: int, opened: SegmentationData) -> None:
    """Run one stage to its end: fit, export the averaged weights of the best epoch, fill the bank."""
    begin = time.perf_counter()
    overrides: dict[str, Any] = {"trainer.max_epochs": epochs}
    if stage.startswith("fold-") or stage == "prior":
        overrides["trainer.limit_val_batches"] = 0
    cli = StageCLI(args, stage, run, overrides)
    if stage not in ("prior", "refiner") and run.weights("prior").exists():
        nn.ModuleDict(cli.model.priors()).load_state_dict(load_file(run.weights("prior")))
    cli.datamodule.share(opened)
    last = run.folder / "checkpoints" / stage / "last.ckpt"
    _describe(cli, run, stage, epochs)
    resume = last if last.exists() else None
    try:
        with closing(cli.trainer):
            cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=resume, weights_only=True)
    except SystemExit:  # what Lightning makes of Ctrl-C, after switching it off for the rest of the process
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt from None
    best = last.with_name("best.ckpt")
    state = torch.load(best if best.exists() else last, map_location="cpu", weights_only=True)
    cli.model.load_state_dict(state["state_dict"])
    score = float(cli.trainer.callback_metrics.get("val/score", float("nan")))
    if cli.trainer.global_rank == 0:
        if not run.folder.joinpath("splits.csv").exists():
            write_splits(run.folder / "splits.csv", cli.datamodule.cases)
        join_metrics(run.folder / "logs" / stage)
        average = cli.model.average
        if average is None:
            raise RuntimeError(f"stage {stage} trained nothing")
        if stage in ("segmenter", "refiner", "joint"):
            for name, part in average.module.named_children():
                export_weights(run, name, part)
        else:
            export_weights(run, stage, average.module if stage == "prior" else average.module["segmenter"])
    if stage not in ("prior", "refiner", "joint") and cli.model.refiner is not None:
        _fill_bank(cli, run, stage)
    if cli.trainer.global_rank == 0:
        run.finish(
            stage, epochs=epochs, epoch=int(state["epoch"]), score=score, seconds=time.perf_counter() - begin
        )


def export_weights(run: Run, name: str, part: nn.Module) -> None:
    """Write the weights of a part as safetensors, atomically."""
    path = run.weights(name)
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as draft:
        save_file({key: value.clone().contiguous() for key, value in part.state_dict().items()}, draft)


def _fill_bank(cli: StageCLI, run: Run, stage: str) -> None:
    """Predict held-out training cases (folds) or validation cases (segmenter) for the refiner to meet."""
    data, place, world = cli.datamodule, cli.trainer.global_rank, cli.trainer.world_size
    cases: Sequence[Case] = data.split("val")
    if stage.startswith("fold-"):
        cases = data.folds[int(stage.removeprefix("fold-"))].held_out
    bank = run.folder / "bank"
    bank.mkdir(exist_ok=True)
    device = (
        torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    )
    chain = cli.model.chain.to(device)
    found = [_bank_case(case, chain, bank, cli) for case in cases[place::world]]
    if world > 1:
        gathered: list[Any] = [None] * world
        torch.distributed.all_gather_object(gathered, found)
        found = [score for scores in gathered for score in scores]
    kind = "held-out training" if stage.startswith("fold-") else "validation"
    if found and place == 0:
        dice = float(np.nanmean(found))
        log.info("%s: coarse Dice %.3f on %d %s cases", stage, dice, len(found), kind)
        bank_facts = run.facts.get("bank", {}) | {stage: {"dice": dice, "cases": len(found)}}
        run.note(bank=bank_facts)
        if stage == "segmenter":
            _compare_banks(bank_facts)


def _compare_banks(facts: dict[str, dict[str, float]]) -> None:
    """Warn where the coarse masks a refiner learns from are much worse than those it will meet."""
    folds = [fact for stage, fact in facts.items() if stage.startswith("fold-")]
    if folds:
        learned = float(np.average([fact["dice"] for fact in folds], weights=[fact["cases"] for fact in folds]))
        met = facts["segmenter"]["dice"]
        if 1 - learned > _WORSE * (1 - met):
            log.warning(
                "the refiner learns from coarse masks of Dice %.3f but meets %.3f on validation cases; it may correct "
                "what is not wrong: give plan.fold_epochs more, or set plan.folds: 0 (corruptions alone)",
                learned,
                met,
            )


def _bank_case(case: Case, chain: Chain, bank: Path, cli: StageCLI) -> float:
    outcome = predict_case(case, chain, MemoryStore(), seed=cli.datamodule.seed)
    write_bank(bank / f"{case.name}.npy", outcome.read("p_coarse", case.whole))
    labels = outcome.read("coarse", case.whole)
    masks = {"reference": case.read_reference(case.whole), "coarse": np.where(labels == 255, 0, labels)}
    valid = labels != 255
    rows, _ = score_case(case.name, masks, cli.datamodule.classes, case.geometry, 1.0, valid=valid, measures=())
    dices = [row.dice for row in rows]
    return float(np.nanmean(dices)) if np.isfinite(dices).any() else float("nan")


def _describe(cli: StageCLI, run: Run, stage: str, epochs: int) -> None:
    """Say what is about to be trained."""
    trained = cli.model.trained
    millions = sum(p.numel() for part in trained.values() for p in part.parameters()) / 1e6
    where = f"{type(cli.trainer.accelerator).__name__.removesuffix('Accelerator')} x {cli.trainer.num_devices}"
    log.info(
        "%s: %s, %.2f M parameters, %d epochs on %s, %s",
        stage,
        " + ".join(type(part).__name__ for part in trained.values()),
        millions,
        epochs,
        where,
        cli.trainer.precision,
    )


def rank() -> int:
    """Return the number of this process on its machine; 0 = the first, which writes."""
    return int(os.environ.get("LOCAL_RANK", 0))
