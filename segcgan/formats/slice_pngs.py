"""A folder of PNGs as the mask of a DICOM series, one picture per slice."""

import re
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from segcgan.case import Array, Case, LabelReader, Window
from segcgan.errors import SegcganError
from segcgan.formats.grid import grid_of


def open_slices(folder: Path, case: Case) -> LabelReader:
    """Open PNG masks: the i-th in natural name order belongs to the i-th DICOM file in natural name order.

    Returns:
        a reader of stored pixel values (d, h, w) for absolute windows of the case's file.

    Raises:
        SegcganError: the count differs from the series, or (when read) a picture differs in size or is damaged.
    """
    grid, planes = grid_of(case, str(folder)), case.stored.get("planes", [])
    pictures = sorted((path for path in folder.iterdir() if _is_png(path)), key=lambda path: _natural(path.name))
    if len(pictures) != len(planes):
        msg = f"{folder}: {len(pictures)} PNG masks for {len(planes)} DICOM slices; give one per slice"
        raise SegcganError(msg)
    order = sorted(range(len(planes)), key=lambda i: (_natural(planes[i].path.name), planes[i].frame or 0))
    of_slice = dict(zip(order, pictures, strict=True))

    def read(window: Window) -> Array:
        z, y, x = grid.axes.window(window, grid.shape)
        labels = np.zeros((z.stop - z.start, y.stop - y.start, x.stop - x.start), np.int32)
        for index in range(z.start, z.stop):
            labels[index - z.start] = _picture(of_slice[index], grid.shape[1:])[y, x]
        return grid.axes.apply(labels)

    return read


def _is_png(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x89PNG"


def _natural(name: str) -> tuple[str, ...]:
    """Sort key in which slice 2 comes before slice 10."""
    return tuple(part.zfill(20) if part.isdigit() else part for part in re.split(r"(\d+)", name.lower()))


@lru_cache(maxsize=64)
def _picture(path: Path, size: tuple[int, int]) -> Array:
    try:
        with Image.open(path) as image:
            values = np.asarray(image)
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise SegcganError(f"{path}: the PNG mask is damaged ({error}); export it again") from error
    if values.shape != size:
        raise SegcganError(f"{path}: the mask is {values.shape}, the slice {size}; give a grey PNG of that size")
    return values
