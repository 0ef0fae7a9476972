"""Streams over sockets."""

from __future__ import annotations

import array
import errno
import signal
import socket as stdlib_socket
import struct
from collections.abc import Awaitable, Callable

import pytest

import nursery
from nursery.kernel.traps import BUDGET
from nursery.network.socket_type import SocketType
from nursery.network.sockets import from_stdlib_socket
from nursery.network.stream import DEFAULT_RECEIVE_SIZE, SocketStream
from nursery.resource import aclose_forcefully
from nursery.testing import assert_checkpoints, wait_all_tasks_blocked
from tests.network.loopback import Counting, needs_ipv6, needs_unix, raw, tcp_pair, unix_pair

FAR_TOO_MUCH = b"x" * 8_000_000


async def receive_exactly(stream: SocketStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = await stream.receive_some()
        assert piece, "the stream ended too early"
        data += piece
    return data


async def clog(stream: SocketStream) -> None:
    """Send until a send would wait."""
    with nursery.move_on_after(0.01):
        await stream.send_all(FAR_TOO_MUCH)


def assert_nothing_behind(error: BaseException) -> None:
    """That the stream was closed says it all: the system's error about it is no news."""
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__


async def wait_once(receiver: SocketStream, sender: SocketStream) -> None:
    """Let the receiver sleep and be woken once: what is known of its socket is then settled."""
    async with nursery.open_nursery() as n:
        n.start_soon(receiver.receive_some)
        await wait_all_tasks_blocked()
        raw(sender).send(b"x")


# Both ways


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
async def test_what_is_sent_arrives_in_both_directions(host: str) -> None:
    async with tcp_pair(host) as (near, far):
        await near.send_all(b"ping")
        assert await far.receive_some() == b"ping"
        await far.send_all(b"pong")
        assert await near.receive_some() == b"pong"


async def test_a_megabyte_arrives_whole_while_the_other_side_reads_slowly() -> None:
    data = bytes(range(256)) * 8192
    received = bytearray()
    async with tcp_pair() as (near, far):

        async def send() -> None:
            await near.send_all(data)
            await near.send_eof()

        async with nursery.open_nursery() as n:
            n.start_soon(send)
            while piece := await far.receive_some(10_000):
                received += piece
                await nursery.lowlevel.checkpoint()
    assert received == data


@pytest.mark.parametrize(
    "data", [bytearray(b"abcd"), memoryview(b"abcd"), memoryview(array.array("H", [1, 2, 3]))], ids=repr
)
async def test_send_all_takes_any_form_of_bytes(data: bytearray | memoryview) -> None:
    expected = bytes(data)
    async with tcp_pair() as (near, far):
        await near.send_all(data)
        assert await receive_exactly(far, len(expected)) == expected


async def test_a_large_view_of_wider_items_is_sent_whole() -> None:
    # Counted in items and not in bytes it would end too early.
    data = array.array("Q", range(400_000))
    async with tcp_pair() as (near, far):
        async with nursery.open_nursery() as n:
            n.start_soon(near.send_all, memoryview(data))
            received = await receive_exactly(far, len(data) * 8)
    assert received == data.tobytes()


async def test_send_all_rejects_text() -> None:
    async with tcp_pair() as (near, _):
        with pytest.raises(TypeError):
            await near.send_all("text")  # type: ignore[arg-type]  # the mistake under test


@pytest.mark.parametrize("wrong", [0, -1])
async def test_max_bytes_must_be_positive(wrong: int) -> None:
    async with tcp_pair() as (near, _):
        with pytest.raises(ValueError, match="max_bytes"):
            await near.receive_some(wrong)


@pytest.mark.parametrize("wrong", ["10", 1.5])
async def test_max_bytes_must_be_a_number(wrong: object) -> None:
    async with tcp_pair() as (near, far):
        await far.send_all(b"data")
        with pytest.raises(TypeError):
            await near.receive_some(wrong)  # type: ignore[arg-type]  # the mistake under test
        assert await near.receive_some() == b"data"
        # Nothing is there now, but the mistake is told at once.
        with pytest.raises(TypeError), nursery.fail_after(0.1):
            await near.receive_some(wrong)  # type: ignore[arg-type]  # the mistake under test


async def test_receive_some_returns_at_most_max_bytes() -> None:
    async with tcp_pair() as (near, far):
        await near.send_all(b"abcdef")
        assert await far.receive_some(4) == b"abcd"
        assert await far.receive_some(4) == b"ef"


# The end of a stream


async def test_after_the_end_every_receive_returns_nothing() -> None:
    async with tcp_pair() as (near, far):
        await near.send_all(b"last")
        await near.send_eof()
        assert await far.receive_some() == b"last"
        for _ in range(3):
            assert await far.receive_some() == b""


async def test_data_and_end_that_came_together_are_both_seen() -> None:
    # Both are queued before the first receive, and no further edge will come.
    async with tcp_pair() as (near, far):
        await wait_once(far, near)
        raw(near).send(b"last")
        raw(near).shutdown(stdlib_socket.SHUT_WR)
        await nursery.sleep(0.001)
        with nursery.fail_after(1):
            assert await far.receive_some() == b"last"
            assert await far.receive_some() == b""


async def test_data_and_end_that_came_while_the_receiver_slept_are_both_seen() -> None:
    async with tcp_pair() as (near, far):
        received: list[bytes] = []

        async def receive() -> None:
            received.append(await far.receive_some())
            received.append(await far.receive_some())

        with nursery.fail_after(1):
            async with nursery.open_nursery() as n:
                n.start_soon(receive)
                await wait_all_tasks_blocked()
                raw(near).send(b"last")
                raw(near).shutdown(stdlib_socket.SHUT_WR)
        assert received == [b"last", b""]


async def test_send_eof_twice_is_fine_and_receiving_goes_on() -> None:
    async with tcp_pair() as (near, far):
        await near.send_eof()
        await near.send_eof()
        assert await far.receive_some() == b""
        await far.send_all(b"still there")
        assert await near.receive_some() == b"still there"


@pytest.mark.parametrize("data", [b"", b"data"])
async def test_sending_after_send_eof_raises_closed(data: bytes) -> None:
    async with tcp_pair() as (near, _):
        await near.send_eof()
        with pytest.raises(nursery.ClosedResourceError, match="EOF") as info:
            await near.send_all(data)
        assert_nothing_behind(info.value)


async def test_a_shutdown_through_the_socket_counts_as_send_eof() -> None:
    async with tcp_pair() as (near, _):
        near.socket.shutdown(stdlib_socket.SHUT_WR)
        with pytest.raises(nursery.ClosedResourceError, match="EOF") as info:
            await near.send_all(b"data")
        assert_nothing_behind(info.value)


async def test_async_for_ends_with_the_stream() -> None:
    async with tcp_pair() as (near, far):
        await near.send_all(b"abc")
        await near.send_eof()
        assert b"".join([piece async for piece in far]) == b"abc"


# Short reads


async def test_a_receive_after_a_short_read_sleeps_without_a_system_call() -> None:
    async with tcp_pair() as (near, far):
        await near.send_all(b"1")
        assert await far.receive_some() == b"1"
        far._recv = counting = Counting(far._recv)  # type: ignore[assignment]  # counts what passes
        async with nursery.open_nursery() as n:
            n.start_soon(far.receive_some)
            await wait_all_tasks_blocked()
            assert counting.calls == 0
            await near.send_all(b"2")
        assert counting.calls == 1


async def test_a_message_costs_one_send_and_one_recv() -> None:
    async with tcp_pair() as (near, far):
        served = nursery.CancelScope()

        async def echo() -> None:
            with served:
                while True:
                    await far.send_all(await far.receive_some())

        async with nursery.open_nursery() as n:
            n.start_soon(echo)
            await wait_all_tasks_blocked()
            far._recv = receives = Counting(far._recv)  # type: ignore[assignment]  # counts what passes
            far._send = sends = Counting(far._send)  # type: ignore[assignment]  # counts what passes
            for _ in range(20):
                await near.send_all(b"x" * 1024)
                await receive_exactly(near, 1024)
            served.cancel()
        assert (receives.calls, sends.calls) == (20, 20)


@needs_unix
async def test_a_descriptor_passed_in_between_does_not_hang_the_receiver() -> None:
    # A read on a Unix socket ends where a descriptor was passed, with more behind it.
    async with unix_pair() as (near, far):
        await wait_once(far, near)
        stdlib_socket.send_fds(raw(near), [b"before"], [0])
        raw(near).send(b"after")
        await nursery.sleep(0.001)
        with nursery.fail_after(1):
            assert await receive_exactly(far, 11) == b"beforeafter"


@pytest.mark.skipif(not hasattr(stdlib_socket, "MSG_OOB"), reason="this system has no urgent data")
async def test_urgent_data_does_not_hang_the_receiver() -> None:
    # A read on TCP ends at the urgent byte, with more behind it.
    async with tcp_pair() as (near, far):
        await wait_once(far, near)
        raw(near).send(b"before")
        raw(near).send(b"!", stdlib_socket.MSG_OOB)
        raw(near).send(b"after")
        await nursery.sleep(0.001)
        with nursery.fail_after(1):
            assert await receive_exactly(far, 11) == b"beforeafter"


# Closing


async def test_a_closed_stream_raises_closed_whatever_is_asked_of_it() -> None:
    async with tcp_pair() as (near, _):
        await near.aclose()
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: near.send_all(b"data"),
            lambda: near.send_all(b""),
            near.receive_some,
            near.send_eof,
            near.wait_send_all_might_not_block,
        ]
        for call in calls:
            with pytest.raises(nursery.ClosedResourceError) as info:
                await call()
            assert_nothing_behind(info.value)
        await near.aclose()


