"""The parking lot: a fair place to sleep until somebody says whose turn it is.

Invariant: the lot holds exactly the tasks that sleep in its `park`, in the order in which they came.  Whoever wakes a
task has taken it out of the lot first, so a wake-up that was handed out is never handed out again; a cancelled
sleeper takes itself out.  Every synchronisation primitive stands on this one.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from .current import current_task
from .errors import BrokenResourceError
from .traps import Abort, RaiseCancel, park

if TYPE_CHECKING:
    from .task import Task


@dataclass(frozen=True, slots=True)
class ParkingLotStatistics:
    """`tasks_waiting`: how many tasks sleep in the lot."""

    tasks_waiting: int


class ParkingLot:
    """A fair wait queue with cancellation and re-queueing.

    `len(lot)` and `bool(lot)` tell whether tasks sleep in it.  `broken_by` lists the tasks that broke it.

    Source: trio's documentation, `trio.lowlevel.ParkingLot`.
    """

    __slots__ = ("__weakref__", "_parked", "broken_by")

    def __init__(self) -> None:
        self._parked: OrderedDict[Task, None] = OrderedDict()
        self.broken_by: list[Task] = []

    def __len__(self) -> int:
        return len(self._parked)

    def __bool__(self) -> bool:
        return bool(self._parked)

    async def park(self) -> None:
        """Sleep until woken by `unpark`; if cancelled, the task is no longer in the lot.

        A cancel point.  Raises BrokenResourceError if the lot is broken, before or during the sleep.
        """
        if self.broken_by:
            raise self._broken_error(self.broken_by[-1])
        task = current_task()
        self._parked[task] = None
        # A task may be moved to another lot while it sleeps: it has to find the one it is in.
        task.custom_sleep_data = self
        await park(task, abort_parked)

    def unpark(self, *, count: int | float = 1) -> list[Task]:
        """Wake the `count` tasks (or inf for all) that have slept longest, and return them."""
        woken = [self._parked.popitem(last=False)[0] for _ in range(self._how_many(count))]
        for task in woken:
            task.wake()
        return woken

    def unpark_all(self) -> list[Task]:
        """Wake every task in the lot, and return them."""
        return self.unpark(count=inf)

    def repark(self, new_lot: ParkingLot, *, count: int | float = 1) -> None:
        """Move the `count` tasks that have slept longest to the end of `new_lot`, without waking them."""
        if not isinstance(new_lot, ParkingLot):
            raise TypeError(f"new_lot must be a ParkingLot, not {new_lot!r}")
        for _ in range(self._how_many(count)):
            task, _nothing = self._parked.popitem(last=False)
            if new_lot.broken_by:
                task.wake_with_error(new_lot._broken_error(new_lot.broken_by[-1]))
                continue
            new_lot._parked[task] = None
            task.custom_sleep_data = new_lot

    def repark_all(self, new_lot: ParkingLot) -> None:
        """Move every task to the end of `new_lot`, without waking them."""
        self.repark(new_lot, count=inf)

    def break_lot(self, task: Task | None = None) -> None:
        """Break the lot for good: each task in it, and each that comes later, gets BrokenResourceError.

        Arguments: task is named in the error; the current task if not given.
        Source: trio's documentation, `trio.lowlevel.ParkingLot.break_lot`.
        """
        if task is None:
            task = current_task()
        self.broken_by.append(task)
        while self._parked:
            sleeper, _nothing = self._parked.popitem(last=False)
            sleeper.wake_with_error(self._broken_error(task))

    def statistics(self) -> ParkingLotStatistics:
        """Return a snapshot for debugging."""
        return ParkingLotStatistics(tasks_waiting=len(self._parked))

    def _how_many(self, count: int | float) -> int:
        if count == inf:
            return len(self._parked)
        if not count > 0 or count != int(count):
            raise ValueError(f"count must be a positive integer or math.inf, not {count!r}")
        return min(int(count), len(self._parked))

    def _broken_error(self, task: Task) -> BrokenResourceError:
        return BrokenResourceError(f"parking lot broken by {task!r}")


def abort_parked(task: Task, raise_cancel: RaiseCancel) -> Abort:
    """Take a cancelled sleeper out of the lot it is in."""
    del task.custom_sleep_data._parked[task]
    return Abort.SUCCEEDED


def add_parking_lot_breaker(task: Task, lot: ParkingLot) -> None:
    """Let `lot` break when `task` ends; once for each registration.

    Raises BrokenResourceError if the task has ended.
    Source: trio's documentation, `trio.lowlevel.add_parking_lot_breaker`.
    """
    if task.ended:
        raise BrokenResourceError(f"Attempted to add already exited task as lot breaker: {task!r}")
    if task.breaks is None:
        task.breaks = []
    task.breaks.append(lot)


def remove_parking_lot_breaker(task: Task, lot: ParkingLot) -> None:
    """Undo one registration of `add_parking_lot_breaker`.

    Raises RuntimeError if there is none.
    Source: trio's documentation, `trio.lowlevel.remove_parking_lot_breaker`.
    """
    if task.breaks is None or lot not in task.breaks:
        raise RuntimeError(f"Attempted to remove {task!r} as breaker for a lot it is not registered for")
    # By identity, and the youngest registration first: a Lock takes and gives it in pairs.
    for index in range(len(task.breaks) - 1, -1, -1):
        if task.breaks[index] is lot:
            del task.breaks[index]
            break
    if not task.breaks:
        task.breaks = None
