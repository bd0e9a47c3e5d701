"""Files that appear under their final name only when they are complete."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segcgan.errors import NotWrittenError, is_full, not_written

_PREFIX = ".writing-"
_DRAFT = re.compile(r"\..+\.\d+\.part")  # of segcgan.atomic


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """Yield an empty hidden folder inside ``folder``; its files move up into ``folder`` when the block succeeds.

    A whole folder rather than one temporary file, because GDAL may write a sidecar next to the file asked for.

    Raises:
        NotWrittenError: the disk is full, or the folder may not be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=folder) as name:
            fresh = Path(name)
            try:
                yield fresh
                for file in sorted(fresh.iterdir(), reverse=True):  # sidecars (x.tif.aux.xml) before x.tif
                    file.replace(folder / file.name)
            except Exception as error:
                if _is_about(error, fresh):
                    raise not_written(_place(error, fresh), error) from error
                raise
    except OSError as error:
        if error.filename is not None and Path(error.filename).parent in (folder, folder.parent):
            raise not_written(folder, error) from error
        raise


def _place(error: Exception, fresh: Path) -> Path:
    """Return where the file was to go: the one that the error names, else the last one begun."""
    named = getattr(error, "filename", None)
    begun = max(fresh.iterdir(), key=lambda file: file.stat().st_mtime_ns, default=fresh)
    last = Path(str(named)) if named is not None and Path(str(named)).parent == fresh else begun
    return fresh.parent if last == fresh else fresh.parent / last.name


def _is_about(error: Exception, fresh: Path) -> bool:
    """Tell whether an error is about the files written here, not about an image that was read for them."""
    if isinstance(error, NotWrittenError):
        return False
    if not isinstance(error, OSError) or error.errno is None:  # GDAL's own errors, whose writer knows the file
        return False
    return error.filename is None or fresh in Path(str(error.filename)).parents or is_full(error)


def sweep(folder: Path) -> None:
    """Remove what killed processes left half-written in a folder; nobody else may be writing there."""
    for path in folder.glob(".*"):
        if path.name.startswith(_PREFIX) and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif _DRAFT.fullmatch(path.name):
            path.unlink(missing_ok=True)
