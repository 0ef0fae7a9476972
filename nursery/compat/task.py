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
from asyncio import base_tasks, coroutines, futures
from asyncio import tasks as stdlib_tasks
from collections.abc import Callable, Coroutine
from contextvars import Context
from reprlib import recursive_repr
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, TextIO

from ..kernel import foreign
from ..kernel.errors import Cancelled, CancelReason
from ..kernel.nursery import Nursery, NurseryGroup
from ..kernel.runner import Runner
from ..kernel.scope import MISNESTING_ADVICE
from ..kernel.task import Task as KernelTask
from ..kernel.traps import BUDGET
from .cancellation import SHIELDS, CancellableTask, abort_await, slots_named
from .promise import CANCELLED, FINISHED, PENDING, Promise
from .rare import leave_unset

if TYPE_CHECKING:
    pass

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
        return f"<wakes {self.task.name!r}>"


class Task(CancellableTask, Promise):
    """An asyncio task on the kernel: what `loop.create_task` returns.

    `isinstance(task, asyncio.Task)` and `asyncio.isfuture(task)` hold.

    Source: asyncio's documentation, `asyncio.Task`.
    """

    if TYPE_CHECKING:
        __slots__ = (
            "_asyncio_future_blocking",
            "_told",
            "_failure",
            "_failure_traceback",
            "_log_destroy_pending",
            "_log_traceback",
            "_result",
            "_source_traceback",
            "_state",
            "_wakeup",
        )
    else:
        __slots__ = ()
        _asyncio_future_blocking, _told, _failure, _failure_traceback, _log_destroy_pending = slots_named(6, 5)
        _log_traceback, _result, _source_traceback, _state, _wakeup = slots_named(11, 5)

    # flat: once for every task; the kernel's own slots are set here as well, a call of its __init__ costs 60 ns
    # (tests/compat/test_task.py looks for each of them)
    def __init__(  # the kernel's
        self,
        runner: Runner,
        coro: Coroutine[Any, Any, object],
        context: Context,
        nursery: Nursery | None,
        name: object,
    ) -> None:
        self.runner = runner
        self.coro = coro
        self.send = coro.send
        self.context = context
        self.parent_nursery = nursery
        self.scope = None if nursery is None else nursery.cancel_scope
        self._name = name
        self.alert = False
        self.abort = None
        self.outcome = None
        self.budget = BUDGET
        self.ended = False
        self.ki_protected = False
        self.eventual_parent_nursery = None
        self._nurseries = None
        self.custom_sleep_data = None
        self.breaks = None
        self.delivered = 0
        self.count = None
        self.awaits = None
        self.resends = False
        self._must_cancel = False
        self._num_cancels = 0
        self._edges = ()
        self._asked_by_edge = 0
        self._state = PENDING
        self._told = None
        self._asyncio_future_blocking = False
        self._wakeup: Wakeup | None = None
        self._log_destroy_pending = True
        # What it raised, or the cancellation that ended it.
        self._failure = None
        _register(self if OWNED else weakref.ref(self))

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

    def set_result(self, result: object) -> None:
        """Raise RuntimeError: a task gets its result from its coroutine."""
        raise RuntimeError("Task does not support set_result operation")

    def set_exception(self, exception: object) -> None:
        """Raise RuntimeError: a task gets its exception from its coroutine."""
        raise RuntimeError("Task does not support set_exception operation")

    # Cancellation: see cancellation.py

    def cancel(self, msg: object = None) -> bool:
        """Ask the task to end by raising CancelledError in it, once; return False if it has ended already."""
        if self._state is not PENDING:
            if self._failure is not None:
                # As in asyncio: who cancels it knows of it.
                self._log_traceback = False
            return False
        self.request_cancel(msg, SHIELDS.get())
        return True

    def uncancel(self) -> int:
        """Take one request back and return how many are left; the last one drops what was not raised yet."""
        return self.take_back_cancel()

    def cancelling(self) -> int:
        """Return how many requests have not been taken back; inside a shield, without those that it holds back."""
        return self._num_cancels and self.count_cancels()

    # Ending: called by the loop

    # flat: once for every task
    def returned(self, value: object) -> None:
        """End with a value."""
        # It holds the task, which would be garbage for the collector (tests/compat/test_loop.py).
        self._wakeup = None
        if self.alert and (self._must_cancel or (self._num_cancels and self._edges)):
            # Cancelled in its last step, with no await left to raise it in.
            self._must_cancel = False
            self._state = CANCELLED
        else:
            self._result = value
            self._state = FINISHED
        if OWNED:
            _unregister(self)
        else:
            _unregister(weakref.ref(self))
        nursery = self.parent_nursery
        if (
            nursery is None
            # Also if it has left a nursery open: the scope of that is around it then.
            or self.scope is not nursery.cancel_scope
            or self.breaks is not None
            or self is self.runner.main_task
        ):
            KernelTask.returned(self, value)
        else:
            # What the kernel's does, without the call: 60 ns.
            self.ended = True
            children = nursery._children
            del children[self]
            if not children and not nursery._body_running:
                nursery.check_closed()
        callbacks = self._told
        if callbacks is not None:
            # The common cases of `_schedule_callbacks`, in line: 80 ns.
            if type(callbacks) is Task:
                self._told = None
                waiter: Any = callbacks
                if waiter.awaits is self and waiter.abort is abort_await:
                    waiter.abort = None
                    self.runner.queue.append(waiter)
            elif type(callbacks) is list:
                self._schedule_callbacks()
            else:
                self._told = None
                callbacks.ended(self)

    def failed(self, error: BaseException) -> None:
        """End with an error."""
        self._wakeup = None
        nursery = self.parent_nursery
        of_root_group = nursery is self._loop.root_group
        leave_loop = False
        passed_on: BaseException | None = None
        # A TaskGroup takes the failures of its tasks by itself.
        group: NurseryGroup | None = None
        if not of_root_group and not self._failure_is_taken():
            group = None if nursery is None else nursery._group
            if group is None:
                passed_on = error
        self._failure = error
        if isinstance(error, asyncio.CancelledError):
            self._state = CANCELLED
            if not isinstance(error, Cancelled):
                passed_on = None
        else:
            self._state = FINISHED
            self._failure_traceback = error.__traceback__
            leave_loop = passed_on is None and isinstance(error, (SystemExit, KeyboardInterrupt))
            if of_root_group:
                self._log_traceback = True
                # From now on this object looks at its end whether anybody has asked for the error.
                _set_type(self, UnretrievedTask)
                unretrieved = self._loop._unretrieved
                if unretrieved is not None:
                    unretrieved.add(self)
        self._must_cancel = False
        _unregister(self if OWNED else weakref.ref(self))
        try:
            if (
                passed_on is not None
                or nursery is None
                or self.scope is not nursery.cancel_scope
                or self.breaks is not None
                or self is self.runner.main_task
            ):
                self._end(None, passed_on)
            else:
                # As in `returned`.
                self.ended = True
                del nursery._children[self]
                nursery.check_closed()
            if group is not None:
                group.ended(self)
            self._schedule_callbacks()
            if leave_loop:
                raise error
        finally:
            # The error's traceback may lead back to this frame.
            del error, passed_on, self

    def _end(self, value: object, error: BaseException | None) -> None:
        """End in any way, without what the task leaves open."""
        nursery = self.parent_nursery
        if self._nurseries and nursery is not None and (nursery is self._loop.root_group or nursery._group is not None):
            close_what_was_left_open(self, self._loop, self)
        KernelTask._end(self, value, error)

    def _failure_is_taken(self) -> bool:
        """Return whether a TaskGroup is told of the end of this task, which then takes its failure."""
        registered = self.registered()
        if not registered:
            return False
        first, context = registered[0]
        return context is None and getattr(first, "takes_failures", False)

    @classmethod
    def adopt(cls, native: KernelTask) -> None:
        """Let a native task be an asyncio task from now on: a loop was opened in its run."""
        _set_type(native, cls)
        self: Any = native
        self.awaits = None
        self.resends = False
        self._must_cancel = False
        self._num_cancels = 0
        self._edges = ()
        self._asked_by_edge = 0
        self._state = PENDING
        self._told = None
        self._asyncio_future_blocking = False
        self._wakeup = None
        self._log_destroy_pending = True
        self._failure = None
        self.note_shields()
        _register(self if OWNED else weakref.ref(self))

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

    @recursive_repr()
    def __repr__(self) -> str:
        state = "cancelling" if self._num_cancels and self._state is PENDING else self._state.lower()
        parts = [state, f"name={self.name!r}"]
        if self.coro is not None:
            parts.append(f"coro=<{coroutines._format_coroutine(self.coro)}>")  # type: ignore[attr-defined]  # not in typeshed
        if self.awaits is not None and self._state is PENDING:
            parts.append(f"wait_for={self.awaits!r}")
        if self._told:
            parts.append(self._describe_callbacks())
        if self._state is FINISHED:
            parts.append(self._describe_end())
        if self._source_traceback:
            parts.append(f"created at {self._source_traceback[-1][0]}:{self._source_traceback[-1][1]}")
        return f"<Task {' '.join(parts)}>"


