"""Eager tasks: the first step is run by whoever makes the task, inside its own step.

Invariant: while the first step runs, it is the current task, for the kernel and for asyncio; afterwards the maker is so
again.  What the step ends in is treated as the batch does it (loop/batch.py; tests/compat/test_eager.py compares).
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import tasks as stdlib_tasks
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..kernel.current import current
from ..kernel.traps import DETACH, PARK
from .task import Task, await_future

if TYPE_CHECKING:
    from ..kernel.nursery import Nursery
    from ..kernel.runner import Runner
    from .loop import EventLoop

T = TypeVar("T")
AnyTask = TypeVar("AnyTask")

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
        if task.ended:
            # As in asyncio: the one way to see that there never was more than one step.
            task.coro = None  # type: ignore[assignment]  # nothing looks at it any more
        return made  # type: ignore[no-any-return]  # it says so itself
    finally:
        runner.current = maker
        swap_current_task(loop, before)
        # The traceback of its error leads here (tests/compat/test_eager.py).
        del made, task


def construct(
    constructor: Callable[..., AnyTask],
    coro: Any,
    loop: asyncio.AbstractEventLoop,
    eager_start: bool,
    options: dict[str, Any],
) -> AnyTask:
    """Let a constructor of tasks, as a subclass of asyncio.Task, make one, eagerly or not.

    3.11's class knows nothing of `eager_start`: there the step that it has scheduled is run here.
    """
    if sys.version_info >= (3, 12):
        return constructor(coro, loop=loop, eager_start=eager_start, **options)
    try:
        return constructor(coro, loop=loop, eager_start=eager_start, **options)
    except TypeError as exc:
        if "eager_start" not in str(exc):
            raise
    runner: Runner | None = getattr(loop, "runner", None)
    queued = 0 if runner is None else len(runner.queue)
    task = constructor(coro, loop=loop, **options)
    if eager_start and runner is not None and current.runner is runner and len(runner.queue) == queued + 1:
        step: Any = runner.queue.pop()
        maker = runner.current
        before = swap_current_task(loop, None)
        runner.current = None
        try:
            step._run()
        finally:
            runner.current = maker
            swap_current_task(loop, before)
    return task


def _first_step(task: Task) -> None:
    try:
        message = task.context.run(task.send, None)
    except StopIteration as stop:
        value = stop.value
    except BaseException as exc:
        error = exc.with_traceback(exc.__traceback__ and exc.__traceback__.tb_next)
        try:
            task.failed(error)
        finally:
            # The error's traceback has this frame behind it.
            del error, task
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
