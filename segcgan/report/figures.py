"""A strip of pictures that shows what the refiner changed: image | reference | coarse | refined | chosen | error.

Contours, not opaque fill, so that the edge can be judged; matplotlib objects without pyplot, so that nothing
global is touched and no screen is needed.
"""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from segcgan.case import IGNORE, Array
from segcgan.classes import ClassSpec
from segcgan.errors import SegcganError
from segcgan.report.framing import stretch

INK, PAPER, NOTHING = "#1f2933", "white", "#9aa5b1"
PALETTE = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")  # Okabe-Ito, for all eyes
ERRORS = {"hit": "#009E73", "too much": "#D55E00", "missed": "#56B4E9", "wrong class": "#F0E442"}

_SIDE, _WIDTH = 2.5, 11.0  # inches: longer side of a panel, widest strip
_PIXELS = 1200  # longer side after thinning: a panel shows a few hundred anyway


@dataclass(frozen=True)
class _View:
    """What all panels of a strip share."""

    backdrop: Array  # (H, W) or (H, W, 3) in 0…1
    missing: Array  # (H, W) bool: no data
    spacing: tuple[float, float]
    colours: list[str]

    @property
    def extent(self) -> tuple[float, float, float, float]:
        height, width = self.missing.shape
        return 0, width * self.spacing[1], height * self.spacing[0], 0


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
        image: (C, H, W) or (H, W); three bands or more show the first three, fewer the first one.
        masks: class indices (H, W) by panel name, in order. With one named ``"reference"`` (it may hold
            ``IGNORE``) the others get its outline, and the last mask an error panel.
        classes: all classes, index 0 is the background.
        spacing: size of a pixel along rows and columns, in ``unit``.
        unit: ``"mm"``, ``"m"`` or ``"px"``, for the scale bar.
        valid: bool (H, W); the rest is hatched as "no data".
        title: above the strip.

    Returns:
        PNG file.

    Raises:
        SegcganError: a mask differs in shape from the image.
    """
    image = image[None] if image.ndim == 2 else image
    valid = np.ones(image.shape[1:], bool) if valid is None else valid.astype(bool)
    for name, mask in {**masks, "valid": valid}.items():
        if mask.shape != image.shape[1:]:
            msg = f"mask {name!r} has shape {mask.shape} but the image {image.shape[1:]}; cut both to one window"
            raise SegcganError(msg)
    step = max(1, -(-max(valid.shape) // _PIXELS))
    image, valid = image[:, ::step, ::step], valid[::step, ::step]
    masks = {name: mask[::step, ::step] for name, mask in masks.items()}
    view = _View(stretch(image, valid), ~valid, (spacing[0] * step, spacing[1] * step), _colours(classes))
    reference = masks.get("reference")
    last = list(masks)[-1] if masks else "reference"
    panels = 1 + len(masks) + (reference is not None and last != "reference")

    figure, axes = _sheet(view, panels, title)
    _panel(axes[0], view, "image", {})
    _scale_bar(axes[0], view, unit)
    for axis, (name, mask) in zip(axes[1:], masks.items(), strict=False):
        _panel(axis, view, name, {"outline": mask, "reference": None if name == "reference" else reference})
    kinds = []
    if reference is not None and last != "reference":
        kinds = _error_panel(axes[-1], view, f"error of {last}", reference, masks[last])
    _legend(figure, classes, view, kinds, any(name != "reference" for name in masks) and reference is not None)
    return png(figure)


def png(figure: Any) -> bytes:
    """Return a matplotlib figure as a PNG file; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=144, metadata={"Software": None})
    return buffer.getvalue()


def _colours(classes: list[ClassSpec]) -> list[str]:
    """Colours as configured; a foreground class that repeats one (the default, say) gets its own."""
    spare, used = list(PALETTE), list[str]()
    for index, spec in enumerate(classes):
        repeated = index > 0 and spec.colour.lower() in used[1:]
        used.append((spare.pop(0) if spare else INK) if repeated else spec.colour.lower())
    return used


def _sheet(view: _View, panels: int, title: str) -> tuple[Any, list[Any]]:
    """Return a figure with a row of panels in the shape of the image, and room for names, title and legend."""
    from matplotlib.figure import Figure

    width, height = view.extent[1], view.extent[2]
    longest = min(_SIDE, _WIDTH / panels)
    wide, tall = (longest * side / max(width, height) for side in (width, height))
    wide = max(wide, 1.3)  # room for the names
    over, under, gap = (0.46 if title else 0.24), 0.34, 0.06
    whole = (panels * (wide + gap) + gap, tall + over + under)
    figure = Figure(figsize=whole, facecolor=PAPER)
    axes = []
    for index in range(panels):
        left = gap + index * (wide + gap)
        axes.append(figure.add_axes((left / whole[0], under / whole[1], wide / whole[0], tall / whole[1])))
    if title:
        figure.text(gap / whole[0], 1 - 0.06 / whole[1], title, va="top", size=10, weight="bold", color=INK)
    return figure, axes


