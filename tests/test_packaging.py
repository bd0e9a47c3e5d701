"""What a newcomer gets: versions that fit together, a wheel with its configs, no host names, a licence."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import segcgan

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
WHEEL = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.+!]+")
HOST = re.compile(r"\w+://|--(extra-)?index-url|--find-links|\b[\w-]+\.(com|org|net|io|dev|ai)\b")


def pins() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


PINNED = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in pins())}
EXTRAS = PROJECT["optional-dependencies"]


def test_the_version_is_written_once() -> None:
    assert "version" in PROJECT["dynamic"]
    assert PYPROJECT["tool"]["hatch"]["version"]["path"] == "segcgan/__init__.py"
    assert str(Version(segcgan.__version__)) == segcgan.__version__


def test_the_changelog_begins_with_what_is_unreleased_and_knows_no_later_version() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    released = [Version(heading) for heading in headings[1:]]
    assert released == sorted(released, reverse=True)
    assert all(version <= Version(segcgan.__version__) for version in released)


def test_constraints_are_exact_and_sorted() -> None:
    assert [line for line in pins() if not PIN.fullmatch(line)] == []
    assert pins() == sorted(pins(), key=str.upper)
    assert "segcgan" not in PINNED


@pytest.mark.parametrize("text", [*PROJECT["dependencies"], *EXTRAS["dev"]])
def test_what_is_installed_is_pinned_within_its_range(text: str) -> None:
    wanted = Requirement(text)
    pinned = PINNED.get(canonicalize_name(wanted.name))
    assert pinned is not None, f"{wanted.name} is missing in constraints.txt"
    assert wanted.specifier.contains(pinned, prereleases=True), f"{text} excludes the pinned {pinned}"


@pytest.mark.parametrize("text", [text for name, extra in EXTRAS.items() if name != "dev" for text in extra])
def test_a_pin_does_not_break_an_extra(text: str) -> None:
    pinned = PINNED.get(canonicalize_name(Requirement(text).name))
    assert pinned is None or Requirement(text).specifier.contains(pinned, prereleases=True)


@pytest.mark.parametrize(
    "name",
    ["pyproject.toml", "constraints.txt", "Makefile", ".ci/run", "docker/Dockerfile", "docker/compose.yaml"],
)
def test_no_file_of_the_setup_names_a_host(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert HOST.search(text) is None, f"{name}: packages come from wherever the user's pip is set to look"


def test_every_config_is_in_the_wheel() -> None:
    mapped = {ROOT / source: target for source, target in WHEEL["force-include"].items()}
    assert mapped[ROOT / "configs"] == "segcgan/configs"
    configs = sorted((ROOT / "configs").rglob("*.y*ml"))
    assert configs, "configs/ is empty"
    assert [path for path in configs if not any(path.is_relative_to(source) for source in mapped)] == []


def test_the_wheel_holds_the_package_with_its_marker_of_types() -> None:
    assert WHEEL["packages"] == ["segcgan"]
    assert (ROOT / "segcgan" / "py.typed").is_file()


def test_the_licence_is_the_one_declared() -> None:
    (name,) = PROJECT["license-files"]
    text = (ROOT / name).read_text(encoding="utf-8")
    assert PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_ci_script_is_a_sound_executable() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o100
    assert "set -euo pipefail" in script.read_text(encoding="utf-8")
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("skipped", "complaint"),
    [
        ("", ""),
        ('<skipped type="pytest.skip" message="needs a GPU"/>', ""),
        ('<skipped type="pytest.xfail" message="known"/>', ""),
        (
            '<skipped type="pytest.skip" message="needs the real images"/>',
            "Skipped, and not for want of a GPU:\ntests.test_a::test_b: needs the real images\n",
        ),
    ],
    ids=["none", "gpu", "expected failure", "other"],
)
def test_ci_accepts_a_skip_only_for_want_of_a_gpu(tmp_path: Path, skipped: str, complaint: str) -> None:
    junit = tmp_path / "junit.xml"
    case = f'<testcase classname="tests.test_a" name="test_b">{skipped}</testcase>'
    junit.write_text(f"<testsuites><testsuite>{case}</testsuite></testsuites>", encoding="utf-8")
    command = [sys.executable, str(ROOT / ".ci" / "skips.py"), str(junit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1 if complaint else 0, complaint)
