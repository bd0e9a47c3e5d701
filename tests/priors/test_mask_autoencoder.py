"""The mask autoencoder: shapes, projection, energy, and what it learns."""

import pytest
import torch

from segcgan.errors import SegcganError
from segcgan.losses.region import one_hot
from segcgan.noise import Noise
from segcgan.priors import MaskAutoencoder


def test_shapes_and_unit_codes():
    prior = MaskAutoencoder(3, width=4, levels=3, latent=6)
    mask = one_hot(torch.randint(0, 3, (2, 24, 32)), 3)
    code = prior.encode(mask)
    assert code.shape == (2, 6, 6, 8)
    torch.testing.assert_close(code.square().mean(1), torch.ones(2, 6, 8), rtol=1e-3, atol=1e-3)
    assert prior.decode(code).shape == (2, 3, 24, 32)
    torch.testing.assert_close(prior.project(mask).sum(1), torch.ones(2, 24, 32))
    energy = prior.energy(mask)
    assert energy.shape == (2,)
    assert ((energy >= 0) & (energy <= 1)).all()


def test_it_learns_to_give_back_masks_and_finds_broken_ones_implausible(discs):
    torch.manual_seed(0)
    prior = MaskAutoencoder(2, width=6, levels=4, latent=8)
    optimizer = torch.optim.Adam(prior.parameters(), 3e-3)
    held_out = discs(1000)
    mask = one_hot(held_out.target, 2)
    before = float(prior.energy(mask).mean())
    for step in range(150):
        windows = discs(step)
        optimizer.zero_grad()
        sum(prior.training_loss(windows, Noise(step, 0, windows)).values()).backward()
        optimizer.step()
    after = prior.energy(mask)
    assert float(after.mean()) < 0.2 * before
    broken = mask.roll(16, 3)  # a disc cut in two by the edge
    broken[:, :, ::4] = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    assert (prior.energy(broken) > after).all()
    assert set(prior.diagnostics) == {"projection_error"}


def test_pixels_that_are_not_scored_never_matter(discs):
    torch.manual_seed(0)
    prior, losses = MaskAutoencoder(2, width=4, levels=3), []
    for junk in (0, 1):
        windows = discs(1)
        windows.valid[..., :8] = False
        windows.target[..., :8] = junk
        windows.target[:, 20:24] = 255
        losses.append(prior.training_loss(windows, Noise(0, 0, windows)))
    assert {name: float(value) for name, value in losses[0].items()} == {
        name: float(value) for name, value in losses[1].items()
    }
    windows.valid[:] = False
    assert float(prior.training_loss(windows, Noise(0, 0, windows))["ce"]) == 0
    mask = one_hot(discs(1).target, 2)
    assert not prior.energy(mask, torch.zeros(4, 1, 32, 32, dtype=torch.bool)).any()


@pytest.mark.parametrize(("name", "value"), [("width", 0), ("levels", 0), ("latent", 1)])
def test_sizes_that_make_no_sense_are_refused(name, value):
    with pytest.raises(SegcganError, match=rf"^mask autoencoder {name} is {value}; it must be at least"):
        MaskAutoencoder(2, **{name: value})


def test_windows_that_do_not_fill_whole_cells_are_refused():
    said = "the prior cannot encode windows of 30 x 32; make data.sampling.patch divisible by 16, or the prior's levels"
    with pytest.raises(SegcganError, match=f"^{said}"):
        MaskAutoencoder(2).encode(torch.zeros(1, 2, 30, 32))


def test_without_masks_there_is_nothing_to_learn(discs):
    windows = discs(0)
    windows.target = None
    with pytest.raises(SegcganError, match="learns from reference masks"):
        MaskAutoencoder(2).training_loss(windows, Noise(0, 0, windows))


def test_another_number_of_classes_is_refused():
    with pytest.raises(SegcganError, match=r"^the mask autoencoder has classes: 3 but the data have 2; make"):
        MaskAutoencoder(3).encode(torch.zeros(1, 2, 32, 32))
