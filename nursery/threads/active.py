"""How many threads work for this run.

Invariant: a job counts from the moment it has a thread until the thread has ended it and given back its token, or until
the task that waits for it has abandoned it: then nobody knows whether it will ever end.
"""

from __future__ import annotations

from typing import Final

from ..kernel.parking import ParkingLot
from ..kernel.runvar import RunVar
from ..kernel.traps import checkpoint


class ActiveThreads:
    """The count of one run, and who waits for it to be zero."""

    __slots__ = ("count", "waiting")

    def __init__(self) -> None:
        self.count = 0
        self.waiting = ParkingLot()

    def begin(self) -> None:
        """Count one more."""
        self.count += 1

    def end(self) -> None:
        """Count one less."""
        self.count -= 1
        if not self.count and self.waiting:
            self.waiting.unpark_all()


_active: Final[RunVar[ActiveThreads]] = RunVar("active_threads")


def active_threads() -> ActiveThreads:
    """Return the count of the current run."""
    try:
        return _active.get()
    except LookupError:
        active = ActiveThreads()
        _active.set(active)
        return active


def active_thread_count() -> int:
    """Return how many threads work for this run, not counting those that were abandoned.

    Raises RuntimeError outside a run.
    Source: trio's documentation, `trio.testing.active_thread_count`.
    """
    return active_threads().count


async def wait_all_threads_completed() -> None:
    """Wait until no thread works for this run, but for those that were abandoned.  A cancel point.

    Source: trio's documentation, `trio.testing.wait_all_threads_completed`.
    """
    await checkpoint()
    active = active_threads()
    while active.count:
        await active.waiting.park()


__all__ = ["active_thread_count", "wait_all_threads_completed"]
