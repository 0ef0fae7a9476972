"""The shape of the package: which file may import which, and what a file may be called.

The rules are the tables below. Every import counts, wherever it stands: at the top of a file, in a function,
or under `if TYPE_CHECKING:`. The one exception is the order of files in the kernel and of rooms on one floor:
there annotations may name what comes later, since concepts refer to each other and only their code must not.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

# From the ground up. A room is a file or folder directly under nursery/. It may import itself, the rooms on
# floors below its own, and those on its own floor as long as no circle arises.
FLOORS = (
    ("kernel",),
    ("timeouts", "resource", "sync", "channels"),
    (
        "streams",
        "network",
        "tls",
        "processes",
        "threads",
        "signals",
        "files",
        "socket",
        "to_thread",
        "from_thread",
    ),
    # Public namespaces, which gather names from all floors below.
    ("abc", "lowlevel"),
    ("patterns",),
    # The package's own __init__: the public names.
    ("nursery",),
    ("inspect",),
    ("compat",),
    ("testing",),
    ("pytest_plugin",),
)

# Within nursery/kernel/, in import order: a file imports only from files before it.
KERNEL = (
    "errors",
    "current",
    "traps",
    "clock",
    "deadlines",
    "scope",
    "closing",
    "task",
    "calling",
    "handle",
    "nursery",
    "parking",
    "inbox",
    "interrupts",
    "generators",
    "foreign",
    "instruments",
    "io.interest",
    "io.epoll",
    "io.selectors",
    "io",
    "runvar",
    "idle",
    "runner",
    "loop",
    "entry",
    "guest",
    # The kernel's own __init__: its public door.
    "kernel",
)

# What the kernel may import from outside the package. _typeshed exists for type checkers only.
OUTSIDE = sys.stdlib_module_names - {"asyncio", "ssl"} | {"outcome", "sortedcontainers", "_typeshed"}

# Names that say nothing about what is inside.
EMPTY_NAMES = {"util", "utils", "helper", "helpers", "common", "misc", "base"}

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "nursery"
FILES = sorted(PACKAGE.rglob("*.py"))
EACH_FILE = pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
EACH_KERNEL_FILE = pytest.mark.parametrize(
    "file",
    [file for file in FILES if file.is_relative_to(PACKAGE / "kernel")],
    ids=lambda file: str(file.relative_to(ROOT)),
)


@dataclass(frozen=True)
class Import:
    """A module that a file imports: its dotted name, the line, and whether only a type checker sees it."""

    module: str
    line: int
    for_types: bool


class ImportFinder(ast.NodeVisitor):
    """Collects every import of one file, relative ones resolved."""

    def __init__(self, file: Path) -> None:
        self.imports: list[Import] = []
        self._package = dotted(file if file.name == "__init__.py" else file.parent)
        self._for_types = False
        self.visit(ast.parse(file.read_text(encoding="utf-8"), str(file)))

    def visit_If(self, node: ast.If) -> None:
        outer = self._for_types
        self._for_types = outer or ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for statement in node.body:
            self.visit(statement)
        self._for_types = outer
        for statement in node.orelse:
            self.visit(statement)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name, node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        source = node.module or ""
        if node.level:
            anchor = self._package.split(".")
            anchor = anchor[: len(anchor) - node.level + 1]
            source = ".".join([*anchor, source] if source else anchor)
        for alias in node.names:
            name = f"{source}.{alias.name}"
            # `from nursery.kernel import task` means the file task.py, if there is one, and else a name in
            # kernel/__init__.py.
            self._add(name if is_module(name) else source, node)

    def _add(self, module: str, node: ast.stmt) -> None:
        self.imports.append(Import(module, node.lineno, self._for_types))


def dotted(path: Path) -> str:
    """The dotted name of a module's file or a package's folder."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def is_ours(module: str) -> bool:
    return module.split(".")[0] == "nursery"


def room(module: str) -> str:
    """The room that a dotted name is in; "nursery" for the package's own __init__."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "nursery"


def floor(module: str) -> int:
    """The index of the floor that a dotted name is on."""
    for index, rooms in enumerate(FLOORS):
        if room(module) in rooms:
            return index
    pytest.fail(f"nursery/{room(module)} has no floor yet: give it one in FLOORS")


def place_in_kernel(module: str) -> int:
    """The index in KERNEL of a dotted name; what is inside a listed folder shares the folder's place."""
    parts = module.split(".")[2:] or ["kernel"]
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        if name in KERNEL:
            return KERNEL.index(name)
    pytest.fail(f"{module} has no place in the kernel's order yet: give it one in KERNEL")


def imports_of(file: Path) -> list[Import]:
    return ImportFinder(file).imports


def report(file: Path, wrong: list[Import]) -> str:
    """One line for each import that breaks a rule; empty if none does."""
    return "\n".join(f"{file.relative_to(ROOT)}:{found.line} imports {found.module}" for found in wrong)


@EACH_FILE
def test_imports_point_only_down(file: Path) -> None:
    here = dotted(file)
    wrong = [
        found
        for found in imports_of(file)
        if is_ours(found.module) and room(found.module) != room(here) and floor(found.module) > floor(here)
    ]
    assert not wrong, report(file, wrong)


@EACH_FILE
def test_every_file_has_a_floor(file: Path) -> None:
    floor(dotted(file))


def test_no_circle_of_rooms_imports_each_other() -> None:
    below: dict[str, set[str]] = {}
    for file in FILES:
        here = room(dotted(file))
        for found in imports_of(file):
            if is_ours(found.module) and not found.for_types and room(found.module) != here:
                below.setdefault(here, set()).add(room(found.module))
    try:
        TopologicalSorter(below).prepare()
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        pytest.fail(f"these rooms import each other in a circle: {circle}")


@EACH_KERNEL_FILE
def test_a_kernel_file_imports_only_from_those_before_it(file: Path) -> None:
    place = place_in_kernel(dotted(file))
    wrong = [
        found
        for found in imports_of(file)
        if room(found.module) == "kernel"
        and is_ours(found.module)
        and not found.for_types
        and place_in_kernel(found.module) >= place
    ]
    assert not wrong, report(file, wrong)


@EACH_KERNEL_FILE
def test_the_kernel_needs_only_the_standard_library_outcome_and_sortedcontainers(file: Path) -> None:
    wrong = [
        found
        for found in imports_of(file)
        if not is_ours(found.module) and found.module.split(".")[0] not in OUTSIDE
    ]
    assert not wrong, report(file, wrong)


@EACH_FILE
def test_every_name_says_what_is_inside(file: Path) -> None:
    empty = [part for part in dotted(file).split(".") if part.strip("_").lower() in EMPTY_NAMES]
    assert not empty, f"{file.relative_to(ROOT)}: {empty[0]!r} could hold anything; name the concept"


@pytest.mark.parametrize("heavy", ["asyncio", "ssl"])
def test_importing_nursery_does_not_load(heavy: str) -> None:
    # In a fresh interpreter: this one has long loaded both.
    program = f"import nursery, sys; sys.exit({heavy!r} in sys.modules)"
    finished = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr or f"`import nursery` loads {heavy}"


@pytest.mark.parametrize("folder", ["nursery", "tests"])
def test_every_folder_of_python_files_is_a_package(folder: str) -> None:
    # Test files may then bear the same name in different folders, and a folder of the package that lacks its
    # __init__.py does not silently become a namespace package.
    lacking = {
        str(file.parent.relative_to(ROOT))
        for file in (ROOT / folder).rglob("*.py")
        if not (file.parent / "__init__.py").exists()
    }
    assert not lacking, f"no __init__.py in {sorted(lacking)}"