async def test_a_stream_whose_waiters_were_warned_of_a_close_goes_on_if_it_is_not_closed() -> None:
    async with tcp_pair() as (near, far):
        pieces: list[bytes] = []

        async def receive() -> None:
            with pytest.raises(nursery.ClosedResourceError):
                await near.receive_some()
            pieces.append(await near.receive_some())
            with pytest.raises(nursery.ClosedResourceError):
                await near.receive_some()
            async for piece in near:
                pieces.append(piece)

        async def send() -> None:
            with pytest.raises(nursery.ClosedResourceError):
                await near.send_all(FAR_TOO_MUCH)
            # What is in the buffers was sent, so this waits for room as well.
            await near.send_all(FAR_TOO_MUCH)

        with nursery.fail_after(10):
            async with nursery.open_nursery() as n:
                n.start_soon(receive)
                for data in (b"one", b"two"):
                    await wait_all_tasks_blocked()
                    nursery.lowlevel.notify_closing(near.socket)
                    await wait_all_tasks_blocked()
                    await far.send_all(data)
                await far.send_eof()
            assert b"".join(pieces) == b"onetwo"
            async with nursery.open_nursery() as n:
                n.start_soon(send)
                await wait_all_tasks_blocked()
                nursery.lowlevel.notify_closing(near.socket)
                await wait_all_tasks_blocked()
                await receive_exactly(far, len(FAR_TOO_MUCH))


