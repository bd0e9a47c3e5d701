import pytest
import torch
from torch.distributions import Normal, kl_divergence

from segcgan.losses.variational import Gaussian, active_units, kl_nats


def gaussian(seed, shape=(3, 4, 5, 6)):
    generator = torch.Generator().manual_seed(seed)
    return Gaussian(torch.randn(shape, generator=generator), torch.randn(shape, generator=generator))


def test_nats_are_those_of_torch():
    q, p = gaussian(0), gaussian(1)
    expected = kl_divergence(Normal(q.mean, q.log_sigma.exp()), Normal(p.mean, p.log_sigma.exp())).flatten(1).sum(1)
    torch.testing.assert_close(kl_nats(q, p), expected)
    standard = kl_divergence(Normal(q.mean, q.log_sigma.exp()), Normal(0, 1)).flatten(1).sum(1)
    torch.testing.assert_close(kl_nats(q), standard)
    assert torch.equal(kl_nats(q, q), torch.zeros(3))


def test_positions_that_are_not_known_cost_nothing():
    q, known = gaussian(0), torch.zeros(3, 1, 5, 6, dtype=torch.bool)
    assert torch.equal(kl_nats(q, known=known), torch.zeros(3))
    known[:, :, 2, 3] = True
    part = Gaussian(q.mean[:, :, 2:3, 3:4], q.log_sigma[:, :, 2:3, 3:4])
    torch.testing.assert_close(kl_nats(q, known=known), kl_nats(part))


def test_log_sigma_stays_finite():
    q = Gaussian.of(torch.full((1, 4, 2, 2), 1e6))
    assert q.log_sigma.max() == 10
    assert torch.isfinite(kl_nats(Gaussian.of(torch.tensor([0.0, -1e6]).view(1, 2, 1, 1)))).all()


@pytest.mark.parametrize("used", [0, 1, 3])
def test_active_units(used):
    means = torch.zeros(8, 3, 2, 2)
    means[:, :used] = torch.randn(8, used, 2, 2)
    means[:, used:] = 7.0  # constant, however large: says nothing of the image
    assert active_units(means) == used
