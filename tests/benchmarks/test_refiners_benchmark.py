"""The table of benchmarks/refiners.py, from runs that were scored and from scores that were kept."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from segcgan.atomic import write_text
from segcgan.metrics.blocks import Block
from segcgan.metrics.cases import Row
from segcgan.metrics.records import write_records

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
RUNS = {"refiners/tiny+residual": 0.02, "refiners/tiny+cgan": -0.01, "refiners/tiny+vae": 0.0, "longer/tiny": 0.05}


@pytest.fixture
def modules(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("kept", "scored", "summary"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import kept
    import scored
    import summary

    monkeypatch.setattr(kept, "KEPT", tmp_path / "kept")
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


def make(runs: Path, seed: int, groups: int) -> None:
    place = runs / f"seed_{seed}"
    for name, gain in RUNS.items():
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


def test_seeds_are_averaged_and_compared_and_kept_scores_give_the_same_table(modules, tmp_path, capsys):
    summary, _, kept = modules
    for seed in (0, 1):
        make(tmp_path / "runs", seed, groups=4)
    summary.write_table("tiny", [0, 1], tmp_path / "runs", {"residual": 1.1}, "abc")
    shown = capsys.readouterr().out
    found = {row["row"]: row for row in json.loads((tmp_path / "results" / "refiners_tiny.json").read_text())["rows"]}
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
    assert "| + residual, no gate | 2 | 0.605 |" in shown
    assert len(list(kept.KEPT.glob("tiny_abc_seed_?.csv"))) == 2
    summary.write_table("tiny", [0, 1], tmp_path / "gone", {"residual": 1.1}, "abc")
    again = {row["row"]: row for row in json.loads((tmp_path / "results" / "refiners_tiny.json").read_text())["rows"]}
    for name, row in found.items():
        for score in ("dice", "hd95"):
            np.testing.assert_allclose(row[score]["by seed"], again[name][score]["by seed"], rtol=1e-4)
    with pytest.raises(SystemExit, match="holds no scored run yet"):
        summary.write_table("tiny", [0, 1], tmp_path / "gone", {}, "other settings")


def test_the_segmenter_of_the_next_seed_is_the_second_of_the_mean_of_two(modules, tmp_path):
    _, scored, _ = modules
    for seed in (0, 1):
        make(tmp_path, seed, groups=4)
        shutil.rmtree(tmp_path / f"seed_{seed}" / "second")
    here, following = tmp_path / "seed_0", tmp_path / "seed_1"
    assert scored.other_rows(here, "tiny", following).keys() == {"mean of two", "post-processed"}
    assert scored.other_rows(here, "tiny", here).keys() == {"post-processed"}
    assert scored.other_rows(tmp_path / "seed_2", "tiny", here) == {}


def test_settings_of_several_configs_are_told_apart(modules):
    *_, kept = modules
    names = ["nuclei", "segmenters/segformer", "refiners/vae"]
    assert len({kept.digest(names[:count], extra) for count in (1, 2, 3) for extra in ([], ["--model.lr=1"])}) == 6


def test_a_single_scene_is_compared_by_blocks(modules, tmp_path):
    summary, *_ = modules
    make(tmp_path / "runs", 0, groups=1)
    for place in ("runs", "gone"):
        summary.write_table("tiny", [0], tmp_path / place, {}, "abc")
        facts = json.loads((tmp_path / "results" / "refiners_tiny.json").read_text())
        assert "over blocks" in facts["interval"]
        (row,) = [row for row in facts["rows"] if row["row"] == "+ residual, no gate"]
        assert row["dice"]["minus segmenter"]["units"] == 5
        assert row["dice"]["minus segmenter"]["mean"] == pytest.approx(2 * 310 / 750 - 2 * 260 / 750)


def test_a_single_volume_has_no_blocks_and_no_interval(modules, tmp_path):
    summary, _, kept = modules
    make(tmp_path / "runs", 0, groups=1)
    for path in (tmp_path / "runs").rglob("blocks_test.csv"):
        write_records(path, Block, [])
    for place in ("runs", "gone"):
        summary.write_table("tiny", [0], tmp_path / place, {}, "abc")
        facts = json.loads((tmp_path / "results" / "refiners_tiny.json").read_text())
        assert facts["interval"] == "none: a single volume"
        assert "minus segmenter" not in facts["rows"][1]["dice"]
    assert not list(kept.KEPT.glob("*.blocks.csv"))
