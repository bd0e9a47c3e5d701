import csv
import gzip
import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import rasterio
from PIL import Image

from segcgan.errors import SegcganError
from segcgan.formats import open_case, open_labels
from segcgan.formats.folders import discover, sniff


def png(path, value=1, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 5), value, np.uint8)).save(path, **options)
    return path


def tif(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "GTiff", "count": 1, "height": 4, "width": 5, "dtype": "uint8", "crs": "EPSG:32631"}
    with rasterio.open(path, "w", transform=rasterio.Affine(1, 0, 9, 0, -1, 9), **profile) as out:
        out.write(np.ones((1, 4, 5), np.uint8))
    return path


def names(folder):
    return [source.name for source in discover(folder)[0]]


def test_links_are_followed_but_not_in_circles(tmp_path, monkeypatch):
    png(tmp_path / "elsewhere/b.png")
    png(tmp_path / "in/a.png")
    (tmp_path / "in/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/circle").symlink_to(tmp_path / "in")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "in")
    (tmp_path / "in/up").symlink_to(tmp_path.parent)
    (tmp_path / "elsewhere/up").symlink_to(tmp_path)
    png(tmp_path / "not asked for.png")
    assert names(tmp_path / "in") == ["a", "b"]
    monkeypatch.chdir(tmp_path / "in")
    assert names(Path()) == ["a", "b"]


def test_content_decides(tmp_path):
    png(tmp_path / "a.dat", format="PNG")
    png(tmp_path / "b.png", format="JPEG")
    tif(tmp_path / "c.png")
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 3, 4), np.uint8), np.eye(4)), tmp_path / "d.nii.gz")
    nibabel.save(nibabel.Nifti2Image(np.zeros((2, 3, 4), np.uint8), np.eye(4)), tmp_path / "e.nii")
    (tmp_path / "f.vrt").write_text(
        '<?xml version="1.0"?><VRTDataset rasterXSize="4" rasterYSize="4"></VRTDataset>'
    )
    (tmp_path / "g.tif").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 200)
    expected = {"a.dat": "png", "b.png": "png", "c.png": "geotiff", "d.nii.gz": "nifti", "e.nii": "nifti"}
    expected |= {"f.vrt": "geotiff", "g.tif": "dicom"}
    assert {path.name: sniff(path) for path in tmp_path.iterdir()} == expected
    (tmp_path / "g.tif").unlink()
    found, rejected = discover(tmp_path)
    assert [(s.name, s.format) for s in found] == list(
        zip("abcdef", ["png", "png", "geotiff", "nifti", "nifti", "geotiff"], strict=True)
    )
    assert rejected == []
    with pytest.raises(SegcganError, match=r"f\.vrt cannot be read .*bands on VRTDataset"):
        open_case(tmp_path / "f.vrt")


def test_sidecars_are_silent_and_strangers_are_not(tmp_path):
    tif(tmp_path / "a.tif")
    for name in ("a.tif.ovr", "a.tif.msk", ".b.tif", ".writing-x/c.tif"):
        tif(tmp_path / name)
    for name in ("t.csv", "n.txt", "l.geojson", "a.tif.aux.xml", "s.qml", "README.md", "DICOMDIR", ".DS_Store"):
        (tmp_path / name).write_text("x")
    (tmp_path / "movie.avi").write_bytes(b"RIFF" * 100)
    (tmp_path / "packed.gz").write_bytes(gzip.compress(b"hello"))
    (tmp_path / "empty").touch()
    found, rejected = discover(tmp_path)
    assert [source.name for source in found] == ["a"]
    assert [item.path.name for item in rejected] == ["empty", "movie.avi", "packed.gz"]
    assert "is not an image segcgan reads (DICOM, NIfTI, GeoTIFF, PNG or JPEG)" in rejected[1].reason


def test_results_in_a_bids_data_set_are_no_images(tmp_path):
    for name in ("sub-01/anat/sub-01_T1w.png", "derivatives/seg/sub-01/sub-01_dseg.png", "derivatives/x.png"):
        png(tmp_path / "study" / name)
    found, rejected = discover(tmp_path / "study")
    assert [source.name for source in found] == ["sub-01_T1w"]
    place = tmp_path / "study/derivatives"
    cure = "give that folder itself as input to predict what is in it"
    assert [item.reason for item in rejected] == [f"{place} holds results, not images; {cure}"]
    assert names(place) == ["sub-01_dseg", "x"]
    assert names(tmp_path) == ["sub-01_T1w"]
    png(tmp_path / "plain/derivatives/a.png")  # no BIDS: a name like any other
    assert names(tmp_path / "plain") == ["a"]
    (tmp_path / "plain/notes.txt").write_text("no image")
    assert names(tmp_path / "plain") == ["a"]
    png(tmp_path / "plain/scans/a.png")  # images beside it: what is derived from them are masks
    found, rejected = discover(tmp_path / "plain")
    assert [source.path for source in found] == [tmp_path / "plain/scans/a.png"]
    place = tmp_path / "plain/derivatives"
    assert [item.reason for item in rejected] == [f"{place} holds results, not images; {cure}"]


