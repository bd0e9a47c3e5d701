"""The report of a run: one HTML file that holds everything, readable anywhere (no scripts, no links)."""

import base64
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import segcgan
from segcgan.atomic import write_text
from segcgan.metrics.boundary import Convention, conventions
from segcgan.metrics.summary import CONVENTION, EMPTY, Table

LIMITS = (
    "Not a medical device: a research result, not to be used for diagnosis, treatment or navigation.",
    "The scores hold for images like those scored here; other scanners, sensors and places need their own.",
)


def write_report(
    path: Path,
    title: str,
    facts: dict[str, str],
    table: Table,
    curves: bytes | None = None,
    strips: list[tuple[str, bytes]] | None = None,
    cases: Table | None = None,
    notes: list[str] | None = None,
    epochs: list[tuple[str, bytes]] | None = None,
) -> None:
    """Write one self-contained page, all or nothing.

    Args:
        path: of the HTML file.
        title: of the run.
        facts: what was trained, on what, for how long, how often the gate kept the refined mask, …: name → text.
        table: scores, from ``segcgan.metrics.summary.table``.
        curves: PNG file of training curves.
        strips: (caption, PNG file), in order, e.g. best, median and worst case.
        cases: scores per case, from ``segcgan.metrics.summary.case_table``.
        notes: sentences added to the limits every report states.
        epochs: (caption, PNG file) of a case while it was trained; folded away until clicked.
    """
    from jinja2 import Environment, StrictUndefined

    source = files("segcgan.report").joinpath("report.html.jinja").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(source).render(
        title=title,
        facts=facts,
        table=table,
        curves=_inline(curves) if curves else None,
        strips=[(caption, _inline(picture)) for caption, picture in strips or []],
        epochs=[(caption, _inline(picture)) for caption, picture in epochs or []],
        cases=cases,
        notes=[*LIMITS, *(notes or [])],
        conventions=conventions(_stated(table)),
        version=segcgan.__version__,
    )
    write_text(path, page)


def _stated(table: Table) -> Convention:
    """The convention of the scores, as the table says it; older versions left rightly empty masks out of means."""
    start = CONVENTION.partition(";")[0]
    found = [(label, cells[0]) for label, *cells in table[1] if label.startswith(start) and cells[0] != EMPTY]
    if not found:
        return Convention()
    stated = Convention.parse(found[0][1])
    return stated if found[0][0] == CONVENTION else replace(stated, empty=float("nan"))


def _inline(picture: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(picture).decode("ascii")
