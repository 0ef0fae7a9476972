"""A handle on a task of a nursery, whose awaited value is typed.

Invariant: a handle is running, then returned, failed or cancelled, and never changes again.  What the task raised goes
to the nursery, once; whoever awaits the handle learns that it failed, with a pointer to the error but not the error.

A failure cancels the nursery before it wakes those who wait for the handle: those inside the nursery are then cut off
like everybody else there, and only those outside it get TaskFailedError.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar, TypeVarTuple, final

from .calling import as_coroutine, explain_uncallable
from .current import current_task
from .errors import Cancelled, CancelReason, TaskCancelledError, TaskFailedError
from .scope import CancelScope
from .traps import Abort, RaiseCancel, checkpoint, park

if TYPE_CHECKING:
    from .nursery import Nursery
    from .task import Task

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Ts = TypeVarTuple("Ts")

HandleStatus: TypeAlias = Literal["running", "returned", "failed", "cancelled"]


@final
class Handle(Generic[T_co]):
    """A task that was started by `Nursery.spawn`: await it for the value that its function returns.

    Attributes: `name`, the task's.

    Awaiting is a cancel point and a schedule point, may be done by any number of tasks, any number of times, and a
    cancelled one changes nothing: to cancel the task, call `cancel`.  Awaiting raises TaskFailedError if the task
    failed, TaskCancelledError if it was cancelled, RuntimeError in the task itself, which would wait for ever.
    """

    __slots__ = ("__weakref__", "_failure", "_scope", "_status", "_task", "_value", "_waiters", "name")
    name: str
    _status: HandleStatus
    # Set when the status becomes "returned".
    _value: T_co
    _failure: BaseException | None
    _scope: CancelScope
    # Until it ends.
    _task: Task | None
    # In the order in which they came.
    _waiters: dict[Task, None]

    def __init__(self, *args: object) -> None:
        raise TypeError("Handle has no public constructor: Nursery.spawn() makes handles")

    @classmethod
    def _create(cls) -> Handle[T_co]:
        self = cls.__new__(cls)
        self.name = ""
        self._status = "running"
        self._failure = None
        self._scope = CancelScope()
        self._task = None
        self._waiters = {}
        return self

    @property
    def status(self) -> HandleStatus:
        """Where the task is: "running", "returned", "failed" or "cancelled"."""
        return self._status

    @property
    def value(self) -> T_co:
        """What the function returned; raises as awaiting does, and RuntimeError while the task is running."""
        if self._status == "returned":
            return self._value
        if self._status == "failed":
            # Not as the cause: that would raise the failure a second time, in every traceback and group.
            raise TaskFailedError(
                f"task {self.name!r} has no value, it failed with {self._failure!r}: its nursery raises that",
                self._failure,
            )
        if self._status == "cancelled":
            raise TaskCancelledError(f"task {self.name!r} has no value, it was cancelled")
        raise RuntimeError(f"task {self.name!r} has no value yet: await the handle")

    def cancel(self, reason: str | None = None) -> None:
        """Cancel the task, and nothing else in its nursery; idempotent, and without effect once it has ended.

        Arguments: reason is text that each Cancelled will carry.  Not a cancel point.
        """
        self._scope.cancel(reason)

    async def wait(self) -> None:
        """Wait until the task has ended, in whatever way.  A cancel point and a schedule point.

        Raises RuntimeError in the task itself.
        """
        if self._task is not None and self._task is current_task():
            raise RuntimeError(f"task {self.name!r} waits for its own end, which would be for ever")
        if self._status == "running":
            task = current_task()
            if task.alert:
                task.raise_if_interrupted()
            self._waiters[task] = None
            await park(task, self._stop_waiting)
        else:
            await checkpoint()

    def _stop_waiting(self, task: Task, raise_cancel: RaiseCancel) -> Abort:
        del self._waiters[task]
        return Abort.SUCCEEDED

    def __await__(self) -> Generator[Any, Any, T_co]:
        return self._wait_for_value().__await__()

    async def _wait_for_value(self) -> T_co:
        await self.wait()
        return self.value

    def __repr__(self) -> str:
        return f"<Handle of task {self.name!r}, {self._status}>"

    def _end(self, status: HandleStatus) -> None:
        self._status = status
        # The frames of the task are not for the handle to keep.
        self._task = None
        waiters, self._waiters = self._waiters, {}
        for waiter in waiters:
            waiter.wake()


def run_for_handle(
    handle: Handle[T], nursery: Nursery, fn: Callable[..., Awaitable[T]], args: tuple[Any, ...]
) -> Awaitable[None]:
    """Return what the task behind `handle` runs; called in the new task's context, raises what is wrong with `fn`."""
    try:
        returned = fn(*args)
    except TypeError:
        explain_uncallable(fn)
        raise
    if returned.__class__ is not CoroutineType:
        returned = as_coroutine(fn, returned)
    return _run(handle, nursery, returned)


async def _run(handle: Handle[T], nursery: Nursery, coro: Awaitable[T]) -> None:
    failure: BaseException | None = None
    try:
        with handle._scope:
            handle._value = await coro
            handle._status = "returned"
    except BaseException as exc:
        _, failure = exc.split(Cancelled) if isinstance(exc, BaseExceptionGroup) else (None, exc)
        if failure is None or isinstance(failure, Cancelled):
            handle._end("cancelled")
        else:
            handle._failure = exc
            # What the end of this task is about to do; it has to come before the waiters are woken, see above.
            nursery.cancel_scope._cancel(
                CancelReason("nursery", f"sibling failed: child task raised exception {exc!r}", repr(current_task()))
            )
            handle._end("failed")
        raise
    else:
        # If it has not returned, its own scope was cancelled and has absorbed that.
        handle._end("returned" if handle._status == "returned" else "cancelled")
    finally:
        # The error's traceback holds this frame, and the handle the error.
        del handle, failure

