import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from segcgan.cli import main
from segcgan.errors import SegcganError
from tests.formats.conftest import write_images

ROOT = Path(__file__).resolve().parents[1]
SMOKE = ROOT / "configs" / "smoke.yaml"


def scene(path, side=40, seed=0):
    values = np.random.default_rng(seed).integers(1, 255, (1, side, side), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    size = {"count": 1, "height": side, "width": side, "dtype": "uint8", "nodata": 0}
    place = {"crs": "EPSG:32636", "transform": Affine(0.5, 0, 3e5, 0, -0.5, 33e5)}
    with rasterio.open(path, "w", driver="GTiff", **size, **place) as out:
        out.write(values)


@pytest.fixture
def model(tmp_path):
    """A run that holds a chain of random weights."""
    import torch

    from segcgan.chain import Chain
    from segcgan.classes import ClassSpec
    from segcgan.data.normalisation import Normalisation
    from segcgan.data.patches import Sampling
    from segcgan.refiners import ResidualRefiner
    from segcgan.runs import Run, save_chain

    torch.manual_seed(0)
    normalisation = Normalisation(1)
    normalisation.load_state_dict(
        {k: torch.tensor([v]) for k, v in dict(low=0.0, high=255.0, mean=128.0, std=9.0).items()}
    )
    refiner = ResidualRefiner(1, 2, width=4, levels=2)
    torch.nn.init.normal_(refiner.head.last.weight, std=0.75)
    classes = [ClassSpec("ground", [0]), ClassSpec("thing", [1])]
    chain = Chain(normalisation, torch.nn.Conv2d(1, 2, 1), refiner, None, classes, Sampling(patch=(32, 32)))
    init = {
        "segmenter": {"in_channels": 1, "out_channels": 2, "kernel_size": 1},
        "refiner": {"channels": 1, "classes": 2, "width": 4, "levels": 2},
    }
    paths = {"segmenter": "torch.nn.Conv2d", "refiner": "segcgan.refiners.ResidualRefiner"}
    specs = {part: {"class_path": path, "init_args": init[part]} for part, path in paths.items()}
    run = Run.create(tmp_path / "runs/tiny")
    run.note(name="tiny")
    save_chain(run, chain, specs)
    return tmp_path / "runs/tiny/latest"


def said(capsys, *words, code):
    """Run a command that goes wrong; returns the one sentence on stderr."""
    assert main([str(word) for word in words]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err.removeprefix("error: ").rstrip("\n")


# -- what is cheap ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--help"], ["predict", "--help"], ["fit", "--help"], ["info", "SCENE"], ["info"]])
def test_first_contact_is_quick_and_imports_no_torch(tmp_path, words):
    scene(tmp_path / "scene.tif")
    words = [str(tmp_path / "scene.tif") if word == "SCENE" else word for word in words]
    code = (
        "import sys\nfrom segcgan.cli import main\n"
        "try: code = main(sys.argv[1:])\n"
        "except SystemExit as stop: code = stop.code\n"
        "print([m for m in ('torch', 'pytorch_lightning', 'matplotlib') if m in sys.modules], code)"
    )
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout.splitlines()[-1] == "[] 0", done.stderr
    assert time.perf_counter() - begin < 3 + 3 * (os.getloadavg()[0] > 2)


def test_help_names_every_verb(capsys):
    for words in ([], ["-h"], ["--help"]):
        assert main(words) == 0
        text = capsys.readouterr().out
        assert all(f"\n  {verb} " in text for verb in ("fit", "validate", "test", "predict", "info", "report"))
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("segcgan ")


def test_train_py_is_the_verb_fit(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "train.py", "--config", "nowhere.yaml"],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: config 'nowhere.yaml' was not found")


# -- wrong usage -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("predic", "'predic' is no command; did you mean 'predict'?"),
        ("zzz", "'zzz' is no command; choose from compare, fit, info, predict, refine, report, test,"),
        ("predict", "the following arguments are required: -i/--input, -o/--output, -m/--model; see segcgan"),
        ("predict -i a -o b -m c --sample 3", "--sample 3 is unknown; did you mean '--samples'?"),
        ("predict -i a -o b -m c --samples 0", "argument --samples: '0' is not a whole number above 0; see"),
        ("predict -i a -o b -m c --strip -5", "argument --strip: "),
        ("refine -i a -o b -m c", "the following arguments are required: -c/--coarse; see segcgan refine --help"),
        ("predict -i a -o b -m c --coarse d", "--coarse d is unknown; did you mean"),
        ("report", "the following arguments are required: run; see segcgan report --help"),
        ("info a b", "b is unknown; "),
        ("fit foo", "no config was given; give one with --config NAME.yaml (segcgan info lists them)"),
        ("fit --config", "no config was given"),
    ],
)  # fmt: skip
def test_wrong_usage_is_code_2(capsys, words, sentence):
    assert said(capsys, *words.split(), code=2).startswith(sentence)


