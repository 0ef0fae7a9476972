"""The driver: run_forever, run_until_complete, stop and close pause and resume one and the same run.

Invariant: the kernel's thread slot and asyncio's running loop are set exactly while this driver is inside the run.
The three pieces of kernel/loop.py are called here in the order of entry.py; there is no second scheduler.
"""

from __future__ import annotations

import asyncio
import os
import sys
import warnings
import weakref
from asyncio import base_events, coroutines
from asyncio.log import logger
from collections.abc import AsyncGenerator, Awaitable, Generator
from contextlib import contextmanager, suppress
from threading import get_ident
from typing import Any, Final, TypeVar

from ...kernel.clock import Clock
from ...kernel.current import current
from ...kernel.generators import AsyncGenerators
from ...kernel.loop import NOT_IDLE, collect, digest, expire, run_batch
from ...kernel.runner import Runner
from ...kernel.task import Task as KernelTask
from ..cancellation import INSIST, Cancelled
from ..ctasks import record_of_current
from ..handles import TimerHandle
from ..promise import LOOP
from ..task import Task, await_future
from ..transports.outbox import Outbox
from .batch import batch, current_tasks
from .debugging import Debugging
from .errors import Errors
from .generators import Generators
from .interrupts import guard_interrupts
from .state import LoopState

T = TypeVar("T")

# Reports what belonged to a loop that was closed and freed.
GONE: Final = Errors()  # type: ignore[abstract]  # only its exception handler is asked
GONE._closed = GONE._careful = True

READ_SIZE: Final = 256 * 1024

# A task that is cancelled by close() gets this many turns to clean up; what then still waits is dropped.
LAST_TURNS: Final = 100


def check_insist(seconds: float | None) -> None:
    """Raise ValueError for what cannot be the `insist` of a loop."""
    if seconds is not None and not seconds > 0:
        raise ValueError(f"insist must be positive, in seconds, or None, not {seconds!r}")


class HandsOff(AsyncGenerators):
    """The kernel's care for async generators, switched off: the loop has asyncio's own (generators.py)."""

    __slots__ = ()

    def close(self) -> None:
        """Put nothing back: no hook was taken."""

    async def finalise_remaining(self) -> None:
        """Close nothing: `shutdown_asyncgens` does."""


class Afterwards:
    """Finds the loop of a run that is over: a closed loop, and the common grave when that is gone."""

    __slots__ = ("_loop",)

    def __init__(self, loop: LoopState) -> None:
        self._loop = weakref.ref(loop)

    def __call__(self) -> LoopState:
        return self._loop() or GONE


def _leave_run_in_child() -> None:
    """Let a forked process begin anew: it is not inside the loop that its parent's thread was inside.

    `asyncio.run` in a child of multiprocessing, forked by a task, works so; asyncio forgets its running loop itself.
    """
    runner = current.runner
    if runner is not None and LOOP in runner.locals:
        current.runner = None
        if runner.dialect is not None:
            # Its parent sends that (tests/compat/transports/test_outbox.py).
            runner.dialect.outbox.waiting.clear()


os.register_at_fork(after_in_child=_leave_run_in_child)


