"""Training against a critic, from the config to the chain: alternating steps, resume, joint, warnings."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from segcgan.batch import Batch
from segcgan.cli import main
from segcgan.critics import Adversary
from segcgan.runs import Run, load
from tests.tasks.conftest import interrupted

GAN = {
    "model": {
        "refiner": {
            "class_path": "segcgan.refiners.AdversarialRefiner", "init_args": {"width": 4, "levels": 2, "draws": 2}
        },
        "adversary": {
            "class_path": "segcgan.critics.Adversary",
            "init_args": {
                "critic": {"class_path": "segcgan.critics.PatchCritic", "init_args": {"width": 4, "layers": 2}},
                "objective": {"kind": "hinge", "r1": 1.0, "every": 2, "feature_matching": 0.1},
                "warmup": 2,
            },
        },
    }
}  # fmt: skip


def overlay(tiny: Path, content: dict[str, Any] = GAN) -> list[str]:
    path = tiny.with_name("gan.yaml")
    path.write_text(yaml.safe_dump(content))
    return ["--config", str(tiny), "--config", str(path)]


def run_of(tiny: Path) -> Run:
    return Run.find(tiny.parent / "runs" / "tiny+gan")


def column(run: Run, stage: str, name: str) -> list[float]:
    with (run.folder / "metrics.csv").open() as stream:
        return [float(line[name]) for line in csv.DictReader(stream) if line["stage"] == stage and line.get(name)]


def test_a_cgan_is_trained_scored_and_loaded(tiny: Path) -> None:
    assert main(["fit", *overlay(tiny)]) == 0
    assert main(["test", *overlay(tiny)]) == 0
    run = run_of(tiny)
    for name in ("critic", "critic_accuracy", "adversarial", "energy", "diversity", "leak", "r1", "matching"):
        assert column(run, "refiner", f"train/{name}"), name
        assert not column(run, "segmenter", f"train/{name}"), name
    chain = load(run.folder)
    assert chain.refiner is not None
    assert chain.refiner.stochastic
    assert not any("critic" in name for name in load_file(run.folder / "chain.safetensors"))


def test_a_critic_of_weight_0_changes_no_step(tiny: Path) -> None:
    """The row that says what a critic is worth: the weights of a run without one, bit for bit."""
    words = [*overlay(tiny), "--plan.folds=0", "--plan.segmenter_epochs=1"]
    weightless = ["--model.adversary.init_args.weight=0", "--model.adversary.init_args.objective.feature_matching=0"]
    assert main(["fit", *words, *weightless, f"--plan.runs={tiny.parent / 'weightless'}"]) == 0
    assert main(["fit", *words, "--model.adversary=null", f"--plan.runs={tiny.parent / 'without'}"]) == 0
    assert main(["fit", *words, f"--plan.runs={tiny.parent / 'with'}"]) == 0
    found = {name: Run.find(tiny.parent / name / "tiny+gan") for name in ("weightless", "without", "with")}
    weights = {name: load_file(run.folder / "chain.safetensors") for name, run in found.items()}
    assert all(torch.equal(value, weights["without"][name]) for name, value in weights["weightless"].items())
    assert any(not torch.equal(value, weights["with"][name]) for name, value in weights["without"].items())
    assert not column(found["weightless"], "refiner", "train/critic")


def test_the_warm_up_knows_how_long_the_training_is(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, seen = Adversary.generator_terms, []

    def noted(self: Adversary, logits: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        found = original(self, logits, batch)
        seen.append("adversarial" in found)
        return found

    monkeypatch.setattr(Adversary, "generator_terms", noted)
    words = [*overlay(tiny), "--plan.folds=0", "--plan.segmenter_epochs=1", "--plan.refiner_epochs=4"]
    words += ["--data.sampling.steps=5", "--model.adversary.init_args.warmup=null"]
    assert main(["fit", *words]) == 0
    assert seen == [False] * 2 + [True] * 18


def test_an_interrupted_game_resumes_to_the_same_weights(tiny: Path) -> None:
    words = overlay(tiny)
    assert main(["fit", *words]) == 0
    straight = load_file(run_of(tiny).folder / "chain.safetensors")
    again = [*words, f"--plan.runs={tiny.parent / 'again'}"]
    with interrupted("refiner"):
        assert main(["fit", *again]) == 130
    assert main(["fit", *again]) == 0
    resumed = load_file(Run.find(tiny.parent / "again" / "tiny+gan").folder / "chain.safetensors")
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_segmenter_and_refiner_learn_together(tiny: Path) -> None:
    assert main(["fit", *overlay(tiny), "--plan.joint=true"]) == 0
    run = run_of(tiny)
    assert sorted(path.stem for path in (run.folder / "stages").glob("*.json")) == ["chain", "joint"]
    assert column(run, "joint", "train/refiner_energy")
    assert column(run, "joint", "train/dice")
    assert {path.stem for path in (run.folder / "weights").glob("*")} == {"segmenter", "refiner"}
    assert load(run.folder).refiner is not None


@pytest.mark.parametrize("kind", ["non-saturating", "least-squares", "wasserstein", "relativistic"])
def test_a_segmenter_too_can_be_trained_against_a_critic(tiny: Path, kind: str) -> None:
    words = [*overlay(tiny), "--model.adversary.init_args.trains=segmenter", "--plan.refiner_epochs=0"]
    words += [f"--model.adversary.objective.kind={kind}", "--plan.segmenter_epochs=2"]
    if kind == "wasserstein":
        words += ["--model.adversary.init_args.objective.gradient_penalty=10"]
    assert main(["fit", *words]) == 0
    assert column(run_of(tiny), "segmenter", "train/adversarial")


def test_a_latent_refiner_is_trained_and_its_units_are_logged(tiny: Path) -> None:
    latent = {"class_path": "segcgan.refiners.LatentRefiner", "init_args": {"width": 4, "levels": 2}}
    assert main(["fit", *overlay(tiny, {"model": {"refiner": latent}})]) == 0
    for name in ("kl", "kl_nats", "active_units"):
        assert column(run_of(tiny), "refiner", f"train/{name}"), name


def test_collapse_is_said_once(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*overlay(tiny), "--model.lr=0", "--model.adversary.init_args.warmup=0", "--plan.folds=0"]
    assert main(["fit", *words]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "mode collapse" in line]
    assert len(said) == 1
    assert said[0].startswith("refiner epoch 1: diversity is 0.000: all samples are equal (mode collapse); raise")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model.adversary.critik=1"], "--model.adversary.critik is unknown; did you mean 'critic'?"),
        (
            ["--model.adversary.init_args.objective.kind=hing"],
            "--model.adversary.init_args.objective.kind is 'hing'; it must be non-saturating or least-squares or",
        ),
        (["--model.adversary.objective.r3=1"], "--model.adversary.objective.r3 is unknown; did you mean"),
        (
            ["--model.adversary=segcgan.critics.PatchCritic"],
            "--model.adversary 'segcgan.critics.PatchCritic' is no Adversary; name a subclass of segcgan.critics",
        ),
        (
            ["--model.adversary.init_args.critic=segcgan.critics.Objective"],
            "--model.adversary.init_args.critic 'segcgan.critics.Objective' is no Module; name a subclass of torch.nn",
        ),
        (["--model.adversary.init_args.weight=-1"], "adversary weight is -1"),
        (
            ["--model.adversary.init_args.objective.r1=-1"],
            "error: the config cannot be used: adversary objective.r1 is -1.0; a weight is at least 0",
        ),
        (["--model.refiner=null"], "model.adversary trains a refiner but there is none; add model.refiner, or let it"),
        (
            ["--trainer.gradient_clip_val=1"],
            "trainer.gradient_clip_val is 1, which does not go with model.adversary; leave it out",
        ),
        (
            ["--model.adversary.init_args.critic.init_args.channels=3"],
            "model.adversary.critic does not fit 32 x 32 windows of 1 channel(s) and 2 classes (",
        ),
        (["--model.refiner.init_args.classes=5"], "model.refiner does not fit 32 x 32 windows"),
    ],
)
def test_a_game_set_up_wrongly_is_one_sentence(tiny: Path, capsys: pytest.CaptureFixture[str], words, said) -> None:
    assert main(["fit", *overlay(tiny), *words]) == 1
    text = capsys.readouterr().err.strip().splitlines()[-1]
    assert said in text
    assert len(text) < 400
    assert not (tiny.parent / "runs").exists()
