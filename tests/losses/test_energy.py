import math

import pytest
import torch

from segcgan.losses import energy_score
from segcgan.losses.region import one_hot


def masks(*values):
    return one_hot(torch.tensor(values).view(len(values), 1, 1).expand(len(values), 4, 4), 2)


SCORED = torch.ones(1, 4, 4, dtype=torch.bool)


def test_values():
    zero, one = masks(0), masks(1)
    assert float(energy_score(torch.stack([one, one]), one, SCORED)) == pytest.approx(0, abs=1e-3)
    assert float(energy_score(torch.stack([zero, zero]), one, SCORED)) == pytest.approx(1, abs=1e-3)
    # one sample right, the other wrong: mean distance 1/2, and they are 1 apart
    assert float(energy_score(torch.stack([zero, one]), one, SCORED)) == pytest.approx(0, abs=1e-3)
    half = torch.full_like(one, 0.5)
    assert float(energy_score(torch.stack([half, half]), one, SCORED)) == pytest.approx(0.5, abs=1e-3)


def test_the_best_samples_are_those_of_the_references():
    """References are all-0 or all-1 by a coin: samples by a coin beat one undecided mask and a single guess."""
    zero, one = masks(0), masks(1)

    def expected(pairs):
        scores = [energy_score(torch.stack(pair), truth, SCORED) for pair in pairs for truth in (zero, one)]
        return float(torch.stack(scores).mean())

    coin = expected([(zero, zero), (zero, one), (one, zero), (one, one)])
    undecided = expected([(torch.full_like(one, 0.5),) * 2])
    assert coin == pytest.approx(0.25, abs=1e-3)
    assert coin < undecided
    assert coin < expected([(one, one)])


def test_pixels_that_do_not_count_and_images_without_any():
    samples, reference = torch.rand(3, 2, 2, 4, 4), masks(0, 1)
    scored = torch.ones(2, 4, 4, dtype=torch.bool)
    scored[:, 2:] = False
    other = samples.clone()
    other[..., 2:, :] = torch.rand(3, 2, 2, 2, 4)
    torch.testing.assert_close(energy_score(samples, reference, scored), energy_score(other, reference, scored))
    assert float(energy_score(samples, reference, torch.zeros_like(scored))) == pytest.approx(0, abs=1e-3)


def test_equal_samples_have_finite_gradients():
    samples = torch.full((2, 1, 2, 4, 4), 0.5, requires_grad=True)
    energy_score(samples, masks(1), SCORED).backward()
    assert all(math.isfinite(v) for v in samples.grad.flatten().tolist())
