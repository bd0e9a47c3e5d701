"""Tables of scores: dataclasses of text and numbers as CSV."""

import csv
from collections.abc import Iterable
from dataclasses import MISSING, Field, asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from segcgan.atomic import replacing
from segcgan.errors import SegcganError

Record = TypeVar("Record")


def write_records(path: Path, kind: type[Record], records: Iterable[Record]) -> None:
    """Write a line per record, atomically; an undefined number is an empty cell."""
    with replacing(path) as draft, draft.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [field.name for field in _fields(kind)])
        writer.writeheader()
        for record in records:
            cells = asdict(record)  # type: ignore[call-overload]
            writer.writerow({key: "" if value != value else value for key, value in cells.items()})


def read_records(path: Path, kind: type[Record]) -> list[Record]:
    """Read what ``write_records`` wrote; a column that older versions did not write has its default.

    Raises:
        SegcganError: the file is not such a table.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return [_parse(line, kind) for line in csv.DictReader(stream)]
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{path} is not a table of {kind.__name__.lower()}s ({error}); make it again with segcgan test"
        raise SegcganError(msg) from error


def _parse(line: dict[str, str | None], kind: type[Record]) -> Record:
    cells: dict[str, Any] = {}
    for field in _fields(kind):
        if field.name not in line and field.default is not MISSING:
            continue
        text = line[field.name]
        if text is None:
            raise ValueError("a line is cut short")
        cells[field.name] = float(text or "nan") if field.type is float else field.type(text)  # type: ignore[operator]
    return kind(**cells)


def _fields(kind: type) -> tuple[Field[Any], ...]:
    return fields(kind)
