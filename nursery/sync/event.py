"""Something that happens once, and that any number of tasks may wait for.

Invariant: while the event has not happened, `_waiters` holds exactly the tasks that sleep in `wait`, in the order in
which they came; once it has, none ever sleep again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

from ..kernel.current import current, current_task
from ..kernel.traps import Abort, RaiseCancel, checkpoint, park

if TYPE_CHECKING:
    from ..kernel.task import Task


@dataclass(frozen=True, slots=True)
class EventStatistics:
    """`tasks_waiting`: how many tasks sleep in `Event.wait`."""

    tasks_waiting: int


def _abort_wait(task: Task, raise_cancel: RaiseCancel) -> Abort:
    del task.custom_sleep_data._waiters[task]
    return Abort.SUCCEEDED


@final
class Event:
    """A flag that is set once and never cleared; tasks may wait until it is.

    There is no `clear`: for a series of happenings make a new event for each.  An event is not a truth value, ask
    `is_set()`: `if event:` raises NotImplementedError.

    Example::

        ready = nursery.Event()
        n.start_soon(serve, ready)
        await ready.wait()

    Source: trio's documentation, `trio.Event`.
    """

    __slots__ = ("__weakref__", "_flag", "_waiters")

    def __init__(self) -> None:
        self._flag = False
        # A dict, not a set: tasks are woken in the order in which they came.
        self._waiters: dict[Task, None] = {}

    def is_set(self) -> bool:
        """Return whether the event has happened."""
        return self._flag

    # flat: the simplest way to wake a task
    def set(self) -> None:
        """Let the event happen, and wake every waiter; once it has happened this changes nothing.

        Not a cancel point.
        Source: trio's documentation, `trio.Event.set`.
        """
        if not self._flag:
            waiters = self._waiters
            if waiters:
                runner = current.runner
                for task in waiters:
                    if task.runner is not runner:
                        task.runner.check_thread("Event.set()")
                    task.abort = None
                    task.runner.queue.append(task)
                waiters.clear()
            self._flag = True

    # flat: the simplest way to sleep
    async def wait(self) -> None:
        """Sleep until the event has happened; if it has, return at once.

        A cancel point; a cancelled call leaves nothing behind.
        Source: trio's documentation, `trio.Event.wait`.
        """
        runner = current.runner
        task = None if runner is None else runner.current
        if task is None:
            task = current_task()
        if self._flag:
            await checkpoint()
        else:
            self._waiters[task] = None
            task.custom_sleep_data = self
            await park(task, _abort_wait)

    def statistics(self) -> EventStatistics:
        """Return a snapshot for debugging."""
        return EventStatistics(tasks_waiting=len(self._waiters))

    def __bool__(self) -> Literal[True]:
        raise NotImplementedError("an Event has no truth value: ask event.is_set() whether it has happened")

    def __repr__(self) -> str:
        state = "set" if self._flag else f"not set, {len(self._waiters)} waiting"
        return f"<nursery.Event at {id(self):#x}, {state}>"


__all__ = ["Event", "EventStatistics"]
