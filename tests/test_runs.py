import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from segcgan import runs
from segcgan.chain import Chain
from segcgan.classes import ClassSpec
from segcgan.data.normalisation import Normalisation
from segcgan.data.patches import Sampling
from segcgan.errors import SegcganError
from segcgan.gates import AgreementGate
from segcgan.parts import build
from segcgan.refiners import ResidualRefiner
from segcgan.runs import Run, load, save_chain, write_json

CONVOLUTION = {"in_channels": 3, "out_channels": 2, "kernel_size": 3, "padding": 1}
RESIDUAL = {"channels": 3, "classes": 2, "width": 4, "levels": 2}
SPECS = {
    "segmenter": {"class_path": "torch.nn.Conv2d", "init_args": CONVOLUTION},
    "refiner": {"class_path": "segcgan.refiners.ResidualRefiner", "init_args": RESIDUAL},
    "gate": {"class_path": "segcgan.gates.AgreementGate"},
}


def make_chain():
    gate = AgreementGate()
    gate.threshold.fill_(0.75)
    refiner = ResidualRefiner(3, 2, width=4, levels=2)
    nn.init.normal_(refiner.head.last.weight)
    normalisation = Normalisation(1)
    normalisation.mean.fill_(0.25)
    classes = [ClassSpec("ground", [0]), ClassSpec("thing", [1, 2], "#00ff00", "10200004|Liver")]
    sampling = Sampling(patch=(32, 48), context=1, spacing=(1.5, 2.0))
    return Chain(normalisation, nn.Conv2d(3, 2, 3, padding=1), refiner, gate, classes, sampling, bf16=True)


@pytest.fixture
def run(tmp_path):
    made = Run.create(tmp_path / "runs/tiny")
    made.note(name="tiny")
    return made


@pytest.fixture
def saved(run):
    save_chain(run, make_chain(), SPECS, orientation="acquired")
    return run


def edit(run, **changes):
    path = run.folder / "chain.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# -- folders --------------------------------------------------------------------------------------------------------


def test_runs_of_one_second_get_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "strftime", lambda _: "2001-02-03_04-05-06")
    made = [Run.create(tmp_path).folder.name for _ in range(3)]
    assert made == ["2001-02-03_04-05-06", "2001-02-03_04-05-06_1", "2001-02-03_04-05-06_2"]
    assert (tmp_path / "latest").readlink() == Path(made[-1])  # relative
    assert {path.name for path in tmp_path.iterdir()} == {*made, "latest"}


def test_a_tree_of_runs_can_be_moved(run, tmp_path):
    (tmp_path / "runs").rename(tmp_path / "moved")
    assert Run.find(tmp_path / "moved/tiny").facts == {"name": "tiny"}


def test_a_link_left_by_a_killed_process_is_no_hindrance(run):
    base = run.folder.parent
    (base / f".latest-{os.getpid()}").symlink_to("nowhere")
    newer = Run.create(base)
    newer.note(name="newer")
    assert Run.find(base).folder == newer.folder.resolve()


def test_file_systems_without_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(type(tmp_path), "symlink_to", refuse)
    made = Run.create(tmp_path)
    made.note(name="x")
    assert (tmp_path / "latest.txt").read_text() == made.folder.name
    assert Run.find(tmp_path).folder == made.folder.resolve()
    (tmp_path / "latest.txt").write_text("")
    with pytest.raises(
        SegcganError, match=r"is no run: it holds no run.json; give a folder like runs/<config>/latest"
    ):
        Run.find(tmp_path)


def test_a_run_is_found_from_every_place_that_means_it(run):
    base = run.folder.parent
    for where in (run.folder, base, base / "latest", run.folder / "config.yaml", base / "latest" / "run.json"):
        assert Run.find(where).folder == run.folder.resolve()
    with pytest.raises(SegcganError, match=r"runs is no run: it holds no run.json"):
        Run.find(base.parent)


