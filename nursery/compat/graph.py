"""Who waits for whom: the call graph of a task or future, as asyncio 3.14 offers it, on every version of Python.

Invariant: nothing is recorded while a program runs.  Who waits for a promise of ours is found in its callbacks: tasks,
and the gatherings, watches and groups that others wait for in turn.  What `future_add_to_awaited_by` is told of other
futures, and on 3.14 what asyncio itself has noted, is added to that.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import futures as stdlib_futures
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Final, TextIO
from weakref import WeakKeyDictionary, WeakSet

from .ctasks import Record
from .future import Future
from .promise import Promise
from .task import Wakeup
from .taskgroup import TaskGroup
from .waiting import Lot

__all__ = (
    "FrameCallGraphEntry",
    "FutureCallGraph",
    "capture_call_graph",
    "format_call_graph",
    "print_call_graph",
)

if TYPE_CHECKING or sys.version_info < (3, 14):

    @dataclass(frozen=True, slots=True)
    class FrameCallGraphEntry:
        """One call: `frame` is the frame of it.

        Source: asyncio's documentation, `asyncio.FrameCallGraphEntry`.
        """

        frame: FrameType

    @dataclass(frozen=True, slots=True)
    class FutureCallGraph:
        """A future, the calls in which it stands if it is a task, innermost first, and those who wait for it.

        Source: asyncio's documentation, `asyncio.FutureCallGraph`.
        """

        future: asyncio.Future[Any]
        call_stack: tuple[FrameCallGraphEntry, ...]
        awaited_by: tuple[FutureCallGraph, ...]

else:
    from asyncio import FrameCallGraphEntry, FutureCallGraph

# What was told by hand, of futures of any make.
_told: Final[WeakKeyDictionary[Any, WeakSet[Any]]] = WeakKeyDictionary()


def future_add_to_awaited_by(fut: asyncio.Future[Any], waiter: asyncio.Future[Any], /) -> None:
    """Note that `waiter` waits for `fut`, in a way that nobody can see; for who writes combinators.

    Source: asyncio's documentation, `asyncio.future_add_to_awaited_by`.
    """
    pair: tuple[object, object] = (fut, waiter)
    if all(map(asyncio.isfuture, pair)):
        _told.setdefault(fut, WeakSet()).add(waiter)


def future_discard_from_awaited_by(fut: asyncio.Future[Any], waiter: asyncio.Future[Any], /) -> None:
    """Note that `waiter` does not wait for `fut` any more.

    Source: asyncio's documentation, `asyncio.future_discard_from_awaited_by`.
    """
    pair: tuple[object, object] = (fut, waiter)
    if all(map(asyncio.isfuture, pair)) and fut in _told:
        _told[fut].discard(waiter)


def waiters_of(future: Any) -> Iterator[Any]:
    """Yield the tasks and futures that wait for one, each once."""
    seen: set[int] = set()
    for waiter in _all_waiters_of(future):
        if id(waiter) not in seen:
            seen.add(id(waiter))
            yield waiter


def _all_waiters_of(future: Any) -> Iterator[Any]:
    if isinstance(future, Promise):
        group = getattr(getattr(future, "parent_nursery", None), "_group", None)
        if group is not None:
            yield from _behind(group)
        for fn, context in future.registered():
            yield from _behind(fn if context is None else getattr(fn, "__self__", fn))
    else:
        for pair in getattr(future, "_callbacks", None) or ():
            fn = pair[0] if isinstance(pair, tuple) else pair
            yield from _behind(getattr(fn, "__self__", fn))
        yield from getattr(future, "_asyncio_awaited_by", None) or ()
    yield from _told.get(future, ())


def _behind(told: Any) -> Iterator[Any]:
    """Yield the tasks and futures behind whatever is told of an end."""
    if type(told) is Wakeup:
        yield told.task
    elif isinstance(told, Lot):
        # A watch, as of wait().
        for waiter in told.waiters:
            yield from waiters_of(waiter) if isinstance(waiter, Future) else (waiter,)
    elif isinstance(told, (TaskGroup, asyncio.TaskGroup)):
        if told._parent_task is not None:  # type: ignore[union-attr]  # of both classes, and typeshed knows neither
            yield told._parent_task  # type: ignore[union-attr]  # see above
    elif isinstance(told, Future):
        # A gathering, or a shield: whoever waits for that.
        yield from waiters_of(told)
    elif isinstance(told, asyncio.Task):
        yield told
    elif isinstance(told, Record):
        ctask = told._ctask()
        if ctask is not None:
            yield ctask
    elif isinstance(getattr(told, "_lot", None), Lot):
        # What as_completed returns.
        yield from _behind(told._lot)
    else:
        for future in _held_by(told):
            if not future.done():
                yield from waiters_of(future)


def _held_by(told: Any) -> Iterator[asyncio.Future[Any]]:
    """Yield the futures that a callback of asyncio's own gather(), wait(), shield() or as_completed() ends."""
    held: list[Any] = [*getattr(told, "args", ()), *getattr(getattr(told, "_done", None), "_getters", ())]
    for cell in getattr(told, "__closure__", None) or ():
        with suppress(ValueError):
            held.append(cell.cell_contents)
    for future in held:
        # What a gathering ends is a future; a task in there is the one that has called it.
        if asyncio.isfuture(future) and not isinstance(future, asyncio.Task):
            yield future


