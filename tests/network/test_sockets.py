"""Socket objects: the standard library's calls, with the waiting made ours."""

from __future__ import annotations

import array
import errno
import os
import queue
import socket as stdlib_socket
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import outcome
import pytest

import nursery
from nursery.network.socket_type import SocketFactory, SocketType
from nursery.network.sockets import (
    Socket,
    from_stdlib_socket,
    fromfd,
    set_custom_socket_factory,
    socket,
    socketpair,
)
from nursery.testing import assert_checkpoints, wait_all_tasks_blocked
from tests.network.loopback import needs_ipv6, needs_unix

# Making them


async def test_socket_makes_what_it_is_asked_for() -> None:
    with socket() as sock:
        assert (sock.family, sock.type, sock.proto) == (stdlib_socket.AF_INET, stdlib_socket.SOCK_STREAM, 0)
        assert isinstance(sock, SocketType)
    with socket(stdlib_socket.AF_INET, stdlib_socket.SOCK_DGRAM) as sock:
        assert sock.type == stdlib_socket.SOCK_DGRAM


async def test_socket_of_a_descriptor_asks_the_system_what_it_is() -> None:
    with stdlib_socket.socket(stdlib_socket.AF_INET, stdlib_socket.SOCK_DGRAM) as original:
        with socket(fileno=os.dup(original.fileno())) as sock:
            assert sock.type == stdlib_socket.SOCK_DGRAM
        with fromfd(original.fileno()) as sock:
            assert sock.type == stdlib_socket.SOCK_DGRAM
            assert sock.fileno() != original.fileno()


def test_socket_needs_a_run() -> None:
    with pytest.raises(RuntimeError):
        socket()


def test_the_interface_cannot_be_instantiated() -> None:
    with pytest.raises(TypeError, match="abstract"):
        SocketType()


def test_a_wrapped_socket_becomes_non_blocking() -> None:
    with stdlib_socket.socket() as original:
        from_stdlib_socket(original)
        assert original.gettimeout() == 0


def test_only_plain_sockets_are_wrapped() -> None:
    class Special(stdlib_socket.socket):
        pass

    with Special() as special, pytest.raises(TypeError, match="Special"):
        from_stdlib_socket(special)
    context = ssl.create_default_context()
    with stdlib_socket.socket() as plain, context.wrap_socket(plain, server_hostname="x") as wrapped:
        with pytest.raises(TypeError, match="SSLSocket"):
            from_stdlib_socket(wrapped)
    with pytest.raises(TypeError, match="int"):
        from_stdlib_socket(1)  # type: ignore[arg-type]  # the mistake under test


async def test_a_socket_factory_makes_the_sockets_of_its_run() -> None:
    made: list[tuple[object, ...]] = []

    class Factory(SocketFactory):
        def socket(self, family: int = -1, type: int = -1, proto: int = 0) -> SocketType:
            made.append((family, type, proto))
            return from_stdlib_socket(stdlib_socket.socket(family, type, proto))

    factory = Factory()
    assert set_custom_socket_factory(factory) is None
    socket(stdlib_socket.AF_INET, stdlib_socket.SOCK_DGRAM).close()
    assert made == [(stdlib_socket.AF_INET, stdlib_socket.SOCK_DGRAM, 0)]
    # With a descriptor there is nothing to make.
    with stdlib_socket.socket() as original:
        socket(fileno=os.dup(original.fileno())).close()
    assert len(made) == 1
    assert set_custom_socket_factory(None) is factory
    socket().close()
    assert len(made) == 1


# Their life


async def test_closing_twice_is_fine() -> None:
    sock = socket()
    sock.close()
    sock.close()
    assert sock.fileno() == -1


async def test_a_socket_that_a_task_waits_for_is_not_closed_from_another_thread() -> None:
    left, right = socketpair()

    async def receive() -> None:
        assert await left.recv(10) == b"data"

    with left, right, nursery.fail_after(1):
        async with nursery.open_nursery() as n:
            n.start_soon(receive)
            await wait_all_tasks_blocked()
            with pytest.raises(RuntimeError, match="closing a socket that a task waits for"):
                await nursery.to_thread.run_sync(left.close)
            await right.send(b"data")
        await nursery.to_thread.run_sync(left.close)
        assert left.fileno() == -1


