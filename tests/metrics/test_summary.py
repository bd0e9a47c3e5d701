import math
from dataclasses import replace

import numpy as np
import pytest

from segcgan.case import Geometry
from segcgan.classes import ClassSpec
from segcgan.metrics.calibration import calibrate
from segcgan.metrics.cases import Row, pool, score_case
from segcgan.metrics.summary import CONVENTION, case_table, exemplars, number, summarise, table

CLASSES = [ClassSpec("background", [0]), ClassSpec("building", [1])]
GEOMETRY = Geometry(np.eye(4), (1.0, 0.5, 0.5), "m")


@pytest.fixture
def scored():
    """Three scenes: coarse is a row short, misses the second's building, and sees one where the third has none."""
    rows, counts = [], {}
    for name in ("north", "south", "empty"):
        reference = np.zeros((1, 20, 20), np.uint8)
        coarse, chosen = reference.copy(), reference.copy()
        if name == "empty":
            coarse[0, 5, 5] = 1
        else:
            reference[0, 4:12, 4:12] = chosen[0, 4:12, 4:12] = 1
        if name == "north":
            coarse[0, 5:12, 4:12] = 1
        masks = {"reference": reference, "coarse": coarse, "chosen": chosen}
        found, counts[name] = score_case(name, masks, CLASSES, GEOMETRY, 1.0)
        rows += found
    return rows, pool(counts)


def test_means_pools_and_counts(scored):
    coarse, chosen = summarise(*scored).variants.values()
    assert coarse.foreground_iou == pytest.approx(56 / (128 + 1))
    assert coarse.class_iou == {"building": coarse.foreground_iou}
    background = 1200 - 128 - 1
    assert coarse.miou == pytest.approx((coarse.foreground_iou + background / (background + 1 + 72)) / 2)
    assert coarse.dice == pytest.approx((2 * 56 / 120 + 0 + 0) / 3)
    assert coarse.pixel_accuracy == pytest.approx((1200 - 73) / 1200)
    diagonal = math.hypot(10, 10)
    assert coarse.hd95_conditional == pytest.approx(0.5)
    assert coarse.hd95_penalised == pytest.approx((0.5 + 2 * diagonal) / 3)
    assert (coarse.hd95_median, coarse.assd_median) == (coarse.hd95_conditional, coarse.assd_conditional)
    assert (coarse.invented, coarse.missed, chosen.invented, chosen.missed) == (1, 0.5, 0, 0)
    assert coarse.assd_penalised == pytest.approx((coarse.assd_conditional + 2 * diagonal) / 3)
    assert 0 < coarse.assd_conditional < 0.5
    assert coarse.nsd == pytest.approx(1 / 3)  # one row of 0.5 m is within the 1 m; the other two miss everything
    assert coarse.boundary_f == pytest.approx(1 / 3)
    assert (chosen.nsd, chosen.boundary_f, chosen.assd_penalised, chosen.assd_conditional) == (1, 1, 0, 0)
    assert coarse.statuses == {"ok": 1, "pred_empty": 1, "ref_empty": 1}
    assert (chosen.dice, chosen.boundary_iou, chosen.hd95_penalised) == (1, 1, 0)
    assert (chosen.cases, chosen.scored) == (3, 3)  # the scene empty in both has a Dice of 1
    left_out = summarise(*scored, empty=float("nan")).variants["chosen"]
    assert (left_out.dice, left_out.scored) == (1, 2)


def test_all_background_is_worth_what_is_rightly_empty(scored):
    rows = [replace(row, status="pred_empty" if row.voxels_reference else "both_empty", dice=0.0, boundary_iou=0.0)
            for row in scored[0] if row.variant == "coarse"]  # fmt: skip
    scores = summarise(rows, {"coarse": scored[1]["coarse"]}).variants["coarse"]
    assert (scores.dice, scores.boundary_iou, scores.missed, scores.invented) == (1 / 3, 1 / 3, 1, 0)
    assert math.isnan(scores.hd95_median)


def test_a_case_counts_once_however_many_classes_it_has():
    def row(case, name, dice):
        return Row(case, case, "coarse", name, "ok", dice, dice, dice, 0.0, 1, 1, "mm", 1.0)

    found = ("p1", "liver", 1.0), ("p1", "tumour", 0.0), ("p2", "liver", 1.0), ("p2", "tumour", math.nan)
    rows = [row(*each) for each in found]
    scores = summarise([*rows, *rows], {"coarse": np.eye(3, dtype=int)}).variants["coarse"]
    assert scores.dice == pytest.approx((0.5 + 1.0) / 2)
    assert scores.statuses == {"ok": 4}


