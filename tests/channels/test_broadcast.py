"""Broadcast channels: every receiver gets every value."""

from __future__ import annotations

from math import inf

import pytest

import nursery
from nursery import ClosedResourceError, EndOfChannel, WouldBlock
from nursery.channels.broadcast import (
    BroadcastReceiveChannel,
    BroadcastSendChannel,
    open_broadcast_channel,
)
from nursery.testing import assert_checkpoints, assert_no_checkpoints, explore_schedules, wait_all_tasks_blocked


async def collect(receiver: BroadcastReceiveChannel[int], into: list[int]) -> None:
    async for value in receiver:
        into.append(value)


async def test_every_receiver_gets_every_value_in_order() -> None:
    send = open_broadcast_channel[int](2)
    results: list[list[int]] = [[], [], []]
    async with nursery.open_nursery() as n:
        for result in results:
            n.start_soon(collect, send.subscribe(), result)
        async with send:
            for number in range(10):
                await send.send(number)
    assert results == [list(range(10))] * 3


async def test_a_receiver_gets_what_is_sent_after_it_subscribed() -> None:
    send = open_broadcast_channel[int](5)
    early = send.subscribe()
    await send.send(1)
    late = send.subscribe()
    await send.send(2)
    send.close()
    assert [value async for value in early] == [1, 2]
    assert [value async for value in late] == [2]


async def test_without_receivers_values_go_nowhere() -> None:
    send = open_broadcast_channel[int](1)
    for number in range(5):
        await send.send(number)
    assert send.statistics().longest_buffer == 0


async def test_the_slowest_receiver_sets_the_pace() -> None:
    send = open_broadcast_channel[int](2)
    fast, slow = send.subscribe(), send.subscribe()
    await send.send(1)
    await send.send(2)
    assert [fast.receive_nowait(), fast.receive_nowait()] == [1, 2]
    with pytest.raises(WouldBlock):
        send.send_nowait(3)
    async with nursery.open_nursery() as n:
        n.start_soon(send.send, 3)
        await wait_all_tasks_blocked()
        # Nobody has the value before everybody can have it.
        with pytest.raises(WouldBlock):
            fast.receive_nowait()
        assert slow.receive_nowait() == 1
        assert fast.receive_nowait() == 3
    assert [slow.receive_nowait(), slow.receive_nowait()] == [2, 3]
    assert fast.missed == slow.missed == 0


async def test_waiting_senders_go_on_in_the_order_in_which_they_came() -> None:
    send = open_broadcast_channel[int](1)
    receiver = send.subscribe()
    await send.send(0)
    received = []
    async with nursery.open_nursery() as n:
        for number in (1, 2, 3):
            n.start_soon(send.send, number)
            await wait_all_tasks_blocked()
        for _ in range(4):
            received.append(await receiver.receive())
            # Whoever comes later waits behind those who wait, even if there is room.
            if send.statistics().tasks_waiting_send:
                with pytest.raises(WouldBlock):
                    send.send_nowait(99)
    assert received == [0, 1, 2, 3]


async def test_a_receiver_that_drops_the_oldest_counts_what_it_missed() -> None:
    send = open_broadcast_channel[int](2, when_full="drop_oldest")
    fast, slow = send.subscribe(), send.subscribe()
    for number in range(5):
        await send.send(number)
        assert await fast.receive() == number
    send.close()
    assert [value async for value in slow] == [3, 4]
    assert (fast.missed, slow.missed) == (0, 3)


async def test_a_cancelled_send_has_sent_nothing_to_anybody() -> None:
    send = open_broadcast_channel[int](1)
    a, b = send.subscribe(), send.subscribe()
    await send.send(1)
    assert a.receive_nowait() == 1
    with nursery.move_on_after(0.001) as scope:
        await send.send(2)
    assert scope.cancelled_caught
    assert b.receive_nowait() == 1
    for receiver in (a, b):
        with pytest.raises(WouldBlock):
            receiver.receive_nowait()
    with nursery.CancelScope() as scope:
        scope.cancel()
        await send.send(3)
    with pytest.raises(WouldBlock):
        a.receive_nowait()


async def test_a_cancelled_receive_loses_no_value() -> None:
    send = open_broadcast_channel[int](1)
    receiver = send.subscribe()
    received: list[int] = []

    async def receive(scope: nursery.CancelScope) -> None:
        with scope:
            received.append(await receiver.receive())

    # Cancelled before the value comes, and in the same turn in which it comes.
    for value_first in (False, True):
        scope = nursery.CancelScope()
        async with nursery.open_nursery() as n:
            n.start_soon(receive, scope)
            await wait_all_tasks_blocked()
            if value_first:
                send.send_nowait(1)
                scope.cancel()
            else:
                scope.cancel()
                send.send_nowait(0)
        assert received == ([1] if value_first else [])
        if not value_first:
            assert receiver.receive_nowait() == 0


async def test_closing_a_slow_receiver_lets_senders_go_on() -> None:
    send = open_broadcast_channel[int](1)
    slow, other = send.subscribe(), send.subscribe()
    await send.send(1)
    assert other.receive_nowait() == 1
    async with nursery.open_nursery() as n:
        n.start_soon(send.send, 2)
        await wait_all_tasks_blocked()
        slow.close()
        slow.close()
    assert other.receive_nowait() == 2
    with pytest.raises(ClosedResourceError):
        slow.receive_nowait()
    with pytest.raises(ClosedResourceError):
        await slow.receive()


