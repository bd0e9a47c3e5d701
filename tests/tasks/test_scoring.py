"""What several processes know of the cases, joined."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from segcgan.cli import main
from segcgan.metrics.blocks import Block
from segcgan.metrics.calibration import calibrate
from segcgan.metrics.cases import Row
from segcgan.metrics.objects import Object, detection
from segcgan.metrics.records import read_records
from segcgan.tasks.scoring import Scoreboard, _calibrated, _gain


def test_a_case_that_two_processes_scored_has_its_objects_and_blocks_once(monkeypatch):
    """DDP pads its last batch with cases that were scored already."""
    thing, part = Object("a", "a", "coarse", "x", "reference", 0, 9, 0.8), Block("a", "coarse", "x", 0, 0, 8, 18, 1, 2)
    row = Row("a", "a", "coarse", "x", "ok", 0.5, 0.4, 0.3, 1, 9, 9, "px", 2.0)
    boards = [
        Scoreboard(rows=[row], objects=[thing], blocks=[part]),
        Scoreboard(
            rows=[row, replace(row, case="b")],
            objects=[thing, replace(thing, case="b", iou=0.0)],
            blocks=[part, replace(part, column=64)],
        ),
    ]
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_gather_object", lambda found, mine: found.__setitem__(slice(2), boards))
    board = Scoreboard()
    board.gather()
    assert [each.case for each in board.rows] == [each.case for each in board.objects] == ["a", "b"]
    assert [each.column for each in board.blocks] == [0, 64]
    assert detection(board.objects).recall == 0.5


@pytest.mark.filterwarnings("error")
def test_a_single_sample_has_no_diversity_and_no_warning():
    board = Scoreboard(confusions={"a": {"coarse": np.eye(2), "refined": np.eye(2)}})
    one = {"ged2": 0.5, "matched_iou": 0.25, "diversity": float("nan"), "rater_diversity": 0.125}
    board.spreads = {"a": {"coarse": one, "refined": one | {"ged2": 0.25, "diversity": 0.5}}}
    board.choose(None)
    shown = [line[1:4] for line in board.table()[1][-4:]]
    assert shown == [["0.5000", "0.2500", "0.2500"], ["0.2500"] * 3, ["–", "0.5000", "0.5000"], ["0.1250"] * 3]


def test_the_convention_of_a_config_reaches_table_rows_and_report(tiny, capsys):
    words = ["--data.surfaces.surface=surfels", "--data.surfaces.combine=pooled", "--data.surfaces.centreline=true"]
    few = ["--plan.refiner_epochs=0", "--plan.segmenter_epochs=1"]
    assert main(["fit", "--config", str(tiny), *words, *few]) == 0
    shown = capsys.readouterr().out
    assert "surface, percentile\tsurfels, pooled" in shown
    assert "clDice ↑ (mean of cases)\t0." in shown
    run = tiny.parent / "runs" / "tiny" / "latest"
    rows = read_records(run / "cases_val.csv", Row)
    assert {row.convention for row in rows} == {"surfels, pooled"}
    assert all(0 <= row.cldice <= 1 for row in rows)
    assert "weighted by area (Nikolov 2018" in (run / "report.html").read_text()


def test_an_invented_object_is_harm_and_one_taken_away_a_gain():
    rows = [
        Row("a", "a", variant, name, "ok", score, score, score, 1, 9, 9, "px", 2.0)
        for name, coarse, refined in (("x", float("nan"), 0.0), ("y", 0.5, 0.75), ("z", float("nan"), float("nan")))
        for variant, score in (("coarse", coarse), ("refined", refined))
    ]
    assert _gain(rows, "iou", "boundary_iou") == _gain(rows, "iou") == pytest.approx((-1 + 0.25) / 2)
    assert _gain(rows[:2], "iou") == -1
    swapped = {"coarse": "refined", "refined": "coarse"}
    assert _gain([replace(row, variant=swapped[row.variant]) for row in rows[:2]], "iou") == 1
    assert np.isnan(_gain(rows[4:], "iou"))


def test_with_several_raters_the_likelihood_of_their_votes_chooses_the_epoch():
    """Three of four raters marked everything: of three constant probabilities their share is best, not certainty."""
    raters = np.ones((4, 1, 8, 8), np.uint8)
    raters[0] = 0
    scores = {}
    for share in (0.5, 0.75, 1.0):
        probability = np.rint(np.stack([np.full((1, 8, 8), 1 - share), np.full((1, 8, 8), share)]) * 254)
        row = Row("a", "a", "coarse", "x", "ok", share, share, share, 1, 9, 9, "px", 2.0)
        counts = {"a": {"coarse": _calibrated(raters, probability.astype(np.uint8), np.ones((1, 8, 8), bool))}}
        found = Scoreboard(rows=[row], calibrations=counts, several=True).means("coarse")
        assert found["score"] == -found["nll"]
        scores[share] = found["score"]
    assert max(scores, key=scores.get) == 0.75
    assert scores[0.75] == pytest.approx(0.75 * np.log(0.75) + 0.25 * np.log(0.25), abs=2e-3)
    one = calibrate(raters[1], probability.astype(np.uint8))
    assert Scoreboard(rows=[row], calibrations={"a": {"coarse": one}}).means("coarse")["score"] == 1.0
