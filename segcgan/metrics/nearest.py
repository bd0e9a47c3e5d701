"""Distances on voxel grids that cost by surface, not by volume: look nearby first, then ask a tree."""

import math

import numpy as np

from segcgan.case import Array

Spacing = tuple[float, ...]

ROUNDING = 1e-6  # relative; rounding must not decide whether something lies at exactly a given distance

_NEARBY = 512  # voxels looked at round a point before the tree is asked
_FEW = 1000  # points for which a tree alone is faster
_LARGEST_BALL = 4096  # voxels; wider bands are read off a distance transform
_TRANSFORM = 100  # a distance transform takes per voxel as long as marking this many


def closest(sources: Array, targets: Array, spacing: Spacing) -> Array:
    """Return the Euclidean distance of every source to the closest target.

    Surfaces that are worth comparing mostly lie within a few voxels of each other, so offsets are tried from the
    shortest on, all points at once; what finds nothing nearby is looked up in a k-d tree. A distance transform
    (what MONAI and surface-distance do) gives the same numbers and costs tenfold and more, for it fills the volume.

    Args:
        sources: bool, any number of axes.
        targets: bool, same shape.
        spacing: size of a voxel along each axis.

    Returns:
        (N,) float64 in the unit of ``spacing``, in C order of the sources; infinite when there is no target.
    """
    found = np.full(np.count_nonzero(sources), np.inf)
    if not found.size or not targets.any():
        return found
    left = np.arange(found.size)
    if found.size > _FEW:
        left = _look_nearby(found, sources, targets, spacing)
    if left.size:
        found[left] = _ask_tree(_points(sources)[left], _points(targets), spacing)
    return found


def band(mask: Array, spacing: Spacing, width: float) -> Array:
    """Return the foreground whose centre is at most ``width`` from the centre of the nearest background voxel.

    What lies outside the array is background. The same as a thresholded distance transform.

    Args:
        mask: bool, any number of axes.
        spacing: size of a voxel along each axis.
        width: in the unit of ``spacing``.

    Returns:
        bool, same shape.
    """
    radius = width * (1 + ROUNDING)
    if math.prod(2 * int(radius / size) + 1 for size in spacing) <= _LARGEST_BALL:
        offsets, _ = ball(radius, spacing)
        margin = np.abs(offsets).max(axis=0) + 1
        padded = np.pad(mask, [(int(reach),) * 2 for reach in margin])
        # The background nearest to a foreground voxel always touches the foreground.
        places = np.flatnonzero(shell(~padded))
        if places.size * len(offsets) <= _TRANSFORM * padded.size:
            close = np.zeros(padded.size, bool)
            for step in offsets @ np.array(padded.strides):
                close[places + step] = True
            inside = tuple(slice(int(reach), -int(reach)) for reach in margin)
            return mask & close.reshape(padded.shape)[inside]
    from scipy.ndimage import distance_transform_edt

    inside = (slice(1, -1),) * mask.ndim
    depth: Array = distance_transform_edt(np.pad(mask, 1), sampling=spacing)[inside]
    return mask & (depth <= radius)


def shell(mask: Array) -> Array:
    """Return the voxels with a neighbour across a face that is not set: the mask minus its erosion by a cross.

    Args:
        mask: bool, any number of axes; its outermost layer counts only as neighbours and is never returned.
    """
    inside = (slice(1, -1),) * mask.ndim
    kept = mask[inside].copy()
    for axis in range(mask.ndim):
        for side in (slice(None, -2), slice(2, None)):
            kept &= mask[(*inside[:axis], side, *inside[axis + 1 :])]
    edge = np.zeros_like(mask)
    np.greater(mask[inside], kept, out=edge[inside])
    return edge


def ball(radius: float, spacing: Spacing) -> tuple[Array, Array]:
    """Return the voxel offsets (N, axes) no longer than ``radius``, shortest first, and their lengths (N,)."""
    steps = [np.arange(-int(radius / size), int(radius / size) + 1) for size in spacing]
    offsets = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, len(spacing))
    lengths = _length(offsets, spacing)
    order = np.argsort(lengths, kind="stable")[: np.count_nonzero(lengths <= radius)]
    return offsets[order], lengths[order]


def _look_nearby(found: Array, sources: Array, targets: Array, spacing: Spacing) -> Array:
    """Fill in the distances of sources with a target nearby, and return which sources are left."""
    offsets, lengths = ball(_nearby_radius(spacing), spacing)
    margin = [(int(reach),) * 2 for reach in np.abs(offsets).max(axis=0)]
    padded = np.pad(targets, margin)
    flat, spots, left = padded.ravel(), np.flatnonzero(np.pad(sources, margin)), np.arange(found.size)
    steps = offsets @ np.array(padded.strides)
    for length in np.unique(lengths):  # all offsets of one length at once: dropping what was found costs most
        hit = np.zeros(spots.size, bool)
        for step in steps[lengths == length]:
            hit |= flat.take(spots + step)
        found[left[hit]] = length
        spots, left = spots[~hit], left[~hit]
        if not left.size:
            break
    return left


def _nearby_radius(spacing: Spacing) -> float:
    """The radius of a ball of about ``_NEARBY`` voxels; at least the smallest step."""
    axes = len(spacing)
    unit = math.pi ** (axes / 2) / math.gamma(axes / 2 + 1)
    return max(float((_NEARBY * math.prod(spacing) / unit) ** (1 / axes)), min(spacing))


def _ask_tree(sources: Array, targets: Array, spacing: Spacing) -> Array:
    from scipy.spatial import cKDTree

    tree = cKDTree(targets * np.asarray(spacing, float), leafsize=32, balanced_tree=False, compact_nodes=False)
    workers = -1 if len(sources) > _FEW else 1  # all cores; a few points are found before threads are up
    _, which = tree.query(sources * np.asarray(spacing, float), workers=workers)
    return _length(sources - targets[which], spacing)  # from whole voxels: equal steps give equal distances


def _points(mask: Array) -> Array:
    return np.stack(np.unravel_index(np.flatnonzero(mask), mask.shape), axis=1)


def _length(offsets: Array, spacing: Spacing) -> Array:
    lengths: Array = np.sqrt(((offsets * np.asarray(spacing, float)) ** 2).sum(axis=1))
    return lengths
