"""The whole interface between a task and the kernel.

Invariant: a task yields one of two things.  ``None`` means "again, at the end of the queue".  Anything else
parks the task: its `abort` slot then holds the function that takes it out of whatever it waits on, and whoever
wakes it clears that slot and appends the task to the run queue.  Hence "parked" is `task.abort is not None`.

Errors are not thrown into coroutines: a woken task finds an outcome in its slot and raises it in its own frame.
With `coro.throw()` contexts and `sys.exc_info()` go wrong across task switches (CPython issues 29587, 29590,
108668); tests/kernel/test_traps.py guards it.

`park` and `bare_yield` are the only generators of the kernel; each public primitive is one `async def` around
one of them, because a level costs about 9 ns on every resume, and `async def` is what makes Python warn about a
forgotten `await` (docs/decisions/0002).
"""

from __future__ import annotations

import enum
import types
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

import outcome

from .current import current, current_task
from .errors import InternalError

if TYPE_CHECKING:
    from .task import Task


class Abort(enum.Enum):
    """What an abort function answers: whether the sleeping task may be woken with the cancellation at once."""

    SUCCEEDED = 1
    FAILED = 2


RaiseCancel: TypeAlias = Callable[[], NoReturn]
AbortFunction: TypeAlias = "Callable[[Task, RaiseCancel], Abort]"


