"""Blocks add up to the scores of the case, and their interval is one."""

import numpy as np
import pytest

from segcgan.case import Geometry
from segcgan.classes import ClassSpec
from segcgan.errors import SegcganError
from segcgan.metrics.blocks import SIDE, Block, block_differences, score_blocks
from segcgan.metrics.cases import score_case
from segcgan.metrics.records import read_records, write_records

NAMES = ["background", "x", "y"]


def masks(shape=(1, 150, 200), seed=0):
    """A reference of discs and two predictions: one shifted by a pixel, one by four."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[1], : shape[2]]
    reference = np.zeros(shape, np.uint8)
    for _ in range(12):
        y, x, r, k = rng.integers(0, shape[1]), rng.integers(0, shape[2]), rng.integers(6, 16), rng.integers(1, 3)
        reference[0][(rows - y) ** 2 + (columns - x) ** 2 < r**2] = k
    return {"reference": reference, "coarse": np.roll(reference, 4, 2), "refined": np.roll(reference, 1, 2)}


def blocks(found, case="a", distance=2.0):
    known = np.ones(found["reference"].shape, bool)
    known[0, 40:70, 90:120] = False
    return score_blocks(case, found, NAMES, known, (1.0, 1.0, 1.0), distance), known


def test_blocks_add_up_to_the_scores_of_the_case():
    """Also where pixels are not known, and where the last blocks are smaller than the others."""
    found = masks()
    parts, known = blocks(found)
    classes = [ClassSpec(name) for name in NAMES]
    rows, _ = score_case("a", found, classes, Geometry(np.eye(4), (1.0, 1.0, 1.0)), 2.0, valid=known)
    assert {(b.row % SIDE, b.column % SIDE) for b in parts} == {(0, 0)}
    for row in rows:
        mine = [b for b in parts if (b.variant, b.class_name) == (row.variant, row.class_name)]
        both, sizes, inner, either = (
            sum(getattr(b, n) for b in mine) for n in ("both", "sizes", "band_both", "band_either")
        )
        assert (2 * both / sizes, both / (sizes - both)) == pytest.approx((row.dice, row.iou))
        assert inner / either == pytest.approx(row.boundary_iou)


def test_the_better_mask_is_found_and_the_same_mask_is_no_difference():
    parts, _ = blocks(masks())
    found = block_differences([parts], [parts], ["coarse", "refined"])
    assert [each.score for each in found] == ["dice", "iou", "boundary_iou"]
    for each in found:
        assert 0 < each.low < each.mean < each.high
        assert each.mean == pytest.approx(each.second - each.first)
        assert each.groups == len({(b.row, b.column) for b in parts})
    for each in block_differences([parts], [parts], ["coarse", "coarse"]):
        assert (each.mean, each.low, each.high, each.p) == (0, 0, 0, 1)


def test_seeds_are_averaged_score_by_score():
    one = [Block("a", "v", "x", 0, 0, 10, 20, 1, 1), Block("a", "v", "x", 0, 64, 0, 20, 1, 1)]
    two = [Block("a", "v", "x", 0, 0, 100, 200, 1, 1)]  # far more pixels, and no more weight than the other seed
    (_, iou, _) = block_differences([one], [one, two], ["v", "v"])
    assert (iou.first, iou.second) == pytest.approx((10 / 30, (10 / 30 + 1) / 2))


def test_what_has_no_blocks():
    volume = {name: np.repeat(mask, 2, 0) for name, mask in masks().items()}
    assert blocks(volume)[0] == []
    empty = {name: np.zeros_like(mask) for name, mask in masks().items()}
    assert blocks(empty)[0] == []
    assert block_differences([[]], [[]], ["coarse", "refined"]) == []
    alone = [Block("a", "v", "x", 0, 0, 10, 20, 1, 1)]
    assert all(np.isnan(each.low) and np.isnan(each.p) for each in block_differences([alone], [alone], ["v", "v"]))


def test_tables_come_back(tmp_path):
    parts, _ = blocks(masks())
    write_records(tmp_path / "blocks_test.csv", Block, parts)
    assert read_records(tmp_path / "blocks_test.csv", Block) == parts
    (tmp_path / "broken.csv").write_text("case,both\na,x\n")
    with pytest.raises(SegcganError, match=r"broken.csv is not a table of blocks .* segcgan test"):
        read_records(tmp_path / "broken.csv", Block)


def test_sides_that_share_no_class_have_no_difference_unless_rightly_empty_counts():
    shape = (1, 150, 200)
    found = {"reference": np.zeros(shape, np.uint8), "coarse": np.ones(shape, np.uint8)}
    found["refined"] = 2 * found["coarse"]
    parts = score_blocks("a", found, NAMES, np.ones(shape, bool), (1.0, 1.0, 1.0), 2.0)
    for each in block_differences([parts], [parts], ["coarse", "refined"], empty=float("nan")):
        assert np.isnan([each.mean, each.low, each.high, each.p]).all()
    for each in block_differences([parts], [parts], ["coarse", "refined"]):  # each invents one class and not the other
        assert (each.first, each.second, each.mean) == (0.5, 0.5, 0)