@pytest.mark.parametrize("verb", ["fit", "validate", "test"])
def test_a_bare_verb_prints_how_to_use_it(capsys, verb):
    assert main([verb]) == 2
    assert f"usage: segcgan {verb} --config NAME.yaml" in capsys.readouterr().out
    assert main([verb, "--config", "x", "--help"]) == 0
    assert "usage: " in capsys.readouterr().out


def test_debug_shows_where_it_happened():
    with pytest.raises(SegcganError, match="does not exist"):
        main(["info", "nowhere", "--debug"])


# -- what failed -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("fit --config smok", "config 'smok' was not found; did you mean 'smoke.yaml'?"),
        ("--config smok", "config 'smok' was not found; did you mean 'smoke.yaml'?"),
        ("-c smok", "config 'smok' was not found; did you mean 'smoke.yaml'?"),
        ("fit -c smoke --trainer.precision 12", "--trainer.precision is 12; it must be 64 or 32 or 16 or "),
        ("fit -c smoke --data.sampling.batch_size many", "--data.sampling.batch_size is 'many'; it must be a whole"),
        ("test --config smoke", "runs/smoke holds no run to score; train one with segcgan fit --config smoke"),
        ("validate -c smoke --plan.runs there", "there/smoke holds no run to score; train one with"),
        ("report nowhere", "nowhere is no run: it holds no run.json; give a folder like runs/<config>/latest"),
        ("info nowhere", "nowhere does not exist; give an image file or a folder of images"),
        ("predict -i . -o out -m nowhere", "nowhere is no run: it holds no run.json; give a folder like runs/"),
    ],
)  # fmt: skip
def test_what_went_wrong_is_one_sentence_and_leaves_nothing_behind(capsys, tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {sentence}")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_of_shared_images(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGCGAN_DATA", str(tmp_path / "absent"))
    assert main(["fit", "--config", "cardiac_mr"]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: data.images.root '")
    assert error.endswith("absent/cardiac_mr' does not exist; give a folder of images or set SEGCGAN_DATA")
    assert not (tmp_path / "runs").exists()


def test_an_output_that_cannot_be_written(capsys, tmp_path, model):
    scene(tmp_path / "in/scene.tif")
    (tmp_path / "out").write_text("a file, not a folder")
    sentence = said(capsys, "predict", "-i", tmp_path / "in", "-o", tmp_path / "out", "-m", model, code=1)
    assert sentence == f"{tmp_path}/out is a file, and masks go into a folder; give another output"
    (tmp_path / "locked").touch()
    sentence = said(capsys, "predict", "-i", tmp_path / "in", "-o", tmp_path / "locked/out", "-m", model, code=1)
    assert sentence == f"{tmp_path}/locked/out: Not a directory; give another path"


def test_a_reader_that_has_seen_enough_ends_it_quietly(tmp_path):
    for number in range(40):
        scene(tmp_path / f"{'x' * 100}{number}.tif")
    tool = f"{sys.executable} -m segcgan"
    for words in (f"info {tmp_path}", "info", "--help"):
        line = f"set -o pipefail; {tool} {words} | (exec 0<&-; sleep 0.1); echo code $?"
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=ROOT, check=False)
        assert (done.stderr, done.stdout) == ("", "code 141\n"), words


