"""From a case to a figure: which panels, which slice, which window; and the cases of a run, opened again."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import segcgan
from segcgan.case import IGNORE
from segcgan.errors import SegcganError
from segcgan.runs import Run, save_chain
from tests.inference.conftest import Choose, make_case, make_chain
from tests.tasks.conftest import write_discs

PARTS = {
    "segmenter": {
        "class_path": "torch.nn.Conv2d",
        "init_args": {"in_channels": 1, "out_channels": 2, "kernel_size": 1},
    },
    "refiner": {
        "class_path": "segcgan.refiners.ResidualRefiner",
        "init_args": {"channels": 1, "classes": 2, "width": 4, "levels": 2},
    },
}


def panels(figure):
    return [axis.get_title(loc="left") for axis in figure.axes]


def bold(figure):
    return [axis.get_title(loc="left") for axis in figure.axes if axis._left_title.get_weight() == "bold"]


def head(figure):
    return figure.texts[0].get_text()


def extent(figure):
    """Height and width of what the panels show, in units of the spacing."""
    left, right = figure.axes[0].get_xlim()
    bottom, top = figure.axes[0].get_ylim()
    return abs(bottom - top), right - left


def referenced(shape=(1, 70, 80), at=(slice(0, 1), slice(20, 40), slice(20, 50)), **options):
    """A case whose reference is a box."""
    case, mask = make_case(shape, **options), np.zeros(shape, np.uint8)
    mask[at] = 1
    return replace(case, reference=lambda window: mask[window], split="val")


def test_without_a_run_the_image_and_its_reference():
    figure = segcgan.show(referenced())
    assert panels(figure) == ["image", "reference"]
    assert head(figure) == "case (val)"
    assert panels(segcgan.show(make_case())) == ["image"]


@pytest.mark.parametrize(("accept", "kept"), [(True, "refined"), (False, "coarse")])
def test_all_masks_their_errors_and_the_spread_of_samples(accept, kept, tmp_path):
    figure = segcgan.show(referenced(), make_chain(refiner="noisy", gate=Choose(accept)), samples=5)
    said = {name: f"{name}, kept by the gate" if name == kept else name for name in ("coarse", "refined")}
    assert panels(figure) == [
        "image", "reference", said["coarse"], said["refined"],
        "error of coarse", "error of refined", "5 samples", "their disagreement",
    ]  # fmt: skip
    assert bold(figure) == [f"{kept}, kept by the gate"]
    assert figure.texts[1].get_text() == f"chosen: {accept}"
    figure.savefig(tmp_path / "figure.png")
    assert Image.open(tmp_path / "figure.png").width > 800
    assert figure._repr_png_().startswith(b"\x89PNG")  # what a notebook shows


@pytest.mark.parametrize(
    ("refiner", "samples", "expected"),
    [("residual", 8, ["coarse", "refined"]), ("noisy", 1, ["coarse", "refined"]), (None, 8, ["coarse"])],
    ids=["deterministic", "one sample", "no refiner"],
)
def test_no_spread_where_there_is_none(refiner, samples, expected):
    figure = segcgan.show(make_case(), make_chain(refiner=refiner), samples=samples)
    assert [name.partition(",")[0] for name in panels(figure)] == ["image", *expected]


def test_the_seed_draws_the_samples():
    chain = make_chain(refiner="noisy", gate=Choose(True))
    first, again, other = (segcgan.show(referenced(), chain, samples=3, seed=seed)._repr_png_() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_slice_is_the_fullest_the_worst_or_the_one_asked_for():
    at = (slice(1, 3), slice(20, 40), slice(20, 50))
    case = referenced((5, 48, 64), at)
    mask = case.read_reference(case.whole)
    mask[2] = 0
    mask[2, 20:30, 20:30] = 1
    assert head(segcgan.show(case)) == "case (val), slice 1 of 0–4"
    assert head(segcgan.show(case, slice=-1)) == "case (val), slice 4 of 0–4"
    assert head(segcgan.show(make_case((5, 48, 64)))) == "case, slice 2 of 0–4"
    chain = make_chain()
    torch.nn.init.zeros_(chain.segmenter.conv.weight)
    chain.segmenter.conv.bias.data = torch.tensor([9.0, -9.0])  # everything is background: most errors where most is
    assert head(segcgan.show(case, chain, slice="worst")) == "case (val), slice 1 of 0–4"
    chain.segmenter.conv.bias.data = torch.tensor([-9.0, 9.0])
    assert head(segcgan.show(case, chain, slice="worst")) == "case (val), slice 0 of 0–4"


@pytest.mark.parametrize("slice", [5, -6, "first", 1.0])
def test_no_such_slice(slice):
    with pytest.raises(SegcganError, match=r"is not in case; give 0 to 4, 'best' or 'worst'"):
        segcgan.show(make_case((5, 40, 40)), slice=slice)


def test_the_worst_slice_needs_reference_and_run():
    with pytest.raises(SegcganError, match="worst slice of case is not known without reference and run; give an index"):
        segcgan.show(referenced(), slice="worst")


def test_the_window():
    case = referenced((1, 200, 300), (slice(0, 1), slice(20, 60), slice(100, 140)), spacing=(1.0, 0.5, 0.5))
    assert extent(segcgan.show(case, zoom=False)) == (100, 150)
    assert extent(segcgan.show(case)) == (32, 32)  # 40 pixels, 30 % on every side, of half a unit
    assert extent(segcgan.show(case, zoom=((10, 30), (0, 80)))) == (10, 40)
    with pytest.raises(SegcganError, match=r"zoom \(\(0, 201\), \(0, 9\)\) is not a window of case; .* 200 rows"):
        segcgan.show(case, zoom=((0, 201), (0, 9)))


def test_the_channels():
    case = make_case(channels=4)
    shown = segcgan.show(case).axes[0].images[0].get_array()
    assert shown.shape == (70, 50, 3)
    assert segcgan.show(case, channels=3).axes[0].images[0].get_array().shape == (70, 50)
    assert not np.array_equal(segcgan.show(case, channels=[2, 1, 0]).axes[0].images[0].get_array(), shown)
    with pytest.raises(SegcganError, match=r"2 channels cannot be shown; give one \(grey\) or three"):
        segcgan.show(case, channels=[0, 1])
    with pytest.raises(SegcganError, match=r"channels \[4\] are not all in the image; choose from 0 to 3"):
        segcgan.show(case, channels=4)


@pytest.mark.parametrize(
    "case",
    [
        referenced(at=(slice(0, 0),) * 3),
        referenced((1, 1, 1), (slice(0, 1),) * 3),
        referenced(hole=(slice(0, 1), slice(0, 70), slice(0, 80))),
        replace(make_case(), reference=lambda window: np.full((1, 70, 50), IGNORE, np.uint8)[window]),
    ],
    ids=["empty reference", "one pixel", "no data", "nothing annotated"],
)
def test_edges(case):
    figure = segcgan.show(case, make_chain(refiner="noisy", gate=Choose(True)), samples=2)
    assert len(panels(figure)) == 8
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_other_channels_than_the_run():
    with pytest.raises(SegcganError, match=r"has 3 channel\(s\) but the run was trained on 1; give such images"):
        segcgan.show(make_case(channels=3), make_chain())


def test_a_reference_file_with_values_nobody_named(tmp_path):
    values = np.zeros((40, 40), np.uint8)
    values[5:20, 5:20] = 7
    for name, picture in (("image", np.arange(1600).reshape(40, 40) % 251), ("mask", values)):
        Image.fromarray(picture.astype(np.uint8)).save(tmp_path / f"{name}.png")
    figure = segcgan.show(tmp_path / "image.png", reference=tmp_path / "mask.png")
    assert panels(figure) == ["image", "reference"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["label 7"]
    with pytest.raises(SegcganError, match=r"label values \[7\] belong to no class"):
        segcgan.show(tmp_path / "image.png", make_chain(), reference=tmp_path / "mask.png")


def test_nothing_global_is_touched():
    """A figure known to pyplot would be kept for ever, and shown twice in a notebook."""
    from matplotlib import pyplot

    chain = make_chain(refiner="noisy", gate=Choose(True))
    state = torch.random.get_rng_state()
    segcgan.show(referenced(), chain)._repr_png_()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert pyplot.get_fignums() == []


# -- cases of a run --------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path):
    """A run of random weights on discs, with its splits."""
    write_discs(tmp_path / "data", count=4)
    chain = make_chain(refiner="residual", segmenter=torch.nn.Conv2d(1, 2, 1))
    made = Run.create(tmp_path / "runs" / "tiny")
    made.note(name="tiny")
    save_chain(made, chain, PARTS, orientation="canonical")
    classes = [{"name": "background", "values": [0]}, {"name": "disc", "values": [1]}]
    config = {"seed_everything": 3, "data": {"images": {"root": str(tmp_path / "data")}, "classes": classes}}
    (made.folder / "config.yaml").write_text(yaml.safe_dump(config))
    splits = "".join(f"disc_{i},disc_{i},{split}\n" for i, split in enumerate(("train", "val", "test", "train")))
    (made.folder / "splits.csv").write_text(f"case,group,split\n{splits}")
    return made.folder


def test_cases_of_a_run_are_opened_with_their_splits_and_references(run):
    found = segcgan.cases(run)
    assert [(case.name, case.split) for case in found] == [
        ("disc_0", "train"), ("disc_1", "val"), ("disc_2", "test"), ("disc_3", "train")
    ]  # fmt: skip
    assert [case.name for case in segcgan.cases(run.parent, "train")] == ["disc_0", "disc_3"]
    assert set(np.unique(found[1].read_reference(found[1].whole))) == {0, 1}


def test_a_case_by_name(run):
    figure = segcgan.show("disc_1", run)
    assert head(figure) == "disc_1 (val)"
    assert panels(figure)[:2] == ["image", "reference"]
    assert panels(segcgan.show(run.parents[2] / "data/images/disc_2.png", run))[:2] == ["image", "coarse"]
    with pytest.raises(SegcganError, match=r"'disk_1' is neither a file nor a case of the run; did you mean .*disc_1"):
        segcgan.show("disk_1", run)
    with pytest.raises(SegcganError, match="disc_1 does not exist; give an image, or the name of a case together with"):
        segcgan.show("disc_1", segcgan.load(run))


def test_what_is_wrong_with_the_cases_is_one_sentence(run, tmp_path):
    with pytest.raises(SegcganError, match="has no split 'dev'; choose from test, train, val"):
        segcgan.cases(run, "dev")
    (tmp_path / "data").rename(tmp_path / "moved")
    with pytest.raises(SegcganError, match=r"are not at '.*data' any more; start in the folder .* or give root=FOLDER"):
        segcgan.cases(run)
    assert len(segcgan.cases(run, root=tmp_path / "moved")) == 4
    for kind in ("images", "masks"):
        (tmp_path / "moved" / kind / "disc_3.png").unlink()
    with pytest.raises(SegcganError, match=r"case 'disc_3' of .* has left .*; bring it back"):
        segcgan.cases(run, root=tmp_path / "moved")
    assert [case.name for case in segcgan.cases(run, "val", tmp_path / "moved")] == ["disc_1"]
    (run / "splits.csv").unlink()
    with pytest.raises(SegcganError, match="is missing, so the cases of this run are not known; give images instead"):
        segcgan.cases(run)