async def test_closing_wakes_the_receiver_with_closed() -> None:
    async with tcp_pair() as (near, _):

        async def receive() -> None:
            with pytest.raises(nursery.ClosedResourceError):
                await near.receive_some()

        async with nursery.open_nursery() as n:
            n.start_soon(receive)
            await wait_all_tasks_blocked()
            await near.aclose()


async def test_closing_wakes_the_sender_with_closed() -> None:
    async with tcp_pair() as (near, _):

        async def send() -> None:
            with pytest.raises(nursery.ClosedResourceError):
                await near.send_all(FAR_TOO_MUCH)

        async with nursery.open_nursery() as n:
            n.start_soon(send)
            await wait_all_tasks_blocked()
            await near.aclose()


async def test_a_receiver_that_was_woken_but_has_not_run_finds_the_stream_closed() -> None:
    async with tcp_pair() as (near, far):

        async def receive() -> None:
            with pytest.raises(nursery.ClosedResourceError):
                await near.receive_some()

        async with nursery.open_nursery() as n:
            n.start_soon(receive)
            await wait_all_tasks_blocked()
            raw(far).send(b"data")
            interest = near.socket.interest  # type: ignore[attr-defined]  # it is a Socket
            while interest.reader is not None:
                await nursery.lowlevel.checkpoint()
            near.socket.close()