def test_closing_outside_a_run_is_fine() -> None:
    left, right = socketpair()
    left.close()
    right.close()
    assert left.fileno() == right.fileno() == -1


async def test_leaving_the_with_block_closes_and_wakes_the_waiter() -> None:
    left, right = socketpair()
    async with nursery.open_nursery() as n:

        async def receive() -> None:
            with pytest.raises(nursery.ClosedResourceError):
                await left.recv(1)

        with left:
            n.start_soon(receive)
            await wait_all_tasks_blocked()
    assert left.fileno() == -1
    right.close()


async def test_closing_wakes_a_task_that_waits_for_the_bare_descriptor() -> None:
    left, right = socketpair()

    async def wait() -> None:
        with pytest.raises(nursery.ClosedResourceError):
            await nursery.lowlevel.wait_readable(left.fileno())

    async with nursery.open_nursery() as n:
        n.start_soon(wait)
        await wait_all_tasks_blocked()
        left.close()
    right.close()


async def test_a_socket_whose_waiters_were_warned_of_a_close_goes_on_if_it_is_not_closed() -> None:
    left, right = socketpair()

    async def receive() -> None:
        with pytest.raises(nursery.ClosedResourceError):
            await left.recv(10)
        assert await left.recv(10) == b"data"

    with left, right, nursery.fail_after(1):
        async with nursery.open_nursery() as n:
            n.start_soon(receive)
            await wait_all_tasks_blocked()
            nursery.lowlevel.notify_closing(left)
            await wait_all_tasks_blocked()
            await right.send(b"data")


def test_a_close_by_the_host_of_a_guest_run_wakes_the_waiter() -> None:
    todo: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
    done: list[outcome.Outcome[str]] = []
    left, right = socketpair()

    async def main() -> str:
        try:
            await left.recv(1)
        except nursery.ClosedResourceError:
            return "closed"
        return "received"

    nursery.lowlevel.start_guest_run(main, run_sync_soon_threadsafe=todo.put, done_callback=done.append)
    todo.put(lambda: None)
    assert isinstance(left, Socket)
    closed = False
    while not done:
        todo.get(timeout=5)()
        if not closed and left.runner is not None and left.interest.reader is not None:
            closed = True
            left.close()
    assert done[0].unwrap() == "closed"
    right.close()


async def test_a_task_that_waits_for_the_bare_descriptor_is_left_alone_by_other_operations() -> None:
    left, right = socketpair()
    with left, right:
        woken = False

        async def wait() -> None:
            nonlocal woken
            await nursery.lowlevel.wait_readable(left.fileno())
            woken = True

        async with nursery.open_nursery() as n:
            n.start_soon(wait)
            await wait_all_tasks_blocked()
            with nursery.move_on_after(0.005):
                while True:
                    # Fills the buffer, and then waits.
                    await left.send(b"x" * 100_000)
            assert not woken
            await right.send(b"x")
        assert woken


async def test_a_closed_socket_says_so() -> None:
    left, right = socketpair()
    left.close()
    right.close()
    for call in (left.recv(1), left.send(b"x")):
        with pytest.raises(OSError) as info:
            await call
        assert info.value.errno == errno.EBADF


async def test_a_reused_descriptor_number_starts_afresh() -> None:
    left, right = socketpair()
    number = left.fileno()
    with nursery.move_on_after(0.001):
        await left.recv(1)
    left.close()
    left2, right2 = socketpair()
    assert number in (left2.fileno(), right2.fileno())
    with left2, right2:
        async with nursery.open_nursery() as n:
            n.start_soon(left2.recv, 1)
            await wait_all_tasks_blocked()
            await right2.send(b"x")
    right.close()


