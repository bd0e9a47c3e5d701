"""The report of a run folder says what validation chose."""

import json
from pathlib import Path

from segcgan.metrics.cases import Row
from segcgan.metrics.records import write_records
from segcgan.report.page import write_run_report


def test_thresholds_and_who_chose_them_are_shown(tmp_path: Path) -> None:
    row = Row("a", "a", "coarse", "liver", "ok", 0.5, 0.4, 0.3, 2.0, 9, 9, "mm", 1.0)
    write_records(tmp_path / "cases_val.csv", Row, [row])
    table = [["metric", "coarse"], [["Dice ↑ (mean of cases)", "0.5000"]]]
    (tmp_path / "scores_val.json").write_text(json.dumps({"table": table, "accepted": 0, "cases": 1}))
    facts = {"name": "tiny", "thresholds": {"coarse liver": "0.20 (mean Dice of 6 validation groups 0.5 to 0.7)"}}
    (tmp_path / "run.json").write_text(json.dumps(facts))
    page = write_run_report(tmp_path).read_text(encoding="utf-8")
    assert "threshold, coarse liver" in page
    assert "0.20 (mean Dice of 6 validation groups 0.5 to 0.7)" in page
    assert "Validation cases chose epochs, thresholds and gate" in page
