"""What the values of a DICOM image are: rescaled, inverted or not, padded, compressed."""

import importlib.metadata

import gdcm
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import HTJ2KLossless, JPEG2000Lossless, JPEGExtended12Bit, JPEGLosslessSV1

from segcgan.errors import SegcganError
from segcgan.formats import dicom_pixels, open_case
from tests.formats.conftest import write_images

PIXELS = np.arange(20).reshape(4, 5) * 10 - 50


def values(folder, **tags):
    """Write one image and read it."""
    case = open_case(write_images(folder, [{"z": 0.0, "pixels": PIXELS}], **tags))
    return case.read(case.whole)[0][0, 0]


@pytest.mark.parametrize("modality", ["CT", "MR", "PT", "NM"])
def test_monochrome1_says_how_to_display_what_was_measured(tmp_path, modality):
    scale = {"RescaleSlope": 2, "RescaleIntercept": -1024}
    found = values(tmp_path / "one", Modality=modality, PhotometricInterpretation="MONOCHROME1", **scale)
    np.testing.assert_array_equal(found, PIXELS * 2 - 1024)
    np.testing.assert_array_equal(found, values(tmp_path / "two", Modality=modality, **scale))


def test_monochrome1_without_a_modality_goes_by_the_storage_class(tmp_path):
    """The files are of the class MR Image Storage."""
    np.testing.assert_array_equal(values(tmp_path, Modality=None, PhotometricInterpretation="MONOCHROME1"), PIXELS)


@pytest.mark.parametrize("modality", ["CR", "DX", "MG", "XA", "RF", "RG", "OT"])
@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (2, -1024), (-0.5, 7)])
def test_pictures_are_inverted_after_rescaling(tmp_path, modality, slope, intercept):
    """More is brighter: the ends of the stored range, 12 bits signed, change places."""
    scale = {"RescaleSlope": slope, "RescaleIntercept": intercept, "BitsStored": 12, "HighBit": 11}
    found = values(tmp_path, Modality=modality, PhotometricInterpretation="MONOCHROME1", **scale)
    ends = [end * slope + intercept for end in (-2048, 2047)]
    np.testing.assert_allclose(found, sum(ends) - (PIXELS * slope + intercept))


@pytest.mark.parametrize(("photometric", "expected"), [("MONOCHROME2", [0, 90, 40]), ("MONOCHROME1", [90, 0, 50])])
def test_a_modality_table_is_inverted_after_it_was_applied(tmp_path, photometric, expected):
    table = pydicom.Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [3, 0, 16], "US"
    table.add_new("LUTData", "US", [0, 90, 40])
    image = {"z": 0.0, "pixels": np.array([[0, 1, 2]]), "PixelRepresentation": 0, "ModalityLUTSequence": [table]}
    case = open_case(write_images(tmp_path, [image], Modality="CR", PhotometricInterpretation=photometric))
    assert case.read(case.whole)[0][0, 0, 0].tolist() == expected


def test_a_slope_of_zero_is_said(tmp_path):
    images = [{"z": 3.0 * i, "pixels": PIXELS} for i in range(3)]
    case = open_case(write_images(tmp_path, images, RescaleSlope=0, RescaleIntercept=-10))
    assert case.notes == ["RescaleSlope is 0, which would make all values equal; it was taken as 1"]
    np.testing.assert_array_equal(case.read(case.whole)[0][0, 1], PIXELS - 10)


def test_padding_is_invalid_but_a_network_sees_its_values(tmp_path):
    images = [{"z": 3.0 * i, "pixels": PIXELS} for i in range(3)]
    padded = open_case(write_images(tmp_path / "padded", images, PixelPaddingValue=-50, PixelPaddingRangeLimit=-30))
    plain = open_case(write_images(tmp_path / "plain", images))
    window = (slice(-1, 2), slice(-2, 4), slice(0, 9))
    image, valid = padded.read(window)
    assert valid.sum() == 2 * (PIXELS > -30).sum()
    assert (image[~valid] == 0).all()
    for seen, expected in zip(padded.read_input(window), plain.read(window), strict=True):
        np.testing.assert_array_equal(seen, expected)
    for seen, expected in zip(padded.with_bands([1]).read_input(window), plain.read_input(window), strict=True):
        np.testing.assert_array_equal(seen, expected)