def _check(future: object) -> None:
    if not isinstance(future, stdlib_futures.Future):
        raise TypeError(
            f"{future!r} object does not appear to be compatible with asyncio.Future: pass a task or a future"
        )


def _graph_of(future: Any, limit: int | None, above: frozenset[int] = frozenset()) -> FutureCallGraph:
    _check(future)
    stack: list[FrameCallGraphEntry] = []
    awaitable = future.get_coro() if limit != 0 and hasattr(future, "get_coro") else None
    while awaitable is not None:
        frame = getattr(awaitable, "cr_frame", None) or getattr(awaitable, "ag_frame", None)
        if frame is not None:
            stack.append(FrameCallGraphEntry(frame))
        if hasattr(awaitable, "cr_await"):
            awaitable = awaitable.cr_await
        else:
            awaitable = getattr(awaitable, "ag_await", None)
    stack.reverse()
    if limit is not None:
        # The innermost calls come first; a negative limit leaves the outermost.
        stack = stack[:limit] if limit >= 0 else stack[limit:]
    above |= {id(future)}
    waiters = tuple(_graph_of(waiter, limit, above) for waiter in waiters_of(future) if id(waiter) not in above)
    return FutureCallGraph(future, tuple(stack), waiters)


def capture_call_graph(
    future: asyncio.Future[Any] | None = None, /, *, depth: int = 1, limit: int | None = None
) -> FutureCallGraph | None:
    """Return the call graph of a task or future, of the current task if none is given; None if there is none either.

    Arguments: depth is how many of the innermost calls of the current task are left out.  limit is how many calls of
    each task are kept: the innermost, or the outermost if it is negative; 0 keeps none.

    Raises RuntimeError without a future outside a running loop, TypeError for what is no future.
    Source: asyncio's documentation, `asyncio.capture_call_graph`.
    """
    loop = asyncio._get_running_loop()
    current = None if loop is None else asyncio.current_task(loop)
    if future is None:
        if loop is None:
            raise RuntimeError(
                "capture_call_graph() is called outside of a running event loop and no *future* to introspect was "
                "provided"
            )
        future = current
        if future is None:
            return None
    _check(future)
    if future is not current:
        return _graph_of(future, limit)
    assert current is not None
    coro: Any = current.get_coro()
    outermost = getattr(coro, "cr_frame", None) or getattr(coro, "gi_frame", None)
    stack: list[FrameCallGraphEntry] = []
    frame = sys._getframe(depth) if limit != 0 else None
    while frame is not None:
        stack.append(FrameCallGraphEntry(frame))
        if frame is outermost:
            break
        frame = frame.f_back
    if limit is not None:
        stack = stack[:limit] if limit >= 0 else stack[limit:]
    above = frozenset({id(future)})
    waiters = tuple(_graph_of(waiter, limit, above) for waiter in waiters_of(future))
    return FutureCallGraph(current, tuple(stack), waiters)


def format_call_graph(
    future: asyncio.Future[Any] | None = None, /, *, depth: int = 1, limit: int | None = None
) -> str:
    """Return the call graph as text, "" if there is none.

    Arguments and errors: those of `capture_call_graph`.
    Source: asyncio's documentation, `asyncio.format_call_graph`.
    """
    graph = capture_call_graph(future, depth=depth + 1, limit=limit)
    return "" if graph is None else "\n".join(_lines(graph, ""))


def _lines(graph: FutureCallGraph, indent: str) -> Iterator[str]:
    future: Any = graph.future
    if isinstance(future, asyncio.Task):
        yield f"{indent}* Task(name={future.get_name()!r}, id={id(future):#x})"
    else:
        yield f"{indent}* Future(id={id(future):#x})"
    if graph.call_stack:
        yield f"{indent}  + Call stack:"
    for entry in graph.call_stack:
        code = entry.frame.f_code
        place = f"File {code.co_filename!r}, line {entry.frame.f_lineno}"
        yield f"{indent}  |   {place}, in {_kind(code)}{code.co_qualname}()"
    if graph.awaited_by:
        yield f"{indent}  + Awaited by:"
    for waiter in graph.awaited_by:
        yield from _lines(waiter, indent + "    ")


def _kind(code: CodeType) -> str:
    if code.co_flags & CO_COROUTINE:
        return "async "
    if code.co_flags & CO_ASYNC_GENERATOR:
        return "async generator "
    return "generator " if code.co_flags & CO_GENERATOR else ""


def print_call_graph(
    future: asyncio.Future[Any] | None = None,
    /,
    *,
    file: TextIO | None = None,
    depth: int = 1,
    limit: int | None = None,
) -> None:
    """Print the call graph, to the standard output if no file is given.

    Arguments and errors: those of `capture_call_graph`.
    Source: asyncio's documentation, `asyncio.print_call_graph`.
    """
    print(format_call_graph(future, depth=depth + 1, limit=limit), file=file)
