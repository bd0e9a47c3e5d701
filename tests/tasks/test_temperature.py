"""Temperatures come from cases of their own and change probabilities, not masks."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from segcgan.cli import main
from segcgan.data.module import Images, SegmentationData
from segcgan.inference.engine import predict_case
from segcgan.inference.store import MemoryStore
from segcgan.runs import Run, load
from segcgan.tasks.temperature import fit_temperatures


def with_spare_cases(tiny: Path) -> list[str]:
    splits = ["train"] * 4 + ["val"] * 1 + ["calibrate"] * 2 + ["test"]
    lines = [f"d{i},images/disc_{i}.png,masks/disc_{i}.png,{split}" for i, split in enumerate(splits)]
    (tiny.parent / "data" / "m.csv").write_text("\n".join(["case,image,mask,split", *lines]))
    return ["fit", "--config", str(tiny), "--data.images.manifest=m.csv"]


def test_they_travel_with_the_run(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(with_spare_cases(tiny)) == 0
    assert "temperatures, fitted on 2 cases that serve nothing else: coarse " in capsys.readouterr().err
    run = Run.find(tiny.parent / "runs" / "tiny")
    stored = json.loads((run.folder / "chain.json").read_text())["temperatures"]
    assert sorted(stored) == ["coarse", "refined"]
    assert load(run.folder).temperatures == stored
    with (run.folder / "splits.csv").open() as stream:
        spare = {row["case"] for row in csv.DictReader(stream) if row["split"] == "calibrate"}
    assert spare == {"d5", "d6"}
    assert not {path.stem for path in (run.folder / "bank").glob("*")} & spare  # no refiner has met them
    with (run.folder / "cases_val.csv").open() as stream:
        assert {row["case"] for row in csv.DictReader(stream)} == {"d4"}


def test_a_network_that_is_too_sure_is_cooled_and_its_masks_stay(tiny: Path) -> None:
    assert main(with_spare_cases(tiny)) == 0
    chain = load(Run.find(tiny.parent / "runs" / "tiny").folder)
    chain.temperatures = {}
    with torch.no_grad():
        for parameter in chain.segmenter.parameters():
            parameter.mul_(6)  # the same masks, far too sure of themselves
    data = SegmentationData(Images(str(tiny.parent / "data"), manifest="m.csv"), chain.classes, chain.sampling)
    data.setup()
    before = predict_case(data.split("test")[0], chain, MemoryStore())
    chain.temperatures = fit_temperatures(chain, data.split("calibrate"), 1, 0)
    assert chain.temperatures["coarse"] > 1.5
    after = predict_case(data.split("test")[0], chain, MemoryStore())
    whole = after.case.whole
    for name in ("coarse", "refined"):
        assert np.array_equal(before.read(name, whole), after.read(name, whole))
    sure = [outcome.read("p_coarse", whole).max(0).mean() for outcome in (before, after)]
    assert sure[1] < sure[0]
