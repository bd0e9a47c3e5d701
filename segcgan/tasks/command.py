"""The verbs ``fit``, ``validate`` and ``test``."""

import json
import logging
import shlex
from pathlib import Path

from pytorch_lightning.utilities.exceptions import MisconfigurationException  # type: ignore[attr-defined]

from segcgan.about import find_config
from segcgan.errors import SegcganError
from segcgan.metrics.summary import Table
from segcgan.runs import Run
from segcgan.tasks.checks import check_config
from segcgan.tasks.evaluation import evaluate
from segcgan.tasks.plan import fit
from segcgan.tasks.processes import rank
from segcgan.tasks.settings import completions, layered, read_settings
from segcgan.tasks.stage import one_sentence

log = logging.getLogger("segcgan")


def command(verb: str, names: list[str], overrides: list[str]) -> Table:
    """Run one of the training verbs and return its score table.

    Args:
        verb: "fit", "validate" or "test".
        names: of configs, or their paths; a later one changes what an earlier one says.
        overrides: ``--section.key value`` …

    Raises:
        SegcganError: something is wrong with the config, the data or the run.
    """
    try:
        return _carry_out(verb, names, overrides)
    except MisconfigurationException as error:  # Lightning's, of what shows only once it meets the data
        raise SegcganError(f"the config cannot be used: {one_sentence(error)}") from error


def _carry_out(verb: str, names: list[str], overrides: list[str]) -> Table:
    with layered([find_config(name) for name in names]) as config:
        overrides = [*overrides, *completions(config, overrides)]
        runs = Path((check_config(config, overrides).get("plan") or {}).get("runs", "runs"))
        again = shlex.join([word for name in names for word in ("--config", name)])
        if "plan.runs" in read_settings(config, overrides)[1]:
            again += f" --plan.runs {shlex.quote(str(runs))}"
        if verb == "fit":
            run = fit(["--config", str(config), *overrides], config, runs)
            if rank():
                return [], []  # the first process still writes what is read here
            table = json.loads((run.folder / "scores_val.json").read_text())["table"]
            shown = _shown(run.folder)
            log.info("validation scores of %s", shown)
            log.info("report:  %s", shown / "report.html")
            quoted = shlex.quote(str(shown))
            log.info("next:    segcgan test %s   |   segcgan predict -i FOLDER -o OUT -m %s", again, quoted)
            return table[0], table[1]
        run = _finished(config, runs, again)
    stored = run.folder / "config.yaml"
    log.info("%s scores of %s", "validation" if verb == "validate" else "test", _shown(run.folder))
    return evaluate(["--config", str(stored), *overrides], run, "val" if verb == "validate" else "test")


def _finished(config: Path, runs: Path, again: str) -> Run:
    base = config.parent if (config.parent / "run.json").is_file() else runs / config.stem
    if not base.is_dir():
        raise SegcganError(f"{base} holds no run to score; train one with segcgan fit {again}")
    run = Run.find(base)
    if not run.finished("chain"):
        raise SegcganError(f"{run.folder} is not trained to its end; go on with segcgan fit {again}")
    return run


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
