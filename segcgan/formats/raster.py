"""Windows of one raster file, read through GDAL.

Values are the stored digital numbers; scale and offset tags are not applied, since networks are normalised from
the training data anyway. A pixel is invalid where the file's mask, alpha or nodata says so (with nodata: in *all*
chosen bands) or where any chosen band is NaN or infinite.
"""

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as Part

from segcgan.case import IGNORE, Array, Window
from segcgan.errors import SegcganError

CERTAIN = 254  # the byte that stands for probability 1
GDAL_ERRORS = (RasterioError, CPLE_BaseError, OSError)  # rasterio lets some of GDAL's own errors through


@dataclass(frozen=True)
class Pixels:
    """Chosen bands of one file. Holds only the path, so it survives pickling and forking."""

    path: Path
    bands: tuple[int, ...]

    def choose(self, indices: tuple[int, ...]) -> "Pixels":
        """Return a reader of some of these bands, counted from 0; what the others hold no longer matters."""
        return Pixels(self.path, tuple(self.bands[index] for index in indices))

    def read(self, window: Window) -> tuple[Array, Array]:
        """Return the image (C, d, h, w) float32 and its validity (1, d, h, w) bool.

        Raises:
            SegcganError: the file is damaged here.
        """
        values, valid = _read(self.path, self.bands, window)
        with np.errstate(over="ignore"):
            image = values.astype(np.float32)
        return image, valid & np.isfinite(image).all(axis=0, keepdims=True)


@dataclass(frozen=True)
class Labels:
    """Label values of a one-band file; nodata and NaN become ``IGNORE``.

    With ``keep_zero`` a 0 is a label although the file declares it as nodata.
    """

    path: Path
    keep_zero: bool = False

    def __call__(self, window: Window) -> Array:
        """Return label values (d, h, w) int32.

        Raises:
            SegcganError: the file is damaged here, or holds values that are not whole numbers.
        """
        values, valid = _read(self.path, (1,), window)
        if self.keep_zero:
            valid = valid | (values == 0)
        if values.dtype == np.int8:  # which cannot hold IGNORE
            values = values.astype(np.int16)
        known = np.where(valid & np.isfinite(values), values, IGNORE)[0]
        labels = known.astype(np.int32)
        if not np.array_equal(labels, known):
            odd = known[labels != known].flat[0]
            raise SegcganError(f"{self.path} holds the label value {odd}; labels are whole numbers, so round them")
        return labels


@dataclass(frozen=True)
class Probabilities:
    """Class probabilities: bytes as written by ``write_probability``, or floats 0–1; nodata becomes 0."""

    path: Path
    bands: tuple[int, ...]

    def __call__(self, window: Window) -> Array:
        """Return probabilities (K, d, h, w) float32."""
        values, valid = _read(self.path, self.bands, window)
        scale = CERTAIN if values.dtype == np.uint8 else 1
        return np.where(valid & np.isfinite(values), np.clip(values / scale, 0, 1), 0).astype(np.float32)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Yield the open rasterio dataset of a file; what GDAL finds wrong with it becomes a ``SegcganError``."""
    try:
        found = path.stat()
        yield _dataset(path, found.st_mtime_ns, found.st_size, os.getpid(), threading.get_ident())
    except GDAL_ERRORS as error:
        cure = "it is damaged or no GeoTIFF, so fetch or convert it again"
        raise SegcganError(f"{path} cannot be read ({reason(error)}); {cure}") from error


@contextmanager
def without_georeference_warning() -> Iterator[None]:
    """Silence rasterio about files without georeference: they are welcome here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def reason(error: BaseException) -> str:
    """Return the innermost message of an error, on one line: GDAL's own words rather than rasterio's."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()).rstrip(".")


@lru_cache(maxsize=64)
def _dataset(path: Path, mtime: int, size: int, process: int, thread: int) -> Any:
    # Handles are kept because opening costs more than reading a window, but not all of them: a folder of 10,000
    # chips would run out of file descriptors. Each belongs to one version of the file, one process and one thread,
    # because GDAL handles must not cross forks or threads.
    with without_georeference_warning():
        return rasterio.open(path)


def _read(path: Path, bands: tuple[int, ...], window: Window) -> tuple[Array, Array]:
    """Return stored values (C, d, h, w) and validity (1, d, h, w)."""
    depth, rows, columns = window
    size = depth.stop - depth.start, rows.stop - rows.start, columns.stop - columns.start
    if min(size) <= 0:
        return np.zeros((len(bands), *size), np.uint8), np.zeros((1, *size), bool)
    part = Part(columns.start, rows.start, size[2], size[1])
    with opened(path) as dataset:
        return dataset.read(bands, window=part)[:, None], dataset.read_masks(bands, window=part).any(0)[None, None]
