import struct
import zlib

import numpy as np
import pytest
import rasterio
from PIL import Image

from segcgan.case import IGNORE
from segcgan.classes import ClassSpec
from segcgan.errors import SegcganError
from segcgan.formats import open_case, open_labels, open_probability, write_mask, write_probability

CLASSES = [ClassSpec("background", colour="#000000"), ClassSpec("cell", colour="#00ff80")]


def noise(*shape, high=256, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, high, shape).astype(dtype)


def save(path, array, mode=None, **options):
    picture = Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(path, **options)
    return path


def everything(path):
    case = open_case(path)
    image, valid = case.read(case.whole)
    assert image.dtype == np.float32
    assert (case.format, case.geometry.unit, case.geometry.spacing) == ("png", "px", (1, 1, 1))
    return case, image[:, 0], valid[0, 0]


def test_grey_8_and_16_bits(tmp_path):
    for array in (noise(20, 30), noise(20, 30, high=60000, dtype=np.uint16)):
        case, image, valid = everything(save(tmp_path / f"{array.dtype}.png", array))
        assert (case.shape, case.channels, valid.all()) == ((1, 20, 30), 1, True)
        np.testing.assert_array_equal(image[0], array)
        window, inside = case.read((slice(0, 1), slice(15, 25), slice(-3, 4)))
        np.testing.assert_array_equal(window[0, 0, :5, 3:], array[15:, :4])
        assert inside.sum() == 20


def test_alpha_is_validity(tmp_path):
    array = noise(20, 30, 4)
    array[..., 3] = 255
    array[:10, :, 3] = 0
    case, image, valid = everything(save(tmp_path / "a.png", array))
    assert (case.channels, valid.sum()) == (3, 300)
    assert not valid[:10].any()
    np.testing.assert_array_equal(image[:, 10:], array[10:, :, :3].transpose(2, 0, 1))
    case, _, valid = everything(save(tmp_path / "la.png", array[..., [0, 3]]))
    assert (case.channels, valid.sum()) == (1, 300)


def test_palette_becomes_rgb_and_a_transparent_entry_invalid(tmp_path):
    picture = Image.fromarray(noise(20, 30, high=2))
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.save(tmp_path / "a.png", transparency=1)
    case, image, valid = everything(tmp_path / "a.png")
    np.testing.assert_array_equal(valid, noise(20, 30, high=2) == 0)
    assert case.channels == 3
    assert image[:, valid][:, 0].tolist() == [10, 20, 30]


def test_content_decides_not_the_extension(tmp_path):
    array = noise(20, 30, 3)
    save(tmp_path / "a.jpeg", array)
    (tmp_path / "a.jpeg").rename(tmp_path / "liar.png")
    case, image, _ = everything(tmp_path / "liar.png")
    assert (case.format, image.shape) == ("png", (3, 20, 30))