async def test_a_detached_socket_gives_its_descriptor_away() -> None:
    left, right = socketpair()
    with right:
        number = left.fileno()
        assert left.detach() == number
        assert left.fileno() == -1
        os.close(number)
        assert await right.recv(1) == b""


async def test_a_duplicate_lives_on_its_own() -> None:
    left, right = socketpair()
    with left, right, left.dup() as other:
        assert isinstance(other, Socket)
        left.close()
        await other.send(b"x")
        assert await right.recv(1) == b"x"


async def test_shutting_down_is_remembered() -> None:
    for flag, expected in (
        (stdlib_socket.SHUT_RD, False),
        (stdlib_socket.SHUT_WR, True),
        (stdlib_socket.SHUT_RDWR, True),
    ):
        left, right = socketpair()
        with left, right:
            assert not left.did_shutdown_SHUT_WR
            left.shutdown(flag)
            assert left.did_shutdown_SHUT_WR is expected
    with socket() as sock:
        with pytest.raises(OSError):
            sock.shutdown(stdlib_socket.SHUT_WR)
        assert not sock.did_shutdown_SHUT_WR


# What needs no waiting


async def test_what_needs_no_waiting_is_passed_on() -> None:
    with socket() as sock:
        await sock.bind(("127.0.0.1", 0))
        sock.listen()
        host, port = sock.getsockname()
        assert host == "127.0.0.1"
        assert port
        with pytest.raises(OSError):
            sock.getpeername()
        sock.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_REUSEADDR, 1)
        assert sock.getsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_REUSEADDR) == 1
        assert sock.getsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_REUSEADDR, 4) == b"\1\0\0\0"
        with pytest.raises(TypeError, match="optlen"):
            sock.setsockopt(1, 2, None)  # type: ignore[call-overload]  # the mistake under test
        with pytest.raises(TypeError, match="optlen"):
            sock.setsockopt(1, 2, 3, 4)  # type: ignore[call-overload]  # the mistake under test
        sock.set_inheritable(True)
        assert sock.get_inheritable()
        assert "nursery.socket.socket" in repr(sock)


async def test_is_readable_tells_of_this_moment() -> None:
    left, right = socketpair()
    with left, right:
        assert not left.is_readable()
        await right.send(b"x")
        assert left.is_readable()
        await left.recv(1)
        assert not left.is_readable()


# Sending and receiving


async def test_every_way_to_send_and_receive_works_on_a_stream() -> None:
    left, right = socketpair()
    with left, right:
        assert await left.send(b"abc") == 3
        assert await right.recv(2, stdlib_socket.MSG_PEEK) == b"ab"
        assert await right.recv(2) == b"ab"
        buffer = bytearray(4)
        assert await right.recv_into(buffer) == 1
        assert buffer == b"c\0\0\0"
        await left.send(b"defg")
        assert await right.recv_into(buffer, 2) == 2
        assert await right.recv_into(buffer, nbytes=1, flags=stdlib_socket.MSG_PEEK) == 1
        assert await right.recv(10) == b"fg"
        assert await left.sendmsg([b"h", b"i"]) == 2
        data, ancillary, _, _ = await right.recvmsg(10)
        assert (data, ancillary) == (b"hi", [])
        await left.sendmsg(iter([b"jkl"]))
        first, second = bytearray(1), bytearray(4)
        count, _, _, _ = await right.recvmsg_into([first, second])
        assert (count, bytes(first), bytes(second)) == (3, b"j", b"kl\0\0")


