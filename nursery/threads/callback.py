"""The way back: what a worker thread can ask of the run that started it.

Invariant: the thread waits until its request is answered, with a value or an error; if the run ends first the answer
is RunFinishedError.  A request is served in the host task, in the scopes that the thread was started in; in a system
task if that task has abandoned the thread, or if the thread names a run by its token.
"""

from __future__ import annotations

import contextvars
import inspect
import queue
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar, TypeVarTuple

import outcome

from ..kernel.calling import as_coroutine, explain_uncallable
from ..kernel.current import current, current_runner
from ..kernel.errors import RunFinishedError
from ..kernel.inbox import RunToken
from ..kernel.interrupts import disable_ki_protection, enable_ki_protection
from ..kernel.task import Task
from ..kernel.traps import cancel_shielded_checkpoint
from .worker import Job, explain_coroutine, working

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Answerable(Generic[T]):
    """A request, and the place where its answer will be."""

    __slots__ = ("_answer", "_args", "_context", "_fn")

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._fn = fn
        self._args = args
        self._context = contextvars.copy_context()
        self._answer: queue.SimpleQueue[outcome.Outcome[T]] = queue.SimpleQueue()

    async def serve_in(self, task: Task) -> None:
        """Serve it in the host task."""
        raise NotImplementedError

    def serve_apart(self) -> None:
        """Serve it where no task waits for it; called in the run's thread."""
        raise NotImplementedError

    def deliver_to(self, job: Job) -> None:
        """Wake the host task with this request, or serve it apart if there is none any more."""
        task = job.task
        if task is None:
            self.serve_apart()
        else:
            task.outcome = outcome.Value(self)
            task.wake()

    def ask(self, run_token: RunToken | None) -> T:
        """Hand the request over and wait for the answer."""
        if run_token is not None and not isinstance(run_token, RunToken):
            raise RuntimeError(f"run_token must be what current_run_token() returned in the run, not {run_token!r}")
        if current.runner is not None:
            raise RuntimeError(
                "this is a blocking function, called in the thread of a run, which could do nothing meanwhile; in "
                "async code await the function itself"
            )
        if run_token is not None:
            run_token.run_sync_soon(self.serve_apart)
        else:
            job = getattr(working, "job", None)
            if job is None:
                raise RuntimeError(
                    "this thread was not started by to_thread.run_sync, so the run is not known: pass run_token=, "
                    "from current_run_token() in that run"
                )
            job.inbox.put(self.deliver_to, (job,), False)
        return self._answer.get().unwrap()


class AsyncRequest(Answerable[T]):
    """To run an async function."""

    __slots__ = ()

    @disable_ki_protection
    async def _call(self) -> T:
        try:
            coro: Any = self._fn(*self._args)
        except TypeError:
            explain_uncallable(self._fn)
            raise
        if not inspect.iscoroutine(coro):
            coro = as_coroutine(self._fn, coro)
        value: T = await coro
        return value

    @enable_ki_protection
    async def serve_in(self, task: Task) -> None:
        """Run it in the host task, in the thread's context."""
        own = task.context
        task.context = self._context
        try:
            # The next step begins in the other context.
            await cancel_shielded_checkpoint()
            answer = await outcome.acapture(self._call)
        finally:
            task.context = own
        await cancel_shielded_checkpoint()
        self._answer.put(answer)
        # The error's traceback holds this frame.
        del answer

    async def _serve_alone(self) -> None:
        self._answer.put(await outcome.acapture(self._call))

    def serve_apart(self) -> None:
        """Run it in a system task."""
        try:
            current_runner().spawn_system(self._serve_alone, (), self._fn, self._context)
        except RuntimeError:
            self._answer.put(outcome.Error(RunFinishedError("the run is over: it starts no more tasks")))


class SyncRequest(Answerable[T]):
    """To call a plain function."""

    __slots__ = ()

    @disable_ki_protection
    def _call(self) -> T:
        try:
            returned = self._fn(*self._args)
        except TypeError:
            explain_coroutine(self._fn)
            raise
        if inspect.iscoroutine(returned):
            returned.close()
            raise TypeError(
                f"nursery expected a synchronous function, but {self._fn!r} is asynchronous: use from_thread.run"
            )
        value: T = returned
        return value

    async def serve_in(self, task: Task) -> None:
        """Call it in the host task."""
        self.serve_apart()

    def serve_apart(self) -> None:
        """Call it where we are, in the thread's context."""
        self._answer.put(outcome.capture(self._context.run, self._call))


def run(afn: Callable[[*Ts], Awaitable[T]], *args: *Ts, run_token: RunToken | None = None) -> T:
    """Run `afn(*args)` in the run that this thread belongs to, wait for it, and return or raise what it does.

    Arguments: run_token names the run; it is needed only in threads that `to_thread.run_sync` did not start.

    It runs in the task that waits for this thread, in its cancel scopes; in a system task if run_token is given or if
    that task has abandoned the thread.  It sees a copy of this thread's context.

    Raises RunFinishedError if the run is over, Cancelled if the host task is cancelled, RuntimeError in the thread of
    a run or where no run is known, TypeError for a function that is not async.

    Example::

        def in_thread(channel: nursery.MemorySendChannel[str]) -> None:
            for line in sys.stdin:
                nursery.from_thread.run(channel.send, line)

    Source: trio's documentation, `trio.from_thread.run`.
    """
    return AsyncRequest[T](afn, args).ask(run_token)


def run_sync(fn: Callable[[*Ts], T], *args: *Ts, run_token: RunToken | None = None) -> T:
    """Call `fn(*args)` in the thread of the run, wait for it, and return or raise what it does.

    Arguments and errors are those of `run`; the function must not be async.

    Source: trio's documentation, `trio.from_thread.run_sync`.
    """
    return SyncRequest[T](fn, args).ask(run_token)


def check_cancelled() -> None:
    """Raise Cancelled if the task that waits for this thread was cancelled; to be asked now and then in long work.

    Raises RuntimeError in a thread that `to_thread.run_sync` did not start.

    Source: trio's documentation, `trio.from_thread.check_cancelled`.
    """
    job = getattr(working, "job", None)
    if job is None:
        raise RuntimeError(
            "this thread was not started by to_thread.run_sync: there is no task whose cancellation it could ask about"
        )
    if job.raise_cancel is not None:
        job.raise_cancel()


__all__ = ["check_cancelled", "run", "run_sync"]
