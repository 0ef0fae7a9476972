"""What our tasks wait for and are woken by directly: our tasks and our futures.

Invariant: a promise is PENDING, and then FINISHED or CANCELLED for good.  `_told` lists, in order of registration,
who is told of the end: with a context, a callback, which gets a handle in the run queue; without one, somebody of our
own.  That is a task, which is put into the queue itself, or an object whose `ended(promise)` is called at the end at
once; so `gather` counts, without a turn in between.  One of our own that is alone stands there without a list: that is
how nearly every promise ends, and a list with a pair in it costs a fifth of `await create_task(f())`.

What ended with an error nobody asks about is reported when the object goes.
"""

from __future__ import annotations

import asyncio
from asyncio import base_futures
from asyncio.log import logger
from collections.abc import Callable, Generator
from contextvars import Context, copy_context
from types import GenericAlias, TracebackType
from typing import TYPE_CHECKING, Any, Final

from ..kernel.errors import Cancelled
from .cancellation import CancellableTask, abort_await
from .handles import SoonHandle

if TYPE_CHECKING:
    from ..kernel.runner import Runner
    from .loop.state import LoopState

PENDING: Final = "PENDING"
CANCELLED: Final = "CANCELLED"
FINISHED: Final = "FINISHED"

# Stands in `_failure` of a future that was cancelled without a message: to look for one costs 500 ns.
NO_MESSAGE: Final = asyncio.CancelledError()

# The key under which a run keeps a reference to its loop.
LOOP: Final = object()


