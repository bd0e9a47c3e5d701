"""PNG and JPEG, read through Pillow: one pixel per pixel.

A picture with a world file, or an ``.aux.xml`` that places it in the world, is written as GeoTIFF, others as PNG.
Pixels stay as stored: the EXIF orientation of a photo is not applied, so that image, labels and output agree.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from segcgan.case import IGNORE, Array, Case, Geometry, LabelReader, Window
from segcgan.classes import ClassSpec
from segcgan.colours import NODATA, class_colours
from segcgan.errors import SegcganError
from segcgan.formats.folders import Source
from segcgan.formats.sidecars import places, projection
from segcgan.formats.staging import staging

LARGE = 2**26  # pixels that Pillow, which decodes a whole picture, still reads of one that GDAL could read in parts
_STRETCH = "stored values are multiplied by"
# What Pillow raises on bad files.
DAMAGE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


@dataclass(frozen=True)
class Picture:
    """Pixels of one picture; holds only the path, so it survives pickling and forking."""

    path: Path

    def read(self, window: Window) -> tuple[Array, Array]:
        """Return the image (C, d, h, w) float32 and its validity (1, d, h, w) bool: alpha above 0."""
        channels, alpha = _pixels(self.path)
        valid = np.ones(channels.shape[1:], bool) if alpha is None else alpha > 0
        image = channels[:, None][:, *window].astype(np.float32)
        return image, valid[None, None][:, *window]


@dataclass(frozen=True)
class Labels:
    """Label values of one picture."""

    path: Path

    def __call__(self, window: Window) -> Array:
        """Return label values (d, h, w) int32."""
        return _labels(self.path)[None][window]


def open_case(source: Source, orientation: str = "canonical") -> Case:
    """Open a picture: grey (8 or 16 bits), RGB or palette (read as RGB); an alpha channel is validity.

    Spacing is 1 and the unit "px" unless a file beside it gives its place in the world. ``orientation`` is for scans
    and has no effect here.

    Raises:
        SegcganError: unreadable, or 16 bits per channel in colour (Pillow would silently halve them).
    """
    if places(source.path):
        return _placed(source)
    channels, _ = _pixels(source.path)
    count, height, width = channels.shape
    case = replace(blank_case(source, (height, width), count), reader=Picture(source.path))
    case.stored |= _kind(source.path, channels)
    return case


def _placed(source: Source) -> Case:
    """Open a picture that has a place: as a raster, but with the pixels it has without one, unless it is very large.

    GDAL and Pillow differ by a few grey values where a JPEG holds colours at half the resolution.
    """
    from segcgan.formats import geotiff  # pictures alone need no GDAL

    case = geotiff.open_case(source)
    if case.shape[1] * case.shape[2] > LARGE:
        return case
    channels, _ = _pixels(source.path)
    stored = case.stored | _kind(source.path, channels)
    return replace(case, reader=Picture(source.path), channels=len(channels), stored=stored)


def _kind(path: Path, channels: Array) -> dict[str, Any]:
    return {"driver": _decoded(path).format, "dtypes": [channels.dtype.name] * len(channels), "nodata": None}


def files_of(path: Path) -> list[Path]:
    """Return a picture's own file and those that place it in the world."""
    found = places(path)
    prj = projection(path) if found else None
    return [path, *found] + ([prj] if prj is not None else [])


def blank_case(source: Source, size: tuple[int, int], channels: int) -> Case:
    """Return a picture's case without pixels: spacing 1, unit "px", written as PNG."""
    affine = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=float)
    return Case(
        name=source.name,
        path=source.path,
        format="png",
        shape=(1, *size),
        channels=channels,
        geometry=Geometry(affine, (1.0, 1.0, 1.0), "px"),
        reader=Picture(source.path),
        group=source.name,
        stored={"size": size},
    )


def open_labels(path: Path, case: Case) -> LabelReader:
    """Open a picture as labels: grey values as stored, palette indices, 1-bit as 0 and 1, RGB if it is grey.

    Raises:
        SegcganError: unreadable, coloured, or of another size than the image.
    """
    labels = _labels(path)
    height, width = case.stored["size"]
    if labels.shape != (height, width):
        size = f"{labels.shape[0]}×{labels.shape[1]}"
        raise SegcganError(f"{path} is {size} and its image {height}×{width}; resample the mask")
    if places(path) and "transform" in case.stored:
        from segcgan.formats.extent import check_grid
        from segcgan.formats.raster import opened

        with opened(path) as dataset:
            check_grid(path, dataset, case)
    return Labels(path)


