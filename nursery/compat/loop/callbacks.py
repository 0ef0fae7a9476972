"""Callbacks, timers and tasks: what goes into the run queue and the deadlines.

Invariant: one queue, first in, first out, for `call_soon`, `call_soon_threadsafe` and the steps of tasks.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from asyncio import coroutines, format_helpers
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from types import CoroutineType
from typing import Any, Final, TypeVar, TypeVarTuple

from ...kernel.nursery import Nursery
from ..cancellation import abort_await
from ..future import Future
from ..handles import Handle, LaterHandle, SoonHandle, ThreadSafeHandle, TimerHandle
from ..task import Task, Wakeup, task_number
from .state import LoopState

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# From 3.13.3 on a task factory gets every keyword that create_task got; before, the name was set afterwards.
FACTORY_TAKES_ALL: Final = sys.version_info >= (3, 13, 3)


def checked_context(context: Context) -> Context:
    """Return what was given to run a task in; TypeError if it is no context."""
    if type(context) is not Context:
        raise TypeError(f"a contextvars.Context was expected, got {context!r}")
    return context


class Callbacks(LoopState):
    """call_soon, call_later, call_at, call_soon_threadsafe, create_future, create_task, task factories."""

    _task_factory: Callable[..., Any] | None = None

    def time(self) -> float:
        """Return the time of the run's clock, in seconds."""
        return self.runner.now()

    # flat: once for every callback
    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Have `callback(*args)` called in the next turn, in `context` or a copy of the current one.

        Raises RuntimeError if the loop is closed; in debug mode also in another thread than the loop's, and TypeError
        for what is not callable or is a coroutine.
        Source: asyncio's documentation, `loop.call_soon`.
        """
        if self._careful:
            return self._call_soon_carefully(callback, args, context)
        if context is None:
            context = copy_context()
        elif type(callback) is Wakeup:
            # A future wakes the task that awaits it: no handle, the task itself goes into the queue.
            task = callback.task
            if task.abort is abort_await and task.awaits is args[0]:  # type: ignore[misc]  # a future passes itself
                task.abort = None
                self.runner.queue.append(task)
            return NO_HANDLE
        handle = SoonHandle()
        handle._context = context
        handle._loop = self
        handle._callback = callback
        handle._args = args
        self.runner.queue.append(handle)
        return handle

    def _call_soon_carefully(
        self, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None
    ) -> asyncio.Handle:
        """Do what `call_soon` does, on a loop that is closed or in debug mode."""
        self._check_closed()
        if type(callback) is Wakeup:
            callback(*args)
            return NO_HANDLE
        self._check_thread()
        self._check_callback(callback, "call_soon")
        handle = Handle(callback, args, self, context, depth=3)
        self.runner.queue.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Do what `call_soon` does, from any thread and from signal handlers.

        Source: asyncio's documentation, `loop.call_soon_threadsafe`.
        """
        self._check_closed()
        if self._debug:
            self._check_callback(callback, "call_soon_threadsafe")
        handle = ThreadSafeHandle(callback, args, self, context)
        self.runner.queue.append(handle)
        try:
            self.runner.inbox.bell.ring()
        except OSError:
            # Another thread has closed the loop in this moment (tests/compat/test_loop.py).
            raise RuntimeError("Event loop is closed") from None
        return handle

    # flat: once for every timer
    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Have `callback(*args)` called `delay` seconds from now; a negative delay is in the past, and comes first.

        Source: asyncio's documentation, `loop.call_later`.
        """
        if delay is None:
            raise TypeError("delay must not be None")
        when = self.runner.now() + delay
        if self._careful:
            return self._call_at_carefully(when, callback, args, context, "call_later")
        handle = LaterHandle()
        handle._context = copy_context() if context is None else context
        handle._loop = self
        handle._callback = callback
        handle._args = args
        handle._when = when
        deadlines = self.runner.deadlines
        if deadlines.recent_from <= when < deadlines.recent_until:
            # What `add` does then.
            handle._bucket = deadlines.recent
            deadlines.recent[handle] = when
        else:
            handle._bucket = deadlines.add(handle, when)
        return handle

    # flat: once for every timer
    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Have `callback(*args)` called at `when`, a time of the loop's clock; of equal times, first come first.

        Source: asyncio's documentation, `loop.call_at`.
        """
        if when is None:
            raise TypeError("when cannot be None")
        if self._careful:
            return self._call_at_carefully(when, callback, args, context, "call_at")
        handle = LaterHandle()
        handle._context = copy_context() if context is None else context
        handle._loop = self
        handle._callback = callback
        handle._args = args
        handle._when = when
        deadlines = self.runner.deadlines
        if deadlines.recent_from <= when < deadlines.recent_until:
            # What `add` does then.
            handle._bucket = deadlines.recent
            deadlines.recent[handle] = when
        else:
            handle._bucket = deadlines.add(handle, when)
        return handle

    def _call_at_carefully(
        self, when: float, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None, method: str
    ) -> asyncio.TimerHandle:
        """Do what `call_at` does, on a loop that is closed or in debug mode."""
        self._check_closed()
        self._check_thread()
        self._check_callback(callback, method)
        return TimerHandle(when, callback, args, self, context, depth=3)

    def _check_callback(self, callback: object, method: str) -> None:
        if coroutines.iscoroutine(callback) or inspect.iscoroutinefunction(callback):
            raise TypeError(f"coroutines cannot be used with {method}(): make a task of it with create_task()")
        if not callable(callback):
            raise TypeError(f"a callable object was expected by {method}(), got {callback!r}")

    def create_future(self) -> asyncio.Future[Any]:
        """Return a new future of this loop.

        Source: asyncio's documentation, `loop.create_future`.
        """
        if self.runner.current is None:
            # For a callback, or a task of asyncio's own class, which awaits a future of its kind 1.1 us faster.
            return asyncio.Future(loop=self)
        future: Any = Future(self.runner)
        if self._debug:
            future.remember_source()
        return future  # type: ignore[no-any-return]  # it says so itself

    def create_task(  # type: ignore[override, unused-ignore]  # typeshed's changes with the version, this one takes all
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: object = None,
        context: Context | None = None,
        **options: Any,
    ) -> asyncio.Task[T]:
        """Start a task in the run's root group.

        Arguments: eager_start=True runs the first step at once.  Options go to the task factory.
        Raises RuntimeError if the loop is closed, TypeError for what is no coroutine.
        Source: asyncio's documentation, `loop.create_task`.
        """
        factory = self._task_factory
        if factory is None:
            if not options:
                return self.start_task(coro, name, context)
            eager = options.pop("eager_start", None)
            if options:
                raise TypeError(f"create_task() got unexpected keyword arguments {sorted(options)}")
            if not eager:
                return self.start_task(coro, name, context)
            from ..eager import start_eagerly

            return start_eagerly(self, coro, name=name, context=context)  # type: ignore[arg-type]  # it is the loop
        if self._careful:
            self._check_closed()
        if context is not None:
            options["context"] = context
        if name is not None and FACTORY_TAKES_ALL:
            options["name"] = name
        # An eager task takes its first step here, as itself and not as the task that makes it.
        runner = self.runner
        running, runner.current = runner.current, None
        try:
            made: Any = factory(self, coro, **options)
        finally:
            runner.current = running
        try:
            if name is not None and not FACTORY_TAKES_ALL and hasattr(made, "set_name"):
                made.set_name(name)
            return made  # type: ignore[no-any-return]  # whatever the factory makes
        finally:
            # An eager task's first step stands upon this frame, and its error holds both (tests/compat/test_eager.py).
            del made

    # flat: once for every task
    def start_task(
        self,
        coro: Coroutine[Any, Any, T],
        name: object = None,
        context: Context | None = None,
        nursery: Nursery | None = None,
    ) -> asyncio.Task[T]:
        """Start a task of ours in a nursery, or the run's root group, whatever the task factory."""
        if self._careful:
            self._check_closed()
        if type(coro) is not CoroutineType and not coroutines.iscoroutine(coro):
            raise TypeError(f"a coroutine was expected, got {coro!r}")
        runner = self.runner
        if nursery is None:
            nursery = self.root_group
        ours: Any = Task(
            runner,
            coro,
            copy_context() if context is None else checked_context(context),
            nursery,
            task_number() if name is None else str(name),
        )
        if self._debug:
            ours._source_traceback = format_helpers.extract_stack(sys._getframe(2))
        nursery._children[ours] = None
        if runner.instruments is not None:
            runner.instruments.call("task_spawned", ours)
        runner.queue.append(ours)
        return ours  # type: ignore[no-any-return]  # it says so itself

    def set_task_factory(self, factory: Callable[..., Any] | None) -> None:
        """Let `factory(loop, coro, **options)` make the tasks; None for our own."""
        if factory is not None and not callable(factory):
            raise TypeError("task factory must be a callable or None")
        self._task_factory = factory

    def get_task_factory(self) -> Any:
        """Return the task factory, None if there is none."""
        return self._task_factory


class _NoHandle(asyncio.Handle):
    """What `call_soon` answers a future that wakes a task: nothing there can be cancelled."""

    __slots__ = ()

    def __init__(self) -> None:
        self._cancelled = True
        self._repr = "<Handle cancelled>"


NO_HANDLE: Final[asyncio.Handle] = _NoHandle()
