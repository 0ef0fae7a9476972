"""Tasks that wait until nothing else can happen.

Invariant: the waiters with the shortest cushion go first, and they go before the clock is made to jump: a
`wait_all_tasks_blocked()` always sees the world as it was before time moved.  How the loop finds out that
nothing happens is in loop.py.
"""

from __future__ import annotations

from math import isnan

from sortedcontainers import SortedDict

from .current import current_runner, current_task
from .task import Task
from .traps import Abort, RaiseCancel, park


class IdleWaiters:
    """Who waits for all others to block, by cushion and then by arrival."""

    __slots__ = ("_arrivals", "waiting")

    def __init__(self) -> None:
        self.waiting: SortedDict[tuple[float, int], Task] = SortedDict()
        self._arrivals = 0

    def add(self, cushion: float, task: Task) -> None:
        """Let `task` wait for a quiet time of `cushion` seconds."""
        self._arrivals += 1
        key = (cushion, self._arrivals)
        task.custom_sleep_data = key
        self.waiting[key] = task

    def abort(self, task: Task, raise_cancel: RaiseCancel) -> Abort:
        """Forget a cancelled waiter."""
        del self.waiting[task.custom_sleep_data]
        return Abort.SUCCEEDED

    def shortest_cushion(self) -> float:
        """Return the shortest cushion, in seconds."""
        return self.waiting.peekitem(0)[0][0]

    def wake(self, cushion: float) -> None:
        """Wake everyone with just this cushion."""
        while self.waiting and self.shortest_cushion() == cushion:
            self.waiting.popitem(0)[1].wake()


async def wait_all_tasks_blocked(cushion: float = 0.0) -> None:
    """Wait until every other task has been blocked for `cushion` seconds without a break.

    A cancel point.  Real seconds, also under a mock clock.

    Example::

        n.start_soon(take_the_lock)
        await nursery.testing.wait_all_tasks_blocked()

    Source: trio's documentation, `trio.testing.wait_all_tasks_blocked`.
    """
    if isnan(cushion) or cushion < 0:
        raise ValueError(f"cushion must be a non-negative number of seconds, not {cushion!r}")
    task = current_task()
    idle = current_runner().idle
    idle.add(cushion, task)
    await park(task, idle.abort)
