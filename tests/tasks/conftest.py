"""A task small enough to be trained in a test: discs in noise, a norm-free network."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from segcgan.tasks.segmentation import SegmentationTask


def write_discs(root: Path, count: int = 8, size: int = 40) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for index in range(count):
        centre, radius = rng.uniform(14, size - 14, 2), rng.uniform(5, 10)
        disc = np.hypot(y - centre[0], x - centre[1]) < radius
        image = 80 + 60 * disc + rng.normal(0, 15, disc.shape)
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / "images" / f"disc_{index}.png")
        Image.fromarray(disc.astype(np.uint8)).save(root / "masks" / f"disc_{index}.png")


@contextmanager
def interrupted(stage: str) -> Iterator[None]:
    """Stop training, as Ctrl-C does, at the fifth step of a stage."""
    original, calls = SegmentationTask.training_step, []

    def breaking(self: SegmentationTask, batch: object, index: int) -> torch.Tensor | None:
        calls.append(self.stage)
        if calls.count(stage) == 5:  # in the middle of its second epoch
            raise KeyboardInterrupt
        return original(self, batch, index)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SegmentationTask, "training_step", breaking)
        yield


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A config file; data beside it, runs below ``runs``."""
    write_discs(tmp_path / "data")
    config = {
        "seed_everything": 3,
        "plan": {
            "folds": 2, "fold_epochs": 1, "segmenter_epochs": 3, "refiner_epochs": 2, "runs": str(tmp_path / "runs")
        },
        "model": {
            "segmenter": {
                "class_path": "torch.nn.Conv2d",
                "init_args": {"in_channels": 1, "out_channels": 2, "kernel_size": 5, "padding": 2},
            },
            "refiner": {
                "class_path": "segcgan.refiners.ResidualRefiner",
                "init_args": {"channels": 1, "classes": 2, "width": 4, "levels": 2},
            },
            "gate": {"class_path": "segcgan.gates.AgreementGate"},
            "lr": 0.01,
        },
        "data": {
            "images": {"root": str(tmp_path / "data")},
            "classes": [{"name": "background", "values": [0]}, {"name": "disc", "values": [1]}],
            "sampling": {"patch": [32, 32], "batch_size": 4, "steps": 3},
        },
        "trainer": {"accelerator": "cpu", "devices": 1},
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(config))
    return path