async def test_aclose_closes_even_if_cancelled() -> None:
    async with tcp_pair() as (near, far):
        await aclose_forcefully(near)
        assert near.socket.fileno() == -1
        assert await far.receive_some() == b""


# Breaking


async def test_a_reset_raises_broken_in_the_receiver() -> None:
    async with tcp_pair() as (near, far):
        far.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_LINGER, struct.pack("ii", 1, 0))
        await far.aclose()
        with pytest.raises(nursery.BrokenResourceError) as info:
            await near.receive_some()
        assert isinstance(info.value.__cause__, ConnectionResetError)


async def test_a_reset_raises_broken_in_a_receiver_that_sleeps() -> None:
    async with tcp_pair() as (near, far):

        async def receive() -> None:
            with pytest.raises(nursery.BrokenResourceError):
                await near.receive_some()

        async with nursery.open_nursery() as n:
            n.start_soon(receive)
            await wait_all_tasks_blocked()
            far.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_LINGER, struct.pack("ii", 1, 0))
            await far.aclose()


async def test_a_peer_that_is_gone_raises_broken_in_the_sender() -> None:
    async with tcp_pair() as (near, far):
        await far.aclose()
        with pytest.raises(nursery.BrokenResourceError) as info:
            while True:
                await near.send_all(FAR_TOO_MUCH)
        assert isinstance(info.value.__cause__, OSError)


async def test_a_peer_that_goes_away_raises_broken_in_a_sender_that_sleeps() -> None:
    async with tcp_pair() as (near, far):

        async def send() -> None:
            with pytest.raises(nursery.BrokenResourceError):
                await near.send_all(FAR_TOO_MUCH)

        async with nursery.open_nursery() as n:
            n.start_soon(send)
            await wait_all_tasks_blocked()
            await far.aclose()


# Two at once


async def test_a_second_receiver_gets_busy() -> None:
    async with tcp_pair() as (near, far):
        async with nursery.open_nursery() as n:
            n.start_soon(near.receive_some)
            await wait_all_tasks_blocked()
            with pytest.raises(nursery.BusyResourceError, match="receiving"):
                await near.receive_some()
            await far.send_all(b"data")


async def test_while_one_task_sends_no_other_may_send_or_wait_or_end() -> None:
    async with tcp_pair() as (near, _):
        async with nursery.open_nursery() as n:
            n.start_soon(near.send_all, FAR_TOO_MUCH)
            await wait_all_tasks_blocked()
            with pytest.raises(nursery.BusyResourceError, match="sending"):
                await near.send_all(b"data")
            with pytest.raises(nursery.BusyResourceError, match="sending"):
                await near.wait_send_all_might_not_block()
            with pytest.raises(nursery.BusyResourceError, match="sending"):
                await near.send_eof()
            n.cancel_scope.cancel()


async def test_after_a_cancelled_send_the_stream_is_not_busy() -> None:
    async with tcp_pair() as (near, far):
        await clog(near)
        async with nursery.open_nursery() as n:

            async def drain() -> None:
                async for _ in far:
                    pass

            n.start_soon(drain)
            await near.send_all(b"more")
            await near.send_eof()


async def test_one_task_may_send_while_another_receives() -> None:
    async with tcp_pair() as (near, far):
        async with nursery.open_nursery() as n:
            n.start_soon(near.receive_some)
            n.start_soon(near.send_all, FAR_TOO_MUCH)
            await wait_all_tasks_blocked()
            await far.send_all(b"data")
            n.start_soon(receive_exactly, far, len(FAR_TOO_MUCH))


# Cancelling


async def test_a_cancelled_receive_takes_nothing() -> None:
    async with tcp_pair() as (near, far):
        await near.send_all(b"data")
        await nursery.sleep(0.001)
        with nursery.CancelScope() as scope:
            scope.cancel()
            await far.receive_some()
        assert scope.cancelled_caught
        assert await far.receive_some() == b"data"


async def test_a_receive_cancelled_in_its_sleep_can_be_repeated() -> None:
    async with tcp_pair() as (near, far):
        with nursery.move_on_after(0.001) as scope:
            await far.receive_some()
        assert scope.cancelled_caught
        await near.send_all(b"data")
        assert await far.receive_some() == b"data"


