"""The step of a run that has an asyncio loop.

Invariant: the same cases in the same order as in kernel/loop.py's `plain_batch`, and one more: callbacks are run in
line.  While a task is stepped, `asyncio.current_task()` is that task; while a callback runs there is none, so that
tasks made by hand (C tasks, stepped by callbacks) can enter.  tests/compat/test_batch.py keeps it in step.

One batch is what the queue held when it began, all of it: a turn of the loop as asyncio counts turns.
"""

from __future__ import annotations

import sys
from asyncio import AbstractEventLoop
from asyncio import tasks as stdlib_tasks
from collections.abc import Callable
from itertools import repeat
from typing import Any, Final

from ...kernel.loop import FAILED, RETURNED
from ...kernel.runner import BatchEnd, Runner
from ...kernel.task import Task as KernelTask
from ...kernel.traps import DETACH, PARK
from ..events import Handle
from ..tasks import LOOP, Task, await_future

# How asyncio.current_task() is told.  Until 3.13 the C code reads a dict; later it is a slot of the thread.
if sys.version_info < (3, 14):
    enter: Final[Callable[[Any, Any], object]] = stdlib_tasks._current_tasks.__setitem__  # type: ignore[attr-defined]  # not in typeshed
    leave: Final[Callable[[Any, None], object]] = stdlib_tasks._current_tasks.pop  # type: ignore[attr-defined]  # not in typeshed
else:
    enter = leave = stdlib_tasks._swap_current_task


# flat: the step
def batch(runner: Runner) -> None:
    """Step what is in the queue now."""
    if runner.permute is not None:
        runner.permute(runner.queue)
    if runner.instruments is not None:
        traced_batch(runner)
        return
    loop: AbstractEventLoop = runner.locals[LOOP]  # type: ignore[assignment]  # what the loop put there
    queue = runner.queue
    popleft = queue.popleft
    append = queue.append
    steps = len(queue)
    runner.steps_until_poll -= steps
    entered = False
    task: Any
    for _ in repeat(None, steps):
        task = popleft()
        if type(task) is Task:
            runner.current = task
            enter(loop, task)
            entered = True
            task.awaits = None
        else:
            if entered:
                leave(loop, None)
                entered = False
            if isinstance(task, Handle):
                runner.current = None
                if not task._cancelled:
                    try:
                        task._context.run(task._callback, *task._args)
                    except (SystemExit, KeyboardInterrupt):
                        raise
                    except BaseException as exc:
                        task.report(exc)
                continue
            runner.current = task
        try:
            message = task.run(task.send, None)
        except StopIteration as stop:
            value = stop.value
            message = RETURNED
        except BatchEnd:
            break
        except BaseException as exc:
            # One frame of every traceback is this function's: nobody wants to see it.
            error = exc.with_traceback(exc.__traceback__ and exc.__traceback__.tb_next)
            message = FAILED
        # Not inside the handlers: what happens now must not get a finished task's error as its context.
        if message is None:
            append(task)
            if task.alert and type(task) is Task:
                task.bare_yielded()
        elif message is PARK:
            if task.alert:
                task.deliver()
        elif message is RETURNED:
            task.returned(value)
            value = None
        elif message is FAILED:
            task.failed(error)
            del error
        elif message is DETACH:
            task.detached()
        else:
            await_future(task, message)
    if entered:
        leave(loop, None)
    runner.current = None
    # The frame that sleeps in epoll must not keep a task alive.
    task = message = None


def traced_batch(runner: Runner) -> None:
    """Do what `batch` does, and tell the instruments."""
    loop = runner.locals[LOOP]
    queue = runner.queue
    instruments = runner.instruments
    assert instruments is not None
    if runner.traced_step is not None:
        # The step in which the first instrument was added ended untraced.
        before, runner.traced_step = runner.traced_step, None
        if not before.ended and before.abort is None:
            instruments.call("task_scheduled", before)
        instruments.call("after_task_step", before)
    steps = len(queue)
    runner.steps_until_poll -= steps
    task: Any
    for _ in repeat(None, steps):
        task = queue.popleft()
        is_task = isinstance(task, KernelTask)
        runner.current = task
        if type(task) is Task:
            enter(loop, task)
            task.awaits = None
        else:
            leave(loop, None)
        if is_task:
            instruments.call("before_task_step", task)
        try:
            message = task.run(task.send, None)
        except StopIteration as stop:
            value = stop.value
            message = RETURNED
        except BatchEnd:
            break
        except BaseException as exc:
            if not is_task:
                raise
            error = exc.with_traceback(exc.__traceback__ and exc.__traceback__.tb_next)
            message = FAILED
        if message is None:
            queue.append(task)
            if task.alert and type(task) is Task:
                task.bare_yielded()
        elif message is PARK:
            if task.alert:
                task.deliver()
        elif message is RETURNED:
            task.returned(value)
            value = None
            instruments.call("task_exited", task)
        elif message is FAILED:
            task.failed(error)
            del error
            instruments.call("task_exited", task)
        elif message is DETACH:
            task.detached()
            instruments.call("task_exited", task)
        else:
            await_future(task, message)
        if is_task:
            instruments.call("after_task_step", task)
    leave(loop, None)
    runner.current = None
    task = message = None
