"""The step of a run that has an asyncio loop.

Invariant: the same cases in the same order as in kernel/loop.py's `plain_batch`, and one more: callbacks are run in
line.  While a task is stepped, `asyncio.current_task()` is that task; while a callback runs there is none, so that
tasks made by hand (C tasks, stepped by callbacks) can enter.  tests/compat/test_batch.py keeps it in step.

A turn is what the queue held when it began, all of it, as asyncio counts turns.  One call makes several turns as long
as nothing but the clock has to be looked at between them: entering this function costs as much as a step.
"""

from __future__ import annotations

import sys
from asyncio import tasks as stdlib_tasks
from math import inf
from typing import TYPE_CHECKING, Any, Final

from ...kernel import loop as kernel_loop
from ...kernel.loop import FAILED, RETURNED, expire
from ...kernel.runner import BatchEnd, Runner
from ...kernel.task import Task as KernelTask
from ...kernel.traps import DETACH, PARK
from ..cancellation import abort_await
from ..handles import Handle, SoonHandle
from ..promise import Promise
from ..task import Task, await_future

if TYPE_CHECKING:
    from .state import LoopState

# Where asyncio.current_task() looks.  Until 3.13 it is a dict of the C code; later it is a slot of the thread.
if sys.version_info < (3, 14):
    current_tasks: Final[Any] = stdlib_tasks._current_tasks  # type: ignore[attr-defined]  # not in typeshed
else:

    class CurrentTasks:
        """The thread's slot, in the form of the dict that it was."""

        __slots__ = ()
        # A C function: no frame is made.
        __setitem__ = pop = staticmethod(stdlib_tasks._swap_current_task)

    current_tasks = CurrentTasks()


# flat: the step
def batch(runner: Runner) -> None:
    """Step what is in the queue, turn after turn, until the system must be asked for events."""
    if runner.instruments is not None:
        traced_batch(runner)
        return
    if runner.permute is not None:
        runner.permute(runner.queue)
    loop: LoopState = runner.dialect
    queue = runner.queue
    deadlines = runner.deadlines
    popleft = queue.popleft
    append = queue.append
    entered = False
    task: Any
    message: Any
    args: Any = None
    left = runner.steps_until_poll
    # What is kept back of it, so that this turn is the last one here.
    kept = 0
    if runner.permute is not None or runner.debug:
        left, kept = 0, left
    while True:
        turn = len(queue)
        left -= turn
        # Not `for _ in range(turn)`: most turns have a step or two, which a range costs more than.
        while turn:
            turn -= 1
            task = popleft()
            if type(task) is Task:
                runner.current = task
                current_tasks[loop] = task
                entered = True
                task.awaits = None
            else:
                if entered:
                    current_tasks.pop(loop, None)
                    runner.current = None
                    entered = False
                if type(task) is SoonHandle or isinstance(task, Handle):
                    # No local for the callback: storing and clearing one costs 12 ns.
                    if task._callback is not None:
                        try:
                            # The call with a star costs 150 ns more.
                            if not task._args:
                                task._context.run(task._callback)
                            else:
                                args = task._args
                                if len(args) == 1:
                                    task._context.run(task._callback, args[0])
                                else:
                                    task._context.run(task._callback, *args)
                                # What they hold is free from here on (tests/compat/test_ctasks.py).
                                args = None
                        except (SystemExit, KeyboardInterrupt):
                            raise
                        except BaseException as exc:
                            task.report(exc)
                            args = None
                    continue
                runner.current = task
                entered = True
            try:
                message = task.context.run(task.send, None)
            except StopIteration as stop:
                value = stop.value
                message = RETURNED
            except BatchEnd:
                left, kept = 0, kept + left
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
            elif (
                isinstance(message, Promise)
                and type(task) is Task
                and message._asyncio_future_blocking
                and message.runner is runner
                and message is not task
            ):
                # The first case of await_future, without the call: 10 % of `await create_task(f())`.
                message._asyncio_future_blocking = False
                task.awaits = message  # type: ignore[assignment]  # it says so itself
                task.abort = abort_await
                if message._told is None:
                    message._told = task
                else:
                    message.tell(task)
                if task.alert:
                    task.deliver()
            else:
                await_future(task, message)
        # The next turn may begin here, unless someone outside has to look first.
        if left <= 0 or not queue or loop._stopping:
            break
        if deadlines.soonest != inf:
            runner.current = None
            expire(runner)
    runner.current = None
    runner.steps_until_poll = left + kept
    # The frame that sleeps in epoll must not keep a task alive.
    task = message = args = None
    if entered:
        current_tasks.pop(loop, None)


def traced_batch(runner: Runner) -> None:
    """Do one turn of what `batch` does, and tell the instruments: the kernel's traced loop, with our two additions."""
    loop: LoopState = runner.dialect

    def enter(task: KernelTask) -> None:
        if type(task) is Task:
            current_tasks[loop] = task
            task.awaits = None
        else:
            current_tasks.pop(loop, None)

    def yielded(task: KernelTask) -> None:
        if task.alert and type(task) is Task:
            task.bare_yielded()

    # A turn is the whole queue, as asyncio counts turns.
    runner.steps_until_poll = max(runner.steps_until_poll, len(runner.queue))
    kernel_loop.traced_batch(runner, enter, yielded)
    current_tasks.pop(loop, None)
