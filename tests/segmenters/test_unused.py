"""Parts that nothing needs are found and left out, and masks stay the same."""

import copy

import segmentation_models_pytorch as smp
import torch
from torch import nn

from segcgan.batch import Batch
from segcgan.priors import ImageVAE
from segcgan.segmenters import all_learn, remove_modules, unused_modules

UNET = {"encoder_weights": None, "decoder_channels": [16, 8, 8, 8], "in_channels": 1, "classes": 2}


def windows() -> Batch:
    return Batch(
        torch.randn(2, 1, 32, 32), torch.ones(2, 1, 32, 32, dtype=torch.bool), torch.ones(2, 2),
        torch.zeros(2, 2, dtype=torch.int64), torch.arange(2), torch.zeros(2, 32, 32, dtype=torch.int64),
    )  # fmt: skip


def test_the_last_layers_of_an_encoder_cut_short_are_unused_and_masks_stay_the_same() -> None:
    network = smp.Unet("resnet18", encoder_depth=4, **UNET)
    state, batch = copy.deepcopy(network.state_dict()), windows()
    chance = torch.get_rng_state()
    names = unused_modules(network, batch)
    assert names == ["encoder.layer4"]
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), chance)
    image, before = torch.randn(2, 1, 64, 64), sum(p.numel() for p in network.parameters())
    expected = network.eval()(image)
    assert remove_modules(network, names) == 8_393_728
    assert sum(p.numel() for p in network.parameters()) == before - 8_393_728
    assert torch.equal(network(image), expected)
    assert unused_modules(network, windows()) == []


def test_a_whole_network_has_no_unused_parts() -> None:
    assert unused_modules(smp.Unet("tu-resnet10t", encoder_depth=4, **UNET), windows()) == []


class Odd(nn.Module):
    """Uses a layer's weights without calling it, another layer only to predict, and a third never."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.bare, self.idle = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)
        self.late = nn.Sequential(nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = nn.functional.conv2d(self.first(image), self.bare.weight)
        return x if self.training else self.late[0](x)


def test_only_what_neither_training_nor_prediction_needs_is_unused() -> None:
    assert unused_modules(Odd(), windows()) == ["idle", "late.1"]


class Frozen(nn.Module):
    """A frozen part without gradients, whose attention uses the weights of a layer it never calls."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head, self.idle = nn.Conv2d(1, 8, 1), nn.Conv2d(8, 2, 1), nn.Conv2d(8, 8, 1)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            x = self.stem(image)
            tokens = self.layer(x.flatten(2).transpose(1, 2))
        return self.head(tokens.transpose(1, 2).reshape(x.shape))


def test_weights_that_are_used_without_a_call_and_a_gradient_stay() -> None:
    network, image = Frozen(), torch.randn(1, 1, 8, 8)
    names = unused_modules(network, windows())
    assert names == ["idle"]
    expected = network.eval()(image)
    remove_modules(network, names)
    assert torch.equal(network(image), expected)


class Encoded(nn.Module):
    """Uses the encoder of a prior only, whose own stage needs the decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.prior = ImageVAE(1, 4, 2, 2)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.prior.encode(image)[1])
        return logits


def test_a_prior_stays_whole() -> None:
    assert unused_modules(Encoded(), windows()) == []


def test_a_parameter_without_a_gradient_is_found() -> None:
    batch = windows()
    network = smp.Unet("resnet18", encoder_depth=4, **UNET)
    assert not all_learn(network, batch)
    assert all_learn(network, batch, ["encoder.layer4"])
    assert "encoder.layer4.0.conv1.weight" in network.state_dict()
    frozen = Frozen()
    assert not all_learn(frozen, batch, ["idle"])
    for part in (frozen.stem, frozen.layer):
        part.requires_grad_(False)
    assert all_learn(frozen, batch, ["idle"])
