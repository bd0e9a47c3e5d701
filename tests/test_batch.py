"""Batches: joined, moved, and which of their pixels count."""

import pytest
import torch

from segcgan.batch import Batch, collate
from segcgan.case import IGNORE


def item(value, **more):
    return Batch(
        image=torch.full((1, 2, 3, 4), float(value)),
        valid=torch.ones(1, 1, 3, 4, dtype=torch.bool),
        spacing=torch.ones(1, 2),
        origin=torch.tensor([[value, value]]),
        key=torch.tensor([value]),
        **more,
    )


def test_collate_keeps_the_order_and_absent_fields_absent():
    batch = collate([item(1), item(2), item(3)])
    assert batch.image.shape == (3, 2, 3, 4)
    assert batch.key.tolist() == [1, 2, 3]
    assert batch.origin.tolist() == [[1, 1], [2, 2], [3, 3]]
    assert batch.target is None
    assert batch.coarse is None


def test_collate_joins_targets_and_coarse_masks():
    target, coarse = torch.zeros(1, 3, 4, dtype=torch.long), torch.ones(1, 2, 3, 4)
    batch = collate([item(1, target=target, coarse=coarse), item(2, target=target + 1, coarse=coarse * 0)])
    assert batch.target[:, 0, 0].tolist() == [0, 1]
    assert batch.coarse[:, 0, 0, 0].tolist() == [1, 0]


def test_to_moves_every_field():
    batch = item(1, target=torch.zeros(1, 3, 4, dtype=torch.long)).to("meta")
    assert all(t.device.type == "meta" for t in (batch.image, batch.valid, batch.spacing, batch.origin, batch.key))
    assert batch.target.device.type == "meta"
    assert batch.coarse is None


def test_scored_pixels_are_valid_and_known():
    batch = item(1, target=torch.zeros(1, 3, 4, dtype=torch.long))
    batch.valid[0, 0, 0] = False
    batch.target[0, 1] = IGNORE
    assert batch.scored.shape == (1, 3, 4)
    assert batch.scored[0].all(1).tolist() == [False, False, True]
    assert not batch.scored[0, :2].any()


def test_without_target_nothing_can_be_scored():
    with pytest.raises(ValueError, match="this batch has no target"):
        _ = item(1).scored
