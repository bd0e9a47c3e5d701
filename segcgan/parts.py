"""Builds networks and gates from ``class_path`` and ``init_args``, only from packages that are trusted."""

import importlib
import inspect
import os
import sys
from collections.abc import Iterable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args

from torch import nn

from segcgan.errors import SegcganError

TRUSTED = ("segcgan", "segmentation_models_pytorch", "monai", "torch")
_PRETRAINED = ("encoder_weights", "pretrained", "weights")  # never download what is about to be overwritten


def build(spec: Any, trust: Iterable[str] = ()) -> Any:
    """Build a network from ``class_path`` and ``init_args``, without downloading weights.

    Only subclasses of ``torch.nn.Module`` are built: trusted packages also hold functions that fetch and run code.

    Raises:
        SegcganError: the class is outside the trusted packages, no network, or cannot be imported.
    """
    if isinstance(spec, list):
        return [build(item, trust) for item in spec]
    if not isinstance(spec, dict):
        return spec
    if "class_path" not in spec:
        return {key: build(value, trust) for key, value in spec.items()}
    path = spec["class_path"]
    module, _, name = path.rpartition(".")
    trusted = {*TRUSTED, *trust, *filter(None, os.environ.get("SEGCGAN_TRUST", "").split(","))}
    if module.split(".")[0] not in trusted:
        msg = (
            f"class_path {path!r} lies outside the trusted packages ({', '.join(sorted(trusted))}); "
            f"if you know this code, set SEGCGAN_TRUST={module.split('.')[0]}"
        )
        raise SegcganError(msg)
    allow_own_modules()
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SegcganError(f"class_path {path!r} cannot be imported: {error}") from error
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise SegcganError(f"class_path {path!r} is no network; name a subclass of torch.nn.Module")
    arguments = {}
    for key, value in (spec.get("init_args") or {}).items():
        arguments[key] = None if _fetches(key, value) else _as_annotated(build(value, trust), kind, key)
    return kind(**arguments)


def _as_annotated(value: Any, kind: type, key: str) -> Any:
    """Turn a dictionary into the dataclass that an argument is annotated with, if it is."""
    if not isinstance(value, dict):
        return value
    parameter = inspect.signature(kind).parameters.get(key)
    hint = None if parameter is None else parameter.annotation
    found = [each for each in (hint, *get_args(hint)) if isinstance(each, type) and is_dataclass(each)]
    return found[0](**value) if found else value


def pretrained(spec: Any, path: str = "") -> list[tuple[Any, str, str]]:
    """Find the arguments of a part, and of the parts in it, that make it fetch weights.

    Args:
        spec: nested dictionaries or namespaces; others hold none.
        path: dotted key of the part.

    Returns:
        (the arguments, the name of one, its dotted key) each.
    """
    found: list[tuple[Any, str, str]] = []
    if isinstance(spec, list):
        return [each for index, item in enumerate(spec) for each in pretrained(item, f"{path}.{index}")]
    members = spec if isinstance(spec, dict) else vars(spec) if type(spec).__name__ == "Namespace" else {}
    for key, value in members.items():
        inner = f"{path}.{key}"
        found += [(spec, key, inner)] if _fetches(key, value) else pretrained(value, inner)
    return found


def _fetches(key: str, value: Any) -> bool:
    return key in _PRETRAINED and (value is True or isinstance(value, str))  # not: a list of loss weights


def allow_own_modules() -> None:
    """Let ``class_path`` name a module in the current folder; installed ones come first."""
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
