"""Eager tasks: the first step is run by whoever makes the task, inside its own step.

Invariant: while the first step runs, it is the current task, for the kernel and for asyncio; afterwards the maker is so
again.  What the step ends in is treated as the batch does it (loop/batch.py; tests/compat/test_eager.py compares).
"""

from __future__ import annotations

import asyncio
from asyncio import tasks as stdlib_tasks
from collections.abc import Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..kernel.traps import DETACH, PARK
from .task import Task, await_future

if TYPE_CHECKING:
    from ..kernel.nursery import Nursery
    from .loop import EventLoop

T = TypeVar("T")

_stdlib: Final[Any] = stdlib_tasks


def swap_current_task(loop: asyncio.AbstractEventLoop, task: Any) -> Any:
    """Make `task`, or None, asyncio's current task, and return the one it was before."""
    if hasattr(_stdlib, "_swap_current_task"):
        return _stdlib._swap_current_task(loop, task)
    # 3.11
    before = _stdlib._current_tasks.pop(loop, None)
    if task is not None:
        _stdlib._current_tasks[loop] = task
    return before


def start_eagerly(
    loop: EventLoop,
    coro: Coroutine[Any, Any, T],
    *,
    name: object = None,
    context: Context | None = None,
    nursery: Nursery | None = None,
    told: object = None,
) -> asyncio.Task[T]:
    """Make a task, in a nursery or the root group, and run its first step; if the loop does not run, that comes later.

    Arguments: told is told of the end, as by `Promise.tell`, from the first step on.
    Raises TypeError for what is no coroutine.
    """
    made: Any = loop.start_task(coro, name, context, nursery)
    task: Task = made
    if told is not None:
        task.tell(told)
    if not loop.running_in:
        return made  # type: ignore[no-any-return]  # it says so itself
    runner = loop.runner
    # It was put at the end of the queue just now; nobody has seen it there.
    runner.queue.pop()
    maker = runner.current
    before = swap_current_task(loop, task)
    runner.current = task
    try:
        _first_step(task)
    finally:
        runner.current = maker
        swap_current_task(loop, before)
    if task.ended:
        # As in asyncio: the one way to see that there never was more than one step.
        task.coro = None  # type: ignore[assignment]  # nothing looks at it any more
    return made  # type: ignore[no-any-return]  # it says so itself


def _first_step(task: Task) -> None:
    try:
        message = task.context.run(task.send, None)
    except StopIteration as stop:
        value = stop.value
    except BaseException as exc:
        error = exc.with_traceback(exc.__traceback__ and exc.__traceback__.tb_next)
        task.failed(error)
        del error
        return
    else:
        if message is None:
            task.runner.queue.append(task)
            if task.alert:
                task.bare_yielded()
        elif message is PARK:
            if task.alert:
                task.deliver()
        elif message is DETACH:
            task.detached()
        else:
            await_future(task, message)
        return
    # Not inside the handler: what is called must not get the StopIteration as its context.
    task.returned(value)
