"""Numbers that make no sense are one sentence, before anything is written."""

from pathlib import Path

import pytest

from segcgan.cli import main


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("--model.lr=-1", "model.lr is -1.0; it must be at least 0"),
        ("--model.samples=0", "model.samples is 0; it must be at least 1"),
        ("--model.average=1.5", "model.average is 1.5; a decay lies between 0 and 1, e.g. 0.99"),
        ("--data.sampling.batch_size=0", "data.sampling.batch_size is 0; it must be at least 1"),
        ("--data.sampling.steps=0", "data.sampling.steps is 0; it must be at least 1"),
        ("--data.corrupted=2", "data.corrupted is 2.0; it is a share and must lie between 0 and 1"),
        ("--plan.segmenter_epochs=0", "plan.segmenter_epochs is 0; it must be at least 1"),
        ("--plan.refiner_epochs=-1", "plan.refiner_epochs is -1; it must be at least 0"),
        ("--model.refiner.width=-1", "refiner width is -1; it must be at least 1"),
        ("--model.refiner.boundary_weight=-5", "refiner boundary_weight is -5.0; it must be at least 0"),
        ("--trainer.precision=64", "trainer.precision is 64, in which cases are not scored; give 32-true, bf16-mixed"),
    ],
)
def test_they_are_refused(tiny: Path, capsys: pytest.CaptureFixture[str], word: str, said: str) -> None:
    assert main(["fit", "--config", str(tiny), word]) == 1
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert not (tiny.parent / "runs").exists()
