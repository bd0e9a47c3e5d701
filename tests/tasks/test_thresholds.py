"""Thresholds are chosen on validation groups, travel with the run and decide its masks."""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from segcgan.case import Case, Window
from segcgan.cli import main
from segcgan.data.module import Images, SegmentationData
from segcgan.inference.engine import predict_case
from segcgan.inference.store import MemoryStore
from segcgan.runs import Run, load
from segcgan.tasks import evaluation
from segcgan.tasks.temperature import fit_temperatures
from segcgan.tasks.thresholds import fit_thresholds
from tests.inference.conftest import make_chain


def trained(tiny: Path) -> Run:
    splits = ["train"] * 2 + ["val"] * 5 + ["test"]
    lines = [f"d{i},images/disc_{i}.png,masks/disc_{i}.png,{split}" for i, split in enumerate(splits)]
    (tiny.parent / "data" / "m.csv").write_text("\n".join(["case,image,mask,split", *lines]))
    assert main(["fit", "--config", str(tiny), "--data.images.manifest=m.csv"]) == 0
    return Run.find(tiny.parent / "runs" / "tiny")


def test_they_travel_with_the_run(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = trained(tiny)
    assert "threshold, coarse disc: " in capsys.readouterr().err
    assert sorted(run.facts["thresholds"]) == ["coarse disc", "refined disc"]
    stored = json.loads((run.folder / "chain.json").read_text())["thresholds"]
    assert sorted(stored) == ["coarse", "refined"]
    assert load(run.folder).thresholds == stored


def test_a_network_that_is_too_shy_gets_a_lower_threshold_and_better_masks(tiny: Path) -> None:
    chain = load(trained(tiny).folder)
    chain.thresholds, chain.temperatures, chain.refiner, chain.gate = {}, {}, None, None
    with torch.no_grad():
        chain.segmenter.bias[1] -= 4  # the same order of pixels, hardly any above 0.5
    data = SegmentationData(Images(str(tiny.parent / "data"), manifest="m.csv"), chain.classes, chain.sampling)
    data.setup()
    found = fit_thresholds(chain, data.split("val"), 1, 0)["coarse"]["disc"]
    assert found.value < 0.5
    assert found.bound > 0
    case = data.split("test")[0]
    before = predict_case(case, chain, MemoryStore()).read("coarse", case.whole)
    chain.thresholds = {"coarse": [found.value]}
    outcome = predict_case(case, chain, MemoryStore())
    after, probability = outcome.read("coarse", case.whole), outcome.read("p_coarse", case.whole)[1] / 254
    assert np.count_nonzero(after) > np.count_nonzero(before)
    clear = np.abs(probability - found.value) > 1 / 254
    assert np.array_equal((after == 1)[clear], (probability > found.value)[clear])


def shy(case: Case, window: Window) -> np.ndarray:
    """Probabilities of 0.3 on every disc: those of a segmenter would want a threshold below."""
    p = np.where(case.read_reference(window) == 1, 0.3, 0.02).astype(np.float32)
    return np.stack([1 - p, p])


def test_masks_of_somebody_else_choose_nothing_for_the_segmenter(tiny: Path) -> None:
    chain = load(trained(tiny).folder)
    chain.thresholds, chain.temperatures, chain.gate = {}, {}, None
    data = SegmentationData(Images(str(tiny.parent / "data"), manifest="m.csv"), chain.classes, chain.sampling)
    data.setup()
    cases = data.split("val")
    for case in cases:
        case.coarse = partial(shy, case)
    found = fit_thresholds(chain, cases, 1, 0)
    assert str(found["coarse"]["disc"]) == "0.5 (0 validation group(s), 4 are needed to choose another)"
    assert found["refined"]["disc"].groups == 5
    assert list(fit_temperatures(chain, cases, 1, 0)) == ["refined"]


def test_they_are_chosen_where_the_trainer_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else all validation cases would be predicted on the CPU, beside an idle GPU."""
    seen = []
    monkeypatch.setattr(evaluation, "fit_thresholds", lambda chain, *_: seen.append(chain.device.type) or {})
    chain = make_chain()
    trainer = SimpleNamespace(
        precision="32-true", global_rank=1, strategy=SimpleNamespace(root_device=torch.device("meta"))
    )
    data = SimpleNamespace(split=lambda name: [], seed=0)
    model = SimpleNamespace(chain_for=lambda data, precision: chain, samples=1)
    evaluation._choose_thresholds(SimpleNamespace(model=model, datamodule=data, trainer=trainer), None)
    assert seen == ["meta"]
