"""Builds networks and gates from ``class_path`` and ``init_args``, only from packages that are trusted."""

import importlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

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
        named = key in _PRETRAINED and (value is True or isinstance(value, str))  # not: a list of loss weights
        arguments[key] = None if named else build(value, trust)
    return kind(**arguments)


def allow_own_modules() -> None:
    """Let ``class_path`` name a module in the current folder; installed ones come first."""
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
