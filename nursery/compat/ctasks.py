"""Tasks of asyncio's own class as citizens: libraries make them by hand, and code inside them awaits native things.

Invariant: a C task has at most one record, a kernel task made at its first native trap.  The record is stepped by the
kernel like any other, but its step does not run code: it resolves the future that the C task awaits, which schedules
the C task's own step.  While the C task is in a native wait, its `_fut_waiter` is that future, so `task.cancel()` finds
it, and asks the native wait.

A scope that is cancelled while the C task is in an asyncio await cancels the future that it awaits, once, as in a
task of ours.  What is raised there is asyncio's own CancelledError, since the C task makes it; the scope absorbs it if
nobody has called `task.cancel()` (`stands_for_cancelled`).
"""

from __future__ import annotations

import asyncio
import weakref
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, NoReturn
from weakref import WeakKeyDictionary

import outcome

from ..kernel.errors import not_in_a_run
from ..kernel.runner import Runner
from ..kernel.scope import CancelScope, newest_cancellation_around
from ..kernel.task import Task as KernelTask
from ..kernel.traps import PARK, Signal
from .cancellation import is_edge, part_with_edge, stands_for_cancelled
from .task import Task, close_what_was_left_open

if TYPE_CHECKING:
    from .loop.state import LoopState

# A record does not refer to its task, so that the task can be freed.
_records: Final[WeakKeyDictionary[asyncio.Task[Any], Record]] = WeakKeyDictionary()


# How many turns a C task may do nothing but yield before a cancelled scope interrupts it there.
PATIENCE: Final = 3


class NativeWait(asyncio.Future[None]):
    """What a C task awaits while the kernel has it parked.

    To cancel it is to ask the native wait.  One that cannot be interrupted goes on, and so does one that is over: they
    must not be left by an exception, which the C task would throw if it kept the edge by itself.  So the answer is yes,
    and the C task is asked again as soon as it goes on, for its next await.
    """

    def __init__(self, record: Record, loop: LoopState) -> None:
        super().__init__(loop=loop)
        self._record = record
        # What a coroutine yields has said that it blocks.
        self._asyncio_future_blocking = True

    def cancel(self, msg: object = None) -> bool:
        """Ask the native wait; return whether the C task still waits for this."""
        ctask: Any = self._record._ctask()
        if self.done() and (ctask is None or ctask._fut_waiter is not self):
            return False
        self._record.interrupt(msg)
        return True


