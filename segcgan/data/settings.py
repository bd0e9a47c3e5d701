"""What a config says of the data, section by section."""

from dataclasses import dataclass
from typing import Literal

from segcgan.errors import SegcganError, at_least


@dataclass
class Images:
    """Where the images are.

    Args:
        root: folder; ``$SEGCGAN_DATA`` stands for the shared images (default ``../shared/data``).
        manifest: CSV (see :mod:`segcgan.data.manifest`), looked for in ``root``, in the current folder and in
            the package; None = pair ``images/X`` with ``masks/X``.
        spacing: [slice, row, column] of files that know none.
        unit: of ``spacing``.
        bands: of every image, counted from 1; None = all.
        orientation: "canonical" (axial, LPS) or "acquired"; scans only.
        label_column: of vector files, that says the class of a polygon, by label value or name; None = found by its
            name or values; "" = all polygons are the first class after the background.
        label_layer: of GeoPackages that have several.
        phantoms: "ct" or "scene": write phantoms to ``root`` first if there are none.
        val: share of groups for validation when no split is given.
        test: share of groups for the test when no split is given.
    """

    root: str
    manifest: str | None = None
    spacing: list[float] | None = None
    unit: str = "mm"
    bands: list[int] | None = None
    orientation: Literal["canonical", "acquired"] = "canonical"
    label_column: str | None = None
    label_layer: str | None = None
    phantoms: str | None = None
    val: float = 0.2
    test: float = 0.2

    def __post_init__(self) -> None:
        at_least("data.images.", 0, val=self.val, test=self.test)
        if self.spacing is not None and (len(self.spacing) != 3 or min(self.spacing) <= 0):
            raise SegcganError(f"data.images.spacing is {self.spacing}; give [slice, row, column], all above 0")


@dataclass
class Intensity:
    """How intensities are brought to one scale.

    Args:
        clip: [low, high] for all channels (a CT window in HU); None = percentiles of the training data.
        percentiles: [low, high] in percent, per channel.
    """

    clip: list[float] | None = None
    percentiles: tuple[float, float] = (0.5, 99.5)


@dataclass
class Surfaces:
    """How boundaries are scored; see :class:`segcgan.metrics.pair.Convention`.

    Args:
        surface: what a surface is made of: "voxels" (as in MONAI) or "surfels" (as in DeepMind's surface-distance).
        combine: HD95 is the larger of both directions ("max") or the percentile of both together ("pooled").
        centreline: also score clDice (vessels, roads); slow in 3-D.
    """

    surface: Literal["voxels", "surfels"] = "voxels"
    combine: Literal["max", "pooled"] = "max"
    centreline: bool = False
