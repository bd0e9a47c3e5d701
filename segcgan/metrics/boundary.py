"""How well two binary masks agree along their boundary, in physical units, in 2-D and anisotropic 3-D.

Libraries give different numbers under the same name: the convention is an argument, and ``conventions`` says it in
words. These functions measure one score each; ``MaskPair`` measures several at the cost of one. It also says what
holds for every score here: one slice, invalid pixels, empty masks.
"""

from segcgan.case import Array
from segcgan.metrics.empty import RIGHTLY_EMPTY, Status
from segcgan.metrics.nearest import Spacing
from segcgan.metrics.pair import Combine, Convention, MaskPair, Surface, band_width, status

__all__ = ["Convention", "MaskPair", "Spacing", "Status", "band_width", "status"]

HD95_CONVENTION = (
    "larger of the two directed 95th percentiles (linear interpolation) of distances between boundary voxels, "
    "which are the mask minus its erosion by a cross, as in MONAI and MetricsReloaded"
)
BOUNDARY_IOU_CONVENTION = (
    "IoU of the foreground no further than the band width from the nearest background or image edge, "
    "after Cheng 2021"
)


def conventions(convention: Convention | None = None) -> dict[str, str]:
    """Return, for each boundary score, one sentence that says how it is measured."""
    convention = convention or Convention()
    surfels = convention.surface == "surfels"
    surface = (
        "surface elements on the corners between voxels, weighted by area (Nikolov 2018, DeepMind surface-distance)"
        if surfels else "boundary voxels, which are the mask minus its erosion by a cross"
    )
    step = "step over area" if surfels else "linear interpolation"
    hd95 = f"95th percentile ({step}) of the distances of both directions, pooled (MedPy, panoptica), of {surface}"
    if convention.combine == "max":
        hd95 = f"larger of the two directed 95th percentiles ({step}) of the distances of {surface}"
    if (convention.surface, convention.combine) == ("voxels", "max"):
        hd95 = HD95_CONVENTION
    return {
        "HD95": hd95,
        "ASSD": f"mean distance to the other surface over both surfaces, pooled, of {surface}",
        "NSD": f"share of both surfaces, pooled, no further than the tolerance from the other one, of {surface}",
        "Boundary F": "harmonic mean of the shares of the predicted and of the reference surface no further than "
        f"the tolerance from the other one (Csurka 2013), of {surface}",
        "Boundary IoU": BOUNDARY_IOU_CONVENTION,
        "Rightly empty masks": _empty_convention(convention.empty),
    }


def _empty_convention(empty: float) -> str:
    overlap = f"score {empty:g} in Dice, IoU, Boundary IoU, NSD, boundary F and clDice"
    if empty != empty:
        overlap = "are left out of Dice, IoU, Boundary IoU, NSD, boundary F and clDice"
    return f"{overlap}, and have no HD95 and no ASSD; a missed or an invented object scores 0"


def hausdorff(
    reference: Array,
    prediction: Array,
    spacing: Spacing,
    percentile: float = 100,
    combine: Combine = "max",
    surface: Surface = "voxels",
    valid: Array | None = None,
) -> float:
    """Return the Hausdorff distance (or a percentile of it) of two binary masks (H, W) or (D, H, W).

    Returns:
        Distance in the unit of ``spacing``; NaN when both masks are empty, the diagonal of the image when one is.

    Raises:
        SegcganError: as of ``MaskPair`` and its ``hausdorff``.
    """
    return MaskPair(reference, prediction, spacing, Convention(surface, combine), valid).hausdorff(percentile)


def hausdorff95(
    reference: Array,
    prediction: Array,
    spacing: Spacing,
    valid: Array | None = None,
    combine: Combine = "max",
    surface: Surface = "voxels",
) -> float:
    """Return the 95th percentile Hausdorff distance, see ``hausdorff``; as it stands, ``HD95_CONVENTION``."""
    return hausdorff(reference, prediction, spacing, 95, combine, surface, valid)


