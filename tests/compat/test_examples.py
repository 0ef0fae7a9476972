"""Each example runs to its end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def run(*arguments: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-X", "dev", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    return finished.stdout


@pytest.mark.parametrize("command", [["-m", "nursery.compat"], []])
def test_the_asyncio_echo_runs_on_our_loop_and_on_asyncios(command: list[str]) -> None:
    lines = run(*command, "examples/echo_asyncio.py").splitlines()
    assert sum(" -> " in line for line in lines) == 6
    loop = "nursery.compat.loop" if command else "asyncio.unix_events"
    assert lines[-1] == f"6 messages echoed by {loop}"


def test_mixed_speaks_both_dialects() -> None:
    assert run("examples/mixed.py").splitlines() == [
        "first: are you there?",
        "gave up on the second answer: True",
        "asyncio.timeout() ended a native sleep",
        "connection closed",
        "done",
    ]


def test_the_facade_loses_no_failure_and_waits_for_nobody() -> None:
    assert run("examples/facade.py").splitlines() == [
        "[('bread', 5), ('cheese', 6), ('tea', 3)]",
        "the light is switched off",
        "ended by: the books do not balance",
    ]
