import copy
from pathlib import Path

import pytest
import yaml

from segcgan.errors import SegcganError
from segcgan.tasks.checks import check_config

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.yaml"))
TINY = {
    "seed_everything": 0,
    "plan": {"folds": 2},
    "model": {
        "segmenter": {
            "class_path": "segmentation_models_pytorch.Unet",
            "init_args": {"encoder_name": "resnet18", "encoder_weights": None, "in_channels": 1, "classes": 2},
        },
        "refiner": {"class_path": "segcgan.refiners.ResidualRefiner", "init_args": {"channels": 1, "classes": 2}},
        "gate": {"class_path": "segcgan.gates.AgreementGate"},
        "lr": "1e-3",  # what YAML makes of 1e-3
    },
    "data": {
        "images": {"root": "data"},
        "classes": [{"name": "ground", "values": [0]}, {"name": "thing", "values": [1]}],
        "sampling": {"patch": [64, 64], "spacing": [1, 1.5]},
        "intensity": {"clip": [-100, 200]},
        "augment": {"flip": True},
        "corruption": {},
    },
    "trainer": {"precision": "bf16-mixed", "devices": 1, "callbacks": None},
}


@pytest.fixture
def config(tmp_path):
    """Write the tiny config with some keys changed, and return its path."""

    def write(**changes):
        content = copy.deepcopy(TINY)
        for key, value in changes.items():
            *parents, last = key.split("__")
            place = content
            for name in parents:
                place = place[int(name) if name.isdecimal() else name]
            place[last] = value
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


def refused(path, *words):
    with pytest.raises(SegcganError) as error:
        check_config(path, list(words))
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 300
    return text


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_that_is_shipped_passes(path):
    assert check_config(path, [])["model"]["segmenter"]


def test_overrides_change_what_is_checked_and_returned(config):
    words = ["--plan.runs", "elsewhere", "--data.sampling.patch=[32,32]", "--model.lr", "1e-4"]
    words += [
        "--trainer.callbacks+",
        "segcgan.tasks.console.EpochLines",
        "--model.segmenter.encoder_name",
        "resnet34",
    ]
    found = check_config(config(), words)
    assert found["plan"] == {"folds": 2, "runs": "elsewhere"}
    assert found["data"]["sampling"]["patch"] == [32, 32]
    assert found["model"]["segmenter"]["init_args"]["encoder_name"] == "resnet34"


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("modell", "modell is unknown; did you mean 'model'?"),
        ("plan__fold", "plan.fold is unknown; did you mean 'folds'?"),
        ("model__segmentr", "model.segmentr is unknown; did you mean 'segmenter'?"),
        ("model__refiner__class", "model.refiner.class is unknown; did you mean 'class_path'?"),
        ("model__refiner__init_args__widht", "model.refiner.init_args.widht is unknown; did you mean 'width'?"),
        ("data__imags", "data.imags is unknown; did you mean 'images'?"),
        ("data__images__rot", "data.images.rot is unknown; did you mean 'root'?"),
        ("data__classes__1__color", "data.classes.color is unknown; did you mean 'colour'?"),
        ("data__sampling__pach", "data.sampling.pach is unknown; did you mean 'patch'?"),
        ("data__intensity__clipp", "data.intensity.clipp is unknown; did you mean 'clip'?"),
        ("data__augment__flipp", "data.augment.flipp is unknown; did you mean 'flip'?"),
        ("data__corruption__zzz", "data.corruption.zzz is unknown; choose from "),
        ("trainer__max_epoch", "trainer.max_epoch is unknown; did you mean 'max_epochs'?"),
    ],
)
def test_a_misspelt_key_gets_the_nearest_one(config, key, said):
    assert refused(config(**{key: 1})).startswith(f"tiny.yaml: {said}")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("plan__folds", "two", "plan.folds is 'two'; it must be a whole number"),
        ("plan__folds", 1.5, "plan.folds is 1.5; it must be a whole number"),
        ("plan__folds", True, "plan.folds is True; it must be a whole number"),
        ("plan", 3, "plan is 3; it must be a section with the keys folds, fold_epochs"),
        ("model__lr", "fast", "model.lr is 'fast'; it must be a number"),
        ("model__gate__init_args", {"max_harm": []}, "model.gate.init_args.max_harm is []; it must be a number"),
        ("model__gate__init_args", 3, "model.gate.init_args is 3; it must be a section of arguments"),
        ("data__images", None, "data.images is None; it must be a section with the keys root, manifest"),
        ("data__images__spacing", 3, "data.images.spacing is 3; it must be a list or null"),
        (
            "data__sampling__patch",
            64,
            "data.sampling.patch is 64; it must be a list [a whole number, a whole number]",
        ),
        ("data__sampling__patch", [1, 2, 3], "data.sampling.patch is [1, 2, 3]; it must be a list [a whole"),
        (
            "data__sampling__spacing",
            [1, "x"],
            "data.sampling.spacing is [1, 'x']; it must be a list [a number, a num",
        ),
        ("data__sampling__batch_size", "many", "data.sampling.batch_size is 'many'; it must be a whole number"),
        ("data__augment__flip", "often", "data.augment.flip is 'often'; it must be true or false"),
        ("data__classes", {"a": 1}, "data.classes is {'a': 1}; it must be a list"),
        ("data__classes", ["a", "b"], "data.classes is 'a'; it must be a section with the keys name, values, colour"),
        ("data__classes__0__name", None, "data.classes.name is None; it must be text"),
        (
            "model__refiner",
            {"class_path": "segcgan.refiners.LatentRefiner", "init_args": {"channels": 1, "classes": 2, "kl": 3}},
            "model.refiner.init_args.kl is 3; it must be a section with the keys beta, warmup, target_ce",
        ),
        ("trainer__precision", 12, "trainer.precision is 12; it must be 64 or 32 or 16 or "),
    ],
)
def test_a_value_of_the_wrong_kind(config, key, value, said):
    assert refused(config(**{key: value})).startswith(f"tiny.yaml: {said}")