class Signal:
    """A message to the kernel; compared by identity, and named so that a dump is readable."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<{self.name}>"


PARK: Final = Signal("PARK")
DETACH: Final = Signal("DETACH")
# How many operations that need not wait a task may do before one of them yields all the same.  Small enough for
# fairness (tests/kernel/test_fairness.py), large enough to halve the switches of a busy stream.
BUDGET: Final = 8


def not_abortable(task: Task, raise_cancel: RaiseCancel) -> Abort:
    """Stand in the abort slot of a parked task whose abort function was used up, or that has none."""
    return Abort.FAILED


@types.coroutine
def bare_yield() -> Generator[None, None, None]:
    """Let everything that is in the queue run first.  Not a cancel point."""
    yield None


@types.coroutine
def park(task: Task, abort: AbortFunction) -> Generator[object, None, Any]:
    """Sleep until woken; return the value or raise the error that the waker left, None if it left nothing."""
    task.abort = abort
    yield task.park_signal
    task.custom_sleep_data = None
    if task.outcome is not None:
        return task.take_outcome()
    return None


async def checkpoint() -> None:
    """Let other tasks run, then raise if the surrounding scope is cancelled.

    A cancel point and a schedule point, always both.  Raises Cancelled.

    Example::

        while work:
            do(work.pop())
            await nursery.lowlevel.checkpoint()

    Source: trio's documentation, `trio.lowlevel.checkpoint`.
    """
    await bare_yield()
    # After the yield, not before it: a deadline that passed while the task was runnable must be noticed.
    task = current.runner.current  # type: ignore[union-attr]  # a task resumes only inside a run
    if task is None:
        task = current_task()
    task.custom_sleep_data = None
    if task.alert:
        task.note_schedule_point()
        task.raise_if_interrupted()


async def checkpoint_if_cancelled() -> None:
    """Raise if the surrounding scope is cancelled, otherwise return at once.

    A cancel point; a schedule point only if it raises.  Raises Cancelled.
    Source: trio's documentation, `trio.lowlevel.checkpoint_if_cancelled`.
    """
    task = current_task()
    if task.alert and task.is_interrupted():
        await bare_yield()
        task.note_schedule_point()
        task.raise_if_interrupted()
    elif task.alert:
        task.note_cancel_point()


async def cancel_shielded_checkpoint() -> None:
    """Let other tasks run, and never raise.

    A schedule point, not a cancel point.
    Source: trio's documentation, `trio.lowlevel.cancel_shielded_checkpoint`.
    """
    await bare_yield()
    task = current_task()
    if task.alert:
        task.note_schedule_point()


class UserAbort:
    """Adapts a user's `abort_fn(raise_cancel)` to the kernel's form and holds it to its contract."""

    __slots__ = ("abort_fn",)

    def __init__(self, abort_fn: Callable[[RaiseCancel], Abort]) -> None:
        self.abort_fn = abort_fn

    def __call__(self, task: Task, raise_cancel: RaiseCancel) -> Abort:
        try:
            answer = self.abort_fn(raise_cancel)
        except BaseException as exc:
            task.runner.fail(f"the abort function of {task!r} raised {exc!r}", exc)
            return Abort.FAILED
        if type(answer) is not Abort:
            task.runner.fail(f"an abort function must return Abort.SUCCEEDED or Abort.FAILED, not {answer!r}", None)
            return Abort.FAILED
        return answer


async def wait_task_rescheduled(abort_func: Callable[[RaiseCancel], Abort]) -> Any:
    """Put the task to sleep until someone calls `reschedule` on it, and return or raise what they passed.

    Arguments: abort_func(raise_cancel) is called at most once, when the task is cancelled while it sleeps.  It
    must return Abort.SUCCEEDED after it has made sure that nobody will reschedule the task, or Abort.FAILED if
    the task will be rescheduled all the same; it may then hand `raise_cancel` to `outcome.capture`.

    A cancel point and a schedule point.  Raises whatever it is rescheduled with, or Cancelled.

    Source: trio's documentation, `trio.lowlevel.wait_task_rescheduled`.
    """
    return await park(current_task(), UserAbort(abort_func))


_NOTHING: Final = outcome.Value(None)


def reschedule(task: Task, next_send: outcome.Outcome[Any] = _NOTHING) -> None:
    """Wake a task that sleeps in `wait_task_rescheduled`, with a value or an error.

    Arguments: next_send is what the sleeper's call returns or raises.
    Raises RuntimeError if the task is not asleep, or if it belongs to a run of another thread.

    Source: trio's documentation, `trio.lowlevel.reschedule`.
    """
    if task.abort is None:
        raise RuntimeError(
            f"cannot reschedule {task!r}: it is not asleep. A sleeper is woken once, either by reschedule() or by "
            "a cancellation whose abort function returned Abort.SUCCEEDED"
        )
    task.runner.check_thread("reschedule()")
    task.abort = None
    task.custom_sleep_data = None
    if next_send is not _NOTHING:
        task.outcome = next_send
    task.runner.queue.append(task)


async def permanently_detach_coroutine_object(final_outcome: outcome.Outcome[object]) -> Any:
    """End the current task with `final_outcome`, while its coroutine object goes on under another scheduler.

    Returns or raises what the new scheduler sends into the coroutine.  Raises RuntimeError if nurseries are open.
    A schedule point, not a cancel point.

    Source: trio's documentation, `trio.lowlevel.permanently_detach_coroutine_object`.
    """
    task = current_task()
    if task.child_nurseries:
        raise RuntimeError(
            "cannot detach a coroutine object whose task has open nurseries: leave them first, their children "
            "would lose their parent"
        )
    task.outcome = final_outcome
    return await _detach()


@types.coroutine
def _detach() -> Generator[object, Any, Any]:
    return (yield DETACH)


async def temporarily_detach_coroutine_object(abort_func: Callable[[RaiseCancel], Abort]) -> Any:
    """Hand the coroutine object to another scheduler for a while; the task sleeps meanwhile.

    The other scheduler drives the coroutine by hand; what it sends or throws is returned or raised here.  It
    hands it back with `reattach_detached_coroutine_object`.

    Source: trio's documentation, `trio.lowlevel.temporarily_detach_coroutine_object`.
    """
    task = current_task()
    return await _lend(task, UserAbort(abort_func))


@types.coroutine
def _lend(task: Task, abort: AbortFunction) -> Generator[object, Any, Any]:
    task.abort = abort
    sent = yield task.park_signal
    if task.outcome is not None:
        return task.take_outcome()
    return sent


async def reattach_detached_coroutine_object(task: Task, yield_value: object) -> None:
    """Give a lent coroutine object back to `task`; called inside that coroutine, by its present scheduler.

    Arguments: yield_value is yielded to the present scheduler as a last message; the call then returns in the task.

    Raises RuntimeError outside the coroutine that `task` lent.

    Source: trio's documentation, `trio.lowlevel.reattach_detached_coroutine_object`.
    """
    if task.abort is None or not getattr(task.coro, "cr_running", True):
        raise RuntimeError(
            f"cannot reattach: {task!r} does not match, call this inside the coroutine object that the task has lent"
        )
    task.wake()
    await _give_back(yield_value)
    if current_task() is not task:
        raise InternalError(f"{task!r} was reattached, but {current_task()!r} was resumed in its place")


@types.coroutine
def _give_back(yield_value: object) -> Generator[object, Any, None]:
    yield yield_value
