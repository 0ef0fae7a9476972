"""Memory channels: values handed from task to task, none lost, none twice."""

from __future__ import annotations

import gc
import random
from math import inf, nan
from typing import Any

import pytest

import nursery
from nursery.channels import (
    MemoryChannelStatistics,
    MemoryReceiveChannel,
    MemorySendChannel,
    open_memory_channel,
)
from nursery.testing import assert_checkpoints, assert_no_checkpoints, explore_schedules, wait_all_tasks_blocked

# Making one


@pytest.mark.parametrize(
    ("size", "error"), [(1.0, TypeError), (nan, TypeError), ("1", TypeError), (-1, ValueError), (-inf, TypeError)]
)
def test_a_wrong_size_is_refused(size: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="max_buffer_size must be"):
        open_memory_channel(size)


def test_it_can_be_subscripted_with_a_type_and_returns_a_plain_pair() -> None:
    pair = open_memory_channel[int](5)
    assert type(pair) is tuple
    send, receive = pair
    send.send_nowait(1)
    assert receive.receive_nowait() == 1
    typed: MemorySendChannel[str]
    typed, _other = open_memory_channel(inf)
    typed.send_nowait("text")


def test_the_handles_have_no_public_constructor() -> None:
    for handle in (MemorySendChannel, MemoryReceiveChannel):
        with pytest.raises(TypeError, match="has no public constructor"):
            handle(object())


def test_handles_of_one_channel_show_that_they_belong_together() -> None:
    send, receive = open_memory_channel[int](1)
    assert repr(send).startswith("<send channel at 0x")
    assert repr(receive).startswith("<receive channel at 0x")
    assert repr(send).rpartition("using buffer at")[2] == repr(receive).rpartition("using buffer at")[2]
    send.close()
    assert repr(send).endswith(", closed>")


# Sending and receiving


async def test_values_come_out_in_the_order_in_which_they_went_in() -> None:
    send, receive = open_memory_channel[int](2)
    with pytest.raises(nursery.WouldBlock):
        receive.receive_nowait()
    with assert_checkpoints():
        await send.send(1)
    with assert_no_checkpoints():
        send.send_nowait(2)
    with pytest.raises(nursery.WouldBlock):
        send.send_nowait(3)
    assert send.statistics() == receive.statistics()
    with assert_checkpoints():
        assert await receive.receive() == 1
    with assert_no_checkpoints():
        assert receive.receive_nowait() == 2
    with pytest.raises(nursery.WouldBlock):
        receive.receive_nowait()


async def test_every_operation_is_a_checkpoint_each_time() -> None:
    send, receive = open_memory_channel[int](1)
    for i in range(20):
        with assert_checkpoints():
            await send.send(i)
        with assert_checkpoints():
            assert await receive.receive() == i
    with assert_checkpoints():
        await send.aclose()
    with assert_checkpoints():
        await receive.aclose()


async def test_without_a_buffer_a_value_is_handed_over_in_person() -> None:
    send, receive = open_memory_channel[int](0)
    record: list[str] = []

    async def sender() -> None:
        with assert_checkpoints():
            await send.send(1)
        record.append("sent")

    with pytest.raises(nursery.WouldBlock):
        send.send_nowait(0)
    async with nursery.open_nursery() as n:
        n.start_soon(sender)
        await wait_all_tasks_blocked()
        assert record == []
        assert receive.statistics().tasks_waiting_send == 1
        assert receive.receive_nowait() == 1
        with pytest.raises(nursery.WouldBlock):
            receive.receive_nowait()
    assert record == ["sent"]


async def test_without_a_limit_a_send_never_waits() -> None:
    send, receive = open_memory_channel[int](inf)
    for i in range(1000):
        await send.send(i)
    assert send.statistics().current_buffer_used == 1000
    assert [receive.receive_nowait() for _ in range(1000)] == list(range(1000))


async def test_any_object_can_be_sent() -> None:
    send, receive = open_memory_channel[object](0)
    got: list[object] = []

    async def receiver() -> None:
        got.append(await receive.receive())

    for value in (None, False, KeyError("x"), StopIteration(1), nursery.EndOfChannel(), receive):
        async with nursery.open_nursery() as n:
            n.start_soon(receiver)
            await wait_all_tasks_blocked()
            send.send_nowait(value)
        assert got.pop() is value