def test_debug_shows_the_traceback_of_a_failed_case(capsys, tmp_path, model):
    scene(tmp_path / "in/good.tif")
    scene(tmp_path / "in/bad.tif")
    (tmp_path / "in/bad.tif").write_bytes((tmp_path / "in/bad.tif").read_bytes()[:400])
    words = ["predict", "-i", str(tmp_path / "in"), "-m", str(model), "--device", "cpu"]
    assert main([*words, "-o", str(tmp_path / "one")]) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert main([*words, "-o", str(tmp_path / "two"), "--debug"]) == 1
    err = capsys.readouterr().err
    assert err.count("Traceback (most recent call last)") >= 1
    assert "open_case" in err
    assert "1 predicted, 1 failed" not in err


def test_an_interrupt_says_how_to_go_on(capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("segcgan.cli._info", interrupt)
    assert main(["info"]) == 130
    assert capsys.readouterr().err == "interrupted; the same command again goes on where it stopped\n"


# -- info and report -------------------------------------------------------------------------------------------------


def test_info_tells_good_from_bad(capsys, tmp_path):
    scene(tmp_path / "good.tif")
    scene(tmp_path / "[bad].tif")
    (tmp_path / "[bad].tif").write_bytes((tmp_path / "[bad].tif").read_bytes()[:60])
    (tmp_path / "blob.bin").write_bytes(b"\1" * 500)
    assert main(["info", str(tmp_path)]) == 1
    header, *lines = (line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert header == ["case", "format", "shape", "channels", "spacing", "dtype", "nodata", "crs", "extent", "note"]
    rows = {line[0]: line[1:] for line in lines}
    crs, extent = "EPSG:32636 WGS 84 / UTM zone 36N", "x 300000 … 300020, y 3299980 … 3300000"
    assert rows["good"] == ["geotiff", "40 x 40", "1", "0.5 x 0.5 m", "uint8", "0", crs, extent, ""]
    assert rows["[bad]"][0] == "geotiff"
    assert "[bad].tif cannot be read" in rows["[bad]"][-1]
    assert "is not an image segcgan reads" in rows["blob.bin"][-1]
    assert main(["info", str(tmp_path / "good.tif")]) == 0
    (tmp_path / "empty").mkdir()
    capsys.readouterr()
    sentence = said(capsys, "info", tmp_path / "empty", code=1)
    assert sentence.endswith("empty holds no image segcgan reads; give DICOM, NIfTI, GeoTIFF, PNG or JPEG")


def test_info_lists_every_config(capsys):
    assert main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "config\twhat\tfile"
    assert {line.split("\t")[0] for line in lines[1:]} >= {path.name for path in SMOKE.parent.glob("*.yaml")}
    assert all(line.split("\t")[1] for line in lines)


def test_the_report_of_a_half_trained_run(capsys, model):
    sentence = said(capsys, "report", model.parent, code=1)
    assert sentence.endswith("has no scores yet; finish its training with the same fit command")


# -- predict ---------------------------------------------------------------------------------------------------------


def test_predict_tells_how_many_and_fails_if_any_did(capsys, tmp_path, model):
    words = ["predict", "-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "-m", str(model), "--device", "cpu"]
    scene(tmp_path / "in/a.tif")
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert out == f"1 predicted, 0 failed, 0 skipped; see {tmp_path}/out/predictions.csv\n"
    assert err.startswith("1/1 a: ok, refined mask (no gate: always refined)")
    (tmp_path / "in/b.tif").write_bytes((tmp_path / "in/a.tif").read_bytes()[:50])
    (tmp_path / "in/c.bin").write_bytes(b"\1" * 500)
    assert main(words) == 1
    out, err = capsys.readouterr()
    assert out.startswith("1 predicted, 1 failed, 1 skipped; see ")
    assert "1/2 a: ok, refined mask (no gate: always refined (done before))" in err
    assert "2/2 b: failed, no mask (" in err
    with (tmp_path / "out/predictions.csv").open() as stream:
        assert [row["status"] for row in csv.DictReader(stream)] == ["skipped", "ok", "failed"]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["-i", "EMPTY"], "holds no image segcgan reads; give DICOM, NIfTI, GeoTIFF, PNG or JPEG"),
        (["--device", "gpu"], "device 'gpu' is not available here; use auto or cpu"),
        (["-o", "IN"], "output and input are the same folder"),
    ],
)
def test_predict_says_what_is_wrong(capsys, tmp_path, model, more, sentence):
    scene(tmp_path / "in/a.tif")
    (tmp_path / "empty").mkdir()
    more = [{"EMPTY": str(tmp_path / "empty"), "IN": str(tmp_path / "in")}.get(word, word) for word in more]
    words = ["predict", "-i", tmp_path / "in", "-o", tmp_path / "out", "-m", model, *more]
    assert sentence in said(capsys, *words, code=1)


