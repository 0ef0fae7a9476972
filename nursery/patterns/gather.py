"""Calling several async functions at once, for all their results.

Invariant: either every call returned, and the results stand in the order of the calls, or the error leaves after every
call has ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

from ..kernel.calling import explain_uncallable
from ..kernel.nursery import open_nursery
from ..kernel.traps import checkpoint_if_cancelled

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
T5 = TypeVar("T5")


@overload
async def gather(fn1: Callable[[], Awaitable[T1]], /) -> tuple[T1]: ...


@overload
async def gather(fn1: Callable[[], Awaitable[T1]], fn2: Callable[[], Awaitable[T2]], /) -> tuple[T1, T2]: ...


@overload
async def gather(
    fn1: Callable[[], Awaitable[T1]], fn2: Callable[[], Awaitable[T2]], fn3: Callable[[], Awaitable[T3]], /
) -> tuple[T1, T2, T3]: ...


@overload
async def gather(
    fn1: Callable[[], Awaitable[T1]],
    fn2: Callable[[], Awaitable[T2]],
    fn3: Callable[[], Awaitable[T3]],
    fn4: Callable[[], Awaitable[T4]],
    /,
) -> tuple[T1, T2, T3, T4]: ...


@overload
async def gather(
    fn1: Callable[[], Awaitable[T1]],
    fn2: Callable[[], Awaitable[T2]],
    fn3: Callable[[], Awaitable[T3]],
    fn4: Callable[[], Awaitable[T4]],
    fn5: Callable[[], Awaitable[T5]],
    /,
) -> tuple[T1, T2, T3, T4, T5]: ...


@overload
async def gather(*fns: Callable[[], Awaitable[T]]) -> tuple[T, ...]: ...


async def gather(*fns: Callable[[], Awaitable[object]]) -> tuple[object, ...]:
    """Call each function in a task of its own, and return their results in the order of the functions.

    Arguments: fns are async functions without parameters; `functools.partial` and `lambda` make them of others.

    A cancel point and a schedule point; when it is left, cancelled or not, every call has ended.  The first failure
    cancels the other calls and leaves in a group, like every failure in a nursery.  Raises TypeError for a coroutine
    object in the place of a function.

    Example::

        user, orders = await nursery.gather(lambda: load_user(7), lambda: load_orders(7))
    """
    for fn in fns:
        explain_uncallable(fn)
    await checkpoint_if_cancelled()
    results: list[Any] = [None] * len(fns)

    async def call(place: int, fn: Callable[[], Awaitable[object]]) -> None:
        results[place] = await fn()

    async with open_nursery() as n:
        for place, fn in enumerate(fns):
            n.start_soon(call, place, fn, name=fn)
    return tuple(results)


__all__ = ["gather"]
