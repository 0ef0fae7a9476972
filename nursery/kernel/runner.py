"""The state of one run, and the changes to it that need more than one of its parts.

Invariant: a Runner belongs to one thread.  Its task tree hangs below `root_task`:

    root task
      inbox nursery       the task that makes calls from outside; ends last
        system nursery    system tasks; cancelled when the main task has ended
          main nursery    the main task

How it is driven is not known here: loop.py has the three pieces, entry.py, guest.py and foreign loops the drivers.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass
from math import inf
from threading import get_ident
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVarTuple

import outcome

from . import foreign, traps
from .clock import Clock, SystemClock
from .closing import OptedIn
from .current import current_runner, current_task
from .deadlines import Deadlines
from .errors import Cancelled, CancelReason, InternalError
from .generators import AsyncGenerators
from .idle import IdleWaiters
from .inbox import Inbox, RunToken
from .instruments import Instrument, Instruments
from .interrupts import InterruptHandler
from .io import make_driver
from .nursery import Nursery, open_nursery, start_task
from .scope import cancelled_scope_around
from .task import Task
from .traps import Abort, RaiseCancel, park

if TYPE_CHECKING:
    from .foreign import Runnable
    from .io.interest import IOStatistics

Ts = TypeVarTuple("Ts")


class Batch(Protocol):
    """Runs what is in the queue now: one of the loops of loop.py, or a foreign one."""

    def __call__(self, runner: Runner) -> None: ...


class RunQueue(deque["Runnable"]):
    """First in, first out: tasks ready to step, and callbacks ready to run."""

    __slots__ = ("runner",)
    runner: Runner


class WatchedQueue(RunQueue):
    """The run queue while someone wants to know of every wake-up: instruments, or the host of a guest run.

    A run changes between the two classes by assigning `__class__`, so that the plain one has no hook at all.
    """

    __slots__ = ()

    def append(self, item: Runnable) -> None:
        super().append(item)
        runner = self.runner
        if runner.instruments is not None and isinstance(item, Task):
            runner.instruments.call("task_scheduled", item)
        if runner.wake_host is not None:
            runner.wake_host()


class BatchEnd(Exception):
    """Raised by the item that ends a batch early; never leaves the loop."""


class _EndOfBatch:
    """Put at the head of the queue, it makes the loop return after the step under way."""

    __slots__ = ()

    def send(self, nothing: None) -> None:
        """Stand where a task has its coroutine's send."""

    @property
    def context(self) -> _EndOfBatch:
        """Stand where a task has its context."""
        return self

    def run(self, send: object, nothing: None) -> NoReturn:
        raise BatchEnd


END_OF_BATCH: Runnable = _EndOfBatch()


@dataclass(frozen=True, slots=True)
class RunStatistics:
    """A snapshot of a run (trio's `RunStatistics`).

    `seconds_to_next_deadline` is negative if one is overdue, inf if there is none.
    """

    tasks_living: int
    tasks_runnable: int
    seconds_to_next_deadline: float
    io_statistics: IOStatistics
    run_sync_soon_queue_size: int