def test_facts_add_up_and_stages_finish_once_told(run):
    run.note(gate="open")
    run.note(name="other")
    assert run.facts == {"name": "other", "gate": "open"}
    assert not run.finished("segmenter")
    run.finish("segmenter", epochs=3)
    assert run.finished("segmenter")
    assert json.loads((run.folder / "stages/segmenter.json").read_text()) == {"epochs": 3}
    assert not list(run.folder.rglob("*.part"))


def test_json_is_written_whole_or_not_at_all(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {(1, 2): "keys must be text"})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}


# -- chains ---------------------------------------------------------------------------------------------------------


def test_a_chain_comes_back_as_it_was(run):
    chain = make_chain()
    save_chain(run, chain, SPECS)
    back = load(run.folder.parent)
    assert (back.classes, back.sampling, back.bf16) == (chain.classes, chain.sampling, True)
    for name in ("normalisation", "segmenter", "refiner", "gate"):
        one, other = getattr(chain, name), getattr(back, name)
        assert type(one) is type(other)
        assert one.state_dict().keys() == other.state_dict().keys()
        for key, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[key]), key
    image = torch.randn(1, 3, 16, 16)
    chain.bf16 = back.bf16 = False
    assert torch.equal(chain.segment(image), back.segment(image))


def test_parts_that_are_missing_stay_missing(run):
    chain = make_chain()
    chain.refiner = chain.gate = None
    save_chain(run, chain, SPECS)
    back = load(run.folder)
    assert (back.refiner, back.gate) == (None, None)


def test_layers_that_share_weights_can_be_saved(run):
    chain = make_chain()
    chain.segmenter = nn.Sequential(one := nn.Conv2d(1, 1, 1), one)
    save_chain(run, chain, SPECS)
    assert len([key for key in load_file(run.folder / "chain.safetensors") if key.startswith("segmenter")]) == 4


def test_the_tag_tells_weights_and_settings_apart(saved):
    tags = [load(saved.folder).tag, load(saved.folder).tag]
    assert tags[0] == tags[1]
    edit(saved, orientation="canonical")
    tags.append(load(saved.folder).tag)
    tensors = load_file(saved.folder / "chain.safetensors")
    tensors["gate.threshold"] += 1e-3
    save_file(tensors, saved.folder / "chain.safetensors")
    tags.append(load(saved.folder).tag)
    assert len(set(tags)) == 3


def test_an_unfinished_run_says_so(run):
    with pytest.raises(
        SegcganError, match="holds no trained chain yet; finish its training with the same fit command"
    ):
        load(run.folder)


@pytest.mark.parametrize("damage", ["no description", "cut description", "cut weights", "other shape", "other key"])
def test_a_damaged_run_is_one_sentence(saved, damage):
    description, weights = saved.folder / "chain.json", saved.folder / "chain.safetensors"
    if damage == "no description":
        description.unlink()
    elif damage == "cut description":
        description.write_text(description.read_text()[:99])
    elif damage == "cut weights":
        weights.write_bytes(weights.read_bytes()[:99])
    elif damage == "other shape":
        edit(saved, channels=3)
    else:
        edit(saved, sampling={"patches": [1, 1]})
    with pytest.raises(SegcganError, match=r"the chain in .* cannot be loaded \(.+\); it is damaged or") as error:
        load(saved.folder)
    assert "\n" not in str(error.value)


# -- trust ----------------------------------------------------------------------------------------------------------

EVIL = """
import pathlib
from torch import nn
pathlib.Path("imported").touch()
class Net(nn.Conv2d): pass
"""


