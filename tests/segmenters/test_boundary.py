"""The boundary branch: what a boundary is, whose features it shapes, and that prediction does not notice it."""

import copy

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from segcgan.errors import SegcganError
from segcgan.noise import Noise
from segcgan.parts import build
from segcgan.segmenters import BoundarySegmenter
from segcgan.segmenters.base import SelfTaught, segmenter_loss
from segcgan.segmenters.boundary import boundary


def unet(channels=1):
    sizes = {"encoder_weights": None, "in_channels": channels, "classes": 2}
    return smp.Unet("resnet18", encoder_depth=3, decoder_channels=[16, 8, 8], **sizes)


def learn(segmenter, windows, step=0):
    return segmenter_loss(segmenter, windows, Noise(step, 0, windows))


def test_the_boundary_of_a_square():
    target, scored = torch.zeros(1, 7, 7, dtype=torch.long), torch.ones(1, 7, 7, dtype=torch.bool)
    target[:, 2:5, 2:5] = 2
    edges, known = boundary(target, scored)
    wanted = torch.zeros(7, 7, dtype=torch.long)
    wanted[1:6, 1:6] = 1
    wanted[3, 3] = 0
    assert torch.equal(edges[0], wanted)
    assert known.all()
    wide, _ = boundary(target, scored, radius=2)
    assert wide.all()


def test_boundaries_at_the_edges_and_beside_the_unknown():
    target, scored = torch.zeros(1, 5, 5, dtype=torch.long), torch.ones(1, 5, 5, dtype=torch.bool)
    assert not boundary(target, scored)[0].any()  # empty
    target[:] = 1
    assert not boundary(target, scored)[0].any()  # full: the edge of the window is no boundary
    target[:, :, 0], scored[:, :, 0] = 255, False
    edges, known = boundary(target, scored)
    assert not (edges.bool() & known).any()
    assert known[0, 2].tolist() == [False, False, True, True, True]
    single = torch.ones(1, 1, 1, dtype=torch.long)
    assert not boundary(single, single.bool())[0].any()


def test_it_shares_the_features_of_a_decoder_and_else_sees_image_and_logits(discs):
    torch.manual_seed(0)
    windows = discs(1)
    for network, first in ((unet(), 8), (nn.Conv2d(1, 2, 3, padding=1), 3)):
        segmenter = BoundarySegmenter(network, 1, 2, width=4)
        assert isinstance(segmenter, SelfTaught)
        assert segmenter.branch[0].in_channels == first
        terms, logits = learn(segmenter, windows)
        assert set(terms) == {"dice", "ce", "edge_dice", "edge_ce"}
        assert logits.shape == (4, 2, 32, 32)
        (terms["edge_dice"] + terms["edge_ce"]).backward()
        if first == 8:  # the head of the mask is behind the fork
            assert all(p.grad is None for p in network.segmentation_head.parameters())
            assert network.decoder.blocks[0].conv1[0].weight.grad.abs().sum() > 0
        else:
            assert network.weight.grad.abs().sum() > 0
        assert not segmenter.segmenter._modules.get("segmentation_head", nn.Identity())._forward_pre_hooks


def test_features_at_lower_resolution_are_enlarged(discs):
    sizes = {"encoder_weights": None, "in_channels": 1, "classes": 2}
    network = smp.Segformer("resnet18", decoder_segmentation_channels=16, **sizes)
    terms, logits = learn(BoundarySegmenter(network, 1, 2), discs(1, size=64))
    assert logits.shape == (4, 2, 64, 64)
    assert torch.isfinite(terms["edge_ce"])


def test_it_learns_boundaries_and_prediction_is_that_of_the_wrapped_network(discs):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 8, 5, padding=2), nn.SiLU(), nn.Conv2d(8, 2, 3, padding=1))
    segmenter = BoundarySegmenter(network, 1, 2, width=8)
    optimizer, found = torch.optim.Adam(segmenter.parameters(), 1e-2), []
    for step in range(80):
        terms, _ = learn(segmenter, discs(step), step)
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
        found.append(float(terms["edge_dice"].detach()))
    assert sum(found[-5:]) < 0.6 * sum(found[:5])
    image = discs(1000).image
    assert torch.equal(segmenter.eval()(image), copy.deepcopy(network).eval()(image))


def test_pixels_that_are_not_scored_never_matter(discs):
    torch.manual_seed(0)
    segmenter, found = BoundarySegmenter(nn.Conv2d(1, 2, 1), 1, 2, width=4), []
    for junk in (0, 1):
        windows = discs(1)
        windows.valid[..., :8] = False
        windows.target[..., :8] = junk
        found.append({name: float(value) for name, value in learn(segmenter, windows)[0].items()})
    assert found[0] == found[1]
    windows.valid[:] = False
    assert float(learn(segmenter, windows)[0]["edge_ce"].detach()) == 0


def test_it_is_built_back_from_its_class_path():
    inner = {"class_path": "torch.nn.Conv2d", "init_args": {"in_channels": 1, "out_channels": 2, "kernel_size": 1}}
    arguments = {"segmenter": inner, "channels": 1, "classes": 2}
    path = "segcgan.segmenters.BoundarySegmenter"
    built = build({"class_path": path, "init_args": arguments})
    built.load_state_dict(BoundarySegmenter(nn.Conv2d(1, 2, 1), 1, 2).state_dict())
    assert built.prior is None
    assert built.diagnostics == {}


@pytest.mark.parametrize(("name", "value"), [("width", 0), ("radius", 0), ("weight", -1)])
def test_values_that_make_no_sense_are_refused(name, value):
    with pytest.raises(SegcganError, match=rf"^segmenter {name} is {value}; it must be at least"):
        BoundarySegmenter(nn.Conv2d(1, 2, 1), 1, 2, **{name: value})


def test_a_branch_made_for_other_images_is_refused(discs):
    said = "^the boundary branch takes 5 channels and classes, not 3; make its channels and classes those"
    with pytest.raises(SegcganError, match=said):
        learn(BoundarySegmenter(nn.Conv2d(1, 2, 1), 1, 4), discs(1))
