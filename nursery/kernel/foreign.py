"""The four doors through which a second dialect of async Python enters, and no more.

1. Callbacks in the run queue: anything with `context` and `send`, so that ``item.context.run(item.send, None)`` does
   the work and returns PARK.  `Callback` is the plain one, and its own context.
2. `foreign_await`: called with the task and whatever it yielded that the kernel does not know.
3. `cancelled_class`: what a cancelled scope raises.
4. `task_outside_step`: the task record to use when a trap is reached while no task is being stepped.

The kernel knows nothing else of the dialect.  The doors are slots of the runner; this file gives the defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from .current import current_runner
from .errors import not_in_a_run
from .traps import PARK

if TYPE_CHECKING:
    from .task import Task


class Runs(Protocol):
    """What has the `run` of a context."""

    @property
    def run(self) -> Callable[..., Any]: ...


class Runnable(Protocol):
    """What stands in the run queue: ``item.context.run(item.send, None)`` is its step."""

    @property
    def context(self) -> Runs: ...

    @property
    def send(self) -> Callable[..., Any]: ...


class Callback:
    """A function that the loop calls once for each time it is put into the queue."""

    __slots__ = ("abort", "function")

    # Read by the code that wakes waiters, be they tasks or callbacks.
    alert = False

    def __init__(self, function: Callable[[], object]) -> None:
        self.function = function
        self.abort: object = None

    def send(self, nothing: None) -> None:
        """Stand where a task has its coroutine's send."""

    @property
    def context(self) -> Callback:
        """Stand where a task has its context."""
        return self

    def run(self, send: object, nothing: None) -> object:
        """Call the function, as no task."""
        runner = current_runner()
        runner.current = None
        try:
            self.function()
        except BaseException as exc:
            runner.fail(f"the callback {self.function!r} raised {exc!r}", exc)
        return PARK


def reject_foreign(task: Task, yielded: object) -> None:
    """Tell a task that awaited something of another framework so, by an error raised at that await."""
    error = TypeError(
        f"{task!r} awaited something that the kernel does not know: it yielded {yielded!r}. Is this a library written "
        "for another framework, like asyncio? Its awaitables work inside a run that has an asyncio loop open"
    )
    throw_into(task, error)


def throw_into(task: Task, error: BaseException) -> None:
    """Let the next step of `task` throw `error` into its coroutine.

    Foreign awaitables do not look at the outcome slot, so this one path does use `throw`; the slot that every step
    calls is exchanged for one step, and the loop has no branch for it.
    """
    throw = task.coro.throw

    def throw_once(nothing: None) -> object:
        nonlocal error
        task.send = task.coro.send
        try:
            return throw(error)
        finally:
            # The error's traceback holds this frame.
            del error

    task.send = throw_once
    task.abort = None
    task.runner.queue.append(task)


def no_task_outside_step() -> Task:
    """Say that there is no task: what the door does when no dialect has opened it."""
    not_in_a_run()