async def test_a_cancelled_send_sends_nothing() -> None:
    async with tcp_pair() as (near, far):
        with nursery.CancelScope() as scope:
            scope.cancel()
            await near.send_all(b"nothing of this")
        assert scope.cancelled_caught
        await near.send_all(b"data")
        assert await far.receive_some() == b"data"


@pytest.mark.parametrize("sends", [False, True])
def test_an_interrupt_in_the_middle_of_an_operation_waits_for_the_next_checkpoint(sends: bool) -> None:
    # Raised at once, it could leave a task in the interest's slot that is not asleep.
    async def main() -> None:
        async with tcp_pair() as (near, far):
            await near.send_all(b"data")
            await nursery.sleep(0.001)

            def interrupted(data: object) -> object:
                signal.raise_signal(signal.SIGINT)
                return 4 if sends else b"data"

            far._recv = far._send = interrupted  # type: ignore[assignment]  # in place of the system call
            if sends:
                await far.send_all(b"data")
            else:
                assert await far.receive_some() == b"data"
            with pytest.raises(KeyboardInterrupt):
                await nursery.lowlevel.checkpoint()

    nursery.run(main)


# Checkpoints and fairness


async def test_every_operation_is_a_checkpoint() -> None:
    async with tcp_pair() as (near, far):
        with assert_checkpoints():
            await near.send_all(b"data")
        with assert_checkpoints():
            await near.send_all(b"")
        with assert_checkpoints():
            await near.wait_send_all_might_not_block()
        await nursery.sleep(0.001)
        with assert_checkpoints():
            await far.receive_some(2)
        with assert_checkpoints():
            await far.receive_some(2)
        with assert_checkpoints():
            await near.send_eof()
        with assert_checkpoints():
            await far.receive_some()
        with assert_checkpoints():
            await near.aclose()


async def test_a_receiver_that_never_waits_lets_others_run_all_the_same() -> None:
    async with tcp_pair() as (near, far):
        await near.send_all(b"x" * 1000)
        await nursery.sleep(0.001)
        turns = 0

        async def count_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await nursery.lowlevel.checkpoint()

        async with nursery.open_nursery() as n:
            n.start_soon(count_turns)
            for _ in range(10 * (BUDGET + 1)):
                await far.receive_some(1)
            n.cancel_scope.cancel()
        assert turns >= 9


async def test_a_sender_that_never_waits_lets_others_run_all_the_same() -> None:
    async with tcp_pair() as (near, _):
        turns = 0

        async def count_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await nursery.lowlevel.checkpoint()

        async with nursery.open_nursery() as n:
            n.start_soon(count_turns)
            for _ in range(10 * (BUDGET + 1)):
                await near.send_all(b"x")
            n.cancel_scope.cancel()
        assert turns >= 9


async def test_wait_send_all_might_not_block_waits_while_the_buffers_are_full() -> None:
    async with tcp_pair() as (near, far):
        await clog(near)
        with nursery.move_on_after(0.001) as scope:
            await near.wait_send_all_might_not_block()
        assert scope.cancelled_caught
        async with nursery.open_nursery() as n:
            n.start_soon(near.wait_send_all_might_not_block)
            with nursery.move_on_after(0.05):
                while True:
                    await far.receive_some(DEFAULT_RECEIVE_SIZE)


# Making one


async def test_tcp_sockets_are_set_up_for_low_latency() -> None:
    async with tcp_pair() as pair:
        for stream in pair:
            assert stream.getsockopt(stdlib_socket.IPPROTO_TCP, stdlib_socket.TCP_NODELAY)
            if hasattr(stdlib_socket, "TCP_NOTSENT_LOWAT"):
                assert stream.getsockopt(stdlib_socket.IPPROTO_TCP, stdlib_socket.TCP_NOTSENT_LOWAT) == 16 * 1024


