"""Streams without a buffer."""

from __future__ import annotations

import pytest

import nursery
from nursery import BrokenResourceError, BusyResourceError, ClosedResourceError
from nursery.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked
from nursery.testing.lockstep_streams import lockstep_stream_one_way_pair, lockstep_stream_pair


async def test_sending_waits_until_everything_was_received() -> None:
    send, receive = lockstep_stream_one_way_pair()
    sent = False

    async def sender() -> None:
        nonlocal sent
        await send.send_all(b"abc")
        sent = True

    async with nursery.open_nursery() as n:
        n.start_soon(sender)
        await wait_all_tasks_blocked()
        assert await receive.receive_some(2) == b"ab"
        await wait_all_tasks_blocked()
        assert not sent
        assert await receive.receive_some() == b"c"
        await wait_all_tasks_blocked()
        assert sent


async def test_receiving_waits_until_something_is_sent() -> None:
    send, receive = lockstep_stream_one_way_pair()
    async with nursery.open_nursery() as n:

        async def receiver() -> None:
            assert await receive.receive_some() == b"x"

        n.start_soon(receiver)
        await wait_all_tasks_blocked()
        await send.send_all(b"x")


async def test_sending_nothing_needs_no_receiver() -> None:
    send, _receive = lockstep_stream_one_way_pair()
    with assert_checkpoints():
        await send.send_all(b"")


async def test_sending_might_not_block_when_somebody_receives() -> None:
    send, receive = lockstep_stream_one_way_pair()
    woken = False

    async def waiter(n: nursery.Nursery) -> None:
        nonlocal woken
        await send.wait_send_all_might_not_block()
        woken = True
        n.cancel_scope.cancel()

    async with nursery.open_nursery() as n:
        n.start_soon(waiter, n)
        await wait_all_tasks_blocked()
        assert not woken
        await receive.receive_some()
    assert woken


async def test_a_cancelled_send_leaves_nothing_behind() -> None:
    send, receive = lockstep_stream_one_way_pair()
    with nursery.move_on_after(0.001) as scope:
        await send.send_all(b"lost")
    assert scope.cancelled_caught
    send.close()
    assert await receive.receive_some() == b""


async def test_a_cancelled_receive_takes_nothing() -> None:
    send, receive = lockstep_stream_one_way_pair()
    async with nursery.open_nursery() as n:
        n.start_soon(receive.receive_some)
        await wait_all_tasks_blocked()
        n.cancel_scope.cancel()
    async with nursery.open_nursery() as n:
        n.start_soon(send.send_all, b"x")
        assert await receive.receive_some() == b"x"


async def test_closing_the_sending_end_is_the_end() -> None:
    send, receive = lockstep_stream_one_way_pair()
    with assert_checkpoints():
        await send.aclose()
    assert await receive.receive_some() == b""
    with pytest.raises(ClosedResourceError):
        await send.send_all(b"x")
    with pytest.raises(ClosedResourceError):
        await send.wait_send_all_might_not_block()


async def test_closing_the_receiving_end_breaks_the_sender() -> None:
    send, receive = lockstep_stream_one_way_pair()
    with assert_checkpoints():
        await receive.aclose()
    with pytest.raises(BrokenResourceError):
        await send.send_all(b"x")
    with assert_checkpoints():
        await send.wait_send_all_might_not_block()
    with pytest.raises(ClosedResourceError):
        await receive.receive_some()


async def test_closing_wakes_the_waiting_sender_of_either_end() -> None:
    for close_own_end, error in ((True, ClosedResourceError), (False, BrokenResourceError)):
        send, receive = lockstep_stream_one_way_pair()
        async with nursery.open_nursery() as n:

            async def sender(expected: type[Exception] = error, stream: nursery.abc.SendStream = send) -> None:
                with pytest.raises(expected):
                    await stream.send_all(b"x")

            n.start_soon(sender)
            await wait_all_tasks_blocked()
            if close_own_end:
                send.close()
            else:
                receive.close()


async def test_what_was_received_before_the_close_was_sent() -> None:
    send, receive = lockstep_stream_one_way_pair()
    async with nursery.open_nursery() as n:
        n.start_soon(send.send_all, b"x")
        await wait_all_tasks_blocked()
        assert await receive.receive_some() == b"x"
        # The sender has not run since; its data was received all the same.
        receive.close()


async def test_one_task_at_a_time_sends_and_one_receives() -> None:
    send, receive = lockstep_stream_one_way_pair()
    async with nursery.open_nursery() as n:
        n.start_soon(send.send_all, b"x")
        await wait_all_tasks_blocked()
        with pytest.raises(BusyResourceError):
            await send.send_all(b"y")
        with pytest.raises(BusyResourceError):
            await send.wait_send_all_might_not_block()
        assert await receive.receive_some() == b"x"
    async with nursery.open_nursery() as n:
        n.start_soon(receive.receive_some)
        await wait_all_tasks_blocked()
        with pytest.raises(BusyResourceError):
            await receive.receive_some()
        n.cancel_scope.cancel()


async def test_max_bytes_is_checked() -> None:
    _send, receive = lockstep_stream_one_way_pair()
    with pytest.raises(ValueError, match="max_bytes"):
        await receive.receive_some(0)
    with pytest.raises(TypeError):
        await receive.receive_some(1.5)  # type: ignore[arg-type]  # wrong on purpose


async def test_a_pair_goes_in_lockstep_in_both_directions(autojump_clock: MockClock) -> None:
    left, right = lockstep_stream_pair()

    async def answer() -> None:
        async for data in right:
            await nursery.sleep(1)
            await right.send_all(bytes(data).upper())
        await right.aclose()

    async with nursery.open_nursery() as n:
        n.start_soon(answer)
        for word in (b"a", b"b"):
            await left.send_all(word)
            assert await left.receive_some() == word.upper()
        await left.send_eof()
        assert await left.receive_some() == b""
    assert nursery.current_time() == 2
