import numpy as np
import pytest
import torch

from segcgan.case import IGNORE
from segcgan.errors import SegcganError
from segcgan.inference.draws import EXTRA
from segcgan.inference.engine import predict_case
from segcgan.inference.store import DiskStore, MemoryStore
from segcgan.inference.windows import Windows

LAYERS = ("coarse", "p_coarse", "refined", "p_refined")


class Stop(Exception):
    pass


def run(case, chain, strip=None, store=None, **options):
    return predict_case(case, chain, store or MemoryStore(), windows=Windows(strip=strip), **options)


def layers(outcome, names=LAYERS):
    return {name: outcome.read(name, outcome.case.whole) for name in names}


def same(one, other, names=LAYERS):
    for name in names:
        np.testing.assert_array_equal(one.read(name, one.case.whole), other.read(name, other.case.whole), err_msg=name)


def alike(one, other):
    """Equal masks; probabilities but for the rounding to bytes, as sums depend on how many tiles a batch holds."""
    same(one, other, ("coarse", "refined"))
    for name in ("p_coarse", "p_refined"):
        apart = one.read(name, one.case.whole).astype(int) - other.read(name, other.case.whole)
        assert np.abs(apart).max() <= 1
        assert np.count_nonzero(apart) < 1e-3 * apart.size


STREAMED = {
    "scene": {"shape": (1, 103, 37)},
    "scene with a hole": {"shape": (1, 103, 37), "hole": (slice(0, 1), slice(30, 75), slice(0, 37))},
    "smaller than the patch": {"shape": (1, 9, 5)},
    "volume": {"shape": (7, 33, 41)},
    "volume, three slices seen": {"shape": (7, 20, 19), "context": 1},
    "volume with empty slices": {"shape": (9, 20, 19), "hole": (slice(3, 6), slice(0, 20), slice(0, 19))},
    "resampled finer": {"shape": (1, 71, 37), "spacing": (0.55, 0.7)},
    "resampled coarser": {"shape": (5, 50, 37), "spacing": (1.9, 1.37)},
}


@pytest.mark.parametrize("refiner", ["residual", "noisy", "centred"])
@pytest.mark.parametrize("name", STREAMED)
def test_streamed_equals_whole_in_memory(case, chain, name, refiner):
    given = dict(STREAMED[name])
    made = chain(context=given.pop("context", 0), spacing=given.pop("spacing", None), refiner=refiner)
    one = case(**given)
    whole = run(one, made, samples=3)
    assert len(whole.plan.strips) == 1
    for strip in (1, 700):
        streamed = run(one, made, strip, samples=3)
        assert len(streamed.plan.strips) > 1 or one.shape == (1, 9, 5)
        # a batch holds more slices of one tile each in memory than in strips: sums differ in the last digits
        (alike if one.shape[0] > 1 and not whole.plan.network_halo else same)(whole, streamed)
        assert streamed.seam == pytest.approx(whole.seam, nan_ok=True)
    if refiner == "residual":
        assert (whole.read("coarse", one.whole) != whole.read("refined", one.whole)).any()


def test_stochastic_samples_average_and_depend_on_seed_only(case, chain):
    one, made = case((3, 30, 30)), chain(refiner="noisy")
    eight = run(one, made, samples=8)
    same(eight, run(one, made, 1, samples=8))
    for other in (run(one, made, samples=8, seed=1), run(one, made, samples=1)):
        assert (eight.read("p_refined", one.whole) != other.read("p_refined", one.whole)).any()


def test_noise_knows_where_it_is_whatever_the_tiles(case, chain, with_coarse):
    one = with_coarse(case((2, 90, 66)))
    small, large = (run(one, chain(patch=p, refiner="noisy", segmenter=None)) for p in ((16, 20), (96, 96)))
    np.testing.assert_array_equal(small.read("refined", one.whole), large.read("refined", one.whole))


def test_noise_of_a_block_of_a_case_lines_up_with_the_stride(case, chain):
    part = case((1, 60, 40)).part((slice(0, 1), slice(7, 55), slice(3, 40)), "case@7-55")
    same(run(part, chain(refiner="noisy")), run(part, chain(refiner="noisy"), 1))


