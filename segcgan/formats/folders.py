"""What lies in a folder."""

import os
from collections.abc import Iterator
from pathlib import Path


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, also through links; a link to a folder that this one lies in is passed over."""
    outside = folder.resolve().parents
    for place, folders, names in os.walk(folder, followlinks=True):
        here = Path(place)
        around = {path.resolve() for path in (here, *here.parents)} | {*outside}
        folders[:] = [name for name in folders if (here / name).resolve() not in around]
        yield from (here / name for name in names)
