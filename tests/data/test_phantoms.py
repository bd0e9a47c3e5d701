import json

import numpy as np
import pytest

from segcgan.data.phantom_scene import scene_files
from segcgan.data.phantoms import KINDS, write_phantoms
from segcgan.errors import SegcganError


@pytest.fixture(scope="module")
def ct(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ct")
    write_phantoms(folder, "ct", 2, seed=5)
    return folder


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    write_phantoms(folder, "scene", 2, seed=5)
    return folder


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def slices(folder, patient="phantom_00"):
    import pydicom

    files = sorted((folder / "images" / patient).glob("*.dcm"))
    return [pydicom.dcmread(file) for file in files]


def test_ct_is_a_valid_series_whose_order_comes_from_positions(ct):
    series = slices(ct)
    assert 12 <= len(series) <= 16
    for name in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert len({item[name].value for item in series}) == 1
    assert len({item.SOPInstanceUID for item in series}) == len(series)
    assert all(item.SOPInstanceUID == item.file_meta.MediaStorageSOPInstanceUID for item in series)
    heights = [item.ImagePositionPatient[2] for item in series]
    np.testing.assert_allclose(np.diff(sorted(heights)), 4)
    assert heights != sorted(heights)
    by_number = sorted(series, key=lambda item: item.InstanceNumber)
    assert [item.ImagePositionPatient[2] for item in by_number] != sorted(heights)
    other = slices(ct, "phantom_01")[0]
    assert other.SeriesInstanceUID != series[0].SeriesInstanceUID
    assert other.StudyInstanceUID != series[0].StudyInstanceUID


def test_ct_mask_lies_on_the_organ_in_the_same_world(ct):
    import nibabel

    series = sorted(slices(ct), key=lambda item: item.ImagePositionPatient[2])
    hu = np.stack([item.pixel_array * float(item.RescaleSlope) + float(item.RescaleIntercept) for item in series])
    mask = nibabel.load(ct / "masks" / "phantom_00.nii.gz")
    np.testing.assert_allclose(np.abs(np.diag(mask.affine)[:3]), [2, 2, 4])
    corner = mask.affine @ [0, 0, 0, 1] * [-1, -1, 1, 1]  # RAS to LPS
    np.testing.assert_allclose(corner[:3], series[0].ImagePositionPatient)
    labels = np.asarray(mask.dataobj).transpose(2, 1, 0)
    assert labels.shape == hu.shape
    assert set(np.unique(labels)) == {0, 1}
    assert 0.04 < labels.mean() < 0.2
    assert 70 < hu[labels == 1].mean() < 140
    assert hu[0, 0, 0] < -900
    columns = np.nonzero(labels)[2]
    assert columns.mean() < 48  # the liver is on the right, which is at low columns


def test_scene_georeference_and_footprints(scenes):
    import rasterio
    from rasterio.features import rasterize
    from rasterio.warp import transform_geom

    with rasterio.open(scenes / "images" / "scene_00.tif") as file:
        image, transform = file.read(1), file.transform
        assert (file.count, file.dtypes[0], file.nodata, file.crs.to_epsg()) == (1, "uint16", 0, 32636)
        assert file.res == (0.5, 0.5)
    assert image.shape == (256, 256)
    assert image.min() > 0
    with rasterio.open(scenes / "images" / "scene_01.tif") as file:
        assert 0.02 < (file.read(1) == 0).mean() < 0.5
    found = json.loads((scenes / "masks" / "scene_00.geojson").read_text())
    assert found["type"] == "FeatureCollection"
    assert "crs" not in found  # RFC 7946: always longitude and latitude
    shapes = [feature["geometry"] for feature in found["features"]]
    assert len(shapes) > 8
    for shape in shapes:
        ring = np.array(shape["coordinates"][0])
        assert (ring[0] == ring[-1]).all()
        assert np.abs(ring - [31.2, 30.0]).max() < 0.3
        (x0, y0), (x1, y1) = (ring - ring[0])[:-1].T, (ring - ring[0])[1:].T
        assert (x0 * y1 - x1 * y0).sum() > 0  # anticlockwise
    inside = rasterize(
        [transform_geom("EPSG:4326", "EPSG:32636", shape) for shape in shapes], image.shape, transform=transform
    )
    assert 0.05 < inside.mean() < 0.4
    edge = np.hypot(*np.gradient(image.astype(float)))
    rim = inside.astype(bool) ^ np.roll(inside, 1, 0).astype(bool)
    assert edge[rim].mean() > 2 * edge[~rim].mean()  # footprints follow visible edges


@pytest.mark.parametrize("kind", ["ct", "scene"])
def test_same_seed_same_bytes(kind, tmp_path):
    for name, seed in (("one", 3), ("two", 3), ("other", 4)):
        write_phantoms(tmp_path / name, kind, 1, seed)
    one, two, other = (contents(tmp_path / name) for name in ("one", "two", "other"))
    assert one == two
    assert one != other
    assert not [path for path in one if path.suffix == ".part"]


def test_a_finished_folder_is_left_alone(tmp_path):
    write_phantoms(tmp_path, "ct", 1)
    mask = tmp_path / "masks" / "phantom_00.nii.gz"
    mask.write_bytes(b"mine")
    write_phantoms(tmp_path, "ct", 1)
    assert mask.read_bytes() == b"mine"


def test_a_writing_that_was_stopped_is_finished(tmp_path, monkeypatch):
    write_phantoms(tmp_path / "whole", "scene", 2)

    def stopped(rng, index):
        if index:
            raise KeyboardInterrupt
        return scene_files(rng, index)

    monkeypatch.setitem(KINDS, "scene", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_phantoms(tmp_path / "two", "scene", 2)
    monkeypatch.undo()
    assert len(contents(tmp_path / "two")) == 3
    with pytest.raises(SegcganError, match="holds the phantoms"):
        write_phantoms(tmp_path / "two", "ct", 2)
    write_phantoms(tmp_path / "two", "scene", 2)
    assert contents(tmp_path / "two") == contents(tmp_path / "whole")


def test_errors_name_the_value_and_the_cure(tmp_path):
    with pytest.raises(SegcganError, match="no phantoms of kind 'scenes'; did you mean 'scene'"):
        write_phantoms(tmp_path, "scenes", 1)
    with pytest.raises(SegcganError, match="0 phantoms were asked for; ask for 1 or more"):
        write_phantoms(tmp_path, "ct", 0)
    (tmp_path / "phantoms.json").write_text('{"kind": "ct", "cases": 4, "seed": 0}')
    with pytest.raises(SegcganError, match=r"holds the phantoms .*'cases': 4.*choose another folder or delete it"):
        write_phantoms(tmp_path, "ct", 1)


def test_phantoms_are_not_written_between_the_images_of_somebody(tmp_path):
    (tmp_path / "images").mkdir()
    mine = tmp_path / "images" / "scene_00.tif"  # named as a phantom would be
    mine.write_bytes(b"mine")
    with pytest.raises(SegcganError) as error:
        write_phantoms(tmp_path, "scene", 1)
    assert str(error.value) == (
        f"{mine} is there, and phantoms are not written between other images; choose another folder, "
        "or for your own images say --data.images.phantoms null"
    )
    assert list(contents(tmp_path)) == [mine.relative_to(tmp_path)]
