"""Reads a config before Lightning does, so that a slip is one sentence and not a page."""

import importlib
import inspect
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import pytorch_lightning as pl
import yaml

from segcgan.classes import ClassSpec
from segcgan.data.augment import Augment
from segcgan.data.corruptions import Corruption
from segcgan.data.module import Images, Intensity, SegmentationData
from segcgan.data.patches import Sampling
from segcgan.errors import SegcganError, nearest
from segcgan.parts import allow_own_modules
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
_PART = ("class_path", "init_args", "dict_kwargs")
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}


def check_config(path: Path, overrides: list[str]) -> dict[str, Any]:
    """Check names and values of a config together with the command-line overrides that change it.

    Returns:
        The settings that result.

    Raises:
        SegcganError: not YAML, an unknown key, a value of the wrong kind, a missing key, an unknown class or network.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        why = " ".join(str(getattr(error, "problem", None) or error).split())
        raise SegcganError(f"{path}{line}: not valid YAML ({why})") from error
    except UnicodeDecodeError as error:
        raise SegcganError(f"{path} is no text; give a YAML config (segcgan info lists them)") from error
    if not isinstance(config, dict):
        raise SegcganError(f"{path} holds no settings; a config has the sections {', '.join(_SECTIONS)}")
    given = _parse(overrides)
    for key, value in given.items():
        _set(config, key, value)
    _Check(path.name, set(given)).whole(config)
    return config


def _parse(words: list[str]) -> dict[str, Any]:
    """Return the overrides ``--key value``, ``--key=value`` by key; lists that are added to (``key+``) are left out."""
    given, left = {}, list(words)
    while left:
        word = left.pop(0)
        if not word.startswith("--"):
            raise SegcganError(f"{word!r} belongs to no option; write --section.key value")
        key, equals, text = word[2:].partition("=")
        if not equals:
            if not left or left[0].startswith("--"):
                raise SegcganError(f"--{key} has no value; write --{key} VALUE")
            text = left.pop(0)
        if not key.endswith("+"):
            try:
                given[key] = yaml.safe_load(text)
            except yaml.YAMLError:
                given[key] = text
    return given


def _set(config: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key; below a ``class_path`` the word ``init_args`` may be left out."""
    *parents, last = key.split(".")
    place = config
    for name in parents:
        inner = place.get(name)
        if not isinstance(inner, dict):
            inner = place[name] = {"class_path": inner} if isinstance(inner, str) else {}
        place = inner
    if "class_path" in place and last not in _PART:
        place = place.setdefault("init_args", {})
    place[last] = value


class _Check:
    def __init__(self, where: str, given: set[str]) -> None:
        self.where, self.given = where, given

    def whole(self, config: dict[str, Any]) -> None:
        for key in config:
            if key not in (*_SECTIONS, "seed_everything"):
                raise SegcganError(
                    f"{self._place(key)} is unknown{nearest(str(key), [*_SECTIONS, 'seed_everything'])}"
                )
        for name, kind in _SECTIONS.items():
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
            elif isinstance(value, dict) and "class_path" in value:
                self._part(inner, value)
            elif isinstance(value, str) and key in ("segmenter", "refiner", "gate"):
                self._part(inner, {"class_path": value})

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

    def _part(self, name: str, spec: dict[str, Any]) -> None:
        for key in spec:
            if key not in _PART:
                raise SegcganError(f"{self._place(f'{name}.{key}')} is unknown{nearest(str(key), _PART)}")
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
        init = f"{name}.init_args"
        arguments = spec.get("init_args", {})
        if not isinstance(arguments, dict):
            raise SegcganError(f"{self._place(init)} is {arguments!r}; it must be a section of arguments")
        if not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(kind).parameters.values()):
            self._arguments(init, arguments, _parameters(kind))
        if module.startswith("segmentation_models_pytorch") and "encoder_name" in arguments:
            import segmentation_models_pytorch as smp

            known, value = smp.encoders.get_encoder_names(), str(arguments["encoder_name"])
            if value not in known and not value.startswith("tu-"):
                place = self._place(f"{init}.encoder_name")
                raise SegcganError(f"{place} {value!r} is unknown{nearest(value, known)}")

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
