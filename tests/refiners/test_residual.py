"""The residual refiner: nothing at first, exactly as far as it says, and able to learn."""

import pytest
import torch

from segcgan.batch import Batch
from segcgan.noise import Noise
from segcgan.refiners import Refiner, ResidualRefiner
from tests.refiners.conftest import batch, cut


def stirred(levels=3, **more):
    """A refiner with random weights everywhere, also where training begins at zero."""
    torch.manual_seed(0)
    refiner = ResidualRefiner(1, 2, width=4, levels=levels, **more)
    torch.nn.init.normal_(refiner.head.last.weight)
    return refiner


def refine(refiner, windows):
    return refiner.refine(windows, Noise(0, 0, windows))


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("hard", [False, True])
def test_untrained_it_returns_the_coarse_mask(classes, hard):
    windows = batch(32, count=2, classes=classes, channels=3)
    if hard:
        windows.coarse = (windows.coarse == windows.coarse.amax(1, keepdim=True)).float()
    logits = refine(ResidualRefiner(3, classes, width=4), windows)
    assert logits.shape == (2, classes, 32, 32)
    assert torch.equal(logits.argmax(1), windows.coarse.argmax(1))
    torch.testing.assert_close(logits.softmax(1), windows.coarse, atol=0.02, rtol=0)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_measured_reach_is_the_stated_one(levels):
    refiner = stirred(levels)
    size = 2 * refiner.reach + 4 * refiner.stride
    size += -size % refiner.stride
    windows = batch(size)
    furthest = 0
    for centre in range(size // 2, size // 2 + refiner.stride):  # the reach depends on the phase
        windows.image.requires_grad_().grad = None
        refine(refiner, windows)[0, 1, centre, centre].backward()
        touched = windows.image.grad[0, 0].nonzero()
        furthest = max(furthest, int((touched - centre).abs().max()))
    assert furthest == refiner.reach


def test_a_window_with_a_halo_gives_the_same_pixels():
    refiner = stirred(3).eval()
    whole = batch(96)
    halo = refiner.reach + -refiner.reach % refiner.stride
    low, high = 36, 68  # multiples of the stride
    part = cut(whole, low - halo, high + halo)
    with torch.no_grad():
        expected = refine(refiner, whole)[..., low:high, low:high]
        found = refine(refiner, part)[..., halo : halo + high - low, halo : halo + high - low]
    torch.testing.assert_close(found, expected, atol=4e-5, rtol=0)
    assert torch.equal(found.argmax(1), expected.argmax(1))


def test_neither_batch_nor_mode_changes_a_result():
    refiner, windows = stirred(3), batch(32, count=3)
    with torch.no_grad():
        together = refine(refiner.train(), windows)
        alone = refine(
            refiner.eval(),
            Batch(**{k: v if v is None else v[1:2] for k, v in vars(windows).items()}),
        )
    torch.testing.assert_close(together[1:2], alone, atol=1e-4, rtol=0)


def test_the_sample_does_not_matter():
    refiner, windows = stirred(2), batch(16)
    assert refiner.stochastic is False
    assert torch.equal(
        refiner.refine(windows, Noise(0, 0, windows)), refiner.refine(windows, Noise(9, 3, windows))
    )


def test_terms_of_the_loss():
    windows = batch(32)
    terms, logits = stirred(2).training_loss(windows, Noise(0, 0, windows))
    assert sorted(terms) == ["ce", "dice", "sobel"]
    assert logits.shape == (1, 2, 32, 32)
    assert all(term.ndim == 0 and term > 0 for term in terms.values())
    none = stirred(2, boundary_weight=0.0).training_loss(windows, Noise(0, 0, windows))[0]
    assert "sobel" not in none
    assert none["dice"] == terms["dice"]


def test_invalid_pixels_do_not_train():
    refiner, windows = stirred(2), batch(32)
    windows.valid[..., 16:] = False
    windows.coarse = windows.coarse * windows.valid
    before, _ = refiner.training_loss(windows, Noise(0, 0, windows))
    windows.target[..., 16:] = 1 - windows.target[..., 16:]
    after, _ = refiner.training_loss(windows, Noise(0, 0, windows))
    assert all(before[name] == after[name] for name in before)


def test_what_is_missing_is_said():
    refiner, windows = stirred(2), batch(16)
    windows.target = None
    with pytest.raises(ValueError, match="training needs a target"):
        refiner.training_loss(windows, Noise(0, 0, windows))
    windows.coarse = None
    with pytest.raises(ValueError, match="refining needs a coarse mask"):
        refine(refiner, windows)


def test_it_overfits_one_batch():
    torch.manual_seed(0)
    windows = batch(48, count=2)
    shape = windows.target[:, None].float()
    windows.image = shape * 2 - 1 + 0.1 * windows.image
    shifted = torch.roll(shape, (6, 6), (2, 3))
    windows.coarse = torch.cat([1 - shifted, shifted], 1)

    def dice(mask):
        return (2 * (mask * windows.target).sum() / (mask.sum() + windows.target.sum())).item()

    assert dice(windows.coarse.argmax(1)) < 0.75
    refiner = ResidualRefiner(1, 2, width=8, levels=2)
    optimizer = torch.optim.AdamW(refiner.parameters(), lr=1e-2)
    for _ in range(50):
        terms, logits = refiner.training_loss(windows, Noise(0, 0, windows))
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
    assert dice(logits.argmax(1)) > 0.95


def test_all_parameters_are_used():
    refiner, windows = stirred(3), batch(32)
    terms, _ = refiner.training_loss(windows, Noise(0, 0, windows))
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is not None and (p.grad != 0).any() for p in refiner.parameters())


def test_a_new_refiner_needs_two_methods_only():
    class Repeat(Refiner):
        def training_loss(self, batch, noise):
            return {}, batch.coarse

        def refine(self, batch, noise):
            return batch.coarse.log()

    refiner, windows = Repeat(), batch(8)
    assert (refiner.evaluations, refiner.reach, refiner.stride, refiner.stochastic) == (1, None, 1, False)
    assert refine(refiner, windows).shape == (1, 2, 8, 8)

    class Half(Refiner):
        def refine(self, batch, noise):
            return batch.coarse

    with pytest.raises(TypeError, match="training_loss"):
        Half()


def test_it_soon_learns_to_overturn_a_hard_mask():
    """A hard mask weighs six logits a pixel; what could only add to them changed nothing in a whole training."""
    torch.manual_seed(0)
    refiner, error = ResidualRefiner(1, 2, width=8, levels=2), {}
    optimiser = torch.optim.AdamW(refiner.parameters(), 2e-3)
    for step in range(120):
        windows = batch(32, count=4, seed=step)
        windows.image = 0.3 * windows.image + windows.target[:, None]
        shifted = windows.target.roll((3, 3), (1, 2))
        windows.coarse = torch.stack([1 - shifted, shifted], 1).float()
        terms, logits = refiner.training_loss(windows, Noise(0, 0, windows))
        error[step] = (logits.argmax(1) != windows.target).float().mean().item()
        optimiser.zero_grad()
        sum(terms.values()).backward()
        optimiser.step()
    assert error[119] < error[0] / 4
