"""What an output folder holds after several calls: nothing is replaced, renamed or left over."""

import errno
import socket
import subprocess
import sys

import numpy as np
import pytest
import rasterio
from PIL import Image

from segcgan.data.profile import Profile
from segcgan.errors import NotWrittenError, SegcganError
from segcgan.inference.folder import Wish, predict_folder
from segcgan.inference.table import read_table
from segcgan.inference.windows import Windows


def scene(path, seed=0):
    """A GeoTIFF of random numbers."""
    values = np.random.default_rng(seed).normal(size=(1, 40, 30)).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", driver="GTiff", height=40, width=30, count=1, dtype="float32") as file:
        file.write(values)
    return path


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((40, 30), 7, np.uint8)).save(path)
    return path


@pytest.fixture
def go(tmp_path, chain):
    def predict(source, made=None, **options):
        return predict_folder(source, tmp_path / "out", made or chain(refiner="residual"), {}, Wish(**options))

    return predict


def table(tmp_path):
    return [(row.case, row.status, row.path) for row in read_table(tmp_path / "out/predictions.csv")]


def done_before(rows):
    return [row.case for row in rows if row.reason.endswith("(done before)")]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".tif"}


def test_rows_of_another_folder_are_kept(tmp_path, go):
    first, second = scene(tmp_path / "monday/a.tif"), scene(tmp_path / "tuesday/b.tif", 1)
    (tmp_path / "monday/odd.bin").write_bytes(b"x" * 99)
    go(tmp_path / "monday")
    go(tmp_path / "tuesday")
    rows = [("", "skipped", f"{tmp_path}/monday/odd.bin"), ("a", "ok", str(first)), ("b", "ok", str(second))]
    assert sorted(table(tmp_path)) == rows
    assert done_before(go(tmp_path / "monday")) == ["a"]
    assert done_before(go(tmp_path / "tuesday")) == ["b"]
    (tmp_path / "monday/odd.bin").unlink()
    go(tmp_path / "monday")
    assert sorted(table(tmp_path)) == rows[1:]


def test_masks_of_another_image_of_the_same_name_are_not_replaced(tmp_path, go):
    scene(tmp_path / "monday/a.tif")
    scene(tmp_path / "tuesday/a.tif", 1)
    scene(tmp_path / "tuesday/b.tif", 2)
    go(tmp_path / "monday")
    before, rows = contents(tmp_path / "out"), table(tmp_path)
    with pytest.raises(SegcganError) as caught:
        go(tmp_path / "tuesday")
    told = f"{tmp_path}/out already holds masks called 'a', of {tmp_path}/monday/a.tif, which those of "
    told += f"{tmp_path}/tuesday/a.tif would replace; give another output, or --overwrite to replace them"
    assert str(caught.value) == told
    assert (contents(tmp_path / "out"), table(tmp_path)) == (before, rows)
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")] == []
    go(tmp_path / "tuesday", overwrite=True)
    assert [(case, path) for case, _, path in table(tmp_path)] == [
        (name, f"{tmp_path}/tuesday/{name}.tif") for name in "ab"
    ]


def test_a_folder_that_has_grown_keeps_the_names_of_what_is_there(tmp_path, go):
    scene(tmp_path / "in/a.tif")
    scene(tmp_path / "in/sub/b.tif", 1)
    assert [row.case for row in go(tmp_path / "in")] == ["a", "b"]
    before = contents(tmp_path / "out")
    picture(tmp_path / "in/a.png")
    scene(tmp_path / "in/b.tif", 2)
    scene(tmp_path / "in/A.tif", 3)  # on a file system blind to case it would be the same name
    rows = go(tmp_path / "in")
    names = [row.case for row in rows]
    assert len({name.casefold() for name in names}) == 5
    assert done_before(rows) == ["a", "b"]
    assert "a_png" in names
    assert before.items() <= contents(tmp_path / "out").items()
    assert [row.case for row in go(tmp_path / "in")] == names
    assert len(done_before(go(tmp_path / "in"))) == 5


