"""Label values to class indices."""

import numpy as np
import pytest

from segcgan.case import IGNORE
from segcgan.classes import ClassSpec, to_indices
from segcgan.errors import SegcganError, nearest


def test_values_become_indices():
    raw = np.array([[0, 5, 6], [2, 255, 0]], np.int32)
    found = to_indices(raw, [[0], [5, 6], [2]], "m.nii")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, [[0, 1, 1], [2, IGNORE, 0]])


def test_255_is_ignored_unless_a_class_claims_it():
    raw = np.array([0, 255])
    np.testing.assert_array_equal(to_indices(raw, [[0], [1]], "m"), [0, IGNORE])
    np.testing.assert_array_equal(to_indices(raw, [[0], [255]], "m"), [0, 1])


def test_a_class_may_claim_255_as_background():
    np.testing.assert_array_equal(to_indices(np.array([255, 1]), [[0, 255], [1]], "m"), [0, 1])


def test_negative_values():
    np.testing.assert_array_equal(to_indices(np.array([-1, 0, 1], np.int16), [[0, -1], [1]], "m"), [0, 0, 1])


def test_unknown_values_are_named():
    with pytest.raises(SegcganError) as error:
        to_indices(np.array([0, 7, 9, 7]), [[0], [1, 2]], "m.nii")
    assert str(error.value) == (
        "m.nii: label values [7, 9] belong to no class (listed are [0], [1, 2]); add them to data.classes "
        "(segcgan refine: name them with --labels)"
    )


def test_no_more_than_five_unknown_values_are_listed():
    with pytest.raises(SegcganError, match=r"label values \[10, 11, 12, 13, 14\] belong"):
        to_indices(np.arange(10, 40), [[0], [1]], "m")


def test_nothing_in_nothing_out():
    assert to_indices(np.zeros((0, 3), np.int32), [[0], [1]], "m").shape == (0, 3)


def test_colour():
    assert ClassSpec("a", colour="#0a14ff").rgb == (10, 20, 255)


@pytest.mark.parametrize("colour", ["red", "#f00", "#12345g", "", None, "0a14ff"])
def test_a_colour_that_is_none(colour):
    with pytest.raises(SegcganError, match=r"class 'a' has the colour .*; write it as '#rrggbb', in quotes"):
        ClassSpec("a", colour=colour)


def test_nearest_name():
    assert nearest("sead", ["seed", "other"]) == "; did you mean 'seed'?"
    assert nearest("xyz", ["b", "a"]) == "; choose from a, b"
    assert nearest("xyz", [f"n{i:02d}" for i in range(20)]).endswith("n11, …")
