"""Streams over descriptors: pipes, terminals, and what else can be waited for."""

from __future__ import annotations

import array
import contextlib
import fcntl
import gc
import os
import pathlib
import socket
from collections.abc import AsyncGenerator

import pytest

import nursery
from nursery.kernel.traps import BUDGET
from nursery.lowlevel import notify_closing, wait_readable, wait_writable
from nursery.streams import fd_stream
from nursery.streams.fd_stream import FdStream
from nursery.testing import assert_checkpoints, wait_all_tasks_blocked

FAR_TOO_MUCH = b"x" * 5_000_000


@contextlib.asynccontextmanager
async def pipe() -> AsyncGenerator[tuple[FdStream, FdStream], None]:
    """Yield the two ends of a pipe: the one to send to, the one to receive from."""
    read, write = os.pipe()
    async with FdStream(write) as sender, FdStream(read) as receiver:
        yield sender, receiver


def clog(stream: FdStream) -> int:
    """Fill the pipe until a send would wait; return how many bytes went in."""
    count = 0
    try:
        while True:
            count += os.write(stream.fileno(), b"x" * 65536)
    except BlockingIOError:
        return count


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


async def receive_exactly(stream: FdStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = await stream.receive_some()
        assert piece, "the stream ended too early"
        data += piece
    return data


# Sending and receiving


async def test_what_is_sent_arrives() -> None:
    async with pipe() as (sender, receiver):
        await sender.send_all(b"ping")
        assert await receiver.receive_some() == b"ping"


async def test_a_receiver_that_came_first_gets_what_is_sent_later() -> None:
    received: list[bytes] = []
    async with pipe() as (sender, receiver):

        async def receive() -> None:
            received.append(await receiver.receive_some())
            received.append(await receiver.receive_some())

        async with nursery.open_nursery() as n:
            n.start_soon(receive)
            await wait_all_tasks_blocked()
            await sender.send_all(b"one")
            await wait_all_tasks_blocked()
            await sender.send_all(b"two")
    assert received == [b"one", b"two"]


async def test_a_megabyte_arrives_whole_while_the_other_side_reads_slowly() -> None:
    data = bytes(range(256)) * 4096
    received = bytearray()
    async with pipe() as (sender, receiver):

        async def send() -> None:
            await sender.send_all(data)
            await sender.aclose()

        async with nursery.open_nursery() as n:
            n.start_soon(send)
            while piece := await receiver.receive_some(10_000):
                received += piece
    assert received == data


async def test_iterating_yields_what_arrives_up_to_the_end() -> None:
    async with pipe() as (sender, receiver):
        await sender.send_all(b"all of it")
        await sender.aclose()
        assert [piece async for piece in receiver] == [b"all of it"]


async def test_after_the_end_every_receive_returns_nothing() -> None:
    async with pipe() as (sender, receiver):
        await sender.aclose()
        for _ in range(3):
            assert await receiver.receive_some() == b""


async def test_a_receiver_that_waits_is_told_of_the_end() -> None:
    async with pipe() as (sender, receiver):
        async with nursery.open_nursery() as n:

            async def receive() -> None:
                assert await receiver.receive_some() == b""

            n.start_soon(receive)
            await wait_all_tasks_blocked()
            await sender.aclose()


async def test_the_end_does_not_hide_what_was_sent_before_it() -> None:
    async with pipe() as (sender, receiver):
        async with nursery.open_nursery() as n:
            received: list[bytes] = []

            async def receive() -> None:
                received.extend([await receiver.receive_some(2) for _ in range(3)])

            n.start_soon(receive)
            await wait_all_tasks_blocked()
            os.write(sender.fileno(), b"abcd")
            sender.close()
        assert received == [b"ab", b"cd", b""]


@pytest.mark.parametrize(
    "data", [bytearray(b"abcd"), memoryview(b"abcd"), memoryview(array.array("H", [1, 2, 3]))], ids=repr
)
async def test_send_all_takes_any_form_of_bytes(data: bytearray | memoryview) -> None:
    async with pipe() as (sender, receiver):
        await sender.send_all(data)
        assert await receiver.receive_some() == bytes(data)


async def test_a_large_view_of_wider_items_is_sent_whole() -> None:
    # Counted in items and not in bytes it would end too early.
    data = array.array("Q", range(40_000))
    async with pipe() as (sender, receiver):
        async with nursery.open_nursery() as n:
            n.start_soon(sender.send_all, memoryview(data))
            received = await receive_exactly(receiver, len(data) * 8)
    assert received == data.tobytes()


async def test_send_all_rejects_text() -> None:
    async with pipe() as (sender, _):
        with pytest.raises(TypeError):
            await sender.send_all("text")  # type: ignore[arg-type]  # the mistake under test


@pytest.mark.parametrize("wrong", [0, -1])
async def test_max_bytes_must_be_positive(wrong: int) -> None:
    async with pipe() as (_, receiver):
        with pytest.raises(ValueError, match="max_bytes must be integer >= 1"):
            await receiver.receive_some(wrong)


async def test_max_bytes_must_be_a_number() -> None:
    async with pipe() as (_, receiver):
        with pytest.raises(TypeError, match="max_bytes must be integer >= 1"):
            await receiver.receive_some("10")  # type: ignore[arg-type]  # the mistake under test


async def test_receive_some_returns_at_most_max_bytes() -> None:
    async with pipe() as (sender, receiver):
        await sender.send_all(b"abcdef")
        assert await receiver.receive_some(4) == b"abcd"
        assert await receiver.receive_some(4) == b"ef"


async def test_a_message_that_fits_costs_one_system_call_on_each_side(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def read(fd: int, count: int) -> bytes:
        calls.append("read")
        return os.read(fd, count)

    def write(fd: int, data: bytes) -> int:
        calls.append("write")
        return os.write(fd, data)

    monkeypatch.setattr(fd_stream, "_read", read)
    monkeypatch.setattr(fd_stream, "_write", write)
    async with pipe() as (sender, receiver):
        for _ in range(3):
            await sender.send_all(b"message")
            await receiver.receive_some()
    assert calls == ["write", "read"] * 3


async def test_two_directions_of_one_descriptor_do_not_hinder_each_other() -> None:
    near, far = socket.socketpair()
    async with FdStream(near.detach()) as left, FdStream(far.detach()) as right:

        async def echo() -> None:
            async for piece in right:
                await right.send_all(piece)

        async with nursery.open_nursery() as n:
            n.start_soon(echo)
            n.start_soon(left.send_all, b"y" * 300_000)
            assert await receive_exactly(left, 300_000) == b"y" * 300_000
            n.cancel_scope.cancel()


# Other things than pipes


@pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="this system has no pipes in packet mode")
async def test_packets_that_are_in_the_pipe_together_are_received_one_after_the_other() -> None:
    # A short read does not mean "drained" here, and no further event comes for the second packet.
    read, write = os.pipe2(os.O_CLOEXEC | os.O_DIRECT)
    async with FdStream(write) as sender, FdStream(read) as receiver:
        async with nursery.open_nursery() as n:

            async def receive() -> None:
                assert [await receiver.receive_some() for _ in range(3)] == [b"one", b"two", b"three"]

            n.start_soon(receive)
            await wait_all_tasks_blocked()
            for packet in (b"one", b"two", b"three"):
                os.write(sender.fileno(), packet)


async def test_a_terminal_gives_each_of_the_lines_that_were_typed_together() -> None:
    keyboard, terminal = os.openpty()
    async with FdStream(keyboard) as typist, FdStream(terminal) as stream:
        async with nursery.open_nursery() as n:

            async def receive() -> None:
                assert [await stream.receive_some() for _ in range(2)] == [b"one\n", b"two\n"]

            n.start_soon(receive)
            await wait_all_tasks_blocked()
            await typist.send_all(b"one\ntwo\n")


async def test_a_terminal_that_went_away_is_a_broken_resource() -> None:
    keyboard, terminal = os.openpty()
    async with FdStream(keyboard) as stream:
        os.close(terminal)
        with pytest.raises(nursery.BrokenResourceError):
            await stream.receive_some()


async def test_a_plain_file_can_be_read_since_it_never_waits(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    async with FdStream(os.open(path, os.O_RDONLY)) as stream:
        assert await stream.receive_some() == b"content"
        assert await stream.receive_some() == b""


# Conflicts


async def test_a_second_receiver_is_rejected_and_the_first_one_unharmed() -> None:
    async with pipe() as (sender, receiver):
        async with nursery.open_nursery() as n:

            async def receive() -> None:
                assert await receiver.receive_some() == b"data"

            n.start_soon(receive)
            await wait_all_tasks_blocked()
            with pytest.raises(nursery.BusyResourceError, match="receiving"):
                await receiver.receive_some()
            await sender.send_all(b"data")


async def test_a_second_sender_is_rejected_and_the_first_one_unharmed() -> None:
    async with pipe() as (sender, receiver):
        before = clog(sender)
        async with nursery.open_nursery() as n:
            n.start_soon(sender.send_all, b"data")
            await wait_all_tasks_blocked()
            with pytest.raises(nursery.BusyResourceError, match="sending"):
                await sender.send_all(b"other")
            with pytest.raises(nursery.BusyResourceError, match="sending"):
                await sender.send_all(b"")
            with pytest.raises(nursery.BusyResourceError, match="sending"):
                await sender.wait_send_all_might_not_block()
            assert (await receive_exactly(receiver, before + 4))[-4:] == b"data"


async def test_a_sender_is_rejected_while_another_task_waits_to_send() -> None:
    async with pipe() as (sender, _):
        clog(sender)
        async with nursery.open_nursery() as n:
            n.start_soon(sender.wait_send_all_might_not_block)
            await wait_all_tasks_blocked()
            with pytest.raises(nursery.BusyResourceError, match="sending"):
                await sender.send_all(b"data")
            n.cancel_scope.cancel()


async def test_a_wait_for_the_bare_descriptor_counts_as_another_task() -> None:
    async with pipe() as (sender, _):
        clog(sender)
        async with nursery.open_nursery() as n:
            n.start_soon(wait_writable, sender)
            async with pipe() as (_, silent):
                n.start_soon(wait_readable, silent)
                await wait_all_tasks_blocked()
                with pytest.raises(nursery.BusyResourceError):
                    await silent.receive_some()
                with pytest.raises(nursery.BusyResourceError):
                    await sender.send_all(b"data")
                n.cancel_scope.cancel()


# Waiting until a send might not wait


async def test_wait_send_all_might_not_block_waits_until_there_is_room() -> None:
    async with pipe() as (sender, receiver):
        await sender.wait_send_all_might_not_block()
        clog(sender)
        ready = nursery.Event()

        async def wait() -> None:
            await sender.wait_send_all_might_not_block()
            ready.set()

        async with nursery.open_nursery() as n:
            n.start_soon(wait)
            await wait_all_tasks_blocked()
            assert not ready.is_set()
            await receiver.receive_some()
            await ready.wait()


# Closing


async def test_closing_wakes_a_receiver_with_closed_resource_error() -> None:
    async with pipe() as (_, receiver):
        async with nursery.open_nursery() as n:

            async def receive() -> None:
                with pytest.raises(nursery.ClosedResourceError):
                    await receiver.receive_some()

            n.start_soon(receive)
            await wait_all_tasks_blocked()
            await receiver.aclose()


@pytest.mark.parametrize("method", ["send_all", "wait_send_all_might_not_block"])
async def test_closing_wakes_a_sender_with_closed_resource_error(method: str) -> None:
    async with pipe() as (sender, _):
        clog(sender)
        async with nursery.open_nursery() as n:

            async def send() -> None:
                with pytest.raises(nursery.ClosedResourceError):
                    if method == "send_all":
                        await sender.send_all(b"data")
                    else:
                        await sender.wait_send_all_might_not_block()

            n.start_soon(send)
            await wait_all_tasks_blocked()
            sender.close()


async def test_a_receiver_woken_a_moment_before_the_close_gets_closed_resource_error() -> None:
    async with pipe() as (_, receiver):
        async with nursery.open_nursery() as n:

            async def receive() -> None:
                with pytest.raises(nursery.ClosedResourceError):
                    await receiver.receive_some()

            n.start_soon(receive)
            await wait_all_tasks_blocked()
            waiter, receiver._interest.reader = receiver._interest.reader, None
            assert isinstance(waiter, nursery.lowlevel.Task)
            waiter.wake()
            receiver.close()


async def test_a_sender_woken_a_moment_before_the_close_gets_closed_resource_error() -> None:
    async with pipe() as (sender, _):
        clog(sender)
        async with nursery.open_nursery() as n:

            async def send() -> None:
                with pytest.raises(nursery.ClosedResourceError):
                    await sender.send_all(b"data")

            n.start_soon(send)
            await wait_all_tasks_blocked()
            waiter, sender._interest.writer = sender._interest.writer, None
            assert isinstance(waiter, nursery.lowlevel.Task)
            waiter.wake()
            sender.close()


@pytest.mark.parametrize("data", [b"", b"data"])
async def test_a_closed_stream_sends_nothing_not_even_nothing(data: bytes) -> None:
    async with pipe() as (sender, _):
        await sender.aclose()
        with pytest.raises(nursery.ClosedResourceError):
            await sender.send_all(data)
        with pytest.raises(nursery.ClosedResourceError):
            await sender.wait_send_all_might_not_block()


async def test_a_closed_stream_receives_nothing() -> None:
    async with pipe() as (_, receiver):
        await receiver.aclose()
        with pytest.raises(nursery.ClosedResourceError) as caught:
            await receiver.receive_some()
        # The number that is no descriptor any more is no news.
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


async def test_closing_twice_leaves_the_next_owner_of_the_number_alone() -> None:
    async with pipe() as (_, receiver):
        number = receiver.fileno()
        await receiver.aclose()
        read, write = os.pipe()
        if read != number:
            os.dup2(read, number)
            os.close(read)
        async with FdStream(number) as successor:
            async with nursery.open_nursery() as n:

                async def receive() -> None:
                    assert await successor.receive_some() == b""

                n.start_soon(receive)
                await wait_all_tasks_blocked()
                await receiver.aclose()
                await wait_all_tasks_blocked()
                os.close(write)


async def test_the_number_is_gone_with_the_descriptor() -> None:
    async with pipe() as (sender, _):
        fd = sender.fileno()
        assert str(fd) in repr(sender)
        await sender.aclose()
        assert sender.fileno() == -1
        assert not is_open(fd)
        assert "closed" in repr(sender)


async def test_a_cancelled_aclose_has_closed_all_the_same() -> None:
    async with pipe() as (sender, _):
        fd = sender.fileno()
        await nursery.aclose_forcefully(sender)
        assert not is_open(fd)


@pytest.mark.parametrize("blocking", [True, False])
async def test_closing_puts_back_the_mode_of_the_open_file(blocking: bool) -> None:
    read, write = os.pipe()
    os.set_blocking(read, blocking)
    duplicate = os.dup(read)
    try:
        async with FdStream(read):
            assert not os.get_blocking(duplicate)
        assert os.get_blocking(duplicate) is blocking
    finally:
        os.close(duplicate)
        os.close(write)


def test_a_forgotten_stream_closes_its_descriptor() -> None:
    read, write = os.pipe()
    stream = FdStream(read)
    os.close(write)
    del stream
    gc.collect()
    assert not is_open(read)


async def test_a_forgotten_stream_that_was_waited_on_does_not_confuse_the_next_one() -> None:
    for _ in range(3):
        read, write = os.pipe()
        stream = FdStream(read)
        with nursery.move_on_after(0.001):
            await stream.receive_some()
        os.write(write, b"data")
        assert await stream.receive_some() == b"data"
        del stream
        gc.collect()
        os.close(write)


# Errors


async def test_sending_into_a_pipe_that_nobody_reads_is_a_broken_resource() -> None:
    async with pipe() as (sender, receiver):
        await receiver.aclose()
        with pytest.raises(nursery.BrokenResourceError) as caught:
            await sender.send_all(b"data")
        assert isinstance(caught.value.__cause__, BrokenPipeError)


async def test_a_sender_that_waits_is_told_that_the_reader_is_gone() -> None:
    async with pipe() as (sender, receiver):
        async with nursery.open_nursery() as n:

            async def send() -> None:
                with pytest.raises(nursery.BrokenResourceError):
                    await sender.send_all(FAR_TOO_MUCH)

            n.start_soon(send)
            await wait_all_tasks_blocked()
            await receiver.aclose()
        # Nobody is sending any more.
        with pytest.raises(nursery.BrokenResourceError):
            await sender.send_all(b"data")


async def test_any_other_error_of_the_system_is_a_broken_resource() -> None:
    async with pipe() as (_, receiver):
        folder = os.open("/", os.O_RDONLY)
        os.dup2(folder, receiver.fileno())
        os.close(folder)
        with pytest.raises(nursery.BrokenResourceError) as caught:
            await receiver.receive_some()
        assert isinstance(caught.value.__cause__, IsADirectoryError)


def test_only_a_number_is_a_descriptor() -> None:
    with pytest.raises(TypeError, match="must be an int"):
        FdStream(None)  # type: ignore[arg-type]  # the mistake under test


def test_a_number_that_is_no_descriptor_is_an_os_error() -> None:
    read, write = os.pipe()
    os.close(read)
    os.close(write)
    with pytest.raises(OSError, match="Bad file descriptor"):
        FdStream(read)


# Cancellation


async def test_a_cancelled_receive_has_taken_nothing() -> None:
    async with pipe() as (sender, receiver):
        await sender.send_all(b"data")
        with nursery.CancelScope() as scope:
            scope.cancel()
            await receiver.receive_some()
        assert scope.cancelled_caught
        assert await receiver.receive_some() == b"data"


async def test_a_cancelled_send_has_sent_nothing() -> None:
    async with pipe() as (sender, receiver):
        with nursery.CancelScope() as scope:
            scope.cancel()
            await sender.send_all(b"data")
        assert scope.cancelled_caught
        await sender.aclose()
        assert await receiver.receive_some() == b""


async def test_after_a_receive_was_cancelled_in_its_sleep_the_next_one_waits_again() -> None:
    async with pipe() as (sender, receiver):
        for _ in range(2):
            with nursery.move_on_after(0.001) as scope:
                await receiver.receive_some()
            assert scope.cancelled_caught
        await sender.send_all(b"data")
        assert await receiver.receive_some() == b"data"


async def test_after_a_send_was_cancelled_in_its_sleep_another_task_may_send() -> None:
    async with pipe() as (sender, receiver):
        count = clog(sender)
        with nursery.move_on_after(0.001) as scope:
            await sender.send_all(b"data")
        assert scope.cancelled_caught
        await receive_exactly(receiver, count)
        await sender.send_all(b"more")
        assert await receiver.receive_some() == b"more"


async def test_every_operation_is_a_checkpoint() -> None:
    async with pipe() as (sender, receiver):
        with assert_checkpoints():
            await sender.send_all(b"data")
        with assert_checkpoints():
            await sender.send_all(b"")
        with assert_checkpoints():
            await sender.wait_send_all_might_not_block()
        with assert_checkpoints():
            await receiver.receive_some()
        with assert_checkpoints():
            await receiver.aclose()
        with assert_checkpoints(), pytest.raises(nursery.BrokenResourceError):
            await sender.send_all(b"data")
        with assert_checkpoints(), pytest.raises(nursery.ClosedResourceError):
            await receiver.receive_some()


async def test_a_stream_that_is_always_ready_lets_others_run() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await nursery.lowlevel.checkpoint()
            turns += 1

    async with pipe() as (sender, receiver):
        async with nursery.open_nursery() as n:
            n.start_soon(count)
            for _ in range(10 * BUDGET):
                await sender.send_all(b"x")
                await receiver.receive_some()
            assert turns >= 10
            n.cancel_scope.cancel()


# Runs and registrations


def test_a_stream_may_be_used_in_one_run_after_the_other() -> None:
    read, write = os.pipe()
    sender, receiver = FdStream(write), FdStream(read)

    async def main() -> None:
        async with nursery.open_nursery() as n:

            async def receive() -> None:
                assert await receiver.receive_some() == b"data"

            n.start_soon(receive)
            await wait_all_tasks_blocked()
            await sender.send_all(b"data")

    nursery.run(main)
    nursery.run(main)
    sender.close()
    receiver.close()


async def test_a_stream_whose_waiters_were_warned_of_a_close_goes_on_if_it_is_not_closed() -> None:
    async with pipe() as (sender, receiver):

        async def receive() -> None:
            with pytest.raises(nursery.ClosedResourceError):
                await receiver.receive_some()
            assert await receiver.receive_some() == b"data"

        async with nursery.open_nursery() as n:
            n.start_soon(receive)
            await wait_all_tasks_blocked()
            notify_closing(receiver)
            await wait_all_tasks_blocked()
            await sender.send_all(b"data")


async def test_a_stream_that_a_task_waits_on_is_not_closed_from_another_thread() -> None:
    async with pipe() as (sender, receiver):

        async def receive() -> None:
            assert await receiver.receive_some() == b"data"

        with nursery.fail_after(1):
            async with nursery.open_nursery() as n:
                n.start_soon(receive)
                await wait_all_tasks_blocked()
                with pytest.raises(RuntimeError, match="closing a stream that a task waits for"):
                    await nursery.to_thread.run_sync(receiver.close)
                await sender.send_all(b"data")
            await nursery.to_thread.run_sync(receiver.close)
        assert receiver.fileno() == -1


def test_closing_needs_no_run() -> None:
    read, write = os.pipe()
    for fd in (read, write):
        FdStream(fd).close()
        assert not is_open(fd)


async def test_a_pipe_of_another_size_is_a_pipe_too() -> None:
    async with pipe() as (sender, receiver):
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            fcntl.fcntl(sender.fileno(), fcntl.F_SETPIPE_SZ, 4096)
        async with nursery.open_nursery() as n:
            n.start_soon(sender.send_all, b"z" * 100_000)
            assert await receive_exactly(receiver, 100_000) == b"z" * 100_000
