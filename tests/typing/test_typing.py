"""The programs of this folder are what mypy must accept and refuse.

They are checked in strict mode, where an ignored error that does not occur is an error itself: so each
`type: ignore` demands its error, and each `assert_type` its type.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy")

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PROGRAMS = [HERE / "spawning.py", HERE / "running.py"]


def mypy(*files: Path) -> list[str]:
    """Check files with the project's configuration; return the lines of the complaint."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", "--hide-error-context", *map(str, files)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if ": error:" in line]


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
