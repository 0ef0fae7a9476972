"""Debug mode: where coroutines come from, and which callbacks and steps are slow.

Invariant: outside debug mode nothing here is asked: the mode exchanges the run's batch function.  The batch of debug
mode is the kernel's traced one, taken an item at a time; there is no third copy of the step.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import constants
from asyncio.log import logger
from threading import get_ident
from time import perf_counter
from typing import ClassVar

from ...kernel import loop as kernel_loop
from ...kernel.runner import END_OF_BATCH, Batch, Runner
from ...kernel.task import Task as KernelTask
from ..task import Task
from .batch import batch, current_tasks, traced_batch
from .state import LoopState


def reporting_batch(runner: Runner) -> None:
    """Do one turn, and log whatever in it took too long."""
    if runner.permute is not None:
        # In whose order nobody knows what comes next.
        traced_batch(runner)
        return
    loop: LoopState = runner.dialect
    queue = runner.queue

    def enter(task: KernelTask) -> None:
        if type(task) is Task:
            current_tasks[loop] = task
            task.awaits = None
        else:
            current_tasks.pop(loop, None)

    def yielded(task: KernelTask) -> None:
        if task.alert and type(task) is Task:
            task.bare_yielded()

    left = runner.steps_until_poll - len(queue)
    for _ in range(len(queue)):
        item = queue[0]
        runner.steps_until_poll = 1
        loop._current_handle = item
        began = perf_counter()
        try:
            kernel_loop.traced_batch(runner, enter, yielded)
        finally:
            seconds = perf_counter() - began
            # Of a watched descriptor, the user's handle.
            ran, loop._current_handle = loop._current_handle, None
            current_tasks.pop(loop, None)
        if seconds >= loop.slow_callback_duration:
            logger.warning("Executing %s took %.3f seconds", describe(ran), seconds)
        if item is END_OF_BATCH:
            break
        # The next steps must not find a finished task here.
        del item, ran
    runner.steps_until_poll = left


def describe(item: object) -> str:
    """Return the text for what was run: for the step of a task the task, whoever steps it."""
    stepped = getattr(getattr(item, "_callback", None), "__self__", None)
    return repr(stepped if isinstance(stepped, asyncio.Task) else item)


class Debugging(LoopState):
    """set_debug, and what follows from it."""

    # What steps the run outside debug mode, and in it.
    _batches: ClassVar[tuple[Batch, Batch]] = (batch, reporting_batch)
    # The depth that was set before the loop began to run in debug mode; None while it does not.
    _origin_depth: int | None = None

    def set_debug(self, enabled: bool) -> None:
        """Turn debug mode on or off.

        In debug mode the loop checks in which thread it is called and with what, handles, futures and tasks remember
        where they were made, coroutines that were never awaited tell where they come from, and a callback or a step of
        a task that takes `slow_callback_duration` seconds or more is logged.

        Source: asyncio's documentation, `loop.set_debug`.
        """
        self._debug = enabled
        if self._closed:
            return
        self._careful = bool(enabled)
        self.runner.batch = self._batches[bool(enabled)]
        if self.running_in is not None:
            if self.running_in == get_ident():
                # The batch under way is the other mode's.
                self.runner.queue.appendleft(END_OF_BATCH)
            self.call_soon_threadsafe(self._track_origins, enabled)

    def _track_origins(self, enabled: bool) -> None:
        """Let coroutines remember where they were made, as long as the loop runs in debug mode."""
        if enabled:
            if self._origin_depth is None:
                self._origin_depth = sys.get_coroutine_origin_tracking_depth()
                sys.set_coroutine_origin_tracking_depth(constants.DEBUG_STACK_DEPTH)
        elif self._origin_depth is not None:
            depth, self._origin_depth = self._origin_depth, None
            sys.set_coroutine_origin_tracking_depth(depth)


__all__ = ["Debugging", "reporting_batch"]
