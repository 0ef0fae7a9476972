"""Callbacks that stand in the run queue, and timers that stand in the deadlines.

Invariant: a handle in the run queue is run once for each time it was put there, in its own context, as no task; a
cancelled one, whose `_callback` is None, does nothing.  A timer is either in the deadlines (`_scheduled`), or in the
queue, or done: `cancel` removes it truly.

They are instances of asyncio's own classes, so `isinstance` and `handle.cancelled()` mean what libraries expect.  The
batch function of compat runs them in line; `run` and `send` are for the kernel's own loops (door 1 of
kernel/foreign.py).

`SoonHandle` and `LaterHandle` are what `call_soon` and `call_later` make outside debug mode.  They have no `__init__`:
the loop fills their slots where it makes them, since a Python call to do so costs as much as the rest of a handle (80
of 180 ns).  What only debug mode looks at is not stored in them.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from asyncio import events as stdlib_events
from asyncio import format_helpers
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ..kernel.traps import PARK

if TYPE_CHECKING:
    from .loop.state import LoopState


if sys.version_info >= (3, 13):
    describe_call: Final = partial(format_helpers._format_callback_source, debug=True)  # type: ignore[call-arg, unused-ignore]  # not in typeshed
else:
    describe_call: Final = format_helpers._format_callback_source


class Handle(asyncio.Handle):
    """A callback with its arguments and its context."""

    __slots__ = ()

    # Read by the kernel's loops after a step, as of every item.
    alert = False

    _callback: Callable[..., object] | None
    _args: Sequence[Any] | None  # type: ignore[assignment]  # as asyncio itself: a cancelled handle has none
    _loop: LoopState
    _context: Context

    def __init__(
        self,
        callback: Callable[..., object],
        args: Sequence[Any],
        loop: LoopState,
        context: Context | None = None,
        depth: int = 2,
    ) -> None:
        # `depth` says how many calls away the caller is whom debug mode remembers.
        self._context = copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = format_helpers.extract_stack(sys._getframe(depth)) if loop._debug else None

    def send(self, nothing: None) -> None:
        """Stand where a task has its coroutine's send."""

    @property
    def context(self) -> Handle:
        """Stand where a task has its context: the kernel's own loops call its `run`."""
        return self

    def run(self, send: object, nothing: None) -> object:
        """Call the function, as no task."""
        self._loop.runner.current = None
        if self._callback is not None:
            assert self._args is not None
            try:
                self._context.run(self._callback, *self._args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                self.report(exc)
        # If a C task failed in there, the traceback of its error leads to this frame: the handle, and so the task, must
        # not be found here (tests/compat/test_ctasks.py).
        del self, send
        return PARK

    def _run(self) -> None:
        self.run(None, None)

    def get_context(self) -> Context:
        """Return the context that the callback runs in."""
        return self._context

    def report(
        self, exc: BaseException, callback: Callable[..., object] | None = None, args: Sequence[Any] | None = None
    ) -> None:
        """Tell the loop's exception handler what the callback raised.

        Arguments: callback and args are what was called, if the caller knows them.
        """
        callback = self._callback if callback is None else callback
        args = self._args if args is None else args
        # As asyncio: arguments may be secret, they are shown in debug mode only.
        shown = args if args is not None and self._loop._debug else ()
        # The callback may have cancelled its own handle, which then has forgotten it.
        source = repr(self) if callback is None else describe_call(callback, shown)
        context: dict[str, Any] = {"message": f"Exception in callback {source}", "exception": exc, "handle": self}
        if self._source_traceback:
            context["source_traceback"] = self._source_traceback
        self._loop.call_exception_handler(context)


if sys.version_info < (3, 14):
    ThreadSafeHandle = Handle
else:

    class GuardedContext:
        """Stands in a handle for the context: runs the callback while no other thread can cancel it."""

        __slots__ = ("cancelled", "context", "lock")

        def __init__(self, context: Context, lock: threading.RLock) -> None:
            self.context = context
            self.lock = lock
            self.cancelled = False

        def run(self, callback: Callable[..., object], *args: Any) -> None:
            """Run the callback, unless it was cancelled meanwhile."""
            with self.lock:
                if not self.cancelled:
                    self.context.run(callback, *args)

    class ThreadSafeHandle(Handle, stdlib_events._ThreadSafeHandle):
        """What `call_soon_threadsafe` returns: another thread that cancels it waits for a callback that is running.

        So it is from 3.14 on.
        """

        __slots__ = ()

        def __init__(
            self, callback: Callable[..., object], args: Sequence[Any], loop: LoopState, context: Context | None
        ) -> None:
            Handle.__init__(self, callback, args, loop, context, depth=3)
            self._lock = threading.RLock()
            self._context = GuardedContext(self._context, self._lock)

        def get_context(self) -> Context:
            """Return the context that the callback runs in."""
            return self._context.context

        def cancel(self) -> None:
            """Forget the callback; if another thread is running it, wait for its end."""
            with self._lock:
                self._context.cancelled = True
                Handle.cancel(self)

    ThreadSafeHandle.__name__ = "Handle"


class TimerHandle(Handle, asyncio.TimerHandle):
    """A callback that waits for its time."""

    __slots__ = ()

    # asyncio compares timers by what they will call; in the deadlines each one is itself, also of two equal ones
    # (tests/compat/test_timers.py).
    __hash__ = object.__hash__
    __eq__ = object.__eq__

    # asyncio's own ask its `__eq__`.
    def __le__(self, other: object) -> bool:
        return self._when <= other._when if isinstance(other, asyncio.TimerHandle) else NotImplemented  # type: ignore[attr-defined]  # not in typeshed

    def __ge__(self, other: object) -> bool:
        return self._when >= other._when if isinstance(other, asyncio.TimerHandle) else NotImplemented  # type: ignore[attr-defined]  # not in typeshed

    _when: float
    _scheduled: bool

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: Sequence[Any],
        loop: LoopState,
        context: Context | None = None,
        depth: int = 2,
    ) -> None:
        self._context = copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = format_helpers.extract_stack(sys._getframe(depth)) if loop._debug else None
        self._when = when
        self._scheduled = True
        loop.runner.deadlines.add(self, when)

    def expire(self) -> None:
        """Queue the callback: its time has come; called by the deadlines."""
        self._scheduled = False
        self._loop.runner.queue.append(self)

    def cancel(self) -> None:
        """Forget the callback."""
        if self._scheduled:
            self._scheduled = False
            self._loop.runner.deadlines.remove(self, self._when)
        asyncio.Handle.cancel(self)


