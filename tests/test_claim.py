"""One process at a time in a folder; a dead one does not count, one of another host is asked by its signs of life."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import segcgan.claim
from segcgan.claim import SILENT, claimed
from segcgan.errors import SegcganError

HOLD = "import sys, time\nfrom pathlib import Path\nfrom segcgan.claim import claimed\n"
HOLD += "with claimed(Path(sys.argv[1]), 'trained'):\n    print('held', flush=True)\n    time.sleep(60)\n"


def test_another_process_is_refused_until_it_is_killed(tmp_path: Path) -> None:
    mark = tmp_path / "running"
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(mark)], stdout=subprocess.PIPE)
    assert other.stdout is not None
    assert other.stdout.readline() == b"held\n"
    expected = f"{tmp_path} is being trained by process {other.pid}; wait for it, or delete {mark} if it is not"
    with pytest.raises(SegcganError) as caught, claimed(mark, "trained"):
        pass
    assert str(caught.value) == expected
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    assert mark.is_file()
    with claimed(mark, "trained"):
        assert mark.read_text() == f"{socket.gethostname()} {os.getpid()}"
    assert list(tmp_path.iterdir()) == []


def test_the_same_process_may_claim_again(tmp_path: Path) -> None:
    mark = tmp_path / "running"
    with claimed(mark, "trained"):
        with claimed(mark, "trained"):
            pass
        assert mark.is_file()
    assert not mark.exists()


def test_a_failure_gives_the_folder_back(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), claimed(tmp_path / "running", "trained"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_another_host_counts_as_long_as_it_gives_signs_of_life(tmp_path: Path) -> None:
    mark = tmp_path / "running"
    mark.write_text("elsewhere 7")
    with pytest.raises(SegcganError, match="is being trained by process 7 of elsewhere; wait for it, or delete"):
        claimed(mark, "trained").__enter__()
    assert mark.read_text() == "elsewhere 7"
    old = time.time() - SILENT - 10
    os.utime(mark, (old, old))
    with claimed(mark, "trained"):
        assert mark.read_text().endswith(f" {os.getpid()}")
    assert list(tmp_path.iterdir()) == []


def test_a_number_taken_by_another_program_holds_nothing_for_long(tmp_path: Path) -> None:
    mark = tmp_path / "running"
    mark.write_text(f"{socket.gethostname()} {os.getppid()}")
    old = time.time() - SILENT - 10
    os.utime(mark, (old, old))
    with claimed(mark, "trained"):
        pass


def test_a_holder_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segcgan.claim, "BEAT", 0.02)
    mark = tmp_path / "running"
    with claimed(mark, "trained"):
        os.utime(mark, (1, 1))
        end = time.monotonic() + 10
        while mark.stat().st_mtime < 2 and time.monotonic() < end:
            time.sleep(0.02)
        assert mark.stat().st_mtime > time.time() - 60


def test_a_process_that_lost_its_folder_is_stopped_and_leaves_the_mark_of_the_other(tmp_path: Path) -> None:
    mark = tmp_path / "running"
    with claimed(mark, "trained") as claim:
        claim.check()
        mark.write_text("elsewhere 7")
        with pytest.raises(SegcganError, match="is being trained by process 7 of elsewhere"):
            claim.check()
    assert mark.read_text() == "elsewhere 7"
    mark.unlink()
    with claimed(mark, "trained") as claim:
        mark.unlink()  # by the user, who was told to
        claim.check()


def test_of_many_at_once_one_holds(tmp_path: Path) -> None:
    mark = tmp_path / "running"
    mark.write_text(f"{socket.gethostname()} 999999999")  # of a dead process, which all of them find
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    crowd = [subprocess.Popen([sys.executable, "-c", HOLD, str(mark)], **quiet) for _ in range(6)]
    try:
        end = time.monotonic() + 30
        while sum(one.poll() is None for one in crowd) > 1 and time.monotonic() < end:
            time.sleep(0.05)
        assert sum(one.poll() is None for one in crowd) == 1
    finally:
        for one in crowd:
            one.kill()
            one.wait()
