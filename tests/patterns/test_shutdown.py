"""Loops that end between two values when a scope around them is asked to shut down."""

from __future__ import annotations

import nursery
from nursery.patterns import each_until_closing
from nursery.testing import MockClock, wait_all_tasks_blocked


async def test_a_loop_ends_when_its_source_does() -> None:
    send, receive = nursery.open_memory_channel[int](3)
    for number in range(3):
        send.send_nowait(number)
    send.close()
    assert [number async for number in each_until_closing(receive)] == [0, 1, 2]


async def test_a_loop_ends_between_two_values_and_loses_none(autojump_clock: MockClock) -> None:
    send, receive = nursery.open_memory_channel[int](10)
    done: list[int] = []

    async def work() -> None:
        async for number in each_until_closing(receive):
            await nursery.sleep(1)
            done.append(number)

    async with nursery.open_nursery() as n:
        n.start_soon(work)
        for number in range(5):
            send.send_nowait(number)
        await nursery.sleep(1.5)
        n.cancel_scope.shutdown(grace=10)
    # The one under way was finished; the rest is still there.
    assert done == [0, 1]
    assert nursery.current_time() == 2
    assert receive.receive_nowait() == 2


async def test_a_loop_that_waits_for_a_value_is_ended() -> None:
    _send, receive = nursery.open_memory_channel[int](0)

    async def work() -> None:
        async for _ in each_until_closing(receive):
            pass

    async with nursery.open_nursery() as n:
        n.start_soon(work)
        await wait_all_tasks_blocked()
        n.cancel_scope.shutdown(grace=1000)
    assert not n.cancel_scope.cancelled_caught


async def test_a_cancellation_from_elsewhere_still_cancels_the_loop() -> None:
    _send, receive = nursery.open_memory_channel[int](0)
    with nursery.move_on_after(0.001) as scope:
        async for _ in each_until_closing(receive):
            pass
    assert scope.cancelled_caught
