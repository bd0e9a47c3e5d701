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
        ("--trainer.max_epochs=3", "trainer.max_epochs is 3, but the plan has epochs of its own; set plan"),
        ("--trainer.check_val_every_n_epoch=0", "trainer.check_val_every_n_epoch is 0, but validation chooses weights"),
        ("--trainer.limit_val_batches=0", "trainer.limit_val_batches is 0, but validation chooses weights and gate"),
        ("--trainer.fast_dev_run=true", "trainer.fast_dev_run is True and keeps no weights; set data.sampling.steps"),
        ("--trainer.accelerator=gpu", "the config cannot be used: No supported gpu backend found!"),
        ("--trainer.devices=0", "the config cannot be used: "),
        ("--data.images.test=-0.5", "data.images.test is -0.5; it must be at least 0"),
        ("--data.images.spacing=[1,1]", "data.images.spacing is [1.0, 1.0]; give [slice, row, column], all above 0"),
        ("--data.sampling.spacing=[0,0]", "data.sampling.spacing is 0.0; it must be at least 1e-06"),
        ("--data.sampling.patch=[-32,32]", "data.sampling.patch is -32; it must be at least 1"),
        ("--data.intensity.percentiles=[0,150]", "data.intensity.percentiles is [0.0, 150.0]; they lie between 0 and"),
        ("--model.refiner.width=-1", "refiner width is -1; it must be at least 1"),
        ("--model.refiner.boundary_weight=-5", "refiner boundary_weight is -5.0; it must be at least 0"),
        ("--trainer.precision=64", "trainer.precision is 64, in which cases are not scored; give 32-true, bf16-mixed"),
    ],
)
def test_they_are_refused(tiny: Path, capsys: pytest.CaptureFixture[str], word: str, said: str) -> None:
    assert main(["fit", "--config", str(tiny), word]) == 1
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert not (tiny.parent / "runs").exists()


def test_what_shows_once_it_meets_the_data_is_a_sentence_too(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--config", str(tiny), "--trainer.limit_val_batches=0.1"]) == 1
    assert "the config cannot be used: You requested to check 0.1 of" in capsys.readouterr().err.splitlines()[-1]
