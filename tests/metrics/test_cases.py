import math
from dataclasses import replace

import numpy as np
import pytest

from segcgan.case import IGNORE, Geometry
from segcgan.classes import ClassSpec
from segcgan.errors import SegcganError
from segcgan.metrics.boundary import assd, boundary_f, nsd
from segcgan.metrics.calibration import calibrate
from segcgan.metrics.cases import Row, pool, score_case, settle, unique
from segcgan.metrics.pair import Convention
from segcgan.metrics.records import read_records, write_records
from segcgan.metrics.skeleton import cldice

CLASSES = [ClassSpec("background", [0]), ClassSpec("liver", [1]), ClassSpec("tumour", [2])]
GEOMETRY = Geometry(np.eye(4), (2.0, 1.0, 1.0), "mm")


def masks():
    reference = np.zeros((4, 12, 12), np.uint8)
    reference[1:3, 2:8, 2:8] = 1
    coarse = reference.copy()
    coarse[1:3, 2:8, 8] = 1
    coarse[0, 0, 0] = 2
    return {"reference": reference, "coarse": coarse, "chosen": reference.copy()}


def test_one_row_per_variant_and_foreground_class():
    rows, counts = score_case("p1", masks(), CLASSES, GEOMETRY, 1.0, group="patient")
    assert [(row.variant, row.class_name, row.status) for row in rows] == [
        ("coarse", "liver", "ok"),
        ("coarse", "tumour", "ref_empty"),
        ("chosen", "liver", "ok"),
        ("chosen", "tumour", "both_empty"),
    ]
    first, ghost, exact, absent = rows
    assert first.dice == pytest.approx(2 * 72 / (72 + 84))
    assert (first.voxels_reference, first.voxels_prediction) == (72, 84)
    assert (first.case, first.group, first.unit, first.band) == ("p1", "patient", "mm", 1.0)
    assert (ghost.dice, ghost.iou, ghost.boundary_iou) == (0, 0, 0)
    assert ghost.hd95 == pytest.approx(math.hypot(8, 12, 12))
    assert (exact.dice, exact.boundary_iou, exact.hd95) == (1, 1, 0)
    assert (absent.dice, absent.iou, absent.boundary_iou) == (1, 1, 1)
    assert math.isnan(absent.hd95)
    assert set(counts) == {"coarse", "chosen"}
    assert counts["coarse"][0, 1] == 12
    assert counts["coarse"].sum() == 4 * 12 * 12


def test_ignored_and_invalid_pixels_count_nowhere():
    found = masks()
    found["reference"][1:3, 2:8, 8] = IGNORE  # just where coarse is too large
    valid = np.ones((4, 12, 12), bool)
    valid[0, 0, 0] = False  # and where it sees a tumour
    rows, counts = score_case("p1", found, CLASSES, GEOMETRY, 1.0, valid=valid)
    assert rows[0].dice == rows[0].boundary_iou == 1
    assert rows[1].status == "both_empty"
    assert counts["coarse"].sum() == 4 * 12 * 12 - 13
    assert rows[0].group == "p1"


OVERLAPS = ("dice", "iou", "boundary_iou", "nsd", "boundary_f", "cldice")


def test_rightly_empty_is_an_argument_and_tables_of_either_rule_settle_alike(tmp_path):
    nan, every = float("nan"), ("distances", "centreline")
    new, _ = score_case("p1", masks(), CLASSES, GEOMETRY, 1.0, measures=every)
    old, _ = score_case("p1", masks(), CLASSES, GEOMETRY, 1.0, measures=every, convention=Convention(empty=nan))
    assert all(getattr(new[3], name) == 1 and math.isnan(getattr(old[3], name)) for name in OVERLAPS)
    assert new[3].convention == "voxels, max, rightly empty 1"
    assert old[3].convention == "voxels, max, rightly empty nan"
    assert str(new[:3]) == str([replace(row, convention=new[0].convention) for row in old[:3]])
    assert str(settle(old)) == str(new)
    assert str(settle(new, nan)) == str(old)
    before = [replace(row, convention="voxels, max") for row in old]
    before[3] = replace(before[3], hd95=0.0, assd=0.0)
    write_records(tmp_path / "cases.csv", Row, before)  # as older versions did
    assert str(settle(read_records(tmp_path / "cases.csv", Row))) == str(new)


