"""The image without Docker: its COPY and RUN steps, executed in a clean folder, leave a command that works."""

import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
DOCKER = ROOT / "docker"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
SYSTEM = ("apt-get", "useradd")  # steps that would change this machine: their form is checked, they are not run
DECOYS = (".venv/lib/big.so", ".git/config", "runs/a/chain.safetensors", "data/patient.dcm", "notes.txt", ".env",
          "segcgan/__pycache__/a.pyc", "configs/refiners/__pycache__/b.pyc")  # fmt: skip


@dataclass
class Stage:
    """One FROM with its instructions."""

    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def of(self, instruction: str) -> list[str]:
        return [text for kind, text in self.steps if kind == instruction]


def parse(text: str) -> tuple[dict[str, str], list[Stage]]:
    """Return the ARGs before the first FROM, and the stages."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        kind, _, rest = line.strip().partition(" ")
        if kind == "FROM":
            base, _, name = rest.partition(" AS ")
            stages.append(Stage(base, name))
        elif kind and stages:
            stages[-1].steps.append((kind, rest.strip()))
        elif kind:
            name, _, value = rest.partition("=")
            arguments[name] = value
    return arguments, stages


ARGUMENTS, STAGES = parse((DOCKER / "Dockerfile").read_text(encoding="utf-8"))
BASE = STAGES[0]


def sent(checkout: Path, patterns: list[str]) -> list[Path]:
    """Files Docker takes from a checkout: the last pattern that fits a path or a folder above it decides."""

    def left_out(path: Path) -> bool:
        places = [path, *path.parents[:-1]]
        verdict = False
        for pattern in patterns:
            bare = pattern.removeprefix("!").removeprefix("**/")
            anywhere = "**/" in pattern
            if any(fnmatch.fnmatch(place.name if anywhere else str(place), bare)
                   for place in places if anywhere or bare.count("/") == str(place).count("/")):  # fmt: skip
                verdict = not pattern.startswith("!")
        return verdict

    files = (path.relative_to(checkout) for path in checkout.rglob("*") if path.is_file())
    return sorted(path for path in files if not left_out(path))


def run_steps(image: Path, context: Path, environment: dict[str, str]) -> Path:
    """Execute the first stage below ``image``; returns the last WORKDIR."""
    here = image
    for kind, text in BASE.steps:
        if kind == "WORKDIR":
            here = image / text.lstrip("/")
            here.mkdir(parents=True, exist_ok=True)
        elif kind == "COPY":
            *sources, target = text.split()
            for source in sources:
                into = here / target / source if target.endswith("/") else here / target
                copy = shutil.copytree if (context / source).is_dir() else shutil.copyfile
                copy(context / source, into)
        elif kind == "RUN" and not text.startswith(SYSTEM):
            script = re.sub(r"--mount=\S+", "", text)
            assert not re.search(r"(^|[\s>])/", script), f"{script} leaves the folder it is tried in"
            # what is installed here is what constraints.txt asks for, so this step must find nothing to fetch
            more = {"PIP_NO_INDEX": "1"} if "-r dependencies.txt" in script else {}
            done = subprocess.run(
                ["sh", "-ec", script], cwd=here, env=environment | more, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{script}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return here


@dataclass
class Image:
    """What the steps left."""

    root: Path
    home: Path
    environment: dict[str, str]
    context: list[str]

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command as the image's user would: in its home, with nothing of the checkout in sight."""
        return subprocess.run(
            words, cwd=self.home, env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image, its Python a fresh one that sees the packages installed here, except segcgan."""
    folder = tmp_path_factory.mktemp("docker")
    checkout, context, root = folder / "checkout", folder / "context", folder / "image"
    own = {".venv", ".git", ".demo", "runs", "data", "shared", "dist", "build"}
    shutil.copytree(ROOT, checkout, ignore=lambda where, names: own & set(names) if Path(where) == ROOT else ())
    for name in DECOYS:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("not for the image", encoding="utf-8")
    files = sent(checkout, (DOCKER / "Dockerfile.dockerignore").read_text(encoding="utf-8").split())
    for path in files:
        (context / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(checkout / path, context / path)
    python = root / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(python)], check=True, capture_output=True)
    (packages,) = python.glob("lib/python*/site-packages")
    (packages / "installed_here.pth").write_text(str(Path(yaml.__file__).parents[1]), encoding="utf-8")
    (python / "bin" / "pip").write_text('#!/bin/sh\nexec python -m pip "$@"\n', encoding="utf-8")  # the one used here
    (python / "bin" / "pip").chmod(0o755)
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SEGCGAN", "VIRTUAL"))}
    environment = keep | {"PATH": f"{python / 'bin'}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    home = run_steps(root, context, environment)
    return Image(root, home, environment | {"HOME": str(home)}, [path.as_posix() for path in files])


def test_the_context_is_the_package_and_its_configs_and_nothing_else(image: Image) -> None:
    assert not set(DECOYS) & set(image.context)
    assert {path.partition("/")[0] for path in image.context} == {
        "pyproject.toml", "constraints.txt", "README.md", "LICENSE", "configs", "segcgan"
    }  # fmt: skip
    needed = "segcgan/cli.py segcgan/report/report.html.jinja configs/smoke.yaml configs/refiners/vae.yaml"
    assert set(needed.split()) <= set(image.context)


def test_the_dependencies_it_installs_are_those_of_the_project(image: Image) -> None:
    listed = (image.root / "opt" / "segcgan" / "dependencies.txt").read_text(encoding="utf-8").splitlines()
    assert listed == PROJECT["dependencies"]


def test_the_user_finds_a_command_that_runs_the_installed_package(image: Image) -> None:
    done = image(*yaml.safe_load(BASE.of("ENTRYPOINT")[0]), *yaml.safe_load(BASE.of("CMD")[0]))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: segcgan VERB")
    where = Path(image("python", "-c", "import segcgan; print(segcgan.__file__)").stdout.strip())
    assert where.is_relative_to(image.root / "python")
    assert list(image.home.iterdir()) == []


def test_info_lists_the_configs_of_the_wheel(image: Image) -> None:
    done = image("segcgan", "info")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split("\t") for line in done.stdout.splitlines()[1:]]
    ours = ROOT / "configs"
    assert sorted(line[0] for line in lines) == sorted(str(p.relative_to(ours)) for p in ours.rglob("*.yaml"))
    (installed,) = image.root.glob("python/lib/*/site-packages/segcgan/configs")
    assert all(Path(line[2]) == installed / line[0] for line in lines)


def test_every_file_of_configs_is_in_the_wheel_unchanged(image: Image) -> None:
    (installed,) = image.root.glob("python/lib/*/site-packages/segcgan/configs")
    ours = [path for path in (ROOT / "configs").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert len(ours) > 10
    for path in ours:
        assert (installed / path.relative_to(ROOT / "configs")).read_bytes() == path.read_bytes(), path.name


def test_training_finds_config_and_overlay_and_says_in_one_sentence_what_is_missing(image: Image) -> None:
    done = image("segcgan", "test", "--config", "smoke.yaml", "--config", "refiners/vae.yaml")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: runs/smoke+vae holds no run to score; train one with")


def test_the_stages_fit_together() -> None:
    assert [stage.name for stage in STAGES] == ["base", "cpu", "gpu", ""]
    assert STAGES[-1].base == "${VARIANT}"
    assert ARGUMENTS == {"VARIANT": "cpu"}
    assert {stage.base for stage in STAGES[1:3]} == {"base"}
    version = re.fullmatch(r"python:(\d+\.\d+)-slim", BASE.base)
    assert version is not None
    assert SpecifierSet(PROJECT["requires-python"]).contains(version.group(1))


def test_the_system_steps_leave_no_package_lists_and_no_root() -> None:
    (apt,) = [text for text in BASE.of("RUN") if text.startswith("apt-get")]
    assert re.fullmatch(
        r"apt-get update && apt-get install -y --no-install-recommends [\w. -]+ && rm -rf /var/lib/apt/lists/\*", apt
    )
    assert "libexpat1" in apt.split()
    (user,) = BASE.of("USER")
    kinds = [kind for kind, _ in BASE.steps]
    assert f"useradd --create-home --uid 1000 {user}" in BASE.of("RUN")
    assert user != "root"
    assert "RUN" not in kinds[kinds.index("USER") :]  # everything is installed before root is given up
    assert BASE.of("WORKDIR")[-1] == f"/home/{user}"
    assert not any(kind in ("RUN", "COPY", "USER") for stage in STAGES[1:] for kind, _ in stage.steps)


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_compose_builds_the_variant_and_mounts_what_the_user_works_on(name: str) -> None:
    assert list(COMPOSE["services"]) == ["cpu", "gpu"]
    service = COMPOSE["services"][name]
    assert service["image"] == f"segcgan:{name}"
    build = service["build"]
    assert (DOCKER / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]) == DOCKER / "Dockerfile"
    assert build["args"] == {"VARIANT": name}
    assert set(build["args"]) == set(ARGUMENTS)
    mounts = [volume.split(":") for volume in service["volumes"]]
    assert [((DOCKER / mount[0]).resolve(), *mount[1:]) for mount in mounts] == [
        (ROOT / "data", "/data", "ro"), (ROOT / "runs", f"{BASE.of('WORKDIR')[-1]}/runs"),
    ]  # fmt: skip
    assert service["shm_size"] == "8gb"
    assert service["user"] == "${UID:-1000}:${GID:-1000}"
    assert service["environment"] == {"HOME": "/tmp"}
    assert service.get("gpus") == ("all" if name == "gpu" else None)
    assert not {"privileged", "ports", "network_mode"} & set(service)
