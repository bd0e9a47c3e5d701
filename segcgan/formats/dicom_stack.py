"""How the slices of a DICOM series are stacked into a volume."""

import numpy as np

from segcgan.case import Array
from segcgan.errors import SegcganError
from segcgan.formats.dicom_slices import Plane

_SAME_PLACE = 1e-3  # mm
_ROUNDED = (0.1, 0.01, 0.001)  # mm: what positions in headers are rounded to


def stack(planes: list[Plane], where: str) -> tuple[list[Plane], Array, str]:
    """Sort slices by their position along the normal and lay them into one affine.

    Returns:
        the sorted slices, the affine (4, 4) from (slice, row, column) to LPS mm, and its unit ("mm", or "px" for
        an image without any spacing).

    Raises:
        SegcganError: slices that coincide, are unevenly spaced, sheared (gantry tilt) or of unequal pixel size.
    """
    first = planes[0]
    rows, columns = first.spacing if first.spacing else (1.0, 1.0)
    unit = "mm" if first.spacing else "px"
    if first.orientation is None or any(plane.position is None for plane in planes):
        if len(planes) > 1:
            raise SegcganError(f"{where}: {len(planes)} images without positions do not make a volume; split them")
        affine = np.diag([columns, rows, first.thickness if first.spacing else 1.0, 1.0])
        return planes, affine[:, [2, 1, 0, 3]], unit
    across, down = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    normal = np.cross(across, down)
    if not np.allclose([across @ across, down @ down, normal @ normal], 1, atol=1e-2):
        cosines = [round(cosine, 4) for cosine in first.orientation]
        msg = f"{where}: ImageOrientationPatient {cosines} is not two perpendicular unit vectors; repair it"
        raise SegcganError(msg)
    if any(not _alike(plane, first) for plane in planes):
        raise SegcganError(f"{where}: slices differ in orientation or PixelSpacing; keep one acquisition")
    planes = sorted(planes, key=lambda plane: float(np.dot(plane.position or (0, 0, 0), normal)))
    positions = np.array([plane.position for plane in planes])
    step = normal * first.thickness
    if len(planes) > 1:
        step = _step(planes, positions, normal, where)
    origin = positions.mean(axis=0) - step * (len(planes) - 1) / 2  # of the line through all positions, as the step
    affine = np.eye(4)
    affine[:3] = np.stack([step, down * rows, across * columns, origin], axis=1)
    return planes, affine, unit


def _alike(one: Plane, other: Plane) -> bool:
    same_size = np.allclose(one.spacing or 1, other.spacing or 1, rtol=1e-3)
    return same_size and np.allclose(one.orientation or 0, other.orientation or 0, atol=1e-3)


def _step(planes: list[Plane], positions: Array, normal: Array, where: str) -> Array:
    """Return the step from slice to slice: of the straight line through all positions, which rounding hardly moves."""
    heights = positions @ normal
    gaps = np.diff(heights)
    if gaps.min() < _SAME_PLACE:
        first = int(gaps.argmin())
        pair = f"{_label(planes[first])} and {_label(planes[first + 1])}"
        raise SegcganError(f"{where}: {pair} lie at the same position; keep one acquisition per series")
    if not evenly_spaced(positions, normal):
        usual = float(np.median(gaps))
        odd = int((np.abs(gaps - usual) > 0.5 * np.abs(gaps - usual).max()).argmax())  # the first of the odd ones
        pair = f"{_label(planes[odd])} and {_label(planes[odd + 1])}"
        gaps_told = f"the gap between {pair} is {gaps[odd]:.2f} mm where {usual:.2f} mm is usual"
        raise SegcganError(f"{where}: {gaps_told}; add the missing slices or resample")
    step = _slope(positions)
    tilt = float(np.linalg.norm(np.cross(step, normal)) / np.linalg.norm(step))
    if 1e-2 < tilt <= 1e-2 + _tilt_of_rounding(positions, step):
        return normal * (step @ normal)
    if tilt > 1e-2:
        angle = np.degrees(np.arcsin(min(tilt, 1)))
        msg = f"{where}: the slices are stacked {angle:.1f}° off their normal (gantry tilt); resample them"
        raise SegcganError(msg)
    return step


def evenly_spaced(positions: Array, normal: Array) -> bool:
    """Tell whether sorted positions (n, 3) in mm are equally far apart along the normal.

    No slice may lie farther from the straight line through all than 1 % of the spacing (3 % or 0.03 mm, whichever is
    less, where slices are thin) and what rounding the positions explains; never more than 21 %. A missing slice moves
    one by more than that (0, 1, 3, 4: 21.4 %), however thin the slices are.
    """
    if len(positions) < 3:
        return True
    heights = positions @ normal
    gaps, spacing = np.diff(heights), float(_slope(heights))
    beside = np.abs(heights - heights.mean() - spacing * (np.arange(len(heights)) - (len(heights) - 1) / 2)).max()
    # half a unit for the position, and a little for the line, which rounding moves as well
    rounding = 0.6 * _rounded_to(positions[:, np.abs(normal) > 1e-3]) * float(np.abs(normal).sum())
    allowed = min(max(0.01 * spacing, min(0.03, 0.03 * spacing)) + rounding, 0.21 * spacing)
    return bool(beside <= allowed * (1 + 1e-6) and gaps.max() <= 1.5 * np.median(gaps) + 1e-6)


def _rounded_to(positions: Array) -> float:
    """Return what positions are rounded to: 0.1, 0.01, 0.001 mm or, if finer, 0."""
    for unit in _ROUNDED:
        if np.allclose(positions / unit, np.rint(positions / unit), rtol=0, atol=1e-3):
            return unit
    return 0.0


def _tilt_of_rounding(positions: Array, step: Array) -> float:
    """Return the largest sine of a tilt that rounding the positions (n, 3) alone can make."""
    index = np.arange(len(positions)) - (len(positions) - 1) / 2
    sideways = np.sqrt(3) / 2 * _rounded_to(positions)
    return float(sideways * np.abs(index).sum() / (index @ index) / np.linalg.norm(step))


def _slope(values: Array) -> Array:
    """Return the slope of the least-squares line through equally spaced samples (n, ...)."""
    index = np.arange(len(values)) - (len(values) - 1) / 2
    return np.tensordot(index, values, axes=1) / (index @ index)


def _label(plane: Plane) -> str:
    return plane.path.name if plane.frame is None else f"frame {plane.frame + 1}"