def test_what_was_not_measured_is_not_made_up_for_empty_masks():
    rows, _ = score_case("p1", masks(), CLASSES, GEOMETRY, 1.0, measures=())
    (absent,) = [row for row in settle(rows) if row.status == "both_empty"]
    assert absent.dice == 1
    assert all(math.isnan(value) for value in (absent.nsd, absent.boundary_f, absent.cldice, absent.hd95))


def test_a_case_without_a_known_pixel_has_no_score():
    """Two masks that are empty because nothing is known of them are no success."""
    found = masks()
    for unknown in ({"valid": np.zeros((4, 12, 12), bool)}, {}):
        if not unknown:
            found["reference"] = np.full((4, 12, 12), IGNORE, np.uint8)
        rows, _ = score_case("p1", found, CLASSES, GEOMETRY, 1.0, measures=("distances", "centreline"), **unknown)
        assert {row.status for row in settle(rows)} == {"unscored"}
        assert all(math.isnan(getattr(row, name)) for row in settle(rows) for name in (*OVERLAPS, "invented", "missed"))


def test_invented_and_missed():
    rows, _ = score_case("p1", masks(), CLASSES, GEOMETRY, 1.0)
    first, ghost, exact, absent = rows
    assert (ghost.invented, absent.invented, first.missed, exact.missed) == (1, 0, 0, 0)
    assert all(math.isnan(value) for value in (ghost.missed, absent.missed, first.invented))
    gone = masks() | {"coarse": np.zeros((4, 12, 12), np.uint8)}
    assert score_case("p1", gone, CLASSES, GEOMETRY, 1.0)[0][0].missed == 1
    assert (exact.hd95_median, exact.assd_median) == (0, 0)
    assert all(math.isnan(value) for value in (ghost.hd95_median, absent.hd95_median, ghost.assd_median))


def test_hd95_can_be_left_out():
    """What training looks at every epoch stays: it asks for no distance between surfaces."""
    quick, _ = score_case("p1", masks(), CLASSES, GEOMETRY, 1.0, measures=())
    full, _ = score_case("p1", masks(), CLASSES, GEOMETRY, 1.0)
    for row, other in zip(quick, full, strict=True):
        assert all(math.isnan(value) for value in (row.hd95, row.nsd, row.boundary_f, row.assd))
        assert row.convention == ""
        assert str((row.dice, row.iou, row.boundary_iou)) == str((other.dice, other.iou, other.boundary_iou))


def test_hd95_left_out_measures_no_distance(monkeypatch):
    def never(*_):
        raise AssertionError("a distance was measured")

    monkeypatch.setattr("segcgan.metrics.pair.closest", never)
    score_case("p1", masks(), CLASSES, GEOMETRY, 1.0, measures=())
    with pytest.raises(AssertionError, match="a distance was measured"):
        score_case("p1", masks(), CLASSES, GEOMETRY, 1.0)


@pytest.mark.parametrize("surface", ["voxels", "surfels"])
def test_boundary_scores_of_a_row(surface):
    found = masks()
    rows, _ = score_case("p1", found, CLASSES, GEOMETRY, 0.5, convention=Convention(surface, "pooled"))
    first, ghost, exact, absent = rows
    truth, guess = found["reference"] == 1, found["coarse"] == 1
    assert first.band == 1.0  # half a pixel is no tolerance for masks of whole ones
    assert first.nsd == nsd(truth, guess, GEOMETRY.spacing, 1.0, surface) == 1
    assert first.boundary_f == boundary_f(truth, guess, GEOMETRY.spacing, 1.0, surface)
    assert first.assd == assd(truth, guess, GEOMETRY.spacing, surface)
    assert 0 < first.assd < 0.5
    assert (ghost.nsd, ghost.boundary_f, ghost.assd) == (0, 0, ghost.hd95)
    assert (exact.nsd, exact.boundary_f, exact.assd) == (1, 1, 0)
    assert (absent.nsd, absent.boundary_f) == (1, 1)
    assert math.isnan(absent.assd)
    assert {row.convention for row in rows} == {f"{surface}, pooled, rightly empty 1"}


