"""Cases in memory for the tests of the data code."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segcgan.case import Case, Geometry


@dataclass
class InMemory:
    """Pixels (C, d, h, w) and validity (1, d, h, w) of a case."""

    values: Any
    valid: Any

    def read(self, window):
        return self.values[:, *window], self.valid[:, *window]


@dataclass
class Sliced:
    """Label values (d, h, w), or with channels in front."""

    values: Any

    def __call__(self, window):
        return self.values[..., *window]


def _make(values, *, valid=None, labels=None, coarse=None, name="a", spacing=(1.0, 1.0, 1.0), **more):
    values = np.asarray(values, np.float32)
    valid = np.ones((1, *values.shape[1:]), bool) if valid is None else valid
    return Case(
        name=name,
        path=Path(f"{name}.tif"),
        format="geotiff",
        shape=values.shape[1:],
        channels=len(values),
        geometry=Geometry(np.eye(4), spacing),
        reader=InMemory(values, valid),
        reference=None if labels is None else Sliced(labels),
        coarse=None if coarse is None else Sliced(coarse),
        **({"group": name} | more),
    )


@pytest.fixture(scope="session")
def make_case():
    """Make a case from values (C, d, h, w)."""
    return _make
