import numpy as np
import pytest
from PIL import Image

from segcgan.errors import SegcganError
from segcgan.report.curves import _panel, curves, is_loss, read_series, spread

CSV = """epoch,step,train/loss_step,train/loss_epoch,train/kl,val/loss,val/score,val/hd95,lr
0,0,9,,4,,,,0.1
0,1,8,,6,,,,0.1
0,1,,2.0,,,,,
0,1,,,,1.0,0.5,33.0,
1,3,,1.0,nan,,,,
1,3,,,,0.8,0.7,22.0,
"""


@pytest.fixture
def metrics(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(CSV)
    return path


def test_series_have_no_gaps_no_distances_and_one_value_per_epoch(metrics):
    assert read_series(metrics) == {
        "train/loss": [(0, 2.0), (1, 1.0)],
        "train/kl": [(0, 5.0)],
        "val/loss": [(0, 1.0), (1, 0.8)],
        "val/score": [(0, 0.5), (1, 0.7)],
    }
    assert is_loss("val/loss")
    assert not is_loss("val/score")


def test_one_row_of_panels_per_stage(metrics, tmp_path):
    (tmp_path / "one.png").write_bytes(curves({"segmenter": metrics}))
    (tmp_path / "two.png").write_bytes(curves({"segmenter": metrics, "refiner": metrics}))
    one, two = (np.asarray(Image.open(tmp_path / name)) for name in ("one.png", "two.png"))
    assert one.shape[1] == two.shape[1]
    assert two.shape[0] > 1.7 * one.shape[0]
    assert (one[..., :3] < 200).any()


def test_a_stage_without_scores_is_drawn_and_a_run_without_curves_is_an_error(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,train/loss\n0,0,1.5\n")
    assert curves({"segmenter": path}).startswith(b"\x89PNG")
    path.write_text("epoch,step,lr\n0,0,1\n")
    with pytest.raises(SegcganError, match=r"metrics.csv: no columns train/… or val/… to draw; train for at"):
        curves({"segmenter": path})
    with pytest.raises(SegcganError, match="a run without stages: no columns"):
        curves({})


def test_a_single_epoch_is_marked_by_whole_numbers():
    from matplotlib.figure import Figure

    axis = Figure().subplots()
    _panel(axis, "refiner: validation scores", {"score": [(15, 0.5)], "dice": [(15, 0.6)]})
    assert [tick for tick in axis.get_xticks() if 14 < tick < 18] == [15, 16, 17]


def test_labels_are_spread_in_order():
    moved = spread([50, 10, 11, 12, 99], least=10, top=100)
    assert moved[0] == 50
    ordered = [moved[index] for index in (1, 2, 3, 0, 4)]
    assert ordered == sorted(ordered)
    assert min(np.diff(ordered)) >= 10
    assert spread([100, 100], least=10, top=100) == [90, 100]