def test_table_says_what_is_measured_and_how(scored):
    header, lines = table(summarise(*scored))
    assert header == ["metric", "coarse", "chosen", "chosen − coarse"]
    assert all(len(line) == 4 for line in lines)
    text = {line[0]: line[1:] for line in lines}
    assert text["Boundary IoU ↑ (band 1 m, mean of cases)"][1] == "1.0000"
    assert text["Dice ↑ (mean of cases)"] == ["0.3111", "1.0000", "+0.6889"]
    assert text["HD95 ↓ (m, median where both masks exist)"] == ["0.50", "0.00", "−0.50"]
    assert text["HD95 ↓ (m, mean where both masks exist)"] == ["0.50", "0.00", "−0.50"]
    assert text["missed ↓ (share of references with a class that got no mask of it)"][:2] == ["0.5000", "0.0000"]
    assert text["invented ↓ (share of references without a class that got a mask of it)"][:2] == ["1.0000", "0.0000"]
    starts = "HD95 ↓ (m, median", "missed", "invented", "masks: both", "HD95 ↓ (m, mean where", "HD95 ↓ (m, mean, one"
    order = [next(i for i, line in enumerate(lines) if line[0].startswith(start)) for start in starts]
    assert order == sorted(order)
    assert text["NSD ↑ (within 1 m, mean of cases)"] == ["0.3333", "1.0000", "+0.6667"]
    assert text["Boundary F ↑ (within 1 m, mean of cases)"] == ["0.3333", "1.0000", "+0.6667"]
    assert text["ASSD ↓ (m, mean, one mask empty = image diagonal)"][1] == "0.00"
    assert text[CONVENTION] == ["voxels, max, rightly empty 1", "voxels, max, rightly empty 1", ""]
    assert not any(label.startswith(("ECE", "Brier", "NLL")) for label in text)
    assert text["cases (of them with a Dice)"] == ["3 (3)", "3 (3)", ""]
    masks = text["masks: both / neither / only reference / only prediction"]
    assert masks == ["1 / 0 / 1 / 1", "2 / 1 / 0 / 0", ""]


def test_calibration_joins_the_table(scored):
    sure = calibrate(np.array([1, 0]), np.array([[0.2, 0.6], [0.8, 0.4]]), bins=10)
    _, lines = table(summarise(*scored, {"coarse": sure}))
    text = {line[0]: line[1:] for line in lines}
    assert text["ECE ↓ (most likely class, 10 equal bins, pooled)"] == ["0.3000", "–", "–"]
    assert text["Brier ↓ (sum over classes, pooled)"][0] == "0.2000"
    assert text["NLL ↓ (nats per pixel, pooled)"] == [f"{-(np.log(0.8) + np.log(0.6)) / 2:.4f}", "–", "–"]


def test_rows_of_older_versions_have_dashes():
    row = Row("p1", "p1", "coarse", "building", "ok", 0.9, 0.8, 0.7, 1.5, 10, 11, "m", 1.0)
    text = dict(table(summarise([row], {"coarse": np.eye(2, dtype=int)}))[1])
    assert text["NSD ↑ (within 1 m, mean of cases)"] == "–"
    assert text["HD95 ↓ (m, median where both masks exist)"] == "1.50"
    assert text[CONVENTION] == "–"


def test_one_variant_has_no_difference_and_nothing_scored_is_a_dash():
    header, lines = table(summarise([], {"coarse": np.zeros((2, 2), int)}))
    assert header == ["metric", "coarse"]
    assert lines[0] == ["mIoU ↑ (pooled pixels, background counts)", "–"]
    assert table(summarise([], {}))[0] == ["metric"]


def test_case_table(scored):
    header, lines = case_table(scored[0])
    assert header == ["case", "class", "Dice coarse", "Dice chosen", "Boundary IoU coarse", "Boundary IoU chosen",
                      "HD95 coarse (m)", "HD95 chosen (m)"]
    assert [line[0] for line in lines] == ["north", "south", "empty"]
    assert lines[2] == ["empty", "building", "0.0000", "1.0000", "0.0000", "1.0000", "14.14", "–"]
    assert case_table([])[1] == []


def test_exemplars(scored):
    rows = scored[0]
    assert exemplars(rows, "coarse") == {"best": "north", "median": "empty", "worst": "south"}
    assert exemplars(rows, "chosen") == {"best": "north", "worst": "south"}
    assert exemplars(rows[:1], "coarse") == {"best": "north"}
    assert exemplars(rows, "nobody") == {}


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [(0.5, False, "0.50"), (-0.5, True, "−0.50"), (0.5, True, "+0.50"), (math.nan, True, "–")],
)
def test_number(value, signed, text):
    assert number(value, 2, signed) == text
