"""Tiny chains and cases held in memory."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from segcgan.case import Case, Geometry
from segcgan.chain import Chain
from segcgan.classes import ClassSpec
from segcgan.data.normalisation import Normalisation
from segcgan.data.patches import Sampling
from segcgan.gates import Gate
from segcgan.refiners import Refiner, ResidualRefiner


@dataclass
class Pixels:
    """A reader of arrays that counts what was asked of it."""

    image: np.ndarray
    valid: np.ndarray

    def read(self, window):
        return self.image[(slice(None), *window)].astype(np.float32), self.valid[(slice(None), *window)]


class Network(nn.Module):
    """A convolution that remembers how many windows it saw."""

    def __init__(self, channels=1, classes=2, kernel=5):
        super().__init__()
        self.conv = nn.Conv2d(channels, classes, kernel, padding=kernel // 2)
        self.seen = 0

    def forward(self, x):
        self.seen += len(x)
        return 3 * self.conv(x)


class Noisy(Refiner):
    """Adds noise at full and at quarter resolution, and one draw per case."""

    stochastic, reach, stride = True, 0, 4

    def training_loss(self, batch, noise):
        raise NotImplementedError

    def refine(self, batch, noise):
        height, width = batch.image.shape[2:]
        coarse = noise.normal("coarse", 2, (height // 4, width // 4), stride=4)
        fine = noise.normal("fine", 2, (height, width))
        shift = noise.per_case("shift", 2)[:, :, None, None]
        return batch.coarse.clamp_min(1e-3).log() + fine + F.interpolate(coarse, scale_factor=4.0) + shift


class Centred(Noisy):
    """Of unbounded reach: what it adds depends on the mean of the window."""

    reach = None

    def refine(self, batch, noise):
        self.sizes = {*getattr(self, "sizes", ()), tuple(batch.image.shape[2:])}
        return (
            super().refine(batch, noise)
            + 4 * batch.image.mean((1, 2, 3), keepdim=True) * torch.tensor([1, -1])[:, None, None]
        )


class Choose(Gate):
    """Accepts or refuses whatever comes."""

    def __init__(self, accept):
        super().__init__()
        self.accept = accept

    def evidence(self, coarse, refined, valid):
        return np.array([np.count_nonzero(coarse[valid] != refined[valid]), np.count_nonzero(valid)], float)

    def decide(self, evidence):
        return self.accept, f"chosen: {self.accept}"

    def fit(self, units):
        return "fitted"


def make_case(shape=(1, 70, 50), channels=1, spacing=(1.0, 1.0, 1.0), hole=None, seed=0, name="case") -> Case:
    """A case of random pixels; ``hole``: a window without data."""
    rng = np.random.default_rng(seed)
    image, valid = rng.normal(size=(channels, *shape)), np.ones((1, *shape), bool)
    if hole is not None:
        valid[(slice(None), *hole)] = False
    affine = np.diag([*spacing, 1.0])
    pixels = Pixels(image, valid)
    return Case(name, Path(f"{name}.png"), "png", shape, channels, Geometry(affine, spacing), pixels)


def give_coarse(case: Case, seed=1, classes=2) -> Case:
    """Attach smooth coarse probabilities made elsewhere."""
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(size=(classes, *case.shape))).float()
    p = (F.avg_pool3d(logits[None], (1, 5, 5), 1, (0, 2, 2)) * 9)[0].softmax(0).numpy()
    case.coarse = lambda window: p[(slice(None), *window)]
    return case


def make_chain(
    *, patch=(16, 16), context=0, spacing=None, refiner=None, gate=None, segmenter="network", channels=1
) -> Chain:
    """A chain of random weights."""
    torch.manual_seed(0)
    normalisation = Normalisation(channels)
    normalisation.load_state_dict(
        {"low": torch.full((channels,), -9.0), "high": torch.full((channels,), 9.0),
         "mean": torch.zeros(channels), "std": torch.ones(channels)}
    )  # fmt: skip
    network = Network(channels * (2 * context + 1)) if segmenter == "network" else segmenter
    if refiner == "residual":
        refiner = ResidualRefiner(channels * (2 * context + 1), 2, width=4, levels=2)
        nn.init.normal_(refiner.head.last.weight, std=0.75)
    elif refiner in ("noisy", "centred"):
        refiner = Noisy() if refiner == "noisy" else Centred()
    classes = [ClassSpec("ground", [0]), ClassSpec("thing", [1])]
    sampling = Sampling(patch=patch, context=context, spacing=spacing)
    return Chain(normalisation, network, refiner, gate, classes, sampling, tag="weights")


@pytest.fixture(scope="session")
def case() -> Callable[..., Case]:
    return make_case


@pytest.fixture(scope="session")
def with_coarse() -> Callable[..., Case]:
    return give_coarse


@pytest.fixture(scope="session")
def chain() -> Callable[..., Chain]:
    return make_chain


@pytest.fixture(scope="session")
def choose() -> Callable[[bool], Gate]:
    return Choose
