"""Pictures while training: how many, what is in them, where they go, and that nothing they do changes a training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from segcgan.cli import main
from segcgan.errors import SegcganError
from segcgan.runs import Run
from segcgan.tasks import previews
from segcgan.tasks.previews import Previews
from segcgan.tasks.stage import Schedule


class Recorder:
    """What previews look for in a logger that takes pictures, as wandb's does."""

    def __init__(self) -> None:
        self.given: list[tuple[str, list[np.ndarray], int]] = []

    def log_image(self, key: str, images: list[np.ndarray], step: int) -> None:
        self.given.append((key, images, step))


def fit(tiny: Path, *words: str, runs: str = "runs") -> Run:
    base = tiny.parent / runs
    assert main(["fit", "--config", str(tiny), "--plan.folds=0", f"--plan.runs={base}", *words]) == 0
    return Run.find(base / "tiny")


def drawn(run: Run) -> list[str]:
    return sorted(path.name for path in run.folder.glob("previews/*_epoch_*"))


def tags(run: Run, stage: str) -> dict[str, list[int]]:
    """Steps of the pictures in TensorBoard, by tag."""
    events = EventAccumulator(str(run.folder / "logs" / stage), size_guidance={"images": 0})
    events.Reload()
    return {tag: [event.step for event in events.Images(tag)] for tag in events.Tags()["images"]}


def test_every_few_epochs_and_at_the_end_of_each_stage(tiny: Path) -> None:
    run = fit(tiny, "--plan.preview_every=2", "--plan.segmenter_epochs=5", "--plan.refiner_epochs=2")
    segmenter = [f"segmenter_epoch_{epoch:03d}.png" for epoch in (2, 4, 5)]
    assert drawn(run) == ["refiner_epoch_002.png", *segmenter]
    assert tags(run, "segmenter") == {"preview/segmenter": [6, 12, 15]}  # 3 steps an epoch
    assert tags(run, "refiner") == {"preview/refiner": [6]}
    first, last = (np.asarray(Image.open(run.folder / "previews" / name)).astype(int) for name in segmenter[::2])
    assert first.shape == last.shape
    assert 0 < (np.abs(first - last).max(axis=-1) > 60).mean() < 0.5  # the mask has changed, the image has not
    refined = Image.open(run.folder / "previews" / "refiner_epoch_002.png")
    assert refined.width / refined.height > 1.15 * first.shape[1] / first.shape[0]  # a panel more: the refined mask
    assert (run.folder / "report.html").read_text().count("data:image/png") >= 3


def test_never_if_not_wanted_and_training_is_the_same_either_way(tiny: Path) -> None:
    words = ["--plan.segmenter_epochs=2", "--plan.refiner_epochs=1"]
    without = fit(tiny, *words, "--plan.preview_every=0", runs="without")
    drawing = fit(tiny, *words, "--plan.preview_every=1", runs="drawing")
    assert drawn(without) == []
    assert len(drawn(drawing)) == 3
    one, other = (load_file(run.folder / "chain.safetensors") for run in (without, drawing))
    assert all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(SegcganError, match=r"plan\.preview_every is -1; give a number of epochs, or 0 for none"):
        replace(Schedule(), preview_every=-1).stages(refiner=True)


def test_a_broken_picture_is_one_line_and_training_goes_on(
    tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError("no space\nleft on device")

    monkeypatch.setattr(previews, "write_sheet", broken)
    run = fit(tiny, "--plan.preview_every=1", "--plan.segmenter_epochs=3", "--plan.refiner_epochs=0")
    lines = [line for line in capsys.readouterr().err.splitlines() if "preview" in line]
    assert lines == ["preview of epoch 1 failed (no space left on device); training goes on without"]
    assert drawn(run) == []
    assert run.finished("chain")


class Trainer:
    """What the callback asks of a trainer."""

    def __init__(self, rank: int, loggers: list[object]) -> None:
        self.global_rank, self.loggers = rank, loggers
        self.current_epoch, self.max_epochs, self.global_step = 0, 4, 7


@pytest.mark.parametrize(("rank", "times"), [(0, 1), (1, 0)])
def test_only_the_first_process_draws_and_modes_are_as_before(
    rank: int, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Identity().eval())
    calls = []

    def draw(self: Previews, trainer: object, task: torch.nn.Module, epoch: int) -> None:
        calls.append(epoch)
        task.eval()
        torch.rand(3)

    monkeypatch.setattr(Previews, "_draw", draw)
    state = torch.random.get_rng_state()
    Previews(tmp_path, 1).on_train_epoch_end(Trainer(rank, []), module)  # type: ignore[arg-type]
    assert calls == [1] * times
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [part.training for part in module] == [True, False]


def test_loggers_that_take_pictures_get_them() -> None:
    recorder, sheet = Recorder(), np.zeros((4, 4, 3), np.uint8)
    previews._hand_over(recorder, "preview/refiner", sheet, 7)
    ((key, images, step),) = recorder.given
    assert (key, step) == ("preview/refiner", 7)
    assert images[0] is sheet
    previews._hand_over(object(), "preview/refiner", sheet, 7)  # a CSV logger has no place for one
