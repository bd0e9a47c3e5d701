"""Images with nothing to see in them are predicted, and their rows say so."""

import nibabel
import numpy as np
import pytest

from segcgan.inference.blank import blank
from segcgan.inference.folder import predict_folder
from segcgan.inference.table import read_table


def volume(kind):
    values = np.full((9, 20, 20), 7.0, np.float32)
    if kind == "NaN":
        values[:] = np.nan
    elif kind == "one voxel":
        values[8, 19, 19] = 8
    elif kind == "some NaN":
        values[:4] = np.nan
    elif kind == "noise":
        values[:] = np.random.default_rng(0).normal(size=values.shape)
    return values


@pytest.mark.parametrize(
    ("kind", "note"),
    [
        ("NaN", "no voxel has a value: all are NaN, nodata or padding"),
        ("constant", "every voxel has the value 7"),
        ("some NaN", "every voxel has the value 7"),
        ("one voxel", ""),
        ("noise", ""),
    ],
)
def test_what_is_blank_is_predicted_and_said(tmp_path, chain, kind, note):
    (tmp_path / "in").mkdir()
    nibabel.save(nibabel.Nifti1Image(volume(kind).T, np.eye(4)), tmp_path / "in" / "v.nii")
    (row,) = predict_folder(tmp_path / "in", tmp_path / "out", chain(), {})
    assert (row.status, row.note) == ("ok", note)
    assert read_table(tmp_path / "out" / "predictions.csv")[0].note == note
    assert np.asarray(nibabel.load(tmp_path / "out" / "v_mask.nii.gz").dataobj).shape == (20, 20, 9)


def test_pictures_of_several_channels(case):
    grey = case(channels=3)
    assert blank(grey) == []
    grey.reader.image[:] = np.array([1.5, 2, 3])[:, None, None, None]
    assert blank(grey) == ["every pixel has the value 1.5, 2, 3"]


def test_a_normal_image_is_read_once(case):
    one = case(shape=(40, 300, 300))
    windows = []
    read = one.reader.read
    one.reader.read = lambda window: windows.append(window) or read(window)
    assert blank(one) == []
    assert len(windows) == 1
    assert windows[0][0] == slice(20, 21)
