"""Prediction for a folder: every case found gets a row in predictions.csv, whatever became of it."""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from segcgan.case import Case
from segcgan.chain import Chain
from segcgan.claim import claimed
from segcgan.data.profile import Profile
from segcgan.errors import NotWrittenError, SegcganError
from segcgan.formats import files_of, open_case
from segcgan.formats.folders import Rejected, Source, discover
from segcgan.formats.staging import sweep
from segcgan.inference.blank import blank
from segcgan.inference.engine import Progress, predict_case
from segcgan.inference.foreign import ForeignMasks
from segcgan.inference.outputs import write_outputs
from segcgan.inference.store import DiskStore, sweep_strips
from segcgan.inference.table import Prediction, Table
from segcgan.inference.windows import Windows

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
    training, ``images`` beside ``masks``, only the images are predicted. The output folder is claimed: a second
    process is refused. It may hold the masks of other inputs, whose rows are kept.

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
        SegcganError: nothing readable was found, the output folder is the source, images lie among the masks, another
            process is at work in the output folder, or a mask there of another image would be replaced.
    """
    if all((source / name).is_dir() for name in ("images", "masks")):
        source = source / "images"
        log.info("predicting the images in %s", source)
    sources, rejected = _find(source, output, coarse)
    output.mkdir(parents=True, exist_ok=True)
    rows = [Prediction("", str(item.path.absolute()), "skipped", reason=item.reason) for item in rejected]
    with claimed(output / ".predicting", "written to") as claim:
        sweep(output)
        table = Table(output)
        work = _Work(output, chain, settings, wish, coarse, progress)
        sources = table.settle(sources, source, work.tag, wish.overwrite)
        names: dict[str, set[str]] = {}
        for found in sources:
            names.setdefault(str(found.path.absolute()), set()).add(found.name)
        sweep_strips(output, names)
        if coarse is not None:
            coarse.refuse_shared(sources)
        for number, found in enumerate(sources, start=1):
            claim.check()
            row = work.predict(found, table.old(found))
            rows.append(row)
            table.write(rows, sources[number:])
            if report is not None:
                report(row, number, len(sources))
    return rows


def _find(source: Path, output: Path, coarse: ForeignMasks | None) -> tuple[list[Source], list[Rejected]]:
    """Find the images, having refused folders that must not be the same."""
    if output.exists() and not output.is_dir():
        raise SegcganError(f"{output} is a file, and masks go into a folder; give another output")
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
    return sources, rejected


@dataclass(frozen=True)
class _Work:
    """What stays the same from case to case; see :func:`predict_folder`."""

    output: Path
    chain: Chain
    settings: dict[str, Any]
    wish: Wish
    coarse: ForeignMasks | None
    progress: Progress | None

    def predict(self, found: Source, old: Prediction | None) -> Prediction:
        """Predict one case; whatever is odd about it is told in its row."""
        begin = time.perf_counter()
        row = Prediction(found.name, str(found.path.absolute()), "failed")
        strips = self.output / f".{found.name}.strips"
        try:
            row.tag = self.tag(found)
            if old is not None and not self.wish.overwrite and old.is_done(row.tag, self.output):
                shutil.rmtree(strips, ignore_errors=True)  # of a process that was killed before it removed them
                reason = old.reason.removesuffix(" (done before)") + " (done before)"
                return replace(old, path=row.path, reason=reason)
            store = DiskStore(strips, f"{row.tag} in strips of {self.wish.windows.strip}", found.path)
            self._write(found, store, row)
            store.close()
        except Exception as error:  # whatever is odd about one case, the others go on
            log.debug("%s", found.path, exc_info=True)
            row.reason = " ".join(str(error).split()) or type(error).__name__
            if isinstance(error, SegcganError) and not isinstance(error, NotWrittenError):
                shutil.rmtree(strips, ignore_errors=True)  # where the disk is at fault, the next call goes on
            return row
        row.status = "ok"
        row.seconds = round(time.perf_counter() - begin, 2)
        return row

    def _write(self, found: Source, store: DiskStore, row: Prediction) -> None:
        """Predict one case, write its masks and complete its row."""
        case = prepare(open_case(found, self.settings.get("orientation", "canonical")), self.settings)
        case.name = found.name
        case.notes += blank(case)
        case.notes += self._profile().differences(case)
        chain, wish = self.chain, self.wish
        if self.coarse is not None:
            mask = self.coarse.find(found)
            row.coarse = str(mask)
            self.coarse.attach(case, mask, chain.classes)
        outcome = predict_case(
            case,
            chain,
            store,
            windows=wish.windows,
            samples=wish.samples,
            seed=wish.seed,
            extra=("uncertainty",) if wish.uncertainty else (),
            progress=self.progress,
        )
        files = write_outputs(outcome, self.output, chain.classes, chain.refiner is not None, wish.uncertainty)
        row.files = ";".join(path.name for path in files)
        row.mask = "refined" if outcome.accepted else "coarse"
        row.reason = outcome.reason
        row.note = "; ".join(case.notes)
        seam = outcome.seam  # reads every strip
        row.seam = "" if seam != seam else f"{seam:.2g}"

    def _profile(self) -> Profile:
        """What training images were like; of runs of older versions the range of the normalisation is known."""
        stored = self.settings.get("profile")
        return Profile(**stored) if stored else Profile.of_range(self.chain.normalisation)

    def tag(self, found: Source) -> str:
        """Return what tells whether the masks of a case are those of this image, these weights and settings."""
        files, wish = files_of(found), self.wish
        more: list[Any] = [self.chain.gate is not None]
        if self.coarse is not None:
            files += self.coarse.files(found)
            more.append(self.coarse.labels)
        states = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        told = [self.chain.tag, wish.samples, wish.seed, wish.windows.overlap, wish.uncertainty, states, *more]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def prepare(case: Case, settings: dict[str, Any]) -> Case:
    """Choose the bands the chain was trained with, and give a file that knows no pixel size that of the training."""
    if settings.get("bands"):
        case = case.with_bands(settings["bands"])
    spacing = settings.get("spacing")
    if spacing and case.geometry.unit == "px":
        z, y, x = spacing
        case.geometry = replace(case.geometry, spacing=(z, y, x), unit=settings.get("unit", "mm"))
    return case
