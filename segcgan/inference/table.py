"""predictions.csv: a row per case, of this call and of earlier ones in the same output folder."""

import csv
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path

from segcgan.atomic import replacing
from segcgan.errors import SegcganError
from segcgan.formats.folders import Source, extension

TABLE = "predictions.csv"


@dataclass
class Prediction:
    """One row of predictions.csv.

    ``status`` is ok, failed or skipped (no image); ``mask`` says which mask was kept and ``reason`` why; ``seam`` how
    much windows of a refiner of unbounded reach disagree (:attr:`segcgan.inference.engine.Outcome.seam`); ``note`` what
    is doubtful about the case.
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
    note: str = ""

    def is_done(self, tag: str, output: Path) -> bool:
        """Tell whether the masks of this very image, by the same weights and settings, are all there."""
        names = re.split(f";(?={re.escape(self.case)}_)", self.files)  # a name may hold a semicolon
        return self.status == "ok" and self.tag == tag and all((output / name).is_file() for name in names)


class Table:
    """The rows of an output folder; those of other inputs are kept.

    Args:
        output: the folder.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self._others = read_table(output / TABLE)
        self._old: dict[str, Prediction] = {}

    def settle(
        self, sources: Sequence[Source], source: Path, tag: Callable[[Source], str], overwrite: bool
    ) -> list[Source]:
        """Give every image the name it was predicted under before, and let no mask be replaced by that of another.

        Args:
            sources: found now, below ``source``.
            source: the input of this call; earlier rows from there that hold no mask are forgotten.
            tag: tells whether an image that lies elsewhere now is the same.
            overwrite: masks of other images may be replaced.

        Raises:
            SegcganError: the masks of an image would replace those of another.
        """
        settled, known = self._known(sources)
        held = {row.case.casefold(): row for row in self._others if row.status == "ok"}
        used = {name.casefold() for name in self._old}
        for number, found in enumerate(settled):
            if number in known:
                continue
            if found.name.casefold() in used:
                found = settled[number] = _apart(found, used | held.keys())
            used.add(found.name.casefold())
            row = held.get(found.name.casefold())
            if row is None:
                continue
            if row.tag == tag(found):  # the same image, moved
                self._old[found.name] = row
            elif not overwrite:
                told = f"{self.output} already holds masks called {row.case!r}, of {row.path}"
                cure = "give another output, or --overwrite to replace them"
                raise SegcganError(f"{told}, which those of {found.path} would replace; {cure}")
            self._others.remove(row)
        whole = Path(os.path.realpath(source))
        self._others = [
            row
            for row in self._others
            if row.status == "ok" or not Path(os.path.realpath(row.path)).is_relative_to(whole)
        ]
        return settled

    def _known(self, sources: Sequence[Source]) -> tuple[list[Source], set[int]]:
        """Return the sources under their earlier names, and which have one; take their rows out of those of others."""
        rows: dict[str, list[Prediction]] = {}
        for row in self._others:
            if row.case:
                rows.setdefault(os.path.realpath(row.path), []).append(row)
        places = [os.path.realpath(found.path) for found in sources]
        counts = Counter(places)
        settled, known, taken = list(sources), set[int](), set[int]()
        for number, (found, place) in enumerate(zip(sources, places, strict=True)):
            here = rows.get(place, [])
            alone = len(here) == 1 and counts[place] == 1  # several series may share a folder
            old = next((row for row in here if alone or row.case == found.name), None)
            if old is None:
                continue
            taken.add(id(old))
            if old.status == "ok":  # one that failed holds no name
                settled[number] = replace(found, name=old.case)
                self._old[old.case] = old
                known.add(number)
        self._others = [row for row in self._others if id(row) not in taken]
        return settled, known

    def old(self, found: Source) -> Prediction | None:
        """Return the earlier row of an image."""
        return self._old.get(found.name)

    def write(self, rows: Sequence[Prediction], pending: Sequence[Source] = ()) -> None:
        """Write the rows of other inputs, those of this call, and the earlier ones of images still to come."""
        waiting = [self._old[found.name] for found in pending if found.name in self._old]
        write_table(self.output / TABLE, [*self._others, *rows, *waiting])


def _apart(found: Source, taken: Collection[str]) -> Source:
    """Return a source under a longer name that is not taken; it depends on its own path alone."""
    place = os.path.realpath(found.path)
    longer = (f"{found.name}_{extension(found)}", f"{found.name}_{zlib.crc32(place.encode()):08x}")
    return replace(found, name=next(name for name in longer if name.casefold() not in taken))


def read_table(path: Path) -> list[Prediction]:
    """Read predictions.csv, also of an older version with fewer columns; a missing or foreign file has no rows."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    names = {item.name for item in fields(Prediction)}
    needed = {item.name for item in fields(Prediction) if item.default is MISSING} | {"files", "tag"}
    own = [line for line in lines if needed <= set(line) <= names]
    return [Prediction(**line | {"seconds": float(line.get("seconds") or 0)}) for line in own]  # type: ignore[arg-type]


def write_table(path: Path, rows: Sequence[Prediction]) -> None:
    """Write predictions.csv atomically."""
    with replacing(path) as draft, draft.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream:
        writer = csv.DictWriter(stream, [item.name for item in fields(Prediction)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