@pytest.mark.parametrize(
    ("shape", "hole"),
    [((1, 90, 66), None), ((2, 90, 66), None), ((1, 90, 66), (slice(0, 1), slice(20, 37), slice(10, 29)))],
)
def test_finite_reach_has_no_seams(case, chain, with_coarse, shape, hole):
    """Against tiles over the whole width, whatever the size of the tiles."""
    one = with_coarse(case(shape, hole=hole))
    huge = run(one, chain(patch=(40, 96), refiner="residual", segmenter=None))
    assert huge.plan.core == (40, 66)
    for patch in ((16, 16), (10, 30), (24, 12)):
        tiled = run(one, chain(patch=patch, refiner="residual", segmenter=None), 1)
        assert tiled.plan.core == patch
        assert tiled.plan.core[1] < 66
        alike(tiled, huge)


def test_a_case_of_one_tile_is_refined_as_the_network_sees_a_patch_in_training(case, chain, with_coarse):
    one, made = with_coarse(case((1, 24, 20))), chain(patch=(24, 20), refiner="residual", segmenter=None)
    given = []
    refine = made.refiner.refine
    made.refiner.refine = lambda batch, noise: given.append(batch) or refine(batch, noise)
    run(one, made)
    assert [tuple(batch.coarse.shape) for batch in given] == [(1, 2, 24, 20)]


@pytest.mark.parametrize("shape", [(1, 90, 66), (2, 40, 66)])
def test_tiles_of_unbounded_reach_are_windows_as_in_training_blended_and_their_seam_is_measured(
    case, chain, with_coarse, shape
):
    one, made = with_coarse(case(shape)), chain(refiner="centred", segmenter=None)
    blended = run(one, made, samples=2, extra=EXTRA)
    assert made.refiner.sizes == {(16, 16)}
    assert set(blended.layers) == {*LAYERS, *EXTRA}
    assert 0.01 < blended.seam < 0.5
    labels = blended.read("samples", one.whole)
    assert labels.shape == (2, *shape)
    assert set(np.unique(labels)) == {0, 1}
    honest = chain(refiner="noisy", segmenter=None)
    fits = run(one, honest)
    assert np.isnan(fits.seam)
    honest.refiner.reach = None  # what does not depend on the window is not changed by blending
    assert run(one, honest).seam < 1e-3
    apart = run(one, honest).read("p_refined", one.whole).astype(int) - fits.read("p_refined", one.whole)
    assert np.abs(apart).max() <= 1


def test_a_case_of_one_window_has_no_seam(case, chain):
    made = chain(refiner="centred")
    assert np.isnan(run(case((3, 16, 12)), made).seam)
    assert made.refiner.sizes == {(16, 16)}


def test_an_understated_reach_shows_as_a_seam(case, chain, with_coarse):
    one, short = with_coarse(case((1, 90, 66))), chain(refiner="residual", segmenter=None)
    huge = run(one, chain(patch=(96, 96), refiner="residual", segmenter=None))
    short.refiner.reach = 0
    apart = run(one, short).read("p_refined", one.whole).astype(int) - huge.read("p_refined", one.whole)
    assert np.abs(apart).max() > 1


def test_given_coarse_masks_replace_the_segmenter(case, chain, with_coarse):
    one = with_coarse(case((2, 30, 20)))
    outcome = run(one, chain(refiner="residual", segmenter=None), 1)
    expected = np.rint(one.read_coarse(one.whole) * 254).astype(np.uint8)
    np.testing.assert_array_equal(outcome.read("p_coarse", one.whole), expected)
    made = chain(refiner="residual")
    run(one, made)
    assert made.segmenter.seen == 0


def test_without_segmenter_and_coarse_mask_it_says_what_is_missing(case, chain):
    with pytest.raises(SegcganError, match="no segmenter: give coarse masks"):
        run(case(), chain(refiner="residual", segmenter=None))


def test_coarse_masks_of_another_number_of_classes(case, chain, with_coarse):
    with pytest.raises(SegcganError, match=r"coarse mask .*has 3 classes but the chain has 2"):
        run(with_coarse(case(), classes=3), chain(refiner="residual"))


def test_windows_without_valid_pixels_are_never_computed(case, chain):
    full, empty = chain(), chain()
    run(case((1, 64, 64)), full)
    run(case((1, 64, 64), hole=(slice(0, 1), slice(0, 64), slice(0, 32))), empty)
    assert 0 < empty.segmenter.seen < 0.75 * full.segmenter.seen


