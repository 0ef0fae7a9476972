"""Where edge-triggered Task.cancel() meets level-triggered cancel scopes: the one file that knows both rules.

Invariant: whatever interrupts a task is raised in it at a point where its dialect allows that, exactly once for an
edge, and is never lost: an edge that cannot be raised yet stays in `_must_cancel` or `_edges`, a scope's
cancellation stays in the scope.  `alert` tells that one of them is waiting.

Who interrupts, and where the task stands (tests/compat/test_cancellation_table.py has a test for each cell):

    =================  ======================  ======================  ======================  ========================
    interrupted by     a native await          a facade await          the body of a nursery   a shield of its own
    =================  ======================  ======================  ======================  ========================
    scope cancel       `Cancelled`; so does    `Cancelled`, once;      children and body by    nothing before its end;
                       each later native       clean-up may wait       `Cancelled`; what is    then as without it
                       await                                           left is the scope's
    deadline           the same                the same                the same                the same
    task.cancel()      CancelledError, once    CancelledError, once    the body by an edge,    nothing before its end;
                                                                       the children by the     then CancelledError
                                                                       nursery; comes out bare
    TaskGroup abort    the same, in each task  the same                the same                the same
    timeout            the same, and           the same                the same                the same
                       TimeoutError of it
    =================  ======================  ======================  ======================  ========================

The last three are edges: each counts in `cancelling()`; a group and a timeout take their request back, the caller of
`task.cancel()` does not.  An edge that comes from inside a shield, of a timeout or a group within it, is not held back
by that shield (`SHIELDS`), only by those further in.  To the task itself a request that is held does not count yet: so
no timeout and no group inside, of whatever make, takes it for its own.  `asyncio.shield` ends its caller's wait as any
future does; what it shields is a task of the root group, which none of this reaches.

When an edge is raised:

    not begun                the body never runs                            (a scope: the first await is interrupted)
    waiting for a future     the future is cancelled; what it then raises   (a scope: `Cancelled` in its place)
    parked in a lot          taken out of it
    parked in a native wait  the wait is aborted
    queued, woken            at the await; the result is lost, as in asyncio   (a scope: the result comes first)
    queued by sleep(0)       at the sleep
    running                  at the next await, in whichever dialect

`Cancelled`, which scopes raise here, is both `nursery.Cancelled` and `asyncio.CancelledError`: the scope absorbs it,
and library code that catches asyncio's class cleans up.  "Once" holds for the task, in whichever dialect it was
told first (`delivered`, kept by the kernel too): after that its asyncio awaits work, so that
`finally: await connection.close()` does, while native cancel points go on raising until the scope is left.  A scope
cancelled later interrupts again, and so does an edge.

An edge goes before a scope: it is aimed at the whole task, from outside all its scopes.  `uncancel()` back to zero
drops an edge that was not raised yet.  An edge that passes through a native nursery comes out bare, as out of an
asyncio.TaskGroup; if a child failed meanwhile the group comes out, and the edge is raised at the next await.

A task of asyncio's own class (ctasks.py) makes its exceptions itself: in an asyncio await a scope raises asyncio's own
CancelledError there, and no shield holds back an edge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

import outcome

from ..kernel import errors, traps
from ..kernel.scope import CLOSED, CancelScope, cancelled_scope_around, newest_cancellation_around
from ..kernel.task import FOREIGN_SLOTS
from ..kernel.task import Task as KernelTask
from ..kernel.traps import Abort, RaiseCancel, not_abortable
from .rare import leave_unset

if TYPE_CHECKING:
    from types import CodeType


# The key under which a run keeps how many seconds code may wait on that swallowed a cancellation; nothing by default.
INSIST: Final = object()


class Cancelled(errors.Cancelled, asyncio.CancelledError, _kernel=True):
    """What a cancelled scope raises under compat: at home in both dialects."""


# The shields around whoever runs, innermost first: what is begun inside one (a timer, a task, a callback) knows by its
# context where it comes from.
if TYPE_CHECKING:
    Shields: TypeAlias = "tuple[CancelScope, Shields] | None"
    ShieldedEdge: TypeAlias = tuple[Shields, object, bool]
SHIELDS: Final[ContextVar[Shields]] = ContextVar("nursery.compat.SHIELDS", default=None)

# The generators of the kernel in which a native wait stands.
NATIVE_TRAPS: Final[frozenset[CodeType]] = frozenset(
    trap.__code__
    for trap in (traps.bare_yield, traps.park, traps._detach, traps._lend, traps._give_back)
)


def is_among(scope: CancelScope, shields: Shields) -> bool:
    """Return whether a scope is one of these shields."""
    while shields is not None:
        if shields[0] is scope:
            return True
        shields = shields[1]
    return False


def depth(shields: Shields) -> int:
    """Return how many shields these are."""
    count = 0
    while shields is not None:
        count += 1
        shields = shields[1]
    return count


def is_edge(error: BaseException | None) -> bool:
    """Return whether `error` is a cancellation by Task.cancel(), not by a scope."""
    return isinstance(error, asyncio.CancelledError) and not isinstance(error, errors.Cancelled)


def abort_place(task: KernelTask, raise_cancel: RaiseCancel) -> Abort:
    """Mark a task that waits in a place of the facade (its `custom_sleep_data`); never called, as `abort_await`."""
    return Abort.FAILED


def abort_await(task: KernelTask, raise_cancel: RaiseCancel) -> Abort:
    """Mark a task that waits for a future; never called, since `deliver` below asks the future itself."""
    return Abort.FAILED


def slots_named(first: int, count: int) -> tuple[Any, ...]:
    """Return `count` of the slots that the kernel's task has for a dialect, to be given names in a class."""
    return tuple(KernelTask.__dict__[slot] for slot in FOREIGN_SLOTS[first : first + count])


