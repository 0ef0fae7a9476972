"""How the facade waits: a lot in which tasks are parked by asyncio's rule of cancellation.

Invariant: a task stands in a lot exactly while it is parked there.  It leaves it by being woken, in the order of
arrival, or by being interrupted: by an edge, or by a scope whose cancellation it was not told of yet (the table is in
cancellation.py).  A woken task that is interrupted before it runs has lost its turn; `lost` is then called, to give the
turn to another one.

A task of asyncio's own class is stepped by callbacks and cannot be parked: a future stands in the lot for it.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Generator
from typing import Any, Final

from ..kernel.current import current
from ..kernel.traps import PARK
from .cancellation import abort_place
from .future import Future
from .loop import EventLoop
from .task import Task


@types.coroutine
def _not_waiting() -> Generator[None, None, None]:
    return
    yield  # so that it is a generator


# For a method that is awaited and has nothing to wait for.  A generator that has ended gives None as often as it is
# awaited, in any thread, and costs 70 ns less than a coroutine of one's own.
NO_WAIT: Final = _not_waiting()
for _nothing in NO_WAIT:
    pass


class Lot:
    """Where tasks wait for one and the same thing."""

    __slots__ = ("waiters",)

    # Read by `interrupt_queued`.
    is_place = True

    def __init__(self) -> None:
        # A dict for its order.
        self.waiters: dict[Task | Future, None] = {}

    def __len__(self) -> int:
        return len(self.waiters)

    # flat: once for every wait
    @types.coroutine
    def wait(self, lost: Callable[[], object] | None = None) -> Generator[Any, Any, None]:
        """Park the calling task until it is woken; an await as of a future.

        Arguments: lost is called if the task was woken and then interrupted before it could run.
        """
        runner = current.runner
        task = None if runner is None else runner.current
        if type(task) is not Task:
            yield from self._wait_by_future(lost)
            return
        self.waiters[task] = None
        task.custom_sleep_data = self
        task.abort = abort_place
        try:
            yield PARK
        except BaseException:
            # Woken, and now an edge; or the coroutine is closed.
            task.custom_sleep_data = None
            if task in self.waiters:
                del self.waiters[task]
            elif lost is not None:
                lost()
            raise
        task.custom_sleep_data = None
        if task.outcome is not None:
            task.take_outcome()

    def _wait_by_future(self, lost: Callable[[], object] | None) -> Generator[Any, Any, None]:
        future = Future(running_loop().runner)
        self.waiters[future] = None
        try:
            yield from future
        except BaseException:
            if future in self.waiters:
                del self.waiters[future]
            elif lost is not None:
                lost()
            raise

    def withdraw(self, task: Task) -> None:
        """Forget a task that is interrupted: called by `deliver`."""
        del self.waiters[task]

    # flat: once for every wake-up
    def wake_one(self) -> bool:
        """Wake the task that has waited longest; return whether there was one."""
        for waiter in self.waiters:  # noqa: B007  # the first one, or none
            break
        else:
            return False
        del self.waiters[waiter]
        if type(waiter) is Task:
            waiter.abort = None
            waiter.runner.queue.append(waiter)
        elif not waiter.done():
            waiter.set_result(None)
        else:
            # Cancelled, and its task has not run since.
            return self.wake_one()
        return True

    def wake_all(self) -> None:
        """Wake every task, in the order of arrival."""
        waiters, self.waiters = self.waiters, {}
        for waiter in waiters:
            if type(waiter) is Task:
                waiter.abort = None
                waiter.runner.queue.append(waiter)
            elif not waiter.done():
                waiter.set_result(None)


class Sleepers:
    """Where tasks wait for the time; they stand in the deadlines themselves."""

    __slots__ = ()

    is_place = True

    # flat: once for every sleep
    @types.coroutine
    def wait_until(self, task: Task, when: float) -> Generator[Any, Any, None]:
        """Park the calling task, one of ours, until `when`, in seconds of the loop's clock."""
        task.wake_at = when
        task.runner.deadlines.add(task, when)
        task.custom_sleep_data = self
        task.abort = abort_place
        try:
            yield PARK
        except BaseException:
            # An edge after its time had come; or the coroutine is closed.
            task.custom_sleep_data = None
            if task.abort is abort_place:
                self.withdraw(task)
                task.abort = None
            raise
        task.custom_sleep_data = None
        if task.outcome is not None:
            task.take_outcome()

    def withdraw(self, task: Task) -> None:
        """Forget a task that is interrupted: called by `deliver`."""
        task.runner.deadlines.remove(task, task.wake_at)


SLEEPERS: Final = Sleepers()


def running_loop() -> EventLoop:
    """Return the loop of ours that runs in this thread; RuntimeError if none runs, or another one."""
    try:
        loop: Any = asyncio.get_running_loop()
    except RuntimeError:
        if current.runner is None:
            raise
        raise RuntimeError(
            "no running event loop: a native run has none by itself, put 'async with compat.open_loop():' around this"
        ) from None
    if not isinstance(loop, EventLoop):
        raise RuntimeError(
            f"nursery.compat needs a loop of its own to run, {loop!r} is none: use compat.run(), compat.install() or "
            "loop_factory=compat.new_event_loop"
        )
    return loop
