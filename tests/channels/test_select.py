"""select: receiving from whichever channel has something first."""

from __future__ import annotations

import gc
import importlib

import pytest

import nursery
from nursery import ClosedResourceError, EndOfChannel, MemoryReceiveChannel, MemorySendChannel, WouldBlock
from nursery.channels.broadcast import open_broadcast_channel
from nursery.channels.select import select
from nursery.testing import assert_checkpoints, explore_schedules, wait_all_tasks_blocked


async def test_a_value_that_is_there_is_received_at_once() -> None:
    _, empty = nursery.open_memory_channel[int](1)
    send, full = nursery.open_memory_channel[str](1)
    send.send_nowait("x")
    channel, value = await select(empty, full)
    assert channel is full
    assert value == "x"


@pytest.mark.parametrize("size", [0, 5])
async def test_select_waits_for_the_first_value(size: int) -> None:
    send_a, a = nursery.open_memory_channel[int](size)
    send_b, b = nursery.open_memory_channel[int](size)
    got: list[object] = []

    async def choose() -> None:
        got.append(await select(a, b))

    async with nursery.open_nursery() as n:
        n.start_soon(choose)
        await wait_all_tasks_blocked()
        assert not got
        await send_b.send(1)
    assert got == [(b, 1)]
    # It is gone from the queues of both.
    for send in (send_a, send_b):
        assert send.statistics().tasks_waiting_receive == 0


async def test_a_waiting_select_counts_as_a_receiver() -> None:
    send, receive = nursery.open_memory_channel[int](0)
    _, other = nursery.open_memory_channel[int](0)
    async with nursery.open_nursery() as n:
        n.start_soon(select, other, receive)
        await wait_all_tasks_blocked()
        assert receive.statistics().tasks_waiting_receive == 1
        send.send_nowait(1)
        with pytest.raises(WouldBlock):
            send.send_nowait(2)


@pytest.mark.parametrize("inline", [True, False])
async def test_two_values_in_one_turn_are_given_once_and_the_other_stays(inline: bool) -> None:
    send_a, a = nursery.open_memory_channel[str](1)
    send_b, b = nursery.open_memory_channel[str](1)
    got: list[object] = []

    async def choose() -> None:
        got.append(await select(a, b))

    async with nursery.open_nursery() as n:
        n.start_soon(choose)
        await wait_all_tasks_blocked()
        if inline:
            # send() wakes a receiver in line, send_nowait() by its method: a select must look like a task to both.
            await send_b.send("b")
            await send_a.send("a")
        else:
            send_b.send_nowait("b")
            send_a.send_nowait("a")
    assert got == [(b, "b")]
    assert a.receive_nowait() == "a"


async def test_receivers_and_selects_are_served_in_the_order_in_which_they_came() -> None:
    send, receive = nursery.open_memory_channel[int](0)
    _, other = nursery.open_memory_channel[int](0)
    got: dict[str, int] = {}

    async def plain(name: str) -> None:
        got[name] = await receive.receive()

    async def selecting(name: str) -> None:
        _, got[name] = await select(other, receive)

    async with nursery.open_nursery() as n:
        for function, name in ((plain, "first"), (selecting, "second"), (plain, "third")):
            n.start_soon(function, name)
            await wait_all_tasks_blocked()
        for number in range(3):
            send.send_nowait(number)
    assert got == {"first": 0, "second": 1, "third": 2}


async def test_channels_that_always_have_something_take_turns() -> None:
    channels = [nursery.open_memory_channel[int](10) for _ in range(3)]
    for send, _ in channels:
        for number in range(4):
            send.send_nowait(number)
    receivers = [receive for _, receive in channels]
    order = []
    for _ in range(12):
        channel, _value = await select(*receivers)
        order.append(receivers.index(channel))  # type: ignore[arg-type]  # these are memory channels all
    assert order == [0, 1, 2] * 4


async def test_two_selects_over_the_same_channels_starve_none() -> None:
    channels = [nursery.open_memory_channel[int](100) for _ in range(2)]
    for send, _ in channels:
        for number in range(20):
            send.send_nowait(number)
    receivers = [receive for _, receive in channels]
    for _ in range(10):
        # One of them gets its turn from the back.
        await select(*receivers)
        await select(*reversed(receivers))
    assert [receive.statistics().current_buffer_used for receive in receivers] == [10, 10]


async def test_a_cancelled_select_has_taken_nothing() -> None:
    send_a, a = nursery.open_memory_channel[int](1)
    send_b, b = nursery.open_memory_channel[int](1)
    with nursery.move_on_after(0.001) as scope:
        await select(a, b)
    assert scope.cancelled_caught
    assert a.statistics().tasks_waiting_receive == b.statistics().tasks_waiting_receive == 0
    send_a.send_nowait(1)
    send_b.send_nowait(2)
    with nursery.CancelScope() as scope:
        scope.cancel()
        await select(a, b)
    assert scope.cancelled_caught
    assert [a.receive_nowait(), b.receive_nowait()] == [1, 2]


async def test_a_value_given_before_the_cancellation_is_not_lost() -> None:
    send, receive = nursery.open_memory_channel[int](0)
    _, other = nursery.open_memory_channel[int](0)
    got: list[int] = []

    async def choose(scope: nursery.CancelScope) -> None:
        with scope:
            got.append((await select(receive, other))[1])

    scope = nursery.CancelScope()
    async with nursery.open_nursery() as n:
        n.start_soon(choose, scope)
        await wait_all_tasks_blocked()
        send.send_nowait(1)
        scope.cancel()
    assert got == [1]


