"""run and Runner: the doors of a program; Ctrl-C, strictness, and what is done with the tasks that are left.

Invariant: a Runner's loop is made at the first need and closed by the Runner, after the tasks that are left were
cancelled and awaited, the async generators closed and the thread pool shut down.  Every Ctrl-C that arrives while `run`
is inside the loop ends as a KeyboardInterrupt, unless the main task swallowed its cancellation.

Written by 3.13's documentation, on every Python: there is `loop_factory` in 3.11, and a time limit for the thread pool.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import signal
import sys
import threading
import weakref
from asyncio import coroutines
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context, copy_context
from types import FrameType
from typing import Any, Final, Self, TypeVar

from ..kernel.current import current
from .loop import EventLoop, new_event_loop

T = TypeVar("T")

# How long the end of a run waits for the calls in the default thread pool, in seconds.
THREAD_JOIN_TIMEOUT: Final = 300

STRICT_MESSAGE: Final = "failures that nobody retrieved"


class Runner(asyncio.Runner):  # type: ignore[misc]  # final for typeshed alone: `isinstance` must hold
    """Runs several coroutines in one loop and one context; Ctrl-C cancels the main task.

    Arguments: debug turns the loop's debug mode on or off.  loop_factory replaces our `new_event_loop`.  strict=True
    ends the run at the first failure of a task, a future or a callback that nobody retrieves: the main task is
    cancelled, and `run`, or `close` if it comes so late, raises all such failures in an exception group (the loop has
    to be ours).

    Example::

        with compat.Runner() as runner:
            runner.run(main())

    Source: asyncio's documentation, `asyncio.Runner`.
    """

    def __init__(
        self,
        *,
        debug: bool | None = None,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
        strict: bool = False,
    ) -> None:
        self._debug = debug
        self._loop_factory = loop_factory
        self._strict = strict
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context: Context | None = None
        self._closed = False
        self._is_current_loop = False
        self._interrupts = 0
        self._main_task: asyncio.Task[Any] | None = None
        self._failures: list[BaseException] = []

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(self, exc_type: object, exc_val: object, exc_tb: object) -> None:
        self._close(quietly=exc_val is not None and not isinstance(exc_val, Exception))

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop, made now if there is none yet.

        Raises RuntimeError after `close`.
        """
        return self._begin()

    def run(self, coro: Awaitable[T], *, context: Context | None = None) -> T:
        """Run a coroutine, or another awaitable, as a task of the loop, and return its result.

        Arguments: context is the context of the task; without it all that one Runner runs shares one, a copy of the
        context in which the loop was made.
        Raises what the coroutine raises; KeyboardInterrupt if Ctrl-C cancelled it (a second Ctrl-C does not wait for
        its clean-up); RuntimeError inside a running loop or a native run, and after `close`.

        Source: asyncio's documentation, `asyncio.Runner.run`.
        """
        given: Any = coro
        if not coroutines.iscoroutine(given) and not inspect.isawaitable(given):
            message = (
                f"a coroutine was expected, got {given!r}, and an awaitable is required: call the async function, and "
                "pass what it returns"
            )
            # As the asyncio of the same version.
            raise TypeError(message) if sys.version_info >= (3, 14) else ValueError(message)
        _check_outside("Runner.run()")
        loop = self._begin()
        if not coroutines.iscoroutine(given):
            given = _await(given)
        task: asyncio.Task[T] = loop.create_task(given, context=self._context if context is None else context)
        self._main_task = task
        self._interrupts = 0
        handler = self._take_sigint(task)
        try:
            result: T = loop.run_until_complete(task)
        except asyncio.CancelledError:
            if self._interrupts > 0 and hasattr(task, "uncancel") and task.uncancel() == 0:
                raise KeyboardInterrupt from None
            if self._failures:
                raise self._take_failures() from None
            raise
        except Exception as error:
            if self._failures:
                raise self._take_failures(error) from None
            raise
        finally:
            self._main_task = None
            if handler is not None and signal.getsignal(signal.SIGINT) is handler:
                signal.signal(signal.SIGINT, signal.default_int_handler)
        return result

    def close(self) -> None:
        """Cancel and await what is left, and close the loop; a second call does nothing.

        Raises the failures that nobody retrieved, if the Runner is strict.
        Source: asyncio's documentation, `asyncio.Runner.close`.
        """
        self._close(quietly=False)

    def _close(self, *, quietly: bool) -> None:
        """Close; quietly means that failures are logged, since a KeyboardInterrupt or SystemExit is under way."""
        loop = self._loop
        if loop is None or self._closed:
            return
        try:
            _cancel_all_tasks(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(_shutdown_default_executor(loop))
        finally:
            if self._is_current_loop:
                asyncio.set_event_loop(None)
            loop.close()
            if isinstance(loop, EventLoop):
                self._keep_unretrieved(loop)
            self._loop = None
            self._closed = True
        if self._failures:
            failures = self._take_failures()
            if not quietly:
                raise failures
            loop.call_exception_handler({"message": STRICT_MESSAGE, "exception": failures})

    def _begin(self) -> asyncio.AbstractEventLoop:
        """Make the loop, the first time."""
        if self._closed:
            raise RuntimeError("Runner is closed: make a new one")
        loop = self._loop
        if loop is not None:
            return loop
        if self._loop_factory is None:
            loop = new_event_loop()
            asyncio.set_event_loop(loop)
            self._is_current_loop = True
        else:
            loop = self._loop_factory()
        if self._debug is not None:
            loop.set_debug(self._debug)
        if self._strict:
            if not isinstance(loop, EventLoop):
                raise TypeError(f"strict=True needs a loop of nursery, {loop!r} is none")
            loop._keep_failure = self._keep_failure
            loop._unretrieved = weakref.WeakSet()
        self._context = copy_context()
        self._loop = loop
        return loop

    # Ctrl-C

    def _take_sigint(self, task: asyncio.Task[Any]) -> Callable[[int, FrameType | None], Any] | None:
        """Handle SIGINT from now on, in the main thread and over Python's own handler; return the new handler."""
        if (
            threading.current_thread() is not threading.main_thread()
            or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        ):
            return None
        handler = functools.partial(self._on_sigint, main_task=task)
        try:
            signal.signal(signal.SIGINT, handler)
        except ValueError:
            # Some embedding programs let nobody set handlers.
            return None
        return handler

    def _on_sigint(self, signum: int, frame: FrameType | None, main_task: asyncio.Task[Any]) -> None:
        """Cancel the main task; the second time, or when it has ended, raise KeyboardInterrupt."""
        self._interrupts += 1
        if self._interrupts == 1 and not main_task.done():
            main_task.cancel()
            # The loop may sleep.
            assert self._loop is not None
            self._loop.call_soon_threadsafe(_nothing)
            return
        raise KeyboardInterrupt

    # Strictness

    def _keep_failure(self, report: dict[str, Any]) -> bool:
        """Keep what the loop would report, if it is the failure of something nobody retrieves; let the run end."""
        failure = report.get("exception")
        if failure is None or "protocol" in report:
            # No failure, or that of a connection, whose protocol is told of it.
            return False
        self._failures.append(failure)
        task, loop = self._main_task, self._loop
        if task is not None and loop is not None and len(self._failures) == 1:
            # Garbage is collected in whichever thread.
            loop.call_soon_threadsafe(task.cancel)
        return True

    def _keep_unretrieved(self, loop: EventLoop) -> None:
        """Keep the failures that somebody holds and has not asked for: the run is over, nobody will."""
        for failed in loop._unretrieved or ():
            if failed._log_traceback:
                failed._log_traceback = False
                self._failures.append(failed._exception)
        loop._keep_failure = loop._unretrieved = None

    def _take_failures(self, *more: BaseException) -> BaseExceptionGroup[BaseException]:
        failures, self._failures = [*self._failures, *more], []
        return BaseExceptionGroup(STRICT_MESSAGE, failures)


def run(
    main: Awaitable[T],
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    strict: bool = False,
) -> T:
    """Run a coroutine on a new loop of ours, cancel what it left behind, and return its result.

    Arguments: those of `Runner`.
    Raises what the coroutine raises, KeyboardInterrupt after Ctrl-C, RuntimeError inside a running loop or a native
    run.

    Example::

        print(compat.run(main()))

    Source: asyncio's documentation, `asyncio.run`.
    """
    _check_outside("asyncio.run()")
    with Runner(debug=debug, loop_factory=loop_factory, strict=strict) as runner:
        return runner.run(main)


def _check_outside(what: str) -> None:
    """Raise RuntimeError inside a loop or a native run."""
    if asyncio._get_running_loop() is not None:
        raise RuntimeError(f"{what} cannot be called from a running event loop: await the coroutine instead")
    if current.runner is not None:
        raise RuntimeError(
            f"{what} cannot be called from inside a native run: await the coroutine there, in "
            "'async with compat.open_loop():'"
        )


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable


def _nothing() -> None:
    pass


def _cancel_all_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel the tasks that are left, wait for them, and report those that failed meanwhile."""
    left = list(asyncio.all_tasks(loop))
    if not left:
        return
    if isinstance(loop, EventLoop):
        # In the order of their birth: asyncio's own set has none.
        births = {id(task): number for number, task in enumerate(loop.root_group._children)}
        left.sort(key=lambda task: births.get(id(task), len(births)))
    for task in left:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    for task in left:
        if not task.cancelled() and (failure := task.exception()) is not None:
            loop.call_exception_handler(
                {"message": "unhandled exception during asyncio.run() shutdown", "exception": failure, "task": task}
            )


def _shutdown_default_executor(loop: asyncio.AbstractEventLoop) -> Coroutine[Any, Any, None]:
    if sys.version_info < (3, 12) and not isinstance(loop, EventLoop):
        # Made by somebody's loop_factory; it knows no time limit.
        return loop.shutdown_default_executor()
    return loop.shutdown_default_executor(THREAD_JOIN_TIMEOUT)  # type: ignore[call-arg]  # as said, ours takes it
