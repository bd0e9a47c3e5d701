"""The notebooks do what they say: trained from their own first cell, then executed from top to bottom."""

import base64
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LOOK = ROOT / "notebooks" / "01_look_at_masks.ipynb"


def read(path):
    return nbformat.read(path, as_version=4)


def pictures(notebook):
    """The PNG outputs of a notebook, by cell."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                found.append(np.asarray(Image.open(io.BytesIO(base64.b64decode(output["data"]["image/png"])))))
    return found


def execute(path, folder, run):
    """Run a notebook in a folder, as a kernel of this interpreter."""
    notebook = read(path)
    environment = os.environ | {"RUN": run, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    client = NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    client.execute(env=environment)
    return notebook


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which the command of the first cell was run."""
    folder = tmp_path_factory.mktemp("notebook")
    (command,) = re.findall(r"^    python (train\.py .+)$", read(LOOK).cells[0].source, re.MULTILINE)
    words = [sys.executable, str(ROOT / "train.py"), *shlex.split(command)[1:]]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def test_there_is_a_notebook():
    assert LOOK in NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_short_valid_and_committed_without_outputs(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert len(notebook.cells) <= 10
    assert notebook.cells[0].cell_type == "markdown"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.outputs for cell in code] == [[]] * len(code)
    assert {cell.execution_count for cell in code} == {None}
    assert re.search(r"/(home|root|tmp|Users|work)/", path.read_text(encoding="utf-8")) is None


@pytest.mark.slow
def test_masks_can_be_looked_at(trained):
    """From the folder ``notebooks``, where Jupyter starts a notebook; every picture has colours of contours in it."""
    beside = trained / "notebooks"
    beside.mkdir()
    notebook = execute(LOOK, beside, "runs/smoke+vae/latest")
    shows = sum("segcgan.show" in cell.source for cell in notebook.cells if cell.cell_type == "code")
    found = pictures(notebook)
    assert len(found) == shows >= 4
    for picture in found:
        colour = picture[..., :3].max(axis=-1).astype(int) - picture[..., :3].min(axis=-1)
        assert picture.shape[0] > 200
        assert picture.shape[1] > 600  # image, reference, coarse and refined side by side
        assert (colour > 100).sum() > 500
    assert (trained / "runs" / "smoke+vae" / "latest" / "previews" / "whole_slice.png").is_file()


@pytest.mark.slow
def test_a_missing_run_is_one_sentence(tmp_path):
    sentence = r"runs/none is no run: it holds no run\.json; give a folder like runs/"
    with pytest.raises(CellExecutionError, match=sentence):
        execute(LOOK, tmp_path, "runs/none")
