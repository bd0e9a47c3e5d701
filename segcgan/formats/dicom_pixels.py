"""The pixels of DICOM slices, decoded on demand."""

from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from pydicom import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, get_decoder, pixel_array
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    CTImageStorage,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
)

from segcgan.case import Array, Window
from segcgan.errors import SegcganError
from segcgan.formats.dicom_slices import DAMAGED, Plane, brief, load
from segcgan.formats.grid import Grid

_PIXEL_TAGS = ["SOPClassUID", "Modality", "PhotometricInterpretation", "BitsStored", "PixelRepresentation",
               "PixelPaddingValue", "PixelPaddingRangeLimit"]  # fmt: skip
_MEASURING = {"CT", "MR", "PT", "NM", "RTDOSE"}  # their values mean the same however they are displayed
_MEASURING_CLASSES = (CTImageStorage, MRImageStorage, PositronEmissionTomographyImageStorage)  # without a Modality
_PACKAGES = {  # what an installation of segcgan may lack to decode a transfer syntax
    JPEGLossless: "python-gdcm",
    JPEGLosslessSV1: "python-gdcm",
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    **dict.fromkeys((JPEG2000, JPEG2000Lossless), "pylibjpeg pylibjpeg-openjpeg"),
    **dict.fromkeys((HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL), "pylibjpeg pylibjpeg-openjpeg"),
}
_TWELVE_BITS = "no decoder for JPEG of {} bits; run `pip install pylibjpeg pylibjpeg-libjpeg`, which is under the GPL"


def check_decoder(dataset: Dataset, where: str) -> None:
    """Raise SegcganError when no installed package decodes the transfer syntax of a file."""
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        msg = f"{where}: transfer syntax {syntax.name} is not supported; convert the file to uncompressed DICOM"
        raise SegcganError(msg) from None
    if not decoder.is_available:
        missing = [name for name in _PACKAGES.get(syntax, "").split() if not _installed(name)]
        cure = f"run `pip install {' '.join(missing)}`" if missing else "convert the file to uncompressed DICOM"
        raise SegcganError(f"{where}: no decoder for {syntax.name}; {cure}")
    bits = int(dataset.get("BitsStored") or 8)
    if syntax == JPEGExtended12Bit and bits > 8 and "pylibjpeg" not in decoder.available_plugins:
        raise SegcganError(f"{where}: {_TWELVE_BITS.format(bits)}, or convert the file to uncompressed DICOM")


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


@lru_cache(maxsize=64)
def decode(plane: Plane) -> tuple[Array, Array]:
    """Decode one slice: values (C, H, W) float32 after rescaling, and validity (H, W) bool.

    Padding (PixelPaddingValue and its range) is invalid. MONOCHROME1 says that a small value is displayed bright: a
    picture is inverted after rescaling, so that more is brighter; what measures (CT, MR, PET, nuclear medicine, dose)
    keeps its values.

    Raises:
        SegcganError: the file is damaged or gone.
    """
    try:
        if plane.frame is None:
            header = load(plane.path)
            pixels = pixel_array(header)
        else:
            header = load(plane.path, stop_before_pixels=True, specific_tags=_PIXEL_TAGS)
            pixels = pixel_array(plane.path, index=plane.frame)
        if header.PhotometricInterpretation == "PALETTE COLOR":
            pixels = apply_color_lut(pixels, header)
        if pixels.ndim == 3:
            return np.moveaxis(pixels, -1, 0).astype(np.float32), np.ones(pixels.shape[:2], bool)
        valid = _valid(pixels, header)
        values, ends = _rescaled(pixels, header, plane)
        if header.PhotometricInterpretation == "MONOCHROME1" and not _measures(header):
            values = sum(ends) - values
    except DAMAGED as error:
        msg = f"{plane.path}: damaged, or needs another decoder ({brief(error)}); export it again uncompressed"
        raise SegcganError(msg) from error
    return values.astype(np.float32)[None], valid


def _rescaled(pixels: Array, header: Dataset, plane: Plane) -> tuple[Array, tuple[float, float]]:
    """Return the values after rescaling, and the two that the ends of the stored range get."""
    if "ModalityLUTSequence" in header:
        entries, first = (int(number) for number in header.ModalityLUTSequence[0].LUTDescriptor[:2])
        outputs = apply_modality_lut(np.arange(first, first + (entries or 2**16)), header)
        return apply_modality_lut(pixels, header), (float(outputs.min()), float(outputs.max()))
    bits, signed = int(header.get("BitsStored") or 1), bool(header.get("PixelRepresentation"))
    lowest = -(2 ** (bits - 1)) if signed else 0
    slope = plane.slope or 1.0  # 0 would leave nothing of the image
    low, high = (stored * slope + plane.intercept for stored in (lowest, lowest + 2**bits - 1))
    return pixels * slope + plane.intercept, (low, high)


def _measures(header: Dataset) -> bool:
    modality = header.get("Modality")
    return modality in _MEASURING or (not modality and header.get("SOPClassUID") in _MEASURING_CLASSES)


def _valid(pixels: Array, header: Dataset) -> Array:
    padding = header.get("PixelPaddingValue")
    if not isinstance(padding, int):
        return np.ones(pixels.shape, bool)
    limit = header.get("PixelPaddingRangeLimit")
    # some writers give the value with the wrong sign representation; the cast wraps it the way they meant
    low, high = sorted(np.array([padding, limit if isinstance(limit, int) else padding]).astype(pixels.dtype))
    return (pixels < low) | (pixels > high)


@dataclass(frozen=True)
class SliceReader:
    """Pixels of a stack of slices; only the slices a window touches are decoded."""

    planes: tuple[Plane, ...]
    grid: Grid
    channels: int

    def read(self, window: Window) -> tuple[Array, Array]:
        """Return the image (C, d, h, w) float32 and its validity (1, d, h, w) of a window in the case's axes."""
        z, y, x = self.grid.axes.window(window, self.grid.shape)
        size = (z.stop - z.start, y.stop - y.start, x.stop - x.start)
        image, valid = np.zeros((self.channels, *size), np.float32), np.zeros((1, *size), bool)
        for index, plane in enumerate(self.planes[z]):
            values, usable = decode(plane)
            if values.shape != (self.channels, *self.grid.shape[1:]):
                usual = (self.channels, *self.grid.shape[1:])
                raise SegcganError(f"{plane.path}: a slice {values.shape} in a series of {usual}; remove it")
            image[:, index], valid[0, index] = values[:, y, x], usable[y, x]
        return self.grid.axes.apply(image), self.grid.axes.apply(valid)

    def read_input(self, window: Window) -> tuple[Array, Array]:
        """Return the same with padding valid, as in :meth:`segcgan.case.Case.read_input`."""
        image, valid = self.read(window)
        return image, np.ones_like(valid)
