"""What part of a case to show, and how bright."""

import numpy as np

from segcgan.case import IGNORE, Array
from segcgan.errors import SegcganError


def stretch(image: Array, valid: Array | None = None, channels: tuple[int, ...] | None = None) -> Array:
    """Return an image (C, H, W) as a picture in 0…1, (H, W) grey or (H, W, 3), robust against outliers.

    The 1st to 99th percentile of valid pixels becomes black to white: over all bands of an RGB image together,
    which keeps its colours, and band by band when there are more, whose ranges differ.

    Args:
        image: of any number of bands.
        valid: bool (H, W).
        channels: one or three bands to show; None = the first three, or the first.

    Raises:
        SegcganError: another number of channels, or one the image does not have.
    """
    count = len(image)
    if channels is None:
        channels = (0, 1, 2) if count >= 3 else (0,)
    if len(channels) not in (1, 3):
        raise SegcganError(f"{len(channels)} channels cannot be shown; give one (grey) or three (red, green, blue)")
    if not all(0 <= channel < count for channel in channels):
        raise SegcganError(f"channels {list(channels)} are not all in the image; choose from 0 to {count - 1}")
    bands = image[list(channels)]
    known = np.isfinite(bands).all(axis=0) & (True if valid is None else valid)
    if not known.any():
        known = np.ones_like(known)
        bands = np.zeros_like(bands)
    values = bands[:, known].astype(np.float32)
    values = values.reshape(1, -1) if count == 3 else values
    low, high = np.percentile(values, (1, 99), axis=1)[:, :, None, None]
    picture = np.clip((np.where(known, bands, low) - low) / np.maximum(high - low, 1e-12), 0, 1)
    return picture[0] if len(bands) == 1 else np.moveaxis(picture, 0, -1)


def best_slice(mask: Array) -> int:
    """Return the slice of a mask (D, H, W) with the most foreground; the middle one if there is none."""
    area = np.count_nonzero((mask != 0) & (mask != IGNORE), axis=(1, 2))
    return int(area.argmax()) if area.any() else len(area) // 2


def focus(masks: list[Array], margin: float = 0.3, least: int = 64) -> tuple[slice, slice]:
    """Return the window (rows, columns) round the foreground of masks (H, W), so that small things can be seen.

    Args:
        masks: class indices, all of one shape.
        margin: on every side, as a share of the longer side of the foreground.
        least: pixels, shortest side of the window (or the whole image).
    """
    shape = masks[0].shape
    found = np.argwhere(np.any([(mask != 0) & (mask != IGNORE) for mask in masks], axis=0))
    if not len(found):
        return slice(0, shape[0]), slice(0, shape[1])
    low, high = found.min(axis=0), found.max(axis=0) + 1
    side = max(int((high - low).max() * (1 + 2 * margin)), least)  # a square, if the image allows
    starts = [min(max((int(a) + int(b) - side) // 2, 0), max(size - side, 0))
              for a, b, size in zip(low, high, shape, strict=True)]
    return slice(starts[0], min(starts[0] + side, shape[0])), slice(starts[1], min(starts[1] + side, shape[1]))


def densest(mask: Array, side: int) -> tuple[slice, slice]:
    """Return the window (rows, columns) of at most ``side`` pixels a side with most True; the first of equals."""
    sums = np.pad(mask.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    sizes = [min(side, length) for length in mask.shape]
    step = max(1, side // 8)
    starts = [[*range(0, n - size, step), n - size] for n, size in zip(mask.shape, sizes, strict=True)]
    top, left = np.meshgrid(*starts, indexing="ij")
    bottom, right = top + sizes[0], left + sizes[1]
    area = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    row, column = np.unravel_index(area.argmax(), area.shape)
    y, x = starts[0][row], starts[1][column]
    return slice(y, y + sizes[0]), slice(x, x + sizes[1])
