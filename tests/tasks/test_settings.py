"""Configs on top of each other: what replaces, what joins, what wraps, and what is filled in."""

import itertools
import json
from pathlib import Path

import pytest
import yaml

from segcgan.errors import SegcganError
from segcgan.tasks.checks import check_config
from segcgan.tasks.settings import completions, layered, read_config

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
OVERLAYS = sorted(CONFIGS.glob("*/*.yaml"))
BASES = sorted(CONFIGS.glob("*.yaml"))
NET = {"class_path": "torch.nn.Conv2d", "init_args": {"in_channels": 3, "out_channels": 4, "kernel_size": 1}}
CLASSES = [{"name": str(value), "values": [value]} for value in range(4)]


def merged(folder: Path, *contents: dict) -> dict:
    paths = [folder / f"{index}.yaml" for index in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_text(yaml.safe_dump(content))
    with layered(paths) as whole:
        return read_config(whole)


@pytest.mark.parametrize(("base", "over"), itertools.product(BASES, OVERLAYS), ids=lambda path: path.stem)
def test_every_overlay_goes_with_every_config(base: Path, over: Path) -> None:
    with layered([base, over]) as whole:
        found = check_config(whole, completions(whole, []))
    assert found["model"]["lr"] == read_config(base)["model"]["lr"]


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.stem)
def test_the_header_of_an_overlay_says_what_it_needs(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0].startswith(f"# {path.stem}: ")
    for line, word in zip(lines[1:4], ("data:", "command:", "shrink:"), strict=True):
        assert line.startswith(f"# {word}")
    assert f"--config {path.parent.name}/{path.name}" in lines[2]


def test_a_wrapper_takes_the_part_below_and_applied_twice_wraps_once(tmp_path: Path) -> None:
    base = {"model": {"segmenter": NET}}
    over = {"model": {"segmenter": {"class_path": "a.Wrapper", "init_args": {"segmenter": "below", "width": 3}}}}
    wrapped = {"class_path": "a.Wrapper", "init_args": {"segmenter": NET, "width": 3}}
    assert merged(tmp_path, base, over)["model"]["segmenter"] == wrapped
    assert merged(tmp_path, base, over, over)["model"]["segmenter"] == wrapped
    short = merged(tmp_path, {"model": {"segmenter": "a.Net"}}, over)["model"]["segmenter"]
    assert short["init_args"]["segmenter"] == {"class_path": "a.Net"}
    other = {"model": {"segmenter": {"class_path": "b.Wrapper", "init_args": {"segmenter": "below"}}}}
    twice = {"class_path": "b.Wrapper", "init_args": {"segmenter": wrapped}}
    assert merged(tmp_path, base, over, other)["model"]["segmenter"] == twice


def test_lists_of_parts_grow_and_other_lists_are_replaced(tmp_path: Path) -> None:
    first = {"class_path": "a.One", "init_args": {"weight": 1, "width": 2}}
    second, heavier = {"class_path": "a.Two"}, {"class_path": "a.One", "init_args": {"weight": 5}}
    layers = [{"model": {"regularisers": [part]}} for part in (first, second, heavier)]
    one = {"class_path": "a.One", "init_args": {"weight": 5, "width": 2}}
    assert merged(tmp_path, *layers)["model"]["regularisers"] == [one, second]
    assert merged(tmp_path, *layers, {"model": {"regularisers": []}})["model"]["regularisers"] == []
    assert merged(tmp_path, {"data": {"classes": [{"name": "a"}]}}, {"data": {"classes": [{"name": "b"}]}}) == {
        "data": {"classes": [{"name": "b"}]}
    }


def test_channels_and_classes_are_filled_in_where_they_are_missing(tmp_path: Path) -> None:
    vae = {"class_path": "segcgan.priors.ImageVAE", "init_args": {"width": 2}}
    latent = {"class_path": "segcgan.segmenters.LatentSegmenter", "init_args": {"segmenter": NET, "prior": vae}}
    branch = {"class_path": "segcgan.segmenters.BoundarySegmenter", "init_args": {"segmenter": latent, "classes": 9}}
    shape = {"class_path": "segcgan.regularisers.ShapeLatent"}
    shape["init_args"] = {"prior": "segcgan.priors.MaskAutoencoder"}
    entropy = {"class_path": "segcgan.regularisers.Entropy"}
    path = tmp_path / "mine.yaml"
    path.write_text(
        yaml.safe_dump({"model": {"segmenter": branch, "regularisers": [entropy, shape]}, "data": {"classes": CLASSES}})
    )
    *words, listed = completions(path, [])
    assert set(words) == {
        "--model.segmenter.init_args.channels=3",
        "--model.segmenter.init_args.segmenter.init_args.prior.init_args.channels=3",
    }
    key, _, parts = listed.partition("=")
    assert key == "--model.regularisers"
    filled = {"class_path": "segcgan.priors.MaskAutoencoder", "init_args": {"classes": 4}}
    assert json.loads(parts) == [entropy, {"class_path": shape["class_path"], "init_args": {"prior": filled}}]


def test_a_segmenter_that_replaces_another_keeps_its_channels(tmp_path: Path) -> None:
    unet, former = ({"class_path": f"segmentation_models_pytorch.{name}"} for name in ("Unet", "Segformer"))
    old = unet | {"init_args": {"in_channels": 7, "encoder_depth": 4}}
    found = merged(tmp_path, {"model": {"segmenter": old}}, {"model": {"segmenter": former}})["model"]["segmenter"]
    assert found == former | {"init_args": {"in_channels": 7}}
    said = former | {"init_args": {"in_channels": 3}}
    other = {"class_path": "torch.nn.Identity"}  # has no such argument
    for new in (said, other):
        found = merged(tmp_path, {"model": {"segmenter": old}}, {"model": {"segmenter": new}})
        assert found["model"]["segmenter"] == new


def test_nothing_is_filled_in_where_nothing_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    monai = {"class_path": "monai.networks.nets.UNet", "init_args": {"in_channels": 1}}  # its channels are widths
    entropy = {"class_path": "segcgan.regularisers.Entropy"}
    path.write_text(yaml.safe_dump({"model": {"segmenter": monai, "regularisers": [entropy]}, "data": {}}))
    assert completions(path, []) == []
    path.write_text("model: 3")
    assert completions(path, []) == []


def test_a_task_after_what_changes_it_is_refused_where_it_takes_that_away(tmp_path: Path) -> None:
    task = {"model": {"refiner": {"class_path": "a.One"}, "lr": 1}, "data": {"boundary": 2}}
    with pytest.raises(SegcganError) as error:
        merged(tmp_path, {"model": {"refiner": {"class_path": "a.Two"}}}, task)
    said = f"{tmp_path / '1.yaml'} comes later and replaces model.refiner of 0; put --config 1.yaml first"
    assert str(error.value) == said
    assert merged(tmp_path, {"model": {"refiner": "a.One", "lr": 3}}, task)["model"]["lr"] == 1  # nothing is lost
    assert merged(tmp_path, {"trainer": {"precision": 32}}, task)["trainer"] == {"precision": 32}
    other = {"model": {"refiner": "a.Two"}, "data": {"boundary": 3}}
    assert merged(tmp_path, task, other)["model"]["refiner"] == "a.Two"  # a whole task on top of another
