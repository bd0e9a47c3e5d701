"""Splits and folds: whole groups, nothing shared, a margin between blocks."""

import csv

import numpy as np
import pytest

from segcgan.data.splits import assign_splits, check_splits, make_folds, slow_axis, write_splits
from segcgan.errors import SegcganError


@pytest.fixture
def grouped(make_case):
    def make(groups, each=2, **more):
        return [
            make_case(np.zeros((1, 1, 2, 2)), name=f"c{g}-{i}", **({"group": f"g{g}"} | more))
            for i in range(each)
            for g in range(groups)
        ]

    return make


def groups_of(cases, split):
    return {case.group for case in cases if case.split == split}


def test_groups_stay_whole(grouped):
    cases = grouped(10, each=3)
    assign_splits(cases, val=0.2, test=0.3, seed=1)
    parts = [groups_of(cases, name) for name in ("train", "val", "test")]
    assert [len(part) for part in parts] == [5, 2, 3]
    assert len(set.union(*parts)) == 10  # and so nothing is in two of them


def test_the_seed_decides_and_the_order_of_cases_does_not(grouped):
    first, second, third = grouped(12), grouped(12)[::-1], grouped(12)
    assign_splits(first, 0.25, 0.25, seed=1)
    assign_splits(second, 0.25, 0.25, seed=1)
    assign_splits(third, 0.25, 0.25, seed=2)
    assert {c.name: c.split for c in first} == {c.name: c.split for c in second}
    assert groups_of(first, "val") != groups_of(third, "val") or groups_of(first, "test") != groups_of(third, "test")


def test_validation_is_never_empty_and_no_test_is_allowed(grouped):
    cases = grouped(3)
    assign_splits(cases, val=0.01, test=0, seed=0)
    assert [len(groups_of(cases, name)) for name in ("train", "val", "test")] == [2, 1, 0]


@pytest.mark.parametrize(("test", "count"), [(0.2, 2), (0.3, 3), (0.21, 3), (0.7, 7)])
def test_shares_are_not_rounded_by_floating_point(grouped, test, count):
    cases = grouped(10)
    assign_splits(cases, val=0.1, test=test, seed=0)
    assert len(groups_of(cases, "test")) == count


def test_given_splits_are_kept(grouped):
    cases = grouped(2, split="test")
    assign_splits(cases, 0.2, 0.2, 0)
    assert {case.split for case in cases} == {"test"}


def test_some_splits_given_and_others_not(grouped):
    cases = grouped(3)
    cases[0].split = "train"
    with pytest.raises(SegcganError) as error:
        assign_splits(cases, 0.2, 0.2, 0)
    assert str(error.value) == "case 'c1-0' has no split but others have; fill the column 'split' for all or for none"


@pytest.mark.parametrize("groups", [1, 2])
def test_too_few_groups(grouped, groups):
    with pytest.raises(SegcganError) as error:
        assign_splits(grouped(groups), 0.2, 0.2, 0)
    assert str(error.value).startswith(
        f"{groups} group(s) cannot be split into training, 1 for validation and 1 for testing; add cases, "
    )