class Runner:
    """One run of the kernel."""

    __slots__ = (
        "autojump_clock",
        "autojump_threshold",
        "batch",
        "cancel_serial",
        "cancelled_class",
        "clock",
        "current",
        "deadlines",
        "debug",
        "dialect",
        "failure",
        "finished",
        "foreign_await",
        "generators",
        "give_way_at",
        "idle",
        "inbox",
        "instruments",
        "interrupt_handler",
        "io",
        "ki_pending",
        "locals",
        "main_outcome",
        "main_task",
        "now",
        "opted_in",
        "orphanages",
        "permute",
        "queue",
        "root_task",
        "shutdown_waiter",
        "steps_until_poll",
        "system_context",
        "system_nursery",
        "task_class",
        "task_outside_step",
        "thread",
        "token",
        "traced_step",
        "wake_host",
    )

    def __init__(
        self,
        batch: Batch,
        clock: Clock | None = None,
        instruments: Sequence[Instrument] = (),
        debug: bool = False,
    ) -> None:
        # First what may be refused, then what holds descriptors.
        self.instruments: Instruments | None = Instruments(instruments) if instruments else None
        self.thread = get_ident()
        self.clock: Clock = SystemClock() if clock is None else clock
        self.now = self.clock.current_time
        self.queue = RunQueue()
        self.queue.runner = self
        self.current: Task | None = None
        self.batch = batch
        self.steps_until_poll = 0
        # When a busy loop next lets other threads have the interpreter.
        self.give_way_at = 0.0
        self.deadlines = Deadlines()
        self.io = make_driver(self.queue)
        try:
            self.inbox = Inbox()
        except BaseException:
            self.io.close()
            raise
        self.io.listen(self.inbox.bell.read, self.inbox.listen)
        self.idle = IdleWaiters()
        self.token: RunToken | None = None
        self.generators = AsyncGenerators(self)
        self.interrupt_handler = InterruptHandler()
        self.traced_step: Task | None = None
        self.permute: Callable[[deque[Runnable]], None] | None = None
        self.debug = debug
        self.locals: dict[object, object] = {}
        self.autojump_threshold = inf
        self.autojump_clock: Callable[[], None] | None = None
        # Cancellation, and what comes before it
        self.cancel_serial = 0
        self.opted_in = OptedIn()
        self.ki_pending = False
        # The four doors of foreign.py
        self.cancelled_class: type[Cancelled] = Cancelled
        self.foreign_await: Callable[[Task, object], None] = foreign.reject_foreign
        self.task_outside_step: Callable[[], Task] = foreign.no_task_outside_step
        self.task_class: type[Task] = Task
        # For the dialect to keep, where its flat paths find it.
        self.dialect: Any = None
        # Guest mode: tells the host that there is something to do.
        self.wake_host: Callable[[], None] | None = None
        # The tree
        self.system_context: Context = copy_context()
        self.root_task: Task | None = None
        self.main_task: Task | None = None
        self.main_outcome: outcome.Outcome[Any] | None = None
        self.system_nursery: Nursery | None = None
        self.orphanages: list[Nursery] = []
        self.shutdown_waiter: Task | None = None
        self.failure: InternalError | None = None
        self.finished = False
        if self.instruments is not None:
            self.watch_queue()

    # The life of the tree

    def begin(self, async_fn: Callable[..., Awaitable[object]] | None, args: tuple[object, ...]) -> None:
        """Make the root task; without `async_fn` the run lasts until `end_soon` (a foreign loop does that)."""
        coro = self._root(async_fn, args)
        self.root_task = task = self.task_class(self, coro, self.system_context, None, "<init>")
        task.ki_protected = True
        if self.instruments is not None:
            self.instruments.call("task_spawned", task)
        self.queue.append(task)

    async def _root(self, async_fn: Callable[..., Awaitable[object]] | None, args: tuple[object, ...]) -> None:
        async with open_nursery() as inbox_nursery:
            async with open_nursery() as self.system_nursery:
                async with open_nursery() as main_nursery:
                    if async_fn is None:
                        self._spawn_protected(inbox_nursery, self.inbox.serve, (inbox_nursery,), "<inbox>")
                        await self._until_end_soon()
                    else:
                        try:
                            self.main_task = self.spawn_main(main_nursery, async_fn, args)
                        except BaseException as exc:
                            self.main_outcome = outcome.Error(exc)
                            with self.inbox._lock:
                                self.inbox.closed = True
                            return
                        self._spawn_protected(inbox_nursery, self.inbox.serve, (inbox_nursery,), "<inbox>")
                self.system_nursery.cancel_scope._cancel(
                    CancelReason("shutdown", "main task is done, shutting down system tasks", repr(self.root_task))
                )
            await self.generators.finalise_remaining()
            while self.orphanages:
                await self._until_end_soon()
            inbox_nursery.cancel_scope._cancel(
                CancelReason("shutdown", "main task is done, shutting down run_sync_soon", repr(self.root_task))
            )

    def spawn_main(
        self, nursery: Nursery, async_fn: Callable[..., Awaitable[object]], args: tuple[object, ...]
    ) -> Task:
        """Make the main task, in the context that `run` was called in."""
        return start_task(self, async_fn, args, nursery, async_fn, self.system_context.copy())

    async def _until_end_soon(self) -> None:
        task = current_task()
        self.shutdown_waiter = task
        await park(task, self._abort_end_soon)

    def _abort_end_soon(self, task: Task, raise_cancel: RaiseCancel) -> Abort:
        self.shutdown_waiter = None
        return Abort.SUCCEEDED

    def end_soon(self) -> None:
        """Let a run without a main task begin to end."""
        if self.shutdown_waiter is not None:
            task, self.shutdown_waiter = self.shutdown_waiter, None
            task.wake()

    def check_root(self) -> None:
        """Take note that a task of an abandoned nursery ended: the root waits for the last of them."""
        self.orphanages = [nursery for nursery in self.orphanages if nursery._children]
        if not self.orphanages and self.main_outcome is not None:
            self.end_soon()

    def main_ended(self, final: outcome.Outcome[Any]) -> None:
        """Keep the main task's result; the root shuts the rest down."""
        self.main_outcome = final

    def root_ended(self, error: BaseException | None) -> None:
        """End the run: nothing is left in the tree."""
        self.finished = True
        if error is not None:
            self.fail(f"the root task failed: {error!r}", error)
        self.queue.appendleft(END_OF_BATCH)

    def spawn_system(
        self,
        async_fn: Callable[..., Awaitable[object]],
        args: tuple[object, ...],
        name: object,
        context: Context | None = None,
    ) -> Task:
        """Make a system task."""
        nursery = self.system_nursery
        if nursery is None:
            raise RuntimeError("the run has not begun: it has no place for system tasks yet")
        return self._spawn_protected(nursery, async_fn, args, name, context)

    def _spawn_protected(
        self,
        nursery: Nursery,
        async_fn: Callable[..., Awaitable[object]],
        args: tuple[object, ...],
        name: object,
        context: Context | None = None,
    ) -> Task:
        if context is None:
            context = self.system_context.copy()
        task = start_task(self, async_fn, args, nursery, async_fn if name is None else name, context)
        task.ki_protected = True
        return task

    # Interrupts

    def keyboard_interrupt_arrived(self) -> None:
        """Keep an interrupt for the main task; called in the signal handler."""
        self.ki_pending = True
        if self.main_task is not None:
            # Its next checkpoint need not wait for the inbox; if it sleeps, the call below wakes it.
            self.main_task.alert = True
        if not self.inbox.closed:
            self.inbox.put(self._deliver_keyboard_interrupt, (), False)

    def _deliver_keyboard_interrupt(self) -> None:
        # After the main task's end `run` itself raises it.
        if self.ki_pending and self.main_task is not None and self.main_outcome is None:
            self.main_task.refresh()

    def raise_keyboard_interrupt(self) -> NoReturn:
        """Raise the pending interrupt in the main task."""
        self.ki_pending = False
        if self.main_task is not None:
            self.main_task.refresh()
        raise KeyboardInterrupt

    # Failure and self-check

    def fail(self, message: str, cause: BaseException | None) -> None:
        """Stop the run with an InternalError after the step under way: something that must hold does not."""
        if self.failure is None:
            error = InternalError(f"{message}\n{self.dump()}")
            error.__cause__ = cause
            self.failure = error
        self.queue.appendleft(END_OF_BATCH)

    def check_thread(self, what: str) -> None:
        """Raise RuntimeError in any thread but the run's."""
        if get_ident() != self.thread:
            raise RuntimeError(
                f"{what} must be called in the thread of the run: from another thread use nursery.from_thread, or "
                "RunToken.run_sync_soon"
            )

    def living_tasks(self) -> Iterator[Task]:
        """Yield every task of the tree, parents before children."""
        tasks = [] if self.root_task is None or self.root_task.ended else [self.root_task]
        for nursery in self.orphanages:
            tasks.extend(nursery._children)
        for task in tasks:
            yield task
            for nursery in task._nurseries or ():
                tasks.extend(nursery._children)

    def statistics(self) -> RunStatistics:
        """Return a snapshot for debugging."""
        return RunStatistics(
            tasks_living=sum(1 for _ in self.living_tasks()),
            tasks_runnable=sum(1 for item in tuple(self.queue) if isinstance(item, Task)),
            seconds_to_next_deadline=self.deadlines.next_deadline() - self.now(),
            io_statistics=self.io.statistics(),
            run_sync_soon_queue_size=len(self.inbox),
        )

    def dump(self) -> str:
        """Return the state of the run as text, for error messages."""
        lines = [
            "state of the run:",
            f"  running: {self.current!r}; main ended: {self.main_outcome!r}; finished: {self.finished}",
            f"  queue: {len(self.queue)} runnable, {len(self.deadlines)} deadlines, {self.io.statistics()}",
            "  tasks:",
        ]
        try:
            runnable = {id(item) for item in tuple(self.queue)}
            depth: dict[Task | None, int] = {None: 1}
            for task in self.living_tasks():
                parent = None if task.parent_nursery is None else task.parent_nursery._parent_task
                depth[task] = depth.get(parent, 1) + 1
                where = "parked" if task.abort is not None else "queued" if id(task) in runnable else "running"
                flags = " alert" if task.alert else ""
                indent = "  " * depth[task]
                lines.append(f"{indent}{task!r} {where}{flags}")
                frames = list(task.iter_await_frames())
                # Where the task waits is always a trap; where it called from says more.
                while len(frames) > 1 and frames[-1][0].f_globals.get("__name__") == traps.__name__:
                    del frames[-1]
                if frames:
                    frame, line = frames[-1]
                    lines.append(f"{indent}  at {frame.f_code.co_filename}:{line} {frame.f_code.co_name}")
        except Exception:
            # A dump of a broken state must not hide the state's first error.
            lines.append("  (the tree itself is broken)\n" + traceback.format_exc())
        return "\n".join(lines)

    def check(self) -> None:
        """Cross-check tree, scopes, queue, deadlines and I/O tables (`run(debug=True)`, after each batch)."""
        try:
            queued: set[int] = set()
            # A copy, made in one go: other threads may append meanwhile.
            for item in tuple(self.queue):
                if isinstance(item, Task):
                    assert id(item) not in queued, f"{item!r} is twice in the queue"
                    assert item.abort is None, f"{item!r} is parked and in the queue"
                    assert not item.ended, f"{item!r} has ended and is in the queue"
                queued.add(id(item))
            timed = dict(self.deadlines)
            for task in self.living_tasks():
                task.check()
                assert task.abort is not None or id(task) in queued, f"{task!r} is neither parked nor in the queue"
                nursery = task.parent_nursery
                if nursery is not None:
                    assert task in nursery._children, f"{task!r} is not among the children of its nursery"
                scope = task.scope
                while scope is not None:
                    if scope._timed:
                        assert timed.get(scope) == scope._deadline, f"{scope!r} is not in the deadlines"
                    scope = scope._parent
                for nursery in task._nurseries or ():
                    assert nursery._parent_task is task, f"{nursery!r} hangs below the wrong task"
                    seen = cancelled_scope_around(nursery.cancel_scope)
                    assert nursery.cancel_scope._doomed == (seen is not None), f"{nursery!r} misses {seen!r}"
            self.deadlines.check()
            self.io.check()
        except (AssertionError, InternalError) as exc:
            self.fail(f"the self-check found: {exc}", exc)

    # Instruments and the queue's class

    def watch_queue(self) -> None:
        """Let every wake-up be noticed."""
        self.queue.__class__ = WatchedQueue

    def add_instrument(self, instrument: Instrument) -> None:
        """Begin to call an instrument, from the end of the step under way."""
        if self.instruments is None:
            self.instruments = Instruments()
            self.watch_queue()
            # The plain loop is in the middle of a batch: let it stop, and the traced one see the step's end.
            self.traced_step = self.current
            self.queue.appendleft(END_OF_BATCH)
        self.instruments.add(instrument)

    def remove_instrument(self, instrument: Instrument) -> None:
        """Stop calling an instrument; KeyError if it is not there."""
        if self.instruments is None:
            raise KeyError(instrument)
        self.instruments.remove(instrument)

    # The end

    def close(self) -> None:
        """Give back what the run holds of the system; the interrupt handler last, so that no Ctrl-C is lost."""
        try:
            self.io.close()
            self.inbox.closed = True
            self.inbox.bell.close()
            self.generators.close()
            if self.instruments is not None:
                self.instruments.call("after_run")
        finally:
            self.interrupt_handler.close()
            self._take_apart()

    def _take_apart(self) -> None:
        """Drop what leads back to this object, so that a finished run is no garbage (tests/kernel/test_garbage.py)."""
        del self.queue.runner
        self.queue.clear()
        self.root_task = self.main_task = self.system_nursery = self.current = self.traced_step = None
        self.batch = None  # type: ignore[assignment]  # nothing is run any more
        self.locals.clear()
        self.generators.forget_run()
        self.task_outside_step = foreign.no_task_outside_step
        self.foreign_await = foreign.reject_foreign
        self.autojump_clock = self.wake_host = self.permute = None


def current_statistics() -> RunStatistics:
    """Return a snapshot of the current run (trio's `trio.lowlevel.current_statistics`)."""
    return current_runner().statistics()


def current_clock() -> Clock:
    """Return the clock of the current run (trio's `trio.lowlevel.current_clock`)."""
    return current_runner().clock


def current_root_task() -> Task | None:
    """Return the task that all others descend from (trio's `trio.lowlevel.current_root_task`)."""
    return current_runner().root_task


def spawn_system_task(
    async_fn: Callable[[*Ts], Awaitable[object]], *args: *Ts, name: object = None, context: Context | None = None
) -> Task:
    """Start a task that belongs to the run and not to a nursery, and return it.

    It is cancelled when the main task has ended; an error in it is an InternalError; keyboard interrupts do not
    reach it; its context is the one `run` was called in, unless one is given.  Not a cancel point.

    Source: trio's documentation, `trio.lowlevel.spawn_system_task`.
    """
    return current_runner().spawn_system(async_fn, args, name, context)


