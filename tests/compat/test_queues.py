"""The queues of the facade: order, bounds, cancellation, shutdown."""

from __future__ import annotations

import asyncio as stdlib
from typing import Any

import pytest

import nursery
from nursery import compat as asyncio

from .kinds import Spawn, in_both_kinds, turns
from .two_loops import run


@pytest.mark.parametrize(
    ("kind", "order"),
    [(asyncio.Queue, [2, 1, 3]), (asyncio.PriorityQueue, [1, 2, 3]), (asyncio.LifoQueue, [3, 1, 2])],
)
def test_each_kind_gives_its_items_in_its_order(kind: Any, order: list[int]) -> None:
    async def main() -> None:
        queue = kind()
        for item in (2, 1, 3):
            await queue.put(item)
        assert queue.qsize() == 3
        assert [await queue.get() for _ in range(3)] == order
        assert queue.empty()

    run(main())


@in_both_kinds
def test_getters_are_served_in_the_order_of_arrival(spawn: Spawn) -> None:
    async def main() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue()
        getters = [spawn(queue.get()) for _ in range(3)]
        await turns(3)
        for item in range(3):
            queue.put_nowait(item)
        assert await asyncio.gather(*getters) == [0, 1, 2]

    run(main())


@in_both_kinds
def test_putters_wait_for_room_in_the_order_of_arrival(spawn: Spawn) -> None:
    async def main() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue(1)
        putters = [spawn(queue.put(item)) for item in range(3)]
        await turns(3)
        assert queue.full()
        assert queue.maxsize == 1
        assert [await queue.get() for _ in range(3)] == [0, 1, 2]
        await asyncio.gather(*putters)

    run(main())


@in_both_kinds
def test_an_item_is_not_lost_with_a_getter_that_is_cancelled_after_it_was_woken(spawn: Spawn) -> None:
    async def main() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue()
        first, second = spawn(queue.get()), spawn(queue.get())
        await turns(3)
        queue.put_nowait(7)
        first.cancel()
        assert await second == 7
        assert first.cancelled()

    run(main())


@in_both_kinds
def test_room_is_not_lost_with_a_putter_that_is_cancelled_after_it_was_woken(spawn: Spawn) -> None:
    async def main() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue(1)
        queue.put_nowait(0)
        first, second = spawn(queue.put(1)), spawn(queue.put(2))
        await turns(3)
        queue.get_nowait()
        first.cancel()
        await second
        assert queue.get_nowait() == 2
        assert queue.empty()

    run(main())


def test_a_cancelled_put_has_put_nothing_in() -> None:
    async def main() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue(1)
        queue.put_nowait(0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.put(1), 0.001)
        assert queue.get_nowait() == 0
        assert queue.empty()
        with pytest.raises(TimeoutError):
            await queue_get_within(queue, 0.001)
        queue.put_nowait(2)
        assert await queue.get() == 2

    async def queue_get_within(queue: asyncio.Queue[int], seconds: float) -> int:
        async with asyncio.timeout(seconds):
            return await queue.get()

    run(main())


def test_a_scope_ends_a_get_and_clean_up_may_get() -> None:
    async def main() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue()
        got: list[int] = []
        with nursery.move_on_after(0.001) as scope:
            try:
                await queue.get()
            finally:
                asyncio.get_running_loop().call_soon(queue.put_nowait, 1)
                got.append(await queue.get())
        assert scope.cancelled_caught
        assert got == [1]

    run(main())


def test_nowait_forms_raise_where_the_others_would_wait() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(1)
    with pytest.raises(asyncio.QueueEmpty):
        queue.get_nowait()
    queue.put_nowait(1)
    with pytest.raises(asyncio.QueueFull):
        queue.put_nowait(2)


@pytest.mark.parametrize("maxsize", [0, -1])
def test_a_queue_without_a_positive_size_has_no_bound(maxsize: int) -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(maxsize)
    for item in range(100):
        queue.put_nowait(item)
    assert not queue.full()


@in_both_kinds
def test_join_waits_until_the_work_on_every_item_is_done(spawn: Spawn) -> None:
    async def main() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue()
        for item in range(3):
            queue.put_nowait(item)
        joiner = spawn(queue.join())
        for _ in range(3):
            await turns(2)
            assert not joiner.done()
            queue.get_nowait()
            queue.task_done()
        await joiner
        await queue.join()

    run(main())


def test_task_done_too_often_is_refused() -> None:
    with pytest.raises(ValueError, match="too many times"):
        asyncio.Queue[int]().task_done()


# Shutdown


@in_both_kinds
def test_shutdown_wakes_who_waits_and_lets_the_rest_be_taken(spawn: Spawn) -> None:
    async def main() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue(1)
        queue.put_nowait(1)
        putter = spawn(queue.put(2))
        await turns(2)
        queue.shutdown()
        with pytest.raises(asyncio.QueueShutDown):
            await putter
        assert await queue.get() == 1
        with pytest.raises(asyncio.QueueShutDown):
            await queue.get()
        with pytest.raises(asyncio.QueueShutDown):
            queue.get_nowait()
        with pytest.raises(asyncio.QueueShutDown):
            queue.put_nowait(3)
        with pytest.raises(asyncio.QueueShutDown):
            await queue.put(3)

    run(main())


@in_both_kinds
def test_shutdown_wakes_getters_of_an_empty_queue(spawn: Spawn) -> None:
    async def main() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue()
        getters = [spawn(queue.get()) for _ in range(2)]
        await turns(2)
        queue.shutdown()
        ends = await asyncio.gather(*getters, return_exceptions=True)
        assert [type(end) for end in ends] == [asyncio.QueueShutDown] * 2

    run(main())


def test_immediate_shutdown_drops_the_items_and_counts_them_as_done() -> None:
    async def main() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue()
        queue.put_nowait(1)
        queue.put_nowait(2)
        joiner = asyncio.create_task(queue.join())
        queue.get_nowait()
        await turns(1)
        queue.shutdown(immediate=True)
        assert queue.empty()
        await turns(2)
        # One item is still being worked on.
        assert not joiner.done()
        queue.task_done()
        await joiner

    run(main())


def test_queue_shut_down_is_asyncios_own_where_it_has_one() -> None:
    if hasattr(stdlib, "QueueShutDown"):
        assert asyncio.QueueShutDown is stdlib.QueueShutDown
    assert issubclass(asyncio.QueueShutDown, Exception)
    assert asyncio.QueueFull is stdlib.QueueFull


def test_a_subclass_may_say_what_full_and_empty_are() -> None:
    class Weighted(asyncio.Queue[int]):
        """Holds a weight of at most 10."""

        def full(self) -> bool:
            return sum(self._queue) >= 10  # type: ignore[attr-defined]  # as asyncio's documented hooks use it

    async def main() -> None:
        queue = Weighted(1)
        await queue.put(4)
        await queue.put(7)
        with pytest.raises(asyncio.QueueFull):
            queue.put_nowait(1)
        blocked = asyncio.create_task(queue.put(1))
        await turns(2)
        assert not blocked.done()
        assert await queue.get() == 4
        await blocked

    run(main())


def test_a_queue_waited_on_in_one_loop_is_refused_in_another() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.get(), 0.001)

    run(main())
    with pytest.raises(RuntimeError, match="different event loop"):
        run(main())


def test_their_repr_tells_what_is_inside() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(3)
    queue.put_nowait(5)
    assert "maxsize=3 _queue=[5] tasks=1" in repr(queue)
    assert asyncio.Queue[int] is not None
