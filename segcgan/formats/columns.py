"""Which class a polygon is: the column of a vector file that says so, and what its values mean."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segcgan.case import IGNORE, Array
from segcgan.classes import REST
from segcgan.errors import SegcganError, nearest

SETTING = "data.images.label_column"
# Names of columns, without signs between words and in small letters: those that say nothing but the class, and those
# that do so if their values are classes.
_CLASS = {f"{word}{end}" for word in ("label", "class", "category") for end in ("", "id", "name", "value", "code")}
_PERHAPS = {"code", "dn", "gridcode", "kind", "type", "value"}
_NO_COLUMN = "'' = all polygons are one class"
_SHOWN = 5  # values in an error


@dataclass(frozen=True)
class Meaning:
    """What a config says of polygons.

    Args:
        names: of the classes; empty = nobody knows them.
        values: label values of each class.
        column: that says the class; None = found by its name and values, "" = all polygons are the first class.
        layer: of a file that has several; None = the only one.
    """

    names: tuple[str, ...] = ()
    values: tuple[tuple[int, ...], ...] = ()
    column: str | None = None
    layer: str | None = None

    def value_of(self, index: int) -> int:
        """Return a label value that means a class."""
        listed = {value for members in self.values for value in members}
        given = [value for value in self.values[index] if value != REST] if self.values else [index]
        return given[0] if given else next(value for value in range(1, IGNORE * 300) if value not in {*listed, IGNORE})

    def knows(self, value: int) -> bool:
        """Tell whether a label value means a class, or "unknown"."""
        listed = {number for members in self.values for number in members}
        return not self.names or value == IGNORE or value in listed or REST in listed

    def named(self, text: str) -> int | None:
        """Return the label value of a class name or of a number as text, None for other texts."""
        names = [_plain(name) for name in self.names]
        if _plain(text) in names:
            return self.value_of(names.index(_plain(text)))
        if re.fullmatch(r"[+-]?\d+(\.0*)?", text.strip()):
            return int(float(text))
        rest = [index for index, members in enumerate(self.values) if REST in members]
        return self.value_of(rest[0]) if rest else None


UNKNOWN = Meaning()


def label_values(path: Path, table: dict[str, Array], count: int, meaning: Meaning) -> tuple[Array, str]:
    """Return the label value of each polygon, (N,) int32, and what is doubtful about it, mostly nothing.

    The column is ``label``, or the one that is called class, category, … or holds names of classes (small and capital
    letters alike). Without any, all polygons are the first class.

    Args:
        path: for the error text.
        table: columns by name, each (N,).
        count: N.
        meaning: of the values.

    Raises:
        SegcganError: no column or several may be meant, or it holds what is no class.
    """
    column = _chosen(path, table, meaning)
    if column is None:
        doubt = "" if meaning.column is not None else _check_none(path, table, meaning)
        return np.full(count, meaning.value_of(1), np.int32), doubt
    return _translated(path, column, table, meaning), ""


def _chosen(path: Path, table: dict[str, Array], meaning: Meaning) -> str | None:
    if meaning.column is not None:
        return _asked_for(path, table, meaning.column)
    if "label" in table:
        return "label"
    named = [column for column in table if _plain(column) in _CLASS]
    found = named + [column for column in table if column not in named and _speaks(column, table[column], meaning)]
    if len(found) > 1:
        return _agreed(path, found, table, meaning)
    if found and (meaning.names or _is_whole(table[found[0]])):
        return found[0]
    if found:
        _check_unnamed(path, found[0], table)
    return None


def _asked_for(path: Path, table: dict[str, Array], column: str) -> str | None:
    if not column:
        return None
    same = [name for name in table if name == column] or [n for n in table if n.casefold() == column.casefold()]
    if not same:
        hint = nearest(column, table) if table else "; it has no columns"
        raise SegcganError(f"{path} has no column {column!r}, which {SETTING} names{hint}")
    return same[0]


def _agreed(path: Path, columns: list[str], table: dict[str, Array], meaning: Meaning) -> str:
    """Return the first of several columns if those that can be translated say the same."""
    readings: dict[str, Array] = {}
    for column in columns:
        try:
            readings[column] = _translated(path, column, table, meaning)
        except SegcganError as error:
            last = error
    if not readings:
        raise last
    first, *others = readings
    if any((readings[other] != readings[first]).any() for other in others):
        listed = ", ".join(map(repr, readings))
        raise SegcganError(f"{path}: the columns {listed} may all say the class of a polygon; choose one by {SETTING}")
    return first


def _check_unnamed(path: Path, column: str, table: dict[str, Array]) -> None:
    """Let polygons of one unnamed class be that class, and refuse several: they have no numbers."""
    texts = sorted({str(value) for value in table[column]})
    if len(texts) > 1:
        raise SegcganError(f"{path}: column {column!r} names the classes {_listed(texts)}; give the list of classes")


def _check_none(path: Path, table: dict[str, Array], meaning: Meaning) -> str:
    """Refuse columns of which none says the class where there are several; return what is doubtful otherwise."""
    if len(meaning.names) > 2 and table:
        said = f"{path} has the columns {', '.join(map(repr, table))} and none says which class a polygon is"
        raise SegcganError(f"{said} ({', '.join(meaning.names)}); name one by {SETTING}, or call it 'label'")
    perhaps = [column for column in table if _plain(column) in _PERHAPS]
    if not meaning.names or not (perhaps or len(meaning.names) > 2):
        return ""
    why = f"column {perhaps[0]!r} names no class" if perhaps else "there is no column that says the class"
    return f"all polygons of {path} are taken for {meaning.names[1]}, since {why}"


def _translated(path: Path, column: str, table: dict[str, Array], meaning: Meaning) -> Array:
    array = table[column]
    if not meaning.names and not _is_whole(array):
        raise SegcganError(f"{path} has a column {column!r} of {array.dtype}; make it integers, none missing")
    if _missing(array).any():
        lacking = f"{int(_missing(array).sum())} of {len(array)} polygons have nothing in column {column!r}"
        raise SegcganError(f"{path}: {lacking}; fill it in, or name another column by {SETTING} ({_NO_COLUMN})")
    if array.dtype.kind in "OU":
        values = {str(text): meaning.named(str(text)) for text in set(array)}
    elif array.dtype.kind in "iubf":
        values = {str(v): int(v) if v == int(v) else None for v in np.unique(array)}
    else:
        raise SegcganError(f"{path} has a column {column!r} of {array.dtype}; make it integers or names of classes")
    odd = [text for text, value in values.items() if value is None or not meaning.knows(value)]
    if odd:
        classes = ", ".join(f"{name} ({_members(meaning, index)})" for index, name in enumerate(meaning.names))
        cure = f"add them to data.classes, or name another column by {SETTING} ({_NO_COLUMN})"
        raise SegcganError(
            f"{path}: column {column!r} holds {_listed(odd)}, which is no class of {classes}; {cure}; "
            f"the columns are {', '.join(map(repr, table))}"
        )
    return np.array([values[str(value)] for value in array], np.int64).astype(np.int32)


def _speaks(column: str, array: Array, meaning: Meaning) -> bool:
    """Tell whether a column names a class somewhere, or holds label values and may do so by its name."""
    perhaps = _plain(column) in _PERHAPS
    if not meaning.names:
        return False
    if array.dtype.kind in "OU":
        names = {_plain(name) for name in meaning.names}
        texts = {str(text) for text in set(array[~_missing(array)])}
        numbers = [int(float(text)) for text in texts if re.fullmatch(r"\d+(\.0*)?", text.strip())]
        return any(_plain(text) in names for text in texts) or (perhaps and any(map(meaning.knows, numbers)))
    whole = array.dtype.kind in "iu" or (array.dtype.kind == "f" and _is_whole(array[~_missing(array)]))
    return perhaps and whole and any(meaning.knows(int(value)) for value in np.unique(array[~_missing(array)]))


def _is_whole(array: Array) -> bool:
    return array.dtype.kind in "iub" or (array.dtype.kind == "f" and bool((array == np.floor(array)).all()))


def _missing(array: Array) -> Array:
    if array.dtype.kind == "f":
        return ~np.isfinite(array)
    return np.array([value is None or not str(value).strip() for value in array], bool)


def _members(meaning: Meaning, index: int) -> str:
    return "|".join("*" if value == REST else str(value) for value in meaning.values[index]) if meaning.values else ""


def _listed(texts: list[str]) -> str:
    return ", ".join(map(repr, texts[:_SHOWN])) + (", …" if len(texts) > _SHOWN else "")


def _plain(text: str) -> str:
    return re.sub(r"[\s_\-]+", "", text).casefold()
