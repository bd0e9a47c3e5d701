"""One panel each: image and contours, errors, spread of the samples. Drawn on axes that somebody else laid out."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from segcgan.case import IGNORE, Array
from segcgan.classes import ClassSpec
from segcgan.colours import OKABE_ITO, hexadecimal

INK, PAPER, NOTHING = "#1f2933", "white", "#9aa5b1"
PALETTE = tuple(hexadecimal(colour) for colour in OKABE_ITO)
ERRORS = {"hit": "#009E73", "too much": "#D55E00", "missed": "#56B4E9", "wrong class": "#F0E442"}
SHORT = {"hit": "TP", "too much": "FP", "missed": "FN"}


@dataclass(frozen=True)
class View:
    """What all panels of a figure share.

    Args:
        backdrop: the image (H, W) or (H, W, 3) in 0…1.
        missing: bool (H, W), no data.
        spacing: of a pixel along rows and columns.
        colours: of the classes, ``#rrggbb``.
    """

    backdrop: Array
    missing: Array
    spacing: tuple[float, float]
    colours: list[str]

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top in units of the spacing; rows go down."""
        height, width = self.missing.shape
        return 0, width * self.spacing[1], height * self.spacing[0], 0

    @property
    def dim(self) -> "View":
        """The same in grey and darker, for what is painted over it."""
        grey = self.backdrop if self.backdrop.ndim == 2 else self.backdrop.mean(axis=-1)
        return View(0.15 + 0.6 * grey, self.missing, self.spacing, self.colours)


def panel(
    axis: Any, view: View, name: str, outline: Array | None = None, reference: Array | None = None, bold: bool = False
) -> None:
    """Draw the image and on it the outlines of class indices (H, W), those of a reference dashed in white."""
    grey = {"cmap": "gray", "vmin": 0, "vmax": 1}
    axis.imshow(view.backdrop, extent=view.extent, interpolation="antialiased", **grey)
    axis.set_title(name, loc="left", size=9, color=INK, pad=3, weight="bold" if bold else "normal")
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)
    missing = view.missing
    if outline is not None:
        missing = missing | (outline == IGNORE)
    _hatch(axis, view, missing)
    for index, colour in list(enumerate(view.colours))[1:]:
        if outline is not None:
            _contour(axis, view, (outline == index) & ~missing, colors=colour, linewidths=1.4)
        if reference is not None:
            _contour(axis, view, reference == index, colors="white", linewidths=0.8, linestyles=[(0, (2.5, 1.8))])
    axis.set(xlim=view.extent[:2], ylim=view.extent[2:], aspect="equal")


def _contour(axis: Any, view: View, mask: Array, rim: float = 1, **style: Any) -> None:
    from matplotlib.patheffects import withStroke

    if mask.any():
        rows, columns = ((np.arange(size + 2) - 0.5) * step
                         for size, step in zip(mask.shape, view.spacing, strict=True))
        drawn = axis.contour(columns, rows, np.pad(mask, 1).astype(np.float32), [0.5], **style)
        if rim:
            drawn.set_path_effects([withStroke(linewidth=style["linewidths"] + rim, foreground="black", alpha=0.55)])


def _hatch(axis: Any, view: View, missing: Array) -> None:
    if missing.any():
        from matplotlib.colors import to_rgba

        paint = np.where(missing[..., None], to_rgba("#d9dee3"), 0)
        axis.imshow(paint, extent=view.extent, interpolation="nearest")
        rows, columns = ((np.arange(size + 2) - 0.5) * step
                         for size, step in zip(missing.shape, view.spacing, strict=True))
        drawn = axis.contourf(columns, rows, np.pad(missing, 1, mode="edge").astype(np.float32), [0.5, 1.5],
                              colors="none", hatches=["////"])
        drawn.set(edgecolor=NOTHING, linewidth=0)


def error_panel(axis: Any, view: View, name: str, reference: Array, mask: Array) -> list[str]:
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
    panel(axis, View(view.dim.backdrop, ~known, view.spacing, view.colours), name)
    axis.imshow(paint, extent=view.extent, interpolation="nearest")
    return list(ERRORS)[: 4 if len(view.colours) > 2 else 3]


def scale_bar(axis: Any, view: View, unit: str) -> None:
    """Draw a bar of 1, 2 or 5 times a power of ten, at most about a third of the width."""
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




def samples_panel(axis: Any, view: View, name: str, samples: Array, reference: Array | None) -> None:
    """Draw the outline of every sample, thin, over a dimmed image; ``samples`` (n, H, W) class indices."""
    panel(axis, view.dim, name, None, reference)
    fine = max(0.35, 1.2 / len(samples) ** 0.5)
    for index, colour in list(enumerate(view.colours))[1:]:
        for sample in samples:
            _contour(axis, view, (sample == index) & ~view.missing, rim=0, colors=colour, linewidths=fine, alpha=0.8)


def nats_panel(axis: Any, view: View, name: str, nats: Array) -> None:
    """Draw a map (H, W) of nats over a dimmed image: bright is more, nothing is nothing; with its own scale."""
    from matplotlib.patheffects import withStroke

    panel(axis, view.dim, name)
    top = max(float(nats[~view.missing].max(initial=0)), 1e-3)
    paint = axis.imshow(nats, extent=view.extent, interpolation="nearest", cmap="inferno", vmin=0, vmax=top,
                        alpha=np.where(view.missing, 0, np.clip(nats / top * 3, 0, 1)))
    inset = axis.inset_axes((0.56, 0.06, 0.36, 0.03))
    bar = axis.figure.colorbar(paint, cax=inset, orientation="horizontal", ticks=[])
    bar.outline.set_visible(False)
    bar.solids.set(alpha=1)
    for place, text in ((0.0, "0"), (1.0, f"{top:.2g} nats")):
        label = inset.annotate(text, (place, 1), (0, 2), xycoords="axes fraction", textcoords="offset points", size=7,
                               color="white", ha="left" if place == 0 else "right")
        label.set_path_effects([withStroke(linewidth=2, foreground="black", alpha=0.8)])


def legend(figure: Any, classes: list[ClassSpec], view: View, kinds: list[str], dashed: bool) -> None:
    """Name classes, kinds of error, the dashed reference and hatching along the bottom of the figure."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.patheffects import withStroke

    entries: list[Any] = [Line2D([], [], color=colour, lw=2, label=spec.name)
                          for spec, colour in list(zip(classes, view.colours, strict=True))[1:]]
    if dashed:
        line = Line2D([], [], color="white", lw=1, ls=(0, (2.5, 1.8)), label="reference")
        line.set_path_effects([withStroke(linewidth=2.2, foreground="black", alpha=0.7)])
        entries.append(line)
    names = {kind: f"{kind} ({SHORT[kind]})" if kind in SHORT else kind for kind in kinds}
    entries += [Patch(facecolor=ERRORS[kind], alpha=0.5 if kind == "hit" else 0.9, label=name)
                for kind, name in names.items()]
    if view.missing.any():
        entries.append(Patch(facecolor="#d9dee3", edgecolor=NOTHING, hatch="////", lw=0, label="no data"))
    drawn = figure.legend(handles=entries, loc="lower left", ncols=len(entries), frameon=False, fontsize=8,
                          labelcolor=INK, handlelength=1.4, columnspacing=1.4, borderaxespad=0.25, borderpad=0.2)
    for text in drawn.get_texts():
        text.set_parse_math(False)  # a $ in a name is no formula
