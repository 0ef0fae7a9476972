"""The asyncio task, which is a kernel task.

Invariant: a task awaits at most one future, `awaits`; it is woken by that future alone, through its `wakeup`, and takes
that future's place in the order of the future's callbacks.  A woken task is put into the run queue directly: there is
no callback that schedules a step.  Nothing is sent into the coroutine: asyncio's futures look at themselves when they
are resumed.

A task ends in one of the states of asyncio, FINISHED or CANCELLED, and then schedules its callbacks.  A task made by
`create_task` belongs to the run's root group: its failure is kept here and is no one else's.  A native child keeps its
result as well, and passes its failure to its nursery; only a pure edge cancellation ends there.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import weakref
from asyncio import base_futures, base_tasks, coroutines, format_helpers, futures
from asyncio import tasks as stdlib_tasks
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, TextIO

from ..kernel import foreign
from ..kernel.errors import Cancelled
from ..kernel.nursery import Nursery
from ..kernel.runner import Runner
from ..kernel.task import Task as KernelTask
from .cancellation import CancellableTask, abort_await
from .events import Handle

if TYPE_CHECKING:
    from .loop.state import LoopState

PENDING: Final = "PENDING"
CANCELLED: Final = "CANCELLED"
FINISHED: Final = "FINISHED"

task_number: Final = itertools.count(1).__next__

# Where asyncio.all_tasks() looks.  A task is owned by its nursery until it ends, and leaves then, so the strong set
# that 3.12 made for eager tasks serves: 100 ns for coming and going, where the weak set's `add` costs 650.  3.11 has
# the weak set alone; there a bare reference in its data will do.  From 3.14 on the strong set is the C code's.
OWNED: Final = sys.version_info >= (3, 12)
_stdlib: Final[Any] = stdlib_tasks
_register: Callable[[Any], None]
_unregister: Callable[[Any], None]
if sys.version_info >= (3, 14):
    _register, _unregister = _stdlib._register_eager_task, _stdlib._unregister_eager_task
else:
    _registry = _stdlib._eager_tasks if OWNED else _stdlib._all_tasks.data
    _register, _unregister = _registry.add, _registry.discard


class Wakeup:
    """The done-callback by which a future wakes the task that awaits it.

    The loop's `call_soon` knows the class, and queues the task where another callback would get a handle.
    """

    __slots__ = ("task",)

    def __init__(self, task: Task) -> None:
        self.task = task

    def wake(self, future: object) -> None:
        """Queue the task, if `future` is what it waits for."""
        task = self.task
        if task.awaits is future and task.abort is abort_await:
            task.abort = None
            task.runner.queue.append(task)

    __call__ = wake

    def __repr__(self) -> str:
        return f"<Wakeup {self.task!r}>"


class Task(CancellableTask):
    """An asyncio task on the kernel: what `loop.create_task` returns.

    `isinstance(task, asyncio.Task)` and `asyncio.isfuture(task)` hold.

    Source: asyncio's documentation, `asyncio.Task`.
    """

    __slots__ = (
        "_asyncio_future_blocking",
        "_callbacks",
        "_cancelled_exc",
        "_exception",
        "_exception_tb",
        "_log_destroy_pending",
        "_log_traceback",
        "_loop",
        "_result",
        "_source_traceback",
        "_state",
        "_wakeup",
    )

    _loop: LoopState

    # flat: once for every task
    def __init__(
        self,
        runner: Runner,
        coro: Coroutine[Any, Any, object],
        context: Context,
        nursery: Nursery | None,
        name: object,
    ) -> None:
        KernelTask.__init__(self, runner, coro, context, nursery, name)
        self._loop = loop = runner.locals[LOOP]()  # type: ignore[operator]  # what the loop put there
        self.awaits = None
        self.resends = False
        self._must_cancel = False
        self._num_cancels = 0
        self._cancel_message: object = None
        self._asked = None
        self._state = PENDING
        self._result: Any = None
        self._exception: BaseException | None = None
        self._callbacks: list[tuple[Callable[[Any], object], Context]] | None = None
        self._asyncio_future_blocking = False
        self._wakeup: Wakeup | None = None
        self._log_traceback = False
        self._log_destroy_pending = True
        self._cancelled_exc: BaseException | None = None
        self._source_traceback = format_helpers.extract_stack() if loop._debug else None
        if OWNED:
            _register(self)
        else:
            _register(weakref.ref(self))

    if not TYPE_CHECKING:

        @property
        def __class__(self) -> type:
            """asyncio.Task: what `isinstance` asks when the type itself does not fit."""
            return asyncio.Task

    # Names

    @property
    def name(self) -> str:
        """The name given, or "Task-N", or for a native child the function's."""
        if type(self._name) is int:
            self._name = f"Task-{self._name}"
        return KernelTask.name.fget(self)  # type: ignore[attr-defined, no-any-return]  # the property's getter

    @name.setter
    def name(self, value: object) -> None:
        self._name = value

    def get_name(self) -> str:
        """Return the name."""
        return self.name

    def set_name(self, value: object) -> None:
        """Set the name."""
        self._name = str(value)

    # The parts

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop that the task runs on."""
        return self._loop

    def get_coro(self) -> Coroutine[Any, Any, Any]:
        """Return the coroutine."""
        return self.coro

    @property
    def _coro(self) -> Coroutine[Any, Any, Any]:
        return self.coro

    def get_context(self) -> Context:
        """Return the context that the steps run in."""
        return self.context

    @property
    def _fut_waiter(self) -> asyncio.Future[Any] | None:
        return self.awaits

    @property
    def _num_cancels_requested(self) -> int:
        return self._num_cancels

    def get_stack(self, *, limit: int | None = None) -> list[FrameType]:
        """Return the frames of the suspended coroutine, or those of its error's traceback."""
        asyncio_task: Any = self
        return base_tasks._task_get_stack(asyncio_task, limit)

    def print_stack(self, *, limit: int | None = None, file: TextIO | None = None) -> None:
        """Print what `get_stack` returns, like a traceback."""
        asyncio_task: Any = self
        base_tasks._task_print_stack(asyncio_task, limit, file)  # type: ignore[arg-type]  # typeshed: a path; it is a file

    # The result

    def done(self) -> bool:
        """Return whether the task has ended."""
        return self._state is not PENDING

    def cancelled(self) -> bool:
        """Return whether the task has ended by a cancellation."""
        return self._state is CANCELLED

    def result(self) -> Any:
        """Return what the coroutine returned, or raise what it raised."""
        if self._state is FINISHED:
            error = self._exception
            if error is None:
                return self._result
            self._log_traceback = False
            try:
                raise error.with_traceback(self._exception_tb)
            finally:
                del error
        if self._state is CANCELLED:
            raise self._make_cancelled_error()
        raise asyncio.InvalidStateError("Result is not set.")

    def exception(self) -> BaseException | None:
        """Return what the coroutine raised, None if it returned."""
        if self._state is CANCELLED:
            raise self._make_cancelled_error()
        if self._state is PENDING:
            raise asyncio.InvalidStateError("Exception is not set.")
        self._log_traceback = False
        return self._exception

    def set_result(self, result: object) -> None:
        """Raise RuntimeError: a task gets its result from its coroutine."""
        raise RuntimeError("Task does not support set_result operation")

    def set_exception(self, exception: object) -> None:
        """Raise RuntimeError: a task gets its exception from its coroutine."""
        raise RuntimeError("Task does not support set_exception operation")

    def _make_cancelled_error(self) -> asyncio.CancelledError:
        error, self._cancelled_exc = self._cancelled_exc, None
        # A scope's exception belongs to the task inside that scope, not to whoever awaits the task.
        if isinstance(error, asyncio.CancelledError) and not isinstance(error, Cancelled):
            return error
        message = self._cancel_message
        return asyncio.CancelledError() if message is None else asyncio.CancelledError(message)

    def __await__(self) -> Generator[Any, None, Any]:
        if self._state is PENDING:
            self._asyncio_future_blocking = True
            yield self
            if self._state is PENDING:
                raise RuntimeError("await wasn't used with future")
        return self.result()

    __iter__ = __await__

    # Cancellation: see cancellation.py

    def cancel(self, msg: object = None) -> bool:
        """Ask the task to end by raising CancelledError in it, once; return False if it has ended already."""
        if self._state is not PENDING:
            return False
        self._log_traceback = False
        self.request_cancel(msg)
        return True

    def uncancel(self) -> int:
        """Take one request back and return how many are left; the last one drops what was not raised yet."""
        return self.take_back_cancel()

    def cancelling(self) -> int:
        """Return how many requests have not been taken back."""
        return self._num_cancels

    # Callbacks

    def add_done_callback(self, fn: Callable[[Any], object], /, *, context: Context | None = None) -> None:
        """Have `fn(task)` called soon after the end, in `context` or a copy of the current one."""
        if self._state is not PENDING:
            self._loop.call_soon(fn, self, context=context)
            return
        pair = (fn, copy_context() if context is None else context)
        if self._callbacks is None:
            self._callbacks = [pair]
        else:
            self._callbacks.append(pair)

    def remove_done_callback(self, fn: Callable[[Any], object], /) -> int:
        """Remove every registration of `fn` and return how many there were."""
        if self._callbacks is None:
            return 0
        left = [pair for pair in self._callbacks if pair[0] != fn]
        removed = len(self._callbacks) - len(left)
        self._callbacks = left or None
        return removed

    # flat: once for every task
    def _schedule_callbacks(self) -> None:
        callbacks, self._callbacks = self._callbacks, None
        if callbacks is None:
            return
        loop = self._loop
        append = self.runner.queue.append
        this: object = self
        for fn, context in callbacks:
            if type(fn) is Wakeup:
                waiter = fn.task
                if waiter.awaits is this and waiter.abort is abort_await:
                    waiter.abort = None
                    append(waiter)
            else:
                append(Handle(fn, (self,), loop, context))

    # Ending: called by the loop

    # flat: once for every task
    def returned(self, value: object) -> None:
        """End with a value."""
        if self._must_cancel:
            # Cancelled in its last step, with no await left to raise it in.
            self._must_cancel = False
            self._state = CANCELLED
        else:
            self._result = value
            self._state = FINISHED
        self._wakeup = None
        _unregister(self if OWNED else weakref.ref(self))
        KernelTask.returned(self, value)
        if self._callbacks is not None:
            self._schedule_callbacks()

    def failed(self, error: BaseException) -> None:
        """End with an error."""
        of_root_group = self.parent_nursery is self._loop.root_group
        leave_loop = False
        passed_on: BaseException | None = None if of_root_group else error
        if isinstance(error, asyncio.CancelledError):
            self._state = CANCELLED
            self._cancelled_exc = error
            if not isinstance(error, Cancelled):
                passed_on = None
        else:
            self._state = FINISHED
            self._exception = error
            self._exception_tb = error.__traceback__
            if of_root_group:
                leave_loop = isinstance(error, (SystemExit, KeyboardInterrupt))
                self._log_traceback = True
                # From now on this object looks at its end whether anybody has asked for the error.
                _set_type(self, UnretrievedTask)
        self._must_cancel = False
        self._wakeup = None
        _unregister(self if OWNED else weakref.ref(self))
        try:
            self._end(None, passed_on)
            self._schedule_callbacks()
            if leave_loop:
                raise error
        finally:
            # The error's traceback may lead back to this frame.
            del error, passed_on

    def discard(self) -> None:
        """Forget a task that will never be stepped again, because its loop is closed over it."""
        _unregister(self if OWNED else weakref.ref(self))
        self.ended = True
        if self._log_destroy_pending:
            context: dict[str, Any] = {"task": self, "message": "Task was destroyed but it is pending!"}
            if self._source_traceback:
                context["source_traceback"] = self._source_traceback
            self._loop.call_exception_handler(context)

    # Looks

    def __repr__(self) -> str:
        state = "cancelling" if self._num_cancels and self._state is PENDING else self._state.lower()
        parts = [state, f"name={self.name!r}"]
        if self.coro is not None:
            parts.append(f"coro=<{coroutines._format_coroutine(self.coro)}>")  # type: ignore[attr-defined]  # not in typeshed
        if self.awaits is not None and self._state is PENDING:
            parts.append(f"wait_for={self.awaits!r}")
        if self._callbacks:
            callbacks: Any = self._callbacks
            parts.append(base_futures._format_callbacks(callbacks))
        if self._state is FINISHED:
            parts.append(f"result={self._result!r}" if self._exception is None else f"exception={self._exception!r}")
        if self._source_traceback:
            parts.append(f"created at {self._source_traceback[-1][0]}:{self._source_traceback[-1][1]}")
        return f"<Task {' '.join(parts)}>"

    if not TYPE_CHECKING:

        def __class_getitem__(cls, item: object) -> object:
            return cls


