"""Which image goes with which mask: a CSV manifest, or pairing by file stem.

Manifest columns (all paths relative to the data root; only ``image`` is required):

``case`` name; ``image``; ``mask``; ``labels`` per-case label values, e.g. ``background=*;liver=5|6`` (``*`` = every
other value), or raters as bits, ``nodule=bit0|bit1|bit2|bit3``; ``group`` patient or scene; ``split`` train | val |
test | calibrate (fits temperatures and nothing else); ``window`` part of the image as ``z0:z1,y0:y1,x0:x1`` or
``y0:y1,x0:x1``; ``coarse`` a mask or probability made by somebody else. A picture in a NumPy archive is
``stack.npz#member/index``.
"""

import csv
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segcgan.case import Array, Case, Window
from segcgan.classes import ClassSpec
from segcgan.data.labels import ClassIndices, Complete, Majority, OneHot, Raters, label_values, meaning_of, rater_bits
from segcgan.errors import SegcganError, nearest
from segcgan.formats import open_case, open_labels, open_probability, present
from segcgan.formats.columns import UNKNOWN, Meaning
from segcgan.formats.folders import discover, stem_of
from segcgan.formats.sidecars import PARTS_OF_RASTERS, SIDECARS, VECTORS, is_header

log = logging.getLogger("segcgan")

COLUMNS = ("case", "image", "mask", "labels", "group", "split", "window", "coarse")
SPLITS = ("train", "val", "calibrate", "test")
_SHOWN = 20  # refused cases named in one message


@dataclass(frozen=True)
class Row:
    """One line of a manifest; empty strings where nothing was said."""

    image: Path
    case: str = ""
    mask: Path | None = None
    labels: str = ""
    group: str = ""
    split: str = ""
    window: str = ""
    coarse: Path | None = None


def read_manifest(path: Path, root: Path) -> list[Row]:
    """Read a manifest CSV.

    Raises:
        SegcganError: unknown column, unknown split, missing file.
    """
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        try:
            reader.fieldnames = [column.strip() for column in reader.fieldnames or []]
            lines = [(reader.line_num, line) for line in reader]
        except UnicodeDecodeError as error:
            raise SegcganError(f"{path} is not UTF-8 text ({error.reason}); save it as UTF-8") from error
    for column in reader.fieldnames:
        if column not in COLUMNS:
            raise SegcganError(f"{path}: unknown column {column!r}{nearest(column, COLUMNS)}")
    if "image" not in reader.fieldnames:
        raise SegcganError(f"{path}: has no column 'image'; the columns are {', '.join(COLUMNS)}")
    rows = []
    for number, line in lines:
        if None in line:
            raise SegcganError(f'{path}, line {number}: more values than columns; quote commas as in "0:9,0:9"')
        said: dict[str, Any] = {key: (value or "").strip() for key, value in line.items()}
        if said.get("split") and said["split"] not in SPLITS:
            hint = nearest(said["split"], SPLITS)
            raise SegcganError(f"{path}, line {number}: split {said['split']!r} is unknown{hint}")
        files: dict[str, Any] = {}
        for column in ("image", "mask", "coarse"):
            if said.get(column):
                files[column] = root / said.pop(column)
                if not present(files[column]):
                    cure = "is data.images.root right?"
                    raise SegcganError(f"{path}, line {number}: {files[column]} does not exist; {cure}")
            said.pop(column, None)
        if "image" not in files:
            raise SegcganError(f"{path}, line {number}: names no image")
        rows.append(Row(**files, **said))
    return rows


def pair_by_stem(root: Path) -> list[Row]:
    """Pair ``root/images/X`` with ``root/masks/X``; a DICOM series is a folder in ``images``.

    With ``root/train|val|test/images`` the folder names give the splits.

    What is no readable image is logged and left out.

    Raises:
        SegcganError: nothing found, or an image without a mask.
    """
    parts = [(split, root / split) for split in SPLITS if (root / split / "images").is_dir()] or [("", root)]
    rows, refused, users = [], [], dict[Path, Path]()
    for split, folder in parts:
        if not (folder / "images").is_dir():
            raise SegcganError(f"{root}: expected folders 'images' and 'masks' (or a data.manifest); found neither")
        masks = masks_by_stem(folder / "masks")
        sources, rejected = discover(folder / "images")
        for item in rejected:
            log.warning("left out: %s", item.reason)
        for source in sources:
            found = masks.get(source.name) or masks.get(stem_of(source.path))
            if not found:
                refused.append(f"{source.path}: no mask named {source.name}.* in {folder / 'masks'}")
                continue
            if (other := users.setdefault(found[-1], source.path)) != source.path:
                msg = f"{found[-1]} would be the mask of {other} and of {source.path}"
                refused.append(f"{msg}; name masks as the images, or write a manifest")
                continue
            rows.append(Row(source.path, case=source.name, mask=found[-1], split=split))
    _refuse(refused, len(refused) + len(rows))
    if not rows:
        raise SegcganError(f"{root}: no readable image in {' or '.join(str(p / 'images') for _, p in parts)}")
    return rows


