"""The one exception users see, and the nearest-name hint that goes into its text."""

import difflib
import errno
from collections.abc import Iterable
from pathlib import Path


class SegcganError(Exception):
    """Something the user can mend. The text is one sentence: the value, the rule, the cure."""


class NotWrittenError(SegcganError):
    """A file that could not be written: a full disk, a folder without permission."""


def not_written(path: Path, error: BaseException) -> NotWrittenError:
    """Return the error of a file that cannot be written, with its path and the cure."""
    root = error
    while root.__cause__ is not None:  # GDAL's own words are below those of rasterio
        root = root.__cause__
    told = root.strerror if isinstance(root, OSError) and root.strerror else " ".join(str(root).split())
    if is_full(error):
        return NotWrittenError(f"{path} cannot be written: no space is left on its disk ({told}); free some space")
    return NotWrittenError(f"{path} cannot be written ({told.rstrip('.')}); check free space and permissions")


def system_error(error: OSError) -> str:
    """Return the sentence for an error of the operating system that nothing closer to it has explained."""
    told = f"{error.filename}: {error.strerror}" if error.filename else " ".join(str(error).split())
    if is_full(error):
        return f"{told}; free some space"
    if isinstance(error, NotADirectoryError | IsADirectoryError | FileExistsError | FileNotFoundError):
        return f"{told}; give another path"
    return f"{told}; check {'its permissions' if isinstance(error, PermissionError) else 'free space and permissions'}"


def is_full(error: BaseException | None) -> bool:
    """Tell whether a full disk is at the root of an error; libraries wrap it, or only keep its text."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if any(text in str(error) for text in ("No space left on device", "Free disk space available")):
            return True
        error = error.__cause__ or error.__context__
    return False


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
