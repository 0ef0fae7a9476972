"""The way in: `run`, the host driver.

Invariant: whatever happens, `run` returns the main task's value or raises; the run's descriptors, hooks and signal
handlers are given back; and an interrupt that nobody received is raised here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, TypeVarTuple

import outcome

from .calling import explain_uncallable
from .clock import Clock
from .current import current
from .errors import InternalError
from .instruments import Instrument
from .loop import collect, expire, plain_batch, run_batch
from .runner import Runner

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def run(
    async_fn: Callable[[*Ts], Awaitable[T]],
    *args: *Ts,
    clock: Clock | None = None,
    instruments: Sequence[Instrument] = (),
    restrict_keyboard_interrupt_to_checkpoints: bool = False,
    debug: bool | None = None,
) -> T:
    """Run `async_fn(*args)` as the main task, and return its value or raise its error.

    Arguments: clock replaces the system's monotonic clock.  instruments watch the run.
    restrict_keyboard_interrupt_to_checkpoints=True lets Ctrl-C raise only in the main task's checkpoints.
    debug=True cross-checks the kernel's tables after each batch (slow; the default is the environment variable
    NURSERY_DEBUG).

    Raises what the main task raises, RuntimeError inside another run, TypeError if async_fn is not an async function,
    InternalError (with a dump of the run) if the kernel finds itself broken.

    Example::

        async def main() -> str:
            await nursery.sleep(1)
            return "done"

        print(nursery.run(main))

    Source: trio's documentation, `trio.run`.
    """
    explain_uncallable(async_fn)
    runner = make_runner(clock, instruments, debug)
    runner.generators.install_hooks()
    # Early, before any state that a Ctrl-C could leave half changed.
    runner.interrupt_handler.install(runner, restrict_keyboard_interrupt_to_checkpoints)
    current.runner = runner
    try:
        begin(runner, async_fn, args, wake_on_signals=True)
        drive(runner)
    except InternalError:
        raise
    except BaseException as exc:
        raise InternalError(f"the kernel failed: {exc!r}\n{runner.dump()}") from exc
    finally:
        runner.close()
        current.runner = None
    final = final_outcome(runner)
    # Not Outcome.unwrap(): every traceback of every program would have its frame.
    if isinstance(final, outcome.Error):
        try:
            raise final.error
        finally:
            del final, runner
    assert isinstance(final, outcome.Value)
    value: T = final.value
    return value


def make_runner(clock: Clock | None, instruments: Sequence[Instrument], debug: bool | None) -> Runner:
    """Make a runner that is not current yet."""
    if current.runner is not None:
        raise RuntimeError(
            "Attempted to call run() from inside a run(): await the function, or start it in a nursery instead"
        )
    if debug is None:
        debug = os.environ.get("NURSERY_DEBUG", "0") not in ("", "0")
    return Runner(plain_batch, clock, instruments, debug)


def begin(
    runner: Runner,
    async_fn: Callable[..., Awaitable[object]] | None,
    args: tuple[object, ...],
    *,
    wake_on_signals: bool,
) -> None:
    """Start clock, instruments and root task of a runner that has just become current."""
    if wake_on_signals and threading.get_ident() == threading.main_thread().ident:
        runner.inbox.bell.ring_on_signals()
    if runner.instruments is not None:
        runner.instruments.call("before_run")
    runner.clock.start_clock()
    runner.begin(async_fn, args)


def drive(runner: Runner) -> None:
    """Go round until the run is finished: the host's driver."""
    queue = runner.queue
    while not runner.finished:
        if not queue or runner.steps_until_poll <= 0:
            collect(runner)
        else:
            expire(runner)
        run_batch(runner)


def final_outcome(runner: Runner) -> outcome.Outcome[Any]:
    """Return what a finished and closed run ends with: an interrupt that nobody received goes first."""
    # Taken out: an error's frames may hold a nursery, and so this run, which must not hold the error.
    final, runner.main_outcome = runner.main_outcome, None
    if runner.ki_pending:
        interrupt = KeyboardInterrupt()
        if isinstance(final, outcome.Error):
            interrupt.__context__ = final.error
        return outcome.Error(interrupt)
    if final is None:
        return outcome.Error(InternalError(f"the run finished without a result\n{runner.dump()}"))
    return final
