"""The one exception users see, and the nearest-name hint that goes into its text."""

import difflib
from collections.abc import Iterable


class SegcganError(Exception):
    """Something the user can mend. The text is one sentence: the value, the rule, the cure."""


def nearest(value: str, options: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the option closest to ``value``, or the options if none is close."""
    names = sorted(options)
    close = difflib.get_close_matches(value, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"; choose from {shown}"


def at_least(what: str, least: float, **values: float) -> None:
    """Raise SegcganError for the first value below ``least``; ``what`` stands before its name, e.g. "refiner "."""
    for name, value in values.items():
        if not value >= least:  # written so that NaN is refused too
            raise SegcganError(f"{what}{name} is {value}; it must be at least {least}")
