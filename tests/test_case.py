"""Geometry and windows: 48 orientations, reading over the edge, and parts of a case."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from segcgan.case import IGNORE, Axes, Case, Geometry

STORED = (3, 4, 5)
ORIENTATIONS = [
    (order, flip)
    for order in itertools.permutations(range(3))
    for flip in itertools.product((False, True), repeat=3)
]


class Pixels:
    """Two channels that count; a strip of NaN pixels is invalid. Remembers the windows asked for."""

    def __init__(self, shape=STORED):
        self.values = np.stack([np.arange(np.prod(shape)).reshape(shape) + 1.0] * 2).astype(np.float32)
        self.values[1] *= -1
        self.values[:, :, 0, 0] = np.nan
        self.asked = []

    def read(self, window):
        self.asked.append(window)
        image = self.values[:, *window]
        return image, np.isfinite(image[:1])


def make_case(shape=STORED, **more):
    affine = np.array([[0, 0, 2, 10], [0, 3, 0, 20], [4, 0, 0, 30], [0, 0, 0, 1]], float)
    geometry = Geometry(affine, (4.0, 3.0, 2.0))
    return Case("a", Path("a.nii"), "nifti", shape, 2, geometry, Pixels(shape), **more)


def window(*ends):
    return tuple(slice(a, b) for a, b in ends)


@pytest.mark.parametrize(("order", "flip"), ORIENTATIONS)
def test_axes_agree_with_each_other_in_every_orientation(order, flip):
    axes = Axes(order, flip)
    stored = np.arange(np.prod(STORED)).reshape(STORED)
    canonical = axes.apply(stored)
    assert canonical.shape == axes.shape(STORED)
    np.testing.assert_array_equal(axes.invert(canonical), stored)
    with_channels = np.stack([stored, -stored])
    np.testing.assert_array_equal(axes.apply(with_channels)[1], -canonical)
    np.testing.assert_array_equal(axes.invert(axes.apply(with_channels)), with_channels)

    part = tuple(slice(n // 3, n) for n in canonical.shape)  # not symmetric
    np.testing.assert_array_equal(axes.apply(stored[axes.window(part, STORED)]), canonical[part])

    affine = np.array([[0.1, 0.2, 2, 10], [0.3, 3, -0.1, 20], [4, 0.2, 0.1, 30], [0, 0, 0, 1]])
    moved = axes.affine(affine, STORED)
    for index in np.ndindex(*canonical.shape):
        home = np.argwhere(stored == canonical[index])[0]
        np.testing.assert_allclose(moved @ [*index, 1], affine @ [*home, 1])


@pytest.mark.parametrize(("order", "flip"), ORIENTATIONS)
def test_closest_axes_undo_every_orientation(order, flip):
    # slice -> S, row -> P, column -> L
    ideal = np.array([[0, 0, 1.5, 7], [0, 2.5, 0, 8], [5, 0, 0, 9], [0, 0, 0, 1.0]])
    angle = 0.3  # oblique, but less than half-way to the next axis
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    axes = Axes(order, flip)
    shape = [0, 0, 0]
    for canonical, axis in enumerate(order):
        shape[axis] = STORED[canonical]
    stored = turn @ ideal @ np.linalg.inv(axes.affine(np.eye(4), tuple(shape)))
    assert Axes.closest(stored) == axes
    assert axes.shape(tuple(shape)) == STORED
    np.testing.assert_allclose(axes.affine(stored, tuple(shape)), turn @ ideal, atol=1e-9)


def test_closest_axes_are_a_permutation_even_half_way():
    diagonal = np.eye(4)
    diagonal[:3, :3] = np.ones((3, 3)) + 1e-9 * np.arange(9).reshape(3, 3)
    assert sorted(Axes.closest(diagonal).order) == [0, 1, 2]


def test_read_inside_and_over_the_edge():
    case = make_case()
    image, valid = case.read(case.whole)
    assert image.dtype == np.float32
    assert valid.dtype == bool
    np.testing.assert_array_equal(valid[0], np.isfinite(case.reader.values[0]))
    assert (image[:, :, 0, 0] == 0).all()  # NaN never leaves the reader's pixels

    wide = window((-1, 4), (-2, 6), (3, 8))
    image, valid = case.read(wide)
    assert image.shape == (2, 5, 8, 5)
    assert valid.shape == (1, 5, 8, 5)
    np.testing.assert_array_equal(image[:, 1:4, 2:6, :2], case.reader.values[:, :, :, 3:])
    inside = np.zeros((5, 8, 5), bool)
    inside[1:4, 2:6, :2] = True
    np.testing.assert_array_equal(valid[0], inside)
    assert (image[:, ~inside] == 0).all()


@pytest.mark.parametrize("z", [(-4, -2), (3, 5), (100, 102)])
def test_read_wholly_outside_touches_no_file(z):
    case = make_case(reference=None, coarse=None)
    image, valid = case.read(window(z, (-1, 2), (0, 3)))
    assert image.shape == (2, 2, 3, 3)
    assert not image.any()
    assert not valid.any()
    assert case.reader.asked == []


def labelled():
    labels = np.arange(60, dtype=np.uint8).reshape(STORED) % 3
    chances = np.stack([labels == 0, labels == 1, labels == 2]).astype(np.float32)
    return labels, chances, make_case(reference=lambda w: labels[w], coarse=lambda w: chances[:, *w])


def test_labels_over_the_edge_are_ignored_and_coarse_is_zero():
    labels, chances, case = labelled()
    wide = window((-1, 2), (2, 6), (0, 5))
    found = case.read_reference(wide)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[1:, :2], labels[:2, 2:])
    assert (found[0] == IGNORE).all()
    assert (found[:, 2:] == IGNORE).all()
    soft = case.read_coarse(wide)
    np.testing.assert_array_equal(soft[:, 1:, :2], chances[:, :2, 2:])
    assert not soft[:, 0].any()
    assert not soft[:, :, 2:].any()

    outside = window((9, 11), (0, 4), (0, 5))
    found = case.read_reference(outside)
    assert found.shape == (2, 4, 5)
    assert found.dtype == np.uint8
    assert (found == IGNORE).all()
    soft = case.read_coarse(outside)
    assert soft.shape == (3, 2, 4, 5)
    assert soft.dtype == np.float32
    assert not soft.any()


def test_a_case_without_masks_says_so():
    case = make_case()
    with pytest.raises(ValueError, match="case 'a' has no reference mask"):
        case.read_reference(case.whole)
    with pytest.raises(ValueError, match="case 'a' has no coarse mask"):
        case.read_coarse(case.whole)


def test_part_is_the_window_of_the_whole():
    labels, chances, case = labelled()
    cut = window((1, 3), (1, 4), (2, 5))
    part = case.part(cut, "p")
    assert (part.name, part.shape, part.start) == ("p", (2, 3, 3), (1, 1, 2))
    np.testing.assert_array_equal(part.read(part.whole)[0], case.read(cut)[0])
    np.testing.assert_array_equal(part.read_reference(part.whole), labels[cut])
    np.testing.assert_array_equal(part.read_coarse(part.whole), chances[:, *cut])
    np.testing.assert_allclose(part.geometry.affine @ [0, 0, 0, 1], case.geometry.affine @ [1, 1, 2, 1])
    np.testing.assert_allclose(part.geometry.affine @ [1, 2, 1, 1], case.geometry.affine @ [2, 3, 3, 1])
    assert case.start == (0, 0, 0)  # the whole is left as it was


def test_the_rest_does_not_exist_for_a_part():
    case = labelled()[2]
    part = case.part(window((1, 2), (0, 4), (0, 5)), "p")
    _, valid = part.read(window((-1, 2), (0, 4), (0, 5)))
    assert not valid[0, 0].any()
    assert not valid[0, 2].any()
    assert valid[0, 1].any()
    assert (part.read_reference(window((-1, 0), (0, 4), (0, 5))) == IGNORE).all()


def test_part_of_a_part_and_a_window_over_the_edge():
    case = labelled()[2]
    part = case.part(window((1, 3), (1, 4), (2, 5)), "p").part(window((1, 9), (-3, 2), (1, 3)), "q")
    assert (part.shape, part.start) == ((1, 2, 2), (2, 1, 3))
    np.testing.assert_array_equal(part.read_reference(part.whole), case.read_reference(window((2, 3), (1, 3), (3, 5))))
    np.testing.assert_allclose(part.geometry.affine @ [0, 0, 0, 1], case.geometry.affine @ [2, 1, 3, 1])


def test_strips_cover_a_case_once():
    seen = np.zeros(STORED, int)
    strips = make_case().strips(rows=3)
    for strip in strips:
        seen[strip] += 1
    assert (seen == 1).all()
    assert {tuple(part.stop - part.start for part in strip) for strip in strips} == {(1, 3, 5), (1, 1, 5)}
