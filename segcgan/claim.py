"""One process at a time works in a folder."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segcgan.errors import SegcganError

BEAT = 20.0  # seconds between two signs of life of a holder
SILENT = 300.0  # seconds without one after which a holder counts as dead


@contextmanager
def claimed(mark: Path, doing: str) -> Iterator["Claim"]:
    """Hold a folder by a file in it, which names host and process and is touched every 20 seconds.

    A mark does not count when its process of this host has ended, or when nobody has touched it for five minutes:
    whether a process of another host lives cannot be asked. The same process may claim again.

    Args:
        mark: the file; its folder exists.
        doing: what the process does with the folder, such as "trained".

    Raises:
        SegcganError: another process holds it.
    """
    claim = Claim(mark, doing)
    first = claim.take()
    stop = threading.Event()
    beating = threading.Thread(target=_beat, args=(claim, stop), daemon=True)
    if first:
        beating.start()
    try:
        yield claim
    finally:
        stop.set()
        if first:
            beating.join()
            claim.release()


class Claim:
    """A mark of this process on a folder; see :func:`claimed`."""

    def __init__(self, mark: Path, doing: str) -> None:
        self.mark = mark
        self.doing = doing
        self.me = f"{socket.gethostname()} {os.getpid()}"

    def take(self) -> bool:
        """Set the mark; tells whether it was not there before.

        Raises:
            SegcganError: another process holds the folder.
        """
        for _ in range(3):  # a mark may vanish, or come, between two looks
            try:
                with self.mark.open("x", encoding="utf-8") as file:
                    file.write(self.me)
            except FileExistsError:
                owner = self._owner()
                if owner == self.me:
                    return False
                if owner is None:
                    continue
                if self._lives(owner):
                    break
                self._put_aside(owner)
            else:
                return True
        raise SegcganError(self._refusal(self._owner() or ""))

    def check(self) -> None:
        """Raise SegcganError when another process has taken over, because this one was halted for long."""
        owner = self._owner()
        if owner is not None and owner != self.me:
            raise SegcganError(self._refusal(owner))

    def release(self) -> None:
        """Take the mark away, if it is still that of this process."""
        if self._owner() == self.me:
            self.mark.unlink(missing_ok=True)

    def _owner(self) -> str | None:
        try:
            return self.mark.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def _lives(self, owner: str) -> bool:
        host, _, process = owner.partition(" ")
        if host == socket.gethostname() and process.isdecimal() and not _alive(int(process)):
            return False
        return self._silence() < SILENT

    def _silence(self) -> float:
        """Seconds since the mark was touched, by the clock of the file system."""
        probe = self.mark.with_name(f".{self.mark.name.lstrip('.')}.{os.getpid()}.part")
        try:
            probe.touch()
            return probe.stat().st_mtime - self.mark.stat().st_mtime
        except FileNotFoundError:
            return float("inf")
        finally:
            probe.unlink(missing_ok=True)

    def _put_aside(self, owner: str) -> None:
        """Remove a dead mark, unless another process has been quicker and set its own."""
        aside = self.mark.with_name(f".{self.mark.name.lstrip('.')}.aside.{os.getpid()}.part")
        try:
            self.mark.rename(aside)
        except FileNotFoundError:
            return
        try:
            if aside.read_text(encoding="utf-8") != owner and not self.mark.exists():
                aside.rename(self.mark)
        finally:
            aside.unlink(missing_ok=True)

    def _refusal(self, owner: str) -> str:
        host, _, process = owner.partition(" ")
        who = f"process {process}" + (f" of {host}" if host != socket.gethostname() else "")
        return f"{self.mark.parent} is being {self.doing} by {who}; wait for it, or delete {self.mark} if it is not"


def _beat(claim: Claim, stop: threading.Event) -> None:
    while not stop.wait(BEAT):
        if claim._owner() != claim.me:  # taken over, or deleted by the user
            return
        try:
            os.utime(claim.mark)
        except OSError:
            return


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
