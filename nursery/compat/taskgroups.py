"""TaskGroup: asyncio's group of tasks, on a nursery.

Invariant: the tasks of a group are children of its nursery, so the scopes around the group are around them, and they
are in the task tree.  But the group follows asyncio's rule: a failure is kept by the group, which cancels the others
and the body by edges, `task.cancel()`, each once; the nursery is told of no failure.  A scope around the group reaches
body and tasks by itself, so the group adds no edge then.

The parent's request to cancel itself is taken back when the group ends; one from outside that coincides is raised
again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context, copy_context
from types import CoroutineType, TracebackType
from typing import Any, Self, TypeVar

from ..kernel.current import current_task
from ..kernel.nursery import Nursery
from ..kernel.scope import NurseryScope, is_cancelled, settle
from .coroutines import iscoroutine
from .loop import EventLoop
from .promise import Promise
from .task import Task, task_number
from .waiting import Lot, running_loop

T = TypeVar("T")

__all__ = ("TaskGroup",)


class TaskGroup:
    """An async context manager that holds tasks: its end awaits all of them, and a failure of one cancels the others.

    Leaving the block raises an exception group of what the tasks and the body raised, KeyboardInterrupt and SystemExit
    bare.  A cancel point.

    Example::

        async with asyncio.TaskGroup() as group:
            first = group.create_task(fetch("a"))
            second = group.create_task(fetch("b"))
        print(first.result(), second.result())

    Source: asyncio's documentation, `asyncio.TaskGroup`.
    """

    # Asked by a task that fails: its nursery is not told.
    takes_failures = True

    def __init__(self) -> None:
        self._entered = False
        self._exiting = False
        self._aborting = False
        self._loop: EventLoop | None = None
        self._parent_task: asyncio.Task[Any] | None = None
        self._parent_cancel_requested = False
        self._tasks: set[Any] = set()
        self._errors: list[BaseException] = []
        self._base_error: BaseException | None = None
        self._empty = Lot()

    def __repr__(self) -> str:
        info = [""]
        if self._tasks:
            info.append(f"tasks={len(self._tasks)}")
        if self._errors:
            info.append(f"errors={len(self._errors)}")
        if self._aborting:
            info.append("cancelling")
        elif self._entered:
            info.append("entered")
        return f"<TaskGroup{' '.join(info)}>"

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError(f"TaskGroup {self!r} has already been entered")
        self._loop = loop = running_loop()
        self._parent_task = asyncio.current_task()
        if self._parent_task is None:
            raise RuntimeError(f"TaskGroup {self!r} cannot determine the parent task")
        self._entered = True
        parent = loop.runner.current or current_task()
        scope = NurseryScope()
        scope.__enter__()
        self._nursery = nursery = Nursery(parent, scope)
        if parent._nurseries is None:
            parent._nurseries = [nursery]
        else:
            parent._nurseries.append(nursery)
        return self

    async def __aexit__(
        self, et: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        nursery = self._nursery
        if nursery._abandoned:
            # The parent ended without leaving the block.
            return None
        left: BaseException | None = None
        try:
            left = await self._wait_and_sum_up(et, exc)
            parent = nursery._parent_task
            nursery._body_running = False
            nursery._closed = True
            if parent._nurseries is not None and nursery in parent._nurseries:
                parent._nurseries.remove(nursery)
            return settle(nursery.cancel_scope.close(left), exc)
        finally:
            # The errors' tracebacks hold this frame.
            del left, exc
            self._parent_task = None
            self._errors = []
            self._base_error = None

    async def _wait_and_sum_up(
        self, et: type[BaseException] | None, exc: BaseException | None
    ) -> BaseException | None:
        """Wait for the tasks; return what leaves the block."""
        self._exiting = True
        parent = self._parent_task
        assert parent is not None
        cancelled: BaseException | None = None
        try:
            if exc is not None:
                if self._is_base_error(exc) and self._base_error is None:
                    self._base_error = exc
                if isinstance(exc, asyncio.CancelledError):
                    cancelled = exc
                if not self._aborting:
                    # A failure of the body, or a cancellation of it: a parent that is interrupted by its own group
                    # has aborted already.
                    self._abort()
            while self._tasks:
                try:
                    await self._empty.wait()
                except asyncio.CancelledError as interruption:
                    # If the group asked for it itself it has aborted, and this is not to be passed on.
                    if not self._aborting:
                        cancelled = interruption
                        self._abort()
            if self._base_error is not None:
                return self._base_error
            if self._parent_cancel_requested and parent.uncancel() == 0:
                cancelled = None
            if cancelled is not None and not self._errors:
                return cancelled
            if exc is not None and not isinstance(exc, asyncio.CancelledError):
                self._errors.append(exc)
            if not self._errors:
                return None
            if parent.cancelling():
                # Somebody outside the group wants the parent cancelled too: to be raised again, and counted once.
                parent.uncancel()
                parent.cancel()
            return BaseExceptionGroup("unhandled errors in a TaskGroup", self._errors)
        finally:
            del exc, cancelled

    # flat: once for every task
    def create_task(
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
        **options: Any,
    ) -> asyncio.Task[T]:
        """Start a task in the group, and return it.

        Arguments: eager_start=True runs the first step at once; further options go to the loop's task factory.
        Raises RuntimeError if the group was not entered, is shutting down, or has ended; the coroutine is closed then.
        Source: asyncio's documentation, `asyncio.TaskGroup.create_task`.
        """
        loop = self._loop
        if loop is None or self._aborting or (self._exiting and not self._tasks):
            if iscoroutine(coro):
                coro.close()
            if loop is None:
                raise RuntimeError(f"TaskGroup {self!r} has not been entered")
            if self._exiting and not self._tasks:
                raise RuntimeError(f"TaskGroup {self!r} is finished")
            raise RuntimeError(f"TaskGroup {self!r} is shutting down")
        if options or loop._task_factory is not None or loop._debug or type(coro) is not CoroutineType:
            if name is not None:
                options["name"] = name
            if context is not None:
                options["context"] = context
            made: Any = loop.create_task(coro, **options)
            if made.done():
                self.ended(made)
                return made  # type: ignore[no-any-return]  # whatever the factory makes
            if isinstance(made, Promise):
                made.tell(self)
            else:
                made.add_done_callback(self.ended)
            self._tasks.add(made)
            return made  # type: ignore[no-any-return]  # whatever the factory makes
        runner = loop.runner
        nursery = self._nursery
        task: Any = Task(
            runner,
            coro,
            copy_context() if context is None else context,
            nursery,
            task_number() if name is None else str(name),
        )
        nursery._children[task] = None
        if nursery.cancel_scope._doomed:
            task.alert = True
        task._callbacks = [(self, None)]
        self._tasks.add(task)
        if runner.instruments is not None:
            runner.instruments.call("task_spawned", task)
        runner.queue.append(task)
        return task  # type: ignore[no-any-return]  # it says so itself

    def cancel(self, msg: object = None) -> None:
        """Cancel the tasks of the group and its body; nothing is raised for it (new in asyncio 3.15).

        Source: asyncio's documentation, `asyncio.TaskGroup.cancel`.
        """
        if not self._entered:
            raise RuntimeError(f"TaskGroup {self!r} has not been entered")
        if self._aborting or (self._exiting and not self._tasks):
            return
        self._abort(msg)
        parent = self._parent_task
        if parent is not None and not parent.done() and not self._parent_cancel_requested:
            self._parent_cancel_requested = True
            parent.cancel(msg)

    def _abort(self, msg: object = None) -> None:
        self._aborting = True
        # A cancelled scope has told the children of the nursery already, and tells each one once.
        told = is_cancelled(self._nursery.cancel_scope)
        for task in list(self._tasks):
            if not task.done() and not (told and getattr(task, "parent_nursery", None) is self._nursery):
                task.cancel(msg)

    # flat: once for every task
    def ended(self, task: Any) -> None:
        """Take note of the end of a task; called by it."""
        tasks = self._tasks
        tasks.discard(task)
        if not tasks and self._empty.waiters:
            self._empty.wake_all()
        if isinstance(task, Promise) and task._failure is None:
            return
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        try:
            self._note_failure(task, error)
        finally:
            del error

    def _note_failure(self, task: Any, error: BaseException) -> None:
        self._errors.append(error)
        if self._is_base_error(error) and self._base_error is None:
            self._base_error = error
        parent = self._parent_task
        if parent is None or parent.done():
            assert self._loop is not None
            self._loop.call_exception_handler(
                {
                    "message": f"Task {task!r} has errored out but its parent task {parent} is already completed",
                    "exception": error,
                    "task": task,
                }
            )
            return
        if not self._aborting and not self._parent_cancel_requested:
            self._abort()
            # The body is interrupted; `__aexit__` takes the request back.
            self._parent_cancel_requested = True
            parent.cancel()

    def _is_base_error(self, error: BaseException) -> bool:
        return isinstance(error, (SystemExit, KeyboardInterrupt))
