"""The plan behind ``fit``: folds, segmenter, refiner, gate; resumable at any point."""

import hashlib
import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import nn

import segcgan
from segcgan.atomic import replacing, write_text
from segcgan.case import Case
from segcgan.data.module import SegmentationData
from segcgan.data.splits import check_splits, write_splits
from segcgan.errors import SegcganError
from segcgan.runs import FORMAT, Run
from segcgan.tasks.adoption import adopt
from segcgan.tasks.banking import fill_bank
from segcgan.tasks.console import log
from segcgan.tasks.evaluation import conclude
from segcgan.tasks.journal import join_metrics
from segcgan.tasks.processes import await_run, launch, rank
from segcgan.tasks.rehearsal import check_coarse, rehearse
from segcgan.tasks.stage import VALIDATED, StageCLI
from segcgan.tasks.tracking import closing


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
    _check_limits(first.config.trainer)
    digest = _digest(args, config)
    # only the first process makes a run; it tells those that Lightning starts, the others of a launch wait for it
    inherited = os.environ.get("SEGCGAN_RUN")
    if rank() and not inherited:
        inherited = str(await_run(lambda: _unfinished(runs / config.stem, digest)).folder)
    first.datamodule.prepare_data()
    first.datamodule.setup()  # what is wrong with the data is said before a run folder exists
    if first.model.refiner is not None:
        check_coarse(first.schedule, first.datamodule)
    source = first.schedule.segmenter_from
    source = source and str(Run.find(Path(source)).folder.resolve())  # before "latest" points at the new run
    found = {} if inherited else _dry_run(first)
    run = Run(Path(inherited)) if inherited else _choose_run(digest, runs / config.stem, found)
    if inherited:
        _fit(args, run, first, source)
        return run
    with run.claim():
        os.environ["SEGCGAN_RUN"] = str(run.folder.resolve())
        try:
            _fit(args, run, first, source)
        finally:
            del os.environ["SEGCGAN_RUN"]
    return run


def _dry_run(first: StageCLI) -> dict[str, Any]:
    """Try everything on empty windows; return, and report, the facts of :func:`rehearse` as a run keeps them."""
    unused, complete = rehearse(first.model, first.datamodule)
    if unused:
        before = sum(parameter.numel() for parameter in first.model.segmenter.parameters())
        left_out = first.model.leave_out(unused)
        log.info(
            "segmenter: %.2f of %.2f M parameters take no part in its masks and are left out (%s)",
            left_out / 1e6,
            before / 1e6,
            ", ".join(unused),
        )
    return {"unused": unused, "all_learn": complete}


def _check_limits(trainer: Any) -> None:
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
        _keep_splits(run.folder / "splits.csv", first.datamodule.cases)
    for stage, epochs in plan.items():
        if run.finished(stage):
            log.info("%s: finished before, skipped", stage)
        else:
            _train(args, run, stage, epochs, first.datamodule)
    if not run.finished("chain"):
        conclude(args, run, first.datamodule)


def _keep_splits(path: Path, cases: Sequence[Case]) -> None:
    """Write down which split each case is in; a run that goes on stays with what was written."""
    if path.exists():
        check_splits(path, cases)
    write_splits(path, cases)


def _digest(args: list[str], config: Path) -> str:
    """Return what tells a command apart from those that do not go on with its run."""
    others = " ".join(arg for arg in args if not arg.endswith(config.name)).split(" --")  # a value stays at its key
    content = json.dumps([yaml.safe_load(config.read_text()), sorted(others)], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _unfinished(base: Path, digest: str) -> Run | None:
    """Return the newest unfinished run of a command."""
    folders = sorted(base.iterdir(), reverse=True) if base.is_dir() else []
    found = (Run(folder) for folder in folders if not folder.is_symlink())
    same = (run for run in found if run.facts.get("config") == digest and not run.finished("chain"))
    return next((run for run in same if _is_current(run)), None)


def _is_current(run: Run) -> bool:
    """Tell whether a run was begun by code that learns and computes as this does; others are left as they are."""
    version = run.facts.get("format", 1)
    if version != FORMAT and rank() == 0:
        said = f"was begun with format {version} of runs, here it is {FORMAT}: not resumed"
        log.warning("%s %s; plan.segmenter_from takes its segmenter over, if that is finished", run.folder, said)
    return bool(version == FORMAT)


def _choose_run(digest: str, base: Path, found: dict[str, Any]) -> Run:
    """Return an unfinished run of the same command, or a new one."""
    if (run := _unfinished(base, digest)) is not None:
        log.info("resuming %s", run.folder)
    else:
        run = Run.create(base)
        log.info("new run %s", run.folder)
        versions = {"version": segcgan.__version__, "torch": str(torch.__version__), "format": FORMAT}
        run.note(config=digest, name=base.name, **found, **versions)
    if (mine := launch()) is not None:
        run.note(launch=mine)
    return run


def _train(args: list[str], run: Run, stage: str, epochs: int, opened: SegmentationData) -> None:
    """Run one stage to its end: fit, export the averaged weights of the best epoch, fill the bank."""
    begin = time.perf_counter()
    overrides: dict[str, Any] = {"trainer.max_epochs": epochs}
    if stage not in VALIDATED:
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
        join_metrics(run.folder / "logs" / stage)
        average = cli.model.average
        if average is None:
            raise RuntimeError(f"stage {stage} trained nothing")
        if stage in VALIDATED:
            for name, part in average.module.named_children():
                export_weights(run, name, part)
        else:
            export_weights(run, stage, average.module if stage == "prior" else average.module["segmenter"])
    if stage not in ("prior", "refiner", "joint") and cli.model.refiner is not None:
        fill_bank(cli, run, stage)
    if cli.trainer.global_rank == 0:
        run.finish(
            stage, epochs=epochs, epoch=int(state["epoch"]), score=score, seconds=time.perf_counter() - begin
        )
    cli.trainer.strategy.barrier()  # the others read what the first wrote


def export_weights(run: Run, name: str, part: nn.Module) -> None:
    """Write the weights of a part as safetensors, atomically."""
    path = run.weights(name)
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as draft:
        save_file({key: value.clone().contiguous() for key, value in part.state_dict().items()}, draft)


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
