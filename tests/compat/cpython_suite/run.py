"""Runs a module of the interpreter's tests in processes of its own, and returns what became of each test.

Invariant: every test that was wanted has an outcome.  A process that hung or died in a test costs that test alone: it
counts as `hung`, and another process goes on behind it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

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
    """The process could not even load the module; carries what it printed."""


def run_module(dialect: Dialect, module: str, wanted: Collection[str] | None = None) -> ModuleReport:
    """Run the `wanted` tests of a module, all of them if None."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report")
        found: list[str] = []
        outcomes: dict[str, Outcome] = {}
        left = wanted
        while True:
            report.write_text("")
            printed = _run_worker(dialect, module, report, left)
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
            if began is not None:
                outcomes[began] = Outcome("hung", 0.0, printed)
            if complete:
                return ModuleReport(found, outcomes)
            if began is None:
                raise WorkerFailed(f"{module} ({dialect}):\n{printed}")
            left = [test for test in found if (wanted is None or test in wanted) and test not in outcomes]
            if not left:
                return ModuleReport(found, outcomes)


def _run_worker(dialect: Dialect, module: str, report: Path, wanted: Collection[str] | None) -> str:
    """Run one process; return what it printed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    environment.pop("PYTHONASYNCIODEBUG", None)
    with tempfile.TemporaryDirectory() as folder:
        finished = subprocess.run(
            [sys.executable, "-m", f"{__package__}.worker", dialect, module, str(report)],
            input="\n".join(wanted or ()),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=folder,
            env=environment,
            check=False,
        )
    return finished.stdout
