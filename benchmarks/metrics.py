"""HD95, NSD and Boundary IoU of a volume: segcgan against MONAI and DeepMind surface-distance, in one run.

    python benchmarks/metrics.py                     # 512 x 512 x 100, nine rounds, about ten minutes
    python benchmarks/metrics.py --size 40 128 128   # shorter

Each round measures everybody once, one after the other, so that a busy machine is busy for all; the ratio is the
median over rounds of (their time / our time in the same round). We measure HD95, NSD and Boundary IoU; the others
have no Boundary IoU and measure HD95 and NSD, each with its own kind of surface: MONAI boundary voxels,
surface-distance surfels. Everybody runs as shipped: theirs on one thread, ours with many far voxels looked up on all
cores. What the others need as input (tensors) is made beforehand.
Values must agree, and Boundary IoU with a thresholded distance transform, else the run fails.

Rounds are kept in the result file: the same command goes on where it was stopped, --fresh starts again.
"""

import argparse
import json
import math
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import surface_distance
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice
from scipy.ndimage import distance_transform_edt, gaussian_filter, zoom

from segcgan.atomic import write_text
from segcgan.metrics.pair import Convention, MaskPair

SPACING = (2.5, 0.8, 0.8)  # mm: a usual abdominal CT
TOLERANCE = 2.0  # mm
AGREE = {"MONAI": 1e-5, "surface-distance": 1e-9}  # relative; MONAI interpolates percentiles in 32 bits
RESULTS = Path(__file__).parent / "results" / "metrics.json"

Masks = tuple[np.ndarray, np.ndarray]
Scores = tuple[float, ...]


def noise(shape: tuple[int, ...], grain: int, seed: int) -> np.ndarray:
    """Return smooth noise of variance 1 whose waves are about ``grain`` voxels long."""
    coarse = tuple(math.ceil(size / grain) + 1 for size in shape)
    field = gaussian_filter(np.random.default_rng(seed).normal(size=coarse), 1)
    field = zoom(field, grain, order=1, grid_mode=True, mode="nearest")[tuple(slice(size) for size in shape)]
    return (field / field.std()).astype(np.float32)


def organ(shape: tuple[int, ...], wobble: float) -> Masks:
    """Return a lobed ellipsoid and the same with an uncertain boundary."""
    axes = [(np.arange(size) / size - 0.5) / part for size, part in zip(shape, (0.42, 0.24, 0.29), strict=True)]
    body = (1 - sum(axis**2 for axis in np.ix_(*axes))).astype(np.float32) + 0.15 * noise(shape, 16, 1)
    return body > 0.1, body + wobble * noise(shape, 8, 2) > 0.1


