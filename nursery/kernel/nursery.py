"""Nurseries: the place where tasks are born and where their failures go.

Invariant: a nursery is open while its body runs, a child lives, or a `start()` is pending; once none of these
holds it is closed for good, and the parent, which waits in `__aexit__`, goes on.  Every error of a child or of
the body ends up in `_errors`, and the first one cancels the nursery's scope.  What leaves the block is one group of
all of them, from which the scope has taken the cancellations that it owns.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from inspect import CO_COROUTINE
from types import CoroutineType, FunctionType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, Protocol, TypeVar, TypeVarTuple, cast, overload

import outcome

from .calling import as_coroutine, explain_uncallable
from .current import current, current_task
from .errors import Cancelled, CancelReason, InternalError, holds_cancellation, is_cancellation
from .handle import Handle, run_for_handle
from .scope import NurseryScope, is_cancelled, newest_cancellation_around, refresh_tree, settle
from .task import Task
from .traps import Abort, RaiseCancel, bare_yield, park

if TYPE_CHECKING:
    from .runner import Runner

Ts = TypeVarTuple("Ts")
T = TypeVar("T")
StatusT = TypeVar("StatusT")
StatusT_co = TypeVar("StatusT_co", covariant=True)
A1 = TypeVar("A1", contravariant=True)
A2 = TypeVar("A2", contravariant=True)
A3 = TypeVar("A3", contravariant=True)
A4 = TypeVar("A4", contravariant=True)
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
StatusT_contra = TypeVar("StatusT_contra", contravariant=True)

_logger = logging.getLogger("nursery")


class _NotStarted:
    pass


_NOT_STARTED: Final = _NotStarted()


class TaskStatus(Protocol[StatusT_contra]):
    """What a function that is started with `nursery.start` is given to say that it is ready.

    Source: trio's documentation, `trio.TaskStatus`.
    """

    @overload
    def started(self: TaskStatus[None]) -> None: ...

    @overload
    def started(self, value: StatusT_contra) -> None: ...

    def started(self, value: StatusT_contra | None = None) -> None:
        """Let `start()` return `value`; the task moves into the nursery.  At most once."""


class _IgnoredTaskStatus:
    """The default of `task_status` parameters: `started()` does nothing."""

    def started(self, value: object = None) -> None:
        pass

    def __repr__(self) -> str:
        return "TASK_STATUS_IGNORED"


TASK_STATUS_IGNORED: Final[TaskStatus[Any]] = _IgnoredTaskStatus()


# The forms of a function that `Nursery.start` accepts: up to four positional arguments and a `task_status`.  One
# protocol a number, since type checkers do not infer through `*args` beside a keyword (tests/typing/).


class Startable0(Protocol[StatusT_co]):
    def __call__(self, *, task_status: TaskStatus[StatusT_co]) -> Awaitable[object]: ...


class Startable1(Protocol[A1, StatusT_co]):
    def __call__(self, a1: A1, /, *, task_status: TaskStatus[StatusT_co]) -> Awaitable[object]: ...


class Startable2(Protocol[A1, A2, StatusT_co]):
    def __call__(self, a1: A1, a2: A2, /, *, task_status: TaskStatus[StatusT_co]) -> Awaitable[object]: ...


class Startable3(Protocol[A1, A2, A3, StatusT_co]):
    def __call__(self, a1: A1, a2: A2, a3: A3, /, *, task_status: TaskStatus[StatusT_co]) -> Awaitable[object]: ...


class Startable4(Protocol[A1, A2, A3, A4, StatusT_co]):
    def __call__(
        self, a1: A1, a2: A2, a3: A3, a4: A4, /, *, task_status: TaskStatus[StatusT_co]
    ) -> Awaitable[object]: ...


class _StartStatus(Generic[StatusT]):
    """The two nurseries between which a starting task moves, and the value it reported."""

    __slots__ = ("_new", "_old", "value")

    def __init__(self, old: Nursery, new: Nursery) -> None:
        self._old = old
        self._new = new
        self.value: StatusT | _NotStarted = _NOT_STARTED

    def started(self, value: StatusT | None = None) -> None:
        if self.value is not _NOT_STARTED:
            raise RuntimeError("called 'started' twice on the same task status: it can be reported once")
        self.value = cast(StatusT, value)
        old, new = self._old, self._new
        # A cancelled start() is on its way out; moving the child now might carry a Cancelled into a nursery
        # whose scope does not own it.
        if is_cancelled(old.cancel_scope):
            return
        old.move_children(new)
        old.check_closed()

    def __repr__(self) -> str:
        return f"<TaskStatus of a start() into {self._new!r}>"


class NurseryGroup(Protocol):
    """What a foreign dialect makes of a nursery."""

    def emptied(self) -> None:
        """Be told that the last child has ended, while the parent waits for that."""

    def left_open(self) -> None:
        """Be told that the parent has ended without leaving the nursery."""

    def ended(self, task: Any) -> None:
        """Be told of a child that has failed or was cancelled."""


class Nursery:
    """A group of tasks that start and end inside one block; made by `open_nursery`.

    Attributes: `cancel_scope`, the scope around all children and the body; `child_tasks`; `parent_task`.

    Source: trio's documentation, `trio.Nursery`.
    """

    __slots__ = (
        "__weakref__",
        "_abandoned",
        "_body_running",
        "_children",
        "_closed",
        "_errors",
        "_group",
        "_parent_task",
        "_parent_waits",
        "_pending_starts",
        "cancel_scope",
    )

    def __init_subclass__(cls) -> None:
        raise TypeError("Nursery cannot be subclassed: open_nursery() makes nurseries")

    def __init__(self, parent: Task, scope: NurseryScope) -> None:
        self._parent_task = parent
        self.cancel_scope = scope
        # A dict, not a set: children are told and listed in the order of their birth.
        self._children: dict[Task, None] = {}
        self._errors: list[BaseException] | None = None
        self._pending_starts = 0
        self._body_running = True
        self._parent_waits = False
        self._closed = False
        self._abandoned = False
        # Whoever leads it, if a foreign dialect has made it: told when the last child has ended, instead of the parent.
        self._group: NurseryGroup | None = None

    @property
    def child_tasks(self) -> frozenset[Task]:
        """The children that are alive."""
        return frozenset(self._children)

    @property
    def parent_task(self) -> Task:
        """The task that opened the nursery."""
        return self._parent_task

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._children)} children"
        return f"<Nursery of {self._parent_task.name!r} at {id(self):#x}, {state}>"

    # flat: once for every task
    def start_soon(self, async_fn: Callable[[*Ts], Awaitable[object]], *args: *Ts, name: object = None) -> None:
        """Start a child task that runs `async_fn(*args)`; it takes its first step in a later turn.

        Arguments: name is shown in tracebacks and dumps instead of the function's own.
        Raises RuntimeError if the nursery is closed, TypeError if `async_fn` is not an async function.  Not a
        cancel point.  A failure of the child cancels the nursery and leaves the block in a group.

        Example::

            async with nursery.open_nursery() as n:
                n.start_soon(nursery.sleep, 1)
                n.start_soon(nursery.sleep, 1)

        Source: trio's documentation, `trio.Nursery.start_soon`.
        """
        if self._closed:
            raise RuntimeError("Nursery is closed to new arrivals: its block has been left")
        runner = self._parent_task.runner
        if current.runner is not runner:
            runner.check_thread("start_soon()")
        context = copy_context()
        function: Any = async_fn
        if function.__class__ is FunctionType and function.__code__.co_flags & CO_COROUTINE:
            # Calling it runs nothing of it yet, so the context does not matter: 240 of 1100 ns saved.
            coro = function(*args)
        else:
            try:
                coro = context.run(function, *args)
            except TypeError:
                explain_uncallable(function)
                raise
            if coro.__class__ is not CoroutineType:
                coro = as_coroutine(function, coro)
        task = runner.task_class(runner, coro, context, self, async_fn if name is None else name)
        self._children[task] = None
        if self.cancel_scope._doomed:
            task.alert = True
        if runner.instruments is not None:
            runner.instruments.call("task_spawned", task)
        runner.queue.append(task)

    def spawn(self, async_fn: Callable[[*Ts], Awaitable[T]], *args: *Ts, name: object = None) -> Handle[T]:
        """Start a child task as `start_soon` does, and return a handle: await it for what `async_fn` returns.

        Arguments: name is shown in tracebacks and dumps instead of the function's own.
        A failure of the task is raised by this nursery, once; who awaits the handle learns of it by TaskFailedError.
        Raises what `start_soon` raises.  Not a cancel point.

        Example::

            async with nursery.open_nursery() as n:
                price = n.spawn(fetch_price, "tea")
                stock = n.spawn(fetch_stock, "tea")
                print(await price * await stock)
        """
        runner = self._parent_task.runner
        if current.runner is not runner:
            runner.check_thread("spawn()")
        handle: Handle[T] = Handle._create()
        handle._task = task = start_task(
            runner, run_for_handle, (handle, self, async_fn, args), self, async_fn if name is None else name
        )
        handle.name = task.name
        return handle

    @overload
    async def start(self, async_fn: Startable0[StatusT], /, *, name: object = None) -> StatusT: ...

    @overload
    async def start(self, async_fn: Startable1[T1, StatusT], a1: T1, /, *, name: object = None) -> StatusT: ...

    @overload
    async def start(
        self, async_fn: Startable2[T1, T2, StatusT], a1: T1, a2: T2, /, *, name: object = None
    ) -> StatusT: ...

    @overload
    async def start(
        self, async_fn: Startable3[T1, T2, T3, StatusT], a1: T1, a2: T2, a3: T3, /, *, name: object = None
    ) -> StatusT: ...

    @overload
    async def start(
        self, async_fn: Startable4[T1, T2, T3, T4, StatusT], a1: T1, a2: T2, a3: T3, a4: T4, /, *, name: object = None
    ) -> StatusT: ...

    @overload
    async def start(
        self,
        async_fn: Callable[..., Awaitable[object]],
        a1: object,
        a2: object,
        a3: object,
        a4: object,
        a5: object,
        /,
        *args: object,
        name: object = None,
    ) -> Any: ...

    async def start(self, async_fn: Callable[..., Awaitable[object]], *args: object, name: object = None) -> Any:
        """Start a child task and wait until it calls `task_status.started(value)`; return the value.

        The function is called with a keyword argument `task_status`.  Until it reports, the child belongs to
        `start()`: what it raises comes out of `start()` as it is, and cancelling `start()` cancels the child.

        A cancel point.  Raises RuntimeError if the nursery is closed, or if the child ends without reporting.

        Example::

            listeners = await n.start(nursery.serve_tcp, handler, 0)

        Source: trio's documentation, `trio.Nursery.start`.
        """
        if self._closed:
            raise RuntimeError("Nursery is closed to new arrivals: its block has been left")
        self._pending_starts += 1
        try:
            try:
                async with open_nursery() as old:
                    status: _StartStatus[Any] = _StartStatus(old, self)
                    task = start_task(
                        self._parent_task.runner,
                        functools.partial(async_fn, task_status=status),
                        args,
                        old,
                        async_fn if name is None else name,
                    )
                    task.eventual_parent_nursery = self
            except BaseExceptionGroup as group:
                if len(group.exceptions) != 1:
                    raise InternalError("the nursery of a start() held more than the starting task") from group
                _raise_unwrapped(group.exceptions[0])
            if isinstance(status.value, _NotStarted):
                raise RuntimeError("child exited without calling task_status.started(): it must, once it is ready")
            return status.value
        finally:
            self._pending_starts -= 1
            self.check_closed()

    # How it ends

    def add_error(self, error: BaseException, reason: CancelReason | None) -> None:
        """Keep an error for the group and cancel everything that is left."""
        if self._errors is None:
            self._errors = []
        self._errors.append(error)
        self.cancel_scope._cancel(reason, echo=is_cancellation(error))

    def check_closed(self) -> None:
        """Close the nursery if nothing holds it open any more."""
        if self._body_running or self._children or self._pending_starts:
            return
        self._closed = True
        if self._parent_waits:
            self._parent_waits = False
            if self._group is None:
                self._parent_task.wake()
            else:
                self._group.emptied()

    def child_ended(self, task: Task, error: BaseException | None) -> None:
        """Take note of a child's end, and of its failure."""
        del self._children[task]
        if self._abandoned:
            if error is not None and not isinstance(error, Cancelled):
                # Nobody is left to raise it in; it must not be lost.
                _logger.error("%r failed in an abandoned nursery", task, exc_info=error)
            task.runner.check_root()
            return
        if error is not None:
            self.add_error(
                error, CancelReason("nursery", f"sibling failed: child task raised exception {error!r}", repr(task))
            )
        self.check_closed()

    def move_children(self, new: Nursery) -> None:
        """Let all children belong to another nursery from now on."""
        children, self._children = self._children, {}
        for task in children:
            task.parent_nursery = new
            task.eventual_parent_nursery = None
            new._children[task] = None
            # The outermost scope of the child hung below the old nursery's; now it hangs below the new one's.
            scope = task.scope
            if scope is self.cancel_scope:
                task.scope = new.cancel_scope
            else:
                while scope is not None and scope._parent is not self.cancel_scope:
                    scope = scope._parent
                if scope is not None:
                    scope._parent = new.cancel_scope
        for task in children:
            refresh_tree(task)
        new._parent_task.runner.opted_in.tell()

    def abandon(self, reason: CancelReason) -> None:
        """Close the nursery over the heads of its children: its parent has ended without leaving it."""
        self._abandoned = self._closed = True
        self._body_running = False
        if self._children:
            self._parent_task.runner.orphanages.append(self)
        self.cancel_scope._cancel(reason)
        self.cancel_scope._abandoned = True

    def abort_wait(self, task: Task, raise_cancel: RaiseCancel) -> Abort:
        """Be told, while waiting for the children, that the parent is cancelled.

        The children are told as well and will end, so the wait goes on; a keyboard interrupt is kept.
        """
        told = task.delivered
        captured = outcome.capture(raise_cancel)
        if isinstance(captured.error, Cancelled):
            # Nothing is raised in the parent here, so it counts as not told yet.
            task.delivered = told
        else:
            self.add_error(captured.error, CancelReason("KeyboardInterrupt", None, repr(task)))
        # No reference from this frame to the error, whose traceback holds the frame.
        del captured
        return Abort.FAILED


