"""The data module: from a folder and a list of classes to loaders for the stage that is being trained."""

import inspect
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from segcgan.batch import Batch, collate
from segcgan.case import Case
from segcgan.classes import ClassSpec
from segcgan.data.augment import Augment
from segcgan.data.bank import Banked
from segcgan.data.corruptions import Corruption
from segcgan.data.manifest import open_rows, pair_by_stem, read_manifest
from segcgan.data.normalisation import Normalisation, check_channels, fit_normalisation
from segcgan.data.patches import EpochSampler, PatchDataset, Sampling
from segcgan.data.phantoms import write_phantoms
from segcgan.data.settings import Images, Intensity, Surfaces
from segcgan.data.splits import Fold, assign_splits, make_folds
from segcgan.errors import SegcganError, at_least, nearest
from segcgan.formats.columns import Meaning


class SegmentationData(pl.LightningDataModule):
    """Cases of a task, their splits and folds, and the loaders of a stage.

    Args:
        images: where they are.
        classes: index 0 is the background.
        sampling: how training windows are cut.
        intensity: normalisation.
        augment: arguments of :class:`segcgan.data.augment.Augment`.
        corruption: arguments of :class:`segcgan.data.corruptions.Corruption`.
        corrupted: share of the refiner's windows whose coarse mask is a corruption of the reference. None = half where
            there is another (folds, a column ``coarse``), all where there is none; less than 1 is refused then.
        boundary: width of the band of Boundary IoU in mm, m or px; fixed per data set.
        surfaces: how boundaries are scored.
    """

    def __init__(
        self,
        images: Images,
        classes: list[ClassSpec],
        sampling: Sampling | None = None,
        intensity: Intensity | None = None,
        augment: dict[str, Any] | None = None,
        corruption: dict[str, Any] | None = None,
        corrupted: float | None = None,
        boundary: float = 2.0,
        surfaces: Surfaces | None = None,
    ) -> None:
        super().__init__()
        if len(classes) < 2:
            raise SegcganError(
                f"data.classes lists {len(classes)} class(es); give the background and at least one more"
            )
        names = [spec.name for spec in classes]
        if len(set(names)) < len(names):
            raise SegcganError(f"data.classes lists the names {names}; give every class a name of its own")
        self.images, self.classes = images, classes
        self.sampling, self.intensity = sampling or Sampling(), intensity or Intensity()
        self.augment = _build(Augment, "augment", augment)
        if self.augment.rotate90 and self.sampling.patch[0] != self.sampling.patch[1]:
            cure = "make data.sampling.patch square, or turn it off"
            raise SegcganError(f"data.augment.rotate90 needs square patches, not {list(self.sampling.patch)}; {cure}")
        self.corruption = _build(Corruption, "corruption", corruption)
        if corrupted is not None and not 0 <= corrupted <= 1:
            raise SegcganError(f"data.corrupted is {corrupted}; it is a share and must lie between 0 and 1")
        at_least("data.", 0, boundary=boundary)
        self.corrupted, self.boundary = corrupted, boundary
        self.surfaces = surfaces or Surfaces()
        self.seed = int(os.environ.get("PL_GLOBAL_SEED", 0))
        self.cases: list[Case] = []
        self.normalisation: Normalisation | None = None
        self.stage = "segmenter"
        self.bank: Path | None = None
        self.evaluated = "val"
        self.fold_count = 0
        self.folds: list[Fold] = []

    def prepare_data(self) -> None:
        """Write phantoms if the config asks for them."""
        if self.images.phantoms:
            write_phantoms(self.root, self.images.phantoms, cases=12)

    def setup(self, stage: str | None = None) -> None:
        """Open the cases (no pixels are kept), split them, fit the normalisation unless one was given."""
        if self.cases:
            return
        if not self.root.is_dir():
            msg = f"data.images.root {str(self.root)!r} does not exist; give a folder of images or set SEGCGAN_DATA"
            raise SegcganError(msg)
        rows = read_manifest(self._manifest(), self.root) if self.images.manifest else pair_by_stem(self.root)
        spec = self.images
        polygons = Meaning(column=spec.label_column, layer=spec.label_layer)
        cases = open_rows(rows, self.classes, spec.spacing, spec.unit, spec.orientation, polygons)
        if spec.bands is not None:
            cases = [case.with_bands(spec.bands) for case in cases]
        assign_splits(cases, spec.val, spec.test, self.seed)
        for case in cases:
            if case.split != "test" and case.reference is None:
                raise SegcganError(f"case {case.name!r} is for training but has no mask; add one or take it out")
        counts = Counter(case.split for case in cases)
        if not counts["train"] or not counts["val"]:
            found = ", ".join(f"{name}: {counts[name]}" for name in ("train", "val", "test"))
            msg = f"training needs cases in the splits train and val; there are {found}; name them in a manifest"
            raise SegcganError(msg)
        check_channels(cases)
        train = [case for case in cases if case.split == "train"]
        if self.normalisation is None:
            clip, percentiles = self.intensity.clip, list(self.intensity.percentiles)
            self.normalisation = fit_normalisation(train, clip, percentiles, self.seed)
        if self.fold_count:
            window = max(self.sampling.extent(case)[0] for case in train)
            self.folds = make_folds(train, self.fold_count, (2 * self.sampling.context + 3, window))
        self.cases = cases

    def share(self, other: "SegmentationData") -> None:
        """Take over the open cases, folds and normalisation of another stage's data module."""
        self.cases, self.folds, self.normalisation = other.cases, other.folds, other.normalisation

    def split(self, name: str) -> list[Case]:
        """Return the cases of split "train", "val" or "test"."""
        return [case for case in self.cases if case.split == name]

    def train_dataloader(self) -> DataLoader[Batch]:
        """Windows for the stage: a fold, all training cases, or held-out cases with their banked coarse masks."""
        refining = self.stage == "refiner"
        cases: Sequence[Case] = self.split("train")
        if self.stage.startswith("fold-"):
            cases = self.folds[int(self.stage.removeprefix("fold-"))].train
        elif refining and self.folds:
            cases = [self.banked(case) for fold in self.folds for case in fold.held_out]
        if self.normalisation is None:
            raise RuntimeError("setup() must run before train_dataloader()")
        dataset = PatchDataset(
            cases,
            self.sampling,
            self.normalisation,
            augment=self.augment,
            corruption=self.corruption if refining else None,
            corrupted=0.5 if self.corrupted is None else self.corrupted,
            classes=len(self.classes),
            seed=self.seed,
        )
        rank, world = self._place()
        count = self.sampling.steps * self.sampling.batch_size * world
        workers = self.sampling.workers
        return DataLoader(
            dataset,
            batch_size=self.sampling.batch_size,
            sampler=EpochSampler(count, rank, world),
            num_workers=workers,
            collate_fn=collate,
            persistent_workers=workers > 0,
        )

    def val_dataloader(self) -> DataLoader[Case]:
        """Whole cases of the split ``evaluated``; dealt to the processes, without repeats if there are enough."""
        rank, world = self._place()
        cases = self.split(self.evaluated)
        if self.stage == "refiner":
            cases = [self.banked(case) for case in cases]
        mine = cases[rank::world] or cases[:1]  # an idle process would stop the others; the scores know repeats
        return DataLoader(mine, batch_size=None, shuffle=False)  # type: ignore[arg-type]

    test_dataloader = val_dataloader

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move windows; a case stays where it is, on disk."""
        return batch.to(device, non_blocking=True) if isinstance(batch, Batch) else batch

    def banked(self, case: Case) -> Case:
        """Return the case with its coarse mask from the bank, unless somebody else gave one.

        Raises:
            SegcganError: the bank lacks the case.
        """
        if case.coarse is not None or self.bank is None:
            return case
        path = self.bank / f"{case.name}.npy"
        if not path.exists():
            raise SegcganError(f"{path} is missing, the coarse mask a segmenter drew of this case; start a new run")
        return replace(case, coarse=Banked(path, case.start))

    @property
    def root(self) -> Path:
        """The folder of the images."""
        text = self.images.root.replace("$SEGCGAN_DATA", os.environ.get("SEGCGAN_DATA", "../shared/data"))
        return Path(os.path.expandvars(text)).expanduser()

    def _manifest(self) -> Path:
        name = str(self.images.manifest)
        package = Path(__file__).parents[1]
        places = [self.root, Path(), Path("configs/manifests"), package / "configs/manifests"]
        places.append(package.parent / "configs/manifests")
        for place in places:
            if (place / name).is_file():
                return place / name
        raise SegcganError(f"data.images.manifest {name!r} was not found in {', '.join(str(p) for p in places)}")

    def _place(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)


def _build(kind: type[Any], name: str, arguments: dict[str, Any] | None) -> Any:
    known = list(inspect.signature(kind).parameters)
    for key in arguments or {}:
        if key not in known:
            raise SegcganError(f"data.{name}.{key} is unknown{nearest(key, known)}")
    return kind(**(arguments or {}))
