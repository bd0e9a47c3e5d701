"""Figures that show what the refiner changed: a strip image | reference | coarse | refined | error, or a larger grid.

Contours, not opaque fill, so that the edge can be judged; matplotlib objects without pyplot, so that nothing
global is touched and no screen is needed.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from segcgan.case import Array
from segcgan.classes import ClassSpec
from segcgan.colours import class_colours, hexadecimal
from segcgan.errors import SegcganError
from segcgan.report.framing import stretch
from segcgan.report.panels import (
    INK,
    PAPER,
    View,
    error_panel,
    legend,
    nats_panel,
    panel,
    samples_panel,
    scale_bar,
)

_SIDE, _WIDTH = 2.5, 11.0  # inches: longer side of a panel, widest figure
_PIXELS = 1200  # longer side after thinning: a panel shows a few hundred anyway

Drawer = Callable[[Any], None]


@dataclass(frozen=True)
class Slice:
    """One slice of a case, as all figures take it.

    Args:
        image: (C, H, W) or (H, W).
        classes: all classes, index 0 is the background.
        spacing: size of a pixel along rows and columns, in ``unit``.
        unit: ``"mm"``, ``"m"`` or ``"px"``, for the scale bar.
        valid: bool (H, W); the rest is hatched as "no data".
        title: above the figure; a second line is set smaller.
        channels: one or three of the image's channels to show; None = three bands or more show the first three,
            fewer the first one.
    """

    image: Array
    classes: list[ClassSpec]
    spacing: tuple[float, float]
    unit: str = "px"
    valid: Array | None = None
    title: str = ""
    channels: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Spread:
    """How the samples of a refiner differ.

    Args:
        samples: class indices (n, H, W).
        disagreement: mutual information (H, W) in nats.
    """

    samples: Array
    disagreement: Array


def strip(
    image: Array,
    masks: dict[str, Array],
    classes: list[ClassSpec],
    spacing: tuple[float, float],
    unit: str = "px",
    valid: Array | None = None,
    title: str = "",
) -> bytes:
    """Draw one image and its masks side by side.

    Args:
        image: see :class:`Slice`, as all others but ``masks``.
        masks: class indices (H, W) by panel name, in order. With one named ``"reference"`` (it may hold
            ``IGNORE``) the others get its outline, and the last mask an error panel.
        classes: of the case.
        spacing: of a pixel.
        unit: of the spacing.
        valid: pixels.
        title: above the strip.

    Returns:
        PNG file.

    Raises:
        SegcganError: a mask differs in shape from the image.
    """
    return png(_compose(Slice(image, classes, spacing, unit, valid, title), masks, list(masks)[-1:], None, "", 99))


def grid(shown: Slice, masks: dict[str, Array], spread: Spread | None = None, kept: str = "") -> Any:
    """Draw image, masks, the error of every mask, and how the samples differ, in rows of up to four panels.

    Args:
        shown: image and everything around it.
        masks: as in :func:`strip`.
        spread: of the samples; None = no panels for it.
        kept: name of the mask the gate keeps; its panel says so.

    Returns:
        A ``matplotlib.figure.Figure`` that shows itself in a notebook.

    Raises:
        SegcganError: a mask differs in shape from the image.
    """
    return _compose(shown, masks, list(masks), spread, kept, None)


def png(figure: Any) -> bytes:
    """Return a matplotlib figure as a PNG file; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=144, metadata={"Software": None})
    return buffer.getvalue()


