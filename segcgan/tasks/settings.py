"""The settings of a training: one config or several on top of each other, and what the command line changes."""

import copy
import importlib
import inspect
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from segcgan.errors import SegcganError
from segcgan.parts import allow_own_modules

SECTIONS = ("plan", "model", "data", "trainer")
PART = ("class_path", "init_args", "dict_kwargs")
BELOW = "below"  # in a config that follows another: the part that stands here in the other one


@contextmanager
def layered(paths: list[Path]) -> Iterator[Path]:
    """Give one config for several: each changes what those before it say, and a part with another class replaces it.

    A part that wraps the one it replaces names it ``below``: ``init_args: {segmenter: below}``. Lists of parts grow: a
    part joins those before it, unless there is one of its class already, which it then changes.

    Of a single config it is the file itself; else a temporary one, named after all (see :func:`joined`).
    """
    if len(paths) == 1:
        yield paths[0]
        return
    merged: dict[str, Any] = {}
    for path in paths:
        config = read_config(path)
        if merged and "data" in config and "data" not in merged:
            _check_order(merged, config, paths, path)
        merged = _with_channels(_merge(merged, config), merged)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / f"{joined(paths)}.yaml"
        whole.write_text(yaml.safe_dump(merged, sort_keys=False), encoding="utf-8")
        yield whole


def _check_order(below: dict[str, Any], above: dict[str, Any], paths: list[Path], path: Path) -> None:
    """Refuse a config of a whole task that takes away the part another config before it gave."""
    first, second = ((config.get("model") or {}) for config in (below, above))
    for key in first.keys() & second.keys():
        if (part := _class_of(first[key])) is not None and part != _class_of(second[key]):
            names = f"model.{key} of {', '.join(each.stem for each in paths[: paths.index(path)])}"
            raise SegcganError(f"{path} comes later and replaces {names}; put --config {path.name} first")


def joined(paths: list[Path]) -> str:
    """Return the name of several configs as one, which is also that of its folder of runs: ``cardiac_mr+cgan``."""
    return "+".join(path.stem for path in paths)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    found = dict(below)
    for key, value in above.items():
        found[key] = _over(below.get(key), value)
    return found


def _with_channels(config: dict[str, Any], below: dict[str, Any]) -> dict[str, Any]:
    """Give a segmenter that replaces another one its number of channels."""
    new, old = ((layer.get("model") or {}).get("segmenter") for layer in (config, below))
    if (channels := _channels(old)) is not None and _channels(new) is None:
        for key, value in _parse(list(_missing("model.segmenter", new, {"in_channels": channels}))).items():
            _set(config, key, value)
    return config


def _over(old: Any, value: Any) -> Any:
    """Return what results of ``value`` over ``old``."""
    if isinstance(old, str) and isinstance(value, dict):
        old = {"class_path": old}  # a part named by its path alone
    if isinstance(old, dict) and isinstance(value, dict):
        path = value.get("class_path", old.get("class_path"))
        if path == old.get("class_path"):
            return _merge(old, value)
        arguments = value.get("init_args")
        if isinstance(arguments, dict) and "class_path" in old:
            return value | {"init_args": {k: old if v == BELOW else v for k, v in arguments.items()}}
        return value
    if isinstance(old, (str, dict)) and value == BELOW:
        return old  # the wrapper stands there already
    if isinstance(old, list) and isinstance(value, list) and value and all(map(_is_part, [*old, *value])):
        places = {part["class_path"]: part for part in old}
        for part in value:
            places[part["class_path"]] = _over(places.get(part["class_path"]), part)
        return list(places.values())
    return value


def _class_of(value: Any) -> str | None:
    """Return the class path of a part; None = no part."""
    path = value.get("class_path") if isinstance(value, dict) else value
    return path if isinstance(path, str) else None


def _is_part(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("class_path"), str)


def read_config(path: Path) -> dict[str, Any]:
    """Read a config.

    Raises:
        SegcganError: not YAML, or no settings.
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
        raise SegcganError(f"{path} holds no settings; a config has the sections {', '.join(SECTIONS)}")
    return config


def read_settings(path: Path, overrides: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of a config with the command line's changes, and those changes by key.

    Raises:
        SegcganError: not YAML, or a word of the command line that belongs to no option.
    """
    config, given = read_config(path), _parse(overrides)
    for key, value in given.items():
        _set(config, key, value)
    return config, given


def completions(path: Path, overrides: list[str]) -> list[str]:
    """Return ``--key=value`` for the channels and classes that the parts of the model need and nobody gave.

    Classes are those of the data, channels those of the segmenter (of the innermost, if others wrap it), so one config
    of a part goes with any data.
    """
    config, _ = read_settings(path, overrides)
    model, data = config.get("model"), config.get("data")
    if not isinstance(model, dict):
        return []
    classes = data.get("classes") if isinstance(data, dict) else None
    known = {"classes": len(classes)} if isinstance(classes, list) else {}
    channels = _channels(model.get("segmenter"))
    known |= {} if channels is None else {"channels": channels}
    words: list[str] = []
    for name in ("segmenter", "refiner", "adversary"):
        words += _missing(f"model.{name}", model.get(name), known)
    parts = model.get("regularisers")
    filled = {str(index): copy.deepcopy(part) for index, part in enumerate(parts if isinstance(parts, list) else [])}
    lacking = [word for index, part in filled.items() for word in _missing(index, part, known)]
    for key, value in _parse(lacking).items():
        _set(filled, key, value)
    # an element of a list has no key of its own on the command line
    return [*words, f"--model.regularisers={json.dumps(list(filled.values()))}"] if lacking else words


def _channels(segmenter: Any) -> int | None:
    while isinstance(segmenter, dict) and isinstance(arguments := segmenter.get("init_args"), dict):
        if "in_channels" in arguments:
            return int(arguments["in_channels"]) if isinstance(arguments["in_channels"], int) else None
        segmenter = arguments.get("segmenter")
    return None


def _missing(name: str, spec: Any, known: dict[str, int]) -> Iterator[str]:
    spec = {"class_path": spec} if isinstance(spec, str) else spec
    if not isinstance(spec, dict) or not isinstance(spec.get("class_path"), str):
        return
    module, _, attribute = spec["class_path"].rpartition(".")
    allow_own_modules()
    try:
        parameters = inspect.signature(getattr(importlib.import_module(module), attribute)).parameters
    except (ImportError, AttributeError, ValueError, TypeError):
        return  # the check of the config says it better
    given = spec.get("init_args") or {}
    if not isinstance(given, dict):
        return
    for key, value in known.items():
        kinds = (int, "int", inspect.Parameter.empty)  # monai's networks have channels that are a list of widths
        if key in parameters and key not in given and parameters[key].annotation in kinds:
            yield f"--{name}.init_args.{key}={value}"
    for key, value in given.items():
        yield from _missing(f"{name}.init_args.{key}", value, known)


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
        if "class_path" in place and name not in PART:
            place = place.setdefault("init_args", {})
        inner = place.get(name)
        if not isinstance(inner, dict):
            inner = place[name] = {"class_path": inner} if isinstance(inner, str) else {}
        place = inner
    if "class_path" in place and last not in PART:
        place = place.setdefault("init_args", {})
    place[last] = value
