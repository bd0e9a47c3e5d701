"""The segmenter an image VAE feeds: what it starts as, what it learns, where its information comes from."""

import copy

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from segcgan.errors import SegcganError
from segcgan.noise import Noise
from segcgan.parts import build
from segcgan.priors import ImageVAE
from segcgan.segmenters import LatentSegmenter
from segcgan.segmenters.base import SelfTaught, segmenter_loss
from segcgan.segmenters.latent import widened


def vae(channels=1):
    return ImageVAE(channels, width=4, levels=3, latent=2, warmup=0)


def networks(channels=1):
    torch.manual_seed(0)
    sizes = {"encoder_weights": None, "in_channels": channels, "classes": 2}
    return {
        "convolution": nn.Conv2d(channels, 2, 5, padding=2),
        "unet": smp.Unet("resnet18", encoder_depth=3, decoder_channels=[8, 8, 8], **sizes),
        "pads by itself": smp.Unet("efficientnet-b0", encoder_depth=3, decoder_channels=[8, 8, 8], **sizes),
        "segformer": smp.Segformer("mit_b0", decoder_segmentation_channels=16, **sizes),
    }


@pytest.mark.parametrize("name", ["convolution", "unet", "pads by itself", "segformer"])
@pytest.mark.parametrize("channels", [1, 3])
def test_in_the_beginning_it_is_the_wrapped_segmenter(discs, name, channels):
    network = networks(channels)[name].eval()
    alone = copy.deepcopy(network)
    segmenter = LatentSegmenter(network, vae(channels)).eval()
    image = discs(1, size=64, channels=channels).image
    torch.testing.assert_close(segmenter(image), alone(image), rtol=1e-4, atol=1e-4)


def test_terms_are_those_of_the_segmenter_and_the_weighted_elbo(discs):
    torch.manual_seed(0)
    segmenter, windows = LatentSegmenter(networks()["convolution"], vae(), weight=0.5), discs(1)
    assert isinstance(segmenter, SelfTaught)
    terms, logits = segmenter_loss(segmenter, windows, Noise(0, 0, windows))
    assert set(terms) == {"dice", "ce", "vae_reconstruction", "vae_kl"}
    assert logits.shape == (4, 2, 32, 32)
    wanted = 0.5 * segmenter.diagnostics["kl_nats"] / 1024
    torch.testing.assert_close(terms["vae_kl"], wanted)


def test_latent_and_features_are_used_and_held(discs):
    """After some steps the first convolution listens to the VAE, and the mask teaches the VAE's encoder."""
    torch.manual_seed(0)
    segmenter = LatentSegmenter(networks()["convolution"], vae())
    optimizer = torch.optim.Adam(segmenter.parameters(), 1e-2)
    for step in range(30):
        windows = discs(step)
        terms, _ = segmenter_loss(segmenter, windows, Noise(step, 0, windows))
        optimizer.zero_grad()
        (terms["dice"] + terms["ce"]).backward()
        taught = segmenter.prior.posterior.weight.grad.abs().sum()
        optimizer.step()
    assert float(taught) > 0
    assert segmenter.segmenter.weight[:, 1:5].abs().max() > 1e-3
    assert segmenter.segmenter.weight[:, 5:].abs().max() > 1e-3


def test_prediction_takes_the_mean_and_repeats_itself(discs):
    torch.manual_seed(0)
    segmenter, windows = LatentSegmenter(networks()["convolution"], vae()).eval(), discs(1)
    nn.init.normal_(segmenter.segmenter.weight)
    assert torch.equal(segmenter(windows.image), segmenter(windows.image))
    first, second = (segmenter.training_loss(windows, Noise(seed, 0, windows))[1] for seed in (0, 1))
    assert not torch.equal(first, second)


def test_what_is_far_away_does_not_change_a_mask():
    """Nothing averages over the window: a pixel with all it can see inside two windows is the same in both."""
    torch.manual_seed(0)
    segmenter, image = LatentSegmenter(networks()["convolution"], vae()).eval(), torch.randn(1, 1, 96, 128)
    nn.init.normal_(segmenter.segmenter.weight)
    torch.testing.assert_close(
        segmenter(image)[..., :40], segmenter(image[..., :96])[..., :40], rtol=1e-4, atol=1e-4
    )


def test_invalid_pixels_never_matter(discs):
    torch.manual_seed(0)
    segmenter, found = LatentSegmenter(networks()["convolution"], vae()), []
    for junk in (0.0, 50.0):
        windows = discs(1)
        windows.valid[..., :10] = False
        windows.image[..., :10] = junk
        terms, _ = segmenter_loss(segmenter, windows, Noise(0, 0, windows))
        found.append({name: float(value.detach()) for name, value in terms.items()})
    assert found[0] == found[1]


def test_it_is_built_back_from_its_class_path(discs):
    inner = {
        "class_path": "segmentation_models_pytorch.Unet",
        "init_args": {"encoder_name": "resnet18", "encoder_weights": "imagenet", "in_channels": 1, "classes": 2},
    }
    prior = {"class_path": "segcgan.priors.ImageVAE", "init_args": {"channels": 1, "width": 4, "latent": 2}}
    spec = {"class_path": "segcgan.segmenters.LatentSegmenter", "init_args": {"segmenter": inner, "prior": prior}}
    one, two = build(spec).eval(), build(spec).eval()  # no weights are fetched
    nn.init.normal_(one.segmenter.encoder.conv1.weight, std=0.1)
    two.load_state_dict(one.state_dict())
    image = discs(1).image
    assert torch.equal(one(image), two(image))


def test_a_network_that_does_not_begin_with_the_image_is_refused():
    said = "the first convolution of Conv2d takes 3, the images have 1 channels; give in_channels of the segmenter"
    with pytest.raises(SegcganError, match=f"^{said}"):
        LatentSegmenter(nn.Conv2d(3, 2, 1), vae())
    with pytest.raises(SegcganError, match=r"^the first convolution of Flatten does not exist"):
        widened(nn.Flatten(), 1, 4)


def test_a_negative_weight_is_refused():
    with pytest.raises(SegcganError, match=r"^segmenter weight is -1; it must be at least 0$"):
        LatentSegmenter(nn.Conv2d(1, 2, 1), vae(), weight=-1)
