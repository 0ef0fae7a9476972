"""Calls into the run from outside: other threads, signal handlers, a guest's host.

Invariant: a call that was accepted runs exactly once, in the order of acceptance; one that comes too late gets
RunFinishedError.  `closed` is set, and the rest run, under one lock, so there is no moment at which a call is
accepted and then forgotten.

The lock is reentrant because a signal handler may interrupt the very code that holds it.
"""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVarTuple

from .current import current_runner, current_task
from .errors import RunFinishedError
from .nursery import start_task
from .traps import Abort, RaiseCancel, bare_yield, park

if TYPE_CHECKING:
    from .nursery import Nursery
    from .runner import Runner
    from .task import Task

Ts = TypeVarTuple("Ts")


class Bell:
    """A pipe that wakes a sleeping loop: from threads by `ring`, from C signal handlers by descriptor.

    Not a socket pair, which makes a thread's way back 15 % longer; nor an eventfd: signal handlers write single bytes.
    """

    __slots__ = ("_previous_wakeup_fd", "read", "rung", "write")

    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        os.set_blocking(self.read, False)
        os.set_blocking(self.write, False)
        # One byte is enough for many calls: set before the write, cleared by the loop before it looks.
        self.rung = False
        self._previous_wakeup_fd: int | None = None

    def ring(self) -> None:
        """Wake the loop; safe in any thread and in a signal handler."""
        if not self.rung:
            self.rung = True
            try:
                os.write(self.write, b"\0")
            except BlockingIOError:
                # Full: it will wake anyway.
                pass

    def silence(self) -> None:
        """Take note that the loop is awake."""
        try:
            while len(os.read(self.read, 4096)) == 4096:
                pass
        except BlockingIOError:
            pass
        # After the drain, not before it: a byte written in between would be eaten while `rung` says that one is there.
        # Whoever rings before this line has queued his work already, and it is looked at after it
        # (tests/kernel/test_inbox.py).
        self.rung = False

    def ring_on_signals(self) -> None:
        """Let the interpreter write to the bell when a signal arrives.  Main thread only."""
        previous = signal.set_wakeup_fd(self.write, warn_on_full_buffer=False)
        self._previous_wakeup_fd = previous
        if previous != -1:
            warnings.warn(
                RuntimeWarning(
                    "another library had already called signal.set_wakeup_fd; it is put back when the run ends. In "
                    "guest mode pass host_uses_signal_set_wakeup_fd=True if the host loop wakes on signals itself"
                ),
                stacklevel=2,
            )

    def close(self) -> None:
        """Give the descriptors and the signal set-up back."""
        if self._previous_wakeup_fd is not None:
            signal.set_wakeup_fd(self._previous_wakeup_fd)
            self._previous_wakeup_fd = None
        read, write = self.read, self.write
        # Whoever rings too late gets EBADF, and does not write into a descriptor that has the number by then.
        self.read = self.write = -1
        os.close(read)
        os.close(write)


class Inbox:
    """The queue of calls from outside, and the system task that makes them."""

    __slots__ = ("_calls", "_lock", "_once", "_sleeper", "bell", "closed")

    def __init__(self) -> None:
        self.bell = Bell()
        self.closed = False
        self._calls: deque[tuple[Callable[..., object], tuple[Any, ...], bool]] = deque()
        self._once: set[tuple[Callable[..., object], tuple[Any, ...]]] = set()
        self._lock = threading.RLock()
        self._sleeper: Task | None = None

    def __len__(self) -> int:
        return len(self._calls)

    def put(self, fn: Callable[..., object], args: tuple[Any, ...], once: bool) -> None:
        """Accept a call, from any thread."""
        with self._lock:
            if self.closed:
                raise RunFinishedError("the run is over: it takes no more calls from outside")
            if once:
                call = (fn, args)
                if call in self._once:
                    return
                self._once.add(call)
            self._calls.append((fn, args, once))
        self.bell.ring()

    def listen(self) -> None:
        """Be called by the I/O driver when the bell rang."""
        self.bell.silence()
        if self._sleeper is not None:
            self._sleeper.wake()
            self._sleeper = None

    def _abort(self, task: Task, raise_cancel: RaiseCancel) -> Abort:
        self._sleeper = None
        return Abort.SUCCEEDED

    async def serve(self, nursery: Nursery) -> None:
        """Make the calls, a batch at a time so that they cannot starve the tasks; the body of a system task."""
        task = current_task()
        try:
            while True:
                self._make(len(self._calls), nursery)
                if self._calls:
                    await bare_yield()
                    if task.alert:
                        task.raise_if_interrupted()
                else:
                    self._sleeper = task
                    await park(task, self._abort)
        finally:
            with self._lock:
                self.closed = True
                while self._calls:
                    self._make(len(self._calls), nursery)

    def _make(self, count: int, nursery: Nursery) -> None:
        for _ in range(count):
            fn, args, once = self._calls.popleft()
            if once:
                self._once.discard((fn, args))
            try:
                fn(*args)
            except BaseException as exc:
                # The caller is gone, nobody can be given this error: it ends the run.  The others still run.
                if nursery._closed:
                    task = nursery._parent_task
                    task.runner.fail(f"{fn!r}, called from outside the run, raised {exc!r}", exc)
                else:
                    start_task(nursery._parent_task.runner, _fail, (exc,), nursery, "<a call from outside failed>")


async def _fail(error: BaseException) -> NoReturn:
    raise error


class RunToken:
    """A handle on a run that other threads may hold (trio's `TrioToken`); equal only to itself.

    Source: trio's documentation, `trio.lowlevel.TrioToken`.
    """

    __slots__ = ("__weakref__", "_inbox")

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def run_sync_soon(self, sync_fn: Callable[[*Ts], object], *args: *Ts, idempotent: bool = False) -> None:
        """Have `sync_fn(*args)` called in the run's thread soon; safe from any thread and from signal handlers.

        Arguments: idempotent=True drops the call if an equal one (same function, same arguments, both hashable) is
        waiting already.
        Raises RunFinishedError if the run is over.  Calls are made in the order in which they were accepted; one
        that raises ends the run with InternalError.  Not a cancel point.

        Source: trio's documentation, `trio.lowlevel.TrioToken.run_sync_soon`.
        """
        self._inbox.put(sync_fn, args, idempotent)


def current_run_token() -> RunToken:
    """Return the token of the current run, the same object each time (trio's `current_trio_token`)."""
    runner: Runner = current_runner()
    if runner.token is None:
        runner.token = RunToken(runner.inbox)
    return runner.token
