"""Surface elements as Nikolov et al. (2018, arXiv:1809.04430) count them: on the corners where voxels meet.

A corner is on the surface when the 2×2 pixels or 2×2×2 voxels round it are neither all in the mask nor all out of
it. It counts with the length or area that marching squares or cubes draw there, in physical units. Both only
depend on which neighbours are set up to mirroring, swapping axes and exchanging inside and outside, so 14 cases
are all there are.
"""

from functools import cache
from itertools import permutations, product

import numpy as np

from segcgan.case import Array

Spacing = tuple[float, ...]

# Neighbours that are set, as corners (i, j, k) of a cube → triangles as area vectors, in eighths of a voxel face.
_CUBES: dict[tuple[str, ...], list[tuple[int, ...]]] = {
    (): [],
    ("111",): [(1, 1, 1)],
    ("110", "111"): [(4, 4, 0)],
    ("101", "110"): [(2, 2, 2)],
    ("101", "110", "111"): [(4, 0, 0), (3, 3, 3)],
    ("100", "101", "110", "111"): [(8, 0, 0)],
    ("011", "101", "110"): [(3, 3, 3)],
    ("011", "101", "110", "111"): [(6, 6, 6)],
    ("011", "100"): [(2, 2, 2)],
    ("011", "100", "111"): [(0, 4, 4), (1, 1, 1)],
    ("011", "100", "110", "111"): [(4, 4, 4), (0, 2, 2), (2, 0, 2)],
    ("011", "100", "101", "110"): [(4, 0, 0), (4, 4, 4)],
    ("010", "011", "100", "101"): [(8, 8, 0)],
    ("001", "010", "100", "111"): [(4, 4, 4)],
}
_SQUARES: dict[tuple[str, ...], list[tuple[int, ...]]] = {
    (): [],
    ("11",): [(4, 4)],
    ("10", "11"): [(8, 0)],
    ("01", "10"): [(8, 8)],
}


def surfels(mask: Array, spacing: Spacing) -> tuple[Array, Array]:
    """Find the surface elements of a binary mask.

    Args:
        mask: bool (H, W) or (D, H, W); its outermost layer must be background.
        spacing: size of a voxel along each axis.

    Returns:
        where they are on the grid of corners, bool, one shorter than the mask along each axis; and their length
        (2-D) or area (3-D), (N,) float64 in C order.
    """
    some = full = mask
    for axis in range(mask.ndim):
        lower, upper = ((slice(None),) * axis + (side,) for side in (slice(None, -1), slice(1, None)))
        some, full = some[lower] | some[upper], full[lower] & full[upper]
    edges = np.greater(some, full)
    places = np.ravel_multi_index(np.unravel_index(np.flatnonzero(edges), edges.shape), mask.shape)
    flat, codes = np.ascontiguousarray(mask).ravel(), np.zeros(places.size, np.intp)
    for corner in product((0, 1), repeat=mask.ndim):
        codes = 2 * codes + flat[places + int(np.ravel_multi_index(corner, mask.shape))]
    return edges, areas(spacing)[codes]


@cache
def areas(spacing: Spacing) -> Array:
    """Return the length (2-D) or area (3-D) of a surface element for every code of its neighbours.

    Args:
        spacing: size of a voxel along each axis.

    Returns:
        (16,) or (256,) float64. The code's highest bit is the neighbour with the lowest indices; bits go in C order.
    """
    axes = len(spacing)
    cases = (_SQUARES if axes == 2 else _CUBES).items()
    faces = np.prod(spacing) / np.asarray(spacing, float) / 8
    table = np.full(2 ** (2**axes), np.nan)
    for (corners, normals), order, flips in product(cases, permutations(range(axes)), range(2**axes)):
        # The area vector along an axis is perpendicular to it: it scales with the other sides of the voxel.
        area = sum(float(np.linalg.norm(np.array(normal)[list(order)] * faces)) for normal in normals)
        code = 0
        for corner in corners:
            moved = int("".join(corner[axis] for axis in order), 2) ^ flips
            code |= 1 << (2**axes - 1 - moved)
        table[[code, 2 ** (2**axes) - 1 - code]] = area
    table.flags.writeable = False  # it is kept
    return table
