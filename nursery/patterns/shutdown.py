"""Graceful shutdown: first a request to come to an end, then, after a grace, the cancellation.

Invariant: whether code is being asked to close follows from the scopes around it, as cancellation does: it is, exactly
if, walking outwards, a closing scope comes before (or is) the first shielded one.  A request changes nothing for code
that does not ask about it, until the grace is over.

Who may ask: `is_closing()`, `await until_closing()`, a block inside `stop_when_closing()`, a loop over
`each_until_closing(source)`.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar, final
from weakref import WeakKeyDictionary, ref

from ..kernel.current import current_runner, current_task
from ..kernel.errors import CancelReason
from ..kernel.runvar import RunVar
from ..kernel.scope import CLOSED, CancelScope
from ..kernel.traps import Abort, RaiseCancel, cancel_shielded_checkpoint, park

if TYPE_CHECKING:
    from ..kernel.runner import Runner
    from ..kernel.task import Task

T = TypeVar("T")

_STOPPED: Final = "a scope around this one is being shut down"


def shutdown(scope: CancelScope, *, grace: float, reason: str | None = None) -> None:
    """Ask what is inside the scope to come to an end, and cancel it if that takes longer than the grace.

    Arguments: grace is in seconds of the run's clock; 0 cancels at once, inf never.  reason is text that each Cancelled
    will carry, if it comes to that.

    From now on `is_closing()` is True inside the scope, `until_closing()` returns, and `stop_when_closing()` blocks are
    cancelled.  Asking again is allowed: the earlier end counts.  A scope that was left already is left alone.

    Raises ValueError for a negative grace or NaN, RuntimeError outside the run.  Not a cancel point.

    Example::

        with nursery.CancelScope() as scope:
            async with nursery.open_nursery() as n:
                n.start_soon(worker)
                await order_to_stop()
                shutdown(scope, grace=10)
    """
    if not grace >= 0:
        raise ValueError(f"grace must be non-negative, in seconds, not {grace!r}")
    runner = current_runner()
    if scope._task is not None and scope._task.runner is not runner:
        scope._task.runner.check_thread("shutdown()")
    if scope._state is CLOSED:
        return
    why = CancelReason("shutdown", reason, None if runner.current is None else repr(runner.current))
    ending = _endings.get(scope)
    if ending is None:
        _endings[scope] = ending = _Ending(scope)
        _opted_in().wake_inside(scope)
    ending.no_later_than(runner, grace, why)


def is_closing() -> bool:
    """Return whether a scope around the calling code was asked to shut down.

    Raises RuntimeError outside a task.  Not a cancel point.
    """
    return _sees_closing(current_task().scope)


async def until_closing() -> None:
    """Wait until a scope around the calling code is asked to shut down; return at once if one was.

    A cancel point and a schedule point; a cancelled call leaves nothing behind.

    Example::

        async def farewell(connection: Connection) -> None:
            await nursery.until_closing()
            await connection.say_goodbye()
    """
    task = current_task()
    if task.alert:
        task.raise_if_interrupted()
    if _sees_closing(task.scope):
        await cancel_shielded_checkpoint()
        return
    opted_in = _opted_in()
    opted_in.tasks[task] = None
    await park(task, opted_in.abort)


@final
class stop_when_closing:
    """A context manager that cancels its block as soon as a scope around it is asked to shut down.

    It gives the block's scope, whose `cancelled_caught` says whether that happened.  For waiting that has no end of
    its own, such as accepting connections; what should be finished in order belongs outside the block.

    Example::

        async with nursery.open_nursery() as handlers:
            with nursery.stop_when_closing():
                await nursery.serve_tcp(handler, 80, handler_nursery=handlers)
            # No new connections, but those that are there are served until the grace is over.
    """

    # A class, not a generator function: type checkers are to know that it may end the block.
    __slots__ = ("_opted_in", "_scope")

    def __init__(self) -> None:
        self._scope = CancelScope()

    def __enter__(self) -> CancelScope:
        scope = self._scope.__enter__()
        if _sees_closing(scope):
            _stop(scope)
        self._opted_in = _opted_in()
        self._opted_in.scopes[scope] = None
        return scope

    def __exit__(
        self, etype: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        del self._opted_in.scopes[self._scope]
        return self._scope.__exit__(etype, exc, tb)


def each_until_closing(source: AsyncIterable[T]) -> AsyncIterator[T]:
    """Iterate over a source until it ends, or a scope around the consumer is asked to shut down.

    Arguments: source is a receiving channel, a stream, or whatever `async for` takes.

    Only the wait for the next value is cut short, never the work on the one before; a channel loses no value by it.
    Each step is a cancel point.

    Example::

        async for order in nursery.each_until_closing(orders):
            await fill(order)
    """
    return _UntilClosing(source)


@final
class _UntilClosing(AsyncIterator[T]):
    """The iterator behind `each_until_closing`."""

    __slots__ = ("_source",)

    def __init__(self, source: AsyncIterable[T]) -> None:
        self._source = aiter(source)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        with stop_when_closing():
            return await anext(self._source)
        raise StopAsyncIteration


class _OptedIn:
    """Who wants to be told of a shutdown in one run."""

    __slots__ = ("scopes", "tasks")

    def __init__(self) -> None:
        self.tasks: dict[Task, None] = {}
        self.scopes: dict[CancelScope, None] = {}

    def wake_inside(self, closing: CancelScope) -> None:
        """Tell those inside a scope that has just begun to close: they, and no others, see it now."""
        for task in [task for task in self.tasks if _sees(task.scope, closing)]:
            del self.tasks[task]
            task.wake()
        for scope in [scope for scope in self.scopes if _sees(scope, closing)]:
            _stop(scope)

    def abort(self, task: Task, raise_cancel: RaiseCancel) -> Abort:
        del self.tasks[task]
        return Abort.SUCCEEDED


_opted_in_of_run: Final[RunVar[_OptedIn]] = RunVar("opted_in_to_shutdown")


def _opted_in() -> _OptedIn:
    try:
        return _opted_in_of_run.get()
    except LookupError:
        opted_in = _OptedIn()
        _opted_in_of_run.set(opted_in)
        return opted_in


class _Ending:
    """The end of the grace of one closing scope; an entry among the run's deadlines."""

    __slots__ = ("__weakref__", "_scope", "_when", "_why")

    def __init__(self, scope: CancelScope) -> None:
        # Weak: the scope may be left long before the grace is over.
        self._scope = ref(scope)
        self._when = inf
        self._why: CancelReason | None = None

    def no_later_than(self, runner: Runner, grace: float, why: CancelReason) -> None:
        """Move the end to `grace` seconds from now, unless it is earlier already."""
        when = runner.now() + grace
        if when >= self._when:
            return
        if self._when != inf:
            runner.deadlines.remove(self, self._when)
        self._when = when
        self._why = why
        if grace == 0:
            self._when = -inf
            self.expire()
            return
        runner.deadlines.add(self, when)
        scope = self._scope()
        # The scope's own deadline too, so that code inside can see how long it has.  It stands behind this entry, which
        # knows the better reason, in the queue of the same moment.
        if scope is not None and not scope.is_relative and scope.deadline > when:
            scope.deadline = when

    def expire(self) -> None:
        """Cancel the scope: the grace is over."""
        self._when = -inf
        scope = self._scope()
        if scope is not None and scope._state is not CLOSED:
            scope._cancel(self._why)


# Not a set: WeakSet compares, and each scope brings its ending along.
_endings: Final[WeakKeyDictionary[CancelScope, _Ending]] = WeakKeyDictionary()


def _sees_closing(scope: CancelScope | None) -> bool:
    """Return whether code inside `scope` is being asked to close."""
    if not _endings:
        return False
    while scope is not None:
        if scope in _endings:
            return True
        if scope._shield:
            return False
        scope = scope._parent
    return False


def _sees(scope: CancelScope | None, closing: CancelScope) -> bool:
    """Return whether code inside `scope` sees what is asked of `closing`."""
    while scope is not None:
        if scope is closing:
            return True
        if scope._shield:
            return False
        scope = scope._parent
    return False


def _stop(scope: CancelScope) -> None:
    scope._cancel(CancelReason("shutdown", _STOPPED))


__all__ = ["each_until_closing", "is_closing", "shutdown", "stop_when_closing", "until_closing"]
