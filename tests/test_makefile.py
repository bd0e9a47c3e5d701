"""The two commands of the README, with a stand-in for Python: nothing is installed here."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Plays the interpreter: answers the checks as the environment says, makes a "venv" of itself, logs the rest.
STAND_IN = """#!/bin/sh
case "$*" in
    --version) echo "Python 3.10.1" ;;
    *version_info*) exit "${OLD:-0}" ;;
    *ensurepip*) exit "${NO_VENV:-0}" ;;
    "-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    *) echo "$0 $* TMPDIR=${TMPDIR:-}" >> calls.log; exit "${PIP_FAILS:-0}" ;;
esac
"""
DF = """#!/bin/sh
echo "Filesystem 1024-blocks Used Available Capacity Mounted"
echo "/dev/x 1 1 ${FREE_KB} 1% /"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with what the Makefile reads, and stand-ins for python and df in ``bin``."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("python", STAND_IN), ("df", DF)):
        (programs / name).write_text(text, encoding="utf-8")
        (programs / name).chmod(0o755)
    return tmp_path


def make(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "PYT", "TMPDIR"))}
    path = f"{checkout / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["make", *arguments],
        cwd=checkout,
        env={**clean, "PATH": path, "PYTHON": "bin/python", "FREE_KB": "50000000", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def calls(checkout: Path) -> list[str]:
    log = checkout / "calls.log"
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"OLD": "1"}, "Python 3.10.1 is too old: segcgan needs Python 3.11 or newer"),
        ({"NO_VENV": "1"}, "bin/python has no 'venv' module: segcgan installs into .venv; add it"),
        ({"FREE_KB": "11000000"}, "11 GB are free here: segcgan and its packages need 12 GB"),
        ({"PYTHON": "bin/none"}, "bin/none is not found: segcgan needs Python 3.11 or newer"),
    ],
    ids=["old", "no venv", "disk full", "no python"],
)
def test_what_is_missing_is_said_in_one_sentence_before_anything_is_made(
    checkout: Path, environment: dict[str, str], sentence: str
) -> None:
    done = make(checkout, "setup", **environment)
    assert done.returncode != 0
    first, last = done.stderr.splitlines()
    assert first.startswith(sentence)
    assert last.startswith("make: ***")
    assert not (checkout / ".venv").exists()


def test_setup_installs_once_with_its_temporary_files_inside(checkout: Path) -> None:
    done = make(checkout, "setup")
    assert done.returncode == 0, done.stderr
    assert "about 3 GB, once" in done.stdout
    (call,) = calls(checkout)
    assert "-m pip install" in call
    assert "-c constraints.txt -e .[dev]" in call
    assert call.endswith(f"TMPDIR={checkout}/.venv/tmp")
    assert not (checkout / ".venv" / "tmp").exists()
    make(checkout, "setup")
    assert len(calls(checkout)) == 1


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_requirement_installs_again(checkout: Path, name: str) -> None:
    make(checkout, "setup")
    later = (checkout / ".venv" / ".installed").stat().st_mtime + 5
    os.utime(checkout / name, (later, later))
    make(checkout, "setup")
    assert len(calls(checkout)) == 2


def test_a_failed_install_is_tried_again(checkout: Path) -> None:
    assert make(checkout, "setup", PIP_FAILS="1").returncode != 0
    assert make(checkout, "setup").returncode == 0
    assert len(calls(checkout)) == 2


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("demo", "-m segcgan.demo"),
        ("test", "-m pytest -n auto --dist loadfile -k gate"),
        ("lint", "-m mypy --strict segcgan"),
    ],
)
def test_each_command_sets_itself_up(checkout: Path, target: str, command: str) -> None:
    done = make(checkout, target, "PYTEST_ARGS=-k gate")
    assert done.returncode == 0, done.stderr
    assert "-m pip install" in calls(checkout)[0]
    assert f".venv/bin/python {command}" in calls(checkout)[-1]


def test_plain_make_lists_the_targets(checkout: Path) -> None:
    listed = [line.split()[1] for line in make(checkout).stdout.splitlines()]
    assert listed == ["help", "setup", "demo", "test", "lint", "tables", "clean"]
