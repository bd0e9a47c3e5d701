import csv
import os
import re
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from segcgan.case import IGNORE
from segcgan.errors import SegcganError
from segcgan.formats import open_case
from segcgan.inference.engine import predict_case
from segcgan.inference.folder import Wish, predict_folder, prepare
from segcgan.inference.store import MemoryStore
from segcgan.inference.table import Prediction, read_table, write_table
from segcgan.inference.windows import Windows

PLACE = {"driver": "GTiff", "crs": "EPSG:32636", "transform": Affine(0.5, 0, 3e5, 0, -0.5, 33e5)}


def scene(path, height=50, width=40, count=1, seed=0):
    """A GeoTIFF of random numbers with a corner of nodata."""
    values = np.random.default_rng(seed).normal(size=(count, height, width)).astype(np.float32)
    values[:, :9, :14] = -99
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", **PLACE, height=height, width=width, count=count, dtype="float32", nodata=-99) as f:
        f.write(values)
    return path


@pytest.fixture
def images(tmp_path):
    for index in range(3):
        scene(tmp_path / f"in/scene_{index}.tif", seed=index)
    return tmp_path / "in"


@pytest.fixture
def made(chain):
    return chain(refiner="residual")


def go(images, out, chain, settings=None, **options):
    return predict_folder(images, out, chain, settings or {}, Wish(Windows(strip=1), **options))


def statuses(rows):
    return [(row.case, row.status) for row in rows]


def test_every_scene_gets_masks_on_its_own_grid(images, tmp_path, made, choose):
    made.gate = choose(True)
    rows = go(images, tmp_path / "out", made)
    assert statuses(rows) == [(f"scene_{i}", "ok") for i in range(3)]
    names = {f"scene_{i}_{kind}.tif" for i in range(3) for kind in ("mask", "mask_coarse", "probability")}
    legends = {f"{name}.aux.xml" for name in names if "mask" in name}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names | legends | {"predictions.csv"}
    assert rows[0].files == "scene_0_mask.tif;scene_0_mask_coarse.tif;scene_0_probability.tif"
    one = open_case(images / "scene_0.tif")
    one.name = "scene_0"
    expected = predict_case(one, made, MemoryStore())
    for name, layer in (("mask", "chosen"), ("mask_coarse", "coarse"), ("probability", "p_chosen")):
        with rasterio.open(tmp_path / f"out/scene_0_{name}.tif") as file:
            values = file.read()
            assert (file.crs, file.transform, file.nodata) == ("EPSG:32636", PLACE["transform"], IGNORE)
        np.testing.assert_array_equal(values, expected.read(layer, one.whole).reshape(values.shape))
        np.testing.assert_array_equal(values[0] == IGNORE, ~one.read(one.whole)[1][0, 0])


@pytest.mark.parametrize("accept", [True, False])
def test_the_mask_is_the_one_the_gate_chose(images, tmp_path, made, choose, accept):
    made.gate = choose(accept)
    row = go(images / "scene_1.tif", tmp_path / "out", made)[0]
    assert (row.mask, row.reason) == ("refined" if accept else "coarse", f"chosen: {accept}")
    with (
        rasterio.open(tmp_path / "out/scene_1_mask.tif") as a,
        rasterio.open(tmp_path / "out/scene_1_mask_coarse.tif") as b,
    ):
        assert np.array_equal(a.read(), b.read()) is not accept


def test_without_a_refiner_there_is_one_mask(images, tmp_path, chain):
    row = go(images / "scene_0.tif", tmp_path / "out", chain())[0]
    assert (row.mask, row.reason) == ("coarse", "no refiner")
    assert row.files == "scene_0_mask.tif;scene_0_probability.tif"


