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
from typing import Any, Final, Self, TypeVar

from ..kernel.current import current, current_task
from ..kernel.errors import Cancelled
from ..kernel.nursery import Nursery
from ..kernel.scope import NurseryScope, newest_cancellation_around
from ..kernel.task import Task as KernelTask
from .cancellation import SHIELDS, is_edge
from .coroutines import iscoroutine
from .eager import start_eagerly
from .loop import EventLoop
from .loop.callbacks import checked_context
from .promise import Promise
from .task import Task, task_number
from .waiting import Lot, running_loop

T = TypeVar("T")

__all__ = ("TaskGroup",)


class _FirstStep:
    """Told of the end of a task that ends in its first step, before its group has it."""

    takes_failures = True

    def ended(self, task: Any) -> None:
        """Do nothing: whoever made the task looks at it."""


FIRST_STEP: Final = _FirstStep()


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
        # Neither aborting nor exiting: the one question of `create_task` then.
        self._open = False
        self._exiting = False
        self._aborting = False
        self._cancel_on_enter = False
        self._loop: EventLoop | None = None
        self._parent_task: asyncio.Task[Any] | None = None
        self._parent_cancel_requested = False
        self._nursery: Nursery | None = None
        # The children of the nursery, and the tasks of other makes, which cannot be in one.
        self._children: dict[KernelTask, None] = {}
        self._strangers: set[Any] = set()
        # Of children born under a scope that was cancelled already: what their parent had been told of by then.
        self._born_late: dict[KernelTask, int] = {}
        self._errors: list[BaseException] = []
        self._base_error: BaseException | None = None
        # Where the end of the block waits.
        self._empty: Lot | None = None

    @property
    def _tasks(self) -> set[Any]:
        return {*self._children, *self._strangers}

    def __repr__(self) -> str:
        info = [""]
        if tasks := self._tasks:
            info.append(f"tasks={len(tasks)}")
        if self._errors:
            info.append(f"errors={len(self._errors)}")
        if self._aborting:
            info.append("cancelling")
        elif self._entered:
            info.append("entered")
        return f"<TaskGroup{' '.join(info)}>"

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError(f"TaskGroup {self!r} has already been entered: make a new one for each block")
        loop = running_loop()
        self._parent_task = asyncio.current_task()
        self._shields = SHIELDS.get()
        if self._parent_task is None:
            raise RuntimeError(f"TaskGroup {self!r} cannot determine the parent task: enter it inside a task")
        self._loop = loop
        self._entered = self._open = True
        parent = loop.runner.current or current_task()
        scope = NurseryScope()
        scope.__enter__()
        self._nursery = nursery = Nursery(parent, scope)
        nursery._group = self
        self._children = nursery._children
        if parent._nurseries is None:
            parent._nurseries = [nursery]
        else:
            parent._nurseries.append(nursery)
        if self._cancel_on_enter:
            self.cancel()
        return self

    async def __aexit__(
        self, et: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        nursery = self._nursery
        if self._loop is None:
            raise RuntimeError(f"TaskGroup {self!r} has not been entered")
        if et is GeneratorExit and current.runner is not self._loop.runner:
            # The garbage collector closes the coroutine of a task whose run is over: nothing can be awaited any more.
            return None
        left: BaseException | None = None
        remaining: BaseException | None = None
        try:
            remaining = left = await self._wait_and_sum_up(exc)
            if nursery is not None:
                parent = nursery._parent_task
                nursery._body_running = False
                nursery._closed = True
                if parent._nurseries is not None and nursery in parent._nurseries:
                    parent._nurseries.remove(nursery)
                remaining = nursery.cancel_scope.close(left)
            if remaining is exc:
                return None
            if remaining is not None:
                if isinstance(remaining, BaseExceptionGroup):
                    raise remaining from None
                raise remaining
            # Whatever the body raised was the group's own doing, or is in the errors.
            return True
        finally:
            # The errors' tracebacks hold this frame.
            left = exc = nursery = parent = remaining = None  # type: ignore[assignment]  # nobody reads it any more
            self._parent_task = self._nursery = None
            self._errors = []
            self._base_error = None

    async def _wait_and_sum_up(self, exc: BaseException | None) -> BaseException | None:
        """Wait for the tasks; return what leaves the block."""
        self._exiting = True
        self._open = False
        parent = self._parent_task
        assert parent is not None
        errors = self._errors
        cancelled: BaseException | None = None
        interruption: BaseException | None = None
        # A request that was caught while the tasks were waited for.
        edge: BaseException | None = None
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
            while self._children or self._strangers:
                if self._empty is None:
                    self._empty = Lot()
                self._wait_for_nursery()
                try:
                    await self._empty.wait()
                except asyncio.CancelledError as caught:
                    interruption = caught
                    if is_edge(caught):
                        edge = caught
                    # If the group asked for it itself it has aborted, and this is not to be passed on.
                    # A request that was caught before goes before a scope's cancellation, which the scope will absorb.
                    if not self._aborting or (isinstance(caught, Cancelled) and not is_edge(cancelled)):
                        cancelled = caught
                    if not self._aborting:
                        self._abort()
            if self._base_error is not None:
                return self._base_error
            if self._parent_cancel_requested:
                if parent.uncancel() == 0:
                    edge = None
                    if not isinstance(cancelled, Cancelled):
                        cancelled = None
                elif cancelled is None:
                    # Somebody else has cancelled as well.
                    cancelled = interruption
            if edge is not None and isinstance(cancelled, Cancelled):
                # The scope would absorb its own, and the request with it.
                cancelled = edge
            if cancelled is not None and not errors:
                return cancelled
            if exc is not None and not isinstance(exc, asyncio.CancelledError):
                if isinstance(exc, GeneratorExit) and not errors:
                    # Nobody failed: an async generator is closed around the block.
                    return exc
                errors.append(exc)
            if not errors:
                return None
            if parent.cancelling():
                # Somebody outside the group wants the parent cancelled too: to be raised again, and counted once.
                parent.uncancel()
                parent.cancel()
            if cancelled is not None:
                self._tell_again()
            return BaseExceptionGroup("unhandled errors in a TaskGroup", errors)
        finally:
            del exc, cancelled, edge, interruption, errors

    def _tell_again(self) -> None:
        """Let the cancellation of a scope, which gives way to the errors, be raised at the next await."""
        if self._nursery is None:
            return
        parent = self._nursery._parent_task
        newest = newest_cancellation_around(self._nursery.cancel_scope)
        if 0 < newest <= parent.delivered:
            parent.delivered = newest - 1
            parent.refresh()

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
        if not self._open:
            self._check_open(coro)
        loop: Any = self._loop
        nursery = self._nursery
        if (
            nursery is None
            or options
            or loop._task_factory is not None
            or loop._careful
            or type(coro) is not CoroutineType
        ):
            if name is not None:
                options["name"] = name
            if context is not None:
                options["context"] = context
            return self._make_task(loop, coro, options)
        runner = loop.runner
        task: Any = Task(
            runner,
            coro,
            copy_context() if context is None else checked_context(context),
            nursery,
            task_number() if name is None else str(name),
        )
        self._children[task] = None
        if nursery.cancel_scope._doomed:
            self._note_late_birth(task)
        if runner.instruments is not None:
            runner.instruments.call("task_spawned", task)
        runner.queue.append(task)
        return task  # type: ignore[no-any-return]  # it says so itself

    def _check_open(self, coro: Any) -> None:
        """Raise RuntimeError if the group takes no more tasks; the coroutine is closed then."""
        finished = self._exiting and not self._children and not self._strangers
        if self._loop is not None and not self._aborting and not finished:
            return
        if iscoroutine(coro):
            coro.close()
        if self._loop is None:
            raise RuntimeError(f"TaskGroup {self!r} has not been entered")
        if finished:
            raise RuntimeError(f"TaskGroup {self!r} is finished")
        raise RuntimeError(f"TaskGroup {self!r} is shutting down")

    def _make_task(self, loop: EventLoop, coro: Any, options: dict[str, Any]) -> asyncio.Task[Any]:
        """Make a task by the rarer ways: eagerly, in debug mode, by a task factory."""
        nursery = self._nursery
        factory = loop._task_factory
        made: Any
        if factory is None or getattr(factory, "makes_ours", False):
            eager = options.pop("eager_start", factory is not None)
            if options.keys() - {"name", "context"}:
                raise TypeError(f"create_task() got unexpected keyword arguments {sorted(options)}")
            if eager:
                made = start_eagerly(loop, coro, nursery=nursery, told=FIRST_STEP, **options)
            else:
                made = loop.start_task(coro, nursery=nursery, **options)
        else:
            made = loop.create_task(coro, **options)
        try:
            if made.done():
                # Its end is noted in the next turn: a failure is not to keep the body from making its other tasks.
                self._strangers.add(made)
                loop.call_soon(self._ended_at_once, made)
                return made  # type: ignore[no-any-return]  # whatever the factory makes
            if made in self._children:
                if nursery is not None and nursery.cancel_scope._doomed:
                    self._note_late_birth(made)
            else:
                self._strangers.add(made)
            if isinstance(made, Promise):
                # The first to be told: that is how it knows that its failure is taken.
                others = [pair for pair in made.registered() if pair[0] is not FIRST_STEP]
                made._told = [(self, None), *others] if others else self
            else:
                made.add_done_callback(self.ended)
            if self._aborting:
                # It has cancelled the group in its first step.
                made.cancel()
            return made  # type: ignore[no-any-return]  # whatever the factory makes
        finally:
            # No reference from this frame to the task, whose error's traceback may hold it.
            del made

    def _note_late_birth(self, task: Any) -> None:
        """Let a task be told only of those cancellations that its parent was not told of before.

        A group may be opened, or get a task, in the clean-up after a scope's cancellation.
        """
        assert self._nursery is not None
        task.delivered = self._born_late[task] = self._nursery._parent_task.delivered
        task.alert = True

    def cancel(self) -> None:
        """Cancel the tasks of the group and its body; the block ends without an error for it (new in asyncio 3.15).

        Before the block is entered it cancels the block at its entry; a second time, or after the end, it does nothing.
        Source: asyncio's documentation, `asyncio.TaskGroup.cancel`.
        """
        if not self._entered:
            self._cancel_on_enter = True
            return
        if self._aborting or (self._exiting and not self._children and not self._strangers):
            return
        self._abort()
        self._interrupt_parent()

    def _abort(self) -> None:
        self._aborting = True
        self._open = False
        if self._nursery is not None:
            # A cancelled scope has told the children of the nursery already, and tells each one once.
            newest = newest_cancellation_around(self._nursery.cancel_scope)
            for child in list(self._children):
                if newest <= self._born_late.get(child, 0):
                    child.cancel()  # type: ignore[attr-defined]  # a task of ours
        for stranger in list(self._strangers):
            if not stranger.done():
                stranger.cancel()

    def _interrupt_parent(self) -> None:
        """Interrupt the body, or the wait at its end; `__aexit__` takes the request back."""
        parent = self._parent_task
        if parent is not None and not parent.done() and not self._parent_cancel_requested:
            self._parent_cancel_requested = True
            ours: Any = parent
            if type(ours) is Task:
                # Not held back by the shields around the block.
                ours.request_cancel(None, self._shields)
            else:
                parent.cancel()

    def emptied(self) -> None:
        """Let the end of the block go on, if nothing else is waited for: called by the nursery."""
        if self._strangers:
            # They may start tasks yet.
            self._wait_for_nursery()
        elif self._empty is not None:
            self._empty.wake_all()

    def _wait_for_nursery(self) -> None:
        """Have `emptied` called when the nursery has no children any more."""
        nursery = self._nursery
        if nursery is not None:
            nursery._closed = nursery._body_running = False
            nursery._parent_waits = True

    def ended(self, task: Any) -> None:
        """Take note of the end of a task; called by it, if it is a child of the nursery only if it failed."""
        if self._strangers:
            self._strangers.discard(task)
        if self._empty is not None and not self._children and not self._strangers:
            self._empty.wake_all()
        if type(task) is Task and task._failure is None:
            return
        if self._born_late:
            self._born_late.pop(task, None)
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
        if not self._aborting and len(self._errors) == 1:
            # In the next turn, as in asyncio: what fails in the same turn counts as well, and a body that was woken
            # already goes on to its next await.
            assert self._loop is not None
            self._loop.call_soon(self._answer_failure)

    def _answer_failure(self) -> None:
        """Cancel the others and the body, unless the block has been left meanwhile."""
        if self._parent_task is not None and not self._aborting and not self._parent_cancel_requested:
            self._abort()
            self._interrupt_parent()

    def _ended_at_once(self, task: Any) -> None:
        """Take note of the end of a task that had ended when it was made: that is the next turn already."""
        self.ended(task)
        if self._errors:
            self._answer_failure()

    def left_open(self) -> None:
        """Be told that the task that entered the block ended without leaving it; the group goes on, as in asyncio.

        One task after the other may drive the async generator that holds the block, as test tools do with fixtures:
        whoever leaves it waits for the tasks.
        """
        nursery, loop = self._nursery, self._loop
        assert nursery is not None
        assert loop is not None
        for child in self._children:
            # From now on its nursery is not the one that tells the group.
            told: Any = child
            others = told.registered()
            told._told = [(self, None), *others] if others else self
        self._strangers.update(self._children)
        nursery.move_children(loop.root_group)
        nursery._body_running = False
        nursery._closed = True
        self._children = nursery._children
        self._nursery = None

    def _is_base_error(self, error: BaseException) -> bool:
        return isinstance(error, (SystemExit, KeyboardInterrupt))