def assd(
    reference: Array, prediction: Array, spacing: Spacing, surface: Surface = "voxels", valid: Array | None = None
) -> float:
    """Return the average symmetric surface distance: pooled over both surfaces, see ``MaskPair.assd``.

    Returns:
        Distance in the unit of ``spacing``; NaN when both masks are empty, the diagonal of the image when one is.
    """
    return MaskPair(reference, prediction, spacing, Convention(surface), valid).assd()


def masd(
    reference: Array, prediction: Array, spacing: Spacing, surface: Surface = "voxels", valid: Array | None = None
) -> float:
    """Return the mean average surface distance: mean of the two directed means, see ``MaskPair.masd``.

    Returns:
        Distance in the unit of ``spacing``; NaN when both masks are empty, the diagonal of the image when one is.
    """
    return MaskPair(reference, prediction, spacing, Convention(surface), valid).masd()


def nsd(
    reference: Array,
    prediction: Array,
    spacing: Spacing,
    tolerance: float,
    surface: Surface = "voxels",
    valid: Array | None = None,
    empty: float = RIGHTLY_EMPTY,
) -> float:
    """Return the normalised surface distance at a tolerance (surface Dice), see ``MaskPair.nsd``.

    Returns:
        0 to 1; ``empty`` when both masks are empty, 0 when one is; NaN when no pixel is valid.
    """
    return MaskPair(reference, prediction, spacing, Convention(surface, empty=empty), valid).nsd(tolerance)


def boundary_f(
    reference: Array,
    prediction: Array,
    spacing: Spacing,
    tolerance: float,
    surface: Surface = "voxels",
    valid: Array | None = None,
    empty: float = RIGHTLY_EMPTY,
) -> float:
    """Return the F score of the boundary at a tolerance, see ``MaskPair.boundary_f``.

    Returns:
        0 to 1; ``empty`` when both masks are empty, 0 when one is; NaN when no pixel is valid.
    """
    return MaskPair(reference, prediction, spacing, Convention(surface, empty=empty), valid).boundary_f(tolerance)


def boundary_iou(
    reference: Array,
    prediction: Array,
    spacing: Spacing,
    distance: float,
    valid: Array | None = None,
    empty: float = RIGHTLY_EMPTY,
) -> float:
    """Return the IoU of the inner boundary bands of two binary masks (Cheng et al. 2021, arXiv:2103.16562).

    The band is the foreground whose centre lies at most ``band_width(spacing, distance)`` from the centre of the
    nearest pixel that is not foreground; outside the image counts as not foreground, as in the official code.
    That code erodes with a 3×3 square (chessboard distance); here the distance is Euclidean and physical.

    Args:
        reference: binary mask (H, W) or (D, H, W).
        prediction: binary mask, same shape.
        spacing: size of a pixel along each axis.
        distance: width of the band in the unit of ``spacing``.
        valid: bool, same shape; None when all pixels are.
        empty: the score of two empty masks.

    Returns:
        0 to 1; ``empty`` when both masks are empty, 0 when one is; NaN when no pixel is valid.

    Raises:
        SegcganError: shapes or number of axes do not match, or spacing or distance are not positive.
    """
    return MaskPair(reference, prediction, spacing, Convention(empty=empty), valid).boundary_iou(distance)


def surface_distances(
    reference: Array, prediction: Array, spacing: Spacing, surface: Surface = "voxels"
) -> tuple[Array, Array]:
    """Return the distance of every surface element to the surface of the other mask.

    Args:
        reference: binary mask (H, W) or (D, H, W).
        prediction: binary mask, same shape.
        spacing: size of a pixel along each axis.
        surface: what counts as an element.

    Returns:
        distances reference → prediction (N,) and prediction → reference (M,) in the unit of ``spacing``. If one
        mask is empty, its own list is empty and the other one infinite.
    """
    return MaskPair(reference, prediction, spacing, Convention(surface)).distances
