import json
import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "metrics.py"


def run(monkeypatch, output, rounds):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--size", "12", "40", "40", "--rounds", str(rounds),
                                      "--output", str(output)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    return json.loads(output.read_text())


def test_everybody_agrees_and_rounds_are_kept(tmp_path, monkeypatch, capsys):
    pytest.importorskip("surface_distance")
    first = run(monkeypatch, tmp_path / "scores.json", 1)
    assert set(first["rounds"]) == {"organ, good mask", "organ, poor mask", "small lesion", "blobs everywhere"}
    again = run(monkeypatch, tmp_path / "scores.json", 2)
    for name, rounds in again["rounds"].items():
        assert len(rounds) == 2
        assert rounds[:1] == first["rounds"][name]
        assert again["summary"][name]["MONAI / segcgan, voxels"] > 0
    assert "small lesion" in capsys.readouterr().out