def write_mask(folder: Path, stem: str, case: Case, read: LabelReader, classes: list[ClassSpec]) -> list[Path]:
    """Write ``<stem>.png``: class indices as an 8-bit palette picture in the class colours, nodata 255.

    Background and nodata are transparent; the names of the classes are texts ``class_0``, ``class_1``, ….

    Args:
        folder: made if missing.
        stem: file name without extension.
        case: gives the size.
        read: from a window of the case to class indices (1, h, w) uint8.
        classes: names and colours.
    """
    picture = Image.fromarray(np.ascontiguousarray(read(case.whole)[0], dtype=np.uint8), mode="L")
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(classes)] = class_colours(classes)
    palette[IGNORE] = NODATA
    picture.putpalette(palette.tobytes())
    opacity = np.full(256, 255, np.uint8)
    opacity[[0, IGNORE]] = 0
    names = PngInfo()
    for index, spec in enumerate(classes):
        names.add_itxt(f"class_{index}", spec.name)
    path = folder / f"{stem}.png"
    try:
        with staging(folder) as temporary:
            picture.save(temporary / path.name, transparency=opacity.tobytes(), bits=8, pnginfo=names)
    except OSError as error:
        raise SegcganError(f"{path} cannot be written ({error}); check free space and permissions") from error
    return [path]


def write_probability(
    folder: Path, stem: str, case: Case, read: Callable[[Window], Array], compress: bool = True
) -> list[Path]:
    """Write ``<stem>.tif`` without georeference; see ``geotiff.write_probability``."""
    from segcgan.formats import geotiff  # pictures alone need no GDAL

    return geotiff.write_probability(folder, stem, case, read, compress)


def _pixels(path: Path) -> tuple[Array, Array | None]:
    """Return channels (C, h, w) and alpha (h, w) or None."""
    picture = _decoded(path)
    if "transparency" in picture.info and picture.mode.startswith("I"):  # 16 bits, which Pillow would cut to 8
        values = np.asarray(picture)
        return values[None], values != picture.info["transparency"]
    if "transparency" in picture.info:  # one colour or palette entry declared transparent
        picture = picture.convert("LA" if picture.mode in ("1", "L") else "RGBA")
    elif picture.mode in ("PA", "RGBa", "La"):
        picture = picture.convert("LA" if picture.mode == "La" else "RGBA")
    elif picture.mode in ("P", "CMYK", "YCbCr", "LAB", "HSV"):
        picture = picture.convert("RGB")
    values = np.atleast_3d(np.asarray(picture)).transpose(2, 0, 1)
    return (values[:-1], values[-1]) if picture.mode in ("LA", "RGBA") else (values, None)


def _labels(path: Path) -> Array:
    """Return label values (h, w) int32."""
    picture = _decoded(path)
    values = np.asarray(picture)
    if values.ndim == 3:
        colours = values[..., :-1] if picture.mode in ("LA", "PA", "RGBA") else values
        if (colours != colours[..., :1]).any():
            cure = "save it as grey values or a palette, one number per class"
            raise SegcganError(f"{path} is in colour ({picture.mode}) and labels are one number per pixel; {cure}")
        values = colours[..., 0]
    return values.astype(np.int32) // picture.info.get(_STRETCH, 1)


def _decoded(path: Path) -> Image.Image:
    try:
        found = path.stat()
        return _decode(path, found.st_mtime_ns, found.st_size)
    except DAMAGE as error:
        msg = f"{path} cannot be read ({error}); it is damaged or too large, so fetch or convert it again"
        raise SegcganError(msg) from error


@lru_cache(maxsize=4)
def _decode(path: Path, mtime: int, size: int) -> Image.Image:
    # A few are kept: windows of one picture, and of its labels, are read in a row and each would decode all of it.
    with path.open("rb") as file:
        head = file.read(26)
        if head.startswith(b"\x89PNG") and head[24:25] == b"\x10" and head[25:26] != b"\0":
            raise SegcganError(f"{path} has 16 bits per colour channel and Pillow reads 8; convert it to TIFF")
        file.seek(0)
        picture = Image.open(file, formats=["PNG", "JPEG"])
        picture.load()
    if picture.format == "PNG" and head[24] in (2, 4) and head[25] == 0:  # Pillow stretches these greys to 0–255
        picture.info[_STRETCH] = 255 // (2 ** head[24] - 1)
    return picture
