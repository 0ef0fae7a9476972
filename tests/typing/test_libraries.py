"""Libraries that are written against asyncio are typed with compat in its place as they are with asyncio itself.

The sources are those that are installed; what mypy has to say of them is the same both times.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .test_typing import ROOT, against_compat

QUICK = ("psycopg_pool", "uvicorn")
LIBRARIES = (*QUICK, "aiohttp", "anyio", "distributed", "websockets")
OPTIONS = ("--strict", "--config-file=", "--no-error-summary", "--cache-dir=../cache")


def complaints(folder: Path, library: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *OPTIONS, "-p", library],
        cwd=folder,
        env={"MYPYPATH": f"{ROOT}:{ROOT / 'typings'}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    # In a circle of imports it depends on the order whether a name counts as exported.
    lines = [line for line in done.stdout.splitlines() if "explicitly export" not in line]
    return sorted(line for line in lines if line.startswith(library))


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_typed_with_compat_as_it_is_with_asyncio(library: str, tmp_path: Path, long_form: bool) -> None:
    if library not in QUICK and not long_form:
        pytest.skip("in the long form")
    spec = importlib.util.find_spec(library)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{library} is not installed")
    said: list[list[str]] = []
    changed = 0
    for name in ("asyncio", "compat"):
        folder = tmp_path / name
        shutil.copytree(spec.submodule_search_locations[0], folder / library)
        if name == "compat":
            for path in folder.rglob("*.py"):
                program = path.read_text()
                replaced = re.sub(r"^( *)(?=(import|from) asyncio\b)(.*)", with_compat, program, flags=re.MULTILINE)
                changed += replaced != program
                path.write_text(replaced)
        said.append(complaints(folder, library))
    assert changed > 0
    assert said[0] == said[1]


def with_compat(line: re.Match[str]) -> str:
    return line[1] + against_compat(line[3])
