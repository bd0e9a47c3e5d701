"""Finished strips of a case: in memory, or on disk so that a killed prediction resumes where it was."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Protocol

import numpy as np

from segcgan.atomic import replacing, write_text
from segcgan.case import Array
from segcgan.errors import not_written

NOTE = "tag.json"


class Store(Protocol):
    """Keeps the layers of finished strips: ``coarse``, ``refined`` (d, h, w) and ``p_coarse``, ``p_refined``."""

    def has(self, index: int) -> bool:
        """Tell whether a strip is finished."""

    def put(self, index: int, layers: dict[str, Array]) -> None:
        """Keep a finished strip."""

    def get(self, index: int) -> dict[str, Array]:
        """Return the layers of a finished strip."""


class MemoryStore:
    """Strips in a dictionary."""

    def __init__(self) -> None:
        self._strips: dict[int, dict[str, Array]] = {}

    def has(self, index: int) -> bool:
        """Tell whether a strip is finished."""
        return index in self._strips

    def put(self, index: int, layers: dict[str, Array]) -> None:
        """Keep a finished strip."""
        self._strips[index] = layers

    def get(self, index: int) -> dict[str, Array]:
        """Return the layers of a finished strip."""
        return self._strips[index]


class DiskStore:
    """One file per strip, each renamed into place when complete.

    Strips left by another image, other weights or another plan (a different ``tag``) are thrown away.

    Args:
        folder: hidden working folder of the case.
        tag: identifies what is being computed.
        origin: of the image; when it is gone, :func:`sweep_strips` removes the folder.
    """

    def __init__(self, folder: Path, tag: str, origin: Path | None = None) -> None:
        self.folder = folder
        if folder.exists() and _note(folder).get("tag") != tag:
            shutil.rmtree(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise not_written(folder, error) from error
        write_text(folder / NOTE, json.dumps({"tag": tag, "origin": str(origin.absolute() if origin else "")}))
        self._last: tuple[int, dict[str, Array]] | None = None

    def has(self, index: int) -> bool:
        """Tell whether a strip is finished."""
        return zipfile.is_zipfile(self._path(index)) if self._path(index).exists() else False

    def put(self, index: int, layers: dict[str, Array]) -> None:
        """Keep a finished strip."""
        with replacing(self._path(index)) as draft, draft.open("wb") as stream:
            np.savez(stream, **layers)  # type: ignore[arg-type]
        self._last = None

    def get(self, index: int) -> dict[str, Array]:
        """Return the layers of a finished strip; the last one is remembered."""
        if self._last is None or self._last[0] != index:
            with np.load(self._path(index)) as strip:
                self._last = (index, dict(strip))
        return self._last[1]

    def close(self) -> None:
        """Remove the working folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, index: int) -> Path:
        return self.folder / f"strip_{index:06d}.npz"


def sweep_strips(output: Path, names: dict[str, set[str]]) -> None:
    """Remove strips that no prediction will go on with; those of unfinished ones stay.

    Args:
        output: folder of the outputs.
        names: of the cases found now, by the path of their image.
    """
    for folder in output.glob(".*.strips"):
        origin = _note(folder).get("origin")
        name = folder.name.removeprefix(".").removesuffix(".strips")
        gone = not (origin and Path(origin).exists())
        if folder.is_dir() and (gone or name not in names.get(origin or "", {name})):
            shutil.rmtree(folder, ignore_errors=True)


def _note(folder: Path) -> dict[str, str]:
    try:
        found = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
