"""Scoring a whole chain on a split, and everything the run folder shows of it."""

import time

from safetensors.torch import load_file

from segcgan.atomic import replacing
from segcgan.case import Case
from segcgan.chain import Chain
from segcgan.data.module import SegmentationData
from segcgan.data.profile import Profile
from segcgan.data.splits import check_splits
from segcgan.errors import SegcganError
from segcgan.inference.engine import predict_case
from segcgan.inference.store import MemoryStore
from segcgan.metrics.blocks import Block
from segcgan.metrics.cases import Row, never_found, unique
from segcgan.metrics.objects import Object
from segcgan.metrics.records import write_records
from segcgan.metrics.summary import Table, exemplars
from segcgan.report.page import write_run_report
from segcgan.report.strips import case_strip
from segcgan.runs import Run, load, save_chain, write_json
from segcgan.segmenters import without
from segcgan.tasks.console import log
from segcgan.tasks.journal import join_tables
from segcgan.tasks.stage import StageCLI
from segcgan.tasks.temperature import fit_temperatures
from segcgan.tasks.thresholds import fit_thresholds, values_of


def conclude(args: list[str], run: Run, opened: SegmentationData) -> None:
    """Fit the gate on the validation cases, score them, save the chain and write the report."""
    cli = StageCLI(args, "chain", run)
    cli.datamodule.share(opened)
    task = cli.model
    task.segmenter.load_state_dict(without(load_file(run.weights("segmenter")), run.unused))
    if run.weights("refiner").exists() and task.refiner is not None:
        task.refiner.load_state_dict(load_file(run.weights("refiner")))
    else:
        task.refiner = task.gate = None  # plan.refiner_epochs: 0
    if spare := [case for case in cli.datamodule.split("calibrate") if case.reference is not None]:
        task.temperatures = fit_temperatures(_chain(cli), spare, task.samples, cli.datamodule.seed)
        said = ", ".join(f"{name} {value:.2f}" for name, value in task.temperatures.items())
        log.info("temperatures, fitted on %d cases that serve nothing else: %s", len(spare), said or "none")
    _choose_thresholds(cli, run)
    cli.trainer.validate(task, datamodule=cli.datamodule, verbose=False)
    if cli.trainer.global_rank == 0:
        found = {row.class_name for row in task.board.rows if row.voxels_reference}
        for variant, name in never_found(task.board.rows):
            log.warning(
                "the %s masks of validation cases never show %s, which the references do: the training failed, or was "
                "too short; lower model.lr, or train for more epochs",
                variant,
                name,
            )
        for name in sorted({row.class_name for row in task.board.rows} - found):
            log.warning(
                "no validation case shows %s; if some should, its values in data.classes are not those of the masks "
                "(255 is unknown unless a class lists it)",
                name,
            )
    if task.gate is not None and task.refiner is not None:
        said = task.gate.fit(list(task.board.examples.values()))
        log.info("gate: %s", said)
        if cli.trainer.global_rank == 0:
            run.note(gate=said, gate_fit=task.gate.facts)
    if cli.trainer.global_rank == 0:
        images = cli.datamodule.images
        known = {name: getattr(images, name) for name in ("orientation", "spacing", "unit", "bands")}
        profile = Profile.fit(cli.datamodule.split("train"), cli.datamodule.sampling.spacing is not None)
        save_chain(run, task.chain, cli.specs(), profile=profile and profile.facts(), **known)
        _merge_metrics(run)
        _publish(cli, run, "val")
        run.finish("chain", at=time.strftime("%Y-%m-%d %H:%M:%S"))


def _chain(cli: StageCLI) -> Chain:
    """Return the chain where the trainer computes; between its calls Lightning leaves networks on the CPU."""
    return cli.model.chain_for(cli.datamodule, str(cli.trainer.precision)).to(cli.trainer.strategy.root_device)


def _choose_thresholds(cli: StageCLI, run: Run) -> None:
    """Fit the decision thresholds on validation cases; say and note what came out."""
    task = cli.model
    found = fit_thresholds(_chain(cli), cli.datamodule.split("val"), task.samples, cli.datamodule.seed)
    words = {f"{variant} {name}": str(each) for variant, per in found.items() for name, each in per.items()}
    for what, said in words.items():
        log.info("threshold, %s: %s", what, said)
    if cli.trainer.global_rank == 0:
        run.note(thresholds=words)
    task.thresholds = values_of(found)


def evaluate(args: list[str], run: Run, split: str) -> Table:
    """Score the chain of a finished run on a split.

    Returns:
        The score table: header and lines.
    """
    cli = StageCLI(args, "chain", run)
    task = cli.model
    # the config names these classes itself and was just obeyed, so loading may trust them too
    roots = {spec["class_path"].partition(".")[0] for spec in cli.specs().values() if spec}
    stored = load(run.folder, trust=roots)
    for name in ("segmenter", "refiner", "gate"):
        part = getattr(stored, name)
        setattr(task, name, part if part is None else part.to(task.device))
    task.temperatures = stored.temperatures
    task.thresholds = stored.thresholds
    cli.datamodule.normalisation = stored.normalisation
    cli.datamodule.evaluated = split
    cli.datamodule.prepare_data()
    cli.datamodule.setup()
    cases = cli.datamodule.split(split)
    if not any(case.reference is not None for case in cases):
        raise SegcganError(f"no case of the split {split} has a mask to score against; give one, or another split")
    if (drawn := run.folder / "splits.csv").is_file():
        check_splits(drawn, cases)
    cli.trainer.test(task, datamodule=cli.datamodule, verbose=False)
    return _publish(cli, run, split)


def _publish(cli: StageCLI, run: Run, split: str) -> Table:
    """Write cases CSV, scores, previews and report; only the first process does."""
    task, board = cli.model, cli.model.board
    board.choose(task.gate)
    if cli.trainer.global_rank:
        return [], []
    rows = unique(board.rows)
    write_records(run.folder / f"cases_{split}.csv", Row, rows)
    write_records(run.folder / f"objects_{split}.csv", Object, board.objects)
    write_records(run.folder / f"blocks_{split}.csv", Block, board.blocks)
    lines = board.table()
    facts = {"table": lines, "accepted": board.accepted(task.gate), "cases": len(board.confusions)}
    write_json(run.folder / f"scores_{split}.json", facts)
    for path in (run.folder / "previews").glob(f"{split}_*.png"):
        path.unlink()
    picked = exemplars(rows, "chosen" if task.refiner is not None else "coarse")
    cases = {case.name: case for case in cli.datamodule.split(split)}
    for word, name in picked.items():
        picture = _preview(cases[name], cli)
        (run.folder / "previews").mkdir(exist_ok=True)
        with replacing(run.folder / "previews" / f"{split}_{word}.png") as draft:
            draft.write_bytes(picture)
    write_run_report(run.folder)
    return lines


def _preview(case: Case, cli: StageCLI) -> bytes:
    """Draw the slice with most foreground, zoomed to it."""
    task = cli.model
    outcome = predict_case(case, task.chain, MemoryStore(), samples=task.samples, seed=cli.datamodule.seed)
    title = f"{case.name}\n{outcome.reason}" if task.refiner is not None else case.name
    return case_strip(case, outcome, cli.datamodule.classes, title)


def _merge_metrics(run: Run) -> None:
    """Join the curves of all stages into one metrics.csv."""
    files = sorted((run.folder / "logs").glob("*/metrics.csv"), key=lambda path: path.stat().st_mtime)
    join_tables({path: {"stage": path.parent.name} for path in files}, run.folder / "metrics.csv")
