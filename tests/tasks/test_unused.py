"""Runs are trained and stored without the parts of a segmenter that nothing needs."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from segcgan.cli import main
from segcgan.runs import Run, load

UNET = {
    "encoder_name": "resnet18", "encoder_weights": None, "encoder_depth": 4, "decoder_channels": [16, 8, 8, 8],
    "in_channels": 1, "classes": 2,
}  # fmt: skip


def yaml_of(value: Any) -> str:
    """Words go without quotes: not every jsonargparse takes these off."""
    return value if isinstance(value, str) else json.dumps(value)


@pytest.fixture
def unet(tiny: Path) -> list[str]:
    words = ["--model.segmenter.class_path=segmentation_models_pytorch.Unet", "--plan.folds=0"]
    words += [f"--model.segmenter.init_args.{key}={yaml_of(value)}" for key, value in UNET.items()]
    few = ["--plan.segmenter_epochs=1", "--plan.refiner_epochs=1"]
    return ["--config", str(tiny), *words, *few]


def test_a_run_is_trained_and_stored_without_them(tiny: Path, unet: list[str], capsys: pytest.CaptureFixture) -> None:
    assert main(["fit", *unet]) == 0
    shown = capsys.readouterr().err
    assert "segmenter: 8.39 of 11." in shown
    assert "are left out (encoder.layer4)" in shown
    run = Run.find(tiny.parent / "runs" / "tiny")
    assert not [key for key in load_file(run.folder / "chain.safetensors") if "layer4" in key]
    chain = load(run.folder)
    assert isinstance(chain.segmenter.encoder.layer4, nn.Identity)
    assert main(["test", *unet]) == 0
    assert main(["fit", *unet, f"--plan.segmenter_from={run.folder}"]) == 0  # another refiner behind it


def test_a_segmenter_of_an_older_run_that_still_has_them_is_taken_over(tiny: Path, unet: list[str]) -> None:
    assert main(["fit", *unet]) == 0
    run = Run.find(tiny.parent / "runs" / "tiny")
    weights = load_file(run.weights("segmenter"))
    save_file(weights | {"encoder.layer4.0.conv1.weight": torch.zeros(512, 256, 3, 3)}, run.weights("segmenter"))
    assert main(["fit", *unet, f"--plan.segmenter_from={run.folder}"]) == 0