def test_written_splits_can_be_read_back(grouped, tmp_path):
    cases = grouped(3)
    assign_splits(cases, 0.3, 0.3, 0)
    cases[0].group = "one, with a comma"
    write_splits(tmp_path / "splits.csv", cases)
    with (tmp_path / "splits.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows == [{"case": c.name, "group": c.group, "split": c.split} for c in cases]
    assert [path.name for path in tmp_path.iterdir()] == ["splits.csv"]


@pytest.mark.parametrize(("groups", "count"), [(2, 2), (5, 2), (7, 3)])
def test_folds_by_group_are_disjoint_and_cover_everything(grouped, groups, count):
    cases = grouped(groups)
    folds = make_folds(cases, count, margin=(3, 64))
    assert len(folds) == count
    for fold in folds:
        assert fold.train
        assert fold.held_out
        assert not {c.group for c in fold.train} & {c.group for c in fold.held_out}
        assert len(fold.train) + len(fold.held_out) == len(cases)
    held_out = [c.name for fold in folds for c in fold.held_out]
    assert sorted(held_out) == sorted(c.name for c in cases)
    sizes = [len(fold.held_out) for fold in folds]
    assert max(sizes) - min(sizes) <= 2  # one group of two cases


def span(case):
    axis = slow_axis(case)
    return set(range(case.start[axis], case.start[axis] + case.shape[axis]))


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize(("shape", "axis"), [((45, 6, 7), 0), ((1, 47, 30), 1)])
def test_block_folds_keep_a_margin(make_case, count, shape, axis):
    margin = (3, 5)
    case = make_case(np.zeros((1, *shape)))
    assert slow_axis(case) == axis
    folds = make_folds([case], count, margin)
    everything, names = [], []
    for fold in folds:
        held = set.union(*(span(part) for part in fold.held_out))
        near = {i + d for i in held for d in range(-margin[axis], margin[axis] + 1)}
        train = set.union(*(span(part) for part in fold.train))
        assert not train & near
        assert train | near >= set(range(shape[axis]))  # no more is left out than the margin
        for part in fold.train + fold.held_out:
            assert all(n == m for i, (n, m) in enumerate(zip(part.shape, shape, strict=True)) if i != axis)
        everything += sorted(held)
        names += [part.name for part in fold.held_out]
    assert everything == list(range(shape[axis]))
    assert len(set(names)) == count


def test_block_folds_cut_every_case_of_a_small_group(make_case):
    cases = [make_case(np.zeros((1, 20, 4, 4)), name=name, group="g") for name in "ab"]
    folds = make_folds(cases, 2, (2, 2))
    assert [part.name for part in folds[0].held_out] == ["a@0-10", "b@0-10"]
    assert [part.name for part in folds[0].train] == ["a@12-20", "b@12-20"]
    assert [part.name for part in folds[1].train] == ["a@0-8", "b@0-8"]
    values = np.arange(20.0)[None, :, None, None] * np.ones((1, 20, 4, 4))
    part = make_folds([make_case(values)], 2, (2, 2))[1].held_out[0]
    np.testing.assert_array_equal(part.read(part.whole)[0][0, :, 0, 0], range(10, 20))


@pytest.mark.parametrize(("shape", "what"), [((11, 9, 9), "11 slices"), ((1, 11, 9), "11 rows")])
def test_too_small_for_blocks(make_case, shape, what):
    with pytest.raises(SegcganError) as error:
        make_folds([make_case(np.zeros((1, *shape)))], 2, (5, 5))
    assert str(error.value) == (
        f"case 'a' has {what}: too few for 2 blocks with 5 left out between them; set plan.folds: 0 to train the "
        "refiner on corruptions alone"
    )


def test_just_large_enough_for_blocks(make_case):
    folds = make_folds([make_case(np.zeros((1, 12, 4, 4)))], 2, (5, 5))
    assert [[part.shape[0] for part in fold.train] for fold in folds] == [[1], [1]]


def test_what_was_learnt_is_not_tested(grouped, tmp_path):
    cases = grouped(5, each=1)
    assign_splits(cases, 0.2, 0.2, seed=1)
    write_splits(tmp_path / "splits.csv", cases)
    tested = [case for case in cases if case.split == "test"]
    check_splits(tmp_path / "splits.csv", [*tested, *grouped(9, each=1)[8:]])
    learnt = next(case for case in cases if case.split == "train")
    learnt.split = "test"
    with pytest.raises(SegcganError) as error:
        check_splits(tmp_path / "splits.csv", [*tested, learnt])
    assert str(error.value) == (
        f"case {learnt.name!r} was in the split train when {tmp_path} was trained and is in test now; give the images, "
        "seed and shares of then, or name splits in a manifest"
    )
