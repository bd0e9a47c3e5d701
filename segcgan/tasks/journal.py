"""What stages logged, kept over interruptions and joined into one table."""

import csv
from pathlib import Path

from segcgan.atomic import replacing


def keep_earlier_metrics(folder: Path) -> None:
    """Set the metrics of an interrupted stage aside: the logger of the resumed one deletes what it finds."""
    written = folder / "metrics.csv"
    if written.exists():
        written.replace(folder / f"earlier_{len(list(folder.glob('earlier_*.csv'))):03d}.csv")


def join_metrics(folder: Path) -> None:
    """Put what interrupted fits logged in front of the metrics of a finished stage."""
    earlier = sorted(folder.glob("earlier_*.csv"))
    if earlier:
        join_tables({path: {} for path in [*earlier, folder / "metrics.csv"]}, folder / "metrics.csv")
        for path in earlier:
            path.unlink()


def join_tables(files: dict[Path, dict[str, str]], target: Path) -> None:
    """Write the lines of several CSV files, each with further columns, into one; atomically."""
    lines: list[dict[str, str]] = []
    for path, more in files.items():
        with path.open(newline="") as stream:
            lines += [{**more, **line} for line in csv.DictReader(stream)]
    columns = list(dict.fromkeys(key for line in lines for key in line))
    with replacing(target) as draft, draft.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(lines)
