"""Graceful shutdown, the kernel's part: who wants to be told that a scope around it was asked to come to an end.

Invariant: a task that waits in `until_closing()`, and a block inside `stop_when_closing()`, is told as soon as
`sees_closing` is true of it, whatever made it so: a request, a shield that was dropped, a task that `started()` moved.
A request changes nothing for code that has not asked.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Final, final

from .current import current_task
from .errors import CancelReason
from .scope import CancelScope, sees_closing
from .traps import Abort, RaiseCancel, cancel_shielded_checkpoint, park

if TYPE_CHECKING:
    from .task import Task

_STOPPED: Final = "a scope around this one is being shut down"


class OptedIn:
    """Who wants to be told of a shutdown in one run."""

    __slots__ = ("_any_request", "scopes", "tasks")

    def __init__(self) -> None:
        # Dicts, not sets: they are told in the order in which they came.
        self.tasks: dict[Task, None] = {}
        self.scopes: dict[CancelScope, None] = {}
        self._any_request = False

    def begin(self) -> None:
        """Tell those who see it that a scope was asked to shut down."""
        self._any_request = True
        self.tell()

    def tell(self) -> None:
        """Tell those who see a request and were not told yet; called when what they see may have changed."""
        if not self._any_request:
            return
        for task in [task for task in self.tasks if sees_closing(task.scope)]:
            del self.tasks[task]
            task.wake()
        for scope in [scope for scope in self.scopes if sees_closing(scope)]:
            _stop(scope)

    def abort(self, task: Task, raise_cancel: RaiseCancel) -> Abort:
        """Forget a task whose wait is cancelled."""
        del self.tasks[task]
        return Abort.SUCCEEDED


def is_closing() -> bool:
    """Return whether a scope around the calling code was asked to shut down.

    Raises RuntimeError outside a task.  Not a cancel point.
    """
    return sees_closing(current_task().scope)


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
    if sees_closing(task.scope):
        await cancel_shielded_checkpoint()
        return
    opted_in = task.runner.opted_in
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
        if sees_closing(scope):
            _stop(scope)
        self._opted_in = scope._task.runner.opted_in  # type: ignore[union-attr]  # it was just entered
        self._opted_in.scopes[scope] = None
        return scope

    def __exit__(
        self, etype: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        del self._opted_in.scopes[self._scope]
        return self._scope.__exit__(etype, exc, tb)


def _stop(scope: CancelScope) -> None:
    scope._cancel(CancelReason("shutdown", _STOPPED))
