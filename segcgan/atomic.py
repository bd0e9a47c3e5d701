"""Files that appear under their final name only when they are complete."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segcgan.errors import NotWrittenError, is_full, not_written


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file name beside ``path``; what was written there takes its place when the block succeeds.

    Raises:
        NotWrittenError: the disk is full, or the folder may not be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield draft
        draft.replace(path)
    except Exception as error:
        own = isinstance(error, OSError) and error.filename in (None, str(draft))  # not of a file that was read
        if own or (is_full(error) and not isinstance(error, NotWrittenError)):
            raise not_written(path, error) from error
        raise
    finally:
        draft.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, atomically."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")