async def test_every_way_to_send_and_receive_works_on_datagrams() -> None:
    kind = (stdlib_socket.AF_INET, stdlib_socket.SOCK_DGRAM)
    with socket(*kind) as left, socket(*kind) as right:
        await left.bind(("127.0.0.1", 0))
        await right.bind(("127.0.0.1", 0))
        to_right = right.getsockname()
        assert await left.sendto(b"one", to_right) == 3
        assert await right.recvfrom(10) == (b"one", left.getsockname())
        assert await left.sendto(b"two", 0, to_right) == 3
        buffer = bytearray(10)
        assert await right.recvfrom_into(buffer) == (3, left.getsockname())
        assert buffer[:3] == b"two"
        assert await left.sendmsg([b"th", b"ree"], [], 0, to_right) == 5
        assert (await right.recvmsg(10))[0] == b"three"
        # A name is resolved, and an empty datagram is one.
        assert await left.sendto(b"", ("localhost", to_right[1])) == 0
        assert await right.recvfrom(10) == (b"", left.getsockname())
        with pytest.raises(TypeError, match="sendto"):
            await left.sendto(b"alone")  # type: ignore[call-overload]  # the mistake under test


@needs_unix
async def test_descriptors_can_be_passed() -> None:
    left, right = socketpair()
    with left, right, tempfile.TemporaryFile() as file:
        file.write(b"from the file")
        file.seek(0)
        rights = (stdlib_socket.SOL_SOCKET, stdlib_socket.SCM_RIGHTS, array.array("i", [file.fileno()]))
        await left.sendmsg([b"x"], [rights])
        _, [(_, _, passed)], _, _ = await right.recvmsg(1, stdlib_socket.CMSG_SPACE(4))
        descriptor = array.array("i", passed)[0]
        assert os.read(descriptor, 100) == b"from the file"
        os.close(descriptor)


READS: dict[str, Callable[[SocketType], Awaitable[object]]] = {
    "recv": lambda sock: sock.recv(10),
    "recv with flags": lambda sock: sock.recv(10, stdlib_socket.MSG_PEEK),
    "recv_into": lambda sock: sock.recv_into(bytearray(10)),
    "recvfrom": lambda sock: sock.recvfrom(10),
    "recvfrom_into": lambda sock: sock.recvfrom_into(bytearray(10)),
    "recvmsg": lambda sock: sock.recvmsg(10),
    "recvmsg_into": lambda sock: sock.recvmsg_into([bytearray(10)]),
}
each_read = pytest.mark.parametrize("read", READS.values(), ids=READS)


@each_read
async def test_a_read_waits_until_there_is_something(read: Callable[[SocketType], Awaitable[object]]) -> None:
    left, right = socketpair()
    with left, right:
        results: list[object] = []

        async def receive() -> None:
            results.append(await read(left))

        async with nursery.open_nursery() as n:
            n.start_soon(receive)
            await wait_all_tasks_blocked()
            assert results == []
            await right.send(b"data")
        assert len(results) == 1


@each_read
async def test_a_read_that_waits_can_be_cancelled(read: Callable[[SocketType], Awaitable[object]]) -> None:
    left, right = socketpair()
    with left, right:
        with nursery.move_on_after(0.001) as scope:
            await read(left)
        assert scope.cancelled_caught
        await right.send(b"data")
        assert await left.recv(10) == b"data"


@each_read
async def test_a_read_in_a_cancelled_scope_takes_nothing(read: Callable[[SocketType], Awaitable[object]]) -> None:
    left, right = socketpair()
    with left, right:
        await right.send(b"data")
        with nursery.CancelScope() as scope:
            scope.cancel()
            await read(left)
        assert scope.cancelled_caught
        assert await left.recv(10) == b"data"


@each_read
async def test_a_read_is_a_checkpoint_even_if_there_is_something(
    read: Callable[[SocketType], Awaitable[object]],
) -> None:
    left, right = socketpair()
    with left, right:
        await right.send(b"data")
        with assert_checkpoints():
            await read(left)


async def test_a_second_reader_gets_busy_and_so_does_a_second_writer() -> None:
    left, right = socketpair()
    with left, right:

        async def fill() -> None:
            while True:
                await left.send(b"x" * 100_000)

        async with nursery.open_nursery() as n:
            n.start_soon(left.recv, 1)
            n.start_soon(fill)
            await wait_all_tasks_blocked()
            with pytest.raises(nursery.BusyResourceError, match="read"):
                await left.recv(1)
            with pytest.raises(nursery.BusyResourceError, match="writ"):
                await left.send(b"x")
            n.cancel_scope.cancel()


