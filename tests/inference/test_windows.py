import numpy as np
import pytest

from segcgan.inference.windows import Windows, batches, gaussian, make_plan, round_up, window_starts


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("size", [1, 7, 16])
def test_windows_cover_evenly_and_stay_inside(size, overlap):
    for length in range(size + 1, 5 * size + 3):
        starts = window_starts(length, size, overlap)
        assert starts[0] == 0
        assert starts[-1] == length - size
        gaps = np.diff(starts)
        assert gaps.min() >= 1
        assert gaps.max() <= max(1, round(size * (1 - overlap)))
        assert gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize(("length", "start"), [(16, 0), (15, -1), (10, -3), (1, -8)])
def test_something_smaller_sits_in_the_middle_of_one_window(length, start):
    assert window_starts(length, 16, 0.5) == [start]


@pytest.mark.parametrize("strip", [1, 500, 5000, None])
@pytest.mark.parametrize("shape", [(1, 103, 37), (1, 5, 3), (9, 40, 30), (4, 16, 16)])
def test_strips_cover_the_slow_axis_once_and_begin_at_tiles(case, chain, shape, strip):
    plan = make_plan(one := case(shape), chain().sampling, chain(refiner="noisy").refiner, Windows(strip=strip))
    assert plan.axis == (0 if shape[0] > 1 else 1)
    assert [a for a, _ in plan.strips] == [0, *(b for _, b in plan.strips[:-1])]
    assert plan.strips[-1][1] == one.shape[plan.axis]
    if plan.axis == 1:
        assert all(start % plan.core[0] == 0 for start, _ in plan.strips)
    assert len(plan.strips) == 1 or strip is not None


@pytest.mark.parametrize("spacing", [None, (0.7, 1.37), (1.9, 0.33), (3.0, 3.0)])
@pytest.mark.parametrize("shape", [(1, 103, 37), (1, 5, 3), (3, 64, 129)])
def test_tiles_are_divisible_by_the_stride_also_where_images_are_resampled(case, chain, shape, spacing):
    refiner = chain(refiner="residual").refiner
    plan = make_plan(case(shape), chain(patch=(18, 22), spacing=spacing).sampling, refiner, Windows())
    assert all(n % refiner.stride == 0 for n in (*plan.network_core, plan.network_halo))
    alone = all(core >= n for core, n in zip(plan.core, shape[1:], strict=True))
    assert plan.network_halo >= refiner.reach or (alone and plan.network_halo == 0)


@pytest.mark.parametrize(("shape", "tile"), [((1, 16, 12), (16, 12)), ((2, 33, 20), (34, 20)), ((1, 80, 40), None)])
def test_what_is_no_larger_than_a_tile_with_halo_is_one_tile_without(case, chain, shape, tile):
    refiner = chain(refiner="residual").refiner
    plan = make_plan(case(shape), chain(patch=(16, 20)).sampling, refiner, Windows(strip=1))
    assert (refiner.stride, plan.core, plan.network_halo) == (2, tile or (16, 20), 0 if tile else 10)


def test_gaussian_is_symmetric_and_never_0():
    weights = gaussian((9, 16))
    assert weights.dtype == np.float32
    assert weights.min() > 0
    np.testing.assert_array_equal(weights, weights[::-1, ::-1])
    assert np.unravel_index(weights.argmax(), weights.shape) == (4, 7)


def test_batches_and_rounding():
    assert list(batches(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(batches([], 2)) == []
    assert [round_up(v, 8) for v in (0, 1, 8, 9)] == [0, 8, 8, 16]