def _compose(
    shown: Slice, masks: dict[str, Array], judged: list[str], spread: Spread | None, kept: str, columns: int | None
) -> Any:
    view, masks, spread = _prepare(shown, masks, spread)
    reference, kinds = masks.get("reference"), list[str]()

    def image(axis: Any) -> None:
        panel(axis, view, "image")
        scale_bar(axis, view, shown.unit)

    def mask(name: str) -> Drawer:
        said = f"{name}, kept by the gate" if name == kept else name
        dashed = None if name == "reference" else reference
        return lambda axis: panel(axis, view, said, masks[name], dashed, bold=name == kept)

    def error(name: str, reference: Array) -> Drawer:
        return lambda axis: kinds.extend(error_panel(axis, view, f"error of {name}", reference, masks[name]))

    drawers = [image, *map(mask, masks)]
    if reference is not None:
        drawers += [error(name, reference) for name in judged if name != "reference"]
    if spread is not None:
        name = f"{len(spread.samples)} samples"
        drawers.append(lambda axis: samples_panel(axis, view, name, spread.samples, reference))
        drawers.append(lambda axis: nats_panel(axis, view, "their disagreement", spread.disagreement))
    count = len(drawers)
    columns = min(count, columns or (count if count <= 4 else -(-count // 2) if count <= 8 else 4))
    figure, axes = _sheet(view, count, columns, shown.title)
    for axis, draw in zip(axes, drawers, strict=True):
        draw(axis)
    dashed = reference is not None and len(drawers) > 2
    legend(figure, shown.classes, view, list(dict.fromkeys(kinds)), dashed)
    return figure


def _prepare(
    shown: Slice, masks: dict[str, Array], spread: Spread | None
) -> tuple[View, dict[str, Array], Spread | None]:
    """Check shapes, thin what is large, and stretch the image."""
    image = shown.image[None] if shown.image.ndim == 2 else shown.image
    valid = np.ones(image.shape[1:], bool) if shown.valid is None else shown.valid.astype(bool)
    more = {} if spread is None else {"samples": spread.samples[0], "disagreement": spread.disagreement}
    for name, mask in {**masks, **more, "valid": valid}.items():
        if mask.shape != image.shape[1:]:
            msg = f"mask {name!r} has shape {mask.shape} but the image {image.shape[1:]}; cut both to one window"
            raise SegcganError(msg)
    step = max(1, -(-max(valid.shape) // _PIXELS))
    image, valid = image[:, ::step, ::step], valid[::step, ::step]
    if spread is not None:
        spread = Spread(spread.samples[:, ::step, ::step], spread.disagreement[::step, ::step])
    spacing = (shown.spacing[0] * step, shown.spacing[1] * step)
    colours = [hexadecimal(colour) for colour in class_colours(shown.classes)]
    view = View(stretch(image, valid, shown.channels), ~valid, spacing, colours)
    return view, {name: mask[::step, ::step] for name, mask in masks.items()}, spread


def _sheet(view: View, panels: int, columns: int, title: str) -> tuple[Any, list[Any]]:
    """Return a figure with panels in the shape of the image, and room for names, title and legend."""
    from segcgan.report.sheet import Sheet

    width, height = view.extent[1], view.extent[2]
    longest = min(_SIDE, _WIDTH / columns)
    wide, tall = (longest * side / max(width, height) for side in (width, height))
    wide = max(wide, 1.3)  # room for the names
    head, _, more = title.partition("\n")
    over, name, under, gap = 0.22 * bool(head) + 0.18 * bool(more), 0.24, 0.34, 0.06
    rows = -(-panels // columns)
    whole = (columns * (wide + gap) + gap, rows * (tall + name) + over + under)
    figure = Sheet(figsize=whole, facecolor=PAPER)
    axes = []
    for index in range(panels):
        row, column = divmod(index, columns)
        left, bottom = gap + column * (wide + gap), under + (rows - 1 - row) * (tall + name)
        axes.append(figure.add_axes((left / whole[0], bottom / whole[1], wide / whole[0], tall / whole[1])))
    for text, below, look in ((head, 0.06, {"size": 10, "weight": "bold"}), (more, 0.26, {"size": 8})):
        place = gap / whole[0], 1 - below / whole[1]
        figure.text(*place, text, va="top", color=INK, parse_math=False, **look)  # a $ in a name is no formula
    return figure, axes