def test_refine_corrects_masks_made_by_others(capsys, tmp_path, model):
    scene(tmp_path / "in/a.tif")
    scene(tmp_path / "in/b.tif")
    scene(tmp_path / "masks/a.tif")
    with rasterio.open(tmp_path / "masks/a.tif", "r+") as file:
        file.write((file.read(1) > 100).astype(np.uint8)[None])
    words = ["refine", "-i", tmp_path / "in", "-c", tmp_path / "masks", "-o", tmp_path / "out", "-m", model]
    words = [str(word) for word in words]
    assert main(words) == 1
    out, err = capsys.readouterr()
    assert out == f"1 refined, 1 failed, 0 skipped; see {tmp_path}/out/predictions.csv\n"
    assert "1/2 a: ok, refined mask (no gate: always refined)" in err
    assert "2/2 b: failed, no mask (no mask named b.* in" in err
    assert said(capsys, *words, "--labels", "thin=1", code=1) == (
        "--labels: labels name class 'thin'; did you mean 'thing'?"
    )


@pytest.mark.parametrize(("more", "mask"), [([], "coarse"), (["--no-gate"], "refined")])
def test_refine_asks_the_gate_unless_told_not_to(tmp_path, model, more, mask):
    with_shut_gate(model)
    scene(tmp_path / "in/a.tif")
    scene(tmp_path / "masks/a.tif")
    words = ["refine", "-i", tmp_path / "in", "-c", tmp_path / "masks", "-o", tmp_path / "out", "-m", model]
    assert main([*map(str, words), "--labels", "ground=*", *more]) == 0
    assert [row["mask"] for row in table(tmp_path / "out")] == [mask]


