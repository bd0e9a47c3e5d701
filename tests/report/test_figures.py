import io

import numpy as np
import pytest
from PIL import Image

from segcgan.case import IGNORE
from segcgan.classes import ClassSpec
from segcgan.errors import SegcganError
from segcgan.report.figures import strip
from segcgan.report.panels import ERRORS

CLASSES = [ClassSpec("background", [0]), ClassSpec("liver", [1], "#ff0000")]


def picture(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def near(pixels, colour, tolerance=40):
    wanted = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    return int((np.abs(pixels - wanted).max(axis=-1) < tolerance).sum())


@pytest.fixture
def scene():
    reference = np.zeros((40, 40), np.uint8)
    reference[10:30, 10:30] = 1
    refined = reference.copy()
    refined[10:14, 10:30] = 0  # missed
    refined[30:34, 10:30] = 1  # too much
    return np.random.default_rng(0).normal(size=(1, 40, 40)).astype(np.float32), reference, refined


def test_strip_shows_contours_and_errors(scene):
    image, reference, refined = scene
    pixels = picture(strip(image, {"reference": reference, "refined": refined}, CLASSES, (1, 1), "mm"))
    plain = picture(strip(image, {}, CLASSES, (1, 1), "mm"))
    assert pixels.shape[1] > 3.5 * plain.shape[1]  # image, reference, refined, error
    assert near(pixels, "#ff0000") > 500
    assert near(plain, "#ff0000") < near(pixels, "#ff0000") / 5  # nothing but the legend
    exact = picture(strip(image, {"reference": reference, "refined": reference}, CLASSES, (1, 1)))
    assert near(pixels, ERRORS["missed"]) > near(exact, ERRORS["missed"]) + 1000  # more than the legend
    assert near(pixels, ERRORS["too much"]) > 1000


def test_strip_without_reference_has_no_error_panel(scene):
    image, _, refined = scene
    three = picture(strip(image, {"coarse": refined, "chosen": refined}, CLASSES, (1, 1)))
    one = picture(strip(image, {}, CLASSES, (1, 1)))
    assert 2.5 < three.shape[1] / one.shape[1] < 3.2


def test_aspect_follows_the_spacing(scene):
    image = scene[0]
    square, tall = (picture(strip(image, {}, CLASSES, spacing)).shape for spacing in ((1, 1), (2, 1)))
    assert tall[0] == square[0]
    assert tall[1] < 0.6 * square[1]


def test_invalid_and_ignored_areas_are_hatched(scene):
    image, reference, refined = scene
    valid = np.ones((40, 40), bool)

    def grey(masks):
        return near(picture(strip(image, masks, CLASSES, (1, 1), valid=valid)), "#d9dee3", 8)

    before = grey({"refined": refined})
    reference[:, 30:] = IGNORE
    assert grey({"reference": reference}) > before + 5000
    valid[:, :15] = False
    assert grey({"refined": refined}) > before + 5000


def test_same_input_same_bytes_and_large_input_is_thinned(scene):
    image, reference, _ = scene
    masks = {"reference": reference}
    assert strip(image, masks, CLASSES, (1, 1)) == strip(image, masks, CLASSES, (1, 1))
    large = np.zeros((3, 2600, 2600), np.uint8)
    assert picture(strip(large, {"coarse": large[0]}, CLASSES, (0.1, 0.1), "m", title="scene")).shape[0] < 600


def test_repeated_colours_are_told_apart(scene):
    image, reference, _ = scene
    reference[20:30, 10:30] = 2
    classes = [ClassSpec("background"), ClassSpec("a"), ClassSpec("b")]  # both have the default colour
    pixels = picture(strip(image, {"coarse": reference}, classes, (1, 1)))
    assert near(pixels, "#E69F00", 20) > 200
    assert near(pixels, "#56B4E9", 20) > 200


def test_a_mask_of_another_shape_is_an_error(scene):
    image, reference, _ = scene
    with pytest.raises(SegcganError, match=r"mask 'coarse' has shape \(20, 40\) but the image \(40, 40\); cut"):
        strip(image, {"coarse": reference[:20]}, CLASSES, (1, 1))


def test_a_real_ct_slice(shared_data):
    import pydicom

    folder = shared_data / "ct_liver" / "chaos_set3"
    image = pydicom.dcmread(sorted((folder / "dicom").iterdir())[30]).pixel_array
    automatic = np.asarray(Image.open(sorted((folder / "automatic_png").iterdir())[30])) > 0
    pixels = picture(strip(image, {"coarse": automatic.astype(np.uint8)}, CLASSES, (0.7, 0.7), "mm"))
    assert near(pixels, "#ff0000") > 200


def test_a_dollar_in_a_name_is_no_formula(scene):
    image, reference, refined = scene
    classes = [CLASSES[0], ClassSpec("_hidden$\\frac$", [1])]
    masks = {"reference": reference, "refined": refined}
    drawn = [picture(strip(image, masks, classes, (1, 1), title=title)) for title in ("x$_$\nx_$\\frac$", "y")]
    assert drawn[0].shape[0] > drawn[1].shape[0]  # a second line
