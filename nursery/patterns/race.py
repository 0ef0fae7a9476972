"""Calling several async functions at once, for the first result.

Invariant: when the race is left every runner has ended; exactly one result is returned, or all errors are raised.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

from ..kernel.calling import explain_uncallable
from ..kernel.errors import Cancelled
from ..kernel.nursery import Nursery, open_nursery
from ..kernel.traps import checkpoint_if_cancelled

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")

_logger = logging.getLogger("nursery.race")


@overload
async def race(fn1: Callable[[], Awaitable[T1]], /) -> T1: ...


@overload
async def race(fn1: Callable[[], Awaitable[T1]], fn2: Callable[[], Awaitable[T2]], /) -> T1 | T2: ...


@overload
async def race(
    fn1: Callable[[], Awaitable[T1]], fn2: Callable[[], Awaitable[T2]], fn3: Callable[[], Awaitable[T3]], /
) -> T1 | T2 | T3: ...


@overload
async def race(*fns: Callable[[], Awaitable[T]]) -> T: ...


async def race(*fns: Callable[[], Awaitable[object]]) -> object:
    """Call each function in a task of its own, return the first result, and cancel the others.

    Arguments: fns are async functions without parameters; `functools.partial` and `lambda` make them of others.

    A function that fails has merely lost, as long as another succeeds; if all fail, their errors are raised in a group,
    in the order in which they came.  What is no Exception (KeyboardInterrupt, SystemExit) ends the race at once.  An
    error that a loser raises while it is being cancelled, too late to be returned by anything, is logged to
    "nursery.race".  A result that comes too late is dropped: what must be closed is for the function itself to close.

    A cancel point and a schedule point; when it is left, cancelled or not, every call has ended.  Raises ValueError
    without functions, TypeError for a coroutine object in the place of a function.

    Example::

        answer = await nursery.race(lambda: ask(mirror_1), lambda: ask(mirror_2))
    """
    if not fns:
        raise ValueError("a race needs at least one function: there would be no result to return")
    for fn in fns:
        explain_uncallable(fn)
    await checkpoint_if_cancelled()
    results: list[object] = []
    errors: list[Exception] = []

    async def compete(fn: Callable[[], Awaitable[object]], everybody: Nursery) -> None:
        try:
            result = await fn()
        except Exception as exc:
            lose(fn, exc)
        except BaseExceptionGroup as group:
            # Out of a nursery in which something failed while it was being cancelled: the failures are the runner's,
            # the cancellations belong to a scope outside.
            cancelled, failures = group.split(Cancelled)
            if not isinstance(failures, ExceptionGroup):
                raise
            lose(fn, failures)
            if cancelled is not None:
                raise cancelled from None
        else:
            if not results:
                results.append(result)
                everybody.cancel_scope.cancel(reason="another function won the race")

    def lose(fn: Callable[[], Awaitable[object]], error: Exception) -> None:
        if results:
            _logger.warning("%r lost a race and then failed", fn, exc_info=error)
        else:
            errors.append(error)

    async with open_nursery() as n:
        for fn in fns:
            n.start_soon(compete, fn, n, name=fn)
    if results:
        return results[0]
    group = ExceptionGroup("every function in the race failed", errors)
    # Their tracebacks hold frames that hold the list, and the group's will hold this frame: leave no cycle.
    errors.clear()
    try:
        raise group
    finally:
        del group


__all__ = ["race"]
