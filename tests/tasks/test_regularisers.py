"""Every regulariser from the config to the chain: what comes first, what stays frozen."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from segcgan.cli import main
from segcgan.runs import Run, load
from tests.tasks.test_adversarial import column, overlay

CONV = {"class_path": "torch.nn.Conv2d", "init_args": {"in_channels": 1, "out_channels": 2, "kernel_size": 1}}
WIDE = {"class_path": "torch.nn.Conv2d", "init_args": {"in_channels": 4, "out_channels": 2, "kernel_size": 1}}
ENCODER = {"class_path": "segcgan.priors.MaskAutoencoder", "init_args": {"classes": 2, "width": 4, "levels": 2}}
VAE = {"class_path": "segcgan.priors.ImageVAE", "init_args": {"channels": 1, "width": 4, "levels": 2, "latent": 3}}


def listed(kind: str, **arguments: Any) -> dict[str, Any]:
    return {"regularisers": [{"class_path": f"segcgan.regularisers.{kind}", "init_args": arguments}]}


def wrapped(kind: str, **arguments: Any) -> dict[str, Any]:
    return {"segmenter": {"class_path": f"segcgan.segmenters.{kind}", "init_args": arguments}}


@pytest.mark.parametrize(
    ("model", "terms", "first"),
    [
        (listed("Entropy"), ["entropy"], False),
        (listed("ShapeLatent", prior=ENCODER), ["shape"], True),
        (wrapped("BoundarySegmenter", network=CONV, channels=1, classes=2), ["edge"], False),
        (wrapped("LatentSegmenter", network=WIDE, prior=VAE), ["image_kl", "image_active_units"], True),
    ],
    ids=["entropy", "shape", "boundary", "latent"],
)
def test_from_config_to_chain(tiny: Path, model: dict[str, Any], terms: list[str], first: bool) -> None:
    assert main(["fit", *overlay(tiny, {"model": model}), "--plan.folds=0", "--plan.prior_epochs=2"]) == 0
    run = Run.find(tiny.parent / "runs" / "tiny+gan")
    for name in terms:
        assert column(run, "segmenter", f"train/{name}"), name
    assert run.finished("prior") is first
    assert load(run.folder).segmenter is not None
    assert main(["test", *overlay(tiny, {"model": model}), "--plan.folds=0", "--plan.prior_epochs=2"]) == 0


def test_a_mask_prior_is_trained_first_and_then_frozen(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from segcgan.tasks.segmentation import SegmentationTask

    seen: dict[str, dict[str, torch.Tensor]] = {}
    original = SegmentationTask.training_step

    def watching(self: SegmentationTask, batch: Any, index: int) -> Any:
        if self.regularisers:
            seen[self.stage] = {k: v.clone() for k, v in self.regularisers[0].prior.state_dict().items()}
        return original(self, batch, index)

    monkeypatch.setattr(SegmentationTask, "training_step", watching)
    words = overlay(tiny, {"model": listed("ShapeLatent", prior=ENCODER)})
    assert main(["fit", *words, "--plan.prior_epochs=3", "--plan.refiner_epochs=0"]) == 0
    stored = load_file(Run.find(tiny.parent / "runs" / "tiny+gan").weights("prior"))
    for name, value in seen["segmenter"].items():  # what the last step of the segmenter met is what stage prior left
        assert torch.equal(value, stored[f"regulariser-0.{name}"])
    assert any(not torch.equal(seen["prior"][name], seen["segmenter"][name]) for name in seen["prior"])


def test_a_prior_needs_epochs(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = overlay(tiny, {"model": listed("ShapeLatent", prior=ENCODER)})
    assert main(["fit", *words, "--plan.prior_epochs=0"]) == 1
    assert "plan.prior_epochs is 0, but the model has a prior; give at least 1" in capsys.readouterr().err
