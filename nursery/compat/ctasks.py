"""Tasks of asyncio's own class as citizens: libraries make them by hand, and code inside them awaits native things.

Invariant: a C task has at most one record, a kernel task made at its first native trap.  The record is stepped by the
kernel like any other, but its step does not run code: it resolves the future that the C task awaits, which schedules
the C task's own step.  While the C task is in a native wait, its `_fut_waiter` is that future, so `task.cancel()` finds
it, and asks the native wait.

What does not reach a C task yet: a cancelled scope while it waits in an asyncio await (in a native wait it does, and at
the next native cancel point).
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, NoReturn
from weakref import WeakKeyDictionary

from ..kernel.errors import not_in_a_run
from ..kernel.runner import Runner
from ..kernel.task import Task as KernelTask
from ..kernel.traps import PARK, Signal

if TYPE_CHECKING:
    from .loop.state import LoopState

# A record does not refer to its task, so that the task can be freed.
_records: Final[WeakKeyDictionary[asyncio.Task[Any], Record]] = WeakKeyDictionary()


class NativeWait(asyncio.Future[None]):
    """What a C task awaits while the kernel has it parked.

    To cancel it is to ask the native wait: one that cannot be interrupted goes on, and the C task keeps the edge for
    its next await.
    """

    def __init__(self, record: Record, loop: LoopState) -> None:
        super().__init__(loop=loop)
        self._record = record
        # What a coroutine yields has said that it blocks.
        self._asyncio_future_blocking = True

    def cancel(self, msg: object = None) -> bool:
        """Ask the native wait whether it can be interrupted."""
        return not self.done() and self._record.interrupt(msg)


class Record(KernelTask):
    """The kernel's view of one C task."""

    __slots__ = ("_edge", "_waits", "loop")

    def __init__(self, loop: LoopState, ctask: asyncio.Task[Any]) -> None:
        coro: Any = ctask.get_coro()
        runner: Runner = loop.runner
        super().__init__(runner, coro, copy_context(), None, ctask.get_name())
        self.loop = loop
        self.scope = loop.root_group.cancel_scope
        self._waits: NativeWait | None = None
        self._edge: asyncio.CancelledError | None = None
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
        if waits is not None and not waits.done():
            waits.set_result(None)
        return PARK

    def interrupt(self, msg: object) -> bool:
        """Be told of an edge while the C task is parked; return whether the native wait will raise it."""
        self._edge = asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)
        self.deliver()
        taken = self._edge is None
        self._edge = None
        return taken

    def interruption(self) -> Any:
        """Return what raises the interruption that comes first."""
        return KernelTask.interruption(self) if self._edge is None else self._raise_edge

    def _raise_edge(self) -> NoReturn:
        edge, self._edge = self._edge, None
        assert edge is not None
        raise edge

    def _ended(self, ctask: asyncio.Task[Any]) -> None:
        """Clear up what an untidy C task leaves."""
        _records.pop(ctask, None)
        self.ended = True
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
    ctask = None if loop is None else asyncio.current_task(loop)
    if ctask is None:
        not_in_a_run()
    record = _records.get(ctask)
    if record is None:
        _records[ctask] = record = Record(loop, ctask)
    return record
