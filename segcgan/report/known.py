"""The cases a run was trained and scored on, opened again with their references."""

import json
from pathlib import Path

import yaml

from segcgan.case import Case
from segcgan.classes import ClassSpec
from segcgan.data.module import SegmentationData
from segcgan.data.normalisation import Normalisation
from segcgan.data.settings import Images
from segcgan.data.splits import read_splits
from segcgan.errors import SegcganError
from segcgan.runs import Run


def cases(run: Path | str, split: str | None = None, root: Path | str | None = None) -> list[Case]:
    """Open the cases of a run lazily, in the splits it was trained with.

    Args:
        run: run folder, or the folder of a config (its latest run).
        split: "train", "val" or "test"; None = all, and ``case.split`` tells.
        root: folder of the images, if they moved since the training.

    Raises:
        SegcganError: no run, no such split, or its images are no longer where they were.
    """
    found = Run.find(Path(run))
    names = _splits(found.folder / "splits.csv")
    if split is not None and split not in names.values():
        there = ", ".join(sorted(set(names.values())))
        raise SegcganError(f"{found.folder} has no split {split!r}; choose from {there}")
    config = yaml.safe_load((found.folder / "config.yaml").read_text(encoding="utf-8"))
    images = Images(**config["data"]["images"])
    if root is not None:
        images.root = str(root)
    elif not SegmentationData(images, _classes(config)).root.is_dir():
        cure = "start in the folder the training was started in, or give root=FOLDER"
        raise SegcganError(f"the images of {found.folder.name} are not at {images.root!r} any more; {cure}")
    data = SegmentationData(images, _classes(config))
    data.seed = int(config.get("seed_everything") or 0)
    data.normalisation = Normalisation(_channels(found.folder))  # only so that none is fitted
    data.setup()
    opened = {case.name: case for case in data.cases}
    wanted = [name for name, where in names.items() if split in (None, where)]
    for name in wanted:
        if name not in opened:
            raise SegcganError(f"case {name!r} of {found.folder.name} has left {images.root!r}; bring it back")
        opened[name].split = names[name]
    return [opened[name] for name in wanted]


def _classes(config: dict[str, dict[str, list[dict[str, object]]]]) -> list[ClassSpec]:
    return [ClassSpec(**spec) for spec in config["data"]["classes"]]  # type: ignore[arg-type]


def _channels(folder: Path) -> int:
    path = folder / "chain.json"
    return int(json.loads(path.read_text(encoding="utf-8"))["channels"]) if path.is_file() else 1


def _splits(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise SegcganError(f"{path} is missing, so the cases of this run are not known; give images instead")
    return read_splits(path)
