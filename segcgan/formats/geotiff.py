"""GeoTIFF, GDAL VRT and what else GDAL reads (JPEG 2000, Erdas Imagine, ENVI, NetCDF …), window by window."""

import logging
from collections.abc import Callable
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.windows import Window as Part

from segcgan.case import Array, Case, LabelReader, Window
from segcgan.errors import SegcganError
from segcgan.formats.extent import check_grid
from segcgan.formats.folders import Source
from segcgan.formats.georeference import geometry, place
from segcgan.formats.geotiff_output import write_mask, write_probability
from segcgan.formats.raster import Labels, Pixels, Probabilities, channels, opened
from segcgan.formats.sidecars import projection

__all__ = ["files_of", "open_case", "open_labels", "open_probability", "write_mask", "write_probability"]

_SHOWN = 5  # images in one file that an error names
_GREYS = 16  # more different values than any alpha band of a raster needs: it says yes or no
_told: set[Path] = set()  # folders in which that was warned of
log = logging.getLogger("segcgan")


def open_case(source: Source, orientation: str = "canonical") -> Case:
    """Open a raster of any band count and real dtype; ``orientation`` is for scans and has no effect here.

    A raster without CRS, or with ground control points or RPCs only, is read in pixels (see ``georeference``).

    Raises:
        SegcganError: unreadable, complex-valued, several pages, or nothing but alpha bands.
    """
    with opened(source.path) as dataset:
        _check_single(dataset, source.path)
        bands, alpha = channels(dataset)
        if not bands:
            raise SegcganError(f"{source.path} has no band besides alpha; give a raster with at least one channel")
        if len(bands) < dataset.count:
            _check_alpha(dataset, source.path)
        kinds = [dataset.dtypes[band - 1] for band in bands]
        for kind in kinds:
            if "complex" in kind:
                raise SegcganError(f"{source.path} holds {kind} and segcgan reads real numbers; convert it")
        if not abs(dataset.transform.determinant) > 0:  # written so that NaN is refused too
            shown = dataset.transform[:6]
            raise SegcganError(f"{source.path} has the transform {shown}, which gives pixels no area; repair it")
        stored = place(dataset, source.path)
        return Case(
            name=source.name,
            path=source.path,
            format="geotiff",
            shape=(1, dataset.height, dataset.width),
            channels=len(bands),
            geometry=geometry(stored),
            reader=Pixels(source.path, bands, alpha),
            group=source.name,
            stored=stored | {"driver": dataset.driver, "dtypes": kinds, "nodata": dataset.nodata},
        )


def _check_single(dataset: Any, path: Path) -> None:
    """Refuse a file of several images, naming those and how to take one out."""
    names = dataset.subdatasets
    if len(names) > 1 or (names and not dataset.count):
        listed = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
        cure = f"split it, for example with gdal_translate {quote(names[0])} {quote(path.stem)}.tif"
        said = f"{path} holds {len(names)} images and segcgan reads one per file"
        raise SegcganError(f"{said}; {cure}; they are {listed}")
    if not dataset.count:
        raise SegcganError(f"{path} holds no band that GDAL reads; convert it to GeoTIFF")


def _check_alpha(dataset: Any, path: Path) -> None:
    """Warn of a channel that is declared alpha: GDAL does so with the fourth of four bytes unless told otherwise."""
    row, column = (max(0, size // 2 - 128) for size in dataset.shape)
    for band, role in zip(dataset.indexes, dataset.colorinterp, strict=True):
        if role == ColorInterp.alpha:
            values = dataset.read(band, window=Part(column, row, 256, 256))
            if len(np.unique(values)) > _GREYS and path.parent not in _told:  # once, where there are thousands
                _told.add(path.parent)
                said = f"{path}: band {band} is declared alpha and taken for validity, but looks like a channel"
                log.warning("%s; if it is one, run gdal_edit.py -colorinterp_%d undefined %s", said, band, path.name)


def files_of(path: Path) -> list[Path]:
    """Return a raster's own file, those a mosaic (VRT) is made of, and sidecars such as ``.msk`` and ``.aux.xml``."""
    with opened(path) as dataset:
        files = [Path(name) for name in dataset.files if Path(name).is_file()]
    found = projection(path)
    return [*files, found] if found is not None and found not in files else files


def open_labels(path: Path, case: Case) -> LabelReader:
    """Open a label raster of one band, and alpha if any, on the grid of ``case``.

    The label's nodata value means "unknown" (``IGNORE``), except 0: GIS programs declare the background so. A file
    without georeference is accepted when its size is that of the image.

    Raises:
        SegcganError: unreadable, another grid or CRS, or several bands.
    """
    with opened(path) as dataset:
        check_grid(path, dataset, case)
        bands, alpha = channels(dataset)
        if len(bands) != 1 or "complex" in dataset.dtypes[bands[0] - 1]:
            raise SegcganError(
                f"{path} has {len(bands)} bands and labels are one band of whole numbers; keep one"
            )
        return Labels(path, keep_zero=dataset.nodata == 0, band=bands[0], alpha=alpha)


def open_probability(path: Path, case: Case) -> Callable[[Window], Array]:
    """Open a raster with one band per class on the grid of ``case``; see ``Probabilities``.

    Raises:
        SegcganError: unreadable, another grid, or neither bytes nor floats.
    """
    with opened(path) as dataset:
        check_grid(path, dataset, case)
        kind = dataset.dtypes[0]
        if kind != "uint8" and not kind.startswith("float"):
            raise SegcganError(
                f"{path} holds {kind}; class probabilities are floats 0–1 or uint8 0–254, so convert it"
            )
        return Probabilities(path, tuple(dataset.indexes))
