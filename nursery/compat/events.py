"""Callbacks that stand in the run queue, and timers that stand in the deadlines.

Invariant: a handle in the run queue is run once for each time it was put there, in its own context, as no task; a
cancelled one does nothing.  A timer is either in the deadlines (`_scheduled`), or in the queue, or done: `cancel`
removes it truly.

They are instances of asyncio's own classes, so `isinstance` and `handle.cancelled()` mean what libraries expect.  The
batch function of compat runs them in line; `run` and `send` are for the kernel's own loops (door 1 of
kernel/foreign.py).
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import format_helpers
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from ..kernel.traps import PARK

if TYPE_CHECKING:
    from .loop.state import LoopState


class Handle(asyncio.Handle):
    """What `call_soon` returns."""

    __slots__ = ()

    # Read by the kernel's loops after a step, as of every item.
    alert = False

    _callback: Callable[..., object]
    _args: Sequence[Any]
    _loop: LoopState
    _context: Context

    # flat: once for every callback
    def __init__(
        self, callback: Callable[..., object], args: Sequence[Any], loop: LoopState, context: Context | None = None
    ) -> None:
        self._context = copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = format_helpers.extract_stack(sys._getframe(2)) if loop._debug else None

    def send(self, nothing: None) -> None:
        """Stand where a task has its coroutine's send."""

    def run(self, send: object, nothing: None) -> object:
        """Call the function, as no task."""
        self._loop.runner.current = None
        if not self._cancelled:
            try:
                self._context.run(self._callback, *self._args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                self.report(exc)
        return PARK

    def report(self, exc: BaseException) -> None:
        """Tell the loop's exception handler what the callback raised."""
        source = format_helpers._format_callback_source(self._callback, self._args)
        context: dict[str, Any] = {"message": f"Exception in callback {source}", "exception": exc, "handle": self}
        if self._source_traceback:
            context["source_traceback"] = self._source_traceback
        self._loop.call_exception_handler(context)


class TimerHandle(Handle, asyncio.TimerHandle):
    """What `call_later` and `call_at` return."""

    __slots__ = ()

    # asyncio compares timers by what they will call; in the deadlines each one is itself, also of two equal ones
    # (tests/compat/test_timers.py).
    __hash__ = object.__hash__
    __eq__ = object.__eq__

    _when: float
    _scheduled: bool

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: Sequence[Any],
        loop: LoopState,
        context: Context | None = None,
    ) -> None:
        self._context = copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = format_helpers.extract_stack(sys._getframe(2)) if loop._debug else None
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
