"""The verbs ``predict`` and ``refine``."""

import argparse
import json
import logging
import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from segcgan.chain import Chain
from segcgan.data.labels import label_values
from segcgan.errors import SegcganError
from segcgan.inference.folder import Wish, predict_folder
from segcgan.inference.foreign import ForeignMasks
from segcgan.inference.table import Prediction
from segcgan.inference.windows import Windows
from segcgan.runs import Run, load

log = logging.getLogger("segcgan")


def command(chosen: argparse.Namespace) -> list[Prediction]:
    """Predict a folder, or refine its masks, with a bar on a terminal and a line per case elsewhere.

    Raises:
        SegcganError: as of ``predict_folder``; masks are to be refined, but the run has no refiner.
    """
    run = Run.find(chosen.model)
    chain = load(run.folder, device(chosen.device))
    if chosen.no_gate:
        chain = replace(chain, gate=None)
    coarse = None
    if chosen.coarse is not None:
        coarse, chain = ForeignMasks(chosen.coarse, chosen.labels), _for_foreign(chain, run)
        label_values(chosen.labels, chain.classes, Path("--labels"))  # a slip is told once, not for every case
    settings = json.loads((run.folder / "chain.json").read_text())
    terminal = sys.stderr.isatty()
    with Progress(console=Console(stderr=True), disable=not terminal) as bar:
        task = bar.add_task("predicting" if coarse is None else "refining")

        def line(row: Prediction, number: int, count: int) -> None:
            said = f"{row.status}, {row.mask or 'no'} mask ({row.reason}) {row.seconds:.1f} s"
            said += f"; note: {row.note}" if row.note else ""
            text = f"{number}/{count} {row.case}: {said}"
            if terminal:
                bar.console.print(text, markup=False, highlight=False)
            else:
                log.info(text)

        return predict_folder(
            chosen.input,
            chosen.output,
            chain,
            settings,
            Wish(
                Windows(strip=chosen.strip),
                samples=chosen.samples,
                overwrite=chosen.overwrite,
                uncertainty=chosen.uncertainty,
            ),
            coarse=coarse,
            report=line,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


def _for_foreign(chain: Chain, run: Run) -> Chain:
    if chain.refiner is None:
        raise SegcganError(f"{run.folder} has no refiner; train one with plan.refiner_epochs above 0")
    return replace(chain, segmenter=None)


def device(name: str) -> str:
    """Return the torch device for "auto", "cpu", "cuda" …

    Raises:
        SegcganError: no such device here.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise SegcganError(f"device {name!r} is not available here; use auto or cpu") from error
    return name
