"""What share of coarse masks is a corruption, and where there is nothing else to show, it is all of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segcgan.case import Array, Case
from segcgan.cli import main
from segcgan.data.bank import Banked
from segcgan.data.corruptions import Corruption
from segcgan.data.module import SegmentationData
from segcgan.errors import SegcganError
from segcgan.tasks.rehearsal import check_coarse
from segcgan.tasks.stage import StageCLI


class Counting(Corruption):
    """Counts the masks it was asked for."""

    calls = 0

    def __call__(self, rng: np.random.Generator, target: Array, classes: int) -> Array:
        self.calls += 1
        return super().__call__(rng, target, classes)


NONE = (
    "data.corrupted is 0.2, but training cases have no other coarse masks; set plan.folds: 2 or more, name masks in a "
    "column coarse of the manifest, or leave data.corrupted out"
)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--plan.folds=0", "--data.corrupted=0.2"], NONE),
        (
            ["--plan.joint=true", "--data.corrupted=1"],
            "data.corrupted is 1.0, but with plan.joint the segmenter draws all coarse masks; leave data.corrupted out",
        ),
    ],
)
def test_a_share_that_would_be_ignored_is_refused(
    tiny: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["fit", "--config", str(tiny), *words]) == 1
    assert capsys.readouterr().err.strip().splitlines()[-1] == f"error: {said}"
    assert not (tiny.parent / "runs").exists()


def checked(tiny: Path, *words: str, coarse: bool = False) -> SegmentationData:
    cli = StageCLI([f"--config={tiny}", *words], "refiner")
    data: SegmentationData = cli.datamodule
    data.setup()
    if coarse:
        data.cases = [with_coarse(case, tiny.parent) for case in data.cases]
    check_coarse(cli.schedule, data)
    return data


def with_coarse(case: Case, folder: Path) -> Case:
    path = folder / f"{case.name}.npy"
    np.save(path, np.full((2, *case.shape), 127, np.uint8))
    return replace(case, coarse=Banked(path, case.start)) if case.split == "train" else case


def test_what_can_be_filled_up_is_not_refused(tiny: Path) -> None:
    checked(tiny, "--data.corrupted=0.2")  # two folds
    checked(tiny, "--plan.folds=0", "--data.corrupted=1")
    checked(tiny, "--plan.folds=0", "--data.corrupted=0.2", "--plan.refiner_epochs=0")
    checked(tiny, "--plan.folds=0", "--data.corrupted=0.2", coarse=True)
    with pytest.raises(SegcganError, match=r"data\.corrupted is 0\.2, but training cases have no other coarse masks"):
        checked(tiny, "--plan.folds=0", "--data.corrupted=0.2")


def test_by_default_half_of_what_there_is_and_all_where_there_is_nothing(tiny: Path) -> None:
    data = checked(tiny, "--plan.folds=0", coarse=True)
    assert data.corrupted is None
    given = [0, 0]
    for corrupted, index in ((None, 0), (0.0, 1)):
        data.corrupted = corrupted
        dataset = data.train_dataloader().dataset
        dataset.corruption = Counting()
        for step in range(60):
            dataset[0, step]
        given[index] = dataset.corruption.calls
    assert 15 < given[0] < 45
    assert given[1] == 0
    alone = checked(tiny, "--plan.folds=0").train_dataloader().dataset
    alone.corruption = Counting()
    for step in range(10):
        alone[0, step]
    assert alone.corruption.calls == 10
