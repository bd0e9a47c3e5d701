"""Reads a config before Lightning does, so that a slip is one sentence and not a page."""

import dataclasses
import importlib
import inspect
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import pytorch_lightning as pl
from torch import nn

from segcgan.classes import ClassSpec
from segcgan.data.augment import Augment
from segcgan.data.corruptions import Corruption
from segcgan.data.module import SegmentationData
from segcgan.data.patches import Sampling
from segcgan.data.settings import Images, Intensity, Surfaces
from segcgan.errors import SegcganError, nearest
from segcgan.parts import allow_own_modules
from segcgan.tasks.segmentation import SegmentationTask
from segcgan.tasks.settings import BELOW, PART, SECTIONS, read_settings
from segcgan.tasks.stage import Schedule

_KINDS = dict(zip(SECTIONS, (Schedule, SegmentationTask, SegmentationData, pl.Trainer), strict=True))
_NESTED: dict[str, Any] = {
    "data.images": Images,
    "data.sampling": Sampling,
    "data.intensity": Intensity,
    "data.surfaces": Surfaces,
    "data.augment": Augment,
    "data.corruption": Corruption,
}
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}


def check_config(path: Path, overrides: list[str]) -> dict[str, Any]:
    """Check names and values of a config together with the command-line overrides that change it.

    Returns:
        The settings that result.

    Raises:
        SegcganError: not YAML, an unknown key, a value of the wrong kind, a missing key, an unknown class or network.
    """
    config, given = read_settings(path, overrides)
    _Check(path.name, set(given)).whole(config)
    return config


