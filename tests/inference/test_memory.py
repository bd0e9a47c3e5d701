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
folder, height, width = Path(sys.argv[1]), int(sys.argv[2]), 3000
size = {"height": height, "width": width, "count": 1, "dtype": "uint8", "nodata": 0}
with rasterio.open(folder / "scene.tif", "w", driver="GTiff", tiled=True, compress="deflate", zlevel=1, **size) as f:
    for top in range(0, height, 500):
        block = np.arange(500 * width, dtype=np.uint32).reshape(1, 500, width) * 7 % 251
        block[:, :, 600:] = 0  # most is empty, so that the test is quick
        f.write(block.astype(np.uint8), window=rasterio.windows.Window(0, top, width, 500))
norm = Normalisation(1)
norm.high.fill_(255)
segmenter = torch.nn.Conv2d(1, 2, 3, padding=1)
chain = Chain(norm, segmenter, None, None, [ClassSpec("a"), ClassSpec("b")], Sampling((512, 512)))
strip = None if sys.argv[3] == "whole" else 2**20
rows = predict_folder(folder, folder / "out", chain, {}, Wish(Windows(strip=strip, overlap=0.0)))
assert rows[0].status == "ok", rows
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def peak(folder, height, strip):
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(folder), str(height), strip], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def test_memory_does_not_grow_with_the_height_of_a_scene(tmp_path):
    small, large = peak(tmp_path / "small", 2000, "strips"), peak(tmp_path / "large", 20000, "strips")
    assert large - small < 100  # MB; the 60 million pixels alone are 480 MB as probabilities of two classes
