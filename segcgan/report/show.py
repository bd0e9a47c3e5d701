"""``segcgan.show``: one line from a case to a figure of it."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from segcgan.case import IGNORE, Array, Case, Window
from segcgan.chain import Chain
from segcgan.classes import ClassSpec
from segcgan.data.labels import ClassIndices, label_values, meaning_of
from segcgan.errors import SegcganError, nearest
from segcgan.formats import open_case, open_labels
from segcgan.formats.columns import UNKNOWN
from segcgan.inference.engine import Outcome, predict_case
from segcgan.inference.folder import prepare
from segcgan.inference.store import MemoryStore
from segcgan.report.figures import Slice, Spread, grid
from segcgan.report.framing import best_slice, focus
from segcgan.report.known import cases
from segcgan.runs import Run, load

Zoom = bool | tuple[tuple[int, int], tuple[int, int]]


def show(
    case: Case | Path | str,
    run: Path | str | Chain | None = None,
    *,
    reference: Path | str | None = None,
    slice: int | str = "best",
    channels: int | Sequence[int] | None = None,
    zoom: Zoom = True,
    samples: int = 8,
    seed: int = 0,
) -> Any:
    """Show a case: image, reference, coarse and refined mask, their errors, and how the refiner's samples differ.

    Masks are contours in the colours of their classes, the reference is dashed; the mask the gate keeps is named in
    bold. The whole case is predicted in memory: cut one that is larger first, ``case.part(window, name)``.

    Args:
        case: an open case, the path of an image, or the name of one of the run's cases (with its reference).
        run: run folder, or a loaded chain; None = only the image and its reference.
        reference: file of the reference mask, with the label values of the run's classes.
        slice: index, from the end if negative; "best" = most foreground; "worst" = most errors of the kept mask.
        channels: the channel to show in grey, or three for red, green and blue; None = the first three, or the first.
            From the 1st to the 99th percentile of the window shown.
        zoom: to the foreground; False = everything; ((top, bottom), (left, right)) = these pixels.
        samples: masks drawn from a stochastic refiner; a deterministic one is not asked twice.
        seed: of the samples.

    Returns:
        A ``matplotlib.figure.Figure``, which shows itself in a notebook; ``figure.savefig(path)`` keeps it.

    Raises:
        SegcganError: no such case, run, slice, channel or window; the case has other channels than the run's.
    """
    chain = None if run is None else run if isinstance(run, Chain) else load(run)
    found, classes = _attach(_find(case, run), reference, chain.classes if chain is not None else [])
    outcome = None if chain is None else _predict(found, chain, samples, seed)
    masks = _masks(found, outcome)
    kept = "" if outcome is None or "refined" not in masks else "refined" if outcome.accepted else "coarse"
    z = _slice(found, slice, masks, kept or "coarse")
    rows, columns = _window(found, zoom, [mask[z] for mask in masks.values()])
    image, valid = found.read((_one(z), rows, columns))
    shown = Slice(
        image=image[:, 0],
        classes=classes,
        spacing=(found.geometry.spacing[1], found.geometry.spacing[2]),
        unit=found.geometry.unit,
        valid=valid[0, 0],
        title=_title(found, z, outcome if kept else None),
        channels=(channels,) if isinstance(channels, int) else None if channels is None else tuple(channels),
    )
    cut = {name: mask[z, rows, columns] for name, mask in masks.items()}
    cut = {name: mask if name == "reference" else np.where(valid[0, 0], mask, 0) for name, mask in cut.items()}
    return grid(shown, cut, _spread(outcome, (_one(z), rows, columns), len(classes)), kept)


def _predict(case: Case, chain: Chain, samples: int, seed: int) -> Outcome:
    several = chain.refiner is not None and chain.refiner.stochastic and samples > 1
    extra = ("samples", "disagreement") if several else ()
    return predict_case(case, chain, MemoryStore(), samples=samples, seed=seed, extra=extra)


def _masks(case: Case, outcome: Outcome | None) -> dict[str, Array]:
    masks = {} if case.reference is None else {"reference": case.read_reference(case.whole)}
    for name in ("coarse", "refined"):
        if outcome is not None and name in outcome.layers:
            masks[name] = outcome.read(name, case.whole)
    return masks


def _find(case: Case | Path | str, run: Path | str | Chain | None) -> Case:
    if isinstance(case, Case):
        return case
    settings: dict[str, Any] = {}
    if isinstance(run, Path | str):
        settings = json.loads((Run.find(Path(run)).folder / "chain.json").read_text(encoding="utf-8"))
    if Path(case).exists():
        return prepare(open_case(case, settings.get("orientation", "canonical")), settings)
    if not isinstance(run, Path | str):
        raise SegcganError(f"{case} does not exist; give an image, or the name of a case together with its run folder")
    known = {one.name: one for one in cases(run)}
    if str(case) not in known:
        raise SegcganError(f"{str(case)!r} is neither a file nor a case of the run{nearest(str(case), known)}")
    return known[str(case)]


def _attach(case: Case, reference: Path | str | None, classes: list[ClassSpec]) -> tuple[Case, list[ClassSpec]]:
    """Return the case with its reference, and its classes; those nobody named are called after their label values."""
    whole = case.whole
    if reference is None:
        if not classes and case.reference is not None:
            indices = case.read_reference(whole)
            top = int(indices[indices != IGNORE].max(initial=1))
            classes = [ClassSpec("background"), *(ClassSpec(f"class {index}") for index in range(1, top + 1))]
        return case, classes
    path = Path(reference)
    values = label_values("", classes, path)
    labels = open_labels(path, case, meaning_of(classes, values) if classes else UNKNOWN)
    if not classes:
        found = [int(value) for value in np.unique(labels(_absolute(case))) if value not in (0, IGNORE)]
        classes = [ClassSpec("background", [0]), *(ClassSpec(f"label {value}", [value]) for value in found)]
    return replace(case, reference=ClassIndices(labels, label_values("", classes, path), str(path))), classes


def _slice(case: Case, wanted: int | str, masks: dict[str, Array], judged: str) -> int:
    depth = case.shape[0]
    if wanted == "best":
        first = next(iter(masks.values()), None)
        return depth // 2 if first is None else best_slice(first)
    if wanted == "worst":
        if "reference" not in masks or judged not in masks:
            raise SegcganError(f"the worst slice of {case.name} is not known without reference and run; give an index")
        reference, mask = masks["reference"], masks[judged]
        wrong = (reference != mask) & (reference != IGNORE) & (mask != IGNORE)
        return int(np.count_nonzero(wrong, axis=(1, 2)).argmax())
    if not isinstance(wanted, int) or not -depth <= wanted < depth:
        raise SegcganError(f"slice {wanted!r} is not in {case.name}; give 0 to {depth - 1}, 'best' or 'worst'")
    return wanted % depth


def _window(case: Case, zoom: Zoom, masks: list[Array]) -> tuple[Any, Any]:
    _, height, width = case.shape
    if isinstance(zoom, bool):
        return focus(masks) if zoom and masks else (_span(0, height), _span(0, width))
    (top, bottom), (left, right) = zoom
    if not (0 <= top < bottom <= height and 0 <= left < right <= width):
        rule = f"give ((top, bottom), (left, right)) inside {height} rows and {width} columns"
        raise SegcganError(f"zoom {zoom} is not a window of {case.name}; {rule}")
    return _span(top, bottom), _span(left, right)


def _title(case: Case, z: int, outcome: Outcome | None) -> str:
    place = f", slice {z} of 0–{case.shape[0] - 1}" if case.shape[0] > 1 else ""
    split = f" ({case.split})" if case.split else ""
    return f"{case.name}{split}{place}" + (f"\n{outcome.reason}" if outcome is not None else "")


def _spread(outcome: Outcome | None, window: Window, classes: int) -> Spread | None:
    if outcome is None or "samples" not in outcome.layers:
        return None
    share = outcome.read("disagreement", window)[0, 0]
    nats = np.where(share == IGNORE, 0, share) / 254 * math.log(classes)
    return Spread(outcome.read("samples", window)[:, 0], nats)


def _absolute(case: Case) -> Window:
    """The window of the case in its file, of which it may be a part."""
    z, y, x = (_span(start, start + size) for start, size in zip(case.start, case.shape, strict=True))
    return z, y, x


def _span(start: int, stop: int) -> Any:
    return slice(start, stop)


def _one(index: int) -> Any:
    return _span(index, index + 1)
