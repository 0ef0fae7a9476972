"""Running a blocking function in another thread.

Invariant: the limiter's token is held until the thread is done, not until the task has stopped waiting: the limit is
on threads.  The host task sleeps meanwhile, and is woken for one of two things: the end of the job, or a request of
its thread to run something here (callback.py); never for both, for the thread waits while its request is served.
"""

from __future__ import annotations

import contextvars
import inspect
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, TypeVarTuple

import outcome

from ..kernel.current import current_task
from ..kernel.errors import RunFinishedError
from ..kernel.interrupts import enable_ki_protection
from ..kernel.runvar import RunVar
from ..kernel.task import Task
from ..kernel.traps import Abort, RaiseCancel, checkpoint_if_cancelled, park
from ..sync.limiter import CapacityLimiter
from .active import active_threads
from .cache import start_thread_soon

if TYPE_CHECKING:
    from ..kernel.inbox import Inbox

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# No number is right; this is what others have chosen too.
DEFAULT_LIMIT: Final = 40

_default_limiter: Final[RunVar[CapacityLimiter]] = RunVar("default_thread_limiter")


def explain_coroutine(sync_fn: object) -> None:
    """Raise a TypeError that names the mistake, if a coroutine object was given for a plain function."""
    if inspect.iscoroutine(sync_fn):
        sync_fn.close()
        raise TypeError(
            f"expected a plain function, got the coroutine object {sync_fn!r}: await it in the run"
        ) from None


class Request(Protocol):
    """What a worker thread may ask of the run."""

    async def serve_in(self, task: Task) -> None:
        """Do it in the host task."""


class Job:
    """One function in one thread, and the task that waits for it; it is what borrows the limiter's token."""

    __slots__ = (
        "_active",
        "_args",
        "_context",
        "_fn",
        "_limiter",
        "_may_be_abandoned",
        "inbox",
        "name",
        "raise_cancel",
        "result",
        "task",
    )

    def __init__(
        self,
        task: Task,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        name: str | None,
        may_be_abandoned: bool,
        limiter: CapacityLimiter,
    ) -> None:
        # None once the task has abandoned the job, and when the job is done.
        self.task: Task | None = task
        self.inbox: Inbox = task.runner.inbox
        self.name = f"{getattr(fn, '__name__', None)} from {task.name}" if name is None else name
        self.result: outcome.Outcome[Any] | None = None
        # Set when the task was cancelled while the thread worked: what check_cancelled() raises.
        self.raise_cancel: RaiseCancel | None = None
        self._fn = fn
        self._args = args
        self._context = contextvars.copy_context()
        self._may_be_abandoned = may_be_abandoned
        self._limiter = limiter
        self._active = active_threads()

    def __repr__(self) -> str:
        return f"<thread job {self.name!r}>"

    # In the run

    def start(self) -> None:
        """Give the job to a thread; the limiter's token is held."""
        self._active.begin()
        try:
            start_thread_soon(self._work, self._deliver, self.name)
        except BaseException:
            self._active.end()
            self._limiter.release_on_behalf_of(self)
            raise

    def abort(self, task: Task, raise_cancel: RaiseCancel) -> Abort:
        """Be told that the waiting task is cancelled."""
        self.raise_cancel = raise_cancel
        if self._may_be_abandoned:
            self.task = None
            self._active.end()
            return Abort.SUCCEEDED
        return Abort.FAILED

    def _end(self, result: outcome.Outcome[Any]) -> None:
        if self.task is not None:
            self._active.end()
        try:
            self._limiter.release_on_behalf_of(self)
        except BaseException as exc:
            # A limiter of the user's own: its error is news for the task, not for the inbox.
            if isinstance(result, outcome.Error) and exc.__context__ is None:
                exc.__context__ = result.error
            result = outcome.Error(exc)
        task, self.task = self.task, None
        if task is not None:
            self.result = result
            task.wake()

    # In the thread

    def _work(self) -> Any:
        working.job = self
        fn, args, context = self._fn, self._args, self._context
        # The thread lets go of the job a moment after the task has its result: what the task lets go of then must not
        # live on in it (tests/threads/test_worker.py).
        del self._fn, self._args, self._context
        try:
            try:
                returned = context.run(fn, *args)
            except TypeError:
                explain_coroutine(fn)
                raise
            if inspect.iscoroutine(returned):
                returned.close()
                raise TypeError(
                    f"nursery expected a sync function, but {fn!r} appears to be asynchronous: await it in "
                    "the run, it needs no thread"
                )
            return returned
        finally:
            del working.job

    def _deliver(self, result: outcome.Outcome[Any]) -> None:
        try:
            self.inbox.put(self._end, (result,), False)
        except RunFinishedError:
            # The run did not wait for this job: it was abandoned.
            pass


class Working(threading.local):
    """Which job, if any, the calling thread works on."""

    job: Job


working: Final = Working()


def current_default_thread_limiter() -> CapacityLimiter:
    """Return the limiter that `run_sync` uses by default in this run; `total_tokens`, at first 40, may be set.

    Raises RuntimeError outside a run.
    Source: trio's documentation, `trio.to_thread.current_default_thread_limiter`.
    """
    try:
        return _default_limiter.get()
    except LookupError:
        limiter = CapacityLimiter(DEFAULT_LIMIT)
        _default_limiter.set(limiter)
        return limiter


@enable_ki_protection
async def run_in_thread(
    sync_fn: Callable[[*Ts], T],
    *args: *Ts,
    thread_name: str | None = None,
    abandon_on_cancel: bool = False,
    limiter: CapacityLimiter | None = None,
) -> T:
    """Run a blocking `sync_fn(*args)` in another thread, and return its value or raise its error.

    Arguments: thread_name is the thread's name meanwhile.  abandon_on_cancel=True makes a cancelled call return at
    once; the thread goes on, and its result is dropped.  By default the call ends with the function: a thread cannot
    be stopped, but it may ask `from_thread.check_cancelled()`.  limiter bounds how many threads work at a time; by
    default 40, see `current_default_thread_limiter`.

    The function sees a copy of the caller's context.  It can call back with `nursery.from_thread`.

    A cancel point before the thread starts; after that as abandon_on_cancel says.  Raises TypeError for an async
    function.

    Example::

        text = await nursery.to_thread.run_sync(Path("notes.txt").read_text)

    Source: trio's documentation, `trio.to_thread.run_sync`.
    """
    task = current_task()
    if task.alert:
        await checkpoint_if_cancelled()
    may_be_abandoned = bool(abandon_on_cancel)
    if limiter is None:
        limiter = current_default_thread_limiter()
    job = Job(task, sync_fn, args, thread_name, may_be_abandoned, limiter)
    if (
        type(limiter) is CapacityLimiter  # type: ignore[redundant-expr]  # the user's own may only look like one
        and limiter.available_tokens > 0
    ):
        # The call that may wait would be a checkpoint even now; here the wait for the thread is one.
        limiter.acquire_on_behalf_of_nowait(job)
    else:
        await limiter.acquire_on_behalf_of(job)
    job.start()
    while True:
        request: Request | None = await park(task, job.abort)
        if request is None:
            break
        await request.serve_in(task)
    result, job.result = job.result, None
    assert result is not None
    try:
        value: T = result.unwrap()
        return value
    finally:
        # An error's traceback holds this frame.
        del result


# What Python calls it when it is called with wrong arguments.
run_in_thread.__name__ = run_in_thread.__qualname__ = "run_sync"

__all__ = ["current_default_thread_limiter", "run_in_thread"]
