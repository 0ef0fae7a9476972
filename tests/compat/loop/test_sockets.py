"""The sock_* functions: what they do, and what a cancelled, a second or a misplaced call does."""

from __future__ import annotations

import array
import asyncio
import errno
import gc
import os
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import nursery
from nursery.compat.loop.sockets import finish_connecting
from nursery.compat.transports.socket import SocketTransport
from tests.compat.two_loops import LoopFactory, on_both, run, run_on

BIG = 3_000_000


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    with left, right:
        yield left, right


def listening() -> socket.socket:
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


def stream() -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    return sock


def datagrams() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(("127.0.0.1", 0))
    return sock


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def events() -> None:
    """Wait until the system was asked for events, and what it told was done."""
    await asyncio.sleep(0.002)


# What they do


@on_both
def test_connect_accept_send_and_receive(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with listening() as server, stream() as client:
            accepting = asyncio.ensure_future(loop.sock_accept(server))
            await turns()
            await loop.sock_connect(client, server.getsockname())
            connection, address = await accepting
            with connection:
                assert address == client.getsockname()
                assert connection.gettimeout() == 0
                receiving = asyncio.ensure_future(loop.sock_recv(connection, 10))
                await turns()
                await loop.sock_sendall(client, b"ping")
                assert await receiving == b"ping"
                buffer = bytearray(8)
                into = asyncio.ensure_future(loop.sock_recv_into(client, buffer))
                await turns()
                await loop.sock_sendall(connection, b"pong")
                assert await into == 4
                assert buffer == b"pong\0\0\0\0"
                client.shutdown(socket.SHUT_WR)
                assert await loop.sock_recv(connection, 10) == b""

    run_on(loop_factory, main())


@on_both
def test_datagrams_go_to_an_address_and_tell_theirs(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with datagrams() as here, datagrams() as there:
            receiving = asyncio.ensure_future(loop.sock_recvfrom(there, 100))
            await turns()
            assert await loop.sock_sendto(here, b"first", there.getsockname()) == 5
            assert await receiving == (b"first", here.getsockname())
            buffer = bytearray(10)
            into = asyncio.ensure_future(loop.sock_recvfrom_into(there, buffer))
            await turns()
            await loop.sock_sendto(here, b"second", there.getsockname())
            assert await into == (6, here.getsockname())
            await loop.sock_sendto(here, b"third", there.getsockname())
            assert await loop.sock_recvfrom_into(there, buffer, 2) == (2, here.getsockname())
            assert buffer.startswith(b"thcond")

    run_on(loop_factory, main())


@on_both
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_sendall_sends_everything_to_a_slow_reader(
    loop_factory: LoopFactory, pair: tuple[socket.socket, socket.socket], kind: Callable[[bytes], Any]
) -> None:
    left, right = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        data = os.urandom(BIG)
        sending = asyncio.ensure_future(loop.sock_sendall(left, kind(data)))
        got = bytearray()
        while len(got) < BIG:
            got += await loop.sock_recv(right, 65536)
        await sending
        assert got == data

    run_on(loop_factory, main())


def test_sendall_counts_bytes_and_not_items(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        numbers = array.array("I", range(500_000))
        sending = asyncio.ensure_future(loop.sock_sendall(left, memoryview(numbers)))
        got = bytearray()
        while len(got) < numbers.itemsize * len(numbers):
            got += await loop.sock_recv(right, 65536)
        await sending
        assert got == numbers.tobytes()

    run(main())


class Slow(socket.socket):
    """A socket that sends a little at a time, with more room left."""

    def send(self, data: Any, flags: int = 0) -> int:
        return super().send(memoryview(data).cast("B")[:100], flags)


def test_sendall_goes_on_though_no_event_tells_that_there_is_room_left() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with listening() as server, Slow() as client:
            client.setblocking(False)
            await loop.sock_connect(client, server.getsockname())
            connection, _ = await loop.sock_accept(server)
            with connection:
                # A hundred items, of which the first hundred bytes are sent at once.
                numbers = array.array("I", range(100))
                await loop.sock_sendall(client, memoryview(numbers))
                client.shutdown(socket.SHUT_WR)
                got = bytearray()
                while piece := await loop.sock_recv(connection, 10_000):
                    got += piece
        assert got == numbers.tobytes()

    run(main())


def test_recvfrom_into_counts_bytes_and_not_items() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        numbers = array.array("I", [0, 0])
        with datagrams() as here, datagrams() as there:
            here.sendto(b"12345678", there.getsockname())
            size, _ = await loop.sock_recvfrom_into(there, memoryview(numbers))
        assert size == 8
        assert numbers.tobytes() == b"12345678"

    run(main())


@on_both
def test_sendall_of_nothing_sends_an_empty_datagram(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with datagrams() as here, datagrams() as there:
            here.connect(there.getsockname())
            await loop.sock_sendall(here, b"")
            assert await loop.sock_recv(there, 10) == b""

    run_on(loop_factory, main())


@on_both
def test_a_refused_connection_is_an_error_that_names_the_address(loop_factory: LoopFactory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()

    async def main() -> None:
        with stream() as sock, pytest.raises(ConnectionRefusedError) as caught:
            await asyncio.get_running_loop().sock_connect(sock, address)
        assert "Connect call failed" in str(caught.value)
        assert str(address) in str(caught.value)

    run_on(loop_factory, main())


@pytest.mark.parametrize("address", [("127.0.0.1",), (), "127.0.0.1"])
def test_what_is_no_address_is_refused(address: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with stream() as sock, pytest.raises(ValueError):
            await loop.sock_connect(sock, address)
        with datagrams() as sock, pytest.raises((TypeError, ValueError)) as caught:
            await loop.sock_sendto(sock, b"data", address)
        assert "_resolve" not in str(caught.value)

    run(main())


def test_connect_keeps_the_scope_of_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        try:
            server = socket.create_server(("::1", 0), family=socket.AF_INET6)
        except OSError:
            pytest.skip("there is no IPv6 here")
        seen: list[Any] = []

        class Sock(socket.socket):
            def connect(self, address: Any) -> None:
                seen.append(address)
                super().connect(address)

        with server, Sock(socket.AF_INET6) as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, ("::1", server.getsockname()[1], 7, 1))
        assert seen[0][2:] == (7, 1)

    run(main())


def test_connect_looks_a_name_up_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, bool]] = []
    real = socket.getaddrinfo

    def look_up(host: Any, *rest: Any) -> Any:
        asked.append((host, threading.current_thread() is threading.main_thread()))
        return real("127.0.0.1", *rest)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with listening() as server, stream() as sock:
            await loop.sock_connect(sock, ("a.name.test", server.getsockname()[1]))
            assert sock.getpeername() == server.getsockname()
        with datagrams() as here, datagrams() as there:
            await loop.sock_sendto(here, b"x", ("a.name.test", there.getsockname()[1]))
            assert await loop.sock_recv(there, 10) == b"x"

    run(main())
    assert asked == [("a.name.test", False)] * 2


def test_an_event_from_before_does_not_end_a_connection_attempt() -> None:
    with stream() as sock:
        # Neither connected nor failed: what the system tells at such an event.
        sock.bind(("127.0.0.1", 0))
        with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(BlockingIOError):
            finish_connecting(sock, server.getsockname())
        with socket.create_server(("127.0.0.1", 0)) as server:
            sock.close()
    with stream() as sock, socket.create_server(("127.0.0.1", 0)) as server:
        with pytest.raises(BlockingIOError):
            sock.connect(server.getsockname())
        server.accept()[0].close()
        finish_connecting(sock, server.getsockname())


def test_a_unix_socket_whose_backlog_is_full_is_connected_when_there_is_room(tmp_path: Path) -> None:
    path = str(tmp_path / "s")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            server.listen(0)
            server.setblocking(False)
            socks = [socket.socket(socket.AF_UNIX) for _ in range(4)]
            for sock in socks:
                sock.setblocking(False)
            connecting = [asyncio.ensure_future(loop.sock_connect(sock, path)) for sock in socks]
            await events()
            assert not all(attempt.done() for attempt in connecting)
            for _ in socks:
                connection, _ = await loop.sock_accept(server)
                connection.close()
            await asyncio.gather(*connecting)
            for sock in socks:
                sock.getpeername()
                sock.close()

    run(main())


# Cancellation


@pytest.mark.parametrize("after", range(6))
def test_a_cancelled_receive_has_received_nothing(pair: tuple[socket.socket, socket.socket], after: int) -> None:
    left, right = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        receiving = asyncio.ensure_future(loop.sock_recv(left, 10))
        await turns()
        right.send(b"data")
        # Also between the event and the step of the task, where asyncio loses what it has received.
        for _ in range(after):
            loop.runner.steps_until_poll = 0  # type: ignore[attr-defined]  # so that the system is asked each turn
            await asyncio.sleep(0)
        receiving.cancel()
        try:
            got = await receiving
        except asyncio.CancelledError:
            got = await loop.sock_recv(left, 10)
        assert got == b"data"

    run(main())


@pytest.mark.parametrize("after", range(6))
def test_a_cancelled_accept_has_accepted_nothing(after: int) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with listening() as server, stream() as client:
            accepting = asyncio.ensure_future(loop.sock_accept(server))
            await turns()
            await loop.sock_connect(client, server.getsockname())
            for _ in range(after):
                loop.runner.steps_until_poll = 0  # type: ignore[attr-defined]  # as above
                await asyncio.sleep(0)
            accepting.cancel()
            try:
                connection, _ = await accepting
            except asyncio.CancelledError:
                connection, _ = await loop.sock_accept(server)
            with connection:
                await loop.sock_sendall(connection, b"hello")
                assert await loop.sock_recv(client, 10) == b"hello"

    run(main())


@on_both
def test_after_a_cancelled_receive_the_socket_serves_the_next_one_at_once(
    loop_factory: LoopFactory, pair: tuple[socket.socket, socket.socket]
) -> None:
    left, right = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        first = asyncio.ensure_future(loop.sock_recv(left, 10))
        await turns()
        first.cancel()
        second = asyncio.ensure_future(loop.sock_recv(left, 10))
        await turns()
        right.send(b"data")
        assert await second == b"data"
        assert first.cancelled()
        assert loop.remove_reader(left) is False

    run_on(loop_factory, main())


def test_a_cancel_scope_ends_a_wait_once_so_that_the_clean_up_may_use_the_socket(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    left, right = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with nursery.move_on_after(0.001) as scope:
            try:
                await loop.sock_recv(left, 10)
            finally:
                await loop.sock_sendall(left, b"x" * 10)
                receiving = loop.sock_recv(right, 10)
                assert await receiving == b"x" * 10
        assert scope.cancelled_caught
        right.send(b"later")
        assert await loop.sock_recv(left, 10) == b"later"

    run(main())


@on_both
def test_a_cancelled_connection_attempt_can_be_repeated(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as server, stream() as sock:
            server.bind(("127.0.0.1", 0))
            attempt = asyncio.ensure_future(loop.sock_connect(sock, server.getsockname()))
            await asyncio.sleep(0)
            attempt.cancel()
            server.listen()
            for _ in range(3):
                try:
                    await loop.sock_connect(sock, server.getsockname())
                except ConnectionError:
                    continue
                break
            assert sock.getpeername() == server.getsockname()

    run_on(loop_factory, main())


# More than one at a time; asyncio forgets the first one, which then waits for ever


def test_two_that_receive_are_served_in_turn(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        first = asyncio.ensure_future(loop.sock_recv(left, 1))
        second = asyncio.ensure_future(loop.sock_recv(left, 1))
        third = asyncio.ensure_future(loop.sock_recv(left, 1))
        await turns()
        right.send(b"ab")
        assert await first == b"a"
        assert await second == b"b"
        await events()
        assert not third.done()
        right.send(b"c")
        assert await third == b"c"

    run(main())


def test_a_cancelled_waiter_passes_its_turn_on(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        first = asyncio.ensure_future(loop.sock_recv(left, 10))
        second = asyncio.ensure_future(loop.sock_recv(left, 10))
        await turns()
        right.send(b"data")
        while not loop._places[left.fileno()].reading.waiters[0].done():  # type: ignore[attr-defined]  # ours
            loop.runner.steps_until_poll = 0  # type: ignore[attr-defined]  # ours
            await asyncio.sleep(0)
        # It is its turn, but it has not taken a step yet.
        first.cancel()
        assert await second == b"data"
        assert first.cancelled()

    run(main())


def test_a_waiter_in_the_middle_of_the_line_may_leave(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        line = [asyncio.ensure_future(loop.sock_recv(left, 1)) for _ in range(3)]
        await turns()
        line[1].cancel()
        await turns()
        right.send(b"ab")
        assert [await line[0], await line[2]] == [b"a", b"b"]

    run(main())


def test_two_that_send_do_not_mix_their_data(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        first = asyncio.ensure_future(loop.sock_sendall(left, b"a" * BIG))
        second = asyncio.ensure_future(loop.sock_sendall(left, b"b" * BIG))
        await turns()
        got = bytearray(await loop.sock_recv(right, 100_000))
        # This one finds room, and has to wait for its turn all the same.
        third = asyncio.ensure_future(loop.sock_sendall(left, b"c"))
        while len(got) < 2 * BIG:
            got += await loop.sock_recv(right, min(100_000, 2 * BIG - len(got)))
        await asyncio.gather(first, second, third)
        assert got == b"a" * BIG + b"b" * BIG
        assert await loop.sock_recv(right, 10) == b"c"

    run(main())


def test_one_receives_while_another_sends(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        sending = asyncio.ensure_future(loop.sock_sendall(left, b"a" * BIG))
        receiving = asyncio.ensure_future(loop.sock_recv(left, 10))
        await turns()
        right.send(b"hello")
        assert await receiving == b"hello"
        assert not sending.done()
        got = 0
        while got < BIG:
            got += len(await loop.sock_recv(right, 1_000_000))
        await sending

    run(main())


# Misuse


Call = Callable[[asyncio.AbstractEventLoop, socket.socket], Awaitable[Any]]
every_function = pytest.mark.parametrize(
    "call",
    [
        lambda loop, sock: loop.sock_recv(sock, 10),
        lambda loop, sock: loop.sock_recv_into(sock, bytearray(10)),
        lambda loop, sock: loop.sock_recvfrom(sock, 10),
        lambda loop, sock: loop.sock_recvfrom_into(sock, bytearray(10)),
        lambda loop, sock: loop.sock_sendall(sock, b"x"),
        lambda loop, sock: loop.sock_sendto(sock, b"x", ("127.0.0.1", 9)),
        lambda loop, sock: loop.sock_connect(sock, ("127.0.0.1", 9)),
        lambda loop, sock: loop.sock_accept(sock),
    ],
    ids=["recv", "recv_into", "recvfrom", "recvfrom_into", "sendall", "sendto", "connect", "accept"],
)


@on_both
@every_function
def test_debug_mode_wants_a_socket_that_does_not_block(loop_factory: LoopFactory, call: Call) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as sock, pytest.raises(ValueError, match="the socket must be non-blocking"):
            await call(loop, sock)

    run_on(loop_factory, main(), debug=True)


@on_both
@every_function
def test_a_tls_socket_is_refused(loop_factory: LoopFactory, call: Call) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        with context.wrap_socket(socket.socket()) as sock, pytest.raises(TypeError, match="SSLSocket"):
            sock.setblocking(False)
            await call(loop, sock)

    run_on(loop_factory, main())


@on_both
@every_function
def test_a_closed_socket_is_an_error_at_once(loop_factory: LoopFactory, call: Call) -> None:
    async def main() -> None:
        sock = stream()
        sock.close()
        with pytest.raises(OSError) as caught:
            await call(asyncio.get_running_loop(), sock)
        assert caught.value.errno == errno.EBADF

    run_on(loop_factory, main())


@every_function
def test_the_socket_of_a_transport_is_refused(pair: tuple[socket.socket, socket.socket], call: Call) -> None:
    left, _ = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        duplicate = socket.socket(left.family, left.type, fileno=left.fileno())
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=left)
        with pytest.raises(RuntimeError, match=r"File descriptor \d+ is used by transport"):
            await call(loop, duplicate)
        duplicate.detach()
        transport.close()
        await turns()

    run(main())


def test_who_waits_for_a_socket_that_a_transport_takes_over_is_told(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    left, _ = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        waiting = [asyncio.ensure_future(loop.sock_recv(left, 10)) for _ in range(2)]
        await turns()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=left)
        for each in waiting:
            with pytest.raises(OSError, match="given to a transport"):
                await each
        transport.close()
        await turns()

    run(main())


def test_who_waits_for_a_socket_that_add_reader_takes_over_is_told(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        receiving = asyncio.ensure_future(loop.sock_recv(left, 10))
        await turns()
        got: asyncio.Future[bytes] = loop.create_future()

        def receive() -> None:
            if not got.done():
                got.set_result(left.recv(10))

        loop.add_reader(left, receive)
        with pytest.raises(RuntimeError, match=r"add_reader\(\) took descriptor"):
            await receiving
        right.send(b"data")
        assert await got == b"data"
        assert loop.remove_reader(left) is True

    run(main())


def test_who_waits_for_a_socket_that_add_writer_takes_over_is_told(pair: tuple[socket.socket, socket.socket]) -> None:
    left, _ = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        sending = asyncio.ensure_future(loop.sock_sendall(left, b"x" * BIG))
        await turns()
        loop.add_writer(left, print)
        with pytest.raises(RuntimeError, match=r"add_writer\(\) took descriptor"):
            await sending
        loop.remove_writer(left)

    run(main())


@on_both
@pytest.mark.parametrize("writing", [False, True], ids=["reading", "writing"])
def test_who_waits_for_a_socket_whose_callback_is_removed_waits_until_cancelled(
    loop_factory: LoopFactory, pair: tuple[socket.socket, socket.socket], writing: bool
) -> None:
    left, right = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def call() -> asyncio.Future[Any]:
            if writing:
                return asyncio.ensure_future(loop.sock_sendall(left, b"x" * BIG))
            return asyncio.ensure_future(loop.sock_recv(left, 10))

        remove = loop.remove_writer if writing else loop.remove_reader
        waiting = call()
        await turns()
        assert remove(left) is True
        assert remove(left) is False
        if writing:
            with pytest.raises(BlockingIOError):
                while right.recv(BIG):
                    pass
        else:
            right.send(b"data")
        await events()
        assert not waiting.done()
        # Whoever comes later is served.
        later = asyncio.ensure_future(loop.sock_sendall(left, b"x")) if writing else call()
        assert await later == (None if writing else b"data")
        assert not waiting.done()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run_on(loop_factory, main())


def test_a_task_that_waits_for_the_descriptor_itself_is_not_pushed_out(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    left, right = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        waiting = asyncio.ensure_future(nursery.lowlevel.wait_readable(left))
        await turns()
        with pytest.raises(RuntimeError, match="already waits for descriptor"):
            await loop.sock_recv(left, 10)
        right.send(b"a")
        await waiting
        assert await loop.sock_recv(left, 10) == b"a"
        receiving = asyncio.ensure_future(loop.sock_recv(left, 10))
        await turns()
        with pytest.raises(nursery.BusyResourceError):
            await nursery.lowlevel.wait_readable(left)
        right.send(b"b")
        assert await receiving == b"b"

    run(main())


def test_who_waits_is_told_that_another_task_closes_the_descriptor(pair: tuple[socket.socket, socket.socket]) -> None:
    left, _ = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        receiving = asyncio.ensure_future(loop.sock_recv(left, 10))
        sending = asyncio.ensure_future(loop.sock_sendall(left, b"x" * BIG))
        await turns()
        nursery.lowlevel.notify_closing(left)
        left.close()
        for each in (receiving, sending):
            with pytest.raises(OSError) as caught:
                await each
            assert caught.value.errno == errno.EBADF

    run(main())


@on_both
def test_a_receive_that_has_to_wait_takes_the_socket_over_from_add_reader(
    loop_factory: LoopFactory, pair: tuple[socket.socket, socket.socket]
) -> None:
    left, right = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        called: list[int] = []
        loop.add_reader(left, called.append, 1)
        receiving = asyncio.ensure_future(loop.sock_recv(left, 10))
        await turns()
        right.send(b"data")
        assert await receiving == b"data"
        right.send(b"more")
        await events()
        assert called == []
        assert loop.remove_reader(left) is False

    run_on(loop_factory, main())


@on_both
def test_a_reader_callback_and_a_sender_share_a_socket(
    loop_factory: LoopFactory, pair: tuple[socket.socket, socket.socket]
) -> None:
    left, right = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        got = asyncio.Event()

        def receive() -> None:
            left.recv(10)
            got.set()

        loop.add_reader(left, receive)
        sending = asyncio.ensure_future(loop.sock_sendall(left, b"x" * BIG))
        await turns()
        right.send(b"data")
        await got.wait()
        received = 0
        while received < BIG:
            received += len(await loop.sock_recv(right, BIG))
        await sending
        got.clear()
        right.send(b"data")
        await got.wait()
        assert loop.remove_reader(left) is True

    run_on(loop_factory, main())


def test_who_waits_for_a_descriptor_that_was_closed_is_told_when_its_number_is_used_again() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        first, peer = socket.socketpair()
        first.setblocking(False)
        number = first.fileno()
        waiting = asyncio.ensure_future(loop.sock_recv(first, 10))
        await turns()
        first.close()
        second, other = socket.socketpair()
        assert second.fileno() == number
        second.setblocking(False)
        other.setblocking(False)
        with peer, second, other:
            receiving = asyncio.ensure_future(loop.sock_recv(second, 10))
            with pytest.raises(OSError, match="was closed") as caught:
                await waiting
            assert caught.value.errno == errno.EBADF
            await turns()
            other.send(b"data")
            assert await receiving == b"data"

    run(main())


def test_add_reader_for_a_number_that_is_used_again_tells_who_waits_for_the_closed_socket() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        first, peer = socket.socketpair()
        first.setblocking(False)
        waiting = asyncio.ensure_future(loop.sock_recv(first, 10))
        await turns()
        first.close()
        second, other = socket.socketpair()
        assert loop._places[second.fileno()].reading.waiters  # type: ignore[attr-defined]  # the number is the same
        with peer, second, other:
            got = loop.create_future()
            loop.add_reader(second, got.set_result, None)
            with pytest.raises(OSError, match="was closed"):
                await waiting
            other.send(b"data")
            await got
            loop.remove_reader(second)

    run(main())


def test_a_number_that_is_used_again_is_waited_for_as_well_as_the_first_time() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        numbers = set()
        for _ in range(5):
            left, right = socket.socketpair()
            left.setblocking(False)
            with left, right:
                numbers.add(left.fileno())
                receiving = asyncio.ensure_future(loop.sock_recv(left, 10))
                await turns()
                right.send(b"data")
                assert await receiving == b"data"
        assert len(numbers) == 1

    run(main())


def test_a_descriptor_that_was_closed_without_its_object_is_waited_for_under_the_new_one() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        old, peer = socket.socketpair()
        old.setblocking(False)
        with peer:
            receiving = asyncio.ensure_future(loop.sock_recv(old, 10))
            await turns()
            peer.send(b"old")
            assert await receiving == b"old"
            os.close(old.fileno())
            new, other = socket.socketpair()
            assert new.fileno() == old.fileno()
            new.setblocking(False)
            with new, other:
                receiving = asyncio.ensure_future(loop.sock_recv(new, 10))
                await turns()
                other.send(b"new")
                assert await receiving == b"new"
            old.detach()

    run(main())


def test_who_has_its_turn_after_a_transport_has_come_is_told(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        line = [asyncio.ensure_future(loop.sock_recv(left, 10)) for _ in range(2)]
        await turns()
        right.send(b"data")
        while not loop._places[left.fileno()].reading.waiters[0].done():
            loop.runner.steps_until_poll = 0
            await asyncio.sleep(0)
        transport = SocketTransport(loop, left, asyncio.Protocol())
        # What it had the turn for before.
        assert await line[0] == b"data"
        with pytest.raises(RuntimeError, match="is used by transport"):
            await line[1]
        transport.close()
        await turns()

    run(main())


def test_an_error_that_comes_together_with_a_cancellation_is_not_reported_as_unseen(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    left, _ = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        reports: list[Any] = []
        loop.set_exception_handler(lambda loop, context: reports.append(context))
        receiving = asyncio.ensure_future(loop.sock_recv(left, 10))
        await turns()
        loop.remove_reader(left)
        receiving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await receiving
        del receiving
        gc.collect()
        assert reports == []

    run(main())


def test_two_objects_for_one_descriptor_wait_in_one_line(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        same = socket.socket(left.family, left.type, fileno=left.fileno())
        first = asyncio.ensure_future(loop.sock_recv(left, 1))
        second = asyncio.ensure_future(loop.sock_recv(same, 1))
        await turns()
        right.send(b"ab")
        assert [await first, await second] == [b"a", b"b"]
        same.detach()

    run(main())


def test_a_socket_that_was_waited_for_is_not_kept_alive() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        left, right = socket.socketpair()
        left.setblocking(False)
        right.setblocking(False)
        with right:
            receiving = asyncio.ensure_future(loop.sock_recv(left, 10))
            await turns()
            right.send(b"data")
            await receiving
            del receiving
            with pytest.warns(ResourceWarning, match="unclosed"):
                del left
            assert await loop.sock_recv(right, 10) == b""

    run(main())


def test_waiting_again_registers_nothing_new(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        registrations = set()
        for _ in range(3):
            receiving = asyncio.ensure_future(loop.sock_recv(left, 10))
            await turns()
            registrations.add(id(loop.io.table[left.fileno()]))  # type: ignore[attr-defined]  # ours
            right.send(b"data")
            await receiving
        assert len(registrations) == 1

    run(main())


def test_what_the_system_call_raises_while_waiting_is_raised(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        sending = [asyncio.ensure_future(loop.sock_sendall(left, b"x" * BIG)) for _ in range(2)]
        await turns()
        right.close()
        for each in sending:
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                await each

    run(main())


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="3.12 and newer")
def test_a_task_of_asyncios_own_class_waits_as_well(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        receiving = asyncio.Task(loop.sock_recv(left, 10), loop=loop, eager_start=True)  # type: ignore[call-arg]  # 3.12
        right.send(b"data")
        assert await receiving == b"data"

    run(main())
