"""How well tubes (vessels, roads) agree along their centre lines."""

import numpy as np

from segcgan.case import Array
from segcgan.metrics.empty import RIGHTLY_EMPTY
from segcgan.metrics.pair import Convention, MaskPair

CLDICE_CONVENTION = (
    "harmonic mean of the shares of each mask's skeleton that lie in the other mask (Shit 2021); skeletons by "
    "thinning on the voxel grid (Zhang 1984 in 2-D, Lee 1994 in 3-D), as in MetricsReloaded"
)


def cldice(
    reference: Array, prediction: Array, valid: Array | None = None, empty: float = RIGHTLY_EMPTY
) -> float:
    """Return the centre-line Dice of two binary masks (Shit et al. 2021, arXiv:2003.07311).

    It counts voxels of skeletons, so it has no unit and knows no spacing: resample very anisotropic volumes first.

    Args:
        reference: binary mask (H, W) or (D, H, W); one slice (1, H, W) is measured as 2-D.
        prediction: binary mask, same shape.
        valid: bool, same shape; pixels that are not are taken out of both masks first. None when all are.
        empty: the score of two empty masks.

    Returns:
        0 to 1; ``empty`` when both masks are empty, 0 when one is.

    Raises:
        SegcganError: shapes differ, or there are not two or three axes.
    """
    return cldice_of(MaskPair(reference, prediction, (1.0,) * reference.ndim, Convention(empty=empty), valid))


def cldice_of(pair: MaskPair) -> float:
    """Return the centre-line Dice of a pair of masks, see :func:`cldice`."""
    if pair.status != "ok":
        return pair.missing_overlap
    masks = np.pad(pair.reference, 1), np.pad(pair.prediction, 1)
    lines = [skeleton(mask) for mask in masks]
    shares = [np.count_nonzero(line & other) / np.count_nonzero(line)
              for line, other in zip(lines, reversed(masks), strict=True)]
    return float(2 * shares[0] * shares[1] / sum(shares)) if sum(shares) else 0.0


def skeleton(mask: Array) -> Array:
    """Return the centre line of a binary mask (H, W) or (D, H, W): one voxel wide, bool, same shape.

    Lee's thinning erases some small solids whole (a cube of two voxels); such a part keeps all its voxels.
    """
    from scipy.ndimage import label
    from skimage.morphology import skeletonize

    line: Array = skeletonize(mask).astype(bool)
    parts, count = label(mask, np.ones((3,) * mask.ndim))
    kept = np.zeros(count + 1, bool)
    kept[parts[line]] = kept[0] = True
    return line | ~kept[parts]
