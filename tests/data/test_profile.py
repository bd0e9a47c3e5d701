"""Images unlike those of training are said to be, in numbers; those of the same set never are."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from segcgan.case import Case, Geometry
from segcgan.classes import ClassSpec
from segcgan.data.module import SegmentationData
from segcgan.data.normalisation import Normalisation
from segcgan.data.patches import Sampling
from segcgan.data.profile import Profile
from segcgan.data.settings import Images, Intensity

CONFIGS = Path(__file__).parents[2] / "configs"


@dataclass
class Pixels:
    """A reader of an array, with a strip that is invalid."""

    values: np.ndarray

    def read(self, window):
        image = self.values[(slice(None), *window)].astype(np.float32)
        valid = np.ones((1, *image.shape[1:]), bool)
        valid[..., :2] = False
        return np.where(valid, image, -1e9), valid


def case(low: float, high: float, *, size: float = 10.0, unit: str = "m", channels: int = 1, seed: int = 0) -> Case:
    """A case of random values between two bounds."""
    values = np.random.default_rng(seed).uniform(low, high, (channels, 1, 60, 50))
    geometry = Geometry(np.eye(4), (1.0, size, size), unit)
    return Case("a", Path("a.tif"), "geotiff", (1, 60, 50), channels, geometry, Pixels(values))


TRAINING = [case(100, 9000), case(150, 6000, seed=1), case(120, 8000, seed=2)]


@pytest.fixture
def profile() -> Profile:
    found = Profile.fit(TRAINING, resampled=False)
    assert found is not None
    return Profile(**found.facts())  # as it comes back from chain.json


@pytest.mark.parametrize(("low", "high"), [(80, 12000), (200, 2000), (0, 30000), (1000, 5000)])
def test_what_is_alike_is_not_mentioned(profile, low, high):
    assert profile.differences(case(low, high)) == []


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [(0, 0.6, "0.00"), (-1, 0, "-0.9"), (2, 250, "4"), (50000, 60000, "50"), (-30000, 5000, "-29"), (0, 2e6, "1")],
    ids=["reflectance", "index", "bytes", "above", "below", "beyond"],
)
def test_values_far_from_those_of_training(profile, low, high, told):
    (text,) = profile.differences(case(low, high))
    assert text.startswith(f"values unlike those of training: {told}")
    assert "–" in text
    assert ", trained on 18" in text


def test_the_sentence_has_both_ranges():
    found = Profile(low=[[120.0, 130.0]], high=[[8000.0, 9000.0]], spread=[7000.0])
    assert found.differences(case(0.5, 0.5)) == ["values unlike those of training: 0.5–0.5, trained on 120–9000"]


def test_grey_values_given_to_a_run_of_hounsfield_units():
    scans = [case(-1024, 400, unit="mm", size=0.7, seed=seed) for seed in range(3)]
    found = Profile.fit(scans, resampled=False)
    assert found is not None
    (text,) = found.differences(case(0, 255, unit="px"))
    assert text.startswith("values unlike those of training: 2.")
    assert found.differences(case(-1024, 1500, unit="mm", size=0.9)) == []
    assert found.differences(case(-150, 250, unit="mm", size=0.7)) != []  # no air: never seen in training


def test_of_several_channels_the_first_are_named():
    found = Profile.fit([case(100, 9000, channels=5)], resampled=False)
    assert found is not None
    (text,) = found.differences(case(0, 1, channels=5))
    assert text.count("channel ") == 3
    assert text.endswith(" and 2 channels more")


@pytest.mark.parametrize(
    ("size", "unit", "resampled", "expected"),
    [
        (14000, "m", False, ["pixels of 14 km, trained on 10 m"]),
        (14000, "m", True, ["pixels of 14 km, trained on 10 m"]),
        (0.3, "m", False, ["pixels of 300 mm, trained on 10 m"]),
        (0.3, "m", True, []),
        (60, "m", False, []),
        (2000, "px", False, []),
    ],
)
def test_pixels_far_from_those_of_training(size, unit, resampled, expected):
    found = Profile.fit(TRAINING, resampled=resampled)
    assert found is not None
    assert found.differences(case(100, 9000, size=size, unit=unit)) == expected


def test_nothing_valid_is_nothing_to_compare(profile):
    empty = case(0, 1)
    empty.reader = Pixels(np.zeros((1, 1, 60, 2)))
    empty.shape = (1, 60, 2)
    assert profile.differences(empty) == []
    assert Profile.fit([empty], resampled=False) is None


def test_other_channels_are_for_others_to_refuse(profile):
    assert profile.differences(case(0, 1, channels=3)) == []


def test_of_an_older_run_the_range_of_the_normalisation_is_known():
    normalisation = Normalisation(1)
    normalisation.low.fill_(120)
    normalisation.high.fill_(9000)
    found = Profile.of_range(normalisation)
    assert len(found.differences(case(0, 0.6))) == 1
    assert found.differences(case(500, 700)) == []
    normalisation.low.fill_(-200)  # a window of HU: the scan itself goes beyond
    normalisation.high.fill_(300)
    assert Profile.of_range(normalisation).differences(case(-1024, 3000)) == []


@pytest.mark.parametrize("name", ["cardiac_mr", "ct_liver", "water_multispectral"])
def test_a_case_of_the_same_set_is_never_far(shared_data, name):
    data: dict[str, Any] = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())["data"]
    known = {item.name for item in fields(Images)}
    images = {key: value for key, value in data["images"].items() if key in known}
    images["root"] = images["root"].replace("$SEGCGAN_DATA", str(shared_data))
    sampling = {key: tuple(value) if isinstance(value, list) else value for key, value in data["sampling"].items()}
    classes = [ClassSpec(**spec) for spec in data["classes"]]
    intensity = Intensity(**data.get("intensity", {}))
    module = SegmentationData(Images(**images), classes, Sampling(**sampling), intensity)
    module.setup()
    assert module.normalisation is not None
    found = Profile.fit(module.split("train"), module.sampling.spacing is not None)
    assert found is not None
    for profile in (found, Profile.of_range(module.normalisation)):
        assert [each.name for each in module.cases[::5] if profile.differences(each)] == []
