"""The row that looks at no image: cuts of the mean training mask, and one of them chosen on validation."""

import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from segcgan.case import Geometry
from segcgan.classes import ClassSpec

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
DATA = SimpleNamespace(classes=[ClassSpec("background", [0]), ClassSpec("nodule", [1])], boundary=1.0)


@dataclass
class Drawn:
    """A case of two raters whose nodules are squares of these sizes in the middle of 16 × 16 pixels."""

    sizes: tuple[int, int]
    name: str = "a"
    group: str = "a"
    whole: None = None
    raters: bool = True
    geometry: Geometry = Geometry(np.eye(4), (1.0, 1.0, 1.0), "px")  # noqa: RUF009

    def read_raters(self, window):
        masks = np.zeros((2, 1, 16, 16), np.uint8)
        for mask, size in zip(masks, self.sizes, strict=True):
            mask[0, 8 - size : 8 + size, 8 - size : 8 + size] = 1
        return masks

    def read_reference(self, window):
        return self.read_raters(window)[0]

    def read(self, window):
        return np.zeros((1, 1, 16, 16)), np.ones((1, 1, 16, 16), bool)


@pytest.fixture
def template(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("kept", "template"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import template

    return template


def test_the_template_is_the_share_of_raters_and_cases(template):
    mean = template.mean_mask([Drawn((2, 4)), Drawn((0, 4))])
    assert mean.shape == (1, 16, 16)
    assert (mean[0, 8, 8], mean[0, 8, 11], mean[0, 0, 0]) == (0.75, 0.5, 0)


def test_the_one_mask_is_the_best_on_validation_and_never_the_empty_one(template):
    """Four of five validation references are empty: the cut that shows nothing would be right in most cases."""
    cuts = np.stack([Drawn((size, 0)).read_raters(None)[0] for size in (6, 4, 2, 0)])
    cases = [Drawn((4, 4), "shown"), *(Drawn((0, 0), f"empty {i}") for i in range(4))]
    assert template.best_cut(cuts, cases, DATA) == 1
    assert template.best_cut(cuts, [Drawn((2, 2))], DATA) == 2
