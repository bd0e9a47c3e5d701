"""Files that appear under their final name only when they are complete."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """Yield an empty hidden folder inside ``folder``; its files move up into ``folder`` when the block succeeds.

    A whole folder rather than one temporary file, because GDAL may write a sidecar next to the file asked for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder) as name:
        yield Path(name)
        for file in sorted(Path(name).iterdir(), reverse=True):  # sidecars (x.tif.aux.xml) before x.tif
            file.replace(folder / file.name)
