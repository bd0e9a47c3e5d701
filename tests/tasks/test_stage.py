"""The stages of a plan."""

import pytest

from segcgan.errors import SegcganError
from segcgan.tasks.stage import Schedule


@pytest.mark.parametrize(("given", "expected"), [(None, 7), (3, 3)])
def test_folds_are_trained_as_long_as_the_segmenter_unless_told_otherwise(given, expected):
    plan = Schedule(folds=2, fold_epochs=given, segmenter_epochs=7, refiner_epochs=4).stages(refiner=True)
    assert plan == {"fold-0": expected, "fold-1": expected, "segmenter": 7, "refiner": 4}


def test_without_a_refiner_there_are_no_folds():
    assert Schedule(segmenter_epochs=7).stages(refiner=False) == {"segmenter": 7}
    assert Schedule(segmenter_epochs=7, refiner_epochs=0).stages(refiner=True) == {"segmenter": 7}


def test_a_joint_plan_has_one_stage_of_both_epochs():
    plan = Schedule(segmenter_epochs=7, refiner_epochs=4, joint=True, prior_epochs=2).stages(refiner=True, prior=True)
    assert plan == {"prior": 2, "joint": 11}


@pytest.mark.parametrize("folds", [1, -2])
def test_a_number_of_folds_that_cannot_be(folds):
    with pytest.raises(SegcganError, match=f"plan.folds is {folds}; give 0 .corruptions only. or at least 2"):
        Schedule(folds=folds).stages(refiner=True)


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [("segmenter_epochs", 0, 1), ("refiner_epochs", -1, 0), ("fold_epochs", 0, 1)],
)
def test_numbers_of_epochs_that_cannot_be(name, value, least):
    with pytest.raises(SegcganError) as error:
        Schedule(**{name: value}).stages(refiner=True)
    assert str(error.value) == f"plan.{name} is {value}; it must be at least {least}"
