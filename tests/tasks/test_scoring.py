"""What several processes know of the cases, joined."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from segcgan.case import IGNORE, Case, Geometry
from segcgan.classes import ClassSpec
from segcgan.cli import main
from segcgan.data.labels import Majority, Raters
from segcgan.gates import AgreementGate, GateExample
from segcgan.metrics.blocks import Block
from segcgan.metrics.calibration import calibrate
from segcgan.metrics.cases import Row
from segcgan.metrics.objects import Object, detection
from segcgan.metrics.records import read_records
from segcgan.tasks.scoring import Scoreboard, _calibrated, _gain
from segcgan.tasks.segmentation import SegmentationTask


def test_a_case_that_two_processes_scored_has_its_objects_and_blocks_once(monkeypatch):
    """DDP pads its last batch with cases that were scored already."""
    thing, part = Object("a", "a", "coarse", "x", "reference", 0, 9, 0.8), Block("a", "coarse", "x", 0, 0, 8, 18, 1, 2)
    row = Row("a", "a", "coarse", "x", "ok", 0.5, 0.4, 0.3, 1, 9, 9, "px", 2.0)
    seen = GateExample("a", "patient", np.array([1.0, 2.0]), 1, 9, 0.1)
    boards = [
        Scoreboard(rows=[row], objects=[thing], blocks=[part], examples={"a": seen}),
        Scoreboard(
            rows=[row, replace(row, case="b")],
            objects=[thing, replace(thing, case="b", iou=0.0)],
            blocks=[part, replace(part, column=64)],
            examples={"a": seen, "b": replace(seen, case="b")},
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
    assert [(each.case, each.group, each.harmed) for each in board.examples.values()] == [
        ("a", "patient", 1),
        ("b", "patient", 1),
    ]


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
    assert "overlap of rightly empty masks\tsurfels, pooled, rightly empty 1" in shown
    assert "clDice ↑ (mean of cases)\t0." in shown
    run = tiny.parent / "runs" / "tiny" / "latest"
    rows = read_records(run / "cases_val.csv", Row)
    assert {row.convention for row in rows} == {"surfels, pooled, rightly empty 1"}
    assert all(0 <= row.cldice <= 1 for row in rows)
    assert "weighted by area (Nikolov 2018" in (run / "report.html").read_text()


def status(score):
    return "both_empty" if score != score else "ref_empty" if score == 0 else "ok"


def test_an_invented_object_is_harm_and_one_taken_away_a_gain():
    rows = [
        Row("a", "a", variant, name, status(score), score, score, score, 1, 9, 9, "px", 2.0)
        for name, coarse, refined in (("x", float("nan"), 0.0), ("y", 0.5, 0.75), ("z", float("nan"), float("nan")))
        for variant, score in (("coarse", coarse), ("refined", refined))
    ]
    assert _gain(rows, "iou", "boundary_iou") == _gain(rows, "iou") == pytest.approx((-1 + 0.25 + 0) / 3)
    assert _gain(rows[:2], "iou") == -1
    swapped = {"coarse": "refined", "refined": "coarse"}
    assert _gain([replace(row, variant=swapped[row.variant]) for row in rows[:2]], "iou") == 1
    assert _gain(rows[4:], "iou") == 0


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


@pytest.mark.parametrize("empties", [0.5, 0.8, 0.99])
def test_an_epoch_of_all_background_never_wins(empties):
    """80 % of the references are empty: such an epoch is right in 80 % of the cases, and scores 0."""
    count = round(100 * (1 - empties))
    masks = {"shown": [("ok", 0.05)] * count + [("ref_empty", 0.0)] * 20 + [("both_empty", 1.0)] * (80 - count)}
    masks["nothing"] = [("pred_empty", 0.0)] * count + [("both_empty", 1.0)] * (100 - count)
    masks["noise"] = [("ok", 0.0)] * count + [("ref_empty", 0.0)] * (100 - count)
    score = {}
    for name, found in masks.items():
        rows = [
            Row(str(i), str(i), "coarse", "x", said, value, value, value, float("nan"),
                9 * (said in ("ok", "pred_empty")), 9 * (said in ("ok", "ref_empty")), "px", 1.0)
            for i, (said, value) in enumerate(found)
        ]  # fmt: skip
        means = Scoreboard(rows=rows).means("coarse")
        score[name] = means["score"]
        assert means["iou"] == pytest.approx(np.mean([value for _, value in found]))
    assert score["nothing"] == 0 <= score["noise"] < score["shown"]


def test_a_class_that_is_never_shown_makes_the_epoch_worthless_and_the_best_of_such_is_kept():
    def epoch(first):
        return [Row("a", "a", "coarse", "x", "ok", first, first, first, 1, 9, 9, "px", 1.0),
                Row("a", "a", "coarse", "y", "pred_empty", 0.0, 0.0, 0.0, 1, 9, 0, "px", 1.0),
                Row("b", "b", "coarse", "y", "both_empty", 1.0, 1.0, 1.0, 1, 0, 0, "px", 1.0)]  # fmt: skip

    bad, good = (Scoreboard(rows=epoch(value)).means("coarse")["score"] for value in (0.2, 0.9))
    assert 0 < bad < good < 1e-6
    nowhere = [row for row in epoch(0.9) if row.case == "b"]  # no reference shows it: nothing is lacking
    assert Scoreboard(rows=nowhere).means("coarse")["score"] == 1
    assert Scoreboard().means("coarse")["score"] == 0


class _Pixels:
    def __init__(self, valid):
        self.valid = valid

    def read(self, window):
        found = self.valid[(slice(None), *window)]
        return found.astype(np.float32), found


def _case(reference, group="", raters=None):
    """A row of pixels of which the last is invalid."""
    valid = np.ones((1, *reference.shape), bool)
    valid[..., -1] = False
    geometry = Geometry(np.eye(4), (1.0, 1.0, 1.0), "px")
    case = Case("a", Path("a.png"), "png", reference.shape, 1, geometry, _Pixels(valid), group)
    case.reference = lambda window: reference[window]
    if raters is not None:
        case.raters = Raters(lambda window: raters[window], 1, [0, 1, 2])
        case.reference = Majority(case.raters)
    return case


def _board(case, coarse, refined, **options):
    """What is known after one case of the classes background, x and y."""
    masks = {"coarse": coarse, "refined": refined}
    for name in ("coarse", "refined"):
        masks[f"p_{name}"] = np.stack([254 * (masks[name] == index) for index in range(3)]).astype(np.uint8)
    gate = AgreementGate()
    evidence = gate.evidence(coarse, refined, case.read(case.whole)[1][0])
    outcome = SimpleNamespace(read=lambda layer, window: masks[layer], evidence=evidence)
    classes = [ClassSpec("background", [0]), ClassSpec("x", [1]), ClassSpec("y", [2])]
    surfaces = SimpleNamespace(centreline=False, surface="voxels", combine="max")
    board = Scoreboard(**options)
    board.add(
        case, outcome, SimpleNamespace(classes=classes, boundary=1.0, surfaces=surfaces), final=False, refined=True
    )
    return board


def _example(case, coarse, refined):
    board = _board(case, coarse, refined)
    assert board.accepted(None) == 1
    return board.examples["a"]


def _row(*values):
    return np.array(values, np.uint8).reshape(1, 1, -1)


def test_a_gate_learns_of_harm_in_scored_pixels_and_of_the_patient():
    reference, coarse = _row(1, 1, 2, 0, IGNORE, 0, 1), _row(1, 1, 2, 0, 0, 1, 1)
    refined = _row(0, 1, 1, 2, 1, 0, 0)  # lost, kept, of another class, added, unknown, corrected, invalid
    example = _example(_case(reference, "patient"), coarse, refined)
    assert (example.case, example.group, example.harmed, example.reference) == ("a", "patient", 3, 3)
    assert _example(_case(reference), coarse, refined).group == "a"


def test_of_several_raters_the_majority_is_harmed():
    bits = _row(0b011, 0b001, 0b111, 0)
    example = _example(_case(bits, raters=bits), _row(1, 0, 1, 0), _row(0, 1, 1, 0))
    assert (example.harmed, example.reference) == (2, 2)


def test_masks_kept_are_counted_without_a_gate_too():
    board = Scoreboard(confusions={"a": {"coarse": np.eye(2), "refined": np.eye(2)}, "b": {"coarse": np.eye(2)}})
    assert board.accepted(None) == 1


def test_beside_cases_of_several_raters_those_of_one_have_a_vote_from_the_first_on():
    plain, disputed = _case(_row(1, 0)), _case(_row(1, 1), raters=_row(1, 1))
    held = SimpleNamespace(evaluated="val", split={"val": [plain, disputed]}.get)
    task = SimpleNamespace(trainer=SimpleNamespace(datamodule=held))
    SegmentationTask.on_validation_epoch_start(task)
    assert task.board.several
    assert list(_board(plain, _row(1, 0), _row(1, 0), several=True).calibrations) == ["a"]
    assert not _board(plain, _row(1, 0), _row(1, 0)).calibrations
