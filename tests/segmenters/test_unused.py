"""Parts that nothing needs are found and left out, and masks stay the same."""

import copy

import segmentation_models_pytorch as smp
import torch
from torch import nn

from segcgan.batch import Batch
from segcgan.segmenters import remove_modules, unused_modules

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