def test_real_jpeg_lossless(shared_data):
    path = shared_data / "robust_dicom" / "pydicom_data" / "JPGLosslessP14SV1_1s_1f_8b.dcm"
    case = open_case(path)
    image = case.read(case.whole)[0][0, 0]
    assert image.shape == (768, 1024)
    # the values that pydicom's own tests expect of this file
    assert image[300, 512:520].tolist() == [26, 26, 25, 22, 19, 16, 14, 15]
    assert image[600, 512:520].tolist() == [45, 43, 41, 38, 33, 30, 26, 21]


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("signed", [0, 1])
def test_jpeg_lossless_is_exact(tmp_path, bits, signed):
    """Compressed as a PACS does it, 12 or 16 bits, signed or not, with HU by an intercept."""
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    noise = np.random.default_rng(0).integers(low, high, (3, 40, 30))
    noise[0, 0, :2] = low, high - 1
    stored = {"BitsStored": bits, "HighBit": bits - 1, "PixelRepresentation": signed, "RescaleIntercept": -1024}
    images = [{"z": 3.0 * z, "pixels": noise[z].astype("<u2").astype("<i2")} for z in range(3)]
    folder = write_images(tmp_path / "ct", images, Modality="CT", RescaleSlope=1, **stored)
    for path in folder.iterdir():
        recompress(path)
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == JPEGLosslessSV1
    case = open_case(folder)
    np.testing.assert_array_equal(case.read(case.whole)[0][0], noise - 1024)


def recompress(path):
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


def compressed(folder, syntax, **tags):
    (path,) = write_images(folder, [{"z": 0.0}], **tags).iterdir()
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([b"1234"])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    return path


@pytest.mark.parametrize(
    ("syntax", "installed", "cure"),
    [
        (JPEGLosslessSV1, [], "python-gdcm"),
        (JPEG2000Lossless, ["pylibjpeg-openjpeg"], "pylibjpeg"),
        (HTJ2KLossless, ["pylibjpeg-openjpeg"], "pylibjpeg"),
        (HTJ2KLossless, [], "pylibjpeg pylibjpeg-openjpeg"),
    ],
)
def test_advice_names_what_is_missing(tmp_path, monkeypatch, syntax, installed, cure):
    def version(name):
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return "1"

    decoder = get_decoder(syntax)
    monkeypatch.setattr(decoder, "_available", {})
    monkeypatch.setattr(dicom_pixels, "version", version)
    path = compressed(tmp_path, syntax)
    with pytest.raises(SegcganError) as error:
        open_case(path)
    assert str(error.value) == f"{path}: no decoder for {syntax.name}; run `pip install {cure}`"


def test_twelve_bits_of_jpeg_need_another_decoder(tmp_path, monkeypatch):
    monkeypatch.setattr(get_decoder(JPEGExtended12Bit), "_available", {"pillow": None, "gdcm": None})
    path = compressed(tmp_path, JPEGExtended12Bit, BitsStored=12)
    with pytest.raises(SegcganError) as error:
        open_case(path)
    assert str(error.value) == (
        f"{path}: no decoder for JPEG of 12 bits; run `pip install pylibjpeg pylibjpeg-libjpeg`, which is under the "
        "GPL, or convert the file to uncompressed DICOM"
    )


def test_real_transfer_syntaxes_are_read_or_the_advice_is_right(shared_data):
    """One file of each transfer syntax in the folder of odd files."""
    told, read = {}, set()
    for path in sorted((shared_data / "robust_dicom").rglob("*")):
        if path.is_dir() or path.read_bytes()[128:132] != b"DICM":
            continue
        header = pydicom.dcmread(path, stop_before_pixels=True)
        syntax = header.file_meta.get("TransferSyntaxUID")
        if syntax is None or header.get("Modality") in ("SEG", "RTDOSE") or syntax in read:
            continue
        try:
            case = open_case(path)
            case.read(case.whole)
            read.add(syntax)
        except SegcganError as error:
            told.setdefault(syntax, []).append(str(error))
    unread = [syntax.name for syntax in told if syntax not in read]
    assert unread == ["JPEG Extended (Process 2 and 4)"]
    assert len(read) >= 10
