"""A run with each regulariser, from the shipped overlay over a tiny config to prediction from its folder."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from segcgan.cli import main
from segcgan.runs import Run, load
from segcgan.segmenters import BoundarySegmenter, LatentSegmenter
from tests.tasks.conftest import interrupted

OVERLAYS = Path(__file__).parents[2] / "configs" / "regularisers"
SMALL = {
    "shape": "{class_path: segcgan.priors.MaskAutoencoder, init_args: {width: 4, levels: 3, latent: 4}}",
    "image_vae": "{class_path: segcgan.priors.ImageVAE, init_args: {width: 4, levels: 3, latent: 2, warmup: 4}}",
}
TERMS = {
    "entropy": {"entropy"},
    "shape": {"shape"},
    "image_vae": {"vae_kl", "vae_reconstruction"},
    "boundary": {"edge_dice", "edge_ce"},
    "adversarial": {"adversarial", "critic"},
}
QUICK = ["--plan.prior_epochs=2", "--plan.folds=0", "--plan.refiner_epochs=0", "--trainer.enable_progress_bar=false"]


def run_of(config: Path, *names: str) -> Run:
    return Run.find(config.parent / "runs" / "+".join([config.stem, *names]))


def command(config: Path, *names: str, more: tuple[str, ...] = ()) -> list[str]:
    """Return the words of the command that trains the config under the overlays of these names."""
    words = ["fit", "--config", str(config)]
    for name in names:
        text = (OVERLAYS / f"{name}.yaml").read_text()
        overlay = yaml.safe_load(text)
        for part in (overlay["model"].get("segmenter"), *overlay["model"].get("regularisers", [])):
            if part and name in SMALL:
                part["init_args"]["prior"] = yaml.safe_load(SMALL[name])
        if name == "adversarial":
            overlay["model"]["adversary"]["init_args"] |= {"warmup": 2}
            overlay["model"]["adversary"]["init_args"]["critic"]["init_args"] |= {"width": 4, "layers": 2}
        path = config.parent / f"{name}.yaml"
        path.write_text(yaml.safe_dump(overlay))
        words += ["--config", str(path)]
    words += [*QUICK, *more]
    return words


def column(run: Run, name: str, stage: str = "segmenter") -> list[float]:
    with (run.folder / "metrics.csv").open() as stream:
        return [float(row[name]) for row in csv.DictReader(stream) if row["stage"] == stage and row.get(name)]


@pytest.mark.parametrize("name", TERMS)
def test_each_regulariser_trains_scores_and_predicts(name: str, tiny: Path) -> None:
    assert main(command(tiny, name)) == 0
    run = run_of(tiny, name)
    for term in TERMS[name]:
        values = column(run, f"train/{term}")
        assert values, term
        assert np.isfinite(values).all()
    assert run.finished("prior") == (name in SMALL)
    assert run.weights("prior").exists() == (name in SMALL)
    chain = load(run.folder)
    assert chain.segmenter is not None
    assert isinstance(chain.segmenter, (LatentSegmenter, BoundarySegmenter)) == (name in ("image_vae", "boundary"))
    # prediction from the folder is what was scored
    images, masks = tiny.parent / "data" / "images", tiny.parent / "masks"
    assert main(["predict", "-i", str(images), "-o", str(masks), "-m", str(run.folder)]) == 0
    with (run.folder / "cases_val.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["variant"] == "coarse"]
    assert rows
    for row in rows:
        reference = np.asarray(Image.open(tiny.parent / "data" / "masks" / f"{row['case']}.png")) > 0
        (path,) = masks.glob(f"{row['case']}*.png")
        mask = np.asarray(Image.open(path)) == 1
        dice = 2 * (mask & reference).sum() / max(1, mask.sum() + reference.sum())
        assert dice == pytest.approx(float(row["dice"]), abs=1e-4)


def test_the_prior_of_a_regulariser_is_frozen_and_that_of_a_segmenter_learns_on(tiny: Path) -> None:
    assert main(command(tiny, "shape", "image_vae")) == 0
    run = run_of(tiny, "shape", "image_vae")
    begun = load_file(run.weights("prior"))
    ended = torch.load(run.folder / "checkpoints" / "segmenter" / "last.ckpt", weights_only=True)["state_dict"]
    assert {name.partition(".")[0] for name in begun} == {"segmenter-prior", "regulariser-0"}
    moved = 0
    for name, value in begun.items():
        part, _, rest = name.partition(".")
        if part == "regulariser-0":
            assert torch.equal(ended[f"regularisers.0.prior.{rest}"], value), name
        else:
            moved += not torch.equal(ended[f"segmenter.prior.{rest}"], value)
    assert moved > 10
    # the terms of both were logged, and the prior got better at its own work
    terms = "regulariser-0_dice segmenter-prior_kl segmenter-prior_reconstruction active_units elbo_nats"
    for name in terms.split():
        assert len(column(run, f"train/{name}", "prior")) == 2
    assert column(run, "train/elbo_nats", "prior")[1] > column(run, "train/elbo_nats", "prior")[0]


def test_an_interrupted_prior_resumes_to_the_same_weights(tiny: Path) -> None:
    more = ("--plan.segmenter_epochs=1",)
    assert main(command(tiny, "image_vae", more=more)) == 0
    straight = run_of(tiny, "image_vae")
    with interrupted("prior"):
        assert main(command(tiny, "image_vae", more=more)) == 130
    broken = run_of(tiny, "image_vae")
    assert broken.folder != straight.folder
    assert not broken.finished("prior")
    assert main(command(tiny, "image_vae", more=more)) == 0
    assert run_of(tiny, "image_vae").folder == broken.folder
    for found in (Run.weights(straight, "prior"), straight.folder / "chain.safetensors"):
        one, two = load_file(found), load_file(broken.folder / found.relative_to(straight.folder))
        assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_segmenter_and_its_folds_play_against_the_critic_and_the_refiner_does_not(tiny: Path) -> None:
    words = command(tiny, "adversarial", "image_vae")  # with a prior, whose stage has nothing to do with the critic
    words = [word for word in words if not word.startswith(("--plan.folds", "--plan.refiner"))]
    assert main([*words, "--plan.fold_epochs=2"]) == 0
    run = run_of(tiny, "adversarial", "image_vae")
    for stage in ("fold-0", "fold-1", "segmenter"):
        assert column(run, "train/critic_accuracy", stage)
        assert column(run, "train/adversarial", stage)
    for stage in ("prior", "refiner"):
        assert column(run, "train/loss", stage)
        assert not column(run, "train/critic", stage)
    state = torch.load(run.folder / "checkpoints" / "segmenter" / "last.ckpt", weights_only=True)
    assert len(state["optimizer_states"]) == 2
    assert int(state["state_dict"]["adversary.steps"]) == 9


def test_overlays_wrap_in_their_order(tiny: Path) -> None:
    more = ("--plan.segmenter_epochs=1", "--plan.prior_epochs=1")
    words = command(tiny, "image_vae", "boundary", "entropy", "shape", more=more)
    assert main(words) == 0
    run = run_of(tiny, "image_vae", "boundary", "entropy", "shape")
    spec = json.loads((run.folder / "chain.json").read_text())["segmenter"]
    inner = spec["init_args"]["segmenter"]
    assert spec["class_path"].endswith("BoundarySegmenter")
    assert spec["init_args"]["channels"] == 1
    assert inner["class_path"].endswith("LatentSegmenter")
    assert inner["init_args"]["prior"]["init_args"]["channels"] == 1
    assert inner["init_args"]["segmenter"]["class_path"] == "torch.nn.Conv2d"
    assert column(run, "train/entropy")
    assert column(run, "train/shape")
    chain = load(run.folder)
    assert isinstance(chain.segmenter, BoundarySegmenter)
    assert isinstance(chain.segmenter.segmenter, LatentSegmenter)


def test_a_wrapper_without_a_config_below_is_one_sentence(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = yaml.safe_load(tiny.read_text())
    content["model"]["segmenter"] = yaml.safe_load((OVERLAYS / "boundary.yaml").read_text())["model"]["segmenter"]
    tiny.write_text(yaml.safe_dump(content))
    assert main(["fit", "--config", str(tiny)]) == 1
    said = capsys.readouterr().err
    assert "model.segmenter.init_args.segmenter is the part of an earlier config, but there is none" in said
    assert "give the config it follows first" in said


def test_a_patch_the_prior_cannot_encode_is_one_sentence(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(tiny, "image_vae", more=("--data.sampling.patch=[30,32]",))) == 1
    said = "the prior cannot encode windows of 30 x 32; make data.sampling.patch divisible by 4"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["segmenter", "refiner", "chain"])
def test_nested_weights_are_fetched_only_where_training_starts(
    stage: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrapped network asked for weights that cannot be had: one sentence, or no attempt at all."""
    from segcgan.errors import SegcganError
    from segcgan.tasks.stage import StageCLI

    source = (
        "from torch import nn\n"
        "class Fetching(nn.Conv2d):\n"
        "    def __init__(self, in_channels: int, encoder_weights: str | None = None):\n"
        "        if encoder_weights:\n"
        "            raise OSError('huggingface cannot be reached')\n"
        "        super().__init__(in_channels, 2, 3, padding=1)\n"
    )
    (tmp_path / "fetching_net.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    content = yaml.safe_load(tiny.read_text())
    inner = {"class_path": "fetching_net.Fetching", "init_args": {"in_channels": 1, "encoder_weights": "imagenet"}}
    wrapper = {"segmenter": inner, "channels": 1, "classes": 2}
    content["model"]["segmenter"] = {"class_path": "segcgan.segmenters.BoundarySegmenter", "init_args": wrapper}
    tiny.write_text(yaml.safe_dump(content))
    if stage == "segmenter":
        with pytest.raises(SegcganError) as error:
            StageCLI(["--config", str(tiny)], stage)
        assert str(error.value).startswith("the pretrained encoder weights could not be downloaded")
        assert str(error.value).endswith("set model.segmenter.init_args.segmenter.init_args.encoder_weights: null")
    else:
        cli = StageCLI(["--config", str(tiny)], stage)
        assert isinstance(cli.model.segmenter, BoundarySegmenter)
        assert cli.specs()["segmenter"]["init_args"]["segmenter"]["init_args"]["encoder_weights"] is None