class SoonHandle(Handle):
    """What `call_soon` returns; its maker fills `_callback`, `_args`, `_context` and `_loop`."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __init__(self) -> None: ...

    else:
        # A C function: `SoonHandle()` then makes no frame.
        __init__ = object.__init__
        # They hide slots, which are left empty.
        _repr = None
        _source_traceback = None

        @property
        def _cancelled(self) -> bool:
            return self._callback is None

    def cancel(self) -> None:
        """Forget the callback."""
        self._callback = self._args = None

    def cancelled(self) -> bool:
        """Return whether the callback was cancelled."""
        return self._callback is None


class LaterHandle(SoonHandle, TimerHandle):
    """What `call_later` and `call_at` return; its maker fills `_when` and `_bucket` as well.

    `_bucket` is the one of the deadlines in which it stands, else None.
    """

    __slots__ = ("_bucket",)

    _bucket: dict[Any, float] | None

    if not TYPE_CHECKING:

        @property
        def _scheduled(self) -> bool:
            return self._bucket is not None

    def expire(self) -> None:
        """Queue the callback: its time has come; called by the deadlines."""
        self._bucket = None
        self._loop.runner.queue.append(self)

    # flat: once for every timer that is not needed after all
    def cancel(self) -> None:
        """Forget the callback."""
        bucket = self._bucket
        if bucket is not None:
            # What `deadlines.remove` does; a host that sleeps until then may wake for nothing.
            del bucket[self]
            self._bucket = None
        self._callback = self._args = None


# By the names of asyncio, in `repr` as well: which of the two it is says nothing to a reader.
SoonHandle.__name__ = "Handle"
LaterHandle.__name__ = "TimerHandle"


class ReadinessHandle(Handle):
    """A callback that waits for a descriptor: it stands as reader or writer of a kernel Interest."""

    __slots__ = ("abort", "queued")

    def __init__(self, callback: Callable[[], object], loop: LoopState, context: Context | None = None) -> None:
        Handle.__init__(self, callback, (), loop, context)
        # Not None while it waits, as for a parked task.
        self.abort: object = None

    def wake_with_error(self, error: BaseException) -> None:
        """Do nothing: whoever forgets the descriptor has taken this handle away before, or closed it for good."""
        self.abort = None


# In the reports of debug mode.
ReadinessHandle.__name__ = "Handle"
