"""Windows of one raster file, read through GDAL.

Values are the stored digital numbers; scale and offset tags are not applied, since networks are normalised from
the training data anyway. A pixel is invalid where the file's mask, alpha or nodata says so (with nodata: in *all*
chosen bands) or where any chosen band is NaN or infinite. Bands of different dtypes are read together.
"""

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NodataShadowWarning, NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as Part

from segcgan.case import IGNORE, Array, Window
from segcgan.errors import SegcganError

CACHE = "256"  # MB of blocks that GDAL keeps; its own choice, a twentieth of the memory, is beside what we keep
os.environ.setdefault("GDAL_CACHEMAX", CACHE)  # read when the first block is; the user's own setting counts
CERTAIN = 254  # the byte that stands for probability 1
GDAL_ERRORS = (RasterioError, CPLE_BaseError, OSError)  # rasterio lets some of GDAL's own errors through


@dataclass(frozen=True)
class Pixels:
    """Chosen bands of one file. Holds only the path, so it survives pickling and forking.

    Args:
        path: of the file.
        bands: counted from 1.
        alpha: bands that are above 0 where pixels are valid and that GDAL's own mask does not know.
    """

    path: Path
    bands: tuple[int, ...]
    alpha: tuple[int, ...] = ()

    def choose(self, indices: tuple[int, ...]) -> "Pixels":
        """Return a reader of some of these bands, counted from 0; what the others hold no longer matters."""
        return replace(self, bands=tuple(self.bands[index] for index in indices))

    def read(self, window: Window) -> tuple[Array, Array]:
        """Return the image (C, d, h, w) float32 and its validity (1, d, h, w) bool.

        Raises:
            SegcganError: the file is damaged here.
        """
        values, valid = _read(self.path, self.bands, window, self.alpha)
        with np.errstate(over="ignore"):
            image = values.astype(np.float32)
        return image, valid & np.isfinite(image).all(axis=0, keepdims=True)


@dataclass(frozen=True)
class Labels:
    """Label values of one band of a file; nodata, alpha 0 and NaN become ``IGNORE``.

    With ``keep_zero`` a 0 is a label although the file declares it as nodata.
    """

    path: Path
    keep_zero: bool = False
    band: int = 1
    alpha: tuple[int, ...] = ()

    def __call__(self, window: Window) -> Array:
        """Return label values (d, h, w) int32.

        Raises:
            SegcganError: the file is damaged here, or holds values that are not whole numbers.
        """
        values, valid = _read(self.path, (self.band,), window, self.alpha)
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
        said, cure = reason(error), "it is damaged or no GeoTIFF, so fetch or convert it again"
        if "not recognized as being in a supported" in said:
            cure = f"where GDAL knows the format, gdal_translate {path.name} {path.stem}.tif makes it a GeoTIFF"
        elif "No such file" in said and path.exists():
            cure = "it is a mosaic of files that are not there, so fetch them or correct their paths in it"
        raise SegcganError(f"{path} cannot be read ({said}); {cure}") from error


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


def channels(dataset: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Tell the bands of an open dataset that are channels from those that are alpha, whatever their dtype.

    Returns:
        bands counted from 1; of the alpha bands those that have to be read because GDAL's own mask leaves them out:
        it knows alpha of whole numbers only, and none where there is nodata.
    """
    roles = dict(zip(dataset.indexes, dataset.colorinterp, strict=True))
    bands = tuple(band for band, role in roles.items() if role != ColorInterp.alpha)
    alpha = tuple(band for band, role in roles.items() if role == ColorInterp.alpha)
    known = bands and all(MaskFlags.alpha in dataset.mask_flag_enums[band - 1] for band in bands)
    return bands, () if known else alpha


def _read(path: Path, bands: tuple[int, ...], window: Window, alpha: tuple[int, ...] = ()) -> tuple[Array, Array]:
    """Return stored values (C, d, h, w) and validity (1, d, h, w)."""
    depth, rows, columns = window
    size = depth.stop - depth.start, rows.stop - rows.start, columns.stop - columns.start
    if min(size) <= 0:
        return np.zeros((len(bands), *size), np.uint8), np.zeros((1, *size), bool)
    part = Part(columns.start, rows.start, size[2], size[1])
    with opened(path) as dataset:
        if len({dataset.dtypes[band - 1] for band in bands}) == 1:
            values = dataset.read(bands, window=part)
        else:  # which rasterio refuses to read together
            values = np.stack([dataset.read(band, window=part, out_dtype="float64") for band in bands])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NodataShadowWarning)  # of alpha, which is read here as well
            valid = dataset.read_masks(bands, window=part).any(0)
        for band in alpha:
            valid = valid & (dataset.read(band, window=part) > 0)
        return values[:, None], valid[None, None]
