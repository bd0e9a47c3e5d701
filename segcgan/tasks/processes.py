"""Which of several processes this is, and how those that a launcher started agree on one run folder."""

import os
import time
from collections.abc import Callable

from segcgan.errors import SegcganError
from segcgan.runs import Run

_PATIENCE = 600.0  # seconds: the first process opens all images and reads masks before it names a run


def rank() -> int:
    """Return the number of this process; 0 = the first, which writes."""
    names = ("RANK", "LOCAL_RANK", "SLURM_PROCID")  # torchrun, Lightning's own processes, srun
    return int(next((os.environ[name] for name in names if name in os.environ), 0))


def launch() -> str | None:
    """Return what the processes of one launch by torchrun or srun have in common, and no other has; None = neither."""
    said = os.environ.get
    if "TORCHELASTIC_RUN_ID" in os.environ:
        place = f"{said('MASTER_ADDR')}:{said('MASTER_PORT')}"
        return f"torchrun {said('TORCHELASTIC_RUN_ID')} {place} {said('TORCHELASTIC_RESTART_COUNT')}"
    if "SLURM_STEP_ID" in os.environ:
        return f"srun {said('SLURM_JOB_ID')}.{said('SLURM_STEP_ID')} {said('SLURM_RESTART_COUNT', '0')}"
    return None


def await_run(find: Callable[[], Run | None], patience: float = _PATIENCE) -> Run:
    """Return the run that the first process of this launch chose, once it has.

    Args:
        find: looks for it.
        patience: seconds until it is given up.

    Raises:
        SegcganError: the first process chose none in time.
    """
    mine, end = launch(), time.monotonic() + patience
    while time.monotonic() < end:
        run = find()
        if run is not None and run.facts.get("launch") == mine:
            return run
        time.sleep(0.2)
    raise SegcganError(f"process {rank()} waited {patience:.0f} s for the first one to name a run; see what that says")
