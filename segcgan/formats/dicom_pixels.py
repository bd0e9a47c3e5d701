"""The pixels of DICOM slices, decoded on demand."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from pydicom import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, get_decoder, pixel_array
from pydicom.uid import UID

from segcgan.case import Array, Window
from segcgan.errors import SegcganError
from segcgan.formats.dicom_slices import DAMAGED, Plane, brief, load
from segcgan.formats.grid import Grid

_PIXEL_TAGS = ["PhotometricInterpretation", "BitsStored", "PixelRepresentation", "PixelPaddingValue",
               "PixelPaddingRangeLimit"]  # fmt: skip


def check_decoder(syntax: UID, where: str) -> None:
    """Raise SegcganError when no installed package decodes a transfer syntax."""
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        msg = f"{where}: transfer syntax {syntax.name} is not supported; convert the file to uncompressed DICOM"
        raise SegcganError(msg) from None
    if not decoder.is_available:
        package = "python-gdcm"
        if "JPEG-LS" in syntax.name:
            package = "pyjpegls"
        elif "2000" in syntax.name:
            package = "pylibjpeg-openjpeg"
        raise SegcganError(f"{where}: no decoder for {syntax.name}; run `pip install {package}`")


@lru_cache(maxsize=64)
def decode(plane: Plane) -> tuple[Array, Array]:
    """Decode one slice: values (C, H, W) float32 after rescaling, and validity (H, W) bool.

    Padding (PixelPaddingValue and its range) is invalid; MONOCHROME1 is inverted, so that more is brighter.

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
        if "ModalityLUTSequence" in header:
            pixels = apply_modality_lut(pixels, header)
        elif header.PhotometricInterpretation == "MONOCHROME1":
            top = 2 ** int(header.BitsStored) - 1
            pixels = (-1 if header.get("PixelRepresentation") else top) - pixels.astype(np.int64)
    except DAMAGED as error:
        msg = f"{plane.path}: damaged, or needs another decoder ({brief(error)}); export it again uncompressed"
        raise SegcganError(msg) from error
    return (pixels * plane.slope + plane.intercept).astype(np.float32)[None], valid


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
