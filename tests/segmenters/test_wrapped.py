"""Segmenters with more to learn than a mask."""

import pytest
import torch
from torch import nn

from segcgan.losses.boundary import edges
from segcgan.noise import Noise
from segcgan.priors import ImageVAE
from segcgan.segmenters import BoundarySegmenter, LatentSegmenter, segmenter_loss
from tests.refiners.conftest import batch


def test_edges_by_hand():
    target = torch.zeros(1, 5, 6, dtype=torch.long)
    target[..., 3:] = 2
    scored = torch.ones(1, 5, 6, dtype=torch.bool)
    edge, known = edges(target, scored)
    assert edge[0].any(0).tolist() == [False, False, True, True, False, False]
    assert known.all()
    scored[0, 0, 0] = False
    assert edges(target, scored)[1].sum() == 30 - 4


def test_the_boundary_branch_teaches_the_segmenter_and_does_not_predict():
    torch.manual_seed(0)
    network = nn.Conv2d(1, 2, 3, padding=1)
    segmenter, windows = BoundarySegmenter(network, 1, 2), batch(16)
    assert torch.equal(segmenter(windows.image), network(windows.image))
    terms, _ = segmenter_loss(segmenter, windows, Noise(0, 0, windows))
    assert sorted(terms) == ["ce", "dice", "edge"]
    terms["edge"].backward()
    assert network.weight.grad.abs().sum() > 0
    windows.valid[...] = False
    terms, _ = segmenter_loss(segmenter, windows, Noise(0, 0, windows))
    assert terms["edge"] == 0


def test_the_latent_reaches_the_mask_and_its_nats_the_loss():
    torch.manual_seed(0)
    segmenter = LatentSegmenter(nn.Conv2d(1 + 3, 2, 1), ImageVAE(1, width=4, levels=2, latent=3), weight=0.5)
    windows = batch(16)
    terms, logits = segmenter_loss(segmenter, windows, Noise(0, 0, windows))
    assert sorted(terms) == ["ce", "dice", "image_kl", "image_reconstruction"]
    logits.sum().backward()
    assert next(segmenter.prior.encoder.parameters()).grad.abs().sum() > 0
    plain = LatentSegmenter(nn.Conv2d(1 + 3, 2, 1), ImageVAE(1, width=4, levels=2, latent=3), weight=0.0)
    assert sorted(segmenter_loss(plain, windows, Noise(0, 0, windows))[0]) == ["ce", "dice"]


@pytest.mark.parametrize("shift", [4, 8])
def test_the_latent_does_not_depend_on_where_a_window_begins(shift):
    torch.manual_seed(0)
    segmenter = LatentSegmenter(nn.Conv2d(1 + 3, 2, 1), ImageVAE(1, width=4, levels=2, latent=3))
    image = torch.randn(1, 1, 96, 96)
    with torch.no_grad():
        whole, part = segmenter(image), segmenter(image[..., shift:, shift:])
    inner = slice(24, 64)
    moved = slice(24 - shift, 64 - shift)
    torch.testing.assert_close(part[..., moved, moved], whole[..., inner, inner], atol=1e-5, rtol=0)
