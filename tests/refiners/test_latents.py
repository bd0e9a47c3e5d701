"""What is drawn at random enters beside normalised features, and older runs compute as they were trained."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from segcgan.batch import Batch
from segcgan.errors import SegcganError
from segcgan.noise import Noise
from segcgan.refiners import AdversarialRefiner, LatentRefiner
from segcgan.refiners.ushape import beside_latents, pixel_norm
from segcgan.runs import FORMAT, load
from tests.refiners.conftest import batch

OLD = Path(__file__).parents[1] / "format_1"  # two chains of a tiny refiner and what they predicted, by the code then
KINDS = [AdversarialRefiner, LatentRefiner]


def predicted(folder):
    """Two samples of the old chain's window by the code of today, and the mask it gave then."""
    chain, kept = load(folder), load_file(OLD / folder.name / "prediction.safetensors")
    window = Batch(
        image=kept["image"],
        valid=torch.ones(1, 1, 16, 16, dtype=torch.bool),
        spacing=torch.ones(1, 2),
        origin=torch.zeros(1, 2, dtype=torch.long),
        key=torch.tensor([7 << 20]),
        coarse=kept["coarse"],
    )
    return chain.refine(window, seed=3, samples=2).probability, kept["refined"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_of_format_1_predicts_what_it_predicted(kind, tmp_path):
    found, then = predicted(OLD / kind.__name__)
    torch.testing.assert_close(found, then, atol=1e-6, rtol=0)  # equal on the machine that wrote it
    folder = shutil.copytree(OLD / kind.__name__, tmp_path / kind.__name__)
    described = json.loads((folder / "chain.json").read_text())
    (folder / "chain.json").write_text(json.dumps(described | {"format": FORMAT}))
    other, _ = predicted(folder)
    assert (other - then).abs().max() > 1e-3  # computed as today it would be another mask


@pytest.mark.parametrize("kind", KINDS)
def test_the_old_order_is_kept_to_the_bit(kind):
    torch.manual_seed(0)
    refiner, windows = kind(1, 2, width=4, levels=2).eval(), batch(16)
    torch.nn.init.normal_(refiner.head.last.weight)
    stack = refiner.fuse if kind is LatentRefiner else refiner.stir
    seen = []
    stack.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    refiner.joint_norm = True
    with torch.no_grad():
        refiner.refine(windows, Noise(0, 0, windows))
    features, old = torch.randn(1, 4, 8, 8), torch.randn(1, 3, 4, 4)
    case = torch.randn(1, 2)
    joined = torch.cat([features, torch.nn.functional.interpolate(old, scale_factor=2.0, mode="bilinear")], 1)
    joined = torch.cat([joined, case[..., None, None].expand(1, 2, 8, 8)], 1)
    assert torch.equal(beside_latents(features, old, case, joint=True), pixel_norm(joined))
    torch.testing.assert_close(seen[0].square().mean(1), torch.ones(1, 16, 16), atol=1e-3, rtol=0)


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_features_of_any_size_leave_the_latents_as_they_were_drawn(scale):
    features, case = scale * torch.randn(2, 6, 8, 8), torch.randn(2, 3)
    joined = beside_latents(features, torch.randn(2, 2, 4, 4), case)
    torch.testing.assert_close(joined[:, :6].square().mean(1), torch.ones(2, 8, 8), atol=1e-3, rtol=0)
    assert torch.equal(joined[:, 8:, 0, 0], case)


def test_a_newer_format_is_refused_in_one_sentence(tmp_path):
    folder = shutil.copytree(OLD / "LatentRefiner", tmp_path / "newer")
    described = json.loads((folder / "chain.json").read_text())
    (folder / "chain.json").write_text(json.dumps(described | {"format": FORMAT + 1}))
    with pytest.raises(SegcganError) as error:
        load(folder)
    cure = "update segcgan, or train again with this one"
    assert str(error.value) == f"{folder} has format {FORMAT + 1}, newer than {FORMAT}, the last known here; {cure}"
