"""``segcgan compare`` on hand-written run folders."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from segcgan.cli import main
from segcgan.metrics.cases import Row, write_rows
from segcgan.metrics.objects import Object, write_objects


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
    write_rows(folder / "cases_test.csv", rows)
    if objects:
        write_objects(folder / "objects_test.csv", found)
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
    assert "only 4 patients or scenes: take the intervals as a hint" in said
    content = json.loads((tmp_path / "a" / "compare" / "compare.json").read_text())
    assert content[0]["variants"] == ["coarse", "chosen"]
    assert content[0]["differences"][0]["groups"] == 4
    assert (tmp_path / "a" / "compare" / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_several_seeds_and_several_data_sets(tmp_path, capsys):
    a, b, c = (make(tmp_path / name, gains) for name, gains in (("a", [0.0] * 4), ("b", [0.1] * 4), ("c", [0.3] * 4)))
    said = compare(capsys, a, f"{b},{c}", "--pair", a, b, "-o", str(tmp_path / "out"))
    assert "heart\tIoU ↑\t0.5000\t0.7000\t+0.2000\t" in said  # the mean over both seeds
    assert "heart\tIoU ↑\t0.5000\t0.6000\t+0.1000\t" in said
    assert len(json.loads((tmp_path / "out" / "compare.json").read_text())) == 2


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
