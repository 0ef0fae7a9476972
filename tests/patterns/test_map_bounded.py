"""map_bounded and open_bounded_map: one function, many items, few at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from itertools import count

import pytest

import nursery
from nursery.patterns import map_bounded, open_bounded_map
from nursery.testing import MockClock, wait_all_tasks_blocked


class Gauge:
    """Counts how many calls are under way at once."""

    def __init__(self) -> None:
        self.now = self.most = 0

    async def __call__(self, seconds: int) -> str:
        self.now += 1
        self.most = max(self.most, self.now)
        await nursery.sleep(seconds)
        self.now -= 1
        return str(seconds)


async def arriving(*items: int) -> AsyncGenerator[int, None]:
    for item in items:
        await nursery.sleep(1)
        yield item


# map_bounded


async def test_results_stand_in_the_order_of_the_items(autojump_clock: MockClock) -> None:
    results: list[str] = await map_bounded(Gauge(), [3, 1, 2], limit=3)
    assert results == ["3", "1", "2"]
    assert nursery.current_time() == 3


async def test_no_more_than_limit_calls_are_under_way(autojump_clock: MockClock) -> None:
    gauge = Gauge()
    await map_bounded(gauge, [1] * 10, limit=3)
    assert gauge.most == 3
    assert nursery.current_time() == 4


async def test_a_slow_call_does_not_hold_the_others_up(autojump_clock: MockClock) -> None:
    await map_bounded(Gauge(), [10, *[1] * 10], limit=2)
    assert nursery.current_time() == 10


async def test_items_may_arrive_one_after_the_other(autojump_clock: MockClock) -> None:
    assert await map_bounded(Gauge(), arriving(5, 1, 1), limit=2) == ["5", "1", "1"]
    assert nursery.current_time() == 6


async def test_an_item_is_taken_only_when_its_call_can_begin(autojump_clock: MockClock) -> None:
    taken: list[int] = []

    def items() -> Generator[int, None, None]:
        for item in count():
            taken.append(item)
            yield 10

    with nursery.move_on_after(15):
        await map_bounded(Gauge(), items(), limit=2)
    assert taken == [0, 1, 2, 3]


async def test_no_items_no_results() -> None:
    assert await map_bounded(Gauge(), [], limit=1) == []


async def test_the_first_failure_cancels_the_rest_and_takes_no_further_item(autojump_clock: MockClock) -> None:
    begun: list[int] = []

    async def call(item: int) -> None:
        begun.append(item)
        await nursery.sleep(item)
        if item == 1:
            raise KeyError(item)

    with pytest.raises(ExceptionGroup) as caught:
        await map_bounded(call, [5, 1, 7, 8], limit=2)
    assert [type(error) for error in caught.value.exceptions] == [KeyError]
    assert begun == [5, 1]
    assert nursery.current_time() == 1


async def test_a_failure_of_the_items_is_a_failure(autojump_clock: MockClock) -> None:
    def items() -> Generator[int, None, None]:
        yield 1
        raise OSError("no more")

    with pytest.raises(ExceptionGroup) as caught:
        await map_bounded(Gauge(), items(), limit=2)
    assert [str(error) for error in caught.value.exceptions] == ["no more"]


@pytest.mark.parametrize(("limit", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (None, TypeError)])
async def test_the_limit_is_checked(limit: int, error: type[Exception]) -> None:
    with pytest.raises(error, match="limit"):
        await map_bounded(Gauge(), [1], limit=limit)
    with pytest.raises(error, match="limit"):
        async with open_bounded_map(Gauge(), [1], limit=limit):
            pass


async def test_what_cannot_be_iterated_over_is_refused() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await map_bounded(Gauge(), 5, limit=1)  # type: ignore[arg-type]  # wrong on purpose
    assert [type(error) for error in caught.value.exceptions] == [TypeError]


# open_bounded_map


async def test_results_can_be_consumed_as_they_come(autojump_clock: MockClock) -> None:
    arrivals = []
    async with open_bounded_map(Gauge(), [2, 1, 3], limit=3) as results:
        async for result in results:
            arrivals.append((nursery.current_time(), result))
    assert arrivals == [(2, "2"), (2, "1"), (3, "3")]


async def test_results_that_nobody_consumes_hold_the_calls_up(autojump_clock: MockClock) -> None:
    begun: list[int] = []

    async def call(item: int) -> int:
        begun.append(item)
        return item

    async with open_bounded_map(call, count(), limit=3) as results:
        await wait_all_tasks_blocked()
        assert begun == [0, 1, 2]
        assert await anext(results) == 0
        await wait_all_tasks_blocked()
        assert begun == [0, 1, 2, 3]


async def test_leaving_the_block_cancels_what_is_under_way(autojump_clock: MockClock) -> None:
    ended: list[int] = []

    async def call(item: int) -> int:
        try:
            await nursery.sleep(item)
        finally:
            ended.append(item)
        return item

    async with open_bounded_map(call, arriving(1, 100, 1), limit=2) as results:
        async for _ in results:
            break
    assert ended == [1, 100]
    assert nursery.current_time() == 2


async def test_a_cancelled_consumer_has_consumed_nothing(autojump_clock: MockClock) -> None:
    async with open_bounded_map(Gauge(), [5], limit=1) as results:
        with nursery.move_on_after(1) as scope:
            await anext(results)
        assert scope.cancelled_caught
        with nursery.CancelScope() as scope:
            scope.cancel()
            await anext(results)
        assert await anext(results) == "5"
        for _ in range(2):
            with pytest.raises(StopAsyncIteration):
                await anext(results)


async def test_several_tasks_may_consume(autojump_clock: MockClock) -> None:
    got: list[str] = []
    async with open_bounded_map(Gauge(), [1, 2, 3, 4], limit=4) as results:

        async def consume() -> None:
            async for result in results:
                got.append(result)

        async with nursery.open_nursery() as n:
            n.start_soon(consume)
            n.start_soon(consume)
    assert got == ["1", "2", "3", "4"]


async def test_a_failing_call_cancels_the_block_and_leaves_it_in_a_group(autojump_clock: MockClock) -> None:
    async def call(item: int) -> int:
        await nursery.sleep(item)
        raise KeyError(item)

    with pytest.raises(ExceptionGroup) as caught:
        async with open_bounded_map(call, [1, 2], limit=2) as results:
            async for _ in results:
                pass
    assert [type(error) for error in caught.value.exceptions] == [KeyError]
