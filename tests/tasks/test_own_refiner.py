"""A refiner written by a stranger: one file, two methods, named in the config."""

import csv
from pathlib import Path

import pytest

from segcgan.cli import main

SOURCE = '''
import torch
from torch import nn
from segcgan.losses import cross_entropy
from segcgan.refiners import Refiner


class ShiftRefiner(Refiner):
    """Learns one bias per class; draws a noisy sample."""

    reach = 0
    stochastic = True

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(classes, 1, 1))

    def training_loss(self, batch, noise):
        logits = self.refine(batch, noise)
        return {"ce": cross_entropy(logits, batch.target, batch.scored)}, logits

    def refine(self, batch, noise):
        z = noise.normal("z", len(self.bias), tuple(batch.image.shape[2:]))
        return batch.coarse.clamp(1e-3, 1).log() + self.bias + 0.1 * z
'''


def test_one_file_is_enough(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tiny.parent / "shift_refiner.py").write_text(SOURCE)
    monkeypatch.chdir(tiny.parent)
    text = tiny.read_text()
    start = text.index("  refiner:")
    end = text.index("  segmenter:") if text.index("  segmenter:") > start else text.index("plan:")
    part = "  refiner: {class_path: shift_refiner.ShiftRefiner, init_args: {classes: 2}}\n"
    tiny.write_text(text[:start] + part + text[end:])
    assert main(["fit", "--config", str(tiny)]) == 0
    assert main(["test", "--config", str(tiny)]) == 0

    words = ["predict", "-i", "data/images", "-o", "masks", "-m", "runs/tiny/latest"]
    assert main(words) == 1
    assert "set SEGCGAN_TRUST=shift_refiner" in capsys.readouterr().err
    monkeypatch.setenv("SEGCGAN_TRUST", "shift_refiner")
    assert main(words) == 0
    with (tiny.parent / "masks" / "predictions.csv").open() as stream:
        assert [row["status"] for row in csv.DictReader(stream)] == ["ok"] * 8
