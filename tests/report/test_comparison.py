"""``segcgan compare`` on hand-written run folders."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from segcgan.cli import main
from segcgan.metrics.blocks import Block
from segcgan.metrics.cases import Row
from segcgan.metrics.objects import Object
from segcgan.metrics.records import write_records
from segcgan.report import comparison


def row(case, group, variant, iou, **more):
    dice = 2 * iou / (1 + iou)
    cells = {"class_name": "x", "status": "ok", "hd95": 10 * (1 - iou), "voxels_reference": 9, "voxels_prediction": 9}
    return Row(case=case, group=group, variant=variant, dice=dice, iou=iou, boundary_iou=iou / 2, unit="mm", band=2.0,
               **cells | more)  # fmt: skip


def make(folder: Path, gains, objects=True, **more):
    """A run whose refined masks are better by ``gains`` than coarse masks of IoU 0.5; the gate takes all."""
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"name": "heart"}))
    rows, found = [], []
    for index, gain in enumerate(gains):
        case, group = f"case{index}", f"p{index // 2}"
        rows.append(row(case, group, "coarse", 0.5, **more))
        refined = row(case, group, "refined", 0.5 + gain, **more)
        rows += [refined, replace(refined, variant="chosen")]
        for variant, iou in (("coarse", 0.5), ("refined", 0.5 + gain), ("chosen", 0.5 + gain)):
            found.append(Object(case, group, variant, "x", "reference", 0, 9, iou))
    write_records(folder / "cases_test.csv", Row, rows)
    if objects:
        write_records(folder / "objects_test.csv", Object, found)
    return str(folder)


def compare(capsys, *words, code=0):
    assert main(["compare", *words]) == code
    out = capsys.readouterr()
    return out.out if code == 0 else out.err.strip().splitlines()[-1]


def test_a_run_with_itself_refined_against_coarse(tmp_path, capsys):
    run = make(tmp_path / "a", [0.1, 0.1, 0.05, -0.03, 0.1, 0.02, 0.1, 0.1])
    said = compare(capsys, run, run, "--variant-a", "coarse")
    assert "IoU ↑\t0.5000\t0.5675\t+0.0675\t" in said
    assert "of 8 cases 7 better, 1 worse, 1 harmed (IoU down by more than 0.02; at most" in said
    assert "of 8 objects 7 better, 1 worse, 1 harmed" in said
    assert "only 4 patients or scenes: no p below 0.125 is possible; take the intervals as a hint" in said
    content = json.loads((tmp_path / "a" / "compare" / "compare.json").read_text())
    assert content[0]["variants"] == ["coarse", "chosen"]
    assert content[0]["differences"][0]["groups"] == 4
    for name in ("compare.png", "cases.png"):
        assert (tmp_path / "a" / "compare" / name).read_bytes().startswith(b"\x89PNG")
    assert content[0]["ious"][3] == [0.5, 0.47]


def test_several_seeds_and_several_data_sets(tmp_path, capsys):
    a, b, c = (make(tmp_path / name, gains) for name, gains in (("a", [0.0] * 4), ("b", [0.1] * 4), ("c", [0.3] * 4)))
    said = compare(capsys, a, f"{b},{c}", "--pair", a, b, "-o", str(tmp_path / "out"))
    assert "heart 1\tIoU ↑\t0.5000\t0.7000\t+0.2000\t" in said  # the mean over both seeds
    assert "heart 2\tIoU ↑\t0.5000\t0.6000\t+0.1000\t" in said
    assert "heart 1: of 4 objects 4 better, 0 worse, 0 harmed" in said  # and not 8: an object is one unit
    assert len(json.loads((tmp_path / "out" / "compare.json").read_text())) == 2


def test_an_object_counts_once_over_seeds_and_no_seed_is_dropped(tmp_path, capsys):
    """+0.1 with one seed and −0.3 with the other is worse, whichever side has more seeds."""
    a, b, c = (make(tmp_path / name, gains) for name, gains in (("a", [0.0] * 4), ("b", [0.1] * 4), ("c", [-0.3] * 4)))
    for first in (a, f"{a},{a}"):
        assert "of 4 objects 0 better, 4 worse, 4 harmed" in compare(capsys, first, f"{b},{c}")


def test_a_case_of_several_classes_is_one_case(tmp_path, capsys):
    runs = []
    for name, iou in (("a", 0.5), ("b", 0.4)):
        runs.append(make(tmp_path / name, [0.0] * 4))
        rows = [row(f"case{i}", f"p{i}", "chosen", value, class_name=word)
                for i in range(4) for word, value in (("x", iou), ("y", 0.7))]  # fmt: skip
        write_records(tmp_path / name / "cases_test.csv", Row, rows)
    said = compare(capsys, *runs)
    assert "of 4 cases 0 better, 4 worse, 4 harmed" in said
    assert "IoU ↑\t0.6000\t0.5500\t−0.0500" in said


def test_seeds_measured_differently(tmp_path, capsys):
    a, b = make(tmp_path / "a", [0.1] * 4), make(tmp_path / "b", [0.1] * 4)
    path = tmp_path / "b" / "cases_test.csv"
    path.write_text(path.read_text().replace(",mm,2.0,", ",mm,3.0,"))
    assert "were measured differently: band 2.0 and 3.0" in compare(capsys, f"{a},{b}", a, code=1)


def test_a_run_without_refiner_is_its_coarse_mask(tmp_path, capsys):
    a, b = make(tmp_path / "a", [0.1] * 4), make(tmp_path / "b", [0.0] * 4)
    path = tmp_path / "b" / "cases_test.csv"
    lines = [line for line in path.read_text().splitlines() if ",refined," not in line and ",chosen," not in line]
    path.write_text("\n".join(lines))
    assert "IoU ↑\t0.6000\t0.5000\t−0.1000" in compare(capsys, a, b)


@pytest.mark.parametrize(
    ("change", "words", "said"),
    [
        ({}, ["--variant-b", "golden"], "has no masks called 'golden'; it has chosen, coarse, refined"),
        ({"band": 3.0}, [], "were measured differently: band 2.0 and 3.0; score both with the same data.boundary"),
        ({"case": "other"}, [], "scored on different cases: 5 are in one only, e.g. 'case1' in"),
        ({}, ["--split", "val"], "has no scores of the val split; make them with segcgan validate"),
    ],
)
def test_what_cannot_be_compared(tmp_path, capsys, change, words, said):
    a = make(tmp_path / "a", [0.1] * 4)
    if "case" in change:
        b = make(tmp_path / "b", [0.1] * 3)
        lines = (tmp_path / "b" / "cases_test.csv").read_text().replace("case1", "other1").replace("case2", "other2")
        (tmp_path / "b" / "cases_test.csv").write_text(lines)
    else:
        b = make(tmp_path / "b", [0.1] * 4)
        path = tmp_path / "b" / "cases_test.csv"
        path.write_text(path.read_text().replace(",mm,2.0,", f",mm,{change.get('band', 2.0)},"))
    assert said in compare(capsys, a, b, *words, code=1)


def test_no_run(tmp_path, capsys):
    assert "is no run: it holds no run.json" in compare(capsys, str(tmp_path), str(tmp_path), code=1)


def test_a_single_scene_is_resampled_by_blocks(tmp_path, capsys):
    """Only with blocks on both sides; else there is no interval, and it is said."""
    runs = []
    for name, iou in (("a", 0.5), ("b", 0.6)):
        run = make(tmp_path / name, [0.0])
        write_records(tmp_path / name / "cases_test.csv", Row, [row("scene", "scene", "chosen", iou)])
        runs.append(run)
    said = compare(capsys, *runs)
    assert "all cases belong to one patient or scene: there is no interval" in said
    assert "IoU ↑\t0.5000\t0.6000\t+0.1000\t–\t–\t–\t1\t1" in said
    for name, both in (("a", (60, 40, 50)), ("b", (70, 60, 55))):
        found = [Block("scene", "chosen", "x", 0, 64 * i, n, 150, n // 2, 75) for i, n in enumerate(both)]
        write_records(tmp_path / name / "blocks_test.csv", Block, found)
        if name == "a":
            said = compare(capsys, *runs)
            assert "there is no interval" in said
            assert f"{tmp_path / 'b' / 'blocks_test.csv'} is missing, so blocks are not compared; score that" in said
            assert f"{tmp_path / 'a' / 'blocks_test.csv'} is missing" not in said
    said = compare(capsys, *runs)
    assert "over 3 blocks of 64 × 64 pixels, neighbours taken as independent: they say nothing of other scenes" in said
    assert "IoU ↑\t0.5000\t0.6981\t" in said  # 150 of 300, 185 of 265
    (iou,) = [line.split("\t") for line in said.splitlines() if line.startswith("IoU")]
    assert iou[4].startswith("+0.")
    assert iou[-2:] == ["1", "3"]
    far = [line.split("\t") for line in said.splitlines() if line.startswith("HD95")]
    assert [each[4:7] for each in far] == [["–", "–", "–"]] * 2


def test_two_pairs_of_one_config_are_both_drawn(tmp_path, capsys, monkeypatch):
    drawn = {}
    for name in ("forest", "scatter"):
        monkeypatch.setattr(comparison, name, lambda found, name=name: drawn.update({name: list(found)}) or b"")
    a, b = make(tmp_path / "a", [0.0] * 4), make(tmp_path / "b", [0.1] * 4)
    compare(capsys, a, b, "--pair", b, a)
    assert drawn == {"forest": ["heart 1", "heart 2"], "scatter": ["heart 1", "heart 2"]}


def test_rightly_empty_masks_count_1_unless_asked_otherwise_and_old_tables_obey(tmp_path, capsys):
    """B takes away what A invented in half of the cases; B's table is of an older version, without a score there."""
    a, b = make(tmp_path / "a", [0.0] * 8), make(tmp_path / "b", [0.0] * 8)
    for folder, status, score in ((a, "ref_empty", 0.0), (b, "both_empty", float("nan"))):
        rows = [row(f"case{i}", f"p{i}", "chosen", 0.5) for i in range(4)]
        rows += [replace(row(f"case{i}", f"p{i}", "chosen", 0.5), status=status, dice=score, iou=score,
                         boundary_iou=score, hd95=0.0) for i in range(4, 8)]  # fmt: skip
        write_records(Path(folder) / "cases_test.csv", Row, rows)
    said = compare(capsys, a, b)
    assert "IoU ↑\t0.2500\t0.7500\t+0.5000\t" in said
    assert "invented ↓ (of references without it)\t1.0000\t0.0000\t−1.0000" in said
    assert "missed ↓ (of references with the class)\t0.0000\t0.0000\t+0.0000" in said
    assert "HD95 ↓ (median, both masks exist)\t5.00\t5.00\t+0.00" in said
    assert "masks that are rightly empty score 1 and have no distance" in said
    said = compare(capsys, a, b, "--empty", "nan")
    assert "IoU ↑\t0.5000\t0.5000\t+0.0000" in said
    assert "masks that are rightly empty have no score" in said
    assert "a rightly empty mask cannot score 2; give 0 to 1, or nan" in compare(capsys, a, b, "--empty", "2", code=1)


def test_a_table_without_cases(tmp_path, capsys):
    a, b = make(tmp_path / "a", [0.1] * 4), make(tmp_path / "b", [])
    assert "has a table of scores without any case; score it again" in compare(capsys, a, b, code=1)
