"""The design as a test: who may import whom, how long things may be, what stays out of where."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "segcgan"

FLOORS = [  # from the ground up; a module imports from its own floor or a lower one
    {"__init__", "atomic", "case", "claim", "classes", "colours", "errors", "batch", "masks", "noise"},
    {"formats"},
    {"data"},
    {"losses", "metrics"},
    {"segmenters", "critics", "priors", "regularisers", "refiners", "gates"},
    {"runs", "chain", "parts"},
    {"inference"},
    {"report", "about"},
    {"tasks"},
    {"cli", "demo", "usage", "__main__"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
MAX_FILE, MAX_FUNCTION, MAX_ARGUMENTS = 300, 60, 9

Function = ast.FunctionDef | ast.AsyncFunctionDef


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


FILES = sorted(PACKAGE.rglob("*.py"))


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of every import, also inside functions; ``package`` resolves relative ones."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: 1 - node.level or None] if node.level else []
            origin = ".".join([*parents, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)


def package_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).parent.parts)


def room_of(dotted: str) -> str | None:
    """The room of ``segcgan.room.thing``; what ``segcgan/__init__.py`` defines itself is on the ground floor."""
    root, _, rest = dotted.partition(".")
    if root != "segcgan":
        return None
    room = rest.partition(".")[0]
    return room if (PACKAGE / room).is_dir() or (PACKAGE / f"{room}.py").is_file() else "__init__"


def climbs(tree: ast.AST, package: str, room: str) -> list[str]:
    """Imports that reach a higher floor than the one of ``room``."""
    found = []
    for line, name in imports(tree, package):
        target = room_of(name)
        if target in FLOOR and FLOOR[target] > FLOOR[room]:
            found.append(f"line {line}: {room} (floor {FLOOR[room]}) imports {name} (floor {FLOOR[target]})")
    return found


def public(tree: ast.Module) -> Iterator[ast.ClassDef | Function]:
    """Yield public classes and functions of a module and public methods of its public classes."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in tree.body:
        if isinstance(node, kinds) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (n for n in node.body if isinstance(n, kinds[1:]) and not n.name.startswith("_"))


def decorated(node: ast.ClassDef | Function, *names: str) -> bool:
    return any(ast.unparse(decorator).rpartition(".")[2] in names for decorator in node.decorator_list)


def arguments(function: Function) -> int:
    """The number of arguments, without ``self`` and ``cls``, and without ``*args`` and ``**kwargs``."""
    parts = function.args
    names = [argument.arg for argument in (*parts.posonlyargs, *parts.args, *parts.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def test_every_room_has_a_floor() -> None:
    rooms = {Path(relative(path)).parts[0].removesuffix(".py") for path in FILES}
    assert rooms - FLOOR.keys() == set(), "give each a floor in FLOORS and in the design"


def test_imports_go_down() -> None:
    rooms = {path: Path(relative(path)).parts[0].removesuffix(".py") for path in FILES}
    found = {relative(path): climbs(parse(path), package_of(path), room) for path, room in rooms.items()}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "source",
    ["import segcgan.tasks", "from segcgan import tasks", "from segcgan.tasks import x", "from .. import tasks"],
)
def test_an_import_upwards_is_seen(source: str) -> None:
    """The check itself can fail, whichever way the import is spelled and also inside a function."""
    tree = ast.parse(f"def lazily():\n    {source}\n")
    (found,) = climbs(tree, "segcgan.formats", "formats")
    assert found.startswith("line 2: formats (floor 1) imports segcgan.tasks")


def too_long(path: Path) -> Iterator[str]:
    """Say what of a file is too long."""
    lines = len(path.read_text(encoding="utf-8").splitlines())
    if lines > MAX_FILE:
        yield f"{relative(path)} has {lines} lines, at most {MAX_FILE}; split it by nouns"
    for node in ast.walk(parse(path)):
        if isinstance(node, Function):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION:
                yield f"{relative(path)}: {node.name} has {length} lines of {MAX_FUNCTION}"
            if arguments(node) > MAX_ARGUMENTS:
                yield f"{relative(path)}: {node.name} takes {arguments(node)} arguments of {MAX_ARGUMENTS}"


def test_files_and_functions_are_short() -> None:
    assert [fault for path in FILES for fault in too_long(path)] == []


def test_modules_are_named_after_what_they_hold() -> None:
    assert [path for path in FILES if {Path(part).stem for part in Path(relative(path)).parts} & FORBIDDEN_NAMES] == []


def undocumented(path: Path) -> list[str]:
    """Return what is public in a file and has no docstring."""
    tree, exempt = parse(path), ("overload", "override", "setter")
    bare = [node.name for node in public(tree) if not ast.get_docstring(node) and not decorated(node, *exempt)]
    return [f"{relative(path)}: {name}" for name in (bare if ast.get_docstring(tree) else ["the file", *bare])]


def test_the_public_is_documented() -> None:
    assert [name for path in FILES for name in undocumented(path)] == []


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("albumentations", {"data/augment.py"}),  # its successor is AGPL: one file to replace
        ("lightning", set()),  # a second import root is a second set of classes: isinstance fails silently
    ],
    ids=["albumentations", "lightning"],
)
def test_imports_kept_to_their_place(module: str, allowed: set[str]) -> None:
    found = {
        relative(path)
        for path in FILES
        for _, name in imports(parse(path), package_of(path))
        if name.partition(".")[0] == module
    }
    assert found == allowed


def test_no_class_path_names_the_other_lightning() -> None:
    files = [*FILES, *sorted((ROOT / "configs").rglob("*.y*ml"))]
    found = [path for path in files if "lightning.pytorch" in path.read_text(encoding="utf-8")]
    assert found == [], "write pytorch_lightning"


def test_only_the_command_line_prints() -> None:
    found = []
    for path in FILES:
        calls = (node for node in ast.walk(parse(path)) if isinstance(node, ast.Call))
        if any(isinstance(node.func, ast.Name) and node.func.id == "print" for node in calls):
            found.append(relative(path))
    assert set(found) <= {"cli.py", "demo.py"}


FORMATS = [f"segcgan.formats.{path.stem}" for path in sorted((PACKAGE / "formats").glob("[!_]*.py"))]


@pytest.mark.parametrize(
    "modules",
    [
        ["segcgan"],
        ["segcgan.cli"],
        ["segcgan.case", "segcgan.classes", "segcgan.errors"],
        ["segcgan.formats", *FORMATS],
    ],
    ids=["segcgan", "cli", "ground", "formats"],
)
def test_the_first_contact_is_without_torch(modules: list[str]) -> None:
    code = f"import sys, {', '.join(modules)}; sys.exit('torch was imported' if 'torch' in sys.modules else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
