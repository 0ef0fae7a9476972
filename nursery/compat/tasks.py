"""The functions of asyncio on tasks: starting them, and waiting for several.

Invariant: what is waited for here tells its waiter at its end directly (`Promise.tell`); only futures of other makes
tell by a callback.

Every function works in tasks of ours and of asyncio's own class, on a loop of ours.  `Task` is asyncio's own name:
what `create_task` returns is an instance of it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import math
import types
from asyncio import Task, current_task, get_running_loop
from asyncio import tasks as stdlib_tasks
from asyncio.tasks import (
    _enter_task,
    _leave_task,
    _register_task,
    _unregister_task,
    all_tasks,
)
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterable, Iterator
from contextvars import Context, copy_context
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from . import futures, time_limit
from .coroutines import iscoroutine
from .eager_factory import EagerFactory
from .future import Future
from .loop import EventLoop
from .loop.callbacks import checked_context
from .policy import get_event_loop
from .promise import CANCELLED, FINISHED, PENDING, Promise
from .task import Task as OwnTask
from .task import task_number
from .waiting import SLEEPERS, Lot, running_loop

T = TypeVar("T")
AnyFuture = TypeVar("AnyFuture", bound="asyncio.Future[Any]")
AnyTask = TypeVar("AnyTask", bound="asyncio.Task[Any]")

FIRST_COMPLETED: Final = concurrent.futures.FIRST_COMPLETED
FIRST_EXCEPTION: Final = concurrent.futures.FIRST_EXCEPTION
ALL_COMPLETED: Final = concurrent.futures.ALL_COMPLETED

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "Task",
    "_enter_task",
    "_leave_task",
    "_register_task",
    "_unregister_task",
    "all_tasks",
    "as_completed",
    "create_eager_task_factory",
    "create_task",
    "current_task",
    "eager_task_factory",
    "ensure_future",
    "gather",
    "run_coroutine_threadsafe",
    "shield",
    "sleep",
    "wait",
    "wait_for",
]


# Starting


# flat: once for every task
def create_task(
    coro: Coroutine[Any, Any, T],
    *,
    name: str | None = None,
    context: Context | None = None,
    eager_start: bool | None = None,
    **options: Any,
) -> asyncio.Task[T]:
    """Start a task in the run's root group, and return it.

    Arguments: eager_start=True runs the first step at once; further options go to the loop's task factory.

    The root group owns the task: it is never garbage-collected, its failure is reported, and what is left of it at
    the end of the run is cancelled and awaited.
    Raises RuntimeError without a running loop, TypeError for what is no coroutine.  Not a cancel point.

    Example::

        task = asyncio.create_task(fetch(url))
        page = await task

    Source: asyncio's documentation, `asyncio.create_task`.
    """
    try:
        loop: Any = get_running_loop()
    except RuntimeError:
        # Says more, in a native run.
        loop = running_loop()
    if type(loop) is EventLoop and loop._task_factory is None and not options and eager_start is None:
        if loop._careful or type(coro) is not CoroutineType:
            return loop.start_task(coro, name, context)
        # What `start_task` does, without the call: 3 % of `await create_task(f())`.
        runner = loop.runner
        nursery = loop.root_group
        task: Any = OwnTask(
            runner,
            coro,
            copy_context() if context is None else checked_context(context),
            nursery,
            task_number() if name is None else str(name),
        )
        nursery._children[task] = None
        if runner.instruments is not None:
            runner.instruments.call("task_spawned", task)
        runner.queue.append(task)
        return task  # type: ignore[no-any-return]  # it says so itself
    if eager_start is not None:
        options["eager_start"] = eager_start
    if name is not None:
        options["name"] = name
    if context is not None:
        options["context"] = context
    return loop.create_task(coro, **options)  # type: ignore[no-any-return]  # whatever the loop makes


@overload
def ensure_future(  # type: ignore[overload-overlap]  # a future is an awaitable that stays what it is
    coro_or_future: AnyFuture, *, loop: asyncio.AbstractEventLoop | None = None
) -> AnyFuture: ...
@overload
def ensure_future(coro_or_future: Awaitable[T], *, loop: asyncio.AbstractEventLoop | None = None) -> Task[T]: ...
def ensure_future(
    coro_or_future: Any, *, loop: asyncio.AbstractEventLoop | None = None
) -> asyncio.Future[Any]:
    """Return a future as it is, and a task for a coroutine or any other awaitable.

    Raises TypeError for what cannot be awaited, ValueError for a future of another loop than `loop`.
    Source: asyncio's documentation, `asyncio.ensure_future`.
    """
    if futures.isfuture(coro_or_future):
        if loop is not None and loop is not futures._get_loop(coro_or_future):
            raise ValueError("The future belongs to a different loop than the one specified as the loop argument")
        return coro_or_future
    # Before 3.12 a generator is taken for one, as by the asyncio of those versions.
    if not asyncio.iscoroutine(coro_or_future):
        if not inspect.isawaitable(coro_or_future):
            raise TypeError(
                f"An asyncio.Future, a coroutine or an awaitable is required, got {coro_or_future!r}"
            )
        coro_or_future = _await(coro_or_future)
    if loop is None:
        loop = get_event_loop()
    try:
        return loop.create_task(coro_or_future)
    except RuntimeError:
        # The loop is closed: nobody can await it any more.
        coro_or_future.close()
        raise


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable


def create_eager_task_factory(custom_task_constructor: Callable[..., AnyTask]) -> Callable[..., AnyTask]:
    """Return a task factory whose tasks run their first step at once, made by `custom_task_constructor`.

    Source: asyncio's documentation, `asyncio.create_eager_task_factory`.
    """
    return EagerFactory(custom_task_constructor)


# To be passed to `loop.set_task_factory`: the first step of each task runs at once.
eager_task_factory: Final = EagerFactory(Task)


def run_coroutine_threadsafe(
    coro: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop
) -> concurrent.futures.Future[T]:
    """Start a coroutine on a loop that runs in another thread, and return a future to wait for in this one.

    Raises TypeError for what is no coroutine.
    Source: asyncio's documentation, `asyncio.run_coroutine_threadsafe`.
    """
    return asyncio.run_coroutine_threadsafe(coro, loop)


# Sleeping


@types.coroutine
def _turn() -> Generator[None, None, None]:
    yield


# flat: once for every sleep
@overload
async def sleep(delay: float) -> None: ...
@overload
async def sleep(delay: float, result: T) -> T: ...
async def sleep(delay: float, result: object = None) -> object:
    """Wait for `delay` seconds, or one turn of the loop if that is not positive, and return `result`.

    A cancel point.  Raises ValueError for NaN.
    Source: asyncio's documentation, `asyncio.sleep`.
    """
    if delay <= 0:
        await _turn()
        return result
    if math.isnan(delay):
        raise ValueError("Invalid delay: NaN (not a number)")
    loop = running_loop()
    runner = loop.runner
    task = runner.current
    if type(task) is OwnTask:
        await SLEEPERS.wait_until(task, runner.now() + delay)
        return result
    future = Future(runner)
    timer = loop.call_later(delay, _set_unless_done, future)
    try:
        await future
    finally:
        timer.cancel()
    return result


def _set_unless_done(future: Future) -> None:
    if not future.done():
        future.set_result(None)


# Waiting for several


class Gathering(Future):
    """What `gather` returns: cancelling it cancels what it gathers."""

    __slots__ = ("_cancel_requested", "_children", "_left", "_plain", "_return_exceptions")

    # The name that asyncio's reports have made known.
    shown_as = "_GatheringFuture"

    _children: list[Any]
    # What has not ended; negative until all of it is known.
    _left: int
    _return_exceptions: bool
    _cancel_requested: bool
    # Whether each one was a task of ours and returned a value.
    _plain: bool

    def cancel(self, msg: object = None) -> bool:
        """Cancel everything that is gathered; return False if all of it has ended."""
        if self._state is not PENDING:
            return False
        asked = False
        for child in self._children:
            if child.cancel(msg=msg):
                asked = True
        if asked:
            # It ends when they have ended.
            self._cancel_requested = True
        return asked

    # flat: once for every task that is gathered
    def ended(self, child: Any) -> None:
        """Take note of the end of one; called by it."""
        left = self._left = self._left - 1
        if type(child) is OwnTask and child._state is FINISHED and child._failure is None:
            if left == 0 and self._state is PENDING:
                self._finish(child)
            return
        self._plain = False
        if self._state is not PENDING:
            if not child.cancelled():
                # Somebody has asked for it: it is not reported.
                child.exception()
            return
        if not self._return_exceptions:
            if child.cancelled():
                self.set_exception(child._make_cancelled_error())
                return
            error = child.exception()
            if error is not None:
                self.set_exception(error)
                return
        if left == 0:
            self._finish(child)

    def _finish(self, last: Any) -> None:
        if self._cancel_requested:
            for child in self._children:
                if not child.cancelled():
                    # Somebody has asked for it: it is not reported.
                    child.exception()
            # The message is the last one's, as in asyncio.
            self.set_exception(last._make_cancelled_error())
            return
        if self._plain:
            self.set_result([child._result for child in self._children])
            return
        results: list[Any] = []
        for child in self._children:
            if child.cancelled():
                message = getattr(child, "_cancel_message", None)
                results.append(asyncio.CancelledError("" if message is None else message))
            else:
                error = child.exception()
                results.append(child.result() if error is None else error)
        self.set_result(results)


class UnretrievedGathering(Gathering):
    """What a failed one becomes, so that an error nobody asked for is reported (see compat/task.py)."""

    __slots__ = ()

    when_failed = None

    def __del__(self) -> None:
        self.report_unretrieved(self.shown_as)


Gathering.when_failed = UnretrievedGathering


if TYPE_CHECKING:
    from asyncio import gather as gather
else:

    def gather(*coros_or_futures: Any, return_exceptions: bool = False) -> Any:
        """Run awaitables side by side, and return a future for the list of their results, in the order given.

        Arguments: with return_exceptions, errors are results like others; without, the first one is raised at once
        while the others go on.

        Cancelling the future cancels all that it gathers, and it ends when they have.  The tasks belong to the root
        group.
        Raises TypeError for what cannot be awaited, ValueError for futures of different loops.
        Source: asyncio's documentation, `asyncio.gather`.
        """
        loop = asyncio._get_running_loop()
        if not coros_or_futures:
            nothing = (loop or get_event_loop()).create_future()
            nothing.set_result([])
            return nothing
        if type(loop) is not EventLoop:
            if loop is None:
                first = coros_or_futures[0]
                loop = futures._get_loop(first) if futures.isfuture(first) else get_event_loop()
            elif not isinstance(loop, EventLoop):
                return asyncio.gather(*coros_or_futures, return_exceptions=return_exceptions)
            if not isinstance(loop, EventLoop):
                raise RuntimeError(f"gather() of nursery.compat needs a loop of its own, {loop!r} is none")
        runner = loop.runner
        outer = Gathering(runner)
        outer._children = children = []
        outer._return_exceptions = return_exceptions
        outer._cancel_requested = False
        outer._plain = True
        # Far from zero: nothing is complete before all of it is known.
        outer._left = -1
        done = []
        seen = {}
        own = loop._task_factory is None
        quick = own and not loop._careful and runner.instruments is None
        group = loop.root_group
        try:
            for given in coros_or_futures:
                if quick and type(given) is CoroutineType and given not in seen:
                    # The rest of this loop, for nearly every child: 15 % of gathering 100.
                    seen[given] = child = OwnTask(runner, given, copy_context(), group, task_number())
                    child._log_destroy_pending = False
                    child._told = outer
                    group._children[child] = None
                    runner.queue.append(child)
                    children.append(child)
                    continue
                child = seen.get(given)
                if child is None:
                    if type(given) is CoroutineType:
                        child = loop.start_task(given) if own else loop.create_task(given)
                    else:
                        child = ensure_future(given, loop=loop)
                    seen[given] = child
                    if child is not given:
                        # Nobody else can see it: what it says at its destruction would come as a surprise.
                        child._log_destroy_pending = False
                    if type(child) is OwnTask and child._told is None and child._state is PENDING:
                        child._told = outer
                    elif child.done():
                        done.append(child)
                    elif isinstance(child, Promise):
                        child.tell(outer)
                    else:
                        child.add_done_callback(outer.ended)
                children.append(child)
        except BaseException:
            # What was started goes on, and tells nobody.
            outer._state = CANCELLED
            raise
        outer._left += len(seen) + 1
        for child in done:
            outer.ended(child)
        return outer


class _Watch(Lot):
    """Where `wait` waits: told of ends, and of the time, it wakes its waiter when that is enough."""

    __slots__ = ("_left", "_or_failure", "when")

    def __init__(self, count: int, or_failure: bool) -> None:
        self.waiters = {}
        # So many have to end; or one has to fail.
        self._left = count
        self._or_failure = or_failure
        # While it stands in the deadlines.
        self.when: float | None = None

    # flat: once for every future
    def ended(self, future: Any) -> None:
        """Take note of one end."""
        left = self._left = self._left - 1
        if left == 0 or (self._or_failure and not future.cancelled() and future.exception() is not None):
            self.wake_all()

    @property
    def enough(self) -> bool:
        """Whether as many have ended as had to."""
        return self._left <= 0

    def expire(self) -> None:
        """Wake the waiter, because the time is over; called by the deadlines, which have dropped it already."""
        self.when = None
        self.wake_all()


def _tell(future: Any, watch: Any) -> None:
    if isinstance(future, Promise):
        future.tell(watch)
    else:
        future.add_done_callback(watch.ended)


def _untell(future: Any, watch: Any) -> None:
    future.remove_done_callback(watch if isinstance(future, Promise) else watch.ended)


def _check_future(future: Any, loop: EventLoop) -> None:
    """Raise TypeError for what is no future, ValueError for one of another loop."""
    if iscoroutine(future):
        raise TypeError("Passing coroutines is forbidden, use tasks explicitly.")
    if not futures.isfuture(future):
        raise TypeError(f"wait() takes tasks and futures, not {future!r}")
    if futures._get_loop(future) is not loop:
        raise ValueError(f"The future belongs to a different loop than the running one: {future!r}")


if TYPE_CHECKING:
    from asyncio import wait as wait
else:

    async def wait(fs, *, timeout=None, return_when=ALL_COMPLETED):
        """Wait until all, or the first, of some futures have ended; return the sets of those done and pending.

        Arguments: timeout is in seconds, None for none; nothing is cancelled when it is over.  return_when is
        FIRST_COMPLETED, FIRST_EXCEPTION or ALL_COMPLETED.

        A cancel point; cancelling it cancels none of the futures.
        Raises TypeError for a single future or coroutines, ValueError for an empty set, for futures of another loop or
        an unknown `return_when`.
        Source: asyncio's documentation, `asyncio.wait`.
        """
        if futures.isfuture(fs) or iscoroutine(fs):
            raise TypeError(f"expect a list of futures, not {type(fs).__name__}")
        fs = set(fs)
        if not fs:
            raise ValueError("Set of Tasks/Futures is empty.")
        if return_when not in (FIRST_COMPLETED, FIRST_EXCEPTION, ALL_COMPLETED):
            raise ValueError(f"Invalid return_when value: {return_when}")
        loop = running_loop()
        runner = loop.runner
        pending = []
        for future in fs:
            if type(future) is OwnTask and future.runner is runner:
                if future._state is PENDING:
                    pending.append(future)
            else:
                _check_future(future, loop)
                if not future.done():
                    pending.append(future)
        if (
            not pending
            or (return_when == FIRST_COMPLETED and len(pending) < len(fs))
            or (return_when == FIRST_EXCEPTION and any(f.done() and not f.cancelled() and f.exception() for f in fs))
        ):
            # Nothing to wait for; but whoever asks again and again has to let others run.
            await _turn()
        else:
            watch = _Watch(1 if return_when == FIRST_COMPLETED else len(pending), return_when == FIRST_EXCEPTION)
            for future in pending:
                if type(future) is OwnTask:
                    if future._told is None:
                        future._told = watch
                    else:
                        future.tell(watch)
                else:
                    _tell(future, watch)
            if timeout is not None:
                watch.when = runner.now() + timeout
                runner.deadlines.add(watch, watch.when)
            try:
                await watch.wait()
                if (not watch.enough or return_when != ALL_COMPLETED) and not all(f.done() for f in pending):
                    # As in asyncio, what ends one turn later is still among the done.
                    await _turn()
            finally:
                if watch.when is not None:
                    runner.deadlines.remove(watch, watch.when)
                if not watch.enough or return_when == FIRST_COMPLETED:
                    for future in pending:
                        if not future.done():
                            _untell(future, watch)
            if watch.enough and return_when != FIRST_COMPLETED:
                return fs, set()
        done = {future for future in fs if future.done()}
        return done, fs - done


async def wait_for(fut: Awaitable[T], timeout: float | None) -> T:
    """Wait for an awaitable, but not longer than `timeout` seconds (None: without end).

    When the time is over, the awaitable is cancelled and waited for, and TimeoutError is raised.  A `timeout` that is
    not positive does not start a coroutine at all.  A cancel point.
    Raises TypeError for what cannot be awaited.
    Source: asyncio's documentation, `asyncio.wait_for`.
    """
    if timeout is not None and timeout <= 0:
        future = ensure_future(fut)
        if future.done():
            return future.result()
        await _cancel_and_wait(future)
        try:
            return future.result()
        except asyncio.CancelledError as exc:
            raise TimeoutError from exc
    if type(fut) is not types.CoroutineType and not isinstance(fut, Promise) and not inspect.isawaitable(fut):
        raise TypeError(f"An asyncio.Future, a coroutine or an awaitable is required, got {fut!r}")
    # `async with timeout()`, without its two coroutines.
    limit = time_limit.timeout(timeout)
    limit.begin()
    try:
        result = await fut
    except BaseException as exc:
        if limit.end(exc):
            raise TimeoutError from exc
        raise
    limit.end(None)
    return result


async def _cancel_and_wait(future: asyncio.Future[Any]) -> None:
    watch = _Watch(1, False)
    _check_future(future, running_loop())
    _tell(future, watch)
    try:
        future.cancel()
        # A future ends at once.
        await (_turn() if watch.enough else watch.wait())
    finally:
        _untell(future, watch)


class _AsCompleted(Iterator[Any], AsyncIterator[Any]):
    """What `as_completed` returns: an iterator over awaitables, an async iterator over the futures themselves."""

    def __init__(self, fs: Iterable[Any], timeout: float | None) -> None:
        self._ended: deque[Any] = deque()
        # Everybody who waits for the next one.
        self._lot = Lot()
        self._over = False
        loop: Any = get_event_loop()
        if not isinstance(loop, EventLoop):
            raise RuntimeError(f"as_completed() of nursery.compat needs a loop of its own, {loop!r} is none")
        self._deadlines = loop.runner.deadlines
        start = loop.start_task if loop._task_factory is None else loop.create_task
        # What ensure_future() does, for coroutines without its questions.
        told = {start(fut) if type(fut) is CoroutineType else ensure_future(fut, loop=loop) for fut in set(fs)}
        self._left = len(told)
        self._pending: set[Any] = set()
        for future in told:
            if type(future) is OwnTask and future._told is None and future._state is PENDING:
                self._pending.add(future)
                future._told = self
            elif future.done():
                self._ended.append(future)
            else:
                self._pending.add(future)
                _tell(future, self)
        # While it stands in the deadlines.
        self._when: float | None = None
        if timeout is not None and self._pending:
            self._when = loop.time() + timeout
            self._deadlines.add(self, self._when)

    # flat: once for every future
    def ended(self, future: Any) -> None:
        """Take note of one end."""
        if self._over:
            return
        self._pending.discard(future)
        self._ended.append(future)
        if self._when is not None and not self._pending:
            self._deadlines.remove(self, self._when)
            self._when = None
        if self._lot.waiters:
            self._lot.wake_one()

    def _pass_on(self) -> None:
        if self._ended or self._over:
            self._lot.wake_one()

    def expire(self) -> None:
        """Let who waits, now or later, learn that the time is over; called by the deadlines."""
        self._when = None
        self._over = True
        for future in self._pending:
            _untell(future, self)
        self._pending.clear()
        self._lot.wake_all()

    def __aiter__(self) -> _AsCompleted:
        return self

    def __iter__(self) -> _AsCompleted:
        return self

    async def __anext__(self) -> Any:
        if not self._left:
            raise StopAsyncIteration
        self._left -= 1
        if not self._ended:
            await self._wait()
        return self._ended.popleft()

    def __next__(self) -> Coroutine[Any, Any, Any]:
        if not self._left:
            raise StopIteration
        self._left -= 1
        return self._next_result()

    # flat: once for every future
    async def _next_result(self) -> Any:
        if not self._ended:
            await self._wait()
        return self._ended.popleft().result()

    async def _wait(self) -> None:
        try:
            while not self._ended:
                if self._over:
                    break
                await self._lot.wait(self._pass_on)
            else:
                return
        except BaseException:
            # Whoever is interrupted may ask again.
            self._left += 1
            raise
        raise TimeoutError


if TYPE_CHECKING:
    from asyncio import as_completed as as_completed
else:

    def as_completed(fs, *, timeout=None):
        """Iterate over awaitables in the order in which they end.

        Arguments: timeout is in seconds from now, None for none; when it is over, waiting for the next one raises
        TimeoutError.

        A plain `for` yields coroutines, each of which gives the next result; `async for` yields the futures
        themselves, those given or the tasks made for coroutines.
        Raises TypeError for a single future or coroutine, ValueError for futures of another loop.
        Source: asyncio's documentation, `asyncio.as_completed`.
        """
        if futures.isfuture(fs) or iscoroutine(fs):
            raise TypeError(f"expects an iterable of awaitables, not {type(fs).__name__}")
        return _AsCompleted(fs, timeout)


class Shielding(Future):
    """What `shield` returns: ends as the inner future does, unless it was cancelled before."""

    __slots__ = ("_inner",)

    _inner: Any

    def ended(self, inner: Any) -> None:
        """Take note of the end of the inner future."""
        if self._state is not PENDING:
            return
        if inner.cancelled():
            Future.cancel(self, getattr(inner, "_cancel_message", None))
            return
        error = inner.exception()
        if error is not None:
            self.set_exception(error)
        else:
            self.set_result(inner.result())

    def cancel(self, msg: object = None) -> bool:
        """End as cancelled, and leave the inner future alone; return False if it has ended already."""
        if not Future.cancel(self, msg):
            return False
        if not self._inner.done():
            _untell(self._inner, self)
        return True


class UnretrievedShielding(Shielding):
    """What a failed one becomes, so that an error nobody asked for is reported (see compat/task.py)."""

    __slots__ = ()

    when_failed = None

    def __del__(self) -> None:
        self.report_unretrieved(self.shown_as)


Shielding.when_failed = UnretrievedShielding


if TYPE_CHECKING:
    from asyncio import shield as shield
else:

    def shield(arg):
        """Return a future that ends as `arg` does, and whose cancellation does not cancel `arg`.

        What runs inside is out of reach of the caller's scopes as well: a task of the root group.
        Raises TypeError for what cannot be awaited.
        Source: asyncio's documentation, `asyncio.shield`.
        """
        inner = ensure_future(arg)
        if inner.done():
            return inner
        loop = futures._get_loop(inner)
        if not isinstance(loop, EventLoop):
            return asyncio.shield(inner)
        outer = Shielding(loop.runner)
        if loop._debug:
            outer.remember_source()
        outer._inner = inner
        _tell(inner, outer)
        return outer


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Find what asyncio.tasks has beside."""
        return getattr(stdlib_tasks, name)
