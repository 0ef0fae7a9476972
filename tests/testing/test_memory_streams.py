"""MemorySendStream, MemoryReceiveStream, and what is made of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

import nursery
from nursery import BrokenResourceError, BusyResourceError, ClosedResourceError, WouldBlock
from nursery.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked
from nursery.testing.memory_streams import (
    MemoryReceiveStream,
    MemorySendStream,
    memory_stream_one_way_pair,
    memory_stream_pair,
    memory_stream_pump,
)


def recorder(into: list[str], word: str) -> Callable[[], Awaitable[None]]:
    async def hook() -> None:
        into.append(word)

    return hook


# The sending stream


async def test_what_was_sent_can_be_fetched() -> None:
    stream = MemorySendStream()
    await stream.send_all(b"abc")
    await stream.send_all(bytearray(b"def"))
    await stream.send_all(memoryview(b"ghi"))
    assert stream.get_data_nowait() == b"abcdefghi"


async def test_at_most_max_bytes_are_fetched() -> None:
    stream = MemorySendStream()
    await stream.send_all(b"abc")
    assert stream.get_data_nowait(2) == b"ab"
    assert await stream.get_data(2) == b"c"


async def test_there_is_nothing_to_fetch_before_something_was_sent() -> None:
    stream = MemorySendStream()
    with pytest.raises(WouldBlock):
        stream.get_data_nowait()
    await stream.send_all(b"")
    with pytest.raises(WouldBlock):
        stream.get_data_nowait()


async def test_fetching_waits_for_data() -> None:
    stream = MemorySendStream()
    fetched = []

    async def fetch() -> None:
        fetched.append(await stream.get_data())

    async with nursery.open_nursery() as n:
        n.start_soon(fetch)
        await wait_all_tasks_blocked()
        assert not fetched
        # Nothing at all does not count.
        await stream.send_all(b"")
        await wait_all_tasks_blocked()
        assert not fetched
        await stream.send_all(b"x")
    assert fetched == [b"x"]


async def test_fetching_from_a_closed_stream_gives_what_is_left_and_then_nothing() -> None:
    stream = MemorySendStream()
    await stream.send_all(b"x")
    stream.close()
    assert await stream.get_data() == b"x"
    assert await stream.get_data() == b""
    assert stream.get_data_nowait() == b""


async def test_closing_wakes_who_waits_to_fetch() -> None:
    stream = MemorySendStream()

    async with nursery.open_nursery() as n:

        async def fetch() -> None:
            assert await stream.get_data() == b""

        n.start_soon(fetch)
        await wait_all_tasks_blocked()
        await stream.aclose()


async def test_a_closed_stream_cannot_be_sent_to() -> None:
    stream = MemorySendStream()
    with assert_checkpoints():
        await stream.aclose()
    with pytest.raises(ClosedResourceError):
        await stream.send_all(b"")
    with pytest.raises(ClosedResourceError):
        await stream.wait_send_all_might_not_block()


@pytest.mark.parametrize("method", ["send_all", "wait_send_all_might_not_block"])
async def test_two_tasks_that_send_at_once_are_caught(method: str) -> None:
    stream = MemorySendStream()

    async def other() -> None:
        if method == "send_all":
            await stream.send_all(b"b")
        else:
            await stream.wait_send_all_might_not_block()

    with pytest.raises(ExceptionGroup) as caught:
        async with nursery.open_nursery() as n:
            n.start_soon(stream.send_all, b"a")
            n.start_soon(other)
    assert [type(error) for error in caught.value.exceptions] == [BusyResourceError]


async def test_two_tasks_that_fetch_at_once_are_caught() -> None:
    stream = MemorySendStream()
    async with nursery.open_nursery() as n:
        n.start_soon(stream.get_data)
        await wait_all_tasks_blocked()
        with pytest.raises(BusyResourceError):
            await stream.get_data()
        with pytest.raises(BusyResourceError):
            stream.get_data_nowait()
        n.cancel_scope.cancel()


async def test_max_bytes_is_checked() -> None:
    stream = MemorySendStream()
    with pytest.raises(ValueError, match="max_bytes"):
        stream.get_data_nowait(0)
    with pytest.raises(ValueError, match="max_bytes"):
        await stream.get_data(-1)
    with pytest.raises(TypeError):
        stream.get_data_nowait(1.5)  # type: ignore[arg-type]  # wrong on purpose


async def test_a_cancelled_send_all_sends_nothing() -> None:
    stream = MemorySendStream()
    with nursery.CancelScope() as scope:
        scope.cancel()
        await stream.send_all(b"x")
    with pytest.raises(WouldBlock):
        stream.get_data_nowait()


async def test_the_hooks_of_a_sending_stream_are_called_after_the_fact() -> None:
    record: list[str] = []
    stream = MemorySendStream(recorder(record, "sent"), recorder(record, "waited"), lambda: record.append("closed"))

    async def look() -> None:
        assert stream.get_data_nowait() == b"x"
        record.append("sent")

    assert stream.wait_send_all_might_not_block_hook is not None
    stream.send_all_hook = look
    await stream.send_all(b"x")
    await stream.wait_send_all_might_not_block()
    stream.close()
    await stream.aclose()
    assert record == ["sent", "waited", "closed", "closed"]


async def test_hooks_can_be_taken_away() -> None:
    record: list[str] = []
    stream = MemorySendStream(recorder(record, "sent"), recorder(record, "waited"), lambda: record.append("closed"))
    stream.send_all_hook = stream.wait_send_all_might_not_block_hook = stream.close_hook = None
    await stream.send_all(b"x")
    await stream.wait_send_all_might_not_block()
    stream.close()
    assert record == []


async def test_an_error_of_a_hook_comes_out_of_the_call() -> None:
    async def fail() -> None:
        raise KeyError("hook")

    with pytest.raises(KeyError, match="hook"):
        await MemorySendStream(send_all_hook=fail).send_all(b"x")


# The receiving stream


async def test_what_was_put_is_received_and_then_the_end() -> None:
    stream = MemoryReceiveStream()
    stream.put_data(b"abc")
    stream.put_data(b"def")
    stream.put_eof()
    assert await stream.receive_some(4) == b"abcd"
    assert await stream.receive_some() == b"ef"
    assert await stream.receive_some() == b""
    assert await stream.receive_some() == b""


async def test_receiving_waits_for_data() -> None:
    stream = MemoryReceiveStream()
    received = []

    async def receive() -> None:
        received.append(await stream.receive_some())

    async with nursery.open_nursery() as n:
        n.start_soon(receive)
        await wait_all_tasks_blocked()
        assert not received
        stream.put_data(b"x")
    assert received == [b"x"]


async def test_after_the_end_no_data_can_be_put() -> None:
    stream = MemoryReceiveStream()
    stream.put_eof()
    with pytest.raises(ClosedResourceError):
        stream.put_data(b"x")


async def test_two_tasks_that_receive_at_once_are_caught() -> None:
    stream = MemoryReceiveStream()
    stream.put_data(b"xx")
    with pytest.raises(ExceptionGroup) as caught:
        async with nursery.open_nursery() as n:
            n.start_soon(stream.receive_some, 1)
            n.start_soon(stream.receive_some, 1)
    assert [type(error) for error in caught.value.exceptions] == [BusyResourceError]


async def test_a_closed_stream_cannot_be_received_from_and_drops_its_data() -> None:
    stream = MemoryReceiveStream()
    stream.put_data(b"x")
    with assert_checkpoints():
        await stream.aclose()
    with pytest.raises(ClosedResourceError):
        await stream.receive_some()
    with pytest.raises(ClosedResourceError):
        stream.put_data(b"y")


async def test_closing_wakes_the_receiver_with_an_error_and_not_with_the_end() -> None:
    stream = MemoryReceiveStream()
    async with nursery.open_nursery() as n:

        async def receive() -> None:
            with pytest.raises(ClosedResourceError):
                await stream.receive_some()

        n.start_soon(receive)
        await wait_all_tasks_blocked()
        stream.close()


async def test_a_cancelled_receive_takes_nothing() -> None:
    stream = MemoryReceiveStream()
    with nursery.move_on_after(0):
        await stream.receive_some()
    async with nursery.open_nursery() as n:
        n.start_soon(stream.receive_some)
        await wait_all_tasks_blocked()
        n.cancel_scope.cancel()
    stream.put_data(b"x")
    assert await stream.receive_some() == b"x"


async def test_the_hooks_of_a_receiving_stream_are_called_before_receiving_and_after_closing() -> None:
    record: list[str] = []
    stream = MemoryReceiveStream(recorder(record, "receiving"), lambda: record.append("closed"))

    async def provide() -> None:
        stream.put_data(b"fresh")

    await _receive_with(stream)
    stream.receive_some_hook = provide
    assert await stream.receive_some() == b"fresh"
    stream.close()
    assert record == ["receiving", "closed"]


async def _receive_with(stream: MemoryReceiveStream) -> None:
    stream.put_data(b"x")
    assert await stream.receive_some() == b"x"


# Pumping


async def test_a_pump_moves_data_and_the_end() -> None:
    send, receive = MemorySendStream(), MemoryReceiveStream()
    assert not memory_stream_pump(send, receive)
    await send.send_all(b"abc")
    assert memory_stream_pump(send, receive, max_bytes=1)
    assert await receive.receive_some() == b"a"
    assert memory_stream_pump(send, receive)
    assert not memory_stream_pump(send, receive)
    assert await receive.receive_some() == b"bc"
    send.close()
    assert memory_stream_pump(send, receive)
    assert await receive.receive_some() == b""


async def test_pumping_into_a_closed_stream_breaks() -> None:
    send, receive = MemorySendStream(), MemoryReceiveStream()
    await send.send_all(b"x")
    receive.close()
    with pytest.raises(BrokenResourceError):
        memory_stream_pump(send, receive)


async def test_a_one_way_pair_passes_data_on_and_the_end() -> None:
    send, receive = memory_stream_one_way_pair()
    await send.send_all(b"abc")
    assert await receive.receive_some() == b"abc"
    await send.aclose()
    assert await receive.receive_some() == b""


async def test_a_one_way_pair_breaks_when_the_receiver_closes() -> None:
    send, receive = memory_stream_one_way_pair()
    await receive.aclose()
    with pytest.raises(BrokenResourceError):
        await send.send_all(b"x")


async def test_a_stall_can_be_made_of_a_one_way_pair() -> None:
    send, receive = memory_stream_one_way_pair()
    hook, send.send_all_hook = send.send_all_hook, None
    await send.send_all(b"held up")
    with nursery.move_on_after(0.001) as scope:
        await receive.receive_some()
    assert scope.cancelled_caught
    assert hook is not None
    await hook()
    assert await receive.receive_some() == b"held up"


async def test_a_pair_carries_data_in_both_directions_and_is_half_closeable() -> None:
    left, right = memory_stream_pair()
    await left.send_all(b"there")
    await right.send_all(b"back")
    await left.send_eof()
    assert await right.receive_some() == b"there"
    assert await right.receive_some() == b""
    assert await left.receive_some() == b"back"


async def test_data_can_be_made_to_trickle(autojump_clock: MockClock) -> None:
    left, right = memory_stream_pair()

    async def trickle() -> None:
        while memory_stream_pump(left.send_stream, right.receive_stream, max_bytes=1):
            await nursery.sleep(1)

    left.send_stream.send_all_hook = trickle
    arrivals = []

    async def send() -> None:
        await left.send_all(b"123")
        await left.send_eof()

    async with nursery.open_nursery() as n:
        n.start_soon(send)
        async for data in right:
            arrivals.append((nursery.current_time(), bytes(data)))
    assert arrivals == [(0, b"1"), (1, b"2"), (2, b"3")]