def _panel(axis: Any, view: _View, name: str, lines: dict[str, Array | None]) -> None:
    grey = {"cmap": "gray", "vmin": 0, "vmax": 1}
    axis.imshow(view.backdrop, extent=view.extent, interpolation="antialiased", **grey)
    axis.set_title(name, loc="left", size=9, color=INK, pad=3)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)
    missing, outline, reference = view.missing, lines.get("outline"), lines.get("reference")
    if outline is not None:
        missing = missing | (outline == IGNORE)
    _hatch(axis, view, missing)
    for index, colour in list(enumerate(view.colours))[1:]:
        if outline is not None:
            _contour(axis, view, (outline == index) & ~missing, colors=colour, linewidths=1.4)
        if reference is not None:
            _contour(axis, view, reference == index, colors="white", linewidths=0.8, linestyles=[(0, (2.5, 1.8))])
    axis.set(xlim=view.extent[:2], ylim=view.extent[2:], aspect="equal")


def _contour(axis: Any, view: _View, mask: Array, **style: Any) -> None:
    from matplotlib.patheffects import withStroke

    if mask.any():
        rows, columns = ((np.arange(size + 2) - 0.5) * step
                         for size, step in zip(mask.shape, view.spacing, strict=True))
        drawn = axis.contour(columns, rows, np.pad(mask, 1).astype(np.float32), [0.5], **style)
        drawn.set_path_effects([withStroke(linewidth=style["linewidths"] + 1, foreground="black", alpha=0.55)])


def _hatch(axis: Any, view: _View, missing: Array) -> None:
    if missing.any():
        from matplotlib.colors import to_rgba

        paint = np.where(missing[..., None], to_rgba("#d9dee3"), 0)
        axis.imshow(paint, extent=view.extent, interpolation="nearest")
        rows, columns = ((np.arange(size + 2) - 0.5) * step
                         for size, step in zip(missing.shape, view.spacing, strict=True))
        drawn = axis.contourf(columns, rows, np.pad(missing, 1, mode="edge").astype(np.float32), [0.5, 1.5],
                              colors="none", hatches=["////"])
        drawn.set(edgecolor=NOTHING, linewidth=0)


def _error_panel(axis: Any, view: _View, name: str, reference: Array, mask: Array) -> list[str]:
    """Draw the error panel; return the kinds of pixels it shows."""
    from matplotlib.colors import to_rgba

    known = (reference != IGNORE) & ~view.missing
    where = {
        "hit": (mask == reference) & (mask != 0),
        "too much": (mask != 0) & (reference == 0),
        "missed": (mask == 0) & (reference != 0),
        "wrong class": (mask != reference) & (mask != 0) & (reference != 0),
    }
    paint = np.zeros((*mask.shape, 4))
    for kind, pixels in where.items():
        paint[pixels & known] = to_rgba(ERRORS[kind], 0.35 if kind == "hit" else 0.9)
    dim = 0.15 + 0.6 * (view.backdrop if view.backdrop.ndim == 2 else view.backdrop.mean(axis=-1))
    _panel(axis, _View(dim, ~known, view.spacing, view.colours), name, {})
    axis.imshow(paint, extent=view.extent, interpolation="nearest")
    return list(ERRORS)[: 4 if len(view.colours) > 2 else 3]


def _scale_bar(axis: Any, view: _View, unit: str) -> None:
    from matplotlib.patheffects import withStroke

    width, height = view.extent[1], view.extent[2]
    aim = 0.35 * width
    power = 10.0 ** np.floor(np.log10(aim))
    length = max(factor * power for factor in (1, 2, 5) if factor * power <= aim)
    label = f"{length / 1000:g} km" if unit == "m" and length >= 1000 else f"{length:g} {unit}"
    edge = 0.05 * max(width, height)
    y = height - edge
    bar = axis.plot([edge, edge + length], [y, y], color="white", lw=2.2, solid_capstyle="butt")[0]
    text = axis.annotate(label, (edge, y), (0, 4), textcoords="offset points", size=8, color="white")
    for drawn, rim in ((bar, 4), (text, 2.5)):
        drawn.set_path_effects([withStroke(linewidth=rim, foreground="black", alpha=0.8)])


def _legend(figure: Any, classes: list[ClassSpec], view: _View, kinds: list[str], dashed: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.patheffects import withStroke

    entries: list[Any] = [Line2D([], [], color=colour, lw=2, label=spec.name)
                          for spec, colour in list(zip(classes, view.colours, strict=True))[1:]]
    if dashed:
        line = Line2D([], [], color="white", lw=1, ls=(0, (2.5, 1.8)), label="reference")
        line.set_path_effects([withStroke(linewidth=2.2, foreground="black", alpha=0.7)])
        entries.append(line)
    entries += [Patch(facecolor=ERRORS[kind], alpha=0.5 if kind == "hit" else 0.9, label=kind) for kind in kinds]
    if view.missing.any():
        entries.append(Patch(facecolor="#d9dee3", edgecolor=NOTHING, hatch="////", lw=0, label="no data"))
    figure.legend(handles=entries, loc="lower left", ncols=len(entries), frameon=False, fontsize=8, labelcolor=INK,
                  handlelength=1.4, columnspacing=1.4, borderaxespad=0.25, borderpad=0.2)