def ended_by_cancellation(future: asyncio.Future[Any]) -> bool:
    """Return whether awaiting `future` raises a cancellation."""
    # gather() among others ends with a CancelledError without being "cancelled".
    return future.cancelled() or (future.done() and isinstance(future.exception(), asyncio.CancelledError))


class CancellableTask(KernelTask):
    """A kernel task that both kinds of cancellation reach.

    `awaits` is the future that the task waits for, until the task is stepped; `_must_cancel` an edge that is due,
    `_cancel_message` its message.  `_edges` are those that a shield has to do with: with each the shields around
    whoever asked, its message, and whether one of the task's other shields has held it back.  Libraries take a
    `_must_cancel` to mean that the task is about to be interrupted, so what is held back is not there.
    """

    if TYPE_CHECKING:
        __slots__ = (
            "_asked",
            "_asked_by_edge",
            "_cancel_message",
            "_edges",
            "_must_cancel",
            "_num_cancels",
            "awaits",
            "resends",
        )
    else:
        # No slots of its own: a native task can become one of these.
        __slots__ = ()
        _asked, _cancel_message, _must_cancel, _num_cancels, awaits, resends = slots_named(0, 6)
        _edges, _asked_by_edge = slots_named(16, 2)

    awaits: asyncio.Future[Any] | None
    resends: bool
    # Which future was cancelled for a scope, or for an edge.
    _asked: asyncio.Future[Any] | None
    # Its id: a reference would keep what it holds.
    _asked_by_edge: int
    _must_cancel: bool
    _edges: tuple[ShieldedEdge, ...]
    _num_cancels: int
    _cancel_message: object

    # The edge

    def request_cancel(self, msg: object, shields: Shields = None) -> None:
        """Interrupt the task once; the caller has seen that it has not ended.

        Arguments: shields are those around whoever asks.
        """
        self._num_cancels += 1
        if self.edge_is_held():
            if self.edge_is_held(shields):
                self._edges = (*self._edges, (shields, msg, True))
                return
            inside = True
        else:
            inside = False
        awaits = self.awaits
        if awaits is not None and (awaits.cancel(msg=msg) or ended_by_cancellation(awaits)):
            if self.resends and self._asked is awaits:
                # What is on its way is a scope's, and the scope would absorb it: this one goes first (`send_answer`).
                self._must_cancel = True
                self._cancel_message = msg
                return
            # The future wakes the task with the cancellation; one that is on its way already stands for this one too.
            self._asked_by_edge = id(awaits)
            return
        if self.abort is abort_place and not self.runner.ki_pending:
            # What `refresh` would come to: 3 of 8 us.
            self._interrupt_in_place(asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg))
            return
        if inside:
            self._edges = (*self._edges, (shields, msg, False))
        else:
            self._must_cancel = True
            self._cancel_message = msg
        self.refresh()

    def take_back_cancel(self) -> int:
        """Count one request less; when none is left but those that are held, drop an edge that was not raised."""
        if self._num_cancels > 0:
            self._num_cancels -= 1
            if self._num_cancels == 0 and (self._must_cancel or self._edges):
                self._must_cancel = False
                self._edges = ()
                self.refresh()
            elif self._num_cancels < len(self._edges):
                # The innermost one is who takes its request back.
                dropped = max(self._edges, key=lambda edge: depth(edge[0]))
                self._edges = tuple(edge for edge in self._edges if edge is not dropped)
                self.refresh()
        return self.count_cancels()

    @property
    def _held(self) -> int:
        """How many requests shields have held back, and were not raised yet."""
        return sum(held for _, _, held in self._edges)

    def count_cancels(self) -> int:
        """Return how many requests there are; to the task itself, without those that a shield holds back."""
        count = self._num_cancels
        if count and self._edges and self.runner.current is self:
            return count - self._held
        return count

    def edge_is_due(self) -> bool:
        """Return whether there is an edge to raise, and no shield holds it back."""
        return self._must_cancel or not all(self.edge_is_held(edge[0]) for edge in self._edges)

    def edge_is_held(self, shields: Shields = None) -> bool:
        """Return whether a shield of the task's own stands between it and an edge from inside of these."""
        scope = self.scope
        nursery = self.parent_nursery
        outermost = None if nursery is None else nursery.cancel_scope
        while scope is not outermost and scope is not None:
            if scope._abandoned:
                return False
            if scope._shield:
                return not is_among(scope, shields)
            scope = scope._parent
        return False

    def entered_shield(self, scope: CancelScope) -> None:
        """Let whatever is begun inside the shield know that it is: a timeout there is to interrupt the task."""
        around = self.context.get(SHIELDS) if self.runner.current is not self else SHIELDS.get()
        while around is not None and around[0]._state == CLOSED:
            around = around[1]
        self._set_shields((scope, around))
        if self._must_cancel:
            # It was asked for outside.
            self._must_cancel = False
            self._edges = (*self._edges, (around, self._cancel_message, True))

    def note_shields(self) -> None:
        """Catch up with the shields that were entered before a loop was opened in the run."""
        own: list[CancelScope] = []
        scope = self.scope
        while scope is not None:
            if scope._shield and scope._task is self:
                own.append(scope)
            scope = scope._parent
        shields: Shields = None
        for scope in reversed(own):
            shields = scope, shields
        if shields is not None:
            self._set_shields(shields)

    def _set_shields(self, shields: Shields) -> None:
        if self.runner.current is self:
            SHIELDS.set(shields)
        else:
            self.context.run(SHIELDS.set, shields)

    def raise_later(self, msg: object) -> None:
        """Let an edge be raised again, at the next await: something else went before it."""
        if self.edge_is_held():
            self._edges = (*self._edges, (SHIELDS.get(), msg, False))
        else:
            self._must_cancel = True
            self._cancel_message = msg
        self.refresh()

    def raise_edge(self) -> NoReturn:
        """Raise the pending edge."""
        raise self.take_edge()

    def due_message(self) -> object:
        """Return the message of the edge that is due."""
        if self._must_cancel:
            return self._cancel_message
        return next((msg for shields, msg, _ in self._edges if not self.edge_is_held(shields)), None)

    def drop_due_edges(self) -> None:
        """Count as raised what may be raised now: all but what a shield holds back."""
        if self._edges:
            self._edges = tuple(edge for edge in self._edges if self.edge_is_held(edge[0]))
        self._must_cancel = False
        self._cancel_message = None

    def take_edge(self) -> asyncio.CancelledError:
        """Return the pending edge as the exception to raise; it counts as raised."""
        message = self.due_message()
        self.drop_due_edges()
        # Not `refresh`, which would deliver a scope's cancellation to a task that is on its way with this one.
        self.alert = self.is_interrupted() or self.count is not None
        return asyncio.CancelledError() if message is None else asyncio.CancelledError(message)

    # What the kernel asks

    def is_interrupted(self) -> bool:
        """Return whether the next native cancel point will raise."""
        return self.edge_is_due() or KernelTask.is_interrupted(self)

    def interruption(self) -> RaiseCancel | None:
        """Return what raises the interruption that comes first in a native wait."""
        if self.has_keyboard_interrupt():
            return self.runner.raise_keyboard_interrupt
        if self.edge_is_due():
            return self.raise_edge
        return KernelTask.interruption(self)

    def has_keyboard_interrupt(self) -> bool:
        """Return whether Ctrl-C is to be raised in this task: the main task of a native run in which a loop is open."""
        return self.runner.ki_pending and self is self.runner.main_task

    def refresh(self) -> None:
        """Make `alert` true to the facts again; if the task does not run, interrupt it where that is due now."""
        if not self.is_interrupted():
            self.alert = self.count is not None
            return
        self.alert = True
        if self.abort is None:
            if self.runner.current is not self and not self.ended:
                self.interrupt_queued()
        elif self.abort is not not_abortable:
            self.deliver()

    def deliver(self) -> None:
        """Interrupt a waiting task if something is pending."""
        if self.abort is abort_place:
            self.deliver_in_place()
            return
        if self.abort is not abort_await:
            KernelTask.deliver(self)
            return
        awaits = self.awaits
        assert awaits is not None
        if self.has_keyboard_interrupt():
            if awaits.cancel():
                self._asked = awaits
                self.send_next(self.send_answer)
        elif self.edge_is_due():
            if awaits.cancel(msg=self.due_message()):
                self.drop_due_edges()
                self.alert = self.is_interrupted() or self.count is not None
        elif newest_cancellation_around(self.scope) > self.delivered:
            # A future that cannot be cancelled is done: its result comes first, the next await is interrupted.
            serial = self.runner.cancel_serial
            if awaits.cancel():
                self.delivered = serial
                self._asked = awaits
                self.send_next(self.send_answer)

    def deliver_in_place(self) -> None:
        """Interrupt a task that waits for an object of the facade, by the rule for futures."""
        error: BaseException
        if self.has_keyboard_interrupt():
            error = outcome.capture(self.runner.raise_keyboard_interrupt).error
        elif self.edge_is_due():
            error = self.take_edge()
        elif newest_cancellation_around(self.scope) > self.delivered:
            error = self.level_error()
        else:
            return
        self._interrupt_in_place(error)

    def _interrupt_in_place(self, error: BaseException) -> None:
        self.custom_sleep_data.withdraw(self)
        self.abort = None
        self.outcome = outcome.Error(error)
        self.runner.queue.append(self)

    # Throwing into asyncio code

    def send_next(self, send: Callable[[None], object]) -> None:
        """Exchange the slot that the next step calls."""
        self.send = send
        self.resends = True

    def interrupt_queued(self) -> None:
        """Let the next step throw, if the task would resume in asyncio code and may be interrupted there."""
        if self.resends:
            return
        on_its_way = self.outcome.error if isinstance(self.outcome, outcome.Error) else None
        if on_its_way is not None and is_edge(on_its_way):
            # Interrupted where it waited, and not stepped since: that one stands for this one too, as with a future.
            if self.edge_is_due():
                self.drop_due_edges()
                self.alert = self.is_interrupted() or self.count is not None
            return
        if self.will_resume_in_a_trap():
            return
        if on_its_way is not None:
            # A scope's; the request goes first, and the scope counts as told.
            if self.edge_is_due() and isinstance(on_its_way, errors.Cancelled):
                self.outcome = outcome.Error(self.take_edge())
        elif self.edge_is_due():
            self.send_next(self.send_edge)
        elif (
            self.awaits is None
            # Woken in a place: the turn it was given comes first, as a future's result does.
            and not getattr(self.custom_sleep_data, "is_place", False)
            and newest_cancellation_around(self.scope) > self.delivered
            and getattr(self.coro, "cr_suspended", True)
        ):
            self.send_next(self.send_level)

    def will_resume_in_a_trap(self) -> bool:
        """Return whether the innermost frame is one of the kernel's traps, which sees to interruptions itself."""
        innermost = None
        for frame, _line in self.iter_await_frames():
            innermost = frame
        return innermost is not None and innermost.f_code in NATIVE_TRAPS

    def send_edge(self, nothing: None) -> object:
        """Throw the pending edge, unless it was taken back."""
        self.send = self.coro.send
        self.resends = False
        if self.edge_is_due():
            return self.coro.throw(self.take_edge())
        return self.coro.send(None)

    def send_level(self, nothing: None) -> object:
        """Throw the cancellation of a scope at a bare yield, unless the task was told in the meantime."""
        self.send = self.coro.send
        self.resends = False
        if newest_cancellation_around(self.scope) > self.delivered:
            return self.coro.throw(self.level_error())
        return self.coro.send(None)

    def send_answer(self, nothing: None) -> object:
        """Throw the cancellation of a scope at an await whose future was cancelled for it; a result goes first."""
        self.send = self.coro.send
        self.resends = False
        asked, self._asked = self._asked, None
        assert asked is not None
        if self.has_keyboard_interrupt():
            return self.coro.throw(outcome.capture(self.runner.raise_keyboard_interrupt).error)
        if ended_by_cancellation(asked):
            if self.edge_is_due():
                return self.coro.throw(self.take_edge())
            if id(asked) != self._asked_by_edge or self._num_cancels <= self._held:
                return self.coro.throw(self.level_error())
            # An edge had asked it before, which leaves the scope as well: the future raises that.
        if self.edge_is_due():
            self.alert = True
        return self.coro.send(None)

    def level_error(self) -> errors.Cancelled:
        """Return the exception of the nearest cancelled scope; the task counts as told."""
        runner = self.runner
        self.delivered = runner.cancel_serial
        scope = cancelled_scope_around(self.scope)
        why = errors.UNKNOWN_REASON if scope is None else scope.why()
        if scope is not None:
            insist = runner.locals.get(INSIST)
            if insist is not None:
                Reminder(self, scope).set(insist)  # type: ignore[arg-type]  # seconds: what the loop put there
        return runner.cancelled_class._create(why)

    def bare_yielded(self) -> None:
        """Look at an alerted task that has just yielded None: native traps look themselves, asyncio's do not."""
        self.interrupt_queued()

    # Leaving native blocks: see the functions below

    def stands_for_cancelled(self, error: BaseException, scope: CancelScope) -> bool:
        """Return whether a scope that was cancelled may absorb `error`."""
        return stands_for_cancelled(self, self._num_cancels - self._held, error, scope)

    def combine_errors(self, errors_: list[BaseException]) -> BaseException:
        """Return what leaves a native nursery of this task."""
        edge, rest = part_with_edge(errors_)
        if edge is None:
            return KernelTask.combine_errors(self, errors_)
        if not rest:
            return edge
        if self._num_cancels > self._held:
            # Not lost, only later: the failure goes first.
            self.raise_later(edge.args[0] if edge.args else None)
        return KernelTask.combine_errors(self, rest)