async def test_a_waiting_sender_moves_up_when_there_is_room() -> None:
    send, receive = open_memory_channel[int](2)
    async with nursery.open_nursery() as n:
        for i in range(5):
            n.start_soon(send.send, i)
            await wait_all_tasks_blocked()
        assert receive.statistics().tasks_waiting_send == 3
        assert receive.receive_nowait() == 0
        # Nobody gets in before the one who has waited longest.
        with pytest.raises(nursery.WouldBlock):
            send.send_nowait(99)
        assert receive.statistics().current_buffer_used == 2
        assert [receive.receive_nowait() for _ in range(4)] == [1, 2, 3, 4]
        assert receive.statistics().tasks_waiting_send == 0


async def test_a_waiting_receiver_gets_the_value_directly() -> None:
    send, receive = open_memory_channel[int](1)
    got: list[tuple[str, int]] = []

    async def receiver(name: str) -> None:
        with assert_checkpoints():
            value = await receive.receive()
        got.append((name, value))

    async with nursery.open_nursery() as n:
        n.start_soon(receiver, "first")
        await wait_all_tasks_blocked()
        n.start_soon(receiver, "second")
        await wait_all_tasks_blocked()
        assert send.statistics().tasks_waiting_receive == 2
        send.send_nowait(1)
        # It is the first one's already, although that has not run yet.
        with pytest.raises(nursery.WouldBlock):
            receive.receive_nowait()
        assert send.statistics().current_buffer_used == 0
        await send.send(2)
    assert sorted(got) == [("first", 1), ("second", 2)]


async def test_iteration_ends_with_the_channel() -> None:
    send, receive = open_memory_channel[int](1)

    async def producer() -> None:
        async with send:
            for i in range(10):
                await send.send(i)

    async with nursery.open_nursery() as n:
        n.start_soon(producer)
        assert [value async for value in receive] == list(range(10))


async def test_a_busy_pair_lets_others_run() -> None:
    send, receive = open_memory_channel[int](inf)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await nursery.lowlevel.checkpoint()
            turns += 1

    async with nursery.open_nursery() as n:
        n.start_soon(other)
        for i in range(100):
            await send.send(i)
            await receive.receive()
        n.cancel_scope.cancel()
    assert turns >= 20


# Cancelling


async def test_a_cancelled_send_has_sent_nothing() -> None:
    send, receive = open_memory_channel[int](0)
    async with nursery.open_nursery() as n:
        n.start_soon(send.send, 1)
        await wait_all_tasks_blocked()
        n.cancel_scope.cancel()
    assert send.statistics().tasks_waiting_send == 0
    with pytest.raises(nursery.WouldBlock):
        receive.receive_nowait()


@pytest.mark.parametrize("size", [0, 1])
async def test_operations_in_a_cancelled_scope_do_nothing(size: int) -> None:
    send, receive = open_memory_channel[int](size + 1)
    send.send_nowait(1)
    with nursery.CancelScope() as scope:
        scope.cancel()
        with assert_checkpoints(), pytest.raises(nursery.Cancelled):
            await send.send(2)
        with assert_checkpoints(), pytest.raises(nursery.Cancelled):
            await receive.receive()
    assert send.statistics().current_buffer_used == 1
    assert receive.receive_nowait() == 1


async def test_a_cancelled_receiver_leaves_its_place_to_the_next() -> None:
    send, receive = open_memory_channel[int](0)
    got: list[tuple[str, int]] = []

    async def receiver(name: str, scope: nursery.CancelScope) -> None:
        with scope:
            got.append((name, await receive.receive()))

    async with nursery.open_nursery() as n:
        scope = nursery.CancelScope()
        n.start_soon(receiver, "first", scope)
        await wait_all_tasks_blocked()
        n.start_soon(receiver, "second", nursery.CancelScope())
        await wait_all_tasks_blocked()
        scope.cancel()
        send.send_nowait(1)
    assert got == [("second", 1)]