class _Check:
    def __init__(self, where: str, given: set[str]) -> None:
        self.where, self.given = where, given

    def whole(self, config: dict[str, Any]) -> None:
        for key in config:
            if key not in (*SECTIONS, "seed_everything"):
                raise SegcganError(
                    f"{self._place(key)} is unknown{nearest(str(key), [*SECTIONS, 'seed_everything'])}"
                )
        for name, kind in _KINDS.items():
            self._section(name, config.get(name) or {}, kind)

    def _section(self, name: str, content: Any, kind: Any) -> None:
        known = _parameters(kind)
        if not isinstance(content, dict):
            listed = ", ".join(known)
            raise SegcganError(f"{self._place(name)} is {content!r}; it must be a section with the keys {listed}")
        self._arguments(name, content, known)
        for key, value in content.items():
            inner = f"{name}.{key}"
            if inner in _NESTED and (value is not None or known[key].default is inspect.Parameter.empty):
                self._section(inner, value, _NESTED[inner])
            elif inner == "data.classes":
                for item in value:
                    self._section(inner, item, ClassSpec)
            elif name == "model":
                self._inner(inner, value, known[key].annotation)

    def _arguments(self, name: str, content: dict[str, Any], known: dict[str, inspect.Parameter]) -> None:
        for key, value in content.items():
            inner = f"{name}.{key}"
            if key not in known:
                raise SegcganError(f"{self._place(inner)} is unknown{nearest(str(key), known)}")
            kind = known[key].annotation
            if inner not in _NESTED and not _fits(value, kind):
                raise SegcganError(f"{self._place(inner)} is {value!r}; it must be {_in_words(kind)}")
        for key, parameter in known.items():
            if parameter.default is parameter.empty and key not in content:
                raise SegcganError(f"{self.where}: {name}.{key} is missing; add it")

    def _inner(self, name: str, value: Any, kind: Any) -> None:
        """Check a value that may be a part, a list of parts or a section of its own."""
        kinds = [one for one in get_args(kind) or (kind,) if inspect.isclass(one)]
        records = [one for one in kinds if dataclasses.is_dataclass(one)]
        modules = [one for one in kinds if issubclass(one, nn.Module)]
        if get_origin(kind) is list or any(get_origin(one) is list for one in get_args(kind)):
            (element,) = [get_args(one)[0] for one in (kind, *get_args(kind)) if get_origin(one) is list]
            for index, item in enumerate(value or []):
                self._inner(f"{name}.{index}", item, element)
        elif records and not modules and value is not None:
            self._section(name, value, records[0])
        elif modules and isinstance(value, (str, dict)):
            self._part(name, {"class_path": value} if isinstance(value, str) else value, modules[0])

    def _part(self, name: str, spec: dict[str, Any], wanted: type[nn.Module]) -> None:
        for key in spec:
            if key not in PART:
                raise SegcganError(f"{self._place(f'{name}.{key}')} is unknown{nearest(str(key), PART)}")
        if "class_path" not in spec:
            raise SegcganError(f"{self._place(name)} names no class; write class_path: package.module.Class")
        path = str(spec["class_path"])
        place = self._place(f"{name}.class_path")
        module, _, attribute = path.rpartition(".")
        allow_own_modules()
        try:
            library = importlib.import_module(module)
        except (ImportError, ValueError) as error:
            cure = "write package.module.Class"
            raise SegcganError(f"{place} {path!r} cannot be imported ({error}); {cure}") from error
        kind = getattr(library, attribute, None)
        if not inspect.isclass(kind):
            classes = [n for n, member in vars(library).items() if inspect.isclass(member) and not n.startswith("_")]
            raise SegcganError(f"{place} {path!r} is no class{nearest(attribute, classes)}")
        if not issubclass(kind, wanted):
            cure = f"name a subclass of {wanted.__module__}.{wanted.__name__}"
            raise SegcganError(f"{place} {path!r} is no {wanted.__name__}; {cure}")
        init = f"{name}.init_args"
        arguments = spec.get("init_args", {})
        if not isinstance(arguments, dict):
            raise SegcganError(f"{self._place(init)} is {arguments!r}; it must be a section of arguments")
        if not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(kind).parameters.values()):
            known = _parameters(kind)
            self._wrapped(init, arguments, known)
            self._arguments(init, arguments, known)
            for key, value in arguments.items():
                self._inner(f"{init}.{key}", value, known[key].annotation)
        if module.startswith("segmentation_models_pytorch") and "encoder_name" in arguments:
            import segmentation_models_pytorch as smp

            names, value = smp.encoders.get_encoder_names(), str(arguments["encoder_name"])
            if value not in names and not value.startswith("tu-"):
                place = self._place(f"{init}.encoder_name")
                raise SegcganError(f"{place} {value!r} is unknown{nearest(value, names)}")

    def _wrapped(self, init: str, arguments: dict[str, Any], known: dict[str, inspect.Parameter]) -> None:
        for key, value in arguments.items():
            kind = known[key].annotation if key in known else None
            if value == BELOW and inspect.isclass(kind) and issubclass(kind, nn.Module):
                place, cure = self._place(f"{init}.{key}"), "give the config it follows first, or name a class_path"
                raise SegcganError(f"{place} is the part of an earlier config, but there is none; {cure}")

    def _place(self, key: str) -> str:
        """Name a key the way the user gave it: on the command line or in the file."""
        same = {key, key.replace(".init_args.", "."), key.removesuffix(".class_path")}
        typed = [name for name in self.given if name in same or ("." not in key and name.startswith(f"{key}."))]
        return f"--{typed[0]}" if typed else f"{self.where}: {key}"


def _parameters(kind: Any) -> dict[str, inspect.Parameter]:
    found = inspect.signature(kind).parameters.values()
    return {p.name: p for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def _fits(value: Any, kind: Any) -> bool:
    """Tell whether a YAML value can become a ``kind``; kinds not known here are left to jsonargparse."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is Literal:
        return value in inner
    if kind is type(None) or kind is bool:
        return isinstance(value, kind)
    if kind in (int, float):
        return _is_number(value, kind)
    if kind is str:
        return not isinstance(value, (dict, list, type(None)))
    if origin in (list, tuple):
        if not isinstance(value, (list, tuple)):
            return False
        if origin is tuple and ... not in inner:
            return len(value) == len(inner) and all(map(_fits, value, inner))
        return all(_fits(item, inner[0]) for item in value) if inner else True
    return True


def _is_number(value: Any, kind: type) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return False
    try:
        return float(value) == kind(value)  # YAML reads 1e-4 as text
    except (ValueError, OverflowError):
        return False


def _in_words(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(word for one in inner for word in _in_words(one).split(" or ")))
    if origin is Literal:
        return " or ".join(map(str, inner))
    if origin is tuple:
        return f"a list [{', '.join(map(_in_words, inner))}]"
    return "a list" if origin is list else _WORDS.get(kind, getattr(kind, "__name__", str(kind)))