def test_names_are_unique(tmp_path):
    for name in ("p1/scan.png", "p2/scan.png", "p2/other.png"):
        png(tmp_path / name)
    assert names(tmp_path) == ["other", "p1_scan", "p2_scan"] or names(tmp_path) == ["p1_scan", "other", "p2_scan"]
    tif(tmp_path / "p1" / "scan.tif")
    assert names(tmp_path) == ["p1_scan_png", "p1_scan_tif", "other", "p2_scan"]
    tif(tmp_path / "p1" / "SCAN.tiff")
    png(tmp_path / "p1_scan_png.png")
    assert len({name.casefold() for name in names(tmp_path)}) == 6


def test_order_is_sorted_and_a_single_file_works(tmp_path):
    for name in ("b.png", "a/z.png", "c.png"):
        png(tmp_path / name)
    assert names(tmp_path) == ["z", "b", "c"]
    assert names(tmp_path / "b.png") == ["b"]


def test_missing_ambiguous_and_unreadable_paths(tmp_path):
    with pytest.raises(SegcganError, match="nowhere does not exist; give an image file or a folder of images"):
        discover(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert discover(tmp_path / "empty") == ([], [])
    with pytest.raises(SegcganError, match="empty holds no image segcgan reads"):
        open_case(tmp_path / "empty")
    png(tmp_path / "two" / "a.png")
    png(tmp_path / "two" / "b.png")
    with pytest.raises(SegcganError, match=r"two holds 2 cases \(a, b\) where one is expected; name one of them"):
        open_case(tmp_path / "two")
    (tmp_path / "note.txt").write_text("hello")
    with pytest.raises(SegcganError, match=r"note\.txt is not an image segcgan reads"):
        open_case(tmp_path / "note.txt")
    case = open_case(tmp_path / "two" / "a.png")
    with pytest.raises(SegcganError, match=r"gone\.png does not exist; correct the path of the labels"):
        open_labels(tmp_path / "gone.png", case)
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 4, 1), np.uint8), np.eye(4)), tmp_path / "scan.nii")
    with pytest.raises(
        SegcganError, match=r"a\.png is a flat label file and .*scan\.nii is a scan; give NIfTI, DICOM"
    ):
        open_labels(tmp_path / "two" / "a.png", open_case(tmp_path / "scan.nii"))
    with pytest.raises(SegcganError, match=r"note\.txt is not a label file segcgan reads; give"):
        open_labels(tmp_path / "note.txt", case)


def test_a_picture_is_opened_without_torch_gdal_or_pydicom(tmp_path):
    path = png(tmp_path / "a.png")
    code = f"""
import sys
from pathlib import Path
from segcgan.formats import open_case
case = open_case(Path({str(path)!r}))
case.read(case.whole)
print(sorted({{"torch", "rasterio", "pydicom", "nibabel"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_real_folder(shared_data):
    folder = shared_data / "robust_geotiff"
    found, rejected = discover(folder)
    with (folder / "catalogue.csv").open() as file:
        listed = {folder / row["file"] for row in csv.DictReader(file)}
    assert {source.path for source in found} == {path for path in listed if path.exists()}
    assert len({source.name for source in found}) == len(found)
    assert {item.path.name for item in rejected} >= {"two-subs.h5", "LICENSE_xarray"}


def test_nothing_is_dropped_without_a_word(tmp_path, monkeypatch):
    png(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "not fetched")
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 3, 4), np.uint8), np.eye(4)), tmp_path / "c.nii")
    (tmp_path / "c.nii").rename(tmp_path / "c.old")
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xfcse.png"))
    png(tmp_path / "d.png").rename(odd)
    png(tmp_path / "secret/e.png")
    scan = os.scandir

    def guarded(path):
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", guarded)
    found, rejected = discover(tmp_path)
    assert [source.name for source in found] == ["a"]
    cure = "check its permissions, or fetch what it links to"
    assert {item.path: item.reason for item in rejected} == {
        tmp_path / "b.png": f"{tmp_path}/b.png cannot be read (No such file or directory); {cure}",
        tmp_path / "c.old": f"{tmp_path}/c.old is a NIfTI file by another name; rename it to .nii or .nii.gz",
        tmp_path / "secret": f"{tmp_path}/secret cannot be read (Permission denied); {cure}",
        odd: f"{tmp_path}/b\\xfcse.png is not UTF-8, and names of outputs must be; rename it",
    }


def test_a_folder_above_is_not_passed_over(tmp_path):
    png(tmp_path / "scans/a.png")
    png(tmp_path / "scans/out/b.png")
    assert [source.name for source in discover(tmp_path / "scans", without=[tmp_path])[0]] == ["a", "b"]
    assert [source.name for source in discover(tmp_path / "scans", without=[tmp_path / "scans/out"])[0]] == ["a"]
