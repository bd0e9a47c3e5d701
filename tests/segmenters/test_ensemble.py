import torch
from torch import nn

from segcgan.segmenters import Ensemble


def test_the_mean_is_of_probabilities():
    members = [nn.Conv2d(1, 3, 1) for _ in range(3)]
    image = torch.randn(2, 1, 5, 4)
    expected = torch.stack([member(image).softmax(1) for member in members]).mean(0)
    torch.testing.assert_close(Ensemble(members)(image).softmax(1), expected)


def test_one_member_is_itself_and_certainty_is_finite():
    member = nn.Conv2d(1, 2, 1)
    image = 1e4 * torch.randn(1, 1, 3, 3)
    logits = Ensemble([member])(image)
    torch.testing.assert_close(logits.softmax(1), member(image).softmax(1))
    assert torch.isfinite(logits).all()