@pytest.mark.parametrize("strip", [None, 1])
def test_a_case_of_nodata_is_all_nodata_and_free(case, chain, choose, strip):
    one = case((1, 40, 30), hole=(slice(0, 1), slice(0, 40), slice(0, 30)))
    made = chain(refiner="residual", gate=choose(True))
    outcome = run(one, made, strip)
    assert made.segmenter.seen == 0
    assert all((layer == IGNORE).all() for layer in layers(outcome).values())


def test_invalid_exactly_where_the_image_is(case, chain):
    one = case((1, 50, 40), hole=(slice(0, 1), slice(13, 31), slice(5, 17)))
    for layer in layers(run(one, chain(refiner="residual"), 1)).values():
        np.testing.assert_array_equal((layer == IGNORE).reshape(-1, 50, 40).all(0), ~one.reader.valid[0, 0])


@pytest.mark.parametrize("accept", [True, False])
def test_the_gate_chooses_on_the_evidence_of_the_whole_case(case, chain, choose, accept):
    one = case((1, 60, 40), hole=(slice(0, 1), slice(0, 3), slice(0, 40)))
    outcome = run(one, chain(refiner="residual", gate=choose(accept)), 1)
    assert (outcome.accepted, outcome.reason) == (accept, f"chosen: {accept}")
    differ = outcome.read("coarse", one.whole) != outcome.read("refined", one.whole)
    np.testing.assert_array_equal(outcome.evidence, [differ.sum(), 57 * 40])
    kept = "refined" if accept else "coarse"
    np.testing.assert_array_equal(outcome.read("chosen", one.whole), outcome.read(kept, one.whole))
    np.testing.assert_array_equal(outcome.read("p_chosen", one.whole), outcome.read(f"p_{kept}", one.whole))


def test_without_gate_or_refiner(case, chain):
    assert run(case(), chain(refiner="residual")).reason == "no gate: always refined"
    outcome = run(case(), chain())
    assert (outcome.accepted, outcome.reason) == (False, "no refiner")
    outcome.read("chosen", outcome.case.whole)


def test_windows_of_the_result_are_parts_of_the_whole(case, chain):
    one = case((7, 20, 30))
    outcome = run(one, chain(), 1300)
    window = (slice(1, 6), slice(3, 20), slice(7, 9))
    np.testing.assert_array_equal(outcome.read("coarse", window), outcome.read("coarse", one.whole)[window])


@pytest.mark.parametrize("shape", [(1, 103, 37), (6, 20, 20)])
def test_an_interrupted_prediction_goes_on_where_it_was(case, chain, tmp_path, shape):
    one, made = case(shape), chain(refiner="residual")
    whole = run(one, made, 1)
    computed = []

    def stop(done, total):
        computed.append(done)
        if done == 3:
            raise Stop

    with pytest.raises(Stop):
        run(one, made, 1, DiskStore(tmp_path / "strips", "tag"), progress=stop)
    store = DiskStore(tmp_path / "strips", "tag")
    assert [store.has(i) for i in range(len(whole.plan.strips))] == [i < 3 for i in range(len(whole.plan.strips))]
    again = chain(refiner="residual")
    resumed = run(one, again, 1, store)
    assert again.segmenter.seen < made.segmenter.seen
    same(whole, resumed)
    before = again.segmenter.seen
    run(one, again, 1, DiskStore(tmp_path / "strips", "tag"))
    assert again.segmenter.seen == before


def test_a_missing_strip_in_the_middle_is_filled_in(case, chain, tmp_path):
    one, made = case((1, 103, 37)), chain(refiner="residual")
    store = DiskStore(tmp_path / "strips", "tag")
    whole = layers(run(one, made, 1, store))
    (tmp_path / "strips/strip_000003.npz").unlink()
    filled = layers(run(one, made, 1, DiskStore(tmp_path / "strips", "tag")))
    for name, layer in whole.items():
        np.testing.assert_array_equal(layer, filled[name])


def test_another_number_of_channels(case, chain):
    with pytest.raises(SegcganError, match=r"case.png has 3 channel\(s\) but the run was trained on 1; give such"):
        run(case(channels=3), chain())