def test_code_outside_the_trusted_packages_is_not_even_imported(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "strangers_code.py").write_text(EVIL)
    edit(saved, segmenter=SPECS["segmenter"] | {"class_path": "strangers_code.Net"})
    with pytest.raises(SegcganError) as refusal:
        load(saved.folder)
    assert str(refusal.value) == (
        "class_path 'strangers_code.Net' lies outside the trusted packages (monai, segcgan, "
        "segmentation_models_pytorch, torch); if you know this code, set SEGCGAN_TRUST=strangers_code"
    )
    assert not (tmp_path / "imported").exists()
    monkeypatch.setenv("SEGCGAN_TRUST", "other,strangers_code")
    assert type(load(saved.folder).segmenter).__name__ == "Net"
    monkeypatch.delenv("SEGCGAN_TRUST")
    assert type(load(saved.folder, trust=["strangers_code"]).segmenter).__name__ == "Net"


@pytest.mark.parametrize(
    "path", ["torch.hub.load", "torch.load", "torch.package.PackageImporter", "segcgan.demo.run", "segcgan.runs.Path"]
)
def test_only_networks_are_built(path):
    with pytest.raises(SegcganError, match=rf"class_path '{path}' is no network; name a subclass of torch.nn.Module"):
        build({"class_path": path, "init_args": {}})


def test_a_misspelt_class_is_one_sentence():
    with pytest.raises(
        SegcganError, match=r"class_path 'torch.nn.Conv3' cannot be imported: module 'torch.nn' has no"
    ):
        build({"class_path": "torch.nn.Conv3"})


def test_nested_parts_are_checked_too():
    nested = {"class_path": "torch.nn.Sequential", "init_args": {"args": [{"class_path": "os.system"}]}}
    with pytest.raises(SegcganError, match=r"'os.system' lies outside the trusted packages"):
        build(nested)


class Weighted(nn.Module):
    def __init__(self, weights=None, pretrained=False, inner=None):
        super().__init__()
        self.arguments = (weights, pretrained, inner)


def test_pretrained_weights_are_not_fetched_but_other_weights_are_kept(monkeypatch):
    monkeypatch.setattr(runs.nn, "Weighted", Weighted, raising=False)

    def arguments(**init):
        return build({"class_path": "torch.nn.Weighted", "init_args": init}).arguments

    assert arguments(weights="IMAGENET1K_V1", pretrained=True) == (None, None, None)
    assert arguments(weights=[0.3, 0.7], pretrained=False) == ([0.3, 0.7], False, None)
    assert arguments(inner={"class_path": "torch.nn.Identity"})[2].__class__ is nn.Identity


def test_a_pretrained_encoder_is_loaded_without_network(saved, monkeypatch):
    import segmentation_models_pytorch as smp

    init = {
        "encoder_name": "resnet18",
        "encoder_depth": 3,
        "decoder_channels": [8, 8, 8],
        "in_channels": 1,
        "classes": 2,
    }
    chain = replace(make_chain(), segmenter=smp.Unet(**init, encoder_weights=None))
    specs = SPECS | {"segmenter": {"class_path": "segmentation_models_pytorch.Unet",
                                   "init_args": init | {"encoder_weights": "imagenet"}}}  # fmt: skip
    save_chain(saved, chain, specs)

    def refuse(*_, **__):
        raise AssertionError("tried to download weights")

    monkeypatch.setattr("socket.socket.connect", refuse)
    back = load(saved.folder)
    image = torch.randn(1, 1, 32, 32)
    back.bf16 = chain.bf16 = False
    assert torch.equal(back.segment(image), chain.segment(image))


def test_loading_never_unpickles(saved):
    code = (
        "import pickle, torch, sys\n"
        "from segcgan.runs import load\n"
        "def refuse(*a, **k): raise SystemExit('unpickled')\n"
        "pickle.load = pickle.loads = pickle.Unpickler = torch.load = refuse\n"
        "print(type(load(__import__('pathlib').Path(sys.argv[1])).refiner).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(saved.folder)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("ResidualRefiner\n", 0), done.stderr
    assert {path.suffix for path in saved.folder.iterdir()} == {".json", ".safetensors"}


def test_arrays_in_facts_are_written_as_text(run):
    run.note(shape=np.int64(3), path=run.folder)
    assert run.facts["path"] == str(run.folder)