class UnretrievedTask(Task):
    """What a failed task of the root group becomes, so that an error nobody asked for is reported.

    A `__del__` on every task would cost each of them a Python call (140 of 340 ns for making and dropping the bare
    object); so only a task that failed gets one, by a change of its type.  tests/compat/test_task.py guards it.
    """

    __slots__ = ()

    def __del__(self) -> None:
        self.report_unretrieved("Task")


# The name that exception handlers and logs show.
UnretrievedTask.__name__ = UnretrievedTask.__qualname__ = "Task"


leave_unset(
    Task,
    _failure_traceback=None,
    _log_traceback=False,
    _source_traceback=None,
)

_set_type: Final[Callable[[object, type], None]] = object.__dict__["__class__"].__set__


def close_what_was_left_open(task: KernelTask, loop: Any, asyncio_task: object) -> None:
    """See to the groups and nurseries that a task left open which is not a native nursery's child: the loop goes on.

    A native nursery is closed by force, which the exception handler is told; a TaskGroup lives on.
    """
    left_open, task._nurseries = task._nurseries, None
    for nursery in reversed(left_open or ()):
        group = nursery._group
        if group is not None:
            group.left_open()
            continue
        nursery.abandon(CancelReason("nursery", "the parent task ended without leaving this nursery", repr(task)))
        loop.call_exception_handler(
            {
                "message": (
                    f"Nursery stack corrupted: a nursery of {task!r} had to be closed by force, it was not closed "
                    f"before the task exited{MISNESTING_ADVICE}"
                ),
                "task": asyncio_task,
            }
        )


# flat: once for every await of a future
def await_future(task: KernelTask, yielded: Any) -> None:
    """Let a task that yielded a future wait for it: the kernel's door for what it does not know."""
    if type(task) is not Task:
        foreign.reject_foreign(task, yielded)
        return
    if isinstance(yielded, Promise) and yielded.runner is task.runner and yielded is not task:
        # The batch does this in line, the traced one comes here.
        if not yielded._asyncio_future_blocking and _is_misuse(task, yielded):
            return
        yielded._asyncio_future_blocking = False
        awaited: Any = yielded
        task.awaits = awaited
        task.abort = abort_await
        yielded.tell(task)
        if task.alert:
            task.deliver()
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
