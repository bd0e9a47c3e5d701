"""Phantoms: small made-up data sets with the troubles of real ones, for the demo and the tests."""

import json
from pathlib import Path

import numpy as np

from segcgan.atomic import replacing
from segcgan.data.phantom_ct import ct_files
from segcgan.data.phantom_scene import scene_files
from segcgan.errors import SegcganError, nearest

KINDS = {"ct": ct_files, "scene": scene_files}


def write_phantoms(folder: Path, kind: str, cases: int, seed: int = 0) -> None:
    """Write phantoms, the same for the same seed; a folder that already holds them is left as it is.

    Kind ``ct``: ``images/<patient>/NNNN.dcm`` (12 to 16 slices of 96×96 pixels, 4×2×2 mm, HU) and
    ``masks/<patient>.nii.gz`` (1 = liver). Kind ``scene``: ``images/scene_NN.tif`` (256×256 uint16, 0.5 m,
    EPSG:32636, nodata 0) and ``masks/scene_NN.geojson`` (building footprints in longitude and latitude).

    Args:
        folder: made if missing; ``phantoms.json`` in it says what it holds, and whether all of it is written.
        kind: ``"ct"`` or ``"scene"``.
        cases: number of patients or scenes.
        seed: of all randomness.

    Raises:
        SegcganError: the kind is unknown, ``cases`` is not positive, or the folder holds other phantoms or images.
    """
    if kind not in KINDS:
        raise SegcganError(f"there are no phantoms of kind {kind!r}{nearest(kind, KINDS)}")
    if cases < 1:
        raise SegcganError(f"{cases} phantoms were asked for; ask for 1 or more")
    stamp, asked = folder / "phantoms.json", {"kind": kind, "cases": cases, "seed": seed}
    if stamp.exists():
        held = json.loads(stamp.read_text(encoding="utf-8"))
        if {name: held.get(name) for name in asked} != asked:
            raise SegcganError(f"{folder} holds the phantoms {held}, not {asked}; choose another folder or delete it")
        if held.get("complete", True):
            return
    elif found := next((path for name in ("images", "masks") for path in sorted((folder / name).glob("[!.]*"))), None):
        raise SegcganError(
            f"{found} is there, and phantoms are not written between other images; choose another folder, or for your "
            "own images say --data.images.phantoms null"
        )
    _write(stamp, json.dumps(asked | {"complete": False}).encode())  # from here on the folder is that of phantoms
    for index in range(cases):
        for name, content in KINDS[kind](np.random.default_rng((seed, index)), index).items():
            _write(folder / name, content)
    _write(stamp, json.dumps(asked).encode())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        draft.write_bytes(content)
