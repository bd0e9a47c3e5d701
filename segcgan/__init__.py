"""A segmenter draws a coarse mask, a generative model of masks corrects it, a gate keeps the better one.

For notebooks: ``segcgan.open(image)``, ``segcgan.load(run)``, ``segcgan.cases(run)`` and ``segcgan.show(case, run)``.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_LAZY = {  # imported on first use, so that the first contact needs no torch
    "open": ("segcgan.formats", "open_case"),
    "load": ("segcgan.runs", "load"),
    "cases": ("segcgan.report.known", "cases"),
    "show": ("segcgan.report.show", "show"),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'segcgan' has no attribute {name!r}")
    module, function = _LAZY[name]
    return getattr(import_module(module), function)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
