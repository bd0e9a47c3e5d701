"""What would stop a training after hours is told at once: parts that do not fit, masks that cannot be scored."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from segcgan.batch import Batch
from segcgan.data.module import SegmentationData
from segcgan.errors import SegcganError
from segcgan.noise import Noise
from segcgan.segmenters import all_learn, segmenter_loss, unused_modules
from segcgan.tasks.segmentation import SegmentationTask
from segcgan.tasks.stage import Schedule


def rehearse(task: SegmentationTask, data: SegmentationData) -> tuple[list[str], bool]:
    """Run segmenter, refiner and critic once on one or two empty windows of the size and channels of the data.

    Masks of training cases are all read in the first epoch, those of validation cases here.

    Returns:
        Parts of the segmenter that nothing needs, and whether all its other parameters get a gradient.

    Raises:
        SegcganError: a part does not take such windows, or returns another number of classes; a mask holds values of
            no class.
    """
    classes, patch = len(data.classes), data.sampling.patch
    channels = data.cases[0].channels * (2 * data.sampling.context + 1)
    count = min(2, data.sampling.batch_size)
    batch = Batch(
        image=torch.zeros(count, channels, *patch),
        valid=torch.ones(count, 1, *patch, dtype=torch.bool),
        spacing=torch.ones(count, 2),
        origin=torch.zeros(count, 2, dtype=torch.int64),
        key=torch.arange(count),
        target=torch.zeros(count, *patch, dtype=torch.int64),
    )
    noise = Noise(0, 0, batch)
    size = f"{' x '.join(map(str, patch))} windows of {channels} channel(s) and {classes} classes"

    def attempt(part: str, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
            why = " ".join(str(error).split())[:160] or type(error).__name__
            raise SegcganError(f"model.{part} does not fit {size} ({why}); make its arguments match") from error

    with torch.no_grad():
        _, logits = attempt("segmenter", lambda: segmenter_loss(task.segmenter, batch, noise))
        _same("segmenter", logits, classes)
        batch = replace(batch, coarse=torch.full((count, classes, *patch), 1 / classes))
        refiner = task.refiner
        if refiner is not None:
            _, logits = attempt("refiner", lambda: refiner.training_loss(batch, noise))
            _same("refiner", logits, classes)
        adversary = task.adversary
        if adversary is not None:
            attempt("adversary.critic", lambda: adversary.rehearse(logits, batch))
    unused = attempt("segmenter", lambda: unused_modules(task.segmenter, batch))
    complete = attempt("segmenter", lambda: all_learn(task.segmenter, batch, unused))
    for case in data.split("val"):
        for strip in case.strips():
            case.read_reference(strip)
    return list(unused), bool(complete)


def check_coarse(schedule: Schedule, data: SegmentationData) -> None:
    """Refuse a share of corruptions that nothing else could fill up, before a run is made.

    Args:
        schedule: of a model with a refiner.
        data: set up.

    Raises:
        SegcganError: ``data.corrupted`` is below 1 and there is no other coarse mask, or the refiner sees none of both.
    """
    share = data.corrupted
    if share is None or schedule.refiner_epochs == 0:
        return
    if schedule.joint:
        why = "but with plan.joint the segmenter draws all coarse masks"
        raise SegcganError(f"data.corrupted is {share}, {why}; leave data.corrupted out")
    if share < 1 and not schedule.folds and all(case.coarse is None for case in data.split("train")):
        cure = "set plan.folds: 2 or more, name masks in a column coarse of the manifest, or leave data.corrupted out"
        raise SegcganError(f"data.corrupted is {share}, but training cases have no other coarse masks; {cure}")


def _same(part: str, logits: torch.Tensor, classes: int) -> None:
    if logits.shape[1] != classes:
        listed = f"data.classes lists {classes}"
        raise SegcganError(f"model.{part} returns {logits.shape[1]} classes but {listed}; make them equal")