@pytest.mark.parametrize(
    ("part", "class_path", "said"),
    [
        ("segmenter", "segmentation_models_pytorch.UNet", "'segmentation_models_pytorch.UNet' is no class; did you"),
        ("refiner", "segcgan.refiners.Residual", "'segcgan.refiners.Residual' is no class; did you mean 'Resid"),
        ("refiner", "segcgan.refiner.X", "'segcgan.refiner.X' cannot be imported (No module named 'segcgan.refiner"),
        ("gate", "AgreementGate", "'AgreementGate' cannot be imported (Empty module name); write package.module.Class"),
        ("segmenter", "torch.hub.load", "'torch.hub.load' is no class; "),
    ],
)  # fmt: skip
def test_a_misspelt_class(config, part, class_path, said):
    changes = {f"model__{part}__class_path": class_path}
    assert refused(config(**changes)).startswith(f"tiny.yaml: model.{part}.class_path {said}")


def test_a_misspelt_encoder(config):
    changes = {"model__segmenter__init_args__encoder_name": "resnet35"}
    said = "model.segmenter.init_args.encoder_name 'resnet35' is unknown; did you mean 'resnet"
    assert refused(config(**changes)).startswith(f"tiny.yaml: {said}")
    check_config(config(model__segmenter__init_args__encoder_name="tu-resnet35"), [])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": {"images": {"root": "x"}}}, "data.classes is missing; add it"),
        ({"data__images": {"unit": "m"}}, "data.images.root is missing; add it"),
        ({"model": {}}, "model.segmenter is missing; add it"),
        ({"data__classes": [{"values": [0]}]}, "data.classes.name is missing; add it"),
        ({"model__refiner__init_args": {"classes": 2}}, "model.refiner.init_args.channels is missing; add it"),
    ],
)
def test_a_missing_key(config, changes, said):
    assert refused(config(**changes)) == f"tiny.yaml: {said}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--modell.lr", "3"], "--modell.lr is unknown; did you mean 'model'?"),
        (["--data.sampling.batch_sizes=3"], "--data.sampling.batch_sizes is unknown; did you mean 'batch_size'?"),
        (["--data.sampling.batch_size", "many"], "--data.sampling.batch_size is 'many'; it must be a whole number"),
        (["--model.lr", "{a: ["], "--model.lr is '{a: ['; it must be a number"),
        (["--model.gate.class_path", "segcgan.gates.Agree"], "--model.gate.class_path 'segcgan.gates.Agree' is no"),
        (["--model.segmenter", "torch.nn.Conv3"], "--model.segmenter 'torch.nn.Conv3' is no class; did you mean 'Con"),
        (["--model.segmenter.encoder_name", "resnet35"], "--model.segmenter.encoder_name 'resnet35' is unknown; did"),
        (["--trainer.devices"], "--trainer.devices has no value; write --trainer.devices VALUE"),
        (["--trainer.devices", "--model.lr", "1"], "--trainer.devices has no value; write --trainer.devices VALUE"),
        (["smoke.yaml"], "'smoke.yaml' belongs to no option; write --section.key value"),
    ],
)  # fmt: skip
def test_a_slip_on_the_command_line_is_named_as_typed(config, words, said):
    assert refused(config(), *words).startswith(said)


def test_a_part_named_by_its_path_alone_replaces_the_one_of_the_config(config):
    check_config(config(), ["--model.segmenter", "segmentation_models_pytorch.Unet"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"plan: {folds: 2\nmodel: [", "tiny.yaml, line 2: not valid YAML ("),
        (b"- a\n- b\n", "tiny.yaml holds no settings; a config has the sections plan, model, data, trainer"),
        (b"", "tiny.yaml holds no settings; a config has"),
        (b"\xff\xfe\x00\x81", "tiny.yaml is no text; give a YAML config"),
        (b"a: \x00", "tiny.yaml: not valid YAML ("),
    ],
)
def test_files_that_are_no_config(tmp_path, monkeypatch, content, said):
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_bytes(content)
    assert refused(Path("tiny.yaml")).startswith(said)


def test_a_class_in_a_file_beside_the_config_is_found(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    source = "from segcgan.gates import Gate\nclass Mine(Gate):\n    def __init__(self, limit: float = 1): ...\n"
    (tmp_path / "my_own_gate.py").write_text(source)
    check_config(config(model__gate={"class_path": "my_own_gate.Mine", "init_args": {"limit": 2}}), [])
    text = refused(config(model__gate={"class_path": "my_own_gate.Mine", "init_args": {"limits": 2}}))
    assert text == "tiny.yaml: model.gate.init_args.limits is unknown; did you mean 'limit'?"