def test_bad_pictures_give_one_sentence(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", noise(200, 300))
    whole = path.read_bytes()
    for size in (10, 30, 60, len(whole) // 2):
        path.write_bytes(whole[:size])
        with pytest.raises(SegcganError, match=r"a\.png cannot be read .*; it is damaged or too large"):
            open_case(path)
    for place in range(16, 33, 3):  # every field of the header in turn
        path.write_bytes(whole[:place] + b"\xff\xff\xff" + whole[place + 3 :])
        with pytest.raises(SegcganError, match=r"a\.png "):
            open_case(path)
    path.write_bytes(whole)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(SegcganError, match="exceeds limit"):
        open_case(path)


def test_sixteen_bit_colour_is_refused(tmp_path):
    path = tmp_path / "a.png"
    with rasterio.open(path, "w", driver="PNG", count=3, height=20, width=20, dtype="uint16") as out:
        out.write(noise(3, 20, 20, high=60000, dtype=np.uint16))
    with pytest.raises(
        SegcganError, match="has 16 bits per colour channel and Pillow reads 8; convert it to TIFF"
    ):
        open_case(path)


def test_mask_round_trip(tmp_path):
    case = open_case(save(tmp_path / "a.png", noise(20, 30)))
    truth = noise(1, 20, 30, high=2)
    truth[0, :3] = IGNORE
    (path,) = write_mask(tmp_path / "out", "a_mask", case, lambda w: truth[w], CLASSES)
    assert [item.name for item in path.parent.iterdir()] == ["a_mask.png"]
    np.testing.assert_array_equal(open_labels(path, case)(case.whole), truth)
    picture = Image.open(path)
    assert picture.mode == "P"
    colours = np.asarray(picture.convert("RGBA"))
    assert (colours[truth[0] == 1] == (0, 255, 128, 255)).all()
    assert (colours[truth[0] == IGNORE][:, 3] == 0).all()


def test_probability_is_a_tiff_without_georeference(tmp_path, recwarn):
    case = open_case(save(tmp_path / "a.png", noise(20, 30)))
    stored = noise(2, 1, 20, 30, high=255)
    (path,) = write_probability(tmp_path, "p", case, lambda w: stored[:, w[0], w[1], w[2]])
    assert path.name == "p.tif"
    np.testing.assert_allclose(open_probability(path, case)(case.whole), stored / 254, atol=1e-6)
    assert not recwarn.list
    with pytest.raises(SegcganError, match="cannot hold class probabilities; give a GeoTIFF or NIfTI"):
        open_probability(tmp_path / "a.png", case)


def test_label_values_are_as_stored(tmp_path):
    case = open_case(save(tmp_path / "a.png", noise(20, 30)))
    truth = noise(20, 30, high=2)
    instances = noise(20, 30, high=4000, dtype=np.uint16)
    grey_rgb = np.repeat(truth[..., None] * np.uint8(255), 3, axis=2)
    for array, mode, expected in (
        (truth * np.uint8(255), None, truth * 255),
        (instances, None, instances),
        (truth * np.uint8(255), "1", truth),
        (grey_rgb, None, truth * 255),
        (grey_rgb, "RGBA", truth * 255),
    ):
        read = open_labels(save(tmp_path / "m.png", array, mode), case)
        np.testing.assert_array_equal(read((slice(0, 1), slice(5, 9), slice(2, 30)))[0], expected[5:9, 2:])
    with pytest.raises(
        SegcganError, match=r"is in colour \(RGB\) and labels are one number per pixel; save it as grey"
    ):
        open_labels(save(tmp_path / "c.png", noise(20, 30, 3)), case)
    with pytest.raises(SegcganError, match="is 20×20 and its image 20×30; resample the mask"):
        open_labels(save(tmp_path / "s.png", noise(20, 20)), case)


def test_labels_of_a_part(tmp_path):
    truth = noise(20, 30)
    case = open_case(save(tmp_path / "a.png", noise(20, 30))).part((slice(0, 1), slice(5, 15), slice(10, 30)), "p")
    case.reference = open_labels(save(tmp_path / "m.png", truth), case)
    np.testing.assert_array_equal(case.read_reference(case.whole)[0], truth[5:15, 10:])


def test_real_pictures(shared_data):
    case, image, valid = everything(sorted((shared_data / "nuclei" / "images").iterdir())[0])
    assert (case.channels, valid.all()) == (3, True)
    name = case.path.name
    labels = open_labels(shared_data / "nuclei" / "instances" / name, case)(case.whole)
    assert labels.max() > 3
    assert image[0][labels[0] > 0].mean() != pytest.approx(image[0][labels[0] == 0].mean(), rel=0.05)


def test_a_transparent_value_of_16_bits(tmp_path):
    values = np.array([[0, 1000, 2000, 40000]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png", transparency=1000)
    case, image, valid = everything(tmp_path / "a.png")
    assert case.channels == 1
    np.testing.assert_array_equal(valid, values != 1000)
    np.testing.assert_array_equal(image[0], values * valid)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_labels_of_few_bits_are_as_stored(tmp_path, bits):
    stored = np.arange(8) % 2**bits
    line = np.packbits((stored[:, None] >> np.arange(bits)[::-1]) & 1)

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header, content = struct.pack(">IIBBBBB", 8, 1, bits, 0, 0, 0, 0), zlib.compress(b"\0" + line.tobytes())
    parts = [(b"IHDR", header), (b"IDAT", content)]
    path = tmp_path / "labels.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in [*parts, (b"IEND", b"")]))
    labels = open_labels(path, open_case(save(tmp_path / "image.png", noise(1, 8))))
    np.testing.assert_array_equal(labels((slice(0, 1),) * 2 + (slice(0, 8),))[0, 0], stored)
