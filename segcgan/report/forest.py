"""Pictures of a comparison: differences with their intervals, one line per score; and case against case."""

from segcgan.metrics.comparison import DISTANCES, SCORES, SHARES, Difference
from segcgan.metrics.objects import HARM
from segcgan.report.figures import png
from segcgan.report.panels import INK, PALETTE, PAPER


def forest(found: dict[str, list[Difference]]) -> bytes:
    """Draw differences of B − A: scores between 0 and 1, shares of missed and invented masks, distances; a PNG file.

    Args:
        found: {data set: its differences}.
    """
    from matplotlib.figure import Figure

    lines = [(name, each) for name, several in found.items() for each in several]
    panels = {
        "scores: right is better": [key for key in SCORES if key not in (*SHARES, *DISTANCES)],
        "shares: left is better": SHARES,
        "distances: left is better": DISTANCES,
    }
    sides = [[line for line in lines if line[1].score in keys] for keys in panels.values()]
    height = 0.9 + 0.32 * max(len(side) for side in sides)
    figure = Figure(figsize=(17, height), facecolor=PAPER)
    axes = figure.subplots(1, len(panels))
    figure.subplots_adjust(left=0.13, right=0.99, wspace=0.75, top=1 - 0.4 / height, bottom=0.45 / height)
    for axis, side, title in zip(axes, sides, panels, strict=True):
        axis.set_title(title, size=9, color=INK)
        axis.axvline(0, color=INK, linewidth=0.8)
        for place, (_, each) in enumerate(side):
            colour = PALETTE[4] if each.adjusted < 0.05 else "#8a8a8a"  # grey too where there is no p (NaN)
            if each.low == each.low:
                axis.plot([each.low, each.high], [place, place], color=colour, linewidth=2)
            axis.plot([each.mean], [place], "o", color=colour, markersize=5)
        names = [f"{name}, {SCORES[each.score]}" if len(found) > 1 else SCORES[each.score] for name, each in side]
        axis.set_yticks(range(len(side)), names, size=8, parse_math=False)
        axis.set_ylim(len(side) - 0.4, -0.6)
        axis.tick_params(axis="x", labelsize=7)
        for edge in ("top", "right", "left"):
            axis.spines[edge].set_visible(False)
        axis.set_xlabel("B − A, 95 % interval; blue: p (Holm) < 0.05", size=8, color=INK)
        axis.set_visible(bool(side))
    return png(figure)


def scatter(found: dict[str, list[tuple[float, float]]]) -> bytes:
    """Draw the IoU of every case, B over A; a PNG file. Below the shaded band B harms.

    Args:
        found: {data set: (IoU of A, IoU of B) of each case}.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(found) + 0.4, 3.9), facecolor=PAPER, layout="constrained")
    for axis, (name, pairs) in zip(figure.subplots(1, len(found), squeeze=False)[0], found.items(), strict=True):
        values = [value for pair in pairs for value in pair] or [0.0, 1.0]
        low, high = max(-0.02, min(values) - 0.05), min(1.02, max(values) + 0.05)
        axis.fill_between([low, high], [low - HARM, high - HARM], [low, high], color="#e4e7eb", linewidth=0)
        axis.plot([low, high], [low, high], color=INK, linewidth=0.8)
        for harmed, colour, word in ((False, PALETTE[4], "not harmed"), (True, PALETTE[5], "harmed")):
            mine = [pair for pair in pairs if (pair[1] - pair[0] < -HARM) == harmed]
            axis.plot([a for a, _ in mine], [b for _, b in mine], "x" if harmed else "o", color=colour, markersize=4,
                      alpha=0.8, label=f"{word}: {len(mine)}")  # fmt: skip
        axis.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        axis.set_title(f"{name}: IoU of a case", size=9, color=INK, parse_math=False)
        axis.set_xlabel("A", size=8, color=INK)
        axis.set_ylabel("B", size=8, color=INK)
        axis.legend(fontsize=7, frameon=False, loc="upper left")
        axis.tick_params(labelsize=7)
        for edge in ("top", "right"):
            axis.spines[edge].set_visible(False)
    return png(figure)