async def test_a_receiver_that_is_cancelled_after_it_was_given_a_value_receives_it() -> None:
    send, receive = open_memory_channel[int](0)
    got: list[int] = []

    async def receiver() -> None:
        got.append(await receive.receive())
        await nursery.lowlevel.checkpoint()
        pytest.fail("the next checkpoint raises")

    async with nursery.open_nursery() as n:
        n.start_soon(receiver)
        await wait_all_tasks_blocked()
        send.send_nowait(1)
        n.cancel_scope.cancel()
    assert got == [1]


def test_no_value_is_lost_or_doubled_whatever_is_cancelled(long_form: bool) -> None:
    async def main(seed: int) -> None:
        rng = random.Random(seed)
        send, receive = open_memory_channel[int](rng.choice([0, 1, 3]))
        sent: set[int] = set()
        received: list[int] = []

        async def sender(handle: MemorySendChannel[int], first: int) -> None:
            async with handle:
                for value in range(first, first + 10):
                    with nursery.move_on_after(rng.choice([0, 0.001, 1])):
                        await handle.send(value)
                        sent.add(value)
                    if rng.random() < 0.5:
                        await nursery.sleep(rng.choice([0, 0.001]))

        async def receiver(handle: MemoryReceiveChannel[int]) -> None:
            while True:
                try:
                    with nursery.move_on_after(rng.choice([0, 0.001, 1])):
                        received.append(await handle.receive())
                except nursery.EndOfChannel:
                    return
                if rng.random() < 0.3:
                    await nursery.sleep(rng.choice([0, 0.001]))

        with nursery.fail_after(1000):
            async with nursery.open_nursery() as n, send:
                for i in range(3):
                    n.start_soon(sender, send.clone(), 100 * i)
                    n.start_soon(receiver, receive.clone())
        assert sorted(received) == sorted(sent)
        for first in (0, 100, 200):
            order = [value for value in received if first <= value < first + 100]
            assert len(order) == len(set(order))

    for seed in range(300 if long_form else 20):
        explore_schedules(main, seed, seeds=[seed])


# Closing


async def test_a_closed_handle_can_do_nothing_any_more() -> None:
    send, receive = open_memory_channel[int](1)
    send.close()
    receive.close()
    for _ in range(2):
        with pytest.raises(nursery.ClosedResourceError, match="this handle of the channel was closed"):
            send.send_nowait(1)
        with pytest.raises(nursery.ClosedResourceError):
            await send.send(1)
        with pytest.raises(nursery.ClosedResourceError):
            send.clone()
        with pytest.raises(nursery.ClosedResourceError):
            receive.receive_nowait()
        with pytest.raises(nursery.ClosedResourceError):
            await receive.receive()
        with pytest.raises(nursery.ClosedResourceError):
            receive.clone()
        # Closing again is no error.
        send.close()
        await receive.aclose()
    with pytest.raises(nursery.ClosedResourceError):
        async for _value in receive:
            pytest.fail("there is none")


async def test_when_every_sender_is_closed_receivers_drain_the_buffer_and_meet_the_end() -> None:
    send, receive = open_memory_channel[int](3)
    for i in range(3):
        send.send_nowait(i)
    send.close()
    assert receive.receive_nowait() == 0
    assert await receive.receive() == 1
    assert [value async for value in receive] == [2]
    with pytest.raises(nursery.EndOfChannel, match="every sending handle is closed"):
        receive.receive_nowait()
    with pytest.raises(nursery.EndOfChannel):
        await receive.receive()
    # A closed handle of one's own goes before the end of the channel.
    receive.close()
    with pytest.raises(nursery.ClosedResourceError):
        receive.receive_nowait()


async def test_when_every_receiver_is_closed_senders_get_an_error_and_the_buffer_is_dropped() -> None:
    send, receive = open_memory_channel[int](3)
    send.send_nowait(1)
    receive.close()
    assert send.statistics().current_buffer_used == 0
    with pytest.raises(nursery.BrokenResourceError, match="every receiving handle is closed"):
        send.send_nowait(2)
    with pytest.raises(nursery.BrokenResourceError):
        await send.send(2)
    send.close()
    with pytest.raises(nursery.ClosedResourceError):
        send.send_nowait(2)


