"""The verb ``predict``."""

import argparse
import json
import logging
import sys

from rich.console import Console
from rich.progress import Progress

from segcgan.errors import SegcganError
from segcgan.inference.folder import Prediction, Wish, predict_folder
from segcgan.inference.windows import Windows
from segcgan.runs import Run, load

log = logging.getLogger("segcgan")


def command(chosen: argparse.Namespace) -> list[Prediction]:
    """Predict a folder with a bar on a terminal and a line per case elsewhere."""
    run = Run.find(chosen.model)
    chain = load(run.folder, device(chosen.device))
    settings = json.loads((run.folder / "chain.json").read_text())
    terminal = sys.stderr.isatty()
    with Progress(console=Console(stderr=True), disable=not terminal) as bar:
        task = bar.add_task("predicting")

        def line(row: Prediction, number: int, count: int) -> None:
            said = f"{row.status}, {row.mask or 'no'} mask ({row.reason}) {row.seconds:.1f} s"
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
            report=line,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


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