async def test_a_send_waits_until_there_is_room() -> None:
    left, right = socketpair()
    with left, right:
        sent = 0

        async def fill() -> None:
            nonlocal sent
            while sent < 2_000_000:
                sent += await left.send(b"x" * 100_000)
            left.close()

        async with nursery.open_nursery() as n:
            n.start_soon(fill)
            await wait_all_tasks_blocked()
            assert sent < 2_000_000
            received = 0
            while data := await right.recv(100_000):
                received += len(data)
        assert received == sent


async def test_wait_writable_waits_until_there_is_room() -> None:
    left, right = socketpair()
    with left, right:
        with assert_checkpoints():
            await left.wait_writable()
        with nursery.move_on_after(0.002):
            while True:
                await left.send(b"x" * 100_000)
        with nursery.move_on_after(0.001) as scope:
            await left.wait_writable()
        assert scope.cancelled_caught
        async with nursery.open_nursery() as n:
            n.start_soon(left.wait_writable)
            await wait_all_tasks_blocked()
            while right.is_readable():
                await right.recv(100_000)


@pytest.mark.skipif(not hasattr(stdlib_socket, "MSG_ERRQUEUE"), reason="Linux only")
async def test_a_plain_read_is_not_confused_by_one_with_flags() -> None:
    # The queue of errors is empty, which says nothing about the plain data that is there.
    with socket() as listening:
        await listening.bind(("127.0.0.1", 0))
        listening.listen()
        with socket() as near:
            await near.connect(listening.getsockname())
            far, _ = await listening.accept()
            with far:
                await far.send(b"plain")
                with nursery.move_on_after(0.005) as scope:
                    await near.recvmsg(1, 0, stdlib_socket.MSG_ERRQUEUE)
                assert scope.cancelled_caught
                with nursery.fail_after(1):
                    assert await near.recv(10) == b"plain"


async def until_nothing_is_known_to_be_there(sock: SocketType) -> None:
    with nursery.move_on_after(0.001) as scope:
        await sock.recv(1)
    assert scope.cancelled_caught


@pytest.mark.parametrize(
    ("name", "args", "error"),
    [
        ("recv", (-1,), ValueError),
        ("recv", (1.5,), TypeError),
        ("recv", ("1",), TypeError),
        ("recv", (1, None), TypeError),
        ("recvfrom", (-1,), ValueError),
        ("recvfrom", (None,), TypeError),
        ("recvmsg", (-1,), ValueError),
        ("recvmsg", (1, -1), ValueError),
        ("recvmsg", (1, "1"), TypeError),
        ("recv_into", (b"constant",), TypeError),
        ("recv_into", (memoryview(b"constant"),), TypeError),
        ("recv_into", (memoryview(bytearray(4))[::2],), (BufferError, TypeError)),
        ("recv_into", (bytearray(2), 3), ValueError),
        ("recv_into", (bytearray(2), -1), ValueError),
        ("recv_into", (bytearray(2), "1"), TypeError),
        ("recvfrom_into", (b"constant",), TypeError),
        ("recvfrom_into", (bytearray(2), 3), ValueError),
        ("recvmsg_into", (5,), TypeError),
        ("recvmsg_into", ([b"constant"],), TypeError),
    ],
)
async def test_a_mistaken_read_is_told_at_once_although_nothing_is_there(
    name: str, args: tuple[object, ...], error: type[Exception] | tuple[type[Exception], ...]
) -> None:
    left, right = socketpair()
    with left, right, nursery.fail_after(1):
        await until_nothing_is_known_to_be_there(left)
        with pytest.raises(error):
            await getattr(left, name)(*args)


async def test_a_read_of_nothing_returns_at_once_although_nothing_is_there() -> None:
    left, right = socketpair()
    with left, right, nursery.fail_after(1):
        await until_nothing_is_known_to_be_there(left)
        with assert_checkpoints():
            assert await left.recv(0) == b""
        with assert_checkpoints():
            assert await left.recv_into(bytearray()) == 0