async def test_closing_the_last_sender_wakes_waiting_receivers_with_the_end() -> None:
    send, receive = open_memory_channel[int](0)
    clone = send.clone()
    ended: list[bool] = []

    async def receiver() -> None:
        with pytest.raises(nursery.EndOfChannel):
            await receive.receive()
        ended.append(True)

    async with nursery.open_nursery() as n:
        n.start_soon(receiver)
        n.start_soon(receiver)
        await wait_all_tasks_blocked()
        send.close()
        await wait_all_tasks_blocked()
        assert ended == []
        clone.close()
    assert ended == [True, True]


async def test_closing_the_last_receiver_wakes_waiting_senders_with_an_error() -> None:
    send, receive = open_memory_channel[int](0)
    clone = receive.clone()
    ended: list[bool] = []

    async def sender() -> None:
        with pytest.raises(nursery.BrokenResourceError):
            await send.send(1)
        ended.append(True)

    async with nursery.open_nursery() as n:
        n.start_soon(sender)
        n.start_soon(sender)
        await wait_all_tasks_blocked()
        receive.close()
        await wait_all_tasks_blocked()
        assert ended == []
        clone.close()
    assert ended == [True, True]
    assert send.statistics().tasks_waiting_send == 0


async def test_closing_a_clone_wakes_only_those_who_wait_on_that_handle() -> None:
    send, receive = open_memory_channel[int](0)
    outcomes: list[str] = []

    async def wait_on(handle: MemoryReceiveChannel[int], name: str) -> None:
        try:
            outcomes.append(f"{name} got {await handle.receive()}")
        except nursery.ClosedResourceError:
            outcomes.append(f"{name} closed")

    async def send_on(handle: MemorySendChannel[int], name: str, value: int) -> None:
        try:
            await handle.send(value)
            outcomes.append(f"{name} sent")
        except nursery.ClosedResourceError:
            outcomes.append(f"{name} closed")

    receive2 = receive.clone()
    async with nursery.open_nursery() as n:
        for handle, name in [(receive, "a"), (receive2, "b"), (receive, "c"), (receive2, "d")]:
            n.start_soon(wait_on, handle, name)
            await wait_all_tasks_blocked()
        receive.close()
        await wait_all_tasks_blocked()
        assert sorted(outcomes) == ["a closed", "c closed"]
        assert send.statistics().tasks_waiting_receive == 2
        send.send_nowait(1)
        send.send_nowait(2)
    assert sorted(outcomes[2:]) == ["b got 1", "d got 2"]

    outcomes.clear()
    send2 = send.clone()
    async with nursery.open_nursery() as n:
        for i, (sender, name) in enumerate([(send, "a"), (send2, "b"), (send, "c"), (send2, "d")]):
            n.start_soon(send_on, sender, name, i)
            await wait_all_tasks_blocked()
        send.close()
        await wait_all_tasks_blocked()
        assert sorted(outcomes) == ["a closed", "c closed"]
        assert send.statistics().tasks_waiting_send == 2
        assert receive2.receive_nowait() == 1
        assert receive2.receive_nowait() == 3
    assert sorted(outcomes[2:]) == ["b sent", "d sent"]


async def test_closing_a_handle_does_not_disturb_a_receiver_that_was_given_a_value_on_it() -> None:
    send, receive = open_memory_channel[int](0)
    got: list[int] = []

    async def receiver() -> None:
        got.append(await receive.receive())

    async with nursery.open_nursery() as n:
        n.start_soon(receiver)
        await wait_all_tasks_blocked()
        send.send_nowait(1)
        receive.close()
        send.close()
    assert got == [1]


async def test_a_cloned_pair_lives_until_the_last_handle_is_closed() -> None:
    send, receive = open_memory_channel[int](5)
    send2, receive2 = send.clone(), receive.clone()
    assert send2 is not send
    send.close()
    receive.close()
    await send2.send(1)
    assert await receive2.receive() == 1
    with send2, receive2:
        pass
    with pytest.raises(nursery.ClosedResourceError):
        send2.send_nowait(1)
    with pytest.raises(nursery.ClosedResourceError):
        receive2.receive_nowait()


