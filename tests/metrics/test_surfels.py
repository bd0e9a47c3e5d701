import numpy as np
import pytest

from segcgan.metrics.surfels import areas, surfels

SPACINGS = [(1, 1), (1.3, 0.7), (1, 1, 1), (1.3, 0.7, 2.1), (5, 0.5, 0.6)]


@pytest.mark.parametrize("spacing", SPACINGS, ids=str)
def test_areas_are_those_of_surface_distance(spacing):
    oracle = pytest.importorskip("surface_distance.lookup_tables")
    flat = len(spacing) == 2
    make = "contour_length" if flat else "surface_area"
    expected = getattr(oracle, f"create_table_neighbour_code_to_{make}")(spacing)
    np.testing.assert_allclose(areas(spacing), expected, rtol=1e-12)


@pytest.mark.parametrize("spacing", SPACINGS, ids=str)
def test_inside_and_outside_share_a_surface(spacing):
    table = areas(spacing)
    np.testing.assert_array_equal(table, table[::-1])
    assert table[0] == 0
    assert (table[1:-1] > 0).all()


def test_a_long_box_has_the_area_of_its_faces():
    mask = np.zeros((42, 52, 62), bool)
    mask[1:-1, 1:-1, 1:-1] = True
    places, sizes = surfels(mask, (2.0, 1.0, 0.5))
    sides = 40 * 2.0, 50 * 1.0, 60 * 0.5
    faces = 2 * (sides[0] * sides[1] + sides[1] * sides[2] + sides[0] * sides[2])
    assert sizes.sum() == pytest.approx(faces, rel=0.02)  # edges and corners are cut off
    assert places.shape == (41, 51, 61)
    assert places.sum() == sizes.size


def test_one_pixel_and_nothing():
    mask = np.zeros((3, 3), bool)
    assert surfels(mask, (2, 1))[1].size == 0
    mask[1, 1] = True
    places, sizes = surfels(mask, (2, 1))
    assert places.tolist() == [[True, True], [True, True]]
    np.testing.assert_allclose(sizes, 0.5 * 5**0.5)