async def test_closing_a_receiver_wakes_who_waits_on_it_and_nobody_else() -> None:
    send = open_broadcast_channel[int](1)
    closing, staying = send.subscribe(), send.subscribe()

    async def expect_closed() -> None:
        with pytest.raises(ClosedResourceError):
            await closing.receive()

    async def expect_value() -> None:
        assert await staying.receive() == 1

    async with nursery.open_nursery() as n:
        n.start_soon(expect_closed)
        n.start_soon(expect_value)
        await wait_all_tasks_blocked()
        await closing.aclose()
        await send.send(1)


async def test_the_channel_ends_when_every_sending_handle_is_closed() -> None:
    send = open_broadcast_channel[int](5)
    clone = send.clone()
    receiver = send.subscribe()
    async with nursery.open_nursery() as n:

        async def expect_end() -> None:
            assert await receiver.receive() == 1
            with pytest.raises(EndOfChannel):
                await receiver.receive()

        n.start_soon(expect_end)
        await send.aclose()
        with clone:
            clone.send_nowait(1)
        await wait_all_tasks_blocked()
    with pytest.raises(EndOfChannel):
        receiver.receive_nowait()


async def test_closing_a_sending_handle_wakes_its_senders_alone() -> None:
    send = open_broadcast_channel[int](1)
    clone = send.clone()
    receiver = send.subscribe()
    send.send_nowait(0)

    async def expect_closed() -> None:
        with pytest.raises(ClosedResourceError):
            await send.send(1)

    async with nursery.open_nursery() as n:
        n.start_soon(expect_closed)
        n.start_soon(clone.send, 2)
        await wait_all_tasks_blocked()
        send.close()
        assert await receiver.receive() == 0
        assert await receiver.receive() == 2
    for call in (send.subscribe, send.clone, lambda: send.send_nowait(3)):
        with pytest.raises(ClosedResourceError):
            call()
    with pytest.raises(ClosedResourceError):
        await send.send(3)


async def test_tasks_that_share_a_receiver_share_its_values_fairly() -> None:
    send = open_broadcast_channel[int](1)
    receiver = send.subscribe()
    received: dict[str, int] = {}

    async def receive(name: str) -> None:
        received[name] = await receiver.receive()

    async with nursery.open_nursery() as n:
        for name in "abc":
            n.start_soon(receive, name)
            await wait_all_tasks_blocked()
        for number in range(3):
            send.send_nowait(number)
    assert received == {"a": 0, "b": 1, "c": 2}


async def test_the_operations_are_checkpoints() -> None:
    send = open_broadcast_channel[int](1)
    receiver = send.subscribe()
    with assert_checkpoints():
        await send.send(1)
    with assert_checkpoints():
        await receiver.receive()
    with assert_no_checkpoints():
        send.send_nowait(1)
        receiver.receive_nowait()
        send.close()
        receiver.close()
    with assert_checkpoints():
        await send.aclose()
    with assert_checkpoints():
        await receiver.aclose()


async def test_statistics_and_reprs_tell_how_it_is() -> None:
    send = open_broadcast_channel[int](3)
    receiver = send.subscribe()
    send.subscribe()
    send.send_nowait(1)
    receiver.receive_nowait()
    async with nursery.open_nursery() as n:
        n.start_soon(receiver.receive)
        await wait_all_tasks_blocked()
        statistics = receiver.statistics()
        n.cancel_scope.cancel()
    assert statistics.max_buffer_size == 3
    assert statistics.longest_buffer == 1
    assert statistics.open_send_channels == 1
    assert statistics.open_receive_channels == 2
    assert statistics.tasks_waiting_send == 0
    assert statistics.tasks_waiting_receive == 1
    receiver.close()
    send.close()
    assert repr(send).endswith(", closed>")
    assert repr(receiver).endswith(", closed>")


def test_arguments_are_checked() -> None:
    with pytest.raises(TypeError, match="max_buffer_size"):
        open_broadcast_channel[int](1.5)
    with pytest.raises(ValueError, match="max_buffer_size"):
        open_broadcast_channel[int](0)
    with pytest.raises(ValueError, match="when_full"):
        open_broadcast_channel[int](1, when_full="explode")  # type: ignore[arg-type]  # wrong on purpose
    for cls in (BroadcastSendChannel, BroadcastReceiveChannel):
        with pytest.raises(TypeError, match="no public constructor"):
            cls()
    open_broadcast_channel[int](inf)


def test_in_no_schedule_a_value_is_lost_or_doubled() -> None:
    async def program() -> None:
        send = open_broadcast_channel[int](1)
        results: list[list[int]] = [[], [], []]

        async def produce(handle: BroadcastSendChannel[int], start: int) -> None:
            with handle:
                for number in range(start, start + 5):
                    await handle.send(number)

        async def consume(receiver: BroadcastReceiveChannel[int], into: list[int]) -> None:
            try:
                while True:
                    with nursery.CancelScope() as scopes[into is results[0]]:
                        into.append(await receiver.receive())
            except EndOfChannel:
                pass

        async def disturb() -> None:
            for _ in range(30):
                await nursery.lowlevel.checkpoint()
                scopes[True].cancel()

        scopes = {True: nursery.CancelScope()}
        with nursery.fail_after(10_000):
            async with nursery.open_nursery() as n:
                for result in results:
                    n.start_soon(consume, send.subscribe(), result)
                n.start_soon(disturb)
                for start in (0, 100):
                    n.start_soon(produce, send.clone(), start)
                send.close()
        assert results[0] == results[1] == results[2]
        assert sorted(results[0]) == [*range(5), *range(100, 105)]

    explore_schedules(program, seeds=range(30))
