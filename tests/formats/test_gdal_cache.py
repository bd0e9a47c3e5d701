"""GDAL keeps at most 256 MB of blocks, or what the user allows; its own choice grows with the machine."""

import os
import subprocess
import sys

import numpy as np
import pytest
import rasterio

CODE = """
import sys
from pathlib import Path
from segcgan.formats import open_case
from rasterio._env import get_gdal_config

def most():
    # not getrusage, which starts with what the process had that this one was forked from
    (line,) = (each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmHWM"))
    return int(line.split()[1])

case = open_case(Path(sys.argv[1]))
case.read((slice(0, 1), slice(0, 8), slice(0, 8)))
before = most()
for top in range(0, case.shape[1], 512):
    case.read((slice(0, 1), slice(top, top + 512), slice(0, 512)))
print(get_gdal_config("GDAL_CACHEMAX"), (most() - before) // 1024)
"""


@pytest.fixture(scope="module")
def raster(tmp_path_factory):
    """Strips of 8 MB, 384 MB in all; sparse, so that the file itself is small."""
    path = tmp_path_factory.mktemp("cache") / "sparse.tif"
    size = {"height": 24576, "width": 16384, "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", **size, blockysize=512, compress="deflate", sparse_ok=True) as out:
        out.write(np.ones((1, 8, 8), np.uint8), window=rasterio.windows.Window(0, 0, 8, 8))
    return path


def measure(raster, **environment):
    plain = {name: value for name, value in os.environ.items() if name != "GDAL_CACHEMAX"}
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(raster)],
        env=plain | environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    setting, grown = done.stdout.split()
    return setting, int(grown)


def test_the_cache_is_bounded(raster):
    setting, grown = measure(raster)
    assert int(setting) == 256 << 20
    assert grown < 340


def test_the_setting_of_the_user_counts(raster):
    setting, small = measure(raster, GDAL_CACHEMAX="32")
    assert int(setting) == 32 << 20
    assert small < 110
    assert measure(raster, GDAL_CACHEMAX="1000")[1] > 340  # so the bound is what keeps it small