def test_a_single_file_first_and_its_folder_then(tmp_path, go):
    scene(tmp_path / "in/x/a.tif")
    scene(tmp_path / "in/y/a.tif", 1)
    assert [row.case for row in go(tmp_path / "in/y/a.tif")] == ["a"]
    rows = go(tmp_path / "in")
    assert [row.case for row in rows] == ["x_a", "a"]
    assert done_before(rows) == ["a"]


def test_a_folder_that_was_moved_is_known_again(tmp_path, go):
    scene(tmp_path / "in/a.tif")
    go(tmp_path / "in")
    (tmp_path / "in").rename(tmp_path / "archive")
    assert done_before(go(tmp_path / "archive")) == ["a"]
    assert table(tmp_path) == [("a", "ok", f"{tmp_path}/archive/a.tif")]


def test_names_do_not_depend_on_where_the_user_stands(tmp_path, go, monkeypatch):
    for name in ("monday", "tuesday"):
        scene(tmp_path / name / "a.tif", len(name))
    monkeypatch.chdir(tmp_path / "monday")
    go(tmp_path.__class__("."))
    monkeypatch.chdir(tmp_path / "tuesday")
    with pytest.raises(SegcganError, match="already holds masks called 'a'"):
        go(tmp_path.__class__("."))
    monkeypatch.chdir(tmp_path)
    assert done_before(go(tmp_path.__class__("monday"))) == ["a"]


def test_a_table_of_an_older_version_is_read(tmp_path, go):
    scene(tmp_path / "in/a.tif")
    go(tmp_path / "in")
    path = tmp_path / "out/predictions.csv"
    lines = path.read_text().splitlines()
    assert lines[0].endswith(",tag,note")
    path.write_text("\n".join(line.rpartition(",")[0] for line in lines) + "\n")
    assert done_before(go(tmp_path / "in")) == ["a"]


def test_an_output_that_another_process_writes_to_is_refused(tmp_path, go):
    scene(tmp_path / "in/a.tif")
    (tmp_path / "out").mkdir()
    mark = tmp_path / "out/.predicting"
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        mark.write_text(f"{socket.gethostname()} {other.pid}")
        (tmp_path / "out/.writing-abc").mkdir()
        with pytest.raises(SegcganError, match=f"out is being written to by process {other.pid}; wait for it, or"):
            go(tmp_path / "in")
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".predicting", ".writing-abc"]
    finally:
        other.kill()
        other.wait()
    assert [row.status for row in go(tmp_path / "in")] == ["ok"]  # a killed process holds nothing
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_what_a_killed_process_left_is_removed(tmp_path, go):
    scene(tmp_path / "in/a.tif")
    go(tmp_path / "in")
    out = tmp_path / "out"
    (out / ".writing-x1y2").mkdir()
    (out / ".writing-x1y2/a_mask.tif").write_bytes(b"half")
    (out / ".predictions.csv.4711.part").write_text("half")
    (out / ".mine.part").write_text("the user's own")
    for name, origin in (("a", tmp_path / "in/a.tif"), ("gone", tmp_path / "in/gone.tif"), ("b", tmp_path / "in")):
        (out / f".{name}.strips").mkdir()
        (out / f".{name}.strips/tag.json").write_text(f'{{"tag": "t", "origin": "{origin}"}}')
    go(tmp_path / "in")
    assert {path.name for path in out.iterdir() if path.name.startswith(".")} == {".mine.part", ".b.strips"}


def test_what_is_doubtful_about_a_case_stands_in_its_row(tmp_path, chain):
    scene(tmp_path / "in/a.tif")
    made, options = chain(refiner="residual"), Wish()
    usual = Profile([[-3.0, -2.0]], [[2.0, 3.0]], [4.0]).facts()
    far = Profile([[120.0, 300.0]], [[6000.0, 9000.0]], [4000.0]).facts()
    (row,) = predict_folder(tmp_path / "in", tmp_path / "one", made, {"profile": usual}, options)
    assert (row.status, row.note) == ("ok", "")
    (row,) = predict_folder(tmp_path / "in", tmp_path / "two", made, {"profile": far}, options)
    assert row.status == "ok"
    assert row.note.startswith("values unlike those of training: -2.")
    assert row.note.endswith(", trained on 120–9000")
    again = predict_folder(tmp_path / "in", tmp_path / "two", made, {"profile": far}, options)
    assert (again[0].note, done_before(again)) == (row.note, ["a"])
    assert read_table(tmp_path / "two/predictions.csv")[0].note == row.note


