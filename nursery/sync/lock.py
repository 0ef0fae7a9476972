"""Mutual exclusion: at most one task at a time holds a lock.

Invariant: `_owner` is the task that holds the lock, None if nobody does; nobody waits for a lock without an owner,
since `release` hands it to the one who has waited longest.  From the first waiter on `_watched` is True, and the lot
breaks when the owner ends: an owner that dies with the lock must not leave its waiters asleep for ever.  Without
waiters nothing is registered; whoever comes later sees that the owner has ended.

Once a lock was handed over it is the new owner's, also if that task is cancelled in the same moment: its `acquire`
returns, and it is the one to release.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, final

from ..kernel.current import current, current_task
from ..kernel.errors import BrokenResourceError, WouldBlock
from ..kernel.parking import ParkingLot, abort_parked, add_parking_lot_breaker, remove_parking_lot_breaker
from ..kernel.traps import cancel_shielded_checkpoint, checkpoint_if_cancelled, park

if TYPE_CHECKING:
    from ..kernel.task import Task


@dataclass(frozen=True, slots=True)
class LockStatistics:
    """`locked`: whether the lock is held; `owner`: by which task, or None; `tasks_waiting`: how many wait for it."""

    locked: bool
    owner: Task | None
    tasks_waiting: int


class _OwnedLock:
    """What `Lock` and `StrictFIFOLock` have in common: everything."""

    __slots__ = ("__weakref__", "_lot", "_owner", "_watched")

    def __init__(self) -> None:
        self._owner: Task | None = None
        self._lot = ParkingLot()
        # Whether the lot breaks when the owner ends.
        self._watched = False

    def locked(self) -> bool:
        """Return whether some task holds the lock."""
        return self._owner is not None

    # flat: taken and given all the time
    def acquire_nowait(self) -> None:
        """Take the lock if nobody holds it.

        Raises WouldBlock if another task holds it, RuntimeError if the caller does.  Not a cancel point.
        Source: trio's documentation, `trio.Lock.acquire_nowait`.
        """
        runner = current.runner
        task = None if runner is None else runner.current
        if task is None:
            task = current_task()
        if self._owner is None:
            self._owner = task
        elif self._owner is task:
            _reject_reacquire()
        else:
            raise WouldBlock

    # flat: taken and given all the time
    async def acquire(self) -> None:
        """Take the lock, waiting for it if another task holds it; those who wait get it in the order they came in.

        A cancel point; a cancelled call leaves the lock as it was.  Raises RuntimeError if the caller holds the lock
        already, BrokenResourceError if its owner ended without releasing it.
        Source: trio's documentation, `trio.Lock.acquire`.
        """
        runner = current.runner
        task = None if runner is None else runner.current
        if task is None:
            task = current_task()
        if task.alert:
            await checkpoint_if_cancelled()
        owner = self._owner
        if owner is None:
            self._owner = task
            # Always a schedule point: a task that takes and gives the lock in a loop must let others have it.
            await cancel_shielded_checkpoint()
            return
        if owner is task:
            _reject_reacquire()
        if owner.ended:
            raise self._orphaned()
        lot = self._lot
        lot._parked[task] = None
        task.custom_sleep_data = lot
        if not self._watched:
            self._watch()
        try:
            await park(task, abort_parked)
        except BrokenResourceError:
            raise self._orphaned() from None

    # flat: taken and given all the time
    def release(self) -> None:
        """Give the lock back: to the task that has waited longest, if any waits.

        Raises RuntimeError if the caller does not hold it.  Not a cancel point.
        Source: trio's documentation, `trio.Lock.release`.
        """
        runner = current.runner
        task = None if runner is None else runner.current
        if task is None:
            task = current_task()
        if self._owner is not task:
            holder = "nobody holds it" if self._owner is None else f"{self._owner!r} holds it"
            raise RuntimeError(f"can't release a Lock you don't own: {holder}")
        if not self._watched:
            self._owner = None
            return
        remove_parking_lot_breaker(task, self._lot)
        waiting = self._lot._parked
        # Those who waited may all have been cancelled meanwhile.
        if waiting:
            heir, _nothing = waiting.popitem(last=False)
            self._owner = heir
            heir.wake()
            self._watched = bool(waiting)
            if self._watched:
                add_parking_lot_breaker(heir, self._lot)
        else:
            self._owner = None
            self._watched = False

    # Not wrapped: `async with` costs no level of calls more than `acquire` itself.
    __aenter__ = acquire

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.release()

    def statistics(self) -> LockStatistics:
        """Return a snapshot for debugging."""
        return LockStatistics(locked=self._owner is not None, owner=self._owner, tasks_waiting=len(self._lot))

    def _watch(self) -> None:
        """Let the lot break when the owner ends; called when the first waiter comes, by a condition as well."""
        assert self._owner is not None
        add_parking_lot_breaker(self._owner, self._lot)
        self._watched = True

    def _orphaned(self) -> BrokenResourceError:
        return BrokenResourceError(
            f"Owner of this lock exited without releasing: {self._owner}; use 'async with lock:' so that it cannot"
        )

    def __repr__(self) -> str:
        state = f"locked with {len(self._lot)} waiters" if self._owner is not None else "unlocked"
        return f"<nursery.{type(self).__name__} at {id(self):#x}, {state}>"


def _reject_reacquire() -> NoReturn:
    raise RuntimeError("attempt to re-acquire an already held Lock: it would wait for itself")


@final
class Lock(_OwnedLock):
    """A lock: used with `async with lock:`, held by one task at a time, given to waiters in the order they came in.

    The task that took it must be the one that releases it.  If its owner ends without releasing it, those who wait and
    those who come later get BrokenResourceError.

    Example::

        lock = nursery.Lock()
        async with lock:
            await update()

    Source: trio's documentation, `trio.Lock`.
    """

    __slots__ = ()


@final
class StrictFIFOLock(_OwnedLock):
    """A lock that promises to stay fair: waiters get it in exactly the order in which they came, whatever changes.

    `Lock` does that today too, and does not promise it.  Besides, `acquire` always lets other tasks run: tasks that do
    nothing but take and give this lock take turns strictly, where with `Lock` one of them may take it a few times in a
    row.  For protocols whose order on the wire depends on the lock.

    Source: trio's documentation, `trio.StrictFIFOLock`.
    """

    __slots__ = ()


__all__ = ["Lock", "LockStatistics", "StrictFIFOLock"]
