"""The settings of a training: one config or several on top of each other, and what the command line changes."""

import importlib
import inspect
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


@contextmanager
def layered(paths: list[Path]) -> Iterator[Path]:
    """Give one config for several: each changes what those before it say, and a part with another class replaces it.

    Of a single config it is the file itself; else a temporary one, named after all: ``cardiac_mr+cgan.yaml``.
    """
    if len(paths) == 1:
        yield paths[0]
        return
    merged: dict[str, Any] = {}
    for path in paths:
        merged = _merge(merged, read_config(path))
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / f"{'+'.join(path.stem for path in paths)}.yaml"
        whole.write_text(yaml.safe_dump(merged, sort_keys=False), encoding="utf-8")
        yield whole


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    found = dict(below)
    for key, value in above.items():
        old = found.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        if both and value.get("class_path", old.get("class_path")) == old.get("class_path"):  # type: ignore[union-attr]
            found[key] = _merge(old, value)  # type: ignore[arg-type]
        else:
            found[key] = value
    return found


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
    """Return ``--key=value`` for the channels and classes that refiner and critic need and nobody gave.

    Classes are those of the data, channels those of the segmenter, so one config of a refiner goes with any data.
    """
    config, _ = read_settings(path, overrides)
    model, data = config.get("model"), config.get("data")
    classes = data.get("classes") if isinstance(data, dict) else None
    known = {"classes": len(classes)} if isinstance(classes, list) else {}
    if isinstance(model, dict) and isinstance(segmenter := model.get("segmenter"), dict):
        channels = (segmenter.get("init_args") or {}).get("in_channels")
        known |= {} if channels is None else {"channels": channels}
    words: list[str] = []
    for name in ("refiner", "adversary"):
        words += _missing(f"model.{name}", model.get(name) if isinstance(model, dict) else None, known)
    return words


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
        if key in parameters and key not in given:
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
        inner = place.get(name)
        if not isinstance(inner, dict):
            inner = place[name] = {"class_path": inner} if isinstance(inner, str) else {}
        place = inner
    if "class_path" in place and last not in PART:
        place = place.setdefault("init_args", {})
    place[last] = value