def test_a_case_without_reference_is_an_error():
    found = masks()
    del found["reference"]
    with pytest.raises(SegcganError, match=r"case 'p1' has no reference mask, so it has no score; give one"):
        score_case("p1", found, CLASSES, GEOMETRY, 1.0)


def test_centre_lines_are_measured_on_demand_only():
    found = masks()
    rows, _ = score_case("p1", found, CLASSES, GEOMETRY, 1.0, measures=("centreline",))
    assert rows[0].cldice == cldice(found["reference"] == 1, found["coarse"] == 1)
    assert math.isnan(rows[0].hd95)
    assert all(math.isnan(row.cldice) for row in score_case("p1", found, CLASSES, GEOMETRY, 1.0)[0])


def test_rows_survive_the_csv(tmp_path):
    rows, _ = score_case("a, \"b\" ü", masks(), CLASSES, GEOMETRY, 1.0)
    path = tmp_path / "cases.csv"
    write_records(path, Row, rows)
    assert [path.name for path in tmp_path.iterdir()] == ["cases.csv"]
    assert path.read_text(encoding="utf-8").splitlines()[0].startswith("case,group,variant,class_name,status,dice")
    back = read_records(path, Row)
    assert str(back) == str(rows)  # NaN is not equal to itself, its text is


def test_tables_of_older_versions_are_read(tmp_path):
    path = tmp_path / "cases.csv"
    path.write_text(
        "case,group,variant,class_name,status,dice,iou,boundary_iou,hd95,voxels_reference,voxels_prediction,unit,band\n"
        "p1,p1,coarse,liver,ok,0.9,0.8,0.7,1.5,10,11,mm,2.0\n"
    )
    (row,) = read_records(path, Row)
    assert (row.hd95, row.band, row.convention) == (1.5, 2.0, "")
    assert all(math.isnan(value) for value in (row.nsd, row.boundary_f, row.assd))


def test_a_line_cut_short_is_an_error(tmp_path):
    path = tmp_path / "cases.csv"
    write_records(path, Row, score_case("p1", masks(), CLASSES, GEOMETRY, 1.0)[0])
    path.write_text(path.read_text()[:-40])
    with pytest.raises(SegcganError, match=r"cases.csv is not a table of rows \(a line is cut short\); make it"):
        read_records(path, Row)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "cases.csv"
    path.write_text("old")

    def broken():
        yield score_case("p1", masks(), CLASSES, GEOMETRY, 1.0)[0][0]
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_records(path, Row, broken())
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_foreign_csv_is_an_error(tmp_path):
    path = tmp_path / "cases.csv"
    path.write_text("case,dice\nx,1\n")
    with pytest.raises(SegcganError, match=r"cases.csv is not a table of rows \('group'\); make it again"):
        read_records(path, Row)


def test_a_case_scored_twice_counts_once():
    rows, counts = score_case("p1", masks(), CLASSES, GEOMETRY, 1.0)
    again = [replace(row, dice=0.0) for row in rows]
    assert unique([*rows, *again]) == rows
    total = pool({"p1": counts, "p2": counts})
    np.testing.assert_array_equal(total["coarse"], 2 * counts["coarse"])
    assert total["coarse"] is not counts["coarse"]


def test_calibrations_pool_like_confusions():
    first = calibrate(np.array([0, 1]), np.array([[0.9, 0.6], [0.1, 0.4]]))
    second = calibrate(np.array([1]), np.array([[0.5], [0.5]]))
    total = pool({"p1": {"coarse": first}, "p2": {"coarse": second, "refined": second}})
    assert (total["coarse"].pixels, total["refined"].pixels) == (3, 1)
    assert total["coarse"].brier == pytest.approx((2 * 0.1**2 + 2 * 0.6**2 + 2 * 0.5**2) / 3)
