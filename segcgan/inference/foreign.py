"""Coarse masks that somebody else made, found by the names of their images."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from segcgan.case import Case
from segcgan.classes import ClassSpec
from segcgan.data.manifest import masks_by_stem, open_coarse
from segcgan.errors import SegcganError
from segcgan.formats.folders import Source, stem_of

_CHANNEL = "_0000"  # the first, of nnU-Net: image CASE_0000.nii.gz, mask CASE.nii.gz
_ENDINGS = ("", "_probability", "_mask")  # the last two as segcgan writes them
_SOFT = (".tif", ".tiff", ".nii", ".gz")


@dataclass(frozen=True)
class ForeignMasks:
    """A folder of masks by anybody: label images, probabilities, DICOM SEG, polygons.

    Args:
        folder: of the masks; ``X.*`` belongs to image ``X``, as do ``X_probability.*`` and ``X_mask.*``.
        labels: label values by class ("liver=5|6;tumour=2") where they are not those of the references.
    """

    folder: Path
    labels: str = ""
    _shared: set[Path] = field(default_factory=set, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise SegcganError(f"{self.folder} is no folder; give the folder of the masks to refine")

    @cached_property
    def _masks(self) -> dict[str, list[Path]]:
        return masks_by_stem(self.folder)  # once: there may be thousands, and each image asks

    def refuse_shared(self, sources: Sequence[Source]) -> None:
        """Remember masks that several of these images would take, so that ``find`` gives them to none."""
        found: Counter[Path] = Counter()
        for source in sources:
            with suppress(SegcganError):
                found[self.find(source)] += 1
        self._shared.update(path for path, count in found.items() if count > 1)

    def find(self, source: Source) -> Path:
        """Return the mask of an image.

        Raises:
            SegcganError: there is none, or more than one, or it is that of another image as well.
        """
        names = dict.fromkeys([source.name, stem_of(source.path), source.name.removesuffix(_CHANNEL)])
        for wanted in (name + ending for ending in _ENDINGS for name in names):
            found = self._masks.get(wanted, [])
            if wanted.endswith("_probability"):
                found = [path for path in found if path.suffix.lower() in _SOFT]
            if len(found) > 1:  # segcgan writes masks of DICOM series twice
                found = [path for path in found if path.suffix.lower() != ".dcm"]
            if len(found) > 1:
                listed = ", ".join(path.name for path in found)
                raise SegcganError(f"{source.name} has several masks in {self.folder} ({listed}); keep one")
            if found and found[0] in self._shared:
                msg = f"{found[0]} would be the mask of several images, {source.path} among them"
                raise SegcganError(f"{msg}; give each image a name and a mask of its own")
            if found:
                return found[0]
        raise SegcganError(f"no mask named {' or '.join(names)}.* in {self.folder}; add it, or leave the image out")

    def files(self, source: Source) -> list[Path]:
        """Return the files that the mask of an image consists of; none if it has no mask."""
        try:
            path = self.find(source)
        except SegcganError:
            return []
        return sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]

    def attach(self, case: Case, path: Path, classes: list[ClassSpec]) -> None:
        """Give a case the mask as its coarse one."""
        case.coarse = open_coarse(path, case, classes, self.labels)
