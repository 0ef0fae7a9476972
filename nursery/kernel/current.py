"""Which run, if any, the calling thread is inside, and which task that run is stepping.

Invariant: `current.runner` is set exactly while one of the drivers is inside the run (entry.py, guest.py, a
foreign loop), and `runner.current` exactly while a step is under way.  Hot paths read the two slots in line.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from .errors import not_in_a_run

if TYPE_CHECKING:
    from .runner import Runner
    from .task import Task


class Current(threading.local):
    """One slot a thread; the class attribute is what a thread without a run reads."""

    runner: Runner | None = None


current = Current()


def current_runner() -> Runner:
    """Return the run that the calling thread is inside, or raise RuntimeError."""
    runner = current.runner
    if runner is None:
        not_in_a_run()
    return runner


def current_task() -> Task:
    """Return the task that is running now.

    Raises RuntimeError outside a task.  Not a cancel point.

    Example::

        async def main() -> None:
            print(nursery.lowlevel.current_task().name)

    Source: trio's documentation, `trio.lowlevel.current_task`.
    """
    runner = current.runner
    if runner is None:
        not_in_a_run()
    task = runner.current
    return runner.task_outside_step() if task is None else task


def in_nursery_run() -> bool:
    """Return whether the calling thread is inside a nursery run (trio's `in_trio_run`)."""
    return current.runner is not None


def in_nursery_task() -> bool:
    """Return whether the calling code runs in a task of a nursery run (trio's `in_trio_task`)."""
    runner = current.runner
    return runner is not None and runner.current is not None
