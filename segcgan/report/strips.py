"""Strips of predicted cases, the same window every time; and sheets of strips over the epochs of a training."""

import io
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from segcgan.atomic import replacing
from segcgan.case import IGNORE, Array, Case
from segcgan.classes import ClassSpec
from segcgan.inference.engine import Outcome
from segcgan.report.figures import strip
from segcgan.report.framing import best_slice, densest, focus

_HEIGHTS = "strip heights"  # text chunk of a sheet


Place = tuple[int, slice, slice]  # slice, rows, columns


def case_strip(
    case: Case, outcome: Outcome, classes: list[ClassSpec], title: str, place: Place | None = None
) -> bytes:
    """Draw image, reference, coarse, refined and error of a predicted case, zoomed to its foreground.

    Args:
        case: with a reference.
        outcome: of its prediction.
        classes: index 0 is the background.
        title: above the strip; a second line is set smaller.
        place: what to show; None = the slice with most foreground in the reference, zoomed to all masks, and the title
            tells its number.

    Returns:
        PNG file.
    """
    reference = case.read_reference(case.whole)
    masks = {"reference": reference}
    masks |= {name: outcome.read(name, case.whole) for name in ("coarse", "refined") if name in outcome.layers}
    if place is None:
        z = best_slice(reference)
        place = (z, *focus([mask[z] for mask in masks.values()]))
        head, *rest = title.split("\n")
        title = "\n".join([f"{head}, slice {z}" if case.shape[0] > 1 else head, *rest])
    z, rows, columns = place
    image, valid = case.read((slice(z, z + 1), rows, columns))
    shown = {name: mask[z, rows, columns] for name, mask in masks.items()}
    shown = {name: mask if name == "reference" else np.where(valid[0, 0], mask, 0) for name, mask in shown.items()}
    spacing = case.geometry.spacing[1], case.geometry.spacing[2]
    return strip(image[:, 0], shown, classes, spacing, case.geometry.unit, valid[0, 0], title)


def closeup(case: Case, context: int = 0, side: int = 512) -> tuple[Case, Place]:
    """Cut out of a case what a quick look needs: its fullest slice and, of a large one, its fullest window.

    Args:
        case: with a reference.
        context: slices the networks see above and below.
        side: pixels, largest height and width.

    Returns:
        The part, of the same name, and where in it the reference lies.
    """
    reference = case.read_reference(case.whole)
    z = best_slice(reference)
    rows, columns = densest((reference[z] != 0) & (reference[z] != IGNORE), side)
    first = max(0, z - context)
    part = case.part((slice(first, z + context + 1), rows, columns), case.name)
    return part, (z - first, *focus([reference[z, rows, columns]]))


def write_sheet(path: Path, strips: list[bytes]) -> Array:
    """Write strips (PNG files) below each other into one PNG, atomically; returns it as (H, W, 3) uint8."""
    pictures = [Image.open(io.BytesIO(content)).convert("RGB") for content in strips]
    sheet = Image.new("RGB", (max(p.width for p in pictures), sum(p.height for p in pictures)), "white")
    top = 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height
    note = PngInfo()
    note.add_text(_HEIGHTS, " ".join(str(picture.height) for picture in pictures))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        sheet.save(draft, format="png", pnginfo=note)
    return np.asarray(sheet)


def first_strips(sheets: list[Path], width: int = 1000) -> bytes:
    """Return the first strip of every sheet, at most ``width`` pixels wide, below each other, as one PNG file."""
    cut = []
    for path in sheets:
        with Image.open(path) as sheet:
            height = int(str(sheet.info.get(_HEIGHTS, sheet.height)).split()[0])
            cut.append(sheet.crop((0, 0, sheet.width, height)))
    shrunk = [p.resize((width, round(p.height * width / p.width))) if p.width > width else p for p in cut]
    whole = Image.new("RGB", (max(p.width for p in shrunk), sum(p.height for p in shrunk)), "white")
    top = 0
    for picture in shrunk:
        whole.paste(picture, (0, top))
        top += picture.height
    buffer = io.BytesIO()
    whole.save(buffer, format="png", optimize=True)
    return buffer.getvalue()