def masks_by_stem(folder: Path) -> dict[str, list[Path]]:
    """Return the files and folders that may be masks by the stem of their names, each list in order."""
    beside = (SIDECARS | PARTS_OF_RASTERS) - VECTORS  # the world file or the overview of a mask is none
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*")):
        if path.suffix.lower() not in beside and not is_header(path):
            found.setdefault(stem_of(path), []).append(path)
    return found


def open_rows(
    rows: Sequence[Row],
    classes: list[ClassSpec],
    spacing: list[float] | None,
    unit: str,
    orientation: str,
    polygons: Meaning = UNKNOWN,
) -> list[Case]:
    """Open the cases of a manifest with their references attached.

    Args:
        rows: of the manifest.
        classes: index 0 is the background.
        spacing: (slice, row, column) for files that know none (PNG, rasters without CRS).
        unit: of ``spacing``.
        orientation: "canonical" or "acquired", as in :func:`segcgan.formats.open_case`.
        polygons: column and layer of vector files.

    Raises:
        SegcganError: two cases of one name, or some cannot be opened; all of these are named.
    """
    cases: dict[str, Case] = {}
    refused: list[str] = []
    for row in rows:
        try:
            case = _open_row(row, classes, spacing, unit, orientation, polygons)
        except SegcganError as error:
            refused.append(str(error))
            continue
        if case.name in cases:
            raise SegcganError(f"two cases are called {case.name!r}; give them different names in column 'case'")
        for note in case.notes:
            log.warning("%s: %s", case.path, note)
        cases[case.name] = case
    _refuse(refused, len(rows))
    return list(cases.values())


def _refuse(reasons: list[str], total: int) -> None:
    """Say all that is wrong at once: who mends one file wants to know of the others as well."""
    if len(reasons) == 1:
        raise SegcganError(reasons[0])
    if reasons:
        more = [f"and {len(reasons) - _SHOWN} more"] if len(reasons) > _SHOWN else []
        head = f"{len(reasons)} of {total} cases cannot be used; mend them or take them out:"
        raise SegcganError("\n  ".join([head, *reasons[:_SHOWN], *more]))


def _open_row(
    row: Row,
    classes: list[ClassSpec],
    spacing: list[float] | None,
    unit: str,
    orientation: str,
    polygons: Meaning,
) -> Case:
    case = open_case(row.image, orientation)
    if spacing is not None and case.geometry.unit == "px":
        z, y, x = spacing
        case.geometry = replace(case.geometry, spacing=(z, y, x), unit=unit)
    if row.mask is not None:
        if bits := rater_bits(row.labels, classes, row.mask):
            raters = Raters(open_labels(row.mask, case), *bits)
            case.raters = raters
            case.reference = Majority(raters)
        else:
            values = label_values(row.labels, classes, row.mask)
            meaning = meaning_of(classes, values, polygons)
            case.reference = ClassIndices(open_labels(row.mask, case, meaning), values, str(row.mask))
    if row.coarse is not None:
        said = "" if case.raters is not None else row.labels  # bits of raters say nothing of one mask
        case.coarse = open_coarse(row.coarse, case, classes, said)
    case.group, case.split = row.group or case.group or case.name, row.split
    if row.window:
        case = case.part(parse_window(row.window, case), row.case or case.name)
    case.name = row.case or case.name
    if "/" in case.name or "\\" in case.name:
        raise SegcganError(f"case {case.name!r} names files, so it must not contain / or \\; rename it")
    return case


def open_coarse(path: Path, case: Case, classes: list[ClassSpec], labels: str = "") -> Callable[[Window], Array]:
    """Open a coarse mask made elsewhere, as probabilities (K, d, h, w).

    Args:
        path: ``X_probability.*`` and ``X_mask.*`` are read as segcgan writes them (class indices); other files hold
            label values like the references.
        case: whose grid it is on.
        classes: index 0 is the background.
        labels: of the manifest, for label values.
    """
    if "_probability." in path.name:
        return Complete(open_probability(path, case), case, path)
    own = "_mask." in path.name or "_mask_coarse." in path.name
    values = [[index] for index in range(len(classes))] if own else label_values(labels, classes, path)
    read = open_labels(path, case, meaning_of(classes, values))
    return Complete(OneHot(ClassIndices(read, values, str(path)), len(classes)), case, path)


def parse_window(text: str, case: Case) -> Window:
    """Parse ``y0:y1,x0:x1`` or ``z0:z1,y0:y1,x0:x1``; an empty number means the edge.

    Raises:
        SegcganError: it reads otherwise, or is empty or not inside the case.
    """
    found = re.fullmatch(r"(?:(\d*):(\d*),)?(\d*):(\d*),(\d*):(\d*)", text.replace(" ", ""))
    if found is None:
        raise SegcganError(f"case {case.name!r}: window {text!r} should read y0:y1,x0:x1 or z0:z1,y0:y1,x0:x1")
    ends = found.groups()
    z, y, x = (
        slice(int(start or 0), int(stop or size))
        for start, stop, size in zip(ends[::2], ends[1::2], case.shape, strict=True)
    )
    for part, size in zip((z, y, x), case.shape, strict=True):
        if not part.start < part.stop <= size:
            msg = f"case {case.name!r}: window {text!r} is not inside the image {case.shape}; correct it"
            raise SegcganError(msg)
    return z, y, x
