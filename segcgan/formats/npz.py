"""Pictures stacked in a NumPy archive, addressed one by one: ``stack.npz#member/index``.

``middle_slices.npz#images/12`` is picture 12 of the array ``images`` (N, H, W) or (N, H, W, C). An archive is read as
a whole, once per process, because a compressed member has no shorter way to its 12th picture.
"""

import zipfile
import zlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from segcgan.case import Array, Case, LabelReader, Window
from segcgan.errors import SegcganError
from segcgan.formats import png
from segcgan.formats.folders import Source

# What zipfile and NumPy raise on bad archives; the last two on encryption and on compressions Python does not know.
DAMAGE = (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError)


@dataclass(frozen=True)
class Stacked:
    """One picture of a stack; holds only its address, so it survives pickling and forking."""

    path: Path

    def read(self, window: Window) -> tuple[Array, Array]:
        """Return the image (C, d, h, w) float32 and its validity (1, d, h, w) bool: finite."""
        image = _picture(self.path).transpose(2, 0, 1)[:, None][:, *window].astype(np.float32)
        return image, np.asarray(np.isfinite(image).all(0, keepdims=True))

    def __call__(self, window: Window) -> Array:
        """Return label values (d, h, w) int32.

        Raises:
            SegcganError: a value is no whole number of 32 bits.
        """
        values = _picture(self.path)[None, ..., 0][window]
        if values.dtype.kind == "f" and not np.array_equal(values, np.rint(values)):  # NaN equals nothing
            raise SegcganError(f"{self.path} holds fractions or NaN and labels are whole numbers; round or fill them")
        if values.size and not -(2**31) <= values.min() <= values.max() < 2**31:
            raise SegcganError(f"{self.path} holds labels beyond 32 bits; renumber them")
        return values.astype(np.int32)


def archive(path: Path) -> Path:
    """Return the archive of an address."""
    return Path(str(path).partition("#")[0])


def address(path: Path) -> Source:
    """Return a picture in a NumPy archive as a source, named ``stack_images_12`` for ``stack.npz#images/12``."""
    place = str(path).partition("#")[2]
    return Source("_".join([archive(path).stem, *place.split("/")]), path, "npz")


def contents(path: Path) -> list[tuple[str, tuple[int, ...], np.dtype[Any]]]:
    """Return name, shape and dtype of the arrays in an archive, from their headers alone; other files are passed over.

    Raises:
        SegcganError: it cannot be read.
    """
    found = []
    try:
        with zipfile.ZipFile(path) as packed:
            for entry in filter(_is_array, packed.namelist()):
                with packed.open(entry) as stream:
                    version = np.lib.format.read_magic(stream)
                    old = version == (1, 0)
                    read = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
                    shape, _, dtype = read(stream)
                found.append((entry.removesuffix(".npy"), shape, dtype))
    except DAMAGE as error:
        raise SegcganError(f"{path} cannot be read ({error}); it is damaged, so fetch it again") from error
    return found


def _is_array(entry: str) -> bool:
    return entry.endswith(".npy")


def open_case(source: Source, orientation: str = "canonical") -> Case:
    """Open a picture of a stack; it is written like a PNG.

    Raises:
        SegcganError: no such archive, member or index, or pictures that are none.
    """
    height, width, channels = _picture(source.path).shape
    case = png.blank_case(source, (height, width), channels)
    return replace(case, reader=Stacked(source.path))


def open_labels(path: Path, case: Case) -> LabelReader:
    """Open a picture of a stack as labels.

    Raises:
        SegcganError: of another size than the image, or with several channels.
    """
    labels = _picture(path)
    if labels.shape != (*case.shape[1:], 1):
        found, wanted = ("×".join(map(str, shape)) for shape in (labels.shape, case.shape[1:]))
        raise SegcganError(f"{path} is {found} and its image {wanted}; labels are one number per pixel of the image")
    return Stacked(path)


def _picture(path: Path) -> Array:
    """Return one picture (h, w, C)."""
    file, member, index = archive(path), *_parts(path)
    if not file.is_file():
        raise SegcganError(f"{file} does not exist; correct the path {path}")
    state = file.stat()
    members = _members(file, state.st_mtime_ns, state.st_size)
    if member not in members:
        raise SegcganError(f"{file} holds no array {member!r}; choose from {', '.join(sorted(members))}")
    stack = _stack(file, member, state.st_mtime_ns, state.st_size)
    if not index < len(stack):
        raise SegcganError(f"{path}: {member!r} holds {len(stack)} pictures, 0 to {len(stack) - 1}; correct the index")
    return np.atleast_3d(stack[index])


def _parts(path: Path) -> tuple[str, int]:
    member, _, index = str(path).partition("#")[2].rpartition("/")
    if not member or not index.isdecimal():
        raise SegcganError(f"{path}: an address in an archive reads FILE.npz#ARRAY/INDEX, e.g. stack.npz#images/12")
    return member, int(index)


@lru_cache(maxsize=8)
def _members(file: Path, mtime: int, size: int) -> tuple[str, ...]:
    try:
        with np.load(file, allow_pickle=False) as found:
            return tuple(name.removesuffix(".npy") for name in filter(_is_array, found.zip.namelist()))
    except DAMAGE as error:
        raise SegcganError(f"{file} cannot be read ({error}); it is damaged, so fetch it again") from error


@lru_cache(maxsize=4)
def _stack(file: Path, member: str, mtime: int, size: int) -> Array:
    try:
        with np.load(file, allow_pickle=False) as found:
            stack = found[member]
    except DAMAGE as error:
        cure = "save it without objects" if "Object arrays" in str(error) else "it is damaged, so fetch it again"
        raise SegcganError(f"{file}: {member!r} cannot be read ({error}); {cure}") from error
    if stack.ndim not in (3, 4) or stack.dtype.kind not in "buif":
        cure = "pictures are numbers (N, H, W) or (N, H, W, C)"
        raise SegcganError(f"{file}: {member!r} is {stack.dtype} {stack.shape}; {cure}")
    return stack
