"""Taking folds, segmenter and bank over from another run: one segmenter, several refiners behind it."""

import shutil
from pathlib import Path
from typing import Any

import yaml

from segcgan.atomic import replacing
from segcgan.errors import SegcganError
from segcgan.runs import Run

_REFINER_ONLY = ("corrupted", "corruption")  # settings of the data that no segmenter meets
_SHOWN_ONLY = ("colour", "snomed")  # of classes: nothing is learnt from them


def adopt(run: Run, source: Path, stages: list[str]) -> None:
    """Copy the finished stages of another run, so that only what comes after the segmenter is trained.

    Args:
        run: new or interrupted, with its config.yaml.
        source: a run trained on the same data with the same segmenter.
        stages: of the plan; those from "refiner" on are not taken.

    Raises:
        SegcganError: no such run, an unfinished one, or one with other data, segmenter or folds.
    """
    if "joint" in stages:
        raise SegcganError("plan.segmenter_from does not go with plan.joint, which trains a segmenter; leave one out")
    other = Run.find(source)
    wanted = [stage for stage in stages if stage not in ("refiner", "joint")]
    if all(run.finished(stage) for stage in wanted):
        return
    missing = [stage for stage in wanted if not other.finished(stage)]
    if missing:
        raise SegcganError(f"plan.segmenter_from: {source} has not finished {', '.join(missing)}; train it to its end")
    mine, theirs = (yaml.safe_load((each.folder / "config.yaml").read_text()) for each in (run, other))
    for config in (mine, theirs):
        for name in _REFINER_ONLY:
            config["data"].pop(name, None)
        for spec in config["data"]["classes"]:
            for name in _SHOWN_ONLY:
                spec.pop(name, None)
        adversary = config["model"].get("adversary") or {}
        if (adversary.get("init_args") or {}).get("trains") != "segmenter":
            config["model"].pop("adversary", None)
    folds = ["plan.folds"] if any(stage.startswith("fold-") for stage in wanted) else []  # else theirs are not met
    for name in ("seed_everything", "data", "model.segmenter", "model.regularisers", "model.adversary", *folds):
        if not _same(_at(mine, name), _at(theirs, name)):
            cure = "use the same, or train a segmenter here (plan.segmenter_from: null)"
            raise SegcganError(f"plan.segmenter_from: {source} was trained with another {name}; {cure}")
    for name in ("weights", "bank"):
        for path in (other.folder / name).glob("*"):
            if path.stem != "refiner":
                _copy(path, run.folder / name / path.name)
    _copy(other.folder / "splits.csv", run.folder / "splits.csv")
    run.note(bank=other.facts.get("bank", {}), segmenter_from=str(source))
    for stage in wanted:  # last: a stage with this file counts as finished
        _copy(other.folder / "stages" / f"{stage}.json", run.folder / "stages" / f"{stage}.json")


def _copy(path: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    with replacing(target) as draft:
        shutil.copyfile(path, draft)


def _same(mine: Any, theirs: Any) -> bool:
    """Compare settings; one that an older version did not know is as if left out."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return all(_same(mine.get(key), theirs.get(key)) for key in {*mine, *theirs})
    return bool((mine or None) == (theirs or None))


def _at(config: dict[str, Any], name: str) -> Any:
    value: Any = config
    for key in name.split("."):
        value = (value or {}).get(key)
    return value
