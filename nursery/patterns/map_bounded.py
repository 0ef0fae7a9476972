"""Calling one async function for many items, a bounded number of them at a time.

Invariant: an item is taken from its source only when there is a slot for its call, so an endless source does not pile
up; results stand in the order of the items, whichever call is done first.

`map_bounded` frees a slot when a call is done, and returns all results in the end.  `open_bounded_map` frees it when
the result was consumed, so results do not pile up either.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Generic, Self, TypeVar, final

from ..kernel.nursery import Nursery, open_nursery
from ..kernel.parking import ParkingLot
from ..kernel.traps import checkpoint, checkpoint_if_cancelled
from ..sync.semaphore import Semaphore

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


async def map_bounded(
    fn: Callable[[ItemT], Awaitable[ResultT]], items: Iterable[ItemT] | AsyncIterable[ItemT], *, limit: int
) -> list[ResultT]:
    """Call `fn(item)` for each item, at most `limit` calls at a time, and return the results in the order of the items.

    Arguments: items is anything that `for` or `async for` takes; an item is taken from it only when its call can begin.
    limit is an int of at least 1.

    A cancel point and a schedule point; when it is left, cancelled or not, every call has ended.  The first failure, of
    a call or of the items, cancels the other calls and leaves in a group, like every failure in a nursery.  Raises
    TypeError or ValueError for a limit that is none, TypeError for items that cannot be iterated over.

    Example::

        pages = await nursery.map_bounded(fetch, urls, limit=10)
    """
    slots = _slots(limit)
    await checkpoint_if_cancelled()
    results: dict[int, ResultT] = {}

    async def call(place: int, item: ItemT) -> None:
        results[place] = await fn(item)
        # Not after a failure: the nursery is then about to be cancelled, and no call should begin before that.
        slots.release()

    count = 0
    async with open_nursery() as n:

        def begin(item: ItemT) -> None:
            nonlocal count
            n.start_soon(call, count, item, name=fn)
            count += 1

        await _feed(items, slots, begin)
    return [results[place] for place in range(count)]


@asynccontextmanager
async def open_bounded_map(
    fn: Callable[[ItemT], Awaitable[ResultT]], items: Iterable[ItemT] | AsyncIterable[ItemT], *, limit: int
) -> AsyncGenerator[AsyncIterator[ResultT], None]:
    """Call `fn(item)` for each item while the block runs; it is given an async iterator over the results.

    Arguments: those of `map_bounded`.  At most `limit` items are under way at a time, counted until their result was
    consumed; results come in the order of the items.

    Leaving the block cancels the calls that are still under way, and waits for them.  Failures leave it in a group.
    Receiving a result is a cancel point; a cancelled one has consumed nothing.

    Example::

        async with nursery.open_bounded_map(fetch, endless_urls(), limit=10) as pages:
            async for page in pages:
                if found(page):
                    break
    """
    slots = _slots(limit)
    results: _Results[ResultT] = _Results(slots)
    async with open_nursery() as n:
        n.start_soon(_feed_results, fn, items, slots, results, n)
        yield results
        n.cancel_scope.cancel(reason="the block of an open_bounded_map was left")


def _slots(limit: int) -> Semaphore:
    if not isinstance(limit, int):
        raise TypeError(f"limit must be an int, not {limit!r}")
    if limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}: no call could ever begin")
    return Semaphore(limit)


async def _feed(
    items: Iterable[ItemT] | AsyncIterable[ItemT], slots: Semaphore, begin: Callable[[ItemT], None]
) -> None:
    """Begin a call for each item, taking a slot before the item."""
    if isinstance(items, AsyncIterable):
        incoming = aiter(items)
        while True:
            await slots.acquire()
            try:
                item = await anext(incoming)
            except StopAsyncIteration:
                return
            begin(item)
    else:
        source = iter(items)
        while True:
            await slots.acquire()
            try:
                item = next(source)
            except StopIteration:
                return
            begin(item)


async def _feed_results(
    fn: Callable[[ItemT], Awaitable[ResultT]],
    items: Iterable[ItemT] | AsyncIterable[ItemT],
    slots: Semaphore,
    results: _Results[ResultT],
    n: Nursery,
) -> None:
    async def call(place: _Place[ResultT], item: ItemT) -> None:
        place.value = (await fn(item),)
        results.changed()

    def begin(item: ItemT) -> None:
        n.start_soon(call, results.append(), item, name=fn)

    await _feed(items, slots, begin)
    results.end()


class _Place(Generic[ResultT]):
    """Where the result of one call will be."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: tuple[ResultT] | None = None


@final
class _Results(AsyncIterator[ResultT]):
    """The results that were not consumed yet, in order; some of them still to come."""

    def __init__(self, slots: Semaphore) -> None:
        self._slots = slots
        self._places: deque[_Place[ResultT]] = deque()
        self._ended = False
        self._consumers = ParkingLot()

    def append(self) -> _Place[ResultT]:
        place: _Place[ResultT] = _Place()
        self._places.append(place)
        return place

    def end(self) -> None:
        self._ended = True
        self.changed()

    def changed(self) -> None:
        self._consumers.unpark_all()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ResultT:
        await checkpoint()
        while True:
            if self._places:
                value = self._places[0].value
                if value is not None:
                    self._places.popleft()
                    self._slots.release()
                    return value[0]
            elif self._ended:
                raise StopAsyncIteration
            await self._consumers.park()


__all__ = ["map_bounded", "open_bounded_map"]
