"""Timeouts: a deadline of the run that cancels the task, once, and turns that into TimeoutError.

Invariant: CREATED -> ENTERED -> EXPIRING (its time has come, the task was cancelled) -> EXPIRED, or ENTERED -> EXITED.
The timeout stands in the run's deadlines exactly while it is ENTERED and has a time.  The request that it made is taken
back when it is left, so that the count of requests is what it was.

The cancellation is an edge, as asyncio documents it (`task.cancelling()` counts it); the deadline is the kernel's.
"""

from __future__ import annotations

import asyncio
import enum
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, final

from ..kernel.current import current
from ..kernel.errors import Cancelled
from .cancellation import SHIELDS
from .task import Task as OwnTask
from .waiting import running_loop

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

    __slots__ = ("__weakref__", "_cancelling", "_runner", "_shields", "_state", "_task", "_timed", "_when")

    _runner: Runner
    # Around the block, if the task is one of ours.
    _shields: Shields

    def __init__(self, when: float | None) -> None:
        self._state = CREATED
        self._task: asyncio.Task[Any] | None = None
        self._when = when
        self._cancelling = 0
        # Whether it stands in the deadlines.
        self._timed = False

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
        if when is not None and when != inf:
            self._timed = True
            runner.deadlines.add(self, when)

    # flat: once for every timeout
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> bool | None:
        if self._state is ENTERED:
            if self._timed:
                self._timed = False
                self._runner.deadlines.remove(self, self._when)  # type: ignore[arg-type]  # timed: it has one
            self._state = EXITED
            self._task = None
        else:
            self.end(exc_val)
        return None

    # flat: once for every timeout
    def end(self, exc_val: BaseException | None) -> None:
        """Leave the block with this error, or None; TimeoutError if it is the timeout's."""
        if self._state is ENTERED:
            if self._timed:
                self._timed = False
                self._runner.deadlines.remove(self, self._when)  # type: ignore[arg-type]  # timed: it has one
            self._state = EXITED
            self._task = None
            return
        task: Any = self._task
        self._task = None
        if self._state is not EXPIRING or task is None:
            raise RuntimeError(f"Timeout is left, but it is {self._state.value}")
        self._state = EXPIRED
        if task.uncancel() <= self._cancelling and exc_val is not None:
            # Nobody else has asked for a cancellation meanwhile: the one under way is ours.  Unless it is a scope's.
            if isinstance(exc_val, asyncio.CancelledError):
                if not isinstance(exc_val, Cancelled):
                    raise TimeoutError from exc_val
                return
            _insert_timeout_error(exc_val)
            if isinstance(exc_val, ExceptionGroup):
                for exc in exc_val.exceptions:
                    _insert_timeout_error(exc)

    def expire(self) -> None:
        """Cancel the block, because its time has come; called by the deadlines, which have dropped it already."""
        self._timed = False
        self._state = EXPIRING
        task: Any = self._task
        if type(task) is not OwnTask:
            task.cancel()
        elif not task.ended:
            # Not held back by the shields around the block.
            task.request_cancel(None, self._shields)

    def _set_deadline(self, when: float) -> None:
        if when != inf:
            self._timed = True
            self._runner.deadlines.add(self, when)

    def _drop_deadline(self) -> None:
        if self._timed:
            self._timed = False
            assert self._when is not None
            self._runner.deadlines.remove(self, self._when)


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
