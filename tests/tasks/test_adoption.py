"""A refiner behind the segmenter of another run."""

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from segcgan.cli import main
from segcgan.runs import Run
from tests.tasks.test_adversarial import overlay


def test_folds_segmenter_and_bank_are_taken_over(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--config", str(tiny)]) == 0
    source = Run.find(tiny.parent / "runs" / "tiny")
    assert main(["fit", *overlay(tiny), f"--plan.segmenter_from={source.folder}", "--data.corrupted=0.1"]) == 0
    said = capsys.readouterr().err
    for stage in ("fold-0", "fold-1", "segmenter"):
        assert f"{stage}: finished before, skipped" in said
    run = Run.find(tiny.parent / "runs" / "tiny+gan")
    mine, theirs = (load_file(each.folder / "chain.safetensors") for each in (run, source))
    shared = [name for name in theirs if name.startswith(("segmenter.", "normalisation."))]
    assert shared
    assert all(torch.equal(mine[name], theirs[name]) for name in shared)
    assert sorted(p.name for p in (run.folder / "bank").iterdir()) == sorted(
        p.name for p in (source.folder / "bank").iterdir()
    )
    assert run.facts["segmenter_from"] == str(source.folder)
    assert (run.folder / "cases_val.csv").is_file()


def test_a_segmenter_trained_with_folds_serves_a_refiner_that_needs_none(tiny: Path) -> None:
    assert main(["fit", "--config", str(tiny)]) == 0
    source = Run.find(tiny.parent / "runs" / "tiny")
    assert main(["fit", *overlay(tiny), f"--plan.segmenter_from={source.folder}", "--plan.folds=0"]) == 0
    run = Run.find(tiny.parent / "runs" / "tiny+gan")
    assert sorted(path.stem for path in (run.folder / "stages").iterdir()) == ["chain", "refiner", "segmenter"]


def test_settings_that_teach_a_segmenter_nothing_may_differ(tiny: Path) -> None:
    """Colours, and settings with their default that a run of an older version does not list."""
    assert main(["fit", "--config", str(tiny), "--plan.folds=0"]) == 0
    source = Run.find(tiny.parent / "runs" / "tiny")
    config = yaml.safe_load((source.folder / "config.yaml").read_text())
    assert config["data"]["images"].pop("label_column") is None
    (source.folder / "config.yaml").write_text(yaml.safe_dump(config))
    content = yaml.safe_load(tiny.read_text())
    content["data"]["classes"][1] |= {"colour": "#112233", "snomed": "10200004|Liver"}
    other = tiny.with_name("other.yaml")
    other.write_text(yaml.safe_dump(content))
    assert main(["fit", "--config", str(other), "--plan.folds=0", f"--plan.segmenter_from={source.folder}"]) == 0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--seed_everything=9"], "was trained with another seed_everything; use the same, or train a segmenter"),
        (["--data.sampling.patch=[16,16]"], "was trained with another data; use the same"),
        (["--model.segmenter.padding=same"], "was trained with another model.segmenter"),
        (["--model.regularisers=[{class_path: segcgan.regularisers.Entropy}]"], "with another model.regularisers"),
        (["--model.adversary.trains=segmenter"], "was trained with another model.adversary"),
        (["--plan.joint=true", "--plan.folds=0"], "plan.segmenter_from does not go with plan.joint"),
        (["--plan.folds=3"], "has not finished fold-2; train it to its end"),
        (["--plan.segmenter_from=nowhere"], "nowhere is no run"),
    ],
)
def test_what_does_not_fit_is_refused(tiny: Path, capsys: pytest.CaptureFixture[str], more, said) -> None:
    assert main(["fit", "--config", str(tiny), "--plan.refiner_epochs=1"]) == 0
    source = Run.find(tiny.parent / "runs" / "tiny")
    assert main(["fit", *overlay(tiny), f"--plan.segmenter_from={source.folder}", *more]) == 1
    assert said in capsys.readouterr().err.splitlines()[-1]
