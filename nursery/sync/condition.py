"""A lock with a room beside it: tasks that hold the lock may go and wait there until another tells them to look again.

Invariant: a task sleeps either in the condition's own lot (not notified) or in the lock's (notified, waiting for its
turn); `notify` moves it from one to the other without waking it.  So `wait` returns only in a task that holds the lock
again, and nobody is woken just to find the lock taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import final

from ..kernel.current import current_task
from ..kernel.parking import ParkingLot
from ..kernel.scope import CancelScope
from .lock import Lock, LockStatistics


@dataclass(frozen=True, slots=True)
class ConditionStatistics:
    """`tasks_waiting`: how many tasks wait to be notified; `lock_statistics`: those of the lock underneath."""

    tasks_waiting: int
    lock_statistics: LockStatistics


@final
class Condition:
    """A condition variable: wait until another task that holds the same lock says that something has changed.

    Arguments: lock is the Lock to use, a new one if not given.  Raises TypeError if it is not a `nursery.Lock`.

    Example::

        async with condition:
            while not queue:
                await condition.wait()
            take(queue)

    Source: trio's documentation, `trio.Condition`.
    """

    __slots__ = ("__weakref__", "_lock", "_lot")

    def __init__(self, lock: Lock | None = None) -> None:
        if lock is None:
            lock = Lock()
        if type(lock) is not Lock:
            raise TypeError(f"lock must be a nursery.Lock, not {lock!r}")
        self._lock = lock
        self._lot = ParkingLot()

    def locked(self) -> bool:
        """Return whether some task holds the lock."""
        return self._lock.locked()

    def acquire_nowait(self) -> None:
        """Take the lock if nobody holds it; as `Lock.acquire_nowait`."""
        self._lock.acquire_nowait()

    async def acquire(self) -> None:
        """Take the lock, waiting for it if another task holds it; a cancel point, as `Lock.acquire`."""
        await self._lock.acquire()

    def release(self) -> None:
        """Give the lock back; as `Lock.release`."""
        self._lock.release()

    async def wait(self) -> None:
        """Give the lock back, sleep until notified, and take the lock again.

        A cancel point; also a cancelled call holds the lock again when it raises, which may take a while.  Raises
        RuntimeError if the caller does not hold the lock, BrokenResourceError if a later owner ended without releasing
        it.  When it returns, look whether what you wait for is really so, and wait again if not.
        Source: trio's documentation, `trio.Condition.wait`.
        """
        self._check_owner("wait")
        self._lock.release()
        try:
            await self._lot.park()
        except BaseException:
            with CancelScope(shield=True):
                await self._lock.acquire()
            raise
        # Notified, then handed the lock by its owner: it is ours.

    def notify(self, n: int = 1) -> None:
        """Let the `n` tasks that have waited longest go on, one after the other, once the lock is free.

        Raises RuntimeError if the caller does not hold the lock.  Not a cancel point.
        Source: trio's documentation, `trio.Condition.notify`.
        """
        self._check_owner("notify")
        self._lot.repark(self._lock._lot, count=n)
        self._watch_lock()

    def notify_all(self) -> None:
        """Let all tasks that wait go on, one after the other, once the lock is free.

        Raises RuntimeError if the caller does not hold the lock.  Not a cancel point.
        Source: trio's documentation, `trio.Condition.notify_all`.
        """
        self._check_owner("notify")
        self._lot.repark_all(self._lock._lot)
        self._watch_lock()

    def _watch_lock(self) -> None:
        if self._lock._lot and not self._lock._watched:
            self._lock._watch()

    def _check_owner(self, what: str) -> None:
        if current_task() is not self._lock._owner:
            raise RuntimeError(f"must hold the lock to {what}: use 'async with condition:' around it")

    async def __aenter__(self) -> None:
        await self._lock.acquire()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._lock.release()

    def statistics(self) -> ConditionStatistics:
        """Return a snapshot for debugging."""
        return ConditionStatistics(tasks_waiting=len(self._lot), lock_statistics=self._lock.statistics())

    def __repr__(self) -> str:
        return f"<nursery.Condition at {id(self):#x}, {len(self._lot)} waiting, on {self._lock!r}>"


__all__ = ["Condition", "ConditionStatistics"]
