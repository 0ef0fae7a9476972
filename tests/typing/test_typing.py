"""The programs of this folder are what mypy must accept and refuse.

They are checked in strict mode, where an ignored error that does not occur is an error itself: so each
`type: ignore` demands its error, and each `assert_type` its type.

Those in asyncio_programs/ are written against asyncio, and checked twice: as they are, and with compat in asyncio's
place.  The same lines must be right, and the same ones wrong.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy")

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PROGRAMS = [HERE / "spawning.py", HERE / "running.py", HERE / "crossing.py"]
ASYNCIO_PROGRAMS = sorted(set((HERE / "asyncio_programs").glob("*.py")) - {HERE / "asyncio_programs" / "__init__.py"})
VERSIONS = ("3.11", "3.12", "3.13", "3.14")


def mypy(*files: Path, options: tuple[str, ...] = (), notes: bool = False) -> list[str]:
    """Check files with the project's configuration; return the lines of the complaint, and of the notes if wished."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", "--hide-error-context", *options, *map(str, files)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    # What it says of the package itself is no matter here.
    lines = [line for line in done.stdout.splitlines() if not line.startswith("nursery/")]
    return [line for line in lines if ": error:" in line or (notes and ": note:" in line)]


def test_mypy_finds_every_marked_error_and_no_other() -> None:
    assert mypy(*PROGRAMS) == []


def test_without_the_marks_each_marked_line_is_an_error(tmp_path: Path) -> None:
    expected: set[str] = set()
    copies: list[Path] = []
    for program in PROGRAMS:
        copy = tmp_path / program.name
        lines = program.read_text().splitlines()
        expected |= {f"{copy.name}:{n}" for n, line in enumerate(lines, 1) if "# type: ignore[" in line}
        copy.write_text("\n".join(line.partition("  # type: ignore[")[0] for line in lines) + "\n")
        copies.append(copy)
    found = {match[1] for line in mypy(*copies) if (match := re.search(r"(\w+\.py:\d+)", line))}
    assert len(expected) > 20
    assert found == expected


# Programs written against asyncio

# The first version whose asyncio has what a program is about, as that program says.
SINCE = re.compile(r"^# asyncio: 3\.(\d+)$", re.MULTILINE)


def against_asyncio(program: str) -> str:
    program = program.replace("from nursery import compat as asyncio\n", "import asyncio\n")
    return program.replace("from nursery.compat import", "from asyncio import")


def against_compat(program: str) -> str:
    """Put compat in asyncio's place: the import of the package, of submodules, and of names."""
    program = re.sub(r"^import asyncio$", "from nursery import compat as asyncio", program, flags=re.MULTILINE)
    program = re.sub(r"^import asyncio\.", "import nursery.compat.", program, flags=re.MULTILINE)
    return re.sub(r"^from asyncio\b", "from nursery.compat", program, flags=re.MULTILINE)


def test_the_programs_are_changed_in_their_imports_alone() -> None:
    for path in ASYNCIO_PROGRAMS:
        program = path.read_text()
        ours, theirs = against_compat(program).splitlines(), against_asyncio(program).splitlines()
        changed = [(mine, yours) for mine, yours in zip(ours, theirs, strict=True) if mine != yours]
        assert changed
        for mine, yours in changed:
            assert re.match(r"(from|import) nursery\b", mine)
            assert re.match(r"(from|import) asyncio\b", yours)
        assert not any(re.match(r"\s*(from|import) asyncio\b", line) for line in ours)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_right_and_wrong_with_asyncio_is_so_with_compat(version: str, tmp_path: Path) -> None:
    copies: list[Path] = []
    for path in ASYNCIO_PROGRAMS:
        program = path.read_text()
        since = SINCE.search(program)
        variants = {"compat": against_compat(program)}
        if since is None or int(version.removeprefix("3.")) >= int(since[1]):
            variants["asyncio"] = against_asyncio(program)
        for name, text in variants.items():
            copies.append(tmp_path / f"{path.stem}_with_{name}.py")
            copies[-1].write_text(text)
    complaints = mypy(*copies, options=("--python-version", version))
    assert [line for line in complaints if "_with_" in line] == []


class Revealing(ast.NodeTransformer):
    """Asks mypy for each type that a program asserts."""

    def visit_Call(self, node: ast.Call) -> ast.Call:
        if isinstance(node.func, ast.Name) and node.func.id == "assert_type":
            return ast.Call(ast.Name("reveal_type", ast.Load()), node.args[:1], [])
        return node


def test_compat_reveals_the_types_that_asyncio_reveals(tmp_path: Path) -> None:
    copies: list[Path] = []
    for path in ASYNCIO_PROGRAMS:
        program = path.read_text()
        if SINCE.search(program):
            continue
        # Without its marks, which are comments, a program shows as well what is said of its wrong lines.
        program = ast.unparse(Revealing().visit(ast.parse(program)))
        for name, variant in (("compat", against_compat), ("asyncio", against_asyncio)):
            copies.append(tmp_path / f"{path.stem}_with_{name}.py")
            copies[-1].write_text(variant(program))
    said: dict[str, list[str]] = {"compat": [], "asyncio": []}
    for line in mypy(*copies, options=("--python-version", "3.13"), notes=True):
        if at := re.search(r"(\w+)_with_(compat|asyncio)\.py:", line):
            # A class that adds what 3.13 lacks is of another module, and has the same name.  What is expected may be
            # more than asyncio expects.
            text = re.sub(r"; (expected|maybe) .*(?=  \[)", "", line[at.end() :])
            said[at[2]].append(at[1] + re.sub(r"[\w.]+\.(\w+)", r"\1", text))
    assert len([line for line in said["asyncio"] if "Revealed type" in line]) > 50
    assert said["compat"] == said["asyncio"]
