"""Timeouts: a deadline of the run that cancels the task, once, and turns that into TimeoutError.

Invariant: CREATED -> ENTERED -> EXPIRING (its time has come, the task was cancelled) -> EXPIRED, or ENTERED -> EXITED.
Exactly while it is ENTERED and has a time, the timeout stands in the run's deadlines; or, if the time had passed
already, it will be called in the next turn.  The request that it made is taken back when it is left, so that the count
of requests is what it was.

The cancellation is an edge, as asyncio documents it (`task.cancelling()` counts it); the deadline is the kernel's.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, final

from ..kernel.current import current
from ..kernel.errors import Cancelled
from ..kernel.scope import newest_cancellation_around
from .cancellation import SHIELDS
from .task import Task as OwnTask
from .waiting import NO_WAIT, running_loop

if TYPE_CHECKING:
    from ..kernel.runner import Runner
    from .cancellation import Shields

__all__ = ("Timeout", "timeout", "timeout_at")


class _State(enum.Enum):
    CREATED = "created"
    ENTERED = "active"
    EXPIRING = "expiring"
    EXPIRED = "expired"
    EXITED = "finished"


# Bound once: reading a member of an enum costs more than a global.
CREATED: Final = _State.CREATED
ENTERED: Final = _State.ENTERED
EXPIRING: Final = _State.EXPIRING
EXPIRED: Final = _State.EXPIRED
EXITED: Final = _State.EXITED


@final
class Timeout:
    """An async context manager that cancels its block when a time has come, and raises TimeoutError then.

    Arguments: when is a time of the loop's clock, None for never.

    Source: asyncio's documentation, `asyncio.Timeout`.
    """

    __slots__ = ("__weakref__", "_cancelling", "_runner", "_told", "_shields", "_stands", "_state", "_task", "_when")

    _runner: Runner
    # Around the block, if the task is one of ours.
    _shields: Shields
    # What the task had been told of by scopes, when it entered the block.
    _told: int

    def __init__(self, when: float | None) -> None:
        self._state = CREATED
        self._task: asyncio.Task[Any] | None = None
        self._when = when
        self._cancelling = 0
        # Where it waits for its time: a bucket of the deadlines, or a callback for the next turn.
        self._stands: dict[Any, float] | asyncio.Handle | None = None

    def when(self) -> float | None:
        """Return the time at which the block is cancelled, None for never."""
        return self._when

    def reschedule(self, when: float | None) -> None:
        """Move the time; what has passed already cancels the block in the next turn.

        Raises RuntimeError before the block is entered, and once the timeout has expired or was left.
        """
        if self._state is not ENTERED:
            if self._state is CREATED:
                raise RuntimeError("Timeout has not been entered")
            raise RuntimeError(f"Cannot change state of {self._state.value} Timeout")
        self._drop_deadline()
        self._when = when
        if when is not None:
            self._set_deadline(when)

    def expired(self) -> bool:
        """Return whether the time has come before the block was left."""
        return self._state in (EXPIRING, EXPIRED)

    def __repr__(self) -> str:
        info = [""]
        if self._state is ENTERED:
            when = round(self._when, 3) if self._when is not None else None
            info.append(f"when={when}")
        return f"<Timeout [{self._state.value}]{' '.join(info)}>"

    # flat: once for every timeout
    async def __aenter__(self) -> Timeout:
        self.begin()
        return self

    # flat: once for every timeout
    def begin(self) -> None:
        """Enter the block: what `async with` does, for callers that have no need of it."""
        if self._state is not CREATED:
            raise RuntimeError("Timeout has already been entered")
        runner = current.runner
        task: Any = None if runner is None else runner.current
        if runner is not None and type(task) is OwnTask:
            self._cancelling = task._num_cancels
            if self._cancelling:
                # What a shield holds back does not concern this block.
                self._cancelling -= task._held
            self._shields = SHIELDS.get()
            self._told = task.delivered
        else:
            runner = running_loop().runner
            task = asyncio.current_task()
            if task is None:
                raise RuntimeError("Timeout should be used inside a task")
            self._cancelling = task.cancelling()
        self._state = ENTERED
        self._runner = runner
        self._task = task
        when = self._when
        if when is not None:
            deadlines = runner.deadlines
            if deadlines.recent_from <= when < deadlines.recent_until:
                # What `deadlines.add` does then.
                self._stands = deadlines.recent
                deadlines.recent[self] = when
            else:
                self._set_deadline(when)

    # flat: once for every timeout
    def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> Awaitable[None]:
        if self.end(exc_val):
            raise TimeoutError from exc_val
        return NO_WAIT

    # flat: once for every timeout
    def end(self, exc_val: BaseException | None) -> bool:
        """Leave the block with this error, or None; return whether TimeoutError has to be raised from it.

        Not raised here: a frame in a traceback costs 300 ns.
        """
        if self._state is ENTERED:
            stands = self._stands
            if type(stands) is dict:
                # What `deadlines.remove` does.
                del stands[self]
                self._stands = None
            elif stands is not None:
                self._drop_deadline()
            self._state = EXITED
            self._task = None
            return False
        task: Any = self._task
        self._task = None
        if self._state is not EXPIRING or task is None:
            raise RuntimeError(f"Timeout is left, but it is {self._state.value}")
        self._state = EXPIRED
        if task.uncancel() <= self._cancelling and exc_val is not None:
            # Nobody else has asked for a cancellation meanwhile: the one under way is ours.  Unless it is a scope's.
            if isinstance(exc_val, asyncio.CancelledError):
                return not isinstance(exc_val, Cancelled) and not self._is_left_for_a_scope(task)
            _insert_timeout_error(exc_val)
            if isinstance(exc_val, ExceptionGroup):
                for exc in exc_val.exceptions:
                    _insert_timeout_error(exc)
        return False

    def _is_left_for_a_scope(self, task: Any) -> bool:
        """Return whether the task was told in the block of a scope that was cancelled: that goes first."""
        if type(task) is not OwnTask or self._told == task.delivered:
            return False
        return self._told < newest_cancellation_around(task.scope) <= task.delivered

    def expire(self) -> None:
        """Let the block be cancelled, because its time has come; called by the deadlines, which have dropped it.

        In the next turn, as in asyncio: a result that was there before goes first (tests/compat/test_tasks.py).
        """
        loop = self._runner.dialect
        if loop is None or loop.is_closed():
            # A loop that was opened in a native run, and closed before this block was left.
            self._cancel_block()
        else:
            self._stands = loop.call_soon(self._cancel_block)

    def _cancel_block(self) -> None:
        self._stands = None
        self._state = EXPIRING
        task: Any = self._task
        if type(task) is not OwnTask:
            task.cancel()
        elif not task.ended:
            # Not held back by the shields around the block.
            task.request_cancel(None, self._shields)

    def _set_deadline(self, when: float) -> None:
        runner = self._runner
        if when <= runner.now():
            # Four times as fast, and what asyncio does: callbacks that were scheduled before go first.
            self._stands = (runner.dialect or running_loop()).call_soon(self._cancel_block)
        elif when != inf:
            self._stands = runner.deadlines.add(self, when)

    def _drop_deadline(self) -> None:
        stands, self._stands = self._stands, None
        if isinstance(stands, dict):
            del stands[self]
        elif stands is not None:
            stands.cancel()


def _insert_timeout_error(exc_val: BaseException) -> None:
    """Say in the context of another error that a timeout caused the cancellation during which it was raised."""
    while exc_val.__context__ is not None:
        if isinstance(exc_val.__context__, asyncio.CancelledError):
            timed_out = TimeoutError()
            timed_out.__context__ = timed_out.__cause__ = exc_val.__context__
            exc_val.__context__ = timed_out
            break
        exc_val = exc_val.__context__


def timeout(delay: float | None) -> Timeout:
    """Return a Timeout that is over `delay` seconds from now; None for never.

    Raises ValueError for NaN.

    Example::

        async with asyncio.timeout(10):
            await fetch(url)

    Source: asyncio's documentation, `asyncio.timeout`.
    """
    if delay is None:
        return Timeout(None)
    if delay != delay:  # NaN, asked without a call
        raise ValueError("delay must not be NaN, in seconds")
    runner = current.runner
    if runner is None or runner.dialect is None:
        runner = running_loop().runner
    return Timeout(runner.now() + delay)


def timeout_at(when: float | None) -> Timeout:
    """Return a Timeout that is over at `when`, a time of the loop's clock; None for never.

    Source: asyncio's documentation, `asyncio.timeout_at`.
    """
    return Timeout(when)
