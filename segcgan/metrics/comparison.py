"""Is one set of masks better than another? Paired by case, resampled by patient or scene, corrected for many questions.

Bootstrap with whole groups resampled (see ``statistics``), Holm's correction over everything asked at once, and the
exact upper bound of Clopper & Pearson for how often a case or object is harmed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import betaincinv

from segcgan.case import Array
from segcgan.errors import SegcganError
from segcgan.metrics.cases import Row, settle
from segcgan.metrics.empty import RIGHTLY_EMPTY
from segcgan.metrics.objects import HARM, Object
from segcgan.metrics.statistics import bootstrap, bootstrap_medians

SCORES = {
    "dice": "Dice ↑",
    "iou": "IoU ↑",
    "boundary_iou": "Boundary IoU ↑",
    "nsd": "NSD ↑",
    "boundary_f": "Boundary F ↑",
    "cldice": "clDice ↑",
    "hd95_median": "HD95 ↓ (median, both masks exist)",
    "assd_median": "ASSD ↓ (median, both masks exist)",
    "missed": "missed ↓ (of references with the class)",
    "invented": "invented ↓ (of references without it)",
    "hd95": "HD95 ↓ (mean, one mask empty = diagonal)",
    "assd": "ASSD ↓ (mean, one mask empty = diagonal)",
}
DISTANCES = ("hd95_median", "assd_median", "hd95", "assd")
MEDIANS = ("hd95_median", "assd_median")
SHARES = ("missed", "invented")
BY_CLASS = (*MEDIANS, *SHARES)  # of case × class; the others are means of a case over its classes first
FEW_GROUPS = 6  # below it no p value can be under 0.05

Key = tuple[str, str]
Scores = dict[Key, dict[str, float]]


@dataclass(frozen=True)
class Difference:
    """B minus A in one score.

    Args:
        score: key of ``SCORES``.
        first: mean over cases of A; of a case, over its classes that both have. Of ``MEDIANS`` the median over cases
            and classes where both masks exist, in A and in B.
        second: of B.
        mean: of the differences; of medians, their difference.
        low: end of the 95 % interval; NaN with a single group.
        high: the other end.
        p: two-sided, of "no difference"; NaN with a single group.
        adjusted: after Holm's correction.
        cases: how many have the score in both.
        groups: patients or scenes among them.
    """

    score: str
    first: float
    second: float
    mean: float
    low: float
    high: float
    p: float
    adjusted: float
    cases: int
    groups: int


@dataclass(frozen=True)
class Tally:
    """How many units B changed for the better or the worse in IoU, and how many by more than ``HARM``."""

    units: int
    better: int
    worse: int
    harmed: int
    bound: float  # upper 95 % bound of the share of harmed ones


def by_case(runs: Sequence[Sequence[Row]], variant: str, where: str, empty: float = RIGHTLY_EMPTY) -> Scores:
    """Return {(case, class): scores} of a variant, averaged over runs that differ in their seed.

    Args:
        runs: rows of each.
        variant: the masks.
        where: what errors call the runs.
        empty: what a mask that is rightly empty scores; NaN leaves it out of a mean.

    Raises:
        SegcganError: no such variant, or runs with different cases.
    """
    tables = []
    for rows in runs:
        known = sorted({row.variant for row in rows})
        if not known:
            raise SegcganError(f"{where} has a table of scores without any case; score it again")
        if variant not in known:
            raise SegcganError(f"{where} has no masks called {variant!r}; it has {', '.join(known)}")
        tables.append({(r.case, r.class_name): r for r in settle(rows, empty) if r.variant == variant})
    for other in tables[1:]:
        same_cases(tables[0], other, where, where)
    return {key: {s: _mean([getattr(t[key], s) for t in tables]) for s in SCORES} for key in tables[0]}


def same_cases(first: Iterable[Key], second: Iterable[Key], a: str, b: str) -> None:
    """Refuse to compare different cases.

    Raises:
        SegcganError: some are in one only.
    """
    only = sorted(set(first) ^ set(second))
    if only:
        where = a if only[0] in set(first) else b
        msg = f"{a} and {b} were scored on different cases: {len(only)} are in one only, e.g. {only[0][0]!r} in {where}"
        raise SegcganError(f"{msg}; score both on the same split")


def same_measure(first: Sequence[Row], second: Sequence[Row], a: str, b: str) -> None:
    """Refuse to compare scores that were measured differently.

    Raises:
        SegcganError: band, unit or convention differ.
    """
    for name in ("unit", "band", "convention"):
        found = [{(r.case, getattr(r, name)) for r in rows} for rows in (first, second)]
        if found[0] != found[1]:
            (_, mine), (_, other) = sorted(found[0] - found[1])[0], sorted(found[1] - found[0])[0]
            msg = f"{a} and {b} were measured differently: {name} {mine} and {other}"
            raise SegcganError(f"{msg}; score both with the same data.boundary and version")


def differences(
    first: Scores, second: Scores, groups: dict[str, str], seed: int = 0
) -> list[Difference]:
    """Compare all scores.

    Args:
        first: scores of A by case and class.
        second: of B, of the same cases.
        groups: {case: patient or scene}.
        seed: of the resampling.
    """
    found = []
    for score in SCORES:
        pairs: dict[Key, list[tuple[float, float]]] = {}
        for (case, name), values in first.items():
            a, b = values[score], second[case, name][score]
            if a == a and b == b:
                pairs.setdefault((case, name if score in BY_CLASS else ""), []).append((a, b))
        by_group: dict[str, list[Array]] = {}
        for (case, _), both in pairs.items():
            by_group.setdefault(groups[case], []).append(np.mean(both, 0))
        if pairs:
            cases = len({case for case, _ in pairs})
            found.append(_difference(score, list(by_group.values()), cases, seed))
    return found


def _difference(score: str, by_group: list[list[Array]], cases: int, seed: int) -> Difference:
    """Compare one score, whose pairs (A, B) are listed by group."""
    every = np.array([pair for pairs in by_group for pair in pairs])
    if score in MEDIANS:
        a, b = np.median(every, 0)
        mean, low, high, p = bootstrap_medians(by_group, seed)
    else:
        a, b = np.mean(every, 0)
        mean, low, high, p = bootstrap([[float(b - a) for a, b in pairs] for pairs in by_group], seed)
    return Difference(score, float(a), float(b), mean, low, high, p, p, cases, len(by_group))


def case_pairs(first: Scores, second: Scores, scores: Sequence[str] = ("iou",)) -> list[tuple[float, float]]:
    """Return the IoU (or the mean of other scores) of every case in A and in B, means over its classes.

    ``by_case`` gave what is rightly empty its score, so that inventing an object where there is none is harm.
    """
    pairs: dict[str, list[tuple[float, float]]] = {}
    for key, values in first.items():
        a, b = (sum(side[score] for score in scores) / len(scores) for side in (values, second[key]))
        if a == a and b == b:
            pairs.setdefault(key[0], []).append((a, b))
    means = (np.mean(each, 0) for each in pairs.values())
    return [(float(a), float(b)) for a, b in means]


def holm(found: Sequence[Difference]) -> list[Difference]:
    """Adjust the p values of everything asked at once (Holm 1979); what has none stays without."""
    order = sorted((i for i, each in enumerate(found) if each.p == each.p), key=lambda i: found[i].p)
    adjusted, highest = list(found), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * found[index].p))
        adjusted[index] = replace(found[index], adjusted=highest)
    return adjusted


def tally(changes: Sequence[float]) -> Tally:
    """Count changes in IoU."""
    known = np.array([change for change in changes if change == change])
    harmed = int((known < -HARM).sum())
    return Tally(len(known), int((known > 0).sum()), int((known < 0).sum()), harmed, upper_bound(harmed, len(known)))


def upper_bound(count: int, total: int, confidence: float = 0.95) -> float:
    """Return the one-sided upper bound of a share (Clopper & Pearson 1934); 1 when nothing was seen."""
    return 1.0 if count >= total else float(betaincinv(count + 1, total - count, confidence))


def object_changes(
    first: Sequence[Iterable[Object]], second: Sequence[Iterable[Object]], variant_a: str, variant_b: str
) -> list[float]:
    """Return the change in IoU of every reference object both sides know.

    Args:
        first: objects of A, of one run or of several that differ in their seed: an object is one unit all the same.
        second: of B.
        variant_a: the masks of A; ``variant_b`` those of B.
    """
    tables: list[dict[tuple[str, str, int], list[float]]] = [{}, {}]
    for table, runs, variant in zip(tables, (first, second), (variant_a, variant_b), strict=True):
        for each in (each for objects in runs for each in objects):
            if each.variant == variant and each.kind == "reference":
                table.setdefault((each.case, each.class_name, each.number), []).append(each.iou)
    return [float(np.mean(tables[1][key]) - np.mean(a)) for key, a in tables[0].items() if key in tables[1]]


def _mean(values: Sequence[float]) -> float:
    known: Array = np.array([value for value in values if value == value])
    return float(known.mean()) if len(known) else float("nan")
