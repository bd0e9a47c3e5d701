"""Pictures in an archive: found by address, read once, and mistakes in one sentence."""

import zipfile

import numpy as np
import pytest

from segcgan.cli import main
from segcgan.errors import SegcganError
from segcgan.formats import open_case, open_labels, present
from segcgan.formats.npz import _stack


@pytest.fixture
def archive(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "stack.npz"
    np.savez_compressed(
        path,
        images=rng.integers(0, 255, (5, 8, 6), np.uint8),
        colour=rng.random((2, 8, 6, 3)).astype(np.float32),
        bits=np.arange(5 * 48, dtype=np.uint8).reshape(5, 8, 6),
        names=np.array(["a", "b"]),
    )
    return path


def test_a_picture_and_its_labels(archive):
    case = open_case(archive.parent / "stack.npz#images/3")
    assert (case.shape, case.channels, case.geometry.unit, case.format) == ((1, 8, 6), 1, "px", "png")
    with np.load(archive) as stored:
        image, valid = case.read((slice(0, 1), slice(2, 6), slice(-1, 4)))
        np.testing.assert_array_equal(image[0, 0, :, 1:], stored["images"][3, 2:6, :4])
        assert not valid[..., 0].any()
        read = open_labels(archive.parent / "stack.npz#bits/3", case)
        np.testing.assert_array_equal(read(case.whole)[0], stored["bits"][3])
        colour = open_case(archive.parent / "stack.npz#colour/1")
        np.testing.assert_array_equal(colour.read(colour.whole)[0][:, 0], stored["colour"][1].transpose(2, 0, 1))


def test_an_array_is_decompressed_once(archive):
    before = _stack.cache_info().misses
    for index in range(5):
        case = open_case(archive.parent / f"stack.npz#images/{index}")
        case.read(case.whole)
    assert _stack.cache_info().misses == before + 1


def test_info_of_an_archive_and_of_a_picture_in_it(archive, capsys):
    before = _stack.cache_info().misses
    assert main(["info", str(archive)]) == 0
    shown = capsys.readouterr().out
    for line in (
        "images\tnpz\t8 x 6\t1\t1 x 1 px\tuint8, 5 pictures, stack.npz#images/0 and so on in a manifest",
        "colour\tnpz\t8 x 6\t3\t1 x 1 px\tfloat32, 2 pictures",
        "names\tnpz\t2\t\t\t<U1, no pictures",
    ):
        assert line in shown
    assert _stack.cache_info().misses == before  # the headers are enough
    assert main(["info", f"{archive}#images/3"]) == 0
    assert "stack_images_3\tnpz\t8 x 6" in capsys.readouterr().out
    assert main(["info", f"{archive}#images/5"]) == 1
    assert "'images' holds 5 pictures" in capsys.readouterr().out


def test_info_of_what_only_looks_like_an_archive(tmp_path, capsys):
    (tmp_path / "x.npz").write_bytes(b"PK")
    assert main(["info", str(tmp_path / "x.npz")]) == 1
    assert "x.npz cannot be read" in capsys.readouterr().err
    np.savez(tmp_path / "y.npz", table=np.zeros((4, 4)))
    assert main(["info", str(tmp_path / "y.npz")]) == 1


def test_presence(archive):
    assert present(archive.parent / "stack.npz#images/3")
    assert not present(archive.parent / "other.npz#images/3")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("stack.npz#images/5", "'images' holds 5 pictures, 0 to 4; correct the index"),
        ("stack.npz#image/1", "holds no array 'image'; choose from bits, colour, images, names"),
        ("stack.npz#images", "an address in an archive reads FILE.npz#ARRAY/INDEX, e.g. stack.npz#images/12"),
        ("stack.npz#names/0", "'names' is <U1 (2,); pictures are numbers (N, H, W) or (N, H, W, C)"),
        ("none.npz#images/0", "none.npz does not exist"),
    ],
)
def test_addresses_that_lead_nowhere(archive, address, said):
    with pytest.raises(SegcganError) as error:
        open_case(archive.parent / address)
    assert said in str(error.value)


def test_labels_of_another_size(archive):
    case = open_case(archive.parent / "stack.npz#images/0")
    with pytest.raises(SegcganError, match="is 8×6×3 and its image 8×6; labels are one number per pixel"):
        open_labels(archive.parent / "stack.npz#colour/0", case)


def test_a_broken_archive(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(SegcganError, match=r"x.npz cannot be read .* damaged, so fetch it again"):
        open_case(tmp_path / "x.npz#a/0")


@pytest.mark.parametrize("place", range(0, 600, 60))
def test_damage_inside_an_archive_is_one_sentence(tmp_path, place):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, images=np.random.default_rng(0).integers(0, 255, (2, 20, 20), np.uint8))
    raw = bytearray(path.read_bytes())
    raw[40 + place : 80 + place] = bytes(40)  # zlib, the CRC and the header of the array notice different ones
    path.write_bytes(raw)
    with pytest.raises(SegcganError, match="damaged, so fetch it again"):
        open_case(tmp_path / "x.npz#images/0")


def test_objects_are_told_from_damage(tmp_path):
    np.savez(tmp_path / "x.npz", things=np.array([{}, 1], object))
    with pytest.raises(SegcganError, match=r"'things' cannot be read .* save it without objects"):
        open_case(tmp_path / "x.npz#things/0")


def test_a_text_beside_the_arrays_is_passed_over(archive, capsys):
    with zipfile.ZipFile(archive, "a") as packed:
        packed.writestr("readme.txt", "hello")
    assert open_case(archive.parent / "stack.npz#images/0").shape == (1, 8, 6)
    with pytest.raises(SegcganError, match=r"holds no array 'readme.txt'; choose from bits, colour, images, names"):
        open_case(archive.parent / "stack.npz#readme.txt/0")
    assert main(["info", str(archive)]) == 0
    assert "readme" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.nan, "holds fractions or NaN and labels are whole numbers; round or fill them"),
        (0.5, "holds fractions or NaN and labels are whole numbers; round or fill them"),
        (np.inf, "holds labels beyond 32 bits; renumber them"),
        (2.0**31, "holds labels beyond 32 bits; renumber them"),
    ],
)
def test_labels_are_whole_numbers(tmp_path, value, said):
    labels = np.array([[[0, 1], [value, 3]]])
    np.savez(tmp_path / "x.npz", labels=labels, images=np.zeros((1, 2, 2)))
    case = open_case(tmp_path / "x.npz#images/0")
    read = open_labels(tmp_path / "x.npz#labels/0", case)
    np.testing.assert_array_equal(read((slice(0, 1), slice(0, 1), slice(0, 2))), [[[0, 1]]])  # as asked for only
    with pytest.raises(SegcganError, match=said):
        read(case.whole)


def test_info_of_a_folder_says_where_to_look(archive, capsys):
    assert main(["info", str(archive.parent)]) == 1
    assert f"a NumPy archive holds many pictures; see segcgan info {archive}" in capsys.readouterr().out
