"""Every shipped config runs from end to end for a few steps, on a few of the images it names."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from segcgan.cli import main
from segcgan.formats import open_case
from segcgan.runs import Run
from segcgan.tasks.checks import check_config
from segcgan.tasks.settings import completions, layered

CONFIGS = Path(__file__).parents[1] / "configs"

FEW = {
    "aerial_buildings": [
        'west,train/images/kampala_west.tif,train/labels/kampala_west.geojson,w,train,"0:900,0:300"',
        'south,train/images/kampala_west.tif,train/labels/kampala_west.geojson,s,val,"1804:2000,0:200"',
        'east,test/images/kampala_east.tif,test/labels/kampala_east.geojson,e,test,"0:200,268:500"',
    ],
    "ct_liver": [
        'lower,chaos_set3/dicom,chaos_set3/reference_png,c,train,"20:36,100:350,50:300"',
        'upper,chaos_set3/dicom,chaos_set3/reference_png,c,val,"60:62,100:350,50:300"',
        'other,chaos_set3/dicom,chaos_set3/reference_png,c,test,"64:66,100:350,50:300"',
    ],
}


def copied(*places: str) -> Callable[[Path, Path], list[Path]]:
    """Return what copies these images of a set into a folder."""

    def copy(root: Path, folder: Path) -> list[Path]:
        folder.mkdir()
        return [Path(shutil.copy(root / place, folder)) for place in places]

    return copy


def slices(root: Path, folder: Path) -> list[Path]:
    """Write pictures of the lung set as PNG, one of them smaller than a window."""
    folder.mkdir()
    with np.load(root / "lung_nodule_raters" / "middle_slices.npz") as stored:
        first, second = stored["images"][:2]
    for name, picture in (("first", first), ("second", second[:50, :77])):
        Image.fromarray(picture).save(folder / f"{name}.png")
    return sorted(folder.iterdir())


# RGBA of 360 × 360, 320 × 256 (stained) and 696 × 520
NUCLEI = ("14cc1424c5980827", "e414b54f2036bcab", "1c8b905c9519061d")

FOLDERS: dict[str, Callable[[Path, Path], list[Path]]] = {  # new images, of the kind a config was trained on
    "lung_nodule_raters": slices,
    "nuclei": copied(*(f"nuclei/images/{stem}.png" for stem in NUCLEI)),
    "water_multispectral": copied("water_multispectral/images/210.tif"),  # all 12 bands
}


def a_few(name: str, root: Path, folder: Path) -> list[str]:
    """Return overrides that restrict a config to a few images."""
    if name == "smoke":
        return [f"--data.images.root={folder / 'phantoms'}"]
    path = folder / f"{name}.csv"
    if name not in FEW:
        lines = (CONFIGS / "manifests" / f"{name}.csv").read_text().splitlines()
        kept = {split: [line for line in lines if line.endswith(split)] for split in ("train", "val", "test")}
        picked = [*kept["train"][:3], *kept["train"][-3:], *kept["val"][:2], *kept["test"][:2]]
        path.write_text("\n".join([lines[0], *picked]))
    else:
        path.write_text("\n".join(["case,image,mask,group,split,window", *FEW[name]]))
    return [f"--data.images.manifest={path}", f"--data.images.root={root / name}"]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_config_runs_from_end_to_end(name: str, shared_data: Path, tmp_path: Path) -> None:
    options = ["--config", f"{name}.yaml", f"--plan.runs={tmp_path / 'runs'}", "--data.sampling.steps=1"]
    options += ["--data.sampling.batch_size=2", *a_few(name, shared_data, tmp_path)]
    options += [f"--plan.{stage}_epochs=1" for stage in ("fold", "segmenter", "refiner")]
    assert main(["fit", *options]) == 0
    assert main(["test", *options]) == 0
    run = Run.find(tmp_path / "runs" / name)
    assert (run.folder / "scores_test.json").is_file()
    assert (run.folder / "report.html").stat().st_size > 10_000
    assert ("GED" in (run.folder / "scores_test.json").read_text()) == (name == "lung_nodule_raters")
    if name in FOLDERS:
        folder, out = tmp_path / "folder", tmp_path / "out"
        pictures = FOLDERS[name](shared_data, folder)
        assert main(["predict", "-i", str(folder), "-o", str(out), "-m", str(run.folder)]) == 0
        for picture in pictures:
            (mask,) = (path for path in out.glob(f"{picture.stem}_mask.*") if path.suffix != ".xml")
            assert open_case(mask).shape == open_case(picture).shape, picture


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_config_header_says_what_it_needs(path: Path) -> None:
    text = path.read_text()
    header = text[: text.index("seed_everything")]
    assert header.startswith(f"# {path.stem}")
    for word in ("data:", "command:", "shrink:"):
        assert word in header
    assert len(text.splitlines()) <= 60
    assert yaml.safe_load(text)["model"]["segmenter"]["init_args"]["encoder_weights"] is None


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_config_for_on_top_goes_with_any_other(path: Path) -> None:
    assert path.read_text().startswith(f"# {path.stem}: ")
    with layered([CONFIGS / "cardiac_mr.yaml", path]) as config:
        assert config.name == f"cardiac_mr+{path.stem}.yaml"
        settings = check_config(config, completions(config, []))
    assert settings["data"]["images"]["manifest"] == "cardiac_mr.csv"
    assert set(settings["model"]) > {"segmenter", "gate"}


def test_the_row_without_a_critic_differs_in_the_weight_alone() -> None:
    """What a critic is worth is only seen beside the same refiner without one."""
    one, other = (
        yaml.safe_load((CONFIGS / "refiners" / f"{name}.yaml").read_text()) for name in ("cgan", "cgan_without_critic")
    )
    weights = [config["model"]["adversary"]["init_args"].pop("weight") for config in (one, other)]
    assert weights == [0.02, 0]
    assert one == other
