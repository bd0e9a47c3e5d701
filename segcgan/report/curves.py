"""Training curves: losses left and validation scores right; stages without scores share a row."""

import csv
import itertools
import math
from pathlib import Path
from typing import Any

from segcgan.errors import SegcganError
from segcgan.report.figures import png
from segcgan.report.panels import INK, PALETTE, PAPER

Series = dict[str, list[tuple[float, float]]]  # column -> (epoch, value), in order

LINES = tuple(PALETTE[index] for index in (4, 5, 2, 6, 0, 1))  # the ones that show on white
_SCORES_LEFT_OUT = ("hd95", "distance")  # in mm or m: they would squeeze what lies between 0 and 1


def curves(paths: dict[str, Path]) -> bytes:
    """Draw the curves of every stage of a run; epochs count from 1.

    Args:
        paths: stage → ``metrics.csv`` of Lightning's CSVLogger. ``train/…`` and ``…loss…`` columns are losses, the
            other ``val/…`` columns scores (distances are left out). Several values of an epoch are averaged.

    Returns:
        PNG file.

    Raises:
        SegcganError: no file holds any such column.
    """
    from matplotlib.figure import Figure

    stages = {stage: read_series(path) for stage, path in paths.items()}
    stages = {stage: series for stage, series in stages.items() if series}
    if not stages:
        where = ", ".join(str(path) for path in paths.values()) or "a run without stages"
        raise SegcganError(f"{where}: no columns train/… or val/… to draw; train for at least one epoch first")
    panels = _panels(stages)
    rows = len(panels) // 2
    height = 0.35 + 2.1 * rows
    figure = Figure(figsize=(10.5, height), facecolor=PAPER)
    axes = figure.subplots(rows, 2, squeeze=False)
    figure.subplots_adjust(left=0.065, right=0.87, wspace=0.5, hspace=0.5,
                           top=1 - 0.4 / height, bottom=0.45 / height)
    for axis, (title, series) in zip(axes.flat, panels, strict=True):
        if not title:
            axis.set_axis_off()
            continue
        _panel(axis, title, series)
        if series and title.endswith("scores"):
            low = min(value for points in series.values() for _, value in points)
            axis.set_ylim(bottom=max(0.0, low - 0.05) if low >= 0 and axis.get_yscale() == "linear" else None)
    for axis in axes[-1]:
        axis.set_xlabel("epoch", size=8, color=INK)
    for axis in axes.flat:
        _label_ends(axis)
    return png(figure)


def _panels(stages: dict[str, Series]) -> list[tuple[str, Series]]:
    """Return (title, series) of an even number of panels, two in a row; one without a title stays empty."""
    found: list[tuple[str, Series]] = []
    for stage, series in stages.items():
        losses = {name: points for name, points in series.items() if is_loss(name)}
        scores = {name.removeprefix("val/"): points for name, points in series.items() if not is_loss(name)}
        if scores and len(found) % 2:
            found.append(("", {}))
        found.append((f"{stage}: losses", losses))
        if scores:
            found.append((f"{stage}: validation scores", scores))
    return [*found, ("", {})] if len(found) % 2 else found


def read_series(path: Path) -> Series:
    """Read the losses and scores of one ``metrics.csv``: column → (epoch, mean of the epoch) in order of epochs.

    Gaps (empty or NaN cells) are left out, and of a metric logged per step and per epoch the steps.
    """
    values: dict[str, dict[float, list[float]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for index, row in enumerate(csv.DictReader(file)):
            epoch = float(row.get("epoch") or index)
            for name, text in row.items():
                if name and name.startswith(("train/", "val/")) and text and math.isfinite(float(text)):
                    values.setdefault(name, {}).setdefault(epoch, []).append(float(text))
    series: Series = {}
    for name, epochs in values.items():
        twice = name.endswith("_step") and name.removesuffix("_step") + "_epoch" in values
        if not twice and (is_loss(name) or not any(word in name.lower() for word in _SCORES_LEFT_OUT)):
            means = [(epoch, sum(found) / len(found)) for epoch, found in sorted(epochs.items())]
            series[name.removesuffix("_epoch")] = means
    return series


def is_loss(name: str) -> bool:
    """Say whether a column goes into the left panel."""
    return name.startswith("train/") or "loss" in name.lower()


def _panel(axis: Any, title: str, series: Series) -> None:
    axis.set_title(title, loc="left", size=9, weight="bold", color=INK)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axis.spines[side].set_color("#c3cad1")
    axis.tick_params(labelsize=8, colors=INK, length=0)
    axis.grid(axis="y", color="#e4e8ec", lw=0.8)
    axis.set_axisbelow(True)
    if not series:
        axis.text(0.5, 0.5, "nothing logged", transform=axis.transAxes, ha="center", size=8, color=INK)
        axis.set(xticks=[], yticks=[])
        return
    for index, (name, points) in enumerate(series.items()):
        x, y = zip(*((epoch + 1, value) for epoch, value in points), strict=True)
        axis.plot(x, y, color=LINES[index % len(LINES)], lw=1.6, ls=("-", "--", ":")[index // len(LINES) % 3],
                  marker="o" if len(x) < 15 else None, ms=3, label=name, clip_on=False)
    sizes = [value for points in series.values() for _, value in points]
    if min(sizes) > 0 and max(sizes) > 30 * min(sizes):
        axis.set_yscale("log")
    epochs = [epoch + 1 for points in series.values() for epoch, _ in points]
    if min(epochs) == max(epochs):  # matplotlib would show fractions of the one epoch
        axis.set_xlim(epochs[0] - 1, epochs[0] + 1)
    axis.xaxis.get_major_locator().set_params(integer=True)


def _label_ends(axis: Any) -> None:
    """Write each name at the end of its line, moved apart where they would overlap."""
    lines = axis.get_lines()
    if not lines:
        return
    axis.figure.draw_without_rendering()
    tall = axis.get_window_extent().height / axis.figure.dpi * 72  # points
    scale = axis.transData - axis.transAxes
    ends = [float(scale.transform((line.get_xdata()[-1], line.get_ydata()[-1]))[1]) * tall for line in lines]
    places = spread(ends, least=9.5, top=tall)
    for line, place in zip(lines, places, strict=True):
        axis.annotate(line.get_label(), (1.0, place / tall), (5, 0), xycoords="axes fraction",
                      textcoords="offset points", va="center", size=8, color=line.get_color())


def spread(positions: list[float], least: float, top: float) -> list[float]:
    """Return positions at least ``least`` apart, in the same order, as near as one pass up and one down allow."""
    order = sorted(range(len(positions)), key=positions.__getitem__)
    moved = list(positions)
    for lower, upper in itertools.pairwise(order):
        moved[upper] = max(moved[upper], moved[lower] + least)
    ceiling = top
    for index in reversed(order):
        moved[index] = min(moved[index], ceiling)
        ceiling = moved[index] - least
    return moved