def full(*_args, **_options):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_names_the_path_keeps_the_strips_and_leaves_no_half_result(tmp_path, go, monkeypatch):
    scene(tmp_path / "in/a.tif")
    with monkeypatch.context() as patch:
        patch.setattr("segcgan.inference.outputs.write_probability", full)
        (row,) = go(tmp_path / "in")
    assert (row.status, row.files) == ("failed", "")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {".a.strips", "predictions.csv"}
    with monkeypatch.context() as patch:
        patch.setattr("numpy.savez", full)
        (row,) = go(tmp_path / "in", windows=Windows(strip=1))
    path = tmp_path / "out/.a.strips/strip_000000.npz"
    expected = f"{path} cannot be written: no space is left on its disk (No space left on device); free some space"
    assert row.reason == expected
    with monkeypatch.context() as patch:
        patch.setattr("csv.DictWriter.writeheader", full)
        with pytest.raises(NotWrittenError, match=r"out/predictions\.csv cannot be written: no space is left"):
            go(tmp_path / "in")
    assert not (tmp_path / "out/.predicting").exists()
    assert [row.status for row in go(tmp_path / "in")] == ["ok"]
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_what_gdal_cannot_write_names_the_path(tmp_path, go, monkeypatch):
    scene(tmp_path / "in/a.tif")
    real = rasterio.open

    def stopped(path, mode="r", **options):
        if mode == "w":
            raise rasterio.errors.RasterioIOError("TIFFAppendToStrip: Write error at scanline 0")
        return real(path, mode, **options)

    monkeypatch.setattr("rasterio.open", stopped)
    (row,) = go(tmp_path / "in")
    assert row.reason == (
        f"{tmp_path}/out/a_mask.tif cannot be written (TIFFAppendToStrip: Write error at scanline 0); "
        "check free space and permissions"
    )


def test_a_bad_image_leaves_no_strips(tmp_path, go):
    path = scene(tmp_path / "in/a.tif")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 2000])
    (row,) = go(tmp_path / "in", windows=Windows(strip=1))
    assert row.status == "failed"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"predictions.csv"}


def test_a_file_as_output_is_said(tmp_path, go):
    scene(tmp_path / "in/a.tif")
    (tmp_path / "out").write_text("mine")
    with pytest.raises(SegcganError, match="out is a file, and masks go into a folder; give another output"):
        go(tmp_path / "in")
    assert (tmp_path / "out").read_text() == "mine"


def test_a_geotiff_that_gdal_could_not_finish_is_no_result(tmp_path):
    """GDAL writes its last blocks when it closes a file, and says nothing when they do not fit."""
    rng = np.random.default_rng(0)
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", height=300, width=300, count=1, dtype="uint8") as file:
        file.write(rng.integers(0, 255, (1, 300, 300), dtype=np.uint8))
    code = (
        "import resource, sys\nimport numpy as np\nfrom pathlib import Path\n"
        "from segcgan.classes import ClassSpec\nfrom segcgan.formats import open_case, write_mask\n"
        "from segcgan.errors import NotWrittenError\n"
        "folder = Path(sys.argv[1])\ncase = open_case(folder / 'a.tif')\n"
        "mask = np.random.default_rng(0).integers(0, 2, case.shape, dtype=np.uint8)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))\n"
        "classes = [ClassSpec('x'), ClassSpec('y')]\n"
        "try: write_mask(folder / 'out', 'a_mask', case, lambda window: mask[window], classes)\n"
        "except NotWrittenError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stdout.startswith(f"{tmp_path}/out/a_mask.tif cannot be written ("), done.stderr
    assert list((tmp_path / "out").iterdir()) == []
