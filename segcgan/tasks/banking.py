"""Coarse masks of cases a segmenter never saw: what the refiner learns from, and what it will meet."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segcgan.case import Case
from segcgan.chain import Chain
from segcgan.data.bank import write_bank
from segcgan.inference.engine import predict_case
from segcgan.inference.store import MemoryStore
from segcgan.metrics.cases import score_case
from segcgan.runs import Run
from segcgan.tasks.console import log
from segcgan.tasks.stage import StageCLI

_WORSE = 2.0  # times the error, 1 − Dice


def fill_bank(cli: StageCLI, run: Run, stage: str) -> None:
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
            compare_banks(bank_facts)


def compare_banks(facts: dict[str, dict[str, float]]) -> None:
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
