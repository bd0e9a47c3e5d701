"""The verbs ``fit``, ``validate`` and ``test``."""

import json
import logging
import re
from pathlib import Path
from typing import Any

from segcgan.about import find_config
from segcgan.errors import SegcganError
from segcgan.metrics.summary import Table
from segcgan.runs import Run
from segcgan.tasks.checks import check_config
from segcgan.tasks.evaluation import evaluate
from segcgan.tasks.plan import fit

log = logging.getLogger("segcgan")


def command(verb: str, words: list[str]) -> Table:
    """Run one of the training verbs and return its score table."""
    name, others = split_config(words)
    config = find_config(name)
    content = check_config(config, others)
    runs = Path(_option(others, "plan.runs") or (content.get("plan") or {}).get("runs", "runs"))
    if verb == "fit":
        run = fit(["--config", str(config), *others], config, runs)
        table = json.loads((run.folder / "scores_val.json").read_text())["table"]
        log.info("validation scores of %s", _shown(run.folder))
        shown = _shown(run.folder)
        log.info("report:  %s", shown / "report.html")
        log.info("next:    segcgan test --config %s   |   segcgan predict -i FOLDER -o OUT -m %s", name, shown)
        return table[0], table[1]
    run = Run.find(config.parent if (config.parent / "run.json").is_file() else runs / config.stem)
    stored = run.folder / "config.yaml"
    log.info("%s scores of %s", "validation" if verb == "validate" else "test", _shown(run.folder))
    return evaluate(["--config", str(stored), *others], run, "val" if verb == "validate" else "test")


def split_config(words: list[str]) -> tuple[str, list[str]]:
    """Take ``--config NAME`` (also ``-c`` and ``--config=NAME``) out of a command line.

    Raises:
        SegcganError: it is missing or there are several.
    """
    names, others, left = [], [], list(words)
    while left:
        word = left.pop(0)
        match = re.fullmatch(r"(?:--config|-c)(?:=(.*))?", word)
        if not match:
            others.append(word)
        elif match.group(1) or left:
            names.append(match.group(1) or left.pop(0))
    if len(names) != 1:
        raise SegcganError(
            f"{len(names)} configs were given; give one with --config NAME.yaml (segcgan info lists them)"
        )
    return names[0], others


def _option(words: list[str], key: str) -> Any:
    for index, word in enumerate(words):
        if word == f"--{key}" and index + 1 < len(words):
            return words[index + 1]
        if word.startswith(f"--{key}="):
            return word.partition("=")[2]
    return None


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