class UnretrievedTask(Task):
    """What a failed task of the root group becomes, so that an error nobody asked for is reported.

    A `__del__` on every task would cost each of them a Python call (140 of 340 ns for making and dropping the bare
    object); so only a task that failed gets one, by a change of its type.  tests/compat/test_tasks.py guards it.
    """

    __slots__ = ()

    def __del__(self) -> None:
        if not self._log_traceback:
            return
        context: dict[str, Any] = {
            "message": "Task exception was never retrieved",
            "exception": self._exception,
            "future": self,
        }
        if self._source_traceback:
            context["source_traceback"] = self._source_traceback
        self._loop.call_exception_handler(context)


_set_type: Final[Callable[[object, type], None]] = object.__dict__["__class__"].__set__

# The key under which a run keeps a weak reference to its loop.
LOOP: Final = object()


# flat: once for every await of a future
def await_future(task: KernelTask, yielded: Any) -> None:
    """Let a task that yielded a future wait for it: the kernel's door for what it does not know."""
    if type(task) is not Task:
        foreign.reject_foreign(task, yielded)
        return
    try:
        proper = yielded._asyncio_future_blocking is True and yielded._loop is task._loop and yielded is not task
    except AttributeError:
        proper = False
    if not proper and _is_misuse(task, yielded):
        return
    yielded._asyncio_future_blocking = False
    wakeup = task._wakeup
    if wakeup is None:
        task._wakeup = wakeup = Wakeup(task)
    task.awaits = yielded
    task.abort = abort_await
    if type(yielded) is Task and yielded._state is PENDING:
        if yielded._callbacks is None:
            yielded._callbacks = [(wakeup, task.context)]
        else:
            yielded._callbacks.append((wakeup, task.context))
    else:
        yielded.add_done_callback(wakeup, context=task.context)
    if task.alert:
        task.deliver()


def _is_misuse(task: Task, yielded: object) -> bool:
    """Look closely at what a task yielded; what is wrong with it is raised at the await."""
    blocking = getattr(yielded, "_asyncio_future_blocking", None)
    if blocking is None:
        if hasattr(yielded, "gi_frame"):
            message = f"yield was used instead of yield from for generator in task {task!r} with {yielded!r}"
        else:
            message = f"Task got bad yield: {yielded!r}"
    elif futures._get_loop(yielded) is not task._loop:  # type: ignore[attr-defined]  # not in typeshed
        message = f"Task {task!r} got Future {yielded!r} attached to a different loop"
    elif not blocking:
        message = f"yield was used instead of yield from in task {task!r} with {yielded!r}"
    elif yielded is task:
        message = f"Task cannot await on itself: {task!r}"
    else:
        return False
    foreign.throw_into(task, RuntimeError(message))
    return True
