"""Each term by hand, and that pixels which do not count never matter."""

import math

import pytest
import torch

from segcgan.errors import SegcganError
from segcgan.noise import Noise
from segcgan.priors import MaskAutoencoder
from segcgan.regularisers import Entropy, ShapeLatent
from tests.refiners.conftest import batch


def test_entropy_by_hand():
    windows = batch(4, count=2)
    assert float(Entropy(2.0).terms(windows, torch.zeros(2, 2, 4, 4))["entropy"]) == pytest.approx(2 * math.log(2))
    sure = torch.zeros(2, 2, 4, 4)
    sure[:, 1] = 200
    assert float(Entropy(2.0).terms(windows, sure)["entropy"]) == pytest.approx(0)
    windows.valid[..., 2:] = False
    sure[..., 2:] = 0
    assert float(Entropy(2.0).terms(windows, sure)["entropy"]) == pytest.approx(0)
    windows.valid[...] = False
    assert float(Entropy(2.0).terms(windows, sure)["entropy"]) == 0


def test_entropy_falls_along_its_gradient():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    before = Entropy(1.0).terms(batch(4), logits)["entropy"]
    before.backward()
    after = Entropy(1.0).terms(batch(4), logits - 0.5 * logits.grad)["entropy"]
    assert after < before


def test_equal_masks_have_equal_codes():
    torch.manual_seed(0)
    windows, loss = batch(32), ShapeLatent(MaskAutoencoder(2, width=4, levels=2), 1.0)
    same = torch.full((1, 2, 32, 32), -200.0).scatter(1, windows.target[:, None], 200.0)
    assert float(loss.terms(windows, same)["shape"]) == pytest.approx(0, abs=1e-9)
    other = -same
    assert loss.terms(windows, other)["shape"] > 0
    windows.valid[...] = False
    assert float(loss.terms(windows, other)["shape"]) == pytest.approx(0, abs=1e-9)


def test_a_mask_autoencoder_learns_shapes():
    torch.manual_seed(0)
    prior, windows = MaskAutoencoder(2, width=8, levels=2, flip=0.2), batch(32, count=4)
    optimizer = torch.optim.Adam(prior.parameters(), 1e-2)
    for step in range(60):
        loss = prior.training_loss(windows, Noise(step, 0, windows))["ce"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    mask = torch.nn.functional.one_hot(windows.target, 2).permute(0, 3, 1, 2).float()
    assert (prior.project(mask).argmax(1) == windows.target).float().mean() > 0.97
    salt = torch.where(torch.rand(4, 1, 32, 32) < 0.1, 1 - mask, mask)
    assert (prior.energy(salt) > prior.energy(mask)).all()
    assert (prior.project(salt).argmax(1) == windows.target).float().mean() > 0.95


@pytest.mark.parametrize("make", [lambda: Entropy(-1), lambda: ShapeLatent(MaskAutoencoder(2), -1)])
def test_wrong_weights(make):
    with pytest.raises(SegcganError, match="regulariser weight is -1; it must be at least 0"):
        make()
