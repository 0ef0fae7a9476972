"""Runs a module of the interpreter's tests in processes of its own, and returns what became of each test.

Invariant: every test that was wanted has an outcome.  A process that hung or died in a test costs that test alone: it
counts as `hung`, and another process goes on behind it.  After MOST_HUNG of them the module is given up: each costs
half a minute.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

MOST_HUNG = 3

ROOT = Path(__file__).parent.parent.parent.parent

Dialect: TypeAlias = Literal["asyncio", "loop", "facade"]


@dataclass(frozen=True)
class Outcome:
    """What became of one test: `passed`, `failed`, `skipped` or `hung`."""

    outcome: str
    seconds: float
    text: str


@dataclass(frozen=True)
class ModuleReport:
    """The tests that a module has, and the outcomes of those that were run."""

    found: list[str]
    outcomes: dict[str, Outcome]


class WorkerFailed(Exception):
    """The process could not even load the module, or hung again and again; carries what it printed."""


def run_module(
    dialect: Dialect, module: str, *, only: Sequence[str] = (), but_not: Sequence[str] = ()
) -> ModuleReport:
    """Run a module's tests, those that match a pattern of `only`, if there is one, and none of `but_not`."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report")
        found: list[str] = []
        outcomes: dict[str, Outcome] = {}
        while True:
            report.write_text("")
            printed = _run_worker(dialect, module, report, {"only": [*only], "but_not": [*but_not, *outcomes]})
            began: str | None = None
            complete = False
            for line in report.read_text().splitlines():
                record = json.loads(line)
                if "found" in record:
                    found = record["found"]
                elif "complete" in record:
                    complete = True
                elif record["outcome"] == "began":
                    began = record["test"]
                else:
                    began = None
                    outcomes[record["test"]] = Outcome(record["outcome"], record["seconds"], record["text"])
            if complete:
                return ModuleReport(found, outcomes)
            if began is None:
                raise WorkerFailed(f"{module} ({dialect}):\n{printed}")
            outcomes[began] = Outcome("hung", 0.0, printed)
            hung = [test for test, outcome in outcomes.items() if outcome.outcome == "hung"]
            if len(hung) > MOST_HUNG:
                raise WorkerFailed(f"{', '.join(hung)} ({dialect}) hung, and the rest was not run:\n{printed}")


def _run_worker(dialect: Dialect, module: str, report: Path, choice: dict[str, list[str]]) -> str:
    """Run one process, and end what it leaves behind; return what it printed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    environment.pop("PYTHONASYNCIODEBUG", None)
    command = [sys.executable, "-m", f"{__package__}.worker", dialect, module, str(report)]
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryFile() as stdin,
        tempfile.TemporaryFile() as printed,
    ):
        stdin.write(json.dumps(choice).encode())
        stdin.seek(0)
        # Files, not pipes: a grandchild that lives on would hold a pipe open.
        worker = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=printed,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        try:
            worker.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
        printed.seek(0)
        return printed.read().decode(errors="replace")
