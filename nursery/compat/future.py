"""Our future: what `loop.create_future` returns.

Invariant: as of every promise; whoever makes a future ends it, by `set_result`, `set_exception` or `cancel`, once.

`isinstance(future, asyncio.Future)` and `asyncio.isfuture(future)` hold.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import format_helpers
from collections.abc import Callable
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, ClassVar, Final

from .cancellation import abort_await
from .promise import CANCELLED, FINISHED, NO_MESSAGE, PENDING, Promise
from .rare import leave_unset
from .task import Task

if TYPE_CHECKING:
    from ..kernel.runner import Runner


class Future(Promise):
    """A value that will be there later.

    Source: asyncio's documentation, `asyncio.Future`.
    """

    # With a `__dict__`, as asyncio's: libraries put things there.
    __slots__ = (
        "__dict__",
        "__weakref__",
        "_asyncio_future_blocking",
        "_told",
        "_cancel_message",
        "_failure",
        "_failure_traceback",
        "_log_traceback",
        "_result",
        "_source_traceback",
        "_state",
        "runner",
    )

    shown_as: ClassVar[str] = "Future"

    # What it becomes when it fails, to report an error that nobody asks for.
    when_failed: ClassVar[type[Future] | None] = None

    # flat: once for every future
    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self._state = PENDING
        self._told = None
        self._asyncio_future_blocking = False
        self._failure: BaseException | None = None

    if not TYPE_CHECKING:

        @property
        def __class__(self) -> type:
            """asyncio.Future: what `isinstance` asks when the type itself does not fit."""
            return asyncio.Future

    def remember_source(self) -> None:
        """Keep where this future was made: debug mode asks for it."""
        self._source_traceback = format_helpers.extract_stack(sys._getframe(2))

    # flat: once for every future
    def set_result(self, result: object, /) -> None:
        """End with a value; InvalidStateError if it has ended."""
        if self._state is not PENDING:
            raise asyncio.InvalidStateError(f"{self._state}: {self!r}")
        self._result = result
        self._state = FINISHED
        callbacks = self._told
        if callbacks is not None:
            if type(callbacks) is Task:
                # The common case of `_schedule_callbacks`, in line: 100 ns.
                self._told = None
                waiter: Any = callbacks
                if waiter.awaits is self and waiter.abort is abort_await:
                    waiter.abort = None
                    self.runner.queue.append(waiter)
            else:
                self._schedule_callbacks()

    def set_exception(self, exception: type[BaseException] | BaseException, /) -> None:
        """End with an error; InvalidStateError if it has ended, TypeError for StopIteration."""
        if self._state is not PENDING:
            raise asyncio.InvalidStateError(f"{self._state}: {self!r}")
        if isinstance(exception, type):
            exception = exception()
        if not isinstance(exception, BaseException):
            raise TypeError(f"invalid exception object: set_exception() takes an exception, not {exception!r}")
        if isinstance(exception, StopIteration):
            # It would end a coroutine that awaits this future, as if that had returned.
            converted = RuntimeError("StopIteration interacts badly with generators and cannot be raised into a Future")
            converted.__cause__ = exception
            converted.__context__ = exception
            exception = converted
        self._failure = exception
        self._failure_traceback = exception.__traceback__
        self._state = FINISHED
        self._log_traceback = True
        self._schedule_callbacks()
        # From now on this object looks at its end whether anybody has asked for the error: see compat/task.py.
        if self.when_failed is not None:
            _set_type(self, self.when_failed)
            unretrieved = self._loop._unretrieved
            if unretrieved is not None:
                unretrieved.add(self)

    def cancel(self, msg: object = None) -> bool:
        """End as cancelled; return False if it has ended already."""
        if self._state is not PENDING:
            if self._failure is not None:
                # As in asyncio: who cancels it knows of it.
                self._log_traceback = False
            return False
        self._state = CANCELLED
        if msg is not None:
            self._cancel_message = msg
        else:
            self._failure = NO_MESSAGE
        callbacks = self._told
        if callbacks is not None:
            if type(callbacks) is Task:
                # As in `set_result`.
                self._told = None
                waiter: Any = callbacks
                if waiter.awaits is self and waiter.abort is abort_await:
                    waiter.abort = None
                    self.runner.queue.append(waiter)
            else:
                self._schedule_callbacks()
        return True

    @recursive_repr()
    def __repr__(self) -> str:
        parts = [self._state.lower()]
        if self._told:
            parts.append(self._describe_callbacks())
        if self._state is FINISHED:
            parts.append(self._describe_end())
        if self._source_traceback:
            parts.append(f"created at {self._source_traceback[-1][0]}:{self._source_traceback[-1][1]}")
        return f"<{self.shown_as} {' '.join(parts)}>"


leave_unset(Future, _cancel_message=None, _failure_traceback=None, _log_traceback=False, _source_traceback=None)


class UnretrievedFuture(Future):
    """What a failed future becomes, so that an error nobody asked for is reported (see compat/task.py)."""

    __slots__ = ()

    when_failed = None

    def __del__(self) -> None:
        self.report_unretrieved("Future")


# The name that exception handlers and logs show.
UnretrievedFuture.__name__ = UnretrievedFuture.__qualname__ = "Future"


Future.when_failed = UnretrievedFuture


_set_type: Final[Callable[[object, type], None]] = object.__dict__["__class__"].__set__