def stands_for_cancelled(task: KernelTask, num_cancels: int, error: BaseException, scope: CancelScope) -> bool:
    """Return whether a scope that was cancelled may absorb `error`, a cancellation of asyncio's class.

    Library code may answer a scope's `Cancelled` with a CancelledError of its own (3.11's Condition.wait for one), and
    a task of asyncio's class is told of a scope by one.  It is the scope's if the task was told and nobody has asked
    for an edge; and not if it is what the nursery of this scope was cancelled for.
    """
    reason = scope._reason
    return (
        is_edge(error)
        and num_cancels == 0
        and 0 < scope._serial <= task.delivered
        and (reason is None or reason.source != "nursery")
    )


def part_with_edge(errors_: list[BaseException]) -> tuple[BaseException | None, list[BaseException]]:
    """Return the edge among the errors of a nursery, and the errors that go before it: none if nothing failed."""
    edge: BaseException | None = None
    others: list[BaseException] = []
    failed = False
    for error in errors_:
        if is_edge(error):
            edge = edge or error
        else:
            others.append(error)
            if not isinstance(error, errors.Cancelled):
                failed = failed or not isinstance(error, BaseExceptionGroup) or bool(error.split(errors.Cancelled)[1])
    return edge, others if failed else []


class Reminder:
    """Interrupts a task again that was told of a scope's cancellation, and is still inside after a while."""

    __slots__ = ("_scope", "_seconds", "_task")

    _seconds: float

    def __init__(self, task: CancellableTask, scope: CancelScope) -> None:
        self._task = task
        self._scope = scope

    def set(self, seconds: float) -> None:
        """Be due in `seconds` of the run's clock."""
        self._seconds = seconds
        runner = self._task.runner
        runner.deadlines.add(self, runner.now() + seconds)

    def expire(self) -> None:
        """Let the cancellation count as new, if the task has not left the scope; called by the deadlines."""
        task = self._task
        if task.ended or cancelled_scope_around(task.scope) is not self._scope:
            return
        if task.delivered == task.runner.cancel_serial or task.delivered >= self._scope._serial:
            task.delivered = 0
        if task.abort is None:
            # On its way: asked again later.
            self.set(self._seconds)
        else:
            # It is told, which sets the next reminder.
            task.refresh()


leave_unset(CancellableTask, _asked=None, _cancel_message=None)
