"""The table of benchmarks/refiners.py, from runs that were scored and from scores that were kept."""

import json
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segcgan.atomic import write_text
from segcgan.metrics import statistics
from segcgan.metrics.blocks import Block
from segcgan.metrics.cases import Row
from segcgan.metrics.records import write_records

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
RUNS = {"segmenter/tiny": 0.0, "longer/tiny": 0.05}
REFINERS = {"residual": 0.02, "cgan": -0.01, "vae": 0.0}
OVERLAY = "model: {{refiner: {{class_path: segcgan.refiners.{0}, init_args: {{width: {1}}}}}}}"


@pytest.fixture
def modules(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("kept", "scored", "summary", "tables"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import kept
    import scored
    import summary

    monkeypatch.setattr(statistics, "RESAMPLES", 2000)
    monkeypatch.setattr(statistics, "_MEDIANS", 500)
    (tmp_path / "configs" / "refiners").mkdir(parents=True)
    (tmp_path / "configs" / "tiny.yaml").write_text("model: {lr: 1}\ndata: {boundary: 2}\n")
    for name in kept.OVERLAYS.values():
        (tmp_path / "configs" / "refiners" / f"{name}.yaml").write_text(OVERLAY.format(name, 8))
    monkeypatch.setattr(kept, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(kept, "CONFIGS", tmp_path / "configs")
    monkeypatch.setattr(summary, "RESULTS", tmp_path / "results")
    return summary, scored, kept


def rows(base: float, gain: float, groups: int) -> list[Row]:
    """Eight cases; coarse masks score ``base`` and others ``gain`` more."""
    found = []
    for index in range(8):
        for variant, more in (("coarse", 0.0), ("refined", gain), ("chosen", gain / 2)):
            score = base + 0.01 * index + more
            found.append(Row(f"c{index}", f"g{index % groups}", variant, "x", "ok", score, score, score / 2, 9 - score,
                             9, 9, "mm", 2.0))  # fmt: skip
    return found


def make(kept, runs: Path, seed: int, groups: int) -> None:
    place = runs / f"seed_{seed}"
    behind = {f"{name}_{kept.own_digest(name)}/tiny+{name}": gain for name, gain in REFINERS.items()}
    for name, gain in (RUNS | behind).items():
        run = place / name / "2026-01-01_00-00-00"
        (run / "stages").mkdir(parents=True)
        (run / "stages" / "chain.json").write_text("{}")
        base = 0.5 + 0.1 * seed + (gain if name.startswith("longer") else 0)
        write_records(run / "cases_test.csv", Row, rows(base, gain, groups))
        spreads = [["GED² ↓ (samples)", "0.75", "0.25", "0.5"], ["diversity of samples", "–", "0.5", "0.5"]]
        table = [["metric", "coarse", "refined", "chosen"], spreads]
        write_text(run / "scores_test.json", json.dumps({"table": table}))
        counts = [Block("c0", v, "x", 0, 64 * i, 50 + 10 * (v != "coarse") + i, 150, 20, 75)
                  for v in ("coarse", "refined", "chosen") for i in range(5)]  # fmt: skip
        write_records(run / "blocks_test.csv", Block, counts)
    (place / "second" / "tiny" / "2026-01-01_00-00-00" / "stages").mkdir(parents=True)
    (place / "second" / "tiny" / "2026-01-01_00-00-00" / "stages" / "chain.json").write_text("{}")
    for name in ("mean_of_two", "post_processed"):
        write_records(place / f"cases_{name}.csv", Row, rows(0.51 + 0.1 * seed, 0, groups))
        write_records(place / f"blocks_{name}.csv", Block, [])
    write_text(place / "thresholds.json", json.dumps({"ged2": 0.5, "diversity": 0.25}))


def table(summary, scored, kept, runs: Path, seeds: list[int]) -> dict:
    scored.harvest("tiny", seeds, runs, kept.base_digest(["tiny"], []))
    return summary.write_table("tiny", costs={"residual": 1.1})


def test_seeds_are_averaged_and_compared_and_kept_scores_give_the_same_table(modules, tmp_path, capsys):
    summary, _, kept = modules
    for seed in (0, 1):
        make(kept, tmp_path / "runs", seed, groups=4)
    found = {row["row"]: row for row in table(*modules, tmp_path / "runs", [0, 1])["rows"]}
    shown = capsys.readouterr().out
    assert list(found)[:2] == ["segmenter, thresholds", "segmenter"]
    assert len(found) == 11
    assert found["segmenter"]["dice"]["by seed"] == pytest.approx([0.535, 0.635])
    gain = found["+ residual, gate"]["dice"]["minus segmenter"]
    assert (gain["mean"], gain["units"]) == (pytest.approx(0.01), 4)
    assert found["+ cGAN, no gate"]["boundary_iou"]["minus trained longer"]["mean"] == pytest.approx(-0.03)
    for base in ("mean of two", "post-processed"):
        ours, others = (found[name]["dice"]["mean"] for name in ("+ residual, no gate", base))
        assert found["+ residual, no gate"]["dice"][f"minus {base}"]["mean"] == pytest.approx(ours - others)
    spreads = {name: row["ged2"]["mean"] for name, row in found.items() if "ged2" in row}
    names = ("segmenter", "segmenter, thresholds", "+ VAE, no gate", "+ VAE, gate")
    assert [spreads[name] for name in names] == [0.75, 0.5, 0.25, 0.5]
    assert "diversity" not in found["segmenter"]
    today = time.strftime("%Y-%m-%d")
    assert f"| + residual, no gate | {today} | 2 | 0.605 |" in shown
    assert not any(row["older config"] for row in found.values())
    assert len(list(kept.KEPT.glob(f"tiny_*_{today}_seed_?.csv"))) == 2 * 4
    shutil.rmtree(tmp_path / "runs")
    again = {row["row"]: row for row in table(*modules, tmp_path / "runs", [0, 1])["rows"]}
    assert list(again) == list(found)
    for name, row in found.items():
        for score in ("dice", "hd95", "hd95_median"):
            np.testing.assert_allclose(row[score]["by seed"], again[name][score]["by seed"], rtol=1e-4)
    with pytest.raises(SystemExit, match="no scores of other are kept yet"):
        summary.write_table("other")


@pytest.mark.parametrize(
    ("changed", "older"),
    [
        ("refiners/cgan", {"+ cGAN, no gate", "+ cGAN, gate"}),
        ("refiners/residual", {"+ residual, no gate", "+ residual, gate"}),
        ("tiny", None),
    ],
)
def test_a_changed_config_marks_the_rows_that_use_it_and_no_other(modules, tmp_path, changed, older, capsys):
    _, _, kept = modules
    make(kept, tmp_path / "runs", 0, groups=4)
    before = table(*modules, tmp_path / "runs", [0])["rows"]
    path = tmp_path / "configs" / f"{changed}.yaml"
    path.write_text(path.read_text() + "# a comment changes nothing\n")
    assert [row["row"] for row in table(*modules, tmp_path / "gone", [0])["rows"]] == [row["row"] for row in before]
    path.write_text(path.read_text().replace("width: 8", "width: 9").replace("lr: 1", "lr: 2"))
    after = table(*modules, tmp_path / "gone", [0])["rows"]
    mine = older or {row["row"] for row in before}
    assert {row["row"] for row in after if row["older config"]} == {f"{name} (older config)" for name in mine}
    assert len(after) == len(before)
    values = {row["row"].removesuffix(" (older config)"): row for row in after}
    for row in before:  # the scores are those of then, and so is what they are compared with
        for score in ("dice", "boundary_iou"):
            assert values[row["row"]][score] == row[score]
    assert "+ cGAN, no gate (older config) |" in capsys.readouterr().out or "residual" in changed


def test_rows_of_today_and_of_then_stand_side_by_side(modules, tmp_path):
    """Only the segmenter was trained again: of what was made then it is compared with itself alone."""
    _, _, kept = modules
    make(kept, tmp_path / "runs", 0, groups=4)
    table(*modules, tmp_path / "runs", [0])
    (tmp_path / "configs" / "tiny.yaml").write_text("model: {lr: 3}\ndata: {boundary: 2}\n")
    make(kept, tmp_path / "new", 0, groups=4)
    for name in ("longer", "second", *(f"{each}_{kept.own_digest(each)}" for each in REFINERS)):
        shutil.rmtree(tmp_path / "new" / "seed_0" / name)
    (tmp_path / "new" / "seed_0" / "cases_mean_of_two.csv").unlink()
    rows = {row["row"]: row for row in table(*modules, tmp_path / "new", [0])["rows"]}
    assert {name for name in rows if "older" not in name} == {"segmenter, thresholds", "segmenter", "post-processed"}
    assert "trained longer (older config)" in rows
    assert [key for key in rows["segmenter"]["dice"] if key.startswith("minus")] == [
        "minus post-processed", "minus post-processed, left out",
        "minus its older config", "minus its older config, left out"]  # fmt: skip
    assert rows["segmenter"]["config"] != rows["segmenter (older config)"]["config"]


def test_words_on_the_command_line_are_settings_of_their_own(modules, tmp_path):
    summary, _, kept = modules
    base = kept.base_digest(["tiny"], ["--model.lr=7"])
    kept.keep("tiny", (base, "", ""), 0, {"segmenter": rows(0.5, 0, 4)[::3]}, {}, {})
    assert [row["row"] for row in summary.write_table("tiny", base=base)["rows"]] == ["segmenter"]
    assert [row["row"] for row in summary.write_table("tiny")["rows"]] == ["segmenter (older config)"]


def test_scores_that_are_kept_again_replace_those_of_the_same_settings(modules, tmp_path):
    _, _, kept = modules
    for date in ("2026-01-01", "2026-01-02"):
        kept.keep("tiny", ("0" * 8, "", ""), 0, {"segmenter": rows(0.5, 0, 4)[:1]}, {}, {}, date)
    assert [path.name for path in kept.KEPT.iterdir()] == ["tiny_00000000_2026-01-02_seed_0.csv"]


def test_rightly_empty_masks_count_1_and_the_old_rule_stands_beside_it(modules, tmp_path):
    """Of ten cases nine are shown to be equal; B rightly says nothing where A invents something."""
    summary, _, kept = modules
    base = kept.base_digest(["tiny"], [])
    found = {}
    empties = ("trained longer", "ref_empty", 0.0), ("+ residual, no gate", "both_empty", float("nan"))
    for name, status, score in empties:
        same = [replace(row, variant=name) for row in rows(0.5, 0, 4) if row.variant == "coarse"]
        odd = replace(same[0], case="odd", status=status, dice=score, iou=score, boundary_iou=score, hd95=90.0)
        found[name] = [*same, odd]
    kept.keep("tiny", (base, "", ""), 0, {"trained longer": found["trained longer"]}, {}, {})
    own = kept.own_digest("residual")
    kept.keep("tiny", (base, "residual", own), 0, {"+ residual, no gate": found["+ residual, no gate"]}, {}, {})
    lines = {row["row"]: row for row in summary.write_table("tiny")["rows"]}
    longer, residual = lines["trained longer"], lines["+ residual, no gate"]
    assert residual["dice"]["minus trained longer"]["mean"] == pytest.approx(1 / 9)
    assert residual["dice"]["minus trained longer, left out"]["mean"] == 0
    assert residual["dice"]["mean"] - longer["dice"]["mean"] == pytest.approx(1 / 9)
    assert (longer["invented"]["mean"], residual["invented"]["mean"], residual["missed"]["mean"]) == (1, 0, 0)
    assert longer["hd95"]["mean"] == residual["hd95"]["mean"] < 9  # the odd case has no distance in one of them
    assert longer["hd95_median"]["mean"] == residual["hd95_median"]["mean"]


def test_the_segmenter_of_the_next_seed_is_the_second_of_the_mean_of_two(modules, tmp_path):
    _, scored, kept = modules
    for seed in (0, 1):
        make(kept, tmp_path, seed, groups=4)
        shutil.rmtree(tmp_path / f"seed_{seed}" / "second")
    here, following = tmp_path / "seed_0", tmp_path / "seed_1"
    assert scored.other_rows(here, "tiny", following).keys() == {"mean of two", "post-processed"}
    assert scored.other_rows(here, "tiny", here).keys() == {"post-processed"}
    assert scored.other_rows(tmp_path / "seed_2", "tiny", here) == {}


def test_settings_of_several_configs_are_told_apart(modules):
    *_, kept = modules
    names = ["tiny", "refiners/cgan", "refiners/vae"]
    assert len({kept.base_digest(names[:count], extra) for count in (1, 2, 3) for extra in ([], ["--model.lr=1"])}) == 6
    assert kept.own_digest("cgan") != kept.own_digest("vae")


def test_a_single_scene_is_compared_by_blocks(modules, tmp_path):
    make(modules[2], tmp_path / "runs", 0, groups=1)
    for place in ("runs", "gone"):
        table(*modules, tmp_path / place, [0])
        facts = json.loads((tmp_path / "results" / "refiners_tiny.json").read_text())
        assert "over blocks" in facts["interval"]
        (row,) = [row for row in facts["rows"] if row["row"] == "+ residual, no gate"]
        assert row["dice"]["minus segmenter"]["units"] == 5
        assert row["dice"]["minus segmenter"]["mean"] == pytest.approx(2 * 310 / 750 - 2 * 260 / 750)


def test_a_single_volume_has_no_blocks_and_no_interval(modules, tmp_path):
    _, _, kept = modules
    make(kept, tmp_path / "runs", 0, groups=1)
    for path in (tmp_path / "runs").rglob("blocks_test.csv"):
        write_records(path, Block, [])
    for place in ("runs", "gone"):
        table(*modules, tmp_path / place, [0])
        facts = json.loads((tmp_path / "results" / "refiners_tiny.json").read_text())
        assert facts["interval"] == "none: a single volume"
        assert "minus segmenter" not in facts["rows"][1]["dice"]
    assert not list(kept.KEPT.glob("*.blocks.csv"))
