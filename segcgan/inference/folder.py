"""Prediction for a folder: every case found gets a row in predictions.csv, whatever became of it."""

import csv
import hashlib
import json
import logging
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from segcgan.atomic import replacing
from segcgan.case import Case
from segcgan.chain import Chain
from segcgan.errors import SegcganError
from segcgan.formats import files_of, open_case
from segcgan.formats.folders import Source, discover
from segcgan.inference.engine import Progress, predict_case
from segcgan.inference.foreign import ForeignMasks
from segcgan.inference.outputs import write_outputs
from segcgan.inference.store import DiskStore
from segcgan.inference.windows import Windows

TABLE = "predictions.csv"
log = logging.getLogger("segcgan")


@dataclass(frozen=True)
class Wish:
    """How a folder is to be predicted.

    Args:
        windows: memory and overlap.
        samples: masks per case for stochastic refiners.
        seed: of the noise.
        overwrite: predict again what is already there.
        uncertainty: also write where the mask is unsure.
    """

    windows: Windows = field(default_factory=Windows)
    samples: int = 1
    seed: int = 0
    overwrite: bool = False
    uncertainty: bool = False


@dataclass
class Prediction:
    """One row of predictions.csv.

    ``status`` is ok, failed or skipped (no image); ``mask`` says which mask was kept and ``reason`` why; ``seam`` how
    much windows of a refiner of unbounded reach disagree (:attr:`segcgan.inference.engine.Outcome.seam`).
    """

    case: str
    path: str
    status: str
    coarse: str = ""  # file of the coarse mask, where it is not the segmenter's
    mask: str = ""
    reason: str = ""
    seconds: float = 0.0
    seam: str = ""  # empty where there is none
    files: str = ""
    tag: str = ""  # of image, weights and settings


def predict_folder(
    source: Path,
    output: Path,
    chain: Chain,
    settings: dict[str, Any],
    wish: Wish = Wish(),
    *,
    coarse: ForeignMasks | None = None,
    report: Callable[[Prediction, int, int], None] | None = None,
    progress: Progress | None = None,
) -> list[Prediction]:
    """Predict every case below a folder; one that fails does not stop the others.

    Cases already done by the same weights and settings are kept; a case interrupted in the middle goes on there. An
    output folder inside the source is passed over, so masks are never taken for images; of a source laid out as for
    training, ``images`` beside ``masks``, only the images are predicted.

    Args:
        source: folder or file.
        output: folder, made if missing.
        chain: see :func:`segcgan.runs.load`.
        settings: orientation, spacing and unit the chain was trained with.
        wish: memory, samples, seed, overwriting.
        coarse: masks to refine instead of the segmenter's.
        report: called with each row, its number and the number of cases.
        progress: called after each strip.

    Returns:
        All rows.

    Raises:
        SegcganError: nothing readable was found, the output folder is the source, or images lie among the masks.
    """
    if all((source / name).is_dir() for name in ("images", "masks")):
        source = source / "images"
        log.info("predicting the images in %s", source)
    if output.resolve() == source.resolve():
        raise SegcganError(f"output and input are the same folder {source}; give another output")
    if coarse is not None and output.resolve() == coarse.folder.resolve():
        raise SegcganError(f"output and masks are the same folder {output}; give another output")
    if coarse is not None and coarse.folder.resolve() in (source.resolve(), *source.resolve().parents):
        raise SegcganError(f"masks and images are both in {coarse.folder}; give the masks a folder of their own")
    sources, rejected = discover(source, without=[output] if coarse is None else [output, coarse.folder])
    if not sources:
        why = f" ({rejected[0].reason})" if rejected else ""
        raise SegcganError(f"{source} holds no image segcgan reads{why}; give DICOM, NIfTI, GeoTIFF, PNG or JPEG")
    if coarse is not None:
        coarse.refuse_shared(sources)
    output.mkdir(parents=True, exist_ok=True)
    before = {} if wish.overwrite else {row.case: row for row in read_table(output / TABLE)}
    rows = [Prediction("", str(item.path), "skipped", reason=item.reason) for item in rejected]
    for number, found in enumerate(sources, start=1):
        row = _predict(found, output, chain, settings, wish, before.get(found.name), coarse, progress)
        rows.append(row)
        pending = [before[other.name] for other in sources[number:] if other.name in before]
        write_table(output / TABLE, [*rows, *pending])
        if report is not None:
            report(row, number, len(sources))
    return rows