class Promise:
    """The part that tasks and futures share; each has the slots that are named here."""

    if not TYPE_CHECKING:
        # mypy takes it that nothing below can be assigned then.
        __slots__ = ()

    runner: Runner
    _state: str
    _asyncio_future_blocking: bool
    # None; a single waiter that is told directly; or pairs of whom to tell and the context to call it in.
    _told: Any
    # What it ended with, an error or a cancellation.
    _failure: BaseException | None
    # Unset until it ends with a value.
    _result: Any
    _failure_traceback: TracebackType | None
    _log_traceback: bool
    _source_traceback: Any
    _cancel_message: object

    @property
    def _loop(self) -> LoopState:
        # Set while the loop runs; else the run keeps a weak reference, until it is closed.
        loop = self.runner.dialect
        if loop is None:
            reference: Any = self.runner.locals.get(LOOP)
            loop = None if reference is None else reference()
        return loop  # type: ignore[no-any-return]  # what the loop put there

    @property
    def _callbacks(self) -> list[tuple[Any, Context | None]] | None:
        """Who is told, in the shape that asyncio's own has."""
        return self.registered() or None

    @property
    def _exception(self) -> BaseException | None:
        return self._failure if self._state is FINISHED else None

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop it belongs to."""
        return self._loop

    # The result

    def done(self) -> bool:
        """Return whether it has ended."""
        return self._state is not PENDING

    def cancelled(self) -> bool:
        """Return whether it has ended by a cancellation."""
        return self._state is CANCELLED

    def result(self) -> Any:
        """Return the value, or raise the error, with which it ended; InvalidStateError before."""
        if self._state is FINISHED:
            error = self._failure
            if error is None:
                return self._result
            self._log_traceback = False
            try:
                raise error.with_traceback(self._failure_traceback)
            finally:
                # The error's traceback holds this frame (tests/compat/test_futures.py).
                del error, self
        if self._state is CANCELLED:
            raise self._make_cancelled_error()
        raise asyncio.InvalidStateError("Result is not set.")

    def exception(self) -> BaseException | None:
        """Return the error with which it ended, None if it was a value; InvalidStateError before."""
        if self._state is CANCELLED:
            raise self._make_cancelled_error()
        if self._state is PENDING:
            raise asyncio.InvalidStateError("Exception is not set.")
        if self._failure is not None:
            self._log_traceback = False
        return self._failure

    def _make_cancelled_error(self) -> asyncio.CancelledError:
        error: BaseException | None = None
        if self._state is CANCELLED:
            error = self._failure
            if error is NO_MESSAGE:
                return asyncio.CancelledError()
            self._failure = None
        # A scope's exception belongs to the task inside that scope, not to whoever awaits the task.
        if isinstance(error, asyncio.CancelledError) and not isinstance(error, Cancelled):
            return error
        message = self._cancel_message
        return asyncio.CancelledError() if message is None else asyncio.CancelledError(message)

    # flat: once for every await
    def __await__(self) -> Generator[Any, None, Any]:
        if self._state is PENDING:
            self._asyncio_future_blocking = True
            yield self
            if self._state is PENDING:
                yield from self._await_again()
        if self._state is FINISHED and self._failure is None:
            return self._result
        if self._state is CANCELLED:
            # Not by `result`: each frame in the traceback costs 300 ns.  And without this promise in the frame: a
            # cancelled task keeps its traceback, and would keep what it waited for (tests/compat/test_tasks.py).
            errors = [self._make_cancelled_error()]
            del self
            raise errors.pop()
        try:
            return self.result()
        finally:
            # As there.
            del self

    def _await_again(self) -> Generator[Any, None, None]:
        """Wait on: another task was given the same coroutine, and has woken this await; as asyncio's futures do."""
        while self._state is PENDING:
            if self._asyncio_future_blocking:
                raise RuntimeError("await wasn't used with future")
            self._asyncio_future_blocking = True
            yield self

    __iter__ = __await__

    # Who is told

    def add_done_callback(self, fn: Callable[[Any], object], /, *, context: Context | None = None) -> None:
        """Have `fn(this)` called soon after the end, in `context` or a copy of the current one."""
        if self._state is not PENDING:
            self._loop.call_soon(fn, self, context=context)
            return
        pair = (fn, copy_context() if context is None else context)
        callbacks = self._told
        if type(callbacks) is list:
            callbacks.append(pair)
        elif callbacks is None:
            self._told = [pair]
        else:
            self._told = [(callbacks, None), pair]

    def tell(self, waiter: Any) -> None:
        """Wake the task `waiter` at the end, or call its `ended(this)`; only while pending."""
        callbacks = self._told
        if callbacks is None:
            self._told = waiter
        elif type(callbacks) is list:
            callbacks.append((waiter, None))
        else:
            self._told = [(callbacks, None), (waiter, None)]

    def registered(self) -> list[tuple[Any, Context | None]]:
        """Return who is told, with the context of each callback; a waiter that is told directly has none."""
        callbacks = self._told
        if callbacks is None:
            return []
        return callbacks if type(callbacks) is list else [(callbacks, None)]

    def remove_done_callback(self, fn: Callable[[Any], object], /) -> int:
        """Remove every registration of `fn` and return how many there were."""
        registered = self.registered()
        left = [pair for pair in registered if pair[0] != fn]
        removed = len(registered) - len(left)
        if removed:
            self._told = left or None
        return removed

    @property
    def _asyncio_awaited_by(self) -> set[asyncio.Future[Any]] | None:
        # Asked by asyncio.capture_call_graph(), from 3.14 on.
        from .graph import waiters_of

        return set(waiters_of(self)) or None

    # flat: once for every promise that somebody waits for
    def _schedule_callbacks(self) -> None:
        callbacks, self._told = self._told, None
        if callbacks is None:
            return
        if type(callbacks) is not list:
            callbacks = ((callbacks, None),)
        this: Any = self
        append = self.runner.queue.append
        for fn, context in callbacks:
            if context is not None:
                handle = SoonHandle()
                handle._context = context
                handle._loop = self._loop
                handle._callback = fn
                handle._args = (this,)
                append(handle)
            elif isinstance(fn, CancellableTask):
                if fn.awaits is this and fn.abort is abort_await:
                    fn.abort = None
                    append(fn)
            else:
                fn.ended(this)

    def _describe_callbacks(self) -> str:
        shown: Any = [
            (fn if context is not None else f"<wakes {fn.name!r}>" if isinstance(fn, CancellableTask) else fn, context)
            for fn, context in self.registered()
        ]
        return base_futures._format_callbacks(shown)

    def _describe_end(self) -> str:
        return f"result={self._result!r}" if self._failure is None else f"exception={self._failure!r}"

    def report_unretrieved(self, kind: str) -> None:
        """Tell the loop's exception handler of an error that nobody has asked for, if that is so."""
        if not self._log_traceback:
            return
        context: dict[str, Any] = {
            "message": f"{kind} exception was never retrieved",
            "exception": self._failure,
            "future": self,
        }
        if self._source_traceback:
            context["source_traceback"] = self._source_traceback
        loop: LoopState | None = self._loop
        if loop is not None:
            loop.call_exception_handler(context)
        else:
            # It has outlived its loop.
            logger.error("%s\nfuture: %r", context["message"], self, exc_info=self._failure)

    if not TYPE_CHECKING:

        __class_getitem__ = classmethod(GenericAlias)
