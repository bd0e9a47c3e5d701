"""A raster larger than the memory given to it: measured in a process of its own, where the peak is known."""

import subprocess
import sys

CODE = """
import resource, sys
from pathlib import Path
import numpy as np, rasterio, torch
from segcgan.chain import Chain
from segcgan.classes import ClassSpec
from segcgan.data.normalisation import Normalisation
from segcgan.data.patches import Sampling
from segcgan.inference.folder import Wish, predict_folder
from segcgan.inference.windows import Windows

torch.set_num_threads(1)
norm = Normalisation(1)
norm.high.fill_(255)
segmenter = torch.nn.Conv2d(1, 2, 3, padding=1)
chain = Chain(norm, segmenter, None, None, [ClassSpec("a"), ClassSpec("b")], Sampling((512, 512)))
wish = Wish(Windows(strip=None if sys.argv[2] == "whole" else 2**20, overlap=0.0))
width = 3000
for height in (2000, 20000):
    folder = Path(sys.argv[1]) / str(height)
    folder.mkdir()
    size = {"height": height, "width": width, "count": 1, "dtype": "uint8", "nodata": 0, "tiled": True}
    with rasterio.open(folder / "scene.tif", "w", driver="GTiff", compress="deflate", zlevel=1, **size) as f:
        for top in range(0, height, 500):
            block = np.full((1, 500, width), 9, np.uint8)
            block[:, :, 600:] = 0  # most is empty, so that the test is quick
            f.write(block, window=rasterio.windows.Window(0, top, width, 500))
    rows = predict_folder(folder, folder / "out", chain, {}, wish)
    assert rows[0].status == "ok", rows
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def test_memory_does_not_grow_with_the_height_of_a_scene(tmp_path):
    words = [sys.executable, "-W", "ignore", "-c", CODE, str(tmp_path), "strips"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    small, large = map(float, done.stdout.split())
    assert large - small < 100  # MB; the 60 million pixels alone are 480 MB as probabilities of two classes