def _predict(
    found: Source,
    output: Path,
    chain: Chain,
    settings: dict[str, Any],
    wish: Wish,
    old: Prediction | None,
    coarse: ForeignMasks | None,
    progress: Progress | None,
) -> Prediction:
    begin = time.perf_counter()
    row = Prediction(found.name, str(found.path), "failed")
    try:
        row.tag = _tag(found, chain, wish, coarse)
        if old is not None and _still_good(old, row.tag, output):
            return replace(old, reason=old.reason.removesuffix(" (done before)") + " (done before)")
        case = prepare(open_case(found, settings.get("orientation", "canonical")), settings)
        case.name = found.name
        if coarse is not None:
            mask = coarse.find(found)
            row.coarse = str(mask)
            coarse.attach(case, mask, chain.classes)
        store = DiskStore(output / f".{found.name}.strips", f"{row.tag} in strips of {wish.windows.strip}")
        extra = ("uncertainty",) if wish.uncertainty else ()
        outcome = predict_case(
            case,
            chain,
            store,
            windows=wish.windows,
            samples=wish.samples,
            seed=wish.seed,
            extra=extra,
            progress=progress,
        )
        files = write_outputs(outcome, output, chain.classes, chain.refiner is not None, wish.uncertainty)
        seam = outcome.seam  # reads every strip
        row.seam = "" if seam != seam else f"{seam:.2g}"
        store.close()
    except Exception as error:  # whatever is odd about one case, the others go on
        log.debug("%s", found.path, exc_info=True)
        row.reason = " ".join(str(error).split()) or type(error).__name__
        return row
    row.status, row.mask = "ok", "refined" if outcome.accepted else "coarse"
    row.reason, row.seconds = outcome.reason, round(time.perf_counter() - begin, 2)
    row.files = ";".join(path.name for path in files)
    return row


def prepare(case: Case, settings: dict[str, Any]) -> Case:
    """Choose the bands the chain was trained with, and give a file that knows no pixel size that of the training."""
    if settings.get("bands"):
        case = case.with_bands(settings["bands"])
    spacing = settings.get("spacing")
    if spacing and case.geometry.unit == "px":
        z, y, x = spacing
        case.geometry = replace(case.geometry, spacing=(z, y, x), unit=settings.get("unit", "mm"))
    return case


def read_table(path: Path) -> list[Prediction]:
    """Read predictions.csv; a missing or foreign file has no rows."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    names = {item.name for item in fields(Prediction)}
    return [Prediction(**line | {"seconds": float(line["seconds"] or 0)}) for line in lines if set(line) == names]  # type: ignore[arg-type]


def write_table(path: Path, rows: list[Prediction]) -> None:
    """Write predictions.csv atomically."""
    with replacing(path) as draft, draft.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream:
        writer = csv.DictWriter(stream, [item.name for item in fields(Prediction)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def _tag(found: Source, chain: Chain, wish: Wish, coarse: ForeignMasks | None) -> str:
    files = files_of(found)
    more: list[Any] = [chain.gate is not None]
    if coarse is not None:
        files += coarse.files(found)
        more.append(coarse.labels)
    states = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    content = json.dumps([chain.tag, wish.samples, wish.seed, wish.windows.overlap, wish.uncertainty, states, *more])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _still_good(row: Prediction, tag: str, output: Path) -> bool:
    names = re.split(f";(?={re.escape(row.case)}_)", row.files)  # a name may hold a semicolon
    return row.status == "ok" and row.tag == tag and all((output / name).is_file() for name in names)
