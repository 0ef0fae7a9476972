"""The names of compat are the same for a program that runs and for a type checker, on every version."""

from __future__ import annotations

import ast
import asyncio
import importlib
import sys
import warnings
from pathlib import Path

import pytest

from nursery import compat

from .test_typing import VERSIONS, mypy

# In `__init__`, since they take more than asyncio's.
DOORS = {"EventLoop", "Runner", "install", "open_loop", "run"}

# asyncio's until 3.13.
GONE_IN_3_14 = {
    "AbstractChildWatcher",
    "AbstractEventLoopPolicy",
    "DefaultEventLoopPolicy",
    "FastChildWatcher",
    "MultiLoopChildWatcher",
    "PidfdChildWatcher",
    "SafeChildWatcher",
    "ThreadedChildWatcher",
    "get_child_watcher",
    "set_child_watcher",
}

SUBMODULES = (
    "base_events",
    "base_futures",
    "base_subprocess",
    "base_tasks",
    "constants",
    "coroutines",
    "events",
    "exceptions",
    "format_helpers",
    "futures",
    "graph",
    "locks",
    "log",
    "mixins",
    "protocols",
    "queues",
    "runners",
    "selector_events",
    "sslproto",
    "staggered",
    "streams",
    "subprocess",
    "taskgroups",
    "tasks",
    "threads",
    "timeouts",
    "transports",
    "trsock",
    "unix_events",
)


def names_in_typed() -> set[str]:
    """Return what typed.py lists on the running version of Python."""
    names: set[str] = set()

    def visit(statements: list[ast.stmt]) -> None:
        for statement in statements:
            if isinstance(statement, ast.If):
                test = ast.unparse(statement.test)
                holds = test == "TYPE_CHECKING" or eval(test, {"sys": sys})
                visit(statement.body if holds else statement.orelse)
            elif isinstance(statement, (ast.Assign, ast.AugAssign)):
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                if ast.unparse(targets[0]) == "__all__":
                    names.update(ast.literal_eval(statement.value))

    visit(ast.parse(Path(compat.__file__).with_name("typed.py").read_text()).body)
    return names


def test_the_list_for_type_checkers_has_the_names_that_there_are() -> None:
    assert names_in_typed() | DOORS == set(compat.__all__)
    assert set(asyncio.__all__) <= set(compat.__all__)


def complaints_of_names(program: Path, version: str) -> list[str]:
    # What asyncio deprecates is deprecated.
    return [line for line in mypy(program, options=("--python-version", version)) if not line.endswith("[deprecated]")]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_type_checker_knows_each_name_whichever_version_it_is_told(version: str, tmp_path: Path) -> None:
    known = set(compat.__all__)
    known = known - GONE_IN_3_14 if version == "3.14" else known | GONE_IN_3_14
    program = tmp_path / "program.py"
    lines = ["from nursery import compat", *(f"print(compat.{name})" for name in sorted(known))]
    program.write_text("\n".join(lines) + "\n")
    assert complaints_of_names(program, version) == []


def test_a_type_checker_finds_the_names_of_each_submodule(tmp_path: Path) -> None:
    lines = ["from nursery import compat"]
    for submodule in SUBMODULES:
        lines.append(f"print(compat.{submodule})")
        if submodule == "graph" and sys.version_info < (3, 14):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = importlib.import_module(f"asyncio.{submodule}")
        for name in getattr(theirs, "__all__", ()):
            lines.append(f"from nursery.compat.{submodule} import {name} as {submodule}_{name}")
    program = tmp_path / "program.py"
    program.write_text("\n".join(lines) + "\n")
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert complaints_of_names(program, version) == []


def test_a_type_checker_finds_no_other_names(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    lines = ["from nursery import compat", "print(compat.nonsense, compat.T, compat.sys, compat.asyncio)"]
    for submodule in SUBMODULES:
        lines.append(f"print(compat.{submodule}.nonsense)")
    program.write_text("\n".join(lines) + "\n")
    assert len(mypy(program)) == 4 + len(SUBMODULES)