class Record(KernelTask):
    """The kernel's view of one C task."""

    __slots__ = ("_borrowed", "_ctask", "_edge", "_looks", "_postponed", "_waits", "loop")

    def __init__(self, loop: LoopState, ctask: asyncio.Task[Any]) -> None:
        coro: Any = ctask.get_coro()
        runner: Runner = loop.runner
        super().__init__(runner, coro, copy_context(), None, ctask.get_name())
        self.loop = loop
        self.scope = loop.root_group.cancel_scope
        self._waits: NativeWait | None = None
        self._edge: asyncio.CancelledError | None = None
        # The message of an edge that the native wait did not raise.
        self._postponed: tuple[object] | None = None
        self._ctask = weakref.ref(ctask)
        # Whether `_look` is in the queue; and how many edges were asked for on behalf of a scope.
        self._looks = False
        self._borrowed = 0
        self.send = self._step
        ctask.add_done_callback(self._ended)

    @property
    def park_signal(self) -> Signal:  # type: ignore[override]  # the trap yields it to the C task, which wants a future
        """A future for the C task to wait for, until the kernel steps this record."""
        waits: Any = NativeWait(self, self.loop)
        self._waits = waits
        return waits  # type: ignore[no-any-return]  # see above

    def _step(self, nothing: None) -> object:
        """Let the C task go on."""
        waits, self._waits = self._waits, None
        self.runner.current = None
        if self._postponed is not None and self.outcome is None:
            self.outcome = outcome.Value(None)
        if waits is not None and not waits.done():
            waits.set_result(None)
        return PARK

    def interrupt(self, msg: object) -> None:
        """Be told of an edge while the C task waits: the native wait raises it, or `take_outcome` asks for it again."""
        if self.abort is not None:
            self._edge = asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)
            self.deliver()
            taken = self._edge is None
            self._edge = None
            if taken:
                return
        elif isinstance(self.outcome, outcome.Error) and is_edge(self.outcome.error):
            # The one that is on its way stands for this one too.
            return
        elif self.outcome is None:
            # Woken already: so that it is looked at.
            self.outcome = outcome.Value(None)
        self._postponed = (msg,)

    def take_outcome(self) -> Any:
        """Return the value or raise the error that the waker left; an edge that is left comes at the next await."""
        postponed, self._postponed = self._postponed, None
        ctask = self._ctask()
        if postponed is not None and ctask is not None and ctask.cancelling():
            # It is being stepped, so this waits for its next await; and it is counted already.
            ctask.cancel(postponed[0])
            ctask.uncancel()
        return KernelTask.take_outcome(self)

    def interruption(self) -> Any:
        """Return what raises the interruption that comes first."""
        return KernelTask.interruption(self) if self._edge is None else self._raise_edge

    def _raise_edge(self) -> NoReturn:
        edge, self._edge = self._edge, None
        assert edge is not None
        raise edge

    # Scopes

    def refresh(self) -> None:
        """Make `alert` true to the facts again, and interrupt the C task where it waits."""
        KernelTask.refresh(self)
        if self.alert and self.abort is None and not self._looks and self._has_news():
            self._looks = True
            # Not at once: it may be running, or be woken already, and what it was woken for comes first.
            self.loop.call_soon(self._look, 0)

    def _has_news(self) -> bool:
        return newest_cancellation_around(self.scope) > self.delivered

    def _look(self, vain: int) -> None:
        """Tell the C task of a cancelled scope, as soon as it waits for a future."""
        self._looks = False
        ctask = self._ctask()
        if ctask is None or ctask.done() or self.abort is not None or not self._has_news():
            return
        serial = self.runner.cancel_serial
        awaits: Any = ctask._fut_waiter  # type: ignore[attr-defined]  # not in typeshed
        if awaits is not None and not awaits.done():
            self.delivered = serial
            awaits.cancel()
            return
        if vain >= PATIENCE:
            # It does nothing but yield: an edge is the one thing that reaches it.  It is given back by the scope.
            self.delivered = serial
            self._borrowed += 1
            ctask.cancel()
            return
        self._looks = True
        self.loop.call_soon(self._look, vain + (awaits is None))

    def stands_for_cancelled(self, error: BaseException, scope: CancelScope) -> bool:
        """Return whether a scope that was cancelled may absorb `error`."""
        ctask = self._ctask()
        if ctask is None or not stands_for_cancelled(self, ctask.cancelling() - self._borrowed, error, scope):
            return False
        while self._borrowed:
            self._borrowed -= 1
            ctask.uncancel()
        return True

    def combine_errors(self, errors_: list[BaseException]) -> BaseException:
        """Return what leaves a native nursery of this task."""
        edge, rest = part_with_edge(errors_)
        if edge is None:
            return KernelTask.combine_errors(self, errors_)
        if not rest:
            return edge
        ctask = self._ctask()
        if ctask is not None and ctask.cancelling():
            # Not lost, only later: the failure goes first.
            ctask.cancel(edge.args[0] if edge.args else None)
            ctask.uncancel()
        return KernelTask.combine_errors(self, rest)

    def _ended(self, ctask: asyncio.Task[Any]) -> None:
        """Clear up what an untidy C task leaves."""
        _records.pop(ctask, None)
        self.ended = True
        close_what_was_left_open(self, self.loop, ctask)
        scope = self.scope
        while scope is not None and scope is not self.loop.root_group.cancel_scope:
            scope.drop()
            scope = scope._parent
        if self.breaks is not None:
            lots, self.breaks = self.breaks, None
            for lot in lots:
                lot.break_lot(self)


def record_of_current() -> KernelTask:
    """Return the record of the C task being stepped (the kernel's fourth door); RuntimeError if there is none."""
    loop: Any = asyncio._get_running_loop()
    running = None if loop is None else asyncio.current_task(loop)
    if running is None:
        not_in_a_run()
    ours: Any = running
    if type(ours) is Task:
        # One of ours, in whose step `is_running` was called.
        loop.runner.current = ours
        return ours
    record = _records.get(running)
    if record is None:
        _records[running] = record = Record(loop, running)
    return record
