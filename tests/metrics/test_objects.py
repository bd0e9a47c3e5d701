"""Objects by hand, against brute force, and at the edges."""

import numpy as np
import pytest
from scipy.ndimage import label

from segcgan.errors import SegcganError
from segcgan.metrics.objects import Object, detection, find_objects, score_objects
from segcgan.metrics.records import read_records, write_records

NAMES = ["background", "thing"]


def mask(*boxes, shape=(1, 20, 30)):
    out = np.zeros(shape, np.uint8)
    for y, x, h, w in boxes:
        out[0, y : y + h, x : x + w] = 1
    return out


def score(reference, prediction, known=None):
    known = np.ones(reference.shape, bool) if known is None else known
    return score_objects("a", "", {"reference": reference, "coarse": prediction}, NAMES, known)


def test_by_hand():
    reference = mask((0, 0, 4, 4), (10, 0, 4, 4), (10, 20, 2, 2))
    prediction = mask((0, 1, 4, 4), (0, 20, 3, 3), (10, 0, 4, 1))
    found = score(reference, prediction)
    ious = [each.iou for each in found if each.kind == "reference"]
    assert ious == pytest.approx([12 / 20, 4 / 16, 0])
    assert [each.area for each in found if each.kind == "invented"] == [9, 4]  # the sliver belongs to none
    result = detection(found)
    assert (result.precision, result.recall) == pytest.approx((1 / 3, 1 / 3))
    assert result.f1 == pytest.approx(1 / 3)
    assert result.pq == pytest.approx(0.6 / 3)
    assert result.sq == pytest.approx(0.6)
    assert result.pq == pytest.approx(result.sq * result.f1)


@pytest.mark.parametrize("shape", [(1, 30, 40), (6, 12, 14)])
@pytest.mark.parametrize("seed", range(4))
def test_against_brute_force(shape, seed):
    rng = np.random.default_rng(seed)
    reference, prediction = rng.random(shape) < 0.3, rng.random(shape) < 0.3
    mine, other, best, rival = find_objects(reference, prediction)
    around = np.ones((3, 3, 3))
    (first, n), (second, m) = label(reference, around), label(prediction, around)
    table = np.zeros((n, m))
    for i in range(n):
        for j in range(m):
            a, b = first == i + 1, second == j + 1
            table[i, j] = (a & b).sum() / (a | b).sum()
    np.testing.assert_allclose(best, table.max(1, initial=0))
    np.testing.assert_allclose(rival, table.max(0, initial=0))
    assert mine.sum() == reference.sum()
    assert other.sum() == prediction.sum()


def test_corners_touch_and_what_is_not_known_is_nothing():
    reference = mask((0, 0, 2, 2), (2, 2, 2, 2))
    assert len(find_objects(reference, reference)[0]) == 1
    known = np.ones(reference.shape, bool)
    known[..., 2:] = False
    found = score(reference, mask((0, 0, 2, 2), (2, 2, 2, 2), (10, 10, 2, 2)), known)
    assert [(each.kind, each.area, each.iou) for each in found] == [("reference", 4, 1.0)]


def test_empty_masks():
    assert score(mask(), mask()) == []
    assert set(vars(detection([])).values()) == {1.0}  # rightly empty
    assert all(np.isnan(value) for value in vars(detection([], empty=float("nan"))).values())
    missed = detection(score(mask((0, 0, 2, 2)), mask()))
    assert (missed.recall, missed.f1, missed.pq) == (0, 0, 0)
    assert np.isnan(missed.precision)
    invented = detection(score(mask(), mask((0, 0, 2, 2))))
    assert (invented.precision, invented.pq) == (0, 0)
    assert np.isnan(invented.recall)


def test_tables_come_back(tmp_path):
    found = score(mask((0, 0, 4, 4)), mask((0, 1, 4, 4), (10, 10, 2, 2)))
    write_records(tmp_path / "objects_test.csv", Object, found)
    assert read_records(tmp_path / "objects_test.csv", Object) == found
    (tmp_path / "broken.csv").write_text("case,number\na,x\n")
    with pytest.raises(SegcganError, match=r"broken.csv is not a table of objects .* segcgan test"):
        read_records(tmp_path / "broken.csv", Object)
