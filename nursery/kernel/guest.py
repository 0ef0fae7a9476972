"""Guest mode: the run inside another event loop, which keeps the thread.

Invariant: at any moment exactly one of these holds: a tick is scheduled with the host, or a helper thread sleeps in
`fetch` and will schedule one, or the run is over.  Whatever the host does to the run between ticks (wakes a task, sets
a deadline) goes through `wake_host`, which ends the helper's sleep early.  `current.runner` stays set from the start to
the end, so that host callbacks may spawn system tasks.

The same three pieces as in entry.py, cut at the place where the host driver would sleep.
"""

from __future__ import annotations

import threading
import warnings
import weakref
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import outcome

from .calling import explain_uncallable
from .clock import Clock
from .current import current
from .entry import begin, final_outcome, make_runner
from .errors import InternalError
from .instruments import Instrument
from .io.interest import Events
from .loop import NOT_IDLE, digest, how_long, run_batch
from .runner import Runner

T = TypeVar("T")


class GuestDriver:
    """Drives a run tick by tick, each tick a callback of the host loop."""

    def __init__(
        self,
        runner: Runner,
        threadsafe: Callable[[Callable[[], object]], object],
        not_threadsafe: Callable[[Callable[[], object]], object],
        done: Callable[[outcome.Outcome[Any]], object],
    ) -> None:
        self.runner = runner
        self.threadsafe = threadsafe
        self.not_threadsafe = not_threadsafe
        self.done = done
        self.tick_scheduled = True
        self.ticking = False
        self.over = False

    def wake(self) -> None:
        """Be told, in the host's thread, that the run has something to do."""
        if not self.tick_scheduled and not self.ticking:
            self.tick_scheduled = True
            self.runner.inbox.bell.ring()

    def first_batches(self) -> None:
        """Bring the run to where system tasks can be spawned, before any user code runs."""
        runner = self.runner
        while runner.system_nursery is None:
            # A single step, of the root task: the main task is queued behind it and must not begin yet.
            runner.steps_until_poll = 1
            run_batch(runner)

    def tick(self) -> None:
        """Run one batch, then either schedule the next tick or sleep in a thread."""
        runner = self.runner
        self.ticking = True
        try:
            events, timeout, when_idle = self._fetched
            digest(runner, events, timeout, when_idle)
            # One pass and no more: the host has tasks of its own.
            runner.steps_until_poll = len(runner.queue)
            run_batch(runner)
            finished = runner.finished
            if not finished:
                timeout, when_idle = how_long(runner)
                if runner.instruments is not None:
                    runner.instruments.call("before_io_wait", timeout)
                # A look without waiting often saves the trip into the thread.
                events = runner.io.fetch(0.0)
        except BaseException as exc:
            error = exc if isinstance(exc, InternalError) else InternalError(f"the kernel failed\n{runner.dump()}")
            if error is not exc:
                error.__cause__ = exc
            self._end(outcome.Error(error))
            return
        finally:
            self.ticking = False
        if finished:
            self._end(None)
        elif timeout <= 0 or events:
            self._fetched = (events, timeout, when_idle if timeout <= 0 else NOT_IDLE)
            self.tick_scheduled = True
            self.not_threadsafe(self.tick)
        else:
            self.tick_scheduled = False
            self._sleep(timeout, when_idle)

    _fetched: tuple[Events, float, int] = ([], 0.0, NOT_IDLE)

    def _sleep(self, timeout: float, when_idle: int) -> None:
        fetch = self.runner.io.fetch

        def in_thread() -> None:
            fetched = outcome.capture(fetch, timeout)
            self.threadsafe(lambda: self._woken(fetched, timeout, when_idle))

        threading.Thread(target=in_thread, name="nursery guest I/O wait", daemon=True).start()

    def _woken(self, fetched: outcome.Outcome[Events], timeout: float, when_idle: int) -> None:
        self.tick_scheduled = True
        if isinstance(fetched, outcome.Error):
            self.runner.fail(f"waiting for I/O failed: {fetched.error!r}", fetched.error)
            self._fetched = ([], timeout, NOT_IDLE)
        else:
            self._fetched = (fetched.unwrap(), timeout, when_idle)
        self.tick()

    def _end(self, failed: outcome.Outcome[Any] | None) -> None:
        self._close()
        self.done(failed if failed is not None else final_outcome(self.runner))

    def _close(self) -> None:
        self.over = True
        self.runner.wake_host = self.runner.deadlines.wake_host = None
        try:
            self.runner.close()
        finally:
            if current.runner is self.runner:
                current.runner = None

    def __del__(self) -> None:
        if not self.over:
            warnings.warn(
                RuntimeWarning(
                    "a guest run got abandoned without properly finishing: its host loop ended before its "
                    "done_callback was called, and what its tasks held was not released in order"
                ),
                stacklevel=1,
            )
            self._close()


def start_guest_run(
    async_fn: Callable[..., Awaitable[T]],
    *args: object,
    run_sync_soon_threadsafe: Callable[[Callable[[], object]], object],
    done_callback: Callable[[outcome.Outcome[T]], object],
    run_sync_soon_not_threadsafe: Callable[[Callable[[], object]], object] | None = None,
    host_uses_signal_set_wakeup_fd: bool = False,
    clock: Clock | None = None,
    instruments: Sequence[Instrument] = (),
    restrict_keyboard_interrupt_to_checkpoints: bool = False,
    debug: bool | None = None,
) -> None:
    """Start a run as a guest of another event loop in this thread, and return.

    Arguments: run_sync_soon_threadsafe(fn) makes the host call fn() soon, from any thread;
    run_sync_soon_not_threadsafe likewise but only from the host's thread (faster; optional).  done_callback gets the
    outcome of the main task.  host_uses_signal_set_wakeup_fd=True leaves signal.set_wakeup_fd alone.  The others are
    those of `run`.

    When it returns, the run is initialised: `spawn_system_task` and run tokens work from host callbacks.

    Source: trio's documentation, `trio.lowlevel.start_guest_run`.
    """
    explain_uncallable(async_fn)
    runner = make_runner(clock, instruments, debug)
    runner.generators.install_hooks()
    runner.interrupt_handler.install(runner, restrict_keyboard_interrupt_to_checkpoints)
    not_threadsafe = run_sync_soon_not_threadsafe or run_sync_soon_threadsafe
    driver = GuestDriver(runner, run_sync_soon_threadsafe, not_threadsafe, done_callback)
    current.runner = runner
    try:
        begin(runner, async_fn, args, wake_on_signals=not host_uses_signal_set_wakeup_fd)
        driver.first_batches()
    except BaseException as exc:
        driver._close()
        if isinstance(exc, InternalError):
            raise
        raise InternalError(f"the guest run could not begin: {exc!r}") from exc
    # Weakly: the host alone holds the driver, so that a run which its host forgot is noticed.
    weak_driver = weakref.ref(driver)

    def wake() -> None:
        awake = weak_driver()
        if awake is not None:
            awake.wake()

    runner.wake_host = runner.deadlines.wake_host = wake
    runner.watch_queue()
    if runner.instruments is not None:
        # The first tick begins where a wait would have ended.
        runner.instruments.call("before_io_wait", 0.0)
    not_threadsafe(driver.tick)


__all__ = ["start_guest_run"]

