"""From scores of cases to the tables people read: a column per variant; each line says how it was measured."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from segcgan.case import Array
from segcgan.metrics.calibration import Calibration
from segcgan.metrics.cases import Row, settle, unique
from segcgan.metrics.empty import RIGHTLY_EMPTY
from segcgan.metrics.overlap import iou, pixel_accuracy

Table = tuple[list[str], list[list[str]]]

EMPTY = "–"
CONVENTION = "HD95, ASSD, NSD, Boundary F: surface, percentile; overlap of rightly empty masks"


@dataclass(frozen=True)
class Scores:
    """One variant over all cases. A mean of cases is over the classes of a case first, then over cases.

    A mask that is rightly empty counts 1 in means of overlap-like scores, and has no distance; see ``settle``. Pooled
    scores leave out a class that no mask and no reference of any case shows.
    """

    miou: float  # pooled over all pixels of all cases, mean of all classes, the background counts
    foreground_iou: float  # pooled likewise, mean of the foreground classes
    class_iou: dict[str, float]  # pooled, per foreground class
    dice: float  # mean of cases, and so are the next ones
    iou: float
    boundary_iou: float
    nsd: float
    boundary_f: float
    cldice: float  # NaN when not measured
    hd95_median: float  # over case × class where both masks exist
    hd95_conditional: float  # mean of cases, where both masks exist
    hd95_penalised: float  # mean of cases, the image diagonal where one mask is empty
    assd_median: float
    assd_penalised: float
    assd_conditional: float
    invented: float  # share of empty references that got a mask, of case × class
    missed: float  # share of references that show something and got no mask
    pixel_accuracy: float  # pooled
    cases: int
    scored: int  # cases with a Dice
    statuses: dict[str, int]  # of case × class
    convention: str  # of the scores that need distances between surfaces
    calibration: Calibration | None  # pooled


@dataclass(frozen=True)
class Summary:
    """Scores per variant (in table order), and the unit and band widths the boundary scores were taken with."""

    variants: dict[str, Scores]
    unit: str
    bands: tuple[float, ...]


def summarise(
    rows: Iterable[Row],
    confusions: dict[str, Array],
    calibrations: dict[str, Calibration] | None = None,
    empty: float = RIGHTLY_EMPTY,
) -> Summary:
    """Average rows over cases and read the pooled scores off the confusion matrices.

    Args:
        rows: of any number of cases; a case that comes twice counts once.
        confusions: for each variant the sum over cases (K, K), see ``segcgan.metrics.cases.pool``.
        calibrations: likewise, of the variants that have probabilities; None when no variant has.
        empty: what a mask that is rightly empty scores; NaN leaves it out.
    """
    rows = settle(unique(rows), empty)
    variants = {
        variant: _scores([row for row in rows if row.variant == variant], counts, (calibrations or {}).get(variant))
        for variant, counts in confusions.items()
    }
    units, bands = {row.unit for row in rows}, {row.band for row in rows}
    return Summary(variants, "/".join(sorted(units)), tuple(sorted(bands)))


def table(summary: Summary) -> Table:
    """Return header and lines of text: metric, one column per variant, and the last variant minus the first."""
    every = list(summary.variants.values())
    unit = summary.unit
    band = "–".join(f"{width:.3g}" for width in sorted({*summary.bands[:1], *summary.bands[-1:]}))
    names = list(every[0].class_iou) if every else []
    header = ["metric", *summary.variants]
    if len(every) > 1:
        header.append(f"{header[-1]} − {header[1]}")

    def line(label: str, value: Callable[[Scores], float], digits: int = 4) -> list[str]:
        numbers = [value(scores) for scores in every]
        cells = [number(each, digits) for each in numbers]
        change = [number(numbers[-1] - numbers[0], digits, signed=True)] if len(numbers) > 1 else []
        return [label, *cells, *change]

    def tally(label: str, value: Callable[[Scores], str]) -> list[str]:
        return [label, *(value(scores) for scores in every), *([""] if len(every) > 1 else [])]

    lines = [
        line("mIoU ↑ (pooled pixels, background counts)", lambda s: s.miou),
        line("foreground IoU ↑ (pooled pixels)", lambda s: s.foreground_iou),
    ]
    if len(names) > 1:
        lines += [line(f"{name} IoU ↑ (pooled pixels)", lambda s, name=name: s.class_iou[name]) for name in names]  # type: ignore[misc]
    lines += [
        line("Dice ↑ (mean of cases)", lambda s: s.dice),
        line("IoU ↑ (mean of cases)", lambda s: s.iou),
        line(f"Boundary IoU ↑ (band {band} {unit}, mean of cases)", lambda s: s.boundary_iou),
        line(f"NSD ↑ (within {band} {unit}, mean of cases)", lambda s: s.nsd),
        line(f"Boundary F ↑ (within {band} {unit}, mean of cases)", lambda s: s.boundary_f),
        *([line("clDice ↑ (mean of cases)", lambda s: s.cldice)] if any(s.cldice == s.cldice for s in every) else []),
        line(f"HD95 ↓ ({unit}, median where both masks exist)", lambda s: s.hd95_median, 2),
        line(f"ASSD ↓ ({unit}, median where both masks exist)", lambda s: s.assd_median, 2),
        line("missed ↓ (share of references with a class that got no mask of it)", lambda s: s.missed),
        line("invented ↓ (share of references without a class that got a mask of it)", lambda s: s.invented),
        tally("masks: both / neither / only reference / only prediction", _statuses),
        line(f"HD95 ↓ ({unit}, mean where both masks exist)", lambda s: s.hd95_conditional, 2),
        line(f"HD95 ↓ ({unit}, mean, one mask empty = image diagonal)", lambda s: s.hd95_penalised, 2),
        line(f"ASSD ↓ ({unit}, mean where both masks exist)", lambda s: s.assd_conditional, 2),
        line(f"ASSD ↓ ({unit}, mean, one mask empty = image diagonal)", lambda s: s.assd_penalised, 2),
        tally(CONVENTION, lambda s: s.convention),
        *_calibration_lines(every, line),
        line("pixel accuracy ↑ (pooled)", lambda s: s.pixel_accuracy),
        tally("cases (of them with a Dice)", lambda s: f"{s.cases} ({s.scored})"),
    ]
    return header, lines


def _calibration_lines(every: list[Scores], line: Callable[..., list[str]]) -> list[list[str]]:
    found = [scores.calibration for scores in every if scores.calibration is not None]
    if not found:
        return []

    def of(read: Callable[[Calibration], float]) -> Callable[[Scores], float]:
        return lambda scores: float("nan") if scores.calibration is None else read(scores.calibration)

    return [
        line(f"ECE ↓ (most likely class, {found[0].bins} equal bins, pooled)", of(lambda c: c.ece())),
        line("Brier ↓ (sum over classes, pooled)", of(lambda c: c.brier)),
        line("NLL ↓ (nats per pixel, pooled)", of(lambda c: c.nll)),
    ]


def case_table(rows: Iterable[Row]) -> Table:
    """Return header and lines of text, a line per case and class: Dice, Boundary IoU and HD95 of each variant."""
    rows = settle(unique(rows))
    variants = list(dict.fromkeys(row.variant for row in rows))
    lines: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        lines.setdefault((row.case, row.class_name), {})[row.variant] = row
    unit = rows[0].unit if rows else ""
    header = ["case", "class", *(f"Dice {v}" for v in variants), *(f"Boundary IoU {v}" for v in variants),
              *(f"HD95 {v} ({unit})" for v in variants)]
    body = []
    for (case, name), found in lines.items():
        values = [[number(getattr(found[v], key), digits) if v in found else EMPTY for v in variants]
                  for key, digits in (("dice", 4), ("boundary_iou", 4), ("hd95", 2))]
        body.append([case, name, *values[0], *values[1], *values[2]])
    return header, body


def exemplars(rows: Iterable[Row], variant: str = "chosen") -> dict[str, str]:
    """Return the cases with best, median and worst mean Dice: {"best": name, …}; of few cases fewer.

    Masks that are rightly empty are left out: they show nothing.
    """
    mine = [row for row in settle(unique(rows), float("nan")) if row.variant == variant]
    means = _by_case(mine, lambda row: row.dice)
    ranked = sorted((name for name, mean in means.items() if mean == mean), key=lambda name: (-means[name], name))
    picks = {"best": ranked[:1], "median": ranked[1:-1][(len(ranked) - 2) // 2 :][:1], "worst": ranked[1:][-1:]}
    return {word: found[0] for word, found in picks.items() if found}


def number(value: float, digits: int, signed: bool = False) -> str:
    """Return a number as tables show it; NaN is a dash."""
    if value != value:
        return EMPTY
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    return text.replace("-", "−")


def _scores(rows: list[Row], counts: Array, calibration: Calibration | None) -> Scores:
    overlap = iou(counts, float("nan"))
    both = [row for row in rows if row.status == "ok"]
    dices = _by_case(rows, lambda row: row.dice)
    names = list(dict.fromkeys(row.class_name for row in rows))
    return Scores(
        miou=_mean(overlap),
        foreground_iou=_mean(overlap[1:]),
        class_iou={name: float(value) for name, value in zip(names, overlap[1:], strict=False)},
        dice=_mean(dices.values()),
        iou=_mean(_by_case(rows, lambda row: row.iou).values()),
        boundary_iou=_mean(_by_case(rows, lambda row: row.boundary_iou).values()),
        nsd=_mean(_by_case(rows, lambda row: row.nsd).values()),
        boundary_f=_mean(_by_case(rows, lambda row: row.boundary_f).values()),
        cldice=_mean(_by_case(rows, lambda row: row.cldice).values()),
        hd95_median=_median([row.hd95_median for row in rows]),
        hd95_penalised=_mean(_by_case(rows, lambda row: row.hd95).values()),
        hd95_conditional=_mean(_by_case(both, lambda row: row.hd95).values()),
        assd_median=_median([row.assd_median for row in rows]),
        assd_penalised=_mean(_by_case(rows, lambda row: row.assd).values()),
        assd_conditional=_mean(_by_case(both, lambda row: row.assd).values()),
        invented=_mean([row.invented for row in rows]),
        missed=_mean([row.missed for row in rows]),
        pixel_accuracy=pixel_accuracy(counts),
        cases=len(dices),
        scored=sum(value == value for value in dices.values()),
        statuses=dict(Counter(row.status for row in rows)),
        convention=" / ".join(sorted({row.convention for row in rows} - {""})) or EMPTY,
        calibration=calibration,
    )


def _by_case(rows: list[Row], value: Callable[[Row], float]) -> dict[str, float]:
    cases: dict[str, list[float]] = {}
    for row in rows:
        cases.setdefault(row.case, []).append(value(row))
    return {case: _mean(values) for case, values in cases.items()}


def _mean(values: Iterable[float]) -> float:
    known = [float(value) for value in values if value == value]
    return float(np.mean(known)) if known else float("nan")


def _median(values: Iterable[float]) -> float:
    known = [float(value) for value in values if value == value]
    return float(np.median(known)) if known else float("nan")


def _statuses(scores: Scores) -> str:
    return " / ".join(str(scores.statuses.get(key, 0)) for key in ("ok", "both_empty", "pred_empty", "ref_empty"))
