"""Declared padding: the same voxels give the same mask, whether the tag PixelPaddingValue is there or not."""

import numpy as np
import pytest
import torch

from segcgan.data.patches import PatchDataset
from segcgan.formats import open_case
from segcgan.inference.engine import predict_case
from segcgan.inference.store import MemoryStore
from segcgan.inference.windows import Windows
from tests.formats.conftest import write_images

SIZE = 44
ROWS, COLUMNS = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
INSIDE = ROWS**2 + COLUMNS**2 < 0.8


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """A CT whose corners are padding, which is declared in the first case and not in the second."""
    rng = np.random.default_rng(0)
    images = [
        {"z": 3.0 * z, "pixels": np.where(INSIDE, rng.integers(-1000, 600, INSIDE.shape), -2000)} for z in range(4)
    ]
    folder = tmp_path_factory.mktemp("ct")
    cases = [
        open_case(write_images(folder / name, images, Modality="CT", PixelSpacing=[1, 1], **tags))
        for name, tags in (("declared", {"PixelPaddingValue": -2000}), ("plain", {}))
    ]
    for case in cases:
        case.name = "ct"
    assert not cases[0].read(cases[0].whole)[1].all()
    return cases


def normalised(chain, low, high, mean, std):
    numbers = {"low": low, "high": high, "mean": mean, "std": std}
    chain.normalisation.load_state_dict({name: torch.tensor([float(value)]) for name, value in numbers.items()})
    return chain


NARROW, WIDE = (-200, 300, 20, 120), (-2000, 1500, -300, 600)  # a window of CT; percentiles of padded images


@pytest.mark.parametrize("numbers", [NARROW, WIDE])
@pytest.mark.parametrize("context", [0, 1])
@pytest.mark.parametrize("spacing", [None, (1.7, 1.3)])
@pytest.mark.parametrize("refiner", [None, "residual", "noisy", "centred"])
def test_the_mask_inside_the_field_of_view(twins, chain, numbers, context, spacing, refiner):
    networks = normalised(chain(context=context, spacing=spacing, refiner=refiner), *numbers)
    outcomes = [predict_case(case, networks, MemoryStore(), windows=Windows(), samples=2) for case in twins]
    for layer in outcomes[0].layers:
        declared, plain = (outcome.read(layer, twins[0].whole) for outcome in outcomes)
        np.testing.assert_array_equal(declared[..., INSIDE], plain[..., INSIDE])
        assert (declared[..., ~INSIDE] == 255).all()  # no result is made where the scanner has none
        assert (plain != 255).all()


def test_training_sees_the_same(twins, chain):
    networks = normalised(chain(context=1), *NARROW)
    for case in twins:
        case.reference = lambda window: np.zeros([part.stop - part.start for part in window], np.uint8)
    declared, plain = (PatchDataset([case], networks.sampling, networks.normalisation) for case in twins)
    for index in range(20):
        one, other = declared[0, index], plain[0, index]
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.valid, other.valid)
        assert torch.equal(one.target, other.target)
