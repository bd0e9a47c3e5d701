import pytest
import torch
from torch import nn

from segcgan.batch import Batch
from segcgan.chain import Chain
from segcgan.classes import ClassSpec
from segcgan.data.normalisation import Normalisation
from segcgan.data.patches import Sampling
from segcgan.errors import SegcganError
from segcgan.refiners import Refiner


class Echo(Refiner):
    stochastic = True

    def training_loss(self, batch, noise):
        raise NotImplementedError

    def refine(self, batch, noise):
        self.inference = torch.is_inference_mode_enabled()
        return noise.normal("x", 2, tuple(batch.image.shape[2:]))


class Drop(nn.Module):
    def __init__(self, classes=2):
        super().__init__()
        self.conv, self.drop = nn.Conv2d(1, classes, 1), nn.Dropout(0.5)

    def forward(self, x):
        self.dtype = torch.is_autocast_enabled("cpu")
        return self.drop(self.conv(x))


def make(segmenter=None, refiner=None, **options):
    classes = [ClassSpec("a", [0]), ClassSpec("b", [1])]
    return Chain(Normalisation(4), segmenter, refiner, None, classes, Sampling(), **options)


def test_segmenting_gives_probabilities_without_training_behaviour():
    chain, image = make(Drop().train()), torch.randn(3, 1, 8, 8)
    p = chain.segment(image)
    assert p.dtype == torch.float32
    assert torch.allclose(p.sum(1), torch.ones(3, 8, 8))
    assert torch.equal(p, chain.segment(image))


@pytest.mark.parametrize(("wished", "able"), [(False, True), (True, False), (True, True)])
def test_bf16_is_a_switch_that_needs_the_processor(monkeypatch, wished, able):
    monkeypatch.setattr("segcgan.chain.has_bf16", lambda device: able)
    chain = make(segmenter := Drop(), bf16=wished)
    assert chain.segment(torch.randn(1, 1, 8, 8)).dtype == torch.float32
    assert segmenter.dtype is (wished and able)


def test_refining_depends_on_seed_and_sample():
    chain = make(refiner=Echo())
    batch = Batch(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4, dtype=torch.bool), torch.ones(1, 2),
                  torch.zeros(1, 2, dtype=torch.long), torch.tensor([5]))  # fmt: skip
    one = chain.refine(batch, 0).probability
    assert chain.refiner.inference
    assert torch.equal(one, chain.refine(batch, 0).probability)
    assert not torch.equal(one, chain.refine(batch, 0, 2).probability)
    assert not torch.equal(one, chain.refine(batch, 1).probability)


def test_what_is_missing_is_said():
    with pytest.raises(SegcganError, match="this chain has no segmenter: give coarse masks"):
        make().segment(torch.zeros(1, 1, 4, 4))
    with pytest.raises(SegcganError, match="this chain has no refiner"):
        make().refine(None, 0)
    with pytest.raises(SegcganError, match=r"returns 7 classes but data.classes lists 2; make them equal"):
        make(Drop(7)).segment(torch.zeros(1, 1, 4, 4))


def test_properties_of_chains_with_and_without_weights():
    assert make().channels == 4
    assert make().device == make(nn.Identity()).device == torch.device("cpu")
    chain = make(Drop(), Echo())
    assert chain.to(torch.device("meta")) is chain
    assert chain.device == torch.device("meta")
    assert chain.normalisation.mean.device == torch.device("cpu")