class NurseryManager:
    """What `open_nursery()` returns: enters the scope, makes the nursery, and waits at the end."""

    __slots__ = ("_nursery",)

    async def __aenter__(self) -> Nursery:
        task = current_task()
        scope = NurseryScope()
        scope.__enter__()
        nursery = Nursery(task, scope)
        if task._nurseries is None:
            task._nurseries = [nursery]
        else:
            task._nurseries.append(nursery)
        self._nursery = nursery
        return nursery

    # flat: once for every nursery
    async def __aexit__(
        self, etype: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        nursery = self._nursery
        task = nursery._parent_task
        if nursery._abandoned:
            # Its task ended without leaving it and has said so.
            return False
        if etype is GeneratorExit and current.runner is not task.runner:
            # The garbage collector closes the coroutine of a task whose run is over: nothing can be awaited any more.
            return False
        if current_task() is not task:
            raise RuntimeError(
                f"{nursery!r} was entered in {task!r} and left in {current_task()!r}: leave it in the task that "
                "entered it"
            )
        if exc is not None:
            nursery.add_error(
                exc,
                CancelReason(
                    "nursery",
                    f"parent left: code block inside nursery context manager raised exception {exc!r}",
                    repr(task),
                ),
            )
        nursery._body_running = False
        if nursery._children or nursery._pending_starts:
            nursery._parent_waits = True
            await park(task, nursery.abort_wait)
        else:
            nursery._closed = True
            try:
                await bare_yield()
            except GeneratorExit:
                raise
            except BaseException as thrown:
                # By a scheduler other than ours, which steps this task: the block is left in order all the same
                # (tests/compat/test_cancellation_table.py).
                why = CancelReason("nursery", f"the parent was interrupted by {thrown!r}", repr(task))
                nursery.add_error(thrown, why)
        if task.alert:
            task.note_schedule_point()
        nurseries = task._nurseries
        if nurseries is not None and nursery in nurseries:
            nurseries.remove(nursery)
        if nursery._errors is None:
            group: BaseException | None = None
        else:
            group = task.combine_errors(nursery._errors)
            nursery._errors = None
        left: BaseException | None = None
        try:
            left = nursery.cancel_scope.close(group)
            if left is not None and holds_cancellation(left):
                # Raised in the parent now, on behalf of each scope around it.
                task.delivered = max(task.delivered, newest_cancellation_around(task.scope))
            return settle(left, exc)
        finally:
            # The group's traceback holds this frame.
            del group, left, exc

    if not TYPE_CHECKING:

        def __enter__(self) -> NoReturn:
            raise RuntimeError("use 'async with open_nursery(...)', not 'with open_nursery(...)'")

        def __exit__(self, *args: object) -> NoReturn:
            raise RuntimeError("use 'async with open_nursery(...)', not 'with open_nursery(...)'")


def open_nursery() -> NurseryManager:
    """Return an async context manager that opens a nursery.

    Entering is not a checkpoint.  Leaving waits for every child; it is a schedule point and, while it waits, a
    cancellation reaches the children.  Raises a group of everything that the body and the children raised, also
    for a single error.

    Example::

        async with nursery.open_nursery() as n:
            n.start_soon(nursery.sleep, 1)

    Source: trio's documentation, `trio.open_nursery`.
    """
    return NurseryManager()


def start_task(
    runner: Runner,
    async_fn: Callable[..., Awaitable[object]],
    args: tuple[object, ...],
    nursery: Nursery,
    name: object,
    context: Context | None = None,
) -> Task:
    """Start a child and return its task: what `start_soon` does in line, for the rarer callers."""
    if nursery._closed:
        raise RuntimeError("Nursery is closed to new arrivals: its block has been left")
    if context is None:
        context = copy_context()
    try:
        coro: Any = context.run(async_fn, *args)
    except TypeError:
        explain_uncallable(async_fn)
        raise
    if coro.__class__ is not CoroutineType:
        coro = as_coroutine(async_fn, coro)
    task = runner.task_class(runner, coro, context, nursery, name)
    nursery._children[task] = None
    if nursery.cancel_scope._doomed:
        task.alert = True
    if runner.instruments is not None:
        runner.instruments.call("task_spawned", task)
    runner.queue.append(task)
    return task


def _raise_unwrapped(error: BaseException) -> NoReturn:
    """Raise the one error of a start(), with the cause and the context that it had of its own."""
    context = error.__context__
    try:
        raise error
    finally:
        error.__context__ = context
        del error, context