async def test_socket_options_can_be_set_and_read() -> None:
    async with tcp_pair() as (near, _):
        near.setsockopt(stdlib_socket.IPPROTO_TCP, stdlib_socket.TCP_NODELAY, False)
        assert near.getsockopt(stdlib_socket.IPPROTO_TCP, stdlib_socket.TCP_NODELAY) == 0
        assert near.getsockopt(stdlib_socket.IPPROTO_TCP, stdlib_socket.TCP_NODELAY, 4) == b"\0\0\0\0"
        near.setsockopt(stdlib_socket.IPPROTO_TCP, stdlib_socket.TCP_NODELAY, b"\1\0\0\0")
        assert near.getsockopt(stdlib_socket.IPPROTO_TCP, stdlib_socket.TCP_NODELAY) != 0
        with pytest.raises(TypeError, match="None only if length"):
            near.setsockopt(1, 2, None)  # type: ignore[call-overload]  # the mistake under test
        with pytest.raises(TypeError, match="must be None"):
            near.setsockopt(1, 2, 3, 4)  # type: ignore[call-overload]  # the mistake under test


async def test_a_stream_needs_a_socket_of_ours() -> None:
    with stdlib_socket.socket() as sock:
        with pytest.raises(TypeError, match="nursery socket"):
            SocketStream(sock)  # type: ignore[arg-type]  # the mistake under test


async def test_a_stream_needs_a_stream_socket() -> None:
    with from_stdlib_socket(stdlib_socket.socket(type=stdlib_socket.SOCK_DGRAM)) as sock:
        with pytest.raises(ValueError, match="SOCK_STREAM"):
            SocketStream(sock)


async def test_the_repr_shows_the_addresses() -> None:
    async with tcp_pair() as (near, _):
        assert "127.0.0.1" in repr(near)


def test_a_stream_can_be_used_in_one_run_after_another() -> None:
    left, right = stdlib_socket.socketpair()
    near, far = SocketStream(from_stdlib_socket(left)), SocketStream(from_stdlib_socket(right))

    async def exchange(data: bytes) -> bytes:
        received: list[bytes] = []

        async def receive() -> None:
            received.append(await far.receive_some())

        async with nursery.open_nursery() as n:
            n.start_soon(receive)
            await wait_all_tasks_blocked()
            await near.send_all(data)
        return received[0]

    assert nursery.run(exchange, b"one") == b"one"
    assert nursery.run(exchange, b"two") == b"two"
    near.socket.close()
    far.socket.close()


# Stand-ins for sockets


class Double(SocketType):
    """A socket for tests: takes three bytes at a time, and answers with what it is given."""

    def __init__(self, *answers: bytes | OSError) -> None:
        super().__init__()
        self.answers = list(answers)
        self.sent = b""
        self.closed = False
        self.shut_down = False

    type = stdlib_socket.SOCK_STREAM

    def setsockopt(self, *args: object) -> None:
        raise OSError("not TCP")

    @property
    def did_shutdown_SHUT_WR(self) -> bool:
        return self.shut_down

    def shutdown(self, flag: int) -> None:
        self.shut_down = True

    def fileno(self) -> int:
        return -1 if self.closed else 99

    def close(self) -> None:
        self.closed = True

    async def recv(self, buflen: int, flags: int = 0, /) -> bytes:
        await nursery.lowlevel.checkpoint()
        if self.closed:
            raise OSError(errno.EBADF, "closed")
        answer = self.answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer[:buflen]

    async def send(self, data: object, flags: int = 0, /) -> int:
        await nursery.lowlevel.checkpoint()
        assert isinstance(data, memoryview)
        self.sent += data[:3]
        return min(3, len(data))


async def test_a_stream_works_over_a_stand_in_for_a_socket() -> None:
    double = Double(b"answer", OSError(errno.ECONNRESET, "reset"))
    stream = SocketStream(double)
    await stream.send_all(b"question")
    assert double.sent == b"question"
    await stream.send_all(b"")
    assert await stream.receive_some() == b"answer"
    with pytest.raises(nursery.BrokenResourceError):
        await stream.receive_some()
    await stream.send_eof()
    with pytest.raises(nursery.ClosedResourceError, match="EOF"):
        await stream.send_all(b"late")
    await stream.aclose()
    with pytest.raises(nursery.ClosedResourceError):
        await stream.receive_some()


async def test_a_stream_over_a_closed_stand_in_raises_closed() -> None:
    double = Double()
    stream = SocketStream(double)
    double.close()
    with pytest.raises(nursery.ClosedResourceError):
        await stream.send_all(b"")