async def test_blocks_close_their_handle_also_if_they_are_cancelled() -> None:
    send, receive = open_memory_channel[int](5)
    with send as entered:
        assert entered is send
    with receive as entered_receiver:
        assert entered_receiver is receive
    assert receive.statistics().open_send_channels == 0
    assert receive.statistics().open_receive_channels == 0
    send, receive = open_memory_channel[int](5)
    with nursery.CancelScope() as scope:
        scope.cancel()
        async with send, receive:
            await nursery.sleep_forever()
    assert send.statistics().open_send_channels == 0
    assert send.statistics().open_receive_channels == 0


async def test_an_open_channel_may_be_dropped_without_a_warning() -> None:
    # As in trio: it holds nothing of the system's.
    open_memory_channel[int](1)
    gc.collect()


# Statistics


async def test_statistics_tell_what_there_is() -> None:
    send, receive = open_memory_channel[int](2)
    assert send.statistics() == MemoryChannelStatistics(
        current_buffer_used=0,
        max_buffer_size=2,
        open_send_channels=1,
        open_receive_channels=1,
        tasks_waiting_send=0,
        tasks_waiting_receive=0,
        peak_buffer_used=0,
    )
    with send.clone() as send2, receive.clone(), receive.clone():
        send2.send_nowait(1)
        assert send.statistics() == MemoryChannelStatistics(
            current_buffer_used=1,
            max_buffer_size=2,
            open_send_channels=2,
            open_receive_channels=3,
            tasks_waiting_send=0,
            tasks_waiting_receive=0,
            peak_buffer_used=1,
        )
    async with nursery.open_nursery() as n:
        n.start_soon(send.send, 2)
        n.start_soon(send.send, 3)
        n.start_soon(send.send, 4)
        await wait_all_tasks_blocked()
        assert receive.statistics().tasks_waiting_send == 2
        assert receive.statistics().current_buffer_used == 2
        n.cancel_scope.cancel()
    async with nursery.open_nursery() as n:
        receive.receive_nowait()
        receive.receive_nowait()
        n.start_soon(receive.receive)
        await wait_all_tasks_blocked()
        assert receive.statistics().tasks_waiting_receive == 1
        n.cancel_scope.cancel()
    assert receive.statistics().tasks_waiting_receive == 0


async def test_the_peak_is_the_most_that_ever_lay_in_the_buffer() -> None:
    send, receive = open_memory_channel[int](5)
    send.send_nowait(1)
    await send.send(2)
    send.send_nowait(3)
    assert send.statistics().peak_buffer_used == 3
    receive.receive_nowait()
    await receive.receive()
    await send.send(4)
    assert send.statistics().current_buffer_used == 2
    assert send.statistics().peak_buffer_used == 3

    # Values that are handed over do not lie in the buffer, nor does it hold more than fits.
    send, receive = open_memory_channel[int](1)
    async with nursery.open_nursery() as n:
        for i in range(3):
            n.start_soon(send.send, i)
            await wait_all_tasks_blocked()
        for i in range(3):
            assert await receive.receive() == i
    assert send.statistics().peak_buffer_used == 1
    send, receive = open_memory_channel[int](1)
    async with nursery.open_nursery() as n:
        n.start_soon(receive.receive)
        await wait_all_tasks_blocked()
        send.send_nowait(1)
    assert send.statistics().peak_buffer_used == 0


# Garbage


async def test_waiting_leaves_no_cyclic_garbage() -> None:
    send, receive = open_memory_channel[int](0)

    async def sender() -> None:
        for i in range(10):
            await send.send(i)
        with nursery.move_on_after(0):
            await send.send(10)
        send.close()

    async def round_() -> None:
        async with nursery.open_nursery() as n:
            n.start_soon(sender)
            async for _ in receive:
                pass

    gc.collect()
    gc.disable()
    try:
        await round_()
        with nursery.move_on_after(0.001):
            clone, waiting = open_memory_channel[int](0)
            await waiting.receive()
        with pytest.raises(nursery.EndOfChannel):
            await receive.receive()
        del clone, waiting
        assert gc.collect() == 0
    finally:
        gc.enable()
    assert receive._state.given == {}