def test_a_bad_file_does_not_stop_the_others_and_every_file_has_a_row(images, tmp_path, made):
    whole = (images / "scene_1.tif").read_bytes()
    (images / "scene_1.tif").write_bytes(whole[: len(whole) // 2])
    (images / "archive.bin").write_bytes(b"no image" * 100)
    (images / "notes.txt").write_text("a sidecar is passed over")
    scene(images / "colour.tif", count=3)
    rows = go(images, tmp_path / "out", made)
    assert statuses(rows) == [
        ("", "skipped"), ("colour", "failed"), ("scene_0", "ok"), ("scene_1", "failed"), ("scene_2", "ok"),
    ]  # fmt: skip
    reasons = {row.case: row.reason for row in rows}
    assert "archive.bin is not an image segcgan reads" in reasons[""]
    assert "colour.tif has 3 channel(s) but the run was trained on 1" in reasons["colour"]
    assert "scene_1.tif" in reasons["scene_1"]
    assert all("\n" not in reason for reason in reasons.values())
    assert not list((tmp_path / "out").glob("*scene_1_*"))
    with (tmp_path / "out/predictions.csv").open() as stream:
        assert [(line["case"], line["status"]) for line in csv.DictReader(stream)] == statuses(rows)
    mended = images / "scene_1.tif"
    mended.write_bytes(whole)
    assert [row.case for row in go(images, tmp_path / "out", made) if "done before" not in row.reason] == [
        "", "colour", "scene_1",
    ]  # fmt: skip


def test_what_is_done_is_not_done_again(images, tmp_path, made, chain):
    first = go(images, tmp_path / "out", made)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.tif")}
    for _ in range(2):
        idle = chain(refiner="residual")
        rows = go(images, tmp_path / "out", idle)
        assert idle.segmenter.seen == 0
        assert [row.reason for row in rows] == [f"{row.reason} (done before)" for row in first]
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.tif")}
    busy = chain(refiner="residual")
    rows = go(images, tmp_path / "out", busy, overwrite=True)
    assert busy.segmenter.seen == made.segmenter.seen
    assert [row.reason for row in rows] == [row.reason for row in first]


@pytest.mark.parametrize("change", ["file", "weights", "samples", "seed", "output"])
def test_what_changed_is_done_again(images, tmp_path, chain, change):
    go(images, tmp_path / "out", chain(refiner="noisy"))
    again, options = chain(refiner="noisy"), {}
    if change == "file":
        scene(images / "scene_1.tif", seed=77)
    elif change == "weights":
        again.tag = "other weights"
    elif change == "output":
        (tmp_path / "out/scene_1_probability.tif").unlink()
    else:
        options = {change: 3}
    rows = go(images, tmp_path / "out", again, **options)
    redone = [row.case for row in rows if "done before" not in row.reason]
    assert redone == (["scene_1"] if change in ("file", "output") else ["scene_0", "scene_1", "scene_2"])


class Stop(BaseException):
    pass


def test_a_killed_folder_prediction_goes_on(images, tmp_path, made, chain):
    whole = {row.case: row for row in go(images, tmp_path / "whole", made)}

    def stop(done, total):
        if stop.calls == 5:  # four strips a scene: in the middle of the second
            raise Stop
        stop.calls += 1

    stop.calls = 0
    wish = Wish(Windows(strip=1))
    with pytest.raises(Stop):
        predict_folder(images, tmp_path / "out", chain(refiner="residual"), {}, wish, progress=stop)
    assert (tmp_path / "out/.scene_1.strips").is_dir()
    assert not list((tmp_path / "out").glob("scene_1*"))
    resumed = chain(refiner="residual")
    rows = go(images, tmp_path / "out", resumed)
    assert rows[0].reason.endswith("(done before)")
    assert resumed.segmenter.seen < made.segmenter.seen * 2 / 3
    left, usual = ({path.name for path in (tmp_path / name).iterdir()} for name in ("out", "whole"))
    assert left == usual
    for row in whole.values():
        for name in row.files.split(";"):
            with rasterio.open(tmp_path / "out" / name) as a, rasterio.open(tmp_path / "whole" / name) as b:
                np.testing.assert_array_equal(a.read(), b.read())


def test_strips_of_another_layout_are_not_mixed_in(images, tmp_path, chain):
    def stop(done, total):
        raise Stop

    with pytest.raises(Stop):
        predict_folder(images, tmp_path / "out", chain(refiner="residual"), {}, Wish(Windows(strip=1)), progress=stop)
    wide = Wish(Windows(strip=40 * 32))
    row = predict_folder(images, tmp_path / "out", chain(refiner="residual"), {}, wide)[0]
    assert row.status == "ok"
    go(images, tmp_path / "whole", chain(refiner="residual"))
    with (
        rasterio.open(tmp_path / "out" / "scene_0_mask.tif") as a,
        rasterio.open(tmp_path / "whole/scene_0_mask.tif") as b,
    ):
        np.testing.assert_array_equal(a.read(), b.read())


def test_masks_are_never_taken_for_images(images, made):
    for _ in range(2):
        rows = go(images, images / "masks", made)
        assert statuses(rows) == [(f"scene_{i}", "ok") for i in range(3)]
    with pytest.raises(SegcganError, match="output and input are the same folder"):
        go(images, images / "masks" / "..", made)


def test_of_a_folder_laid_out_for_training_the_images_are_predicted(tmp_path, made):
    for name in ("images", "masks"):
        scene(tmp_path / "set" / name / "town.tif")
    assert statuses(go(tmp_path / "set", tmp_path / "out", made)) == [("town", "ok")]
    with pytest.raises(SegcganError, match="output and input are the same folder"):
        go(tmp_path / "set", tmp_path / "set/images", made)


def test_a_single_file_may_lie_in_the_output_folder(images, made):
    assert statuses(go(images / "scene_0.tif", images, made)) == [("scene_0", "ok")]


def test_an_empty_folder_and_one_without_images(tmp_path, made):
    (tmp_path / "in").mkdir()
    with pytest.raises(SegcganError, match=r"in holds no image segcgan reads; give DICOM, NIfTI, GeoTIFF, PNG"):
        go(tmp_path / "in", tmp_path / "out", made)
    (tmp_path / "in/data.bin").write_bytes(b"\0" * 999)
    with pytest.raises(SegcganError, match=r"holds no image segcgan reads \(.*data.bin is not an image.*\); give"):
        go(tmp_path / "in", tmp_path / "out", made)
    assert not (tmp_path / "out").exists()


def test_spacing_is_given_only_to_files_that_know_none(images):
    settings = {"spacing": [1.0, 2.0, 3.0], "unit": "mm"}
    known = prepare(open_case(images / "scene_0.tif"), settings)
    assert (known.geometry.unit, known.geometry.spacing[1]) == ("m", 0.5)
    unknown = open_case(images / "scene_0.tif")
    unknown.geometry = type(unknown.geometry)(np.eye(4), (1.0, 1.0, 1.0), "px")
    assert prepare(unknown, {}).geometry.unit == "px"
    assert prepare(unknown, settings).geometry.spacing == (1.0, 2.0, 3.0)
    assert unknown.geometry.unit == "mm"


def test_the_table_keeps_odd_texts_and_foreign_tables_are_no_tables(tmp_path):
    rows = [Prediction("a", 'b "quoted", with comma', "failed", reason="x; y", seconds=1.5, tag="t")]
    write_table(tmp_path / "t.csv", rows)
    assert read_table(tmp_path / "t.csv") == rows
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
    (tmp_path / "t.csv").write_text("case,score\na,1\n")
    assert read_table(tmp_path / "t.csv") == []
    assert read_table(tmp_path / "none.csv") == []


def test_rows_are_reported_as_they_come(images, tmp_path, made):
    seen = []
    rows = predict_folder(
        images, tmp_path / "out", made, {}, report=lambda row, n, count: seen.append((row.case, n, count))
    )
    assert seen == [(row.case, i + 1, 3) for i, row in enumerate(rows)]
    assert re.fullmatch(r"[0-9a-f]{16}", rows[0].tag)


def test_uncertainty_is_written_on_request_only(images, tmp_path, made):
    assert not any("uncertainty" in row.files for row in go(images, tmp_path / "out", made))
    rows = go(images, tmp_path / "out", made, uncertainty=True)
    assert rows[0].files.endswith("scene_0_probability.tif;scene_0_uncertainty.tif")
    assert "done before" not in rows[0].reason
    with rasterio.open(tmp_path / "out/scene_0_uncertainty.tif") as file:
        assert (file.count, file.nodata, file.scales, file.descriptions) == (1, 255, (1 / 254,), ("uncertainty",))
        assert file.crs.to_epsg() == 32636
        values = file.read(1)
    assert (values[:9, :14] == 255).all()
    assert values[20:].max() <= 254
    assert values[20:].max() > 100


def test_odd_names_stop_nothing(images, tmp_path, made):
    (images / "scene_0.tif").rename(images / "semi;colon.tif")
    (images / "scene_1.tif").rename(Path(os.fsdecode(os.fsencode(images) + b"/b\xfcse.tif")))
    assert [row.status for row in go(images, tmp_path / "out", made)] == ["skipped", "ok", "ok"]
    again = go(images, tmp_path / "out", made)
    assert ["done before" in row.reason for row in again] == [False, True, True]
    assert read_table(tmp_path / "out/predictions.csv")[0].path == f"{images}/b\\udcfcse.tif"


def test_whatever_goes_wrong_with_one_case_the_others_go_on(images, tmp_path, made, monkeypatch):
    def odd(found, orientation):
        if found.name == "scene_1":
            raise AssertionError("never seen before")
        return open_case(found, orientation)

    monkeypatch.setattr("segcgan.inference.folder.open_case", odd)
    rows = go(images, tmp_path / "out", made)
    assert [(row.status, row.reason) for row in rows if row.status != "ok"] == [("failed", "never seen before")]
    assert len(rows) == 3


def test_a_mosaic_is_predicted_again_when_one_of_its_files_changed(images, tmp_path, made):
    (tmp_path / "vrt").mkdir()
    (tmp_path / "vrt/m.vrt").write_text(
        '<VRTDataset rasterXSize="40" rasterYSize="50"><VRTRasterBand dataType="Float32" band="1"><SimpleSource>'
        f'<SourceFilename>{images / "scene_0.tif"}</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    assert ["done before" in go(tmp_path / "vrt", tmp_path / "out", made)[0].reason for _ in range(2)] == [False, True]
    scene(images / "scene_0.tif", seed=9)
    assert "done before" not in go(tmp_path / "vrt", tmp_path / "out", made)[0].reason