def test_predict_asks_the_gate_unless_told_not_to(tmp_path, model):
    """With another wish the same output folder is done again."""
    with_shut_gate(model)
    scene(tmp_path / "in/a.tif")
    words = ["predict", "-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "-m", str(model)]
    for more, mask in (([], "coarse"), (["--no-gate"], "refined"), ([], "coarse")):
        assert main([*words, *more]) == 0
        (row,) = table(tmp_path / "out")
        assert row["mask"] == mask
        assert "done before" not in row["reason"]


def with_shut_gate(model):
    from segcgan.gates import AgreementGate
    from segcgan.runs import Run, load, save_chain

    shut = replace(load(model), gate=AgreementGate())
    specs = json.loads((model / "chain.json").read_text())
    specs["gate"] = {"class_path": "segcgan.gates.AgreementGate", "init_args": {}}
    save_chain(Run(model.resolve()), shut, specs)


def table(folder):
    with (folder / "predictions.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_predict_writes_uncertainty_if_asked(capsys, tmp_path, model):
    """The entropy of the probability that is written beside it; the flag alone is reason to do it again."""
    from PIL import Image

    scene(tmp_path / "in/a.tif")
    with rasterio.open(tmp_path / "in/a.tif", "r+") as file:
        file.write(np.zeros((1, 9, 9), np.uint8), window=((0, 9), (0, 9)))  # nodata
    Image.fromarray(np.arange(1600, dtype=np.uint16).reshape(40, 40).astype(np.uint8)).save(tmp_path / "in/b.png")
    words = ["predict", "-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "-m", str(model), "--device", "cpu"]
    assert main(words) == 0
    assert list((tmp_path / "out").glob("*uncertainty*")) == []
    assert main([*words, "--uncertainty"]) == 0
    assert "done before" not in capsys.readouterr().err
    made = {path.name: path for path in (tmp_path / "out").glob("*uncertainty*")}
    assert sorted(made) == ["a_uncertainty.tif", "b_uncertainty.tif"]  # a PNG has no place for the scale
    with rasterio.open(made["a_uncertainty.tif"]) as one, rasterio.open(tmp_path / "out/a_probability.tif") as other:
        unsure, p = one.read(1), other.read() / 254
        assert (one.transform, one.crs, one.count, one.scales) == (other.transform, other.crs, 1, (1 / 254,))
    known = unsure != 255
    np.testing.assert_array_equal(known, p[0] <= 1)
    assert not known[:9, :9].any()
    entropy = -(p * np.log2(np.maximum(p, 1e-9))).sum(0)  # of two classes, so bits are the share of knowing nothing
    assert np.abs(unsure / 254 - entropy)[known & (p.min(0) > 0.02)].max() < 0.02  # both are rounded to 8 bits
    assert unsure[known].max() > unsure[known].min()
    assert np.asarray(Image.open(made["b_uncertainty.tif"])).shape == (40, 40)


def test_a_killed_predict_is_finished_by_the_same_command(tmp_path, model):
    scene(tmp_path / "in/scene.tif", side=320)
    base = ["predict", "-i", str(tmp_path / "in"), "-m", str(model), "--device", "cpu", "--strip", "1"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    code = "import sys, torch; torch.set_num_threads(1); from segcgan.cli import main; main(sys.argv[1:])"
    process = subprocess.Popen([sys.executable, "-c", code, *base, "-o", str(killed)], stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while (
        process.poll() is None and time.monotonic() < end and not (killed / ".scene.strips/strip_000001.npz").exists()
    ):
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL  # it had not finished by itself
    left = {path: path.stat().st_mtime_ns for path in (killed / ".scene.strips").glob("*.npz")}
    assert len(left) >= 2
    assert {path.name for path in killed.iterdir()} == {".scene.strips", ".predicting"}
    assert main([*base, "-o", str(killed)]) == 0
    assert main([*base, "-o", str(whole)]) == 0
    assert {path.name for path in killed.iterdir()} == {path.name for path in whole.iterdir()}
    for path in whole.glob("*.tif"):
        with rasterio.open(path) as one, rasterio.open(killed / path.name) as other:
            np.testing.assert_array_equal(one.read(), other.read())


def test_a_stored_description_is_plain_json(model):
    assert json.loads((model / "chain.json").read_text())["segmenter"]["class_path"] == "torch.nn.Conv2d"


def test_an_error_of_a_loader_process_is_one_sentence(monkeypatch, capsys):
    def fail(words):
        raise SegcganError("Caught SegcganError in DataLoader worker process 0.\nOriginal Traceback:\n  File x\n"
                           "segcgan.errors.SegcganError: m.png: label values [7] belong to no class\n")  # fmt: skip

    monkeypatch.setattr("segcgan.cli._dispatch", fail)
    assert main(["info"]) == 1
    assert capsys.readouterr().err == "error: m.png: label values [7] belong to no class\n"


def test_pydicom_says_nothing_on_the_command_line(tmp_path, capsys, recwarn):
    write_images(tmp_path / "ct", [{"z": 3.0 * index, "SeriesNumber": "77777777"} for index in range(3)])
    for path in (tmp_path / "ct").iterdir():
        path.write_bytes(path.read_bytes().replace(b"77777777", b"1 of 1  "))
    assert main(["info", str(tmp_path)]) == 0
    assert "3 x 4 x 5" in capsys.readouterr().out
    assert not [warning for warning in recwarn if "pydicom" in warning.filename]
