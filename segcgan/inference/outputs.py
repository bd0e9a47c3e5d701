"""What prediction leaves in the output folder for a case."""

from pathlib import Path

from segcgan.case import Array, Window
from segcgan.classes import ClassSpec
from segcgan.formats import write_mask, write_probability
from segcgan.inference.engine import Outcome


def write_outputs(
    outcome: Outcome, folder: Path, classes: list[ClassSpec], refined: bool, uncertainty: bool = False
) -> list[Path]:
    """Write ``<stem>_mask.*`` (the gate's choice), ``<stem>_mask_coarse.*`` and ``<stem>_probability.*``.

    Args:
        outcome: with all strips finished.
        folder: of the outputs.
        classes: index 0 is the background.
        refined: a refiner was at work; without one there is no separate coarse mask.
        uncertainty: also write ``<stem>_uncertainty.*``; prediction was asked for that layer.

    Returns:
        The files.

    Raises:
        SegcganError: one cannot be written; those before it are removed.
    """

    def layer(name: str) -> "_Layer":
        return _Layer(outcome, name)

    case, stem = outcome.case, outcome.case.name
    files: list[Path] = []
    try:
        files += write_mask(folder, f"{stem}_mask", case, layer("chosen"), classes)
        if refined:
            files += write_mask(folder, f"{stem}_mask_coarse", case, layer("coarse"), classes)
        files += write_probability(folder, f"{stem}_probability", case, layer("p_chosen"))
        if uncertainty:
            files += write_probability(folder, f"{stem}_uncertainty", case, layer("uncertainty"))
    except BaseException:
        for path in files:
            path.unlink(missing_ok=True)
            path.with_name(f"{path.name}.aux.xml").unlink(missing_ok=True)  # the legend of a GeoTIFF
        raise
    return files


class _Layer:
    def __init__(self, outcome: Outcome, name: str) -> None:
        self._outcome, self._name = outcome, name

    def __call__(self, window: Window) -> Array:
        return self._outcome.read(self._name, window)