@pytest.mark.parametrize("receiver", ["recv_into", "recvfrom_into"])
@pytest.mark.parametrize("buffer", [bytearray(4), memoryview(bytearray(4)), array.array("B", [0] * 4)])
async def test_a_read_into_any_buffer_waits_until_there_is_something(
    receiver: str, buffer: bytearray | memoryview | array.array[int]
) -> None:
    left, right = socketpair()

    async def receive() -> None:
        await getattr(left, receiver)(buffer)

    with left, right, nursery.fail_after(1):
        await until_nothing_is_known_to_be_there(left)
        async with nursery.open_nursery() as n:
            n.start_soon(receive)
            await wait_all_tasks_blocked()
            await right.send(b"data")
    assert bytes(buffer) == b"data"


async def test_buffers_that_can_be_gone_through_only_once_outlive_the_wait() -> None:
    left, right = socketpair()
    buffers = [bytearray(3), bytearray(3)]
    with left, right, nursery.fail_after(1):
        async with nursery.open_nursery() as n:
            n.start_soon(left.recvmsg_into, iter(buffers))
            await wait_all_tasks_blocked()
            await right.send(b"abcde")
    assert buffers == [b"abc", b"de\0"]


@pytest.mark.parametrize(
    ("name", "args", "error"),
    [
        ("send", ("text",), TypeError),
        ("send", (None,), TypeError),
        ("send", (memoryview(b"abcd")[::2],), BufferError),
        ("send", (b"data", "0"), TypeError),
        ("sendto", ("text", "/nowhere"), TypeError),
        ("sendmsg", ([5],), TypeError),
    ],
)
async def test_a_mistaken_send_is_told_at_once_although_there_is_no_room(
    name: str, args: tuple[object, ...], error: type[Exception]
) -> None:
    left, right = socketpair()
    with left, right, nursery.fail_after(1):
        with nursery.move_on_after(0.005):
            while True:
                await left.send(b"x" * 100_000)
        with pytest.raises(error):
            await getattr(left, name)(*args)
        with assert_checkpoints():
            assert await left.send(b"") == 0


# Connections


async def test_connect_and_accept_meet() -> None:
    with socket() as listening, socket() as near:
        await listening.bind(("127.0.0.1", 0))
        listening.listen()
        with assert_checkpoints():
            await near.connect(listening.getsockname())
        with assert_checkpoints():
            far, address = await listening.accept()
        with far:
            assert isinstance(far, Socket)
            assert address == near.getsockname()
            assert near.getpeername() == listening.getsockname() == far.getsockname()
            await near.send(b"x")
            assert await far.recv(1) == b"x"


async def test_accept_waits_and_can_be_cancelled() -> None:
    with socket() as listening:
        await listening.bind(("127.0.0.1", 0))
        listening.listen()
        with nursery.move_on_after(0.001) as scope:
            await listening.accept()
        assert scope.cancelled_caught
        with socket() as near:
            async with nursery.open_nursery() as n:
                n.start_soon(near.connect, listening.getsockname())
                far, _ = await listening.accept()
            far.close()


async def test_a_refused_connection_names_the_address() -> None:
    with stdlib_socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = unused.getsockname()
        with socket() as sock:
            with pytest.raises(ConnectionRefusedError) as info:
                await sock.connect(address)
            assert "127.0.0.1" in str(info.value)


async def test_a_connect_in_a_cancelled_scope_closes_the_socket() -> None:
    with socket() as sock:
        with nursery.CancelScope() as scope:
            scope.cancel()
            await sock.connect(("127.0.0.1", 1))
        assert scope.cancelled_caught
        assert sock.fileno() == -1


