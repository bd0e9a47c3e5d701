"""Splits by group, and the folds whose held-out predictions the refiner learns from."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segcgan.atomic import replacing
from segcgan.case import Case
from segcgan.errors import SegcganError


@dataclass(frozen=True)
class Fold:
    """What a fold's segmenter trains on and what it then predicts."""

    train: list[Case]
    held_out: list[Case]


def assign_splits(cases: Sequence[Case], val: float, test: float, seed: int) -> None:
    """Give cases without a split one, whole groups at a time (a patient or scene is never divided).

    Args:
        cases: changed in place.
        val: share of the groups for validation; at least one group.
        test: share of the groups for the test; 0 allowed.
        seed: of the draw.

    Raises:
        SegcganError: some cases have a split and others none, or there are too few groups.
    """
    missing = [case for case in cases if not case.split]
    if not missing:
        return
    if len(missing) != len(cases):
        msg = f"case {missing[0].name!r} has no split but others have; fill the column 'split' for all or for none"
        raise SegcganError(msg)
    groups = sorted({case.group for case in cases})
    order = np.random.default_rng(seed).permutation(len(groups))
    n_val, n_test = max(1, round(val * len(groups))), math.ceil(test * len(groups) - 1e-9)
    if n_val + n_test >= len(groups):
        msg = (
            f"{len(groups)} group(s) cannot be split into training, {n_val} for validation and {n_test} for testing; "
            "add cases, or name groups and splits in a manifest (column 'window' divides a single scan or scene)"
        )
        raise SegcganError(msg)
    names = {groups[i]: "val" for i in order[:n_val]} | {groups[i]: "test" for i in order[n_val : n_val + n_test]}
    for case in cases:
        case.split = names.get(case.group, "train")


def write_splits(path: Path, cases: Sequence[Case]) -> None:
    """Write case, group and split to a CSV file, atomically."""
    with replacing(path) as draft, draft.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", "group", "split"])
        writer.writerows([case.name, case.group, case.split] for case in cases)


def read_splits(path: Path) -> dict[str, str]:
    """Return {case: split} as ``write_splits`` wrote it."""
    with path.open(newline="", encoding="utf-8") as stream:
        return {line["case"]: line["split"] for line in csv.DictReader(stream)}


def check_splits(path: Path, cases: Sequence[Case]) -> None:
    """Raise SegcganError if a case was in another split when ``path`` was written: a run learnt from it, perhaps."""
    before = read_splits(path)
    for case in cases:
        if (was := before.get(case.name, case.split)) != case.split:
            raise SegcganError(
                f"case {case.name!r} was in the split {was} when {path.parent} was trained and is in {case.split} now; "
                "give the images, seed and shares of then, or name splits in a manifest"
            )


def make_folds(cases: Sequence[Case], count: int, margin: tuple[int, int]) -> list[Fold]:
    """Divide training cases into folds by group.

    With fewer groups than folds, every case is cut into ``count`` contiguous blocks along its slow axis (slices of a
    volume, rows of a scene); a fold trains on the other blocks less a margin next to the held-out one.

    Args:
        cases: for training.
        count: number of folds, at least 2.
        margin: slices (for volumes) and rows (for scenes) left out between training and held-out blocks.
    """
    groups = sorted({case.group for case in cases})
    if len(groups) >= count:
        of = {group: index % count for index, group in enumerate(groups)}
        return [
            Fold([c for c in cases if of[c.group] != k], [c for c in cases if of[c.group] == k])
            for k in range(count)
        ]
    return [
        Fold(
            [part for case in cases for part in _blocks(case, count, k, margin, held_out=False)],
            [part for case in cases for part in _blocks(case, count, k, margin, held_out=True)],
        )
        for k in range(count)
    ]


def slow_axis(case: Case) -> int:
    """0 (slices) for a volume, 1 (rows) for a scene or picture."""
    return 0 if case.shape[0] > 1 else 1


def _blocks(case: Case, count: int, fold: int, margin: tuple[int, int], *, held_out: bool) -> list[Case]:
    axis = slow_axis(case)
    size, gap = case.shape[axis], margin[axis]
    if size < count * (gap + 1):
        msg = (
            f"case {case.name!r} has {size} {'slices' if axis == 0 else 'rows'}: too few for {count} blocks with "
            f"{gap} left out between them; set plan.folds: 0 to train the refiner on corruptions alone"
        )
        raise SegcganError(msg)
    edges = [round(i * size / count) for i in range(count + 1)]
    begin, end = edges[fold], edges[fold + 1]
    spans = [(begin, end)] if held_out else [(0, begin - gap), (end + gap, size)]
    parts = []
    for start, stop in spans:
        if stop > start:
            window = [slice(0, n) for n in case.shape]
            window[axis] = slice(start, stop)
            name = f"{case.name}@{start}-{stop}"
            parts.append(case.part((window[0], window[1], window[2]), name))
    return parts
