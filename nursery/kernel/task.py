"""What the kernel knows about one task.

States, and the slots that tell them apart:

    =========  ==========================================  =================================================
    state      how it shows                                what may happen next
    =========  ==========================================  =================================================
    queued     in `runner.queue`; abort is None            the loop steps it
    running    `runner.current is task`                    it yields None (queued), parks, or ends
    parked     abort is not None                           a waker clears abort and queues it, or `deliver`
                                                           calls abort, once, and queues it if that succeeds
    ended      `ended` is True                             nothing
    =========  ==========================================  =================================================

Invariant: a task is in the queue at most once, and never while it is parked.  `alert` is True exactly if a cancel
point has something to look at: a cancelled scope, a keyboard interrupt for the main task, a test that counts
checkpoints, or what a foreign dialect adds in its subclass.

The step of a task is ``task.context.run(task.send, None)``; `send` is bound once, at birth.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol

import outcome

from .current import current
from .errors import Cancelled, CancelReason, InternalError
from .scope import MISNESTING_ADVICE, CancelScope, cancelled_scope_around, is_cancelled
from .traps import BUDGET, PARK, Abort, AbortFunction, RaiseCancel, Signal, not_abortable

if TYPE_CHECKING:
    from .nursery import Nursery
    from .parking import ParkingLot
    from .runner import Runner


class CheckpointCount(Protocol):
    """Counts the points that one task passes (testing.assert_checkpoints)."""

    cancel_points: int
    schedule_points: int


# Slots that the kernel leaves alone: a foreign dialect keeps in them what it has to know of each task, under names of
# its own.  They are here, and not in the dialect's class, so that a living task can become one of that class, by a
# change of its `__class__`, when the dialect enters a run that has begun without it.
FOREIGN_SLOTS: Final = tuple(f"foreign_{number}" for number in range(18))


class Task:
    """One line of execution; made by a nursery, never by hand.

    Attributes: `name` (a str, may be set), `coro`, `context`, `parent_nursery`, `eventual_parent_nursery`,
    `child_nurseries`, and `custom_sleep_data`, a slot for whoever put the task to sleep.

    Source: trio's documentation, `trio.lowlevel.Task`.
    """

    # With a `__dict__`, which is made when it is used first: asyncio's tasks have one, and libraries put things there.
    __slots__ = (
        *FOREIGN_SLOTS,
        "__dict__",
        "__weakref__",
        "_name",
        "_nurseries",
        "abort",
        "alert",
        "breaks",
        "budget",
        "context",
        "coro",
        "count",
        "custom_sleep_data",
        "delivered",
        "ended",
        "eventual_parent_nursery",
        "ki_protected",
        "outcome",
        "parent_nursery",
        "runner",
        "scope",
        "send",
        "wake_at",
    )

    # Set while the task itself stands in the deadlines (it sleeps), in seconds of the run's clock.
    wake_at: float

    # What the task yields to be parked; the record of a foreign task puts something of its own here.
    park_signal: Signal = PARK

    def __init__(
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
        self.scope: CancelScope | None = None if nursery is None else nursery.cancel_scope
        self._name = name
        self.alert = False
        self.abort: AbortFunction | None = None
        self.outcome: outcome.Outcome[Any] | None = None
        self.budget = BUDGET
        self.ended = False
        self.ki_protected = False
        self.eventual_parent_nursery: Nursery | None = None
        self._nurseries: list[Nursery] | None = None
        self.custom_sleep_data: Any = None
        # The lots that break when this task ends, once for each registration.
        self.breaks: list[ParkingLot] | None = None
        # How many cancellations of the run this task has been told of: a foreign dialect tells each one once.
        self.delivered = 0
        self.count: CheckpointCount | None = None

    # Looking at it

    @property
    def name(self) -> str:
        """The name given to start_soon, or the function's module and qualified name."""
        name = self._name
        if not isinstance(name, str):
            while isinstance(name, functools.partial):
                name = name.func
            try:
                name = f"{name.__module__}.{name.__qualname__}"  # type: ignore[attr-defined]  # falls back below
            except AttributeError:
                name = repr(name)
            self._name = name
        return name

    @name.setter
    def name(self, value: object) -> None:
        self._name = value

    @property
    def child_nurseries(self) -> list[Nursery]:
        """The nurseries that this task has open, outermost first."""
        return list(self._nurseries) if self._nurseries else []

    def __repr__(self) -> str:
        return f"<Task {self.name!r} at {id(self):#x}>"

    def iter_await_frames(self) -> Iterator[tuple[types.FrameType, int]]:
        """Yield each frame of the task with its line number, from the outermost await to the innermost.

        Meaningful while the task is not running.
        Source: trio's documentation, `trio.lowlevel.Task.iter_await_frames`.
        """
        awaitable: object = self.coro
        while awaitable is not None:
            frame = getattr(awaitable, "cr_frame", None) or getattr(awaitable, "gi_frame", None)
            if frame is not None:
                yield frame, frame.f_lineno
                following = getattr(awaitable, "cr_await", None)
                awaitable = following if following is not None else getattr(awaitable, "gi_yieldfrom", None)
            elif getattr(awaitable, "ag_frame", None) is not None:
                yield awaitable.ag_frame, awaitable.ag_frame.f_lineno  # type: ignore[attr-defined]  # just asked
                awaitable = awaitable.ag_await  # type: ignore[attr-defined]  # an async generator has it
            else:
                awaitable = _hidden_generator(awaitable)

    # Being woken

    def wake(self) -> None:
        """Queue a parked task; RuntimeError in another thread, whose wake-up a sleeping loop would not notice."""
        runner = self.runner
        if current.runner is not runner:
            runner.check_thread("waking a task")
        self.abort = None
        runner.queue.append(self)

    def wake_with_error(self, error: BaseException) -> None:
        """Queue a parked task so that its wait raises `error`; RuntimeError in another thread."""
        runner = self.runner
        if current.runner is not runner:
            runner.check_thread("waking a task")
        self.abort = None
        self.outcome = outcome.Error(error)
        runner.queue.append(self)

    def expire(self) -> None:
        """Wake the task from a sleep whose time has come; called by the deadlines."""
        self.abort = None
        self.runner.queue.append(self)

    def take_outcome(self) -> Any:
        """Return the value or raise the error that the waker left."""
        left = self.outcome
        self.outcome = None
        try:
            return left.unwrap()  # type: ignore[union-attr]  # the caller has just seen that it is there
        finally:
            # The error's traceback holds this frame: without this the frame would hold the error.
            del left

    # Being cancelled

    def refresh(self) -> None:
        """Make `alert` true to the facts again, and if the task is parked tell it."""
        if self.is_interrupted():
            self.alert = True
            if self.abort is not None and self.abort is not not_abortable:
                self.deliver()
        else:
            self.alert = self.count is not None

    def entered_shield(self, scope: CancelScope) -> None:
        """Take note that the task has entered a scope that shields it: for a foreign dialect."""

    def is_interrupted(self) -> bool:
        """Return whether the next cancel point will raise."""
        runner = self.runner
        return is_cancelled(self.scope) or (runner.ki_pending and self is runner.main_task)

    def interruption(self) -> RaiseCancel | None:
        """Return what raises the interruption that comes first, or None if nothing is pending.

        A keyboard interrupt is outside all scopes, so it comes before a cancellation.
        """
        runner = self.runner
        if runner.ki_pending and self is runner.main_task:
            return runner.raise_keyboard_interrupt
        scope = cancelled_scope_around(self.scope)
        if scope is None:
            return None
        return _raiser(self, runner.cancelled_class, scope.why())

    def deliver(self) -> None:
        """Interrupt a parked task if something is pending: call its abort function, at most once a sleep."""
        if self.count is not None:
            self.count.cancel_points += 1
            self.count.schedule_points += 1
        abort = self.abort
        if abort is None or abort is not_abortable:
            return
        raise_cancel = self.interruption()
        if raise_cancel is None:
            return
        self.abort = not_abortable
        if abort(self, raise_cancel) is Abort.SUCCEEDED:
            self.abort = None
            self.custom_sleep_data = None
            self.outcome = outcome.capture(raise_cancel)
            self.runner.queue.append(self)

    def raise_if_interrupted(self) -> None:
        """Be a cancel point of the running task: count it, and raise what is pending."""
        if self.count is not None:
            self.count.cancel_points += 1
            # The next operation that need not wait yields all the same, so that the point can be counted.
            self.budget = 0
        raise_cancel = self.interruption()
        if raise_cancel is not None:
            self.note_schedule_point()
            raise_cancel()

    def note_schedule_point(self) -> None:
        """Tell a test that counts them that a schedule point was passed."""
        if self.count is not None:
            self.count.schedule_points += 1

    def note_cancel_point(self) -> None:
        """Tell a test that counts them that a cancel point was passed."""
        if self.count is not None:
            self.count.cancel_points += 1

    # Ending

    # flat: once for every task
    def returned(self, value: object) -> None:
        """End with a value: called by the loop."""
        nursery = self.parent_nursery
        if (
            nursery is None
            # Also if it has left a nursery open: the scope of that is around it then.
            or self.scope is not nursery.cancel_scope
            or self.breaks is not None
            or self is self.runner.main_task
        ):
            self._end(value, None)
            return
        self.ended = True
        children = nursery._children
        del children[self]
        if not children and not nursery._body_running:
            nursery.check_closed()

    def failed(self, error: BaseException) -> None:
        """End with an error: called by the loop."""
        self._end(None, error)

    def _end(self, value: object, error: BaseException | None) -> None:
        """End in any way, clearing up what an untidy task leaves: open nurseries, scopes, lots to break."""
        runner = self.runner
        nursery = self.parent_nursery
        corrupted = bool(self._nurseries)
        if self._nurseries:
            for open_nursery in self._nurseries:
                open_nursery.abandon(
                    CancelReason("nursery", "the parent task ended without leaving this nursery", repr(self))
                )
            self._nurseries = None
        outermost = None if nursery is None else nursery.cancel_scope
        while self.scope is not outermost and self.scope is not None:
            self.scope.drop()
            self.scope = self.scope._parent
        self.scope = outermost
        if self.breaks is not None:
            lots, self.breaks = self.breaks, None
            for lot in lots:
                lot.break_lot(self)
        if corrupted:
            try:
                raise RuntimeError(
                    f"Nursery stack corrupted: a nursery of {self!r} had to be closed by force, it was not "
                    f"closed before the task exited{MISNESTING_ADVICE}"
                )
            except RuntimeError as broken:
                broken.__context__ = error
                error = broken
        self.ended = True
        try:
            if self is runner.main_task:
                runner.main_ended(outcome.Value(value) if error is None else outcome.Error(error))
                error = None
            if nursery is None:
                runner.root_ended(error)
            else:
                nursery.child_ended(self, error)
        finally:
            # An error's traceback may lead back to this frame.
            del error

    def stands_for_cancelled(self, error: BaseException, scope: CancelScope) -> bool:
        """Return whether `error`, which leaves the cancelled `scope`, is its Cancelled in another dialect's clothes."""
        return False

    def combine_errors(self, errors: list[BaseException]) -> BaseException:
        """Return the one exception that stands for all `errors` of a nursery of this task."""
        return BaseExceptionGroup("Exceptions from a nursery", errors)

    def detached(self) -> None:
        """End because the coroutine object went to another scheduler, with the outcome in the slot."""
        final, self.outcome = self.outcome, None
        if isinstance(final, outcome.Error):
            self.failed(final.error)
        else:
            self.returned(final.value if isinstance(final, outcome.Value) else None)

    def check(self) -> None:
        """Raise InternalError if an invariant of this file is broken (kernel self-check)."""
        if self.ended:
            raise InternalError(f"{self!r} has ended but is still in its nursery")
        if self.runner.ki_pending:
            # It may have arrived since the last refresh.
            return
        expected = self.is_interrupted() or self.count is not None
        if self.alert != expected:
            raise InternalError(f"{self!r} has alert={self.alert}, its scopes say {expected}")


def _raiser(task: Task, cls: type[Cancelled], why: CancelReason) -> Callable[[], NoReturn]:
    serial = task.runner.cancel_serial

    def raise_cancel() -> NoReturn:
        # Now the task is told.  An operation that cannot be interrupted may never call this.
        task.delivered = max(task.delivered, serial)
        raise cls._create(why)

    return raise_cancel


def _hidden_generator(awaitable: object) -> Generator[Any, Any, Any] | None:
    """Find the generator behind an awaitable that CPython hides: async_generator_asend, coroutine_wrapper.

    They expose nothing but what the garbage collector sees.
    """
    import gc

    if type(awaitable).__name__ in ("async_generator_asend", "async_generator_athrow", "coroutine_wrapper"):
        for referent in gc.get_referents(awaitable):
            if hasattr(referent, "ag_frame") or hasattr(referent, "cr_frame"):
                return referent  # type: ignore[no-any-return]  # the attribute was just asked for
    return None
