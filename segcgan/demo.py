"""The whole of segcgan on phantoms: scans and scenes, trained, refined, predicted back. ``make demo`` runs it."""

import sys
import time
from pathlib import Path

from segcgan.cli import main

FOLDER = Path(".demo")


def run() -> int:
    """Train and predict both kinds of phantom; returns the exit code."""
    begin = time.perf_counter()
    for kind, title in (("ct", "CT series (DICOM)"), ("scene", "scenes (GeoTIFF)")):
        print(f"\n== phantom {title}", flush=True)
        data, runs = FOLDER / "data" / kind, FOLDER / "runs" / kind
        options = ["--config", "smoke.yaml", f"--data.images.root={data}", f"--data.images.phantoms={kind}"]
        options += [f"--plan.runs={runs}"]
        for verb in ("fit", "test"):
            code = main([verb, *options])
            if code:
                return code
        model = runs / "smoke" / "latest"
        code = main(["predict", "-i", str(data / "images"), "-o", str(FOLDER / "masks" / kind), "-m", str(model)])
        if code:
            return code
    print(f"\n== what is there now, {time.perf_counter() - begin:.0f} s")
    for line in tree(FOLDER, depth=5):
        print(line)
    print("\nlook at:  .demo/runs/ct/smoke/latest/report.html and .demo/runs/scene/smoke/latest/report.html")
    print("next:     .venv/bin/segcgan info            (configs for real images)")
    print("          .venv/bin/python train.py --config cardiac_mr.yaml")
    return 0


def tree(folder: Path, depth: int, shown: int = 6) -> list[str]:
    """Return the lines of a directory tree; of many entries the first few."""
    lines, entries = [f"{folder}/"], []
    if depth:
        entries = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    for path in entries[:shown]:
        if path.is_dir() and not path.is_symlink():
            lines += [f"    {line}" for line in [f"{path.name}/", *tree(path, depth - 1)[1:]]]
        else:
            lines.append(f"    {path.name}")
    if len(entries) > shown:
        lines.append(f"    … {len(entries) - shown} more")
    return lines


if __name__ == "__main__":
    sys.exit(run())
