"""A counter that tasks take from and give to, and wait on while it is zero.

Invariant: tasks wait only while the value is zero; a released unit goes straight to the task that has waited longest,
so the value is never seen above zero while anybody waits.
"""

from __future__ import annotations

from types import TracebackType
from typing import final

from ..kernel.current import current, current_task
from ..kernel.errors import WouldBlock
from ..kernel.parking import ParkingLot, ParkingLotStatistics, abort_parked
from ..kernel.traps import cancel_shielded_checkpoint, checkpoint_if_cancelled, park


@final
class Semaphore:
    """A counter of free units: `acquire` takes one, and waits while there is none; `release` gives one.

    Arguments: initial_value is how many units there are at first; max_value is how many there can be, None for any
    number.  Any task may release, also one that acquired nothing.

    Raises TypeError if they are not integers, ValueError if initial_value is negative or above max_value.

    Example::

        at_most_three = nursery.Semaphore(3)
        async with at_most_three:
            await fetch()

    Source: trio's documentation, `trio.Semaphore`.
    """

    __slots__ = ("__weakref__", "_lot", "_max_value", "_value")

    def __init__(self, initial_value: int, *, max_value: int | None = None) -> None:
        if not isinstance(initial_value, int):
            raise TypeError(f"initial_value must be an int, not {initial_value!r}")
        if initial_value < 0:
            raise ValueError(f"initial value must be >= 0, not {initial_value}")
        if max_value is not None:
            if not isinstance(max_value, int):
                raise TypeError(f"max_value must be None or an int, not {max_value!r}")
            if max_value < initial_value:
                raise ValueError(f"max_value must be >= initial_value, but {max_value} < {initial_value}")
        self._value = initial_value
        self._max_value = max_value
        self._lot = ParkingLot()

    @property
    def value(self) -> int:
        """How many units are free."""
        return self._value

    @property
    def max_value(self) -> int | None:
        """How many units there can be, or None for any number."""
        return self._max_value

    def acquire_nowait(self) -> None:
        """Take a unit if one is free.

        Raises WouldBlock if there is none.  Not a cancel point.
        Source: trio's documentation, `trio.Semaphore.acquire_nowait`.
        """
        if self._value <= 0:
            raise WouldBlock
        self._value -= 1

    # flat: taken and given all the time
    async def acquire(self) -> None:
        """Take a unit, waiting for one if none is free.

        A cancel point; a cancelled call has taken nothing.
        Source: trio's documentation, `trio.Semaphore.acquire`.
        """
        runner = current.runner
        task = None if runner is None else runner.current
        if task is None:
            task = current_task()
        if task.alert:
            await checkpoint_if_cancelled()
        if self._value > 0:
            self._value -= 1
            await cancel_shielded_checkpoint()
        else:
            lot = self._lot
            lot._parked[task] = None
            task.custom_sleep_data = lot
            await park(task, abort_parked)

    # flat: taken and given all the time
    def release(self) -> None:
        """Give a unit: to the task that has waited longest, if any waits.

        Raises ValueError if there are max_value units already.  Not a cancel point.
        Source: trio's documentation, `trio.Semaphore.release`.
        """
        waiting = self._lot._parked
        if waiting:
            task, _nothing = waiting.popitem(last=False)
            if task.runner is not current.runner:
                task.runner.check_thread("Semaphore.release()")
            task.abort = None
            task.runner.queue.append(task)
        elif self._value == self._max_value:
            raise ValueError(f"semaphore released too many times: all of its {self._max_value} units are free")
        else:
            self._value += 1

    # Not wrapped: `async with` costs no level of calls more than `acquire` itself.
    __aenter__ = acquire

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.release()

    def statistics(self) -> ParkingLotStatistics:
        """Return a snapshot for debugging."""
        return self._lot.statistics()

    def __repr__(self) -> str:
        limit = "" if self._max_value is None else f", max_value={self._max_value}"
        return f"<nursery.Semaphore({self._value}{limit}) at {id(self):#x}>"


__all__ = ["Semaphore"]