def lesion(shape: tuple[int, ...]) -> Masks:
    """Return two boxes of a few voxels that overlap."""
    masks = np.zeros((2, *shape), bool)
    middle = [size // 2 for size in shape]
    for mask, shift in zip(masks, (0, 1), strict=True):
        mask[tuple(slice(centre - 3 + shift, centre + 5) for centre in middle)] = True
    return masks[0], masks[1]


def speckle(shape: tuple[int, ...]) -> Masks:
    """Return blobs all over the volume: as much surface as there can reasonably be."""
    field = noise(shape, 4, 3)
    return field > 0.8, field + 0.3 * noise(shape, 4, 4) > 0.8


CASES: dict[str, Callable[[tuple[int, ...]], Masks]] = {
    "organ, good mask": lambda shape: organ(shape, 0.06),
    "organ, poor mask": lambda shape: organ(shape, 0.3),
    "small lesion": lesion,
    "blobs everywhere": speckle,
}


def ours(masks: Masks, convention: Convention) -> Scores:
    """HD95, NSD, Boundary IoU."""
    pair = MaskPair(*masks, SPACING, convention)
    return pair.hausdorff(95), pair.nsd(TOLERANCE), pair.boundary_iou(TOLERANCE)


def monai(tensors: list[torch.Tensor]) -> Scores:
    """HD95, NSD."""
    options = {"include_background": True, "spacing": list(SPACING)}
    hd95 = compute_hausdorff_distance(tensors[1], tensors[0], percentile=95, **options)
    return float(hd95), float(compute_surface_dice(tensors[1], tensors[0], [TOLERANCE], **options))


def deepmind(masks: Masks) -> Scores:
    """HD95, NSD."""
    found = surface_distance.compute_surface_distances(*masks, SPACING)
    return (
        float(surface_distance.compute_robust_hausdorff(found, 95)),
        float(surface_distance.compute_surface_dice_at_tolerance(found, TOLERANCE)),
    )


def timed(call: Callable[[], Scores]) -> tuple[float, Scores]:
    """Return seconds and result."""
    begin = time.perf_counter()
    scores = call()
    return time.perf_counter() - begin, scores


def measure(
    name: str, shape: tuple[int, ...], rounds: int, kept: list[dict[str, float]], save: Callable[[], None]
) -> None:
    """Add rounds of one case to ``kept`` until there are enough, and save after each."""
    if len(kept) >= rounds:
        return
    masks = CASES[name](shape)
    tensors = [torch.from_numpy(mask[None, None].astype(np.float32)) for mask in masks]
    check_boundary_iou(masks)
    for _ in range(len(kept), rounds):
        found = {
            "segcgan, voxels": timed(lambda: ours(masks, Convention("voxels"))),
            "MONAI": timed(lambda: monai(tensors)),
            "segcgan, surfels": timed(lambda: ours(masks, Convention("surfels"))),
            "surface-distance": timed(lambda: deepmind(masks)),
        }
        for their, our in (("MONAI", "segcgan, voxels"), ("surface-distance", "segcgan, surfels")):
            what = f"{name}: {their}"
            np.testing.assert_allclose(found[our][1][:2], found[their][1], rtol=AGREE[their], err_msg=what)
        kept.append({key: seconds for key, (seconds, _) in found.items()})
        save()


def check_boundary_iou(masks: Masks) -> None:
    """Compare Boundary IoU with thresholded distance transforms."""
    union = np.argwhere(masks[0] | masks[1])
    box = tuple(slice(low, high + 1) for low, high in zip(union.min(axis=0), union.max(axis=0), strict=True))
    bands = []
    for mask in masks:
        depth = distance_transform_edt(np.pad(mask[box], 1), sampling=SPACING)
        bands.append((depth > 0) & (depth <= TOLERANCE * (1 + 1e-6)))
    expected = np.count_nonzero(bands[0] & bands[1]) / np.count_nonzero(bands[0] | bands[1])
    np.testing.assert_allclose(MaskPair(*masks, SPACING).boundary_iou(TOLERANCE), expected, rtol=1e-12)


def summary(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Medians in ms and ratios of one case."""
    median = {f"{key}, ms": 1000 * statistics.median(each[key] for each in rounds) for key in rounds[0]}
    pairs = {"MONAI": "segcgan, voxels", "surface-distance": "segcgan, surfels"}
    for their, our in pairs.items():
        ratios = [each[their] / each[our] for each in rounds]
        median |= {f"{their} / {our}": statistics.median(ratios), f"{their} / {our}, least": min(ratios)}
    return {key: round(value, 2) for key, value in median.items()}


def main() -> None:
    """Measure, print a table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=(100, 512, 512), metavar=("D", "H", "W"))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--fresh", action="store_true", help="forget earlier rounds")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    names = ("numpy", "scipy", "monai", "torch", "surface-distance-based-measures")
    about = {
        "size": list(args.size),
        "spacing_mm": list(SPACING),
        "tolerance_mm": TOLERANCE,
        "python": platform.python_version(),
        **{name: version(name) for name in names},
    }
    data = json.loads(args.output.read_text()) if args.output.is_file() and not args.fresh else {}
    if data.get("about") != about:
        data = {"about": about, "rounds": {}}

    def save() -> None:
        data["summary"] = {name: summary(rounds) for name, rounds in data["rounds"].items() if rounds}
        args.output.parent.mkdir(parents=True, exist_ok=True)
        write_text(args.output, json.dumps(data, indent=1) + "\n")

    size = f"{args.size[1]} x {args.size[2]} x {args.size[0]}"
    print(f"{size}, spacing {SPACING} mm, tolerance {TOLERANCE:g} mm, median of {args.rounds} rounds")
    print(
        f"{'case':18}{'voxels ms':>10}{'MONAI ms':>10}{'ratio (least)':>15}"
        f"{'surfels ms':>12}{'s-d ms':>9}{'ratio (least)':>15}"
    )
    for name in CASES:
        measure(name, tuple(args.size), args.rounds, data["rounds"].setdefault(name, []), save)
        cells = list(summary(data["rounds"][name]).values())
        print(
            f"{name:18}{cells[0]:10.0f}{cells[1]:10.0f}{cells[4]:9.1f} ({cells[5]:.1f})"
            f"{cells[2]:12.0f}{cells[3]:9.0f}{cells[6]:9.1f} ({cells[7]:.1f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
