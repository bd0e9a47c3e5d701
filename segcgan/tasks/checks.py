"""Reads a config before Lightning does, so that a slip is one sentence and not a page."""

import dataclasses
import importlib
import inspect
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml

from segcgan.classes import ClassSpec
from segcgan.data.augment import Augment
from segcgan.data.corruptions import Corruption
from segcgan.data.module import Images, Intensity, SegmentationData
from segcgan.data.patches import Sampling
from segcgan.errors import SegcganError, nearest
from segcgan.tasks.segmentation import SegmentationTask
from segcgan.tasks.stage import Schedule

_SECTIONS: dict[str, Any] = {
    "plan": Schedule,
    "model": SegmentationTask,
    "data": SegmentationData,
    "trainer": pl.Trainer,
}
_NESTED: dict[str, Any] = {
    "data.images": Images,
    "data.sampling": Sampling,
    "data.intensity": Intensity,
    "data.augment": Augment,
    "data.corruption": Corruption,
}


def check_config(path: Path, overrides: list[str]) -> dict[str, Any]:
    """Check the keys of a config and of command-line overrides.

    Returns:
        The config as read.

    Raises:
        SegcganError: not YAML, an unknown key, an unknown class or network name.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise SegcganError(f"{path}{line}: not valid YAML ({getattr(error, 'problem', error)})") from error
    if not isinstance(config, dict):
        raise SegcganError(f"{path} holds no settings; a config has the sections {', '.join(_SECTIONS)}")
    _check_keys(path.name, "", config, [*_SECTIONS, "seed_everything"])
    for name, kind in _SECTIONS.items():
        _check_section(path.name, name, config.get(name) or {}, kind)
    for option in overrides:
        if option.startswith("--"):
            _check_override(option[2:].partition("=")[0], config)
    return config


def _check_section(where: str, name: str, content: Any, kind: Any) -> None:
    if not isinstance(content, dict):
        raise SegcganError(
            f"{where}: {name} is {content!r}; it must be a section with the keys {', '.join(_names(kind))}"
        )
    _check_keys(where, name, content, _names(kind))
    for key, value in content.items():
        inner = f"{name}.{key}"
        if inner in _NESTED and value is not None:
            _check_section(where, inner, value, _NESTED[inner])
        elif inner == "data.classes":
            for item in value if isinstance(value, list) else []:
                _check_section(where, inner, item, ClassSpec)
        elif isinstance(value, dict) and "class_path" in value:
            _check_part(where, inner, value)


def _check_part(where: str, name: str, spec: dict[str, Any]) -> None:
    _check_keys(where, name, spec, ["class_path", "init_args", "dict_kwargs"])
    path = str(spec["class_path"])
    module, _, attribute = path.rpartition(".")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        library = importlib.import_module(module or "segcgan")
    except ImportError as error:
        raise SegcganError(f"{where}: {name}.class_path {path!r} cannot be imported ({error})") from error
    kind = getattr(library, attribute, None)
    if not callable(kind):
        classes = [n for n, member in vars(library).items() if inspect.isclass(member) and not n.startswith("_")]
        raise SegcganError(f"{where}: {name}.class_path {path!r} does not exist{nearest(attribute, classes)}")
    arguments = spec.get("init_args") or {}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(kind).parameters.values())
    if not takes_any:
        _check_keys(where, f"{name}.init_args", arguments, _names(kind))
    if module.startswith("segmentation_models_pytorch") and "encoder_name" in arguments:
        import segmentation_models_pytorch as smp

        known, value = smp.encoders.get_encoder_names(), str(arguments["encoder_name"])
        if value not in known and not value.startswith("tu-"):
            raise SegcganError(
                f"{where}: {name}.init_args.encoder_name {value!r} is unknown{nearest(value, known)}"
            )


def _check_override(key: str, config: dict[str, Any]) -> None:
    parts = key.split(".")
    if parts[0] not in (*_SECTIONS, "seed_everything", "config"):
        raise SegcganError(f"--{key} is unknown{nearest(parts[0], [*_SECTIONS, 'config', 'seed_everything'])}")
    for depth in range(1, len(parts)):
        head = ".".join(parts[:depth])
        kind = _SECTIONS.get(head) or _NESTED.get(head)
        if kind is not None and parts[depth].rstrip("+") not in _names(kind):
            raise SegcganError(f"--{key} is unknown{nearest(parts[depth], _names(kind))}")


def _check_keys(where: str, name: str, content: Iterable[str], known: list[str]) -> None:
    for key in content:
        if key not in known:
            raise SegcganError(f"{where}: {f'{name}.' if name else ''}{key} is unknown{nearest(str(key), known)}")


def _names(kind: Any) -> list[str]:
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    return [name for name in inspect.signature(kind).parameters if name not in ("self", "args", "kwargs")]