async def test_a_channel_that_has_ended_is_left_out() -> None:
    ended_send, ended = nursery.open_memory_channel[int](1)
    send, receive = nursery.open_memory_channel[int](1)
    ended_send.close()
    async with nursery.open_nursery() as n:
        n.start_soon(send.send, 1)
        assert await select(ended, receive) == (receive, 1)
    send.close()
    with pytest.raises(EndOfChannel):
        await select(ended, receive)


async def test_channels_that_end_during_the_wait_end_it_when_all_have() -> None:
    send_a, a = nursery.open_memory_channel[int](1)
    send_b, b = nursery.open_memory_channel[int](1)
    clone = a.clone()

    async def expect_end() -> None:
        with pytest.raises(EndOfChannel):
            await select(a, b, clone)

    async with nursery.open_nursery() as n:
        n.start_soon(expect_end)
        await wait_all_tasks_blocked()
        send_a.close()
        await wait_all_tasks_blocked()
        assert b.statistics().tasks_waiting_receive == 1
        send_b.close()


async def test_a_value_still_comes_when_another_channel_ends_during_the_wait() -> None:
    send_a, a = nursery.open_memory_channel[int](1)
    send_b, b = nursery.open_memory_channel[int](1)
    async with nursery.open_nursery() as n:

        async def choose() -> None:
            assert await select(a, b) == (b, 1)

        n.start_soon(choose)
        await wait_all_tasks_blocked()
        send_a.close()
        send_b.send_nowait(1)


async def test_closing_a_handle_wakes_the_select_and_takes_it_out_of_the_others() -> None:
    _send_a, a = nursery.open_memory_channel[int](1)
    send_b, b = nursery.open_memory_channel[int](1)
    broadcast = open_broadcast_channel[int](1)
    c = broadcast.subscribe()

    async def expect_closed() -> None:
        with pytest.raises(ClosedResourceError):
            await select(a, b, c)

    for channel in (a, c):
        async with nursery.open_nursery() as n:
            n.start_soon(expect_closed)
            await wait_all_tasks_blocked()
            channel.close()
        assert b.statistics().tasks_waiting_receive == 0
        with pytest.raises(ClosedResourceError):
            await select(b, channel)
        if channel is a:
            a = a_new()
    send_b.send_nowait(1)
    # A closed handle among them is a mistake, whatever the others have.
    with pytest.raises(ClosedResourceError):
        await select(b, c)
    assert b.receive_nowait() == 1


def a_new() -> MemoryReceiveChannel[int]:
    return nursery.open_memory_channel[int](1)[1]


async def test_broadcast_channels_can_be_selected_from() -> None:
    broadcast = open_broadcast_channel[str](1)
    first, second = broadcast.subscribe(), broadcast.subscribe()
    send, memory = nursery.open_memory_channel[int](1)
    async with nursery.open_nursery() as n:

        async def choose() -> None:
            assert await select(memory, first) == (first, "x")
            assert await select(memory, first) == (memory, 1)
            with nursery.move_on_after(0.001):
                await select(memory, first)
            assert broadcast.statistics().tasks_waiting_receive == 0
            with pytest.raises(EndOfChannel):
                await select(first)

        n.start_soon(choose)
        await wait_all_tasks_blocked()
        broadcast.send_nowait("x")
        assert second.receive_nowait() == "x"
        send.send_nowait(1)
        await wait_all_tasks_blocked()
        broadcast.close()


async def test_select_is_a_checkpoint() -> None:
    send, receive = nursery.open_memory_channel[int](1)
    send.send_nowait(1)
    with assert_checkpoints():
        await select(receive)


async def test_what_cannot_be_selected_from_is_refused_before_anything_is_taken() -> None:
    send, receive = nursery.open_memory_channel[int](1)
    send.send_nowait(1)
    with pytest.raises(ValueError, match="at least one"):
        await select()
    with pytest.raises(ValueError, match="twice"):
        await select(receive, receive)
    with pytest.raises(TypeError, match="receiving handles"):
        await select(receive, send)  # type: ignore[call-overload]  # wrong on purpose
    assert receive.receive_nowait() == 1


async def test_the_memory_of_turns_holds_no_channel_alive() -> None:
    module = importlib.import_module("nursery.channels.select")
    gc.collect()
    before = len(module._served)
    send, receive = nursery.open_memory_channel[int](1)
    send.send_nowait(1)
    await select(receive)
    assert len(module._served) == before + 1
    del receive
    gc.collect()
    assert len(module._served) == before


def test_in_no_schedule_a_value_is_lost_or_doubled() -> None:
    async def program() -> None:
        sends: list[MemorySendChannel[int]] = []
        receivers: list[MemoryReceiveChannel[int]] = []
        for size in (0, 1, 3):
            send, receive = nursery.open_memory_channel[int](size)
            sends.append(send)
            receivers.append(receive)
        got: list[int] = []

        async def produce(send: MemorySendChannel[int], start: int) -> None:
            with send:
                for number in range(start, start + 6):
                    await send.send(number)

        async def consume(order: list[MemoryReceiveChannel[int]]) -> None:
            try:
                while True:
                    with nursery.CancelScope() as scopes[order is receivers]:
                        got.append((await select(*order))[1])
            except EndOfChannel:
                pass

        async def disturb() -> None:
            for _ in range(30):
                await nursery.lowlevel.checkpoint()
                scopes[True].cancel()

        scopes = {True: nursery.CancelScope()}
        with nursery.fail_after(10_000):
            async with nursery.open_nursery() as n:
                for number, send in enumerate(sends):
                    n.start_soon(produce, send, 100 * number)
                n.start_soon(consume, receivers)
                n.start_soon(consume, receivers[::-1])
                n.start_soon(disturb)
        assert sorted(got) == [*range(6), *range(100, 106), *range(200, 206)]

    explore_schedules(program, seeds=range(50))