class Running(Generators, Debugging, LoopState):
    """How the loop begins, runs, pauses and ends."""

    def __init__(self, clock: Clock | None = None, *, insist: float | None = None) -> None:
        check_insist(insist)
        debug = os.environ.get("NURSERY_DEBUG", "0") not in ("", "0")
        runner = Runner(batch, clock, debug=debug)
        self._attach(runner, insist)
        runner.generators = HandsOff(runner)
        with self._inside():
            # A MockClock asks for the run.
            runner.clock.start_clock()
            runner.begin(None, ())
            # Far enough for the root to wait: then its innermost nursery is there to hold our tasks.  And for the inbox
            # to wait as well: of a loop that was forgotten, a coroutine that never began would tell.
            while runner.shutdown_waiter is None or runner.queue:
                batch(runner)
        # The root and the inbox are the kernel's; from now on each new task is seen by asyncio.
        runner.task_class = Task
        assert runner.root_task is not None
        self.root_group = runner.root_task.child_nurseries[-1]
        self.set_debug(coroutines._is_debug_mode())  # type: ignore[attr-defined]  # not in typeshed

    def _attach(self, runner: Runner, insist: float | None) -> None:
        """Take possession of a run: through the four doors of kernel/foreign.py."""
        self.runner = runner
        self.io = runner.io
        self.outbox = Outbox(runner)
        self.read_buffer = memoryview(bytearray(READ_SIZE))
        self._signal_handlers = {}
        self._watches = {}
        self._transports = weakref.WeakValueDictionary()
        self._asyncgens: weakref.WeakSet[AsyncGenerator[Any, Any]] = weakref.WeakSet()
        # Weak: the run must not keep its loop alive, so that a loop nobody closed is noticed at once.
        runner.locals[LOOP] = weakref.ref(self)
        runner.locals[INSIST] = insist
        # In the instance, where the paths that must be flat find them first.
        self._closed = self._careful = self._debug = self._stopping = False
        runner.cancelled_class = Cancelled
        runner.foreign_await = await_future
        runner.task_outside_step = record_of_current

    @contextmanager
    def _inside(self) -> Generator[None, None, None]:
        """Be inside the run, in this thread; what the thread was inside before is put back."""
        runner = self.runner
        outer_runner, outer_loop = current.runner, asyncio._get_running_loop()
        outer_thread = self.running_in
        self.running_in = runner.thread = get_ident()
        current.runner = runner
        asyncio._set_running_loop(self)
        # Strong while inside: the collector clears weak references before it calls `__del__`, which closes the loop.
        runner.dialect = self
        try:
            yield
        finally:
            runner.dialect = None
            # From 3.14 on a forked child has no running loop, and no current task.
            with suppress(RuntimeError):
                current_tasks.pop(self, None)
            runner.current = None
            self.running_in = outer_thread
            current.runner = outer_runner
            asyncio._set_running_loop(outer_loop)

    def _check_can_run(self) -> None:
        self._check_closed()
        if self.is_running():
            raise RuntimeError("This event loop is already running")
        if asyncio._get_running_loop() is not None or current.runner is not None:
            raise RuntimeError("Cannot run the event loop while another loop is running")

    def run_forever(self) -> None:
        """Run until `stop` is called.

        Source: asyncio's documentation, `loop.run_forever`.
        """
        self._check_can_run()
        hooks = sys.get_asyncgen_hooks()
        self._track_origins(self._debug)
        guard = guard_interrupts(self)
        try:
            with self._inside():
                sys.set_asyncgen_hooks(firstiter=self._asyncgen_first_iterated, finalizer=self._asyncgen_abandoned)
                self.outbox.open()
                try:
                    self._drive()
                finally:
                    self._stopping = False
                    # Whoever writes and stops the loop has written.
                    self.outbox.close()
                    sys.set_asyncgen_hooks(*hooks)
                    self._track_origins(False)
        finally:
            if guard is not None:
                guard.withdraw()

    def _drive(self) -> None:
        runner = self.runner
        queue = runner.queue
        # As in asyncio the first turn looks at the events, so that the idiom `call_soon(stop); run_forever()` does.
        runner.steps_until_poll = 0
        while True:
            if self._stopping:
                digest(runner, runner.io.fetch(0.0), 0.0, NOT_IDLE)
            elif not queue or runner.steps_until_poll <= 0:
                collect(runner)
            else:
                expire(runner)
            run_batch(runner)
            if self._stopping:
                break

    def run_until_complete(self, future: Generator[Any, None, T] | Awaitable[T]) -> T:
        """Run until `future` (or the task made of a coroutine) is done, and return its result.

        Source: asyncio's documentation, `loop.run_until_complete`.
        """
        self._check_can_run()
        is_new = not asyncio.isfuture(future)
        awaited: Any = future
        awaited = asyncio.ensure_future(awaited, loop=self)
        if is_new:
            # If it does not end, that is told below, by an exception.
            awaited._log_destroy_pending = False
        # asyncio's own callback: anyio finds the root task by it.
        awaited.add_done_callback(base_events._run_until_complete_cb)  # type: ignore[attr-defined]  # not in typeshed
        try:
            self.run_forever()
        except BaseException:
            if is_new and awaited.done() and not awaited.cancelled():
                # The exception under way is this one, or goes before it: it needs no report of its own.
                awaited.exception()
            raise
        finally:
            awaited.remove_done_callback(base_events._run_until_complete_cb)  # type: ignore[attr-defined]  # see above
        if not awaited.done():
            raise RuntimeError("Event loop stopped before Future completed.")
        result: T = awaited.result()
        return result

    def stop(self) -> None:
        """Let `run_forever` return at the end of this turn."""
        self._stopping = True

    # The end

    def close(self) -> None:
        """Cancel the tasks that are left, end the run and give back what it holds; idempotent.

        Raises RuntimeError while the loop is running.
        Source: asyncio's documentation, `loop.close`.
        """
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if self._closed:
            return
        if self._debug:
            logger.debug("Close %r", self)
        self._remove_signal_handlers()
        # The collector, which may have called us, has cleared the weak references to this loop.
        self.runner.locals[LOOP] = weakref.ref(self)
        with self._inside():
            try:
                if self._can_end():
                    self._end_tasks()
                    self._end_run()
                else:
                    self._drop_tasks()
                    for task in self._kernels_tasks():
                        task.coro.close()
            finally:
                self._closed = self._careful = True
                self.runner.close()
                self.runner.queue.clear()
                self._forget_timers()
                self._watches.clear()
                # What failed and is still held finds its way to the exception handler (tests/compat/test_loop.py).
                self.runner.locals[LOOP] = Afterwards(self)
        executor, self._default_executor = self._default_executor, None
        self._executor_shutdown_called = True
        if executor is not None:
            executor.shutdown(wait=False)

    def _forget_timers(self) -> None:
        """Let go of what a closed loop will not call: somebody may keep the loop for ever."""
        for entry, _ in list(self.runner.deadlines):
            if isinstance(entry, TimerHandle):
                entry.cancel()

    def _can_end(self) -> bool:
        """Return whether the kernel's own tasks live: the collector closes coroutines in an order of its own.

        That is the case of a loop which was forgotten, and which is garbage together with them.
        """
        return all(getattr(task.coro, "cr_frame", None) is not None for task in self._kernels_tasks())

    def _kernels_tasks(self) -> list[KernelTask]:
        """Return the root and the inbox."""
        root = self.runner.root_task
        assert root is not None
        return [root, *root.child_nurseries[0].child_tasks]

    def _remove_signal_handlers(self) -> None:
        """Put back the signals' own handlers; see signals.py."""

    def _end_tasks(self) -> None:
        """Cancel what is left in the root group, and let it clean up as long as that needs no waiting."""
        tasks = list(self.root_group._children)
        for task in tasks:
            if isinstance(task, Task):
                task.cancel()
        if tasks:
            self._last_turns()
        self._drop_tasks()

    def _drop_tasks(self) -> None:
        left = list(self.runner.living_tasks())
        for task in reversed(left):
            if isinstance(task, Task):
                self._drop(task)

    def _last_turns(self) -> None:
        runner = self.runner
        for _ in range(LAST_TURNS):
            if not self.root_group._children:
                break
            digest(runner, runner.io.fetch(0.0), 0.0, NOT_IDLE)
            if not runner.queue:
                break
            run_batch(runner)

    def _drop(self, task: Task) -> None:
        """Take a task out of the tree that did not end when it was told to."""
        task.discard()
        nursery = task.parent_nursery
        if nursery is not None:
            nursery._children.pop(task, None)
            if nursery in self.runner.orphanages and not nursery._children:
                self.runner.orphanages.remove(nursery)

    def _end_run(self) -> None:
        """Drive the root task to its end."""
        runner = self.runner
        # What is still in the queue belongs to asyncio, and a closed loop calls nothing.
        for _ in range(len(runner.queue)):
            item = runner.queue.popleft()
            if getattr(item, "ki_protected", False):
                runner.queue.append(item)
        runner.end_soon()
        for _ in range(LAST_TURNS):
            if runner.finished:
                return
            digest(runner, runner.io.fetch(0.0), 0.0, NOT_IDLE)
            run_batch(runner)

    # Default arguments: at the interpreter's end the names of the modules may be gone.
    def __del__(self, _warn: Any = warnings.warn, _is_finalizing: Any = sys.is_finalizing) -> None:
        if self._closed or not hasattr(self, "root_group"):
            return
        if _is_finalizing():
            # Too late to close it: what that takes may be gone too, and the process ends anyway.
            _warn(f"unclosed event loop {object.__repr__(self)}", ResourceWarning, source=self, stacklevel=2)
            return
        _warn(f"unclosed event loop {self!r}", ResourceWarning, source=self, stacklevel=2)
        if not self.is_running():
            self.close()

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} running={self.is_running()} closed={self.is_closed()} debug={self.get_debug()}>"
        )


__all__ = ["Running"]
