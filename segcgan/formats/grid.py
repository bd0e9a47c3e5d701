"""The voxel grid of a scan file: how it is stored, how a case sees it, and whether a mask lies on it."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from segcgan.case import IGNORE, Array, Axes, Case, Geometry, Shape, Window
from segcgan.errors import SegcganError, nearest

SLACK = 0.1  # voxels a mask may lie beside its image: more than rounding in headers, less than anyone can see


@dataclass(frozen=True)
class Grid:
    """The grid of one whole file or series.

    ``affine`` (4, 4) maps the stored axes (slice, row, column) to LPS millimetres; ``axes`` lead from the stored
    array to the case's.
    """

    affine: Array
    shape: Shape  # stored
    axes: Axes

    @classmethod
    def oriented(cls, affine: Array, shape: Shape, orientation: str, where: str) -> "Grid":
        """Return the grid of a file whose case is "canonical" (axes nearest to S, P, L) or "acquired" (as stored).

        Raises:
            SegcganError: unknown orientation, an empty array, or an affine that flattens space.
        """
        if orientation not in ("canonical", "acquired"):
            hint = nearest(orientation, ["canonical", "acquired"])
            raise SegcganError(f"orientation {orientation!r} is unknown{hint}")
        if min(shape) < 1:
            raise SegcganError(f"{where}: the array {shape} is empty; export the file again")
        sizes = np.linalg.norm(affine[:3, :3], axis=0)
        if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6 * sizes.prod() + 1e-30:
            rows = affine[:3].round(4).tolist()
            raise SegcganError(f"{where}: the affine {rows} is singular or not finite; repair the header")
        return cls(affine, shape, Axes.closest(affine) if orientation == "canonical" else Axes())

    @property
    def case_shape(self) -> Shape:
        """Shape of the whole file in the case's axes."""
        return self.axes.shape(self.shape)

    @property
    def case_affine(self) -> Array:
        """Affine (4, 4) of the whole file in the case's axes."""
        return self.axes.affine(self.affine, self.shape)

    def geometry(self, unit: str = "mm") -> Geometry:
        """Return the geometry a case of the whole file has."""
        sizes = np.linalg.norm(self.case_affine[:3, :3], axis=0)
        return Geometry(self.case_affine, (float(sizes[0]), float(sizes[1]), float(sizes[2])), unit)

    def gather(self, case: Case, read: Callable[[Window], Array]) -> Array:
        """Pull a case's uint8 (d, h, w) or (K, d, h, w) into the whole stored grid; elsewhere and 255 give 0."""
        values = read(case.whole)
        whole = np.zeros((*values.shape[:-3], *self.case_shape), np.uint8)
        z, y, x = (slice(start, start + size) for start, size in zip(case.start, case.shape, strict=True))
        whole[..., z, y, x] = np.where(values == IGNORE, 0, values)
        return self.axes.invert(whole)

    def place(self, affine: Array, shape: Shape, where: str) -> tuple[Axes, Shape]:
        """Find where a mask's stored array lies in this grid.

        Args:
            affine: (4, 4) of the mask's stored axes.
            shape: of the mask's stored array.
            where: the mask's file, for the error text.

        Returns:
            the axes that turn the mask into the case's, and the case index of its first voxel then.

        Raises:
            SegcganError: the voxels do not coincide within 0.1 voxel, or the mask reaches over the image's edge.
        """
        relative = np.linalg.inv(self.case_affine) @ affine
        # Axes.closest takes world rows (L, P, S); here the "world" is the case's (slice, row, column), so S, P, L
        axes = Axes.closest(relative[[2, 1, 0, 3]])
        turned = np.linalg.inv(self.case_affine) @ axes.affine(affine, shape)
        size = axes.shape(shape)
        start = np.rint(turned[:3, 3]).astype(int)
        corners = np.array(list(itertools.product(*((0, n - 1) for n in size))))
        apart = float(np.abs(corners @ turned[:3, :3].T + turned[:3, 3] - corners - start).max())
        if apart > SLACK or (start < 0).any() or (start + size > np.array(self.case_shape)).any():
            raise self._elsewhere(affine, shape, where)
        return axes, (int(start[0]), int(start[1]), int(start[2]))

    def align(self, affine: Array, shape: Shape, where: str) -> Axes:
        """Return the axes that turn a mask covering this whole grid into the case's; raise like :meth:`place`."""
        axes, _ = self.place(affine, shape, where)
        if axes.shape(shape) != self.case_shape:
            raise self._elsewhere(affine, shape, where)
        return axes

    def _elsewhere(self, affine: Array, shape: Shape, where: str) -> SegcganError:
        mine, other = _words(self.affine, self.shape), _words(affine, shape)
        return SegcganError(f"{where}: the mask's grid ({other}) is not the image's ({mine}); resample it")


def _words(affine: Array, shape: Shape) -> str:
    rows = " ".join(str([round(float(value), 3) for value in row]) for row in affine[:3])
    return f"shape {shape}, LPS affine {rows}"


def grid_of(case: Case, where: str) -> Grid:
    """Return the grid of a scan; a raster or picture has none, so a scan's mask cannot belong to it."""
    grid = case.stored.get("grid")
    if not isinstance(grid, Grid):
        msg = f"{where}: a scan's mask cannot belong to the {case.format} image {case.path.name}; give a raster"
        raise SegcganError(msg)
    return grid
