"""Time limits and sleeping.

Invariant: nothing here waits in a way of its own; a limit is a cancel scope, a sleep is a deadline.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from math import inf, isnan
from types import TracebackType
from typing import NoReturn

from .kernel.current import current, current_task
from .kernel.errors import TooSlowError
from .kernel.scope import CancelScope
from .kernel.task import Task
from .kernel.traps import Abort, RaiseCancel, checkpoint, park


def move_on_at(deadline: float, *, shield: bool = False) -> CancelScope:
    """Return a scope that is cancelled at `deadline`, in seconds of the run's clock.

    Raises ValueError if the deadline is NaN.

    Example::

        with nursery.move_on_at(nursery.current_time() + 5):
            await fetch()

    Source: trio's documentation, `trio.move_on_at`.
    """
    return CancelScope(deadline=deadline, shield=shield)


def move_on_after(seconds: float, *, shield: bool = False) -> CancelScope:
    """Return a scope that is cancelled `seconds` after it was entered.

    Raises ValueError if the timeout is negative or NaN.

    Example::

        with nursery.move_on_after(5) as scope:
            await fetch()
        if scope.cancelled_caught:
            print("too slow")

    Source: trio's documentation, `trio.move_on_after`.
    """
    if not seconds >= 0:
        _reject_seconds(seconds, "timeout")
    # flat: calling the class with keywords would cost half as much again as making the scope does.
    scope = CancelScope()
    scope._relative = seconds
    if shield is not False:
        scope.shield = shield
    return scope


class _Failing:
    """A scope that raises TooSlowError where it would have absorbed the cancellation of its own deadline.

    A class, not a generator: contextlib's frame would hold the exception and make a cycle of each timeout that came
    (tests/kernel/test_garbage.py).
    """

    __slots__ = ("_complaint", "_scope")

    def __init__(self, scope: CancelScope, complaint: str) -> None:
        self._scope = scope
        self._complaint = complaint

    def __enter__(self) -> CancelScope:
        return self._scope.__enter__()

    def __exit__(
        self, etype: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._scope.__exit__(etype, exc, tb) and self._scope.cancelled_caught:
            raise TooSlowError(self._complaint)


def fail_at(deadline: float, *, shield: bool = False) -> AbstractContextManager[CancelScope, None]:
    """Like `move_on_at`, but raise TooSlowError after the block if the limit was what ended it.

    Source: trio's documentation, `trio.fail_at`.
    """
    return _Failing(move_on_at(deadline, shield=shield), f"the block was not done by its deadline, {deadline!r}")


def fail_after(seconds: float, *, shield: bool = False) -> AbstractContextManager[CancelScope, None]:
    """Like `move_on_after`, but raise TooSlowError after the block if the limit was what ended it.

    Example::

        with nursery.fail_after(5):
            await fetch()

    Source: trio's documentation, `trio.fail_after`.
    """
    return _Failing(move_on_after(seconds, shield=shield), f"the block took longer than {seconds!r} seconds")


def _abort_sleep(task: Task, raise_cancel: RaiseCancel) -> Abort:
    task.runner.deadlines.remove(task, task.wake_at)
    return Abort.SUCCEEDED


def _abort_endless_sleep(task: Task, raise_cancel: RaiseCancel) -> Abort:
    return Abort.SUCCEEDED


async def sleep_forever() -> NoReturn:
    """Sleep until cancelled.  A cancel point.

    Source: trio's documentation, `trio.sleep_forever`.
    """
    await park(current_task(), _abort_endless_sleep)
    raise RuntimeError("should never have been rescheduled: sleep_forever() has nobody to wake it")


async def sleep_until(deadline: float) -> None:
    """Sleep until `deadline`, in seconds of the run's clock; if it has passed, this is a checkpoint.

    A cancel point.  Raises ValueError if the deadline is NaN.
    Source: trio's documentation, `trio.sleep_until`.
    """
    if isnan(deadline):
        raise ValueError("deadline must not be NaN")
    task = current_task()
    runner = task.runner
    if deadline == inf:
        await sleep_forever()
    elif deadline <= runner.now():
        await checkpoint()
    else:
        task.wake_at = deadline
        runner.deadlines.add(task, deadline)
        await park(task, _abort_sleep)


# flat: a timer is what programs wait on most
async def sleep(seconds: float) -> None:
    """Sleep for `seconds`; 0 is a checkpoint.

    A cancel point.  Raises ValueError if the duration is negative or NaN.

    Example::

        await nursery.sleep(0.5)

    Source: trio's documentation, `trio.sleep`.
    """
    if not seconds > 0:
        if seconds != 0:
            _reject_seconds(seconds, "duration")
        await checkpoint()
        return
    runner = current.runner
    task = None if runner is None else runner.current
    if task is None:
        task = current_task()
    if seconds == inf:
        await sleep_forever()
    runner = task.runner
    task.wake_at = deadline = runner.now() + seconds
    runner.deadlines.add(task, deadline)
    await park(task, _abort_sleep)


def _reject_seconds(seconds: float, what: str) -> NoReturn:
    if isnan(seconds):
        raise ValueError(f"{what} must not be NaN")
    raise ValueError(f"{what} must be non-negative, in seconds, not {seconds!r}")