@pytest.mark.parametrize("shape", [(1, 70, 50), (3, 40, 30)])
def test_blending_overlapping_windows_keeps_what_they_agree_on(case, chain, shape):
    """A pixel-wise network says the same in every window, so blending must not change it."""
    one, made = case(shape), chain(segmenter=torch.nn.Conv2d(1, 2, 1))
    image = torch.from_numpy(one.read(one.whole)[0]).transpose(0, 1)
    expected = made.segment(image).transpose(0, 1).numpy() * 254
    assert np.abs(run(one, made, 1).read("p_coarse", one.whole) - expected).max() < 0.51


def test_a_segmenter_with_another_number_of_classes(case, chain):
    with pytest.raises(SegcganError, match=r"returns 5 classes but data.classes lists 2; make them equal"):
        run(case(), chain(segmenter=torch.nn.Conv2d(1, 5, 1)))


# -- layers on request ----------------------------------------------------------------------------------------------


def test_extra_layers_are_those_of_the_samples_and_do_not_change_the_masks(case, chain):
    scene, noisy = case(hole=(slice(0, 1), slice(0, 9), slice(0, 50))), chain(refiner="noisy")
    plain = predict_case(scene, noisy, MemoryStore(), samples=3)
    found = predict_case(scene, noisy, MemoryStore(), samples=3, extra=EXTRA)
    for layer in ("coarse", "refined", "p_refined"):
        assert np.array_equal(plain.read(layer, scene.whole), found.read(layer, scene.whole))
    p = found.read("p_refined", scene.whole).astype(float) / 254
    samples, unsure, apart = (found.read(name, scene.whole) for name in ("samples", "uncertainty", "disagreement"))
    assert (samples.shape, unsure.shape, apart.shape) == ((3, 1, 70, 50), (1, 1, 70, 50), (1, 1, 70, 50))
    assert all((layer[:, 0, :9] == 255).all() for layer in (samples, unsure, apart))
    seen = np.s_[0, 0, 9:]
    entropy = -(p * np.log2(p.clip(1e-9))).sum(0)[seen[1:]]
    assert np.abs(unsure[seen] / 254 - entropy).max() < 0.03
    assert (apart[seen] <= unsure[seen]).all()
    differ = (samples != samples[:1]).any(axis=0)[0, 9:]
    assert 0.2 < differ.mean() < 1
    assert apart[seen][differ].mean() > apart[seen][~differ].mean() + 20


@pytest.mark.parametrize("refiner", [None, "residual"])
def test_one_mask_is_unsure_but_never_in_disagreement(case, chain, refiner):
    scene = case()
    found = predict_case(scene, chain(refiner=refiner), MemoryStore(), samples=3, extra=("uncertainty", "disagreement"))
    assert found.read("uncertainty", scene.whole).max() > 50
    assert not found.read("disagreement", scene.whole).any()


def test_extra_layers_are_the_same_in_strips_and_exist_where_nothing_is_valid(case, chain):
    scene = case((1, 160, 50), hole=(slice(0, 1), slice(0, 70), slice(0, 50)))
    noisy = chain(refiner="noisy")
    whole, strips = (
        predict_case(scene, noisy, MemoryStore(), windows=Windows(strip=strip), samples=2, extra=EXTRA)
        for strip in (None, 16 * 50)
    )
    assert len(strips.plan.strips) > 4
    for layer in EXTRA:
        assert np.array_equal(whole.read(layer, scene.whole), strips.read(layer, scene.whole))


def test_an_unknown_extra_layer_is_told(case, chain):
    with pytest.raises(ValueError, match="there is no extra layer 'entropy'; choose from uncertainty, disagreement"):
        predict_case(case(), chain(), MemoryStore(), extra=("entropy",))


def test_masks_of_somebody_else_are_not_touched_by_what_was_fitted_to_the_segmenter(case, with_coarse, chain):
    plain, fitted = chain(refiner="residual"), chain(refiner="residual")
    fitted.temperatures, fitted.thresholds = {"coarse": 3.0}, {"coarse": [0.1]}
    given = with_coarse(case())
    same(run(given, plain), run(given, fitted))
    own = [run(case(), each).read("coarse", given.whole) for each in (plain, fitted)]
    assert np.count_nonzero(own[1]) > np.count_nonzero(own[0])