async def test_a_connect_that_is_cancelled_while_it_waits_closes_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket() as sock:
        assert isinstance(sock, Socket)

        class NeverReady:
            """A socket whose connection never comes about."""

            def __getattr__(self, name: str) -> object:
                return getattr(original, name)

            def connect(self, address: object) -> None:
                raise BlockingIOError(errno.EINPROGRESS, "in progress")

        original = sock._sock
        listening = stdlib_socket.socket()
        listening.bind(("127.0.0.1", 0))
        monkeypatch.setattr(sock, "_sock", NeverReady())
        # An unconnected socket counts as hung up and would be writable: a listening one is not.
        original.close()
        original = listening
        listening.listen()
        with nursery.move_on_after(0.002) as scope:
            await sock.connect(("127.0.0.1", 1))
        assert scope.cancelled_caught
        assert listening.fileno() == -1


async def test_a_socket_that_was_waited_for_before_it_connects_still_waits_for_the_connection() -> None:
    # Unconnected it is writable and hung up, which must not be taken for the outcome.
    with socket() as listening, socket() as near:
        await listening.bind(("127.0.0.1", 0))
        listening.listen()
        await near.wait_writable()
        assert isinstance(near, Socket)
        near.join(nursery.lowlevel.current_task().runner)
        await nursery.sleep(0.001)
        # Not every driver can tell.
        assert near.interest.hangup or nursery.lowlevel.current_statistics().io_statistics.backend != "epoll"
        await near.connect(listening.getsockname())
        assert near.getpeername() == listening.getsockname()
        assert not near.interest.hangup


@needs_unix
async def test_an_overrun_unix_listener_refuses_instead_of_pretending(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket(stdlib_socket.AF_UNIX) as listening:
        await listening.bind(path)
        listening.listen(0)
        queued = []
        with pytest.raises(BlockingIOError):
            for _ in range(10):
                queued.append(socket(stdlib_socket.AF_UNIX))
                await queued[-1].connect(path)
        for sock in queued:
            sock.close()


# Addresses


async def test_names_are_resolved_in_bind_and_connect() -> None:
    with socket() as listening, socket() as near:
        await listening.bind(("localhost", 0))
        assert listening.getsockname()[0] == "127.0.0.1"
        listening.listen()
        await near.connect(("localhost", listening.getsockname()[1]))
        assert near.getpeername() == listening.getsockname()


async def test_bind_is_a_checkpoint() -> None:
    with socket() as sock:
        with assert_checkpoints():
            await sock.bind(("127.0.0.1", 0))


@needs_unix
@pytest.mark.parametrize("form", [str, os.fsencode, Path])
async def test_unix_paths_are_taken_in_every_form(form: Callable[[Path], object], tmp_path: Path) -> None:
    path = form(tmp_path / "s")
    with socket(stdlib_socket.AF_UNIX) as listening, socket(stdlib_socket.AF_UNIX) as near:
        await listening.bind(path)
        listening.listen()
        await near.connect(path)
        (await listening.accept())[0].close()


@pytest.mark.skipif(not os.path.exists("/proc/self"), reason="abstract names exist on Linux only")
@pytest.mark.parametrize("name", ["\0nursery-test", b"\0nursery-test-bytes", ""])
async def test_abstract_unix_names_are_bound(name: str | bytes) -> None:
    with socket(stdlib_socket.AF_UNIX) as sock:
        await sock.bind(name)
        assert sock.getsockname()[:1] == b"\0"


@needs_ipv6
async def test_ipv6_addresses_may_be_short() -> None:
    with socket(stdlib_socket.AF_INET6) as listening, socket(stdlib_socket.AF_INET6) as near:
        await listening.bind(("::1", 0))
        listening.listen()
        await near.connect(("::1", listening.getsockname()[1]))
        assert near.getpeername()[:2] == listening.getsockname()[:2]


async def test_many_sockets_can_be_waited_for_at_once() -> None:
    pairs = [socketpair() for _ in range(200)]
    async with nursery.open_nursery() as n:
        for left, _ in pairs:
            n.start_soon(left.recv, 1)
        await wait_all_tasks_blocked()
        for _, right in pairs:
            await right.send(b"x")
    for left, right in pairs:
        left.close()
        right.close()
