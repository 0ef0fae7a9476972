"""Datagram endpoints and their transport; what asyncio's own loop does with the same program is the measure."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import secrets
import socket
import sys
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.compat.two_loops import LoopFactory, on_both, run, run_on

LOOPBACK = ("127.0.0.1", 0)


class Recorder(asyncio.DatagramProtocol):
    """Writes down what a transport tells it."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.data: list[bytes] = []
        self.senders: list[Any] = []
        self.errors: list[OSError] = []
        self.lost: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.events.append("made")

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.data.append(data)
        self.senders.append(addr)

    def error_received(self, exc: Exception) -> None:
        assert isinstance(exc, OSError)
        self.errors.append(exc)

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.events.append("lost")
        self.lost.set_result(exc)


async def until(condition: Callable[[], object], message: str = "in time") -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.0005)
    raise AssertionError(f"not {message}")


async def endpoint(**options: Any) -> Recorder:
    _, protocol = await asyncio.get_running_loop().create_datagram_endpoint(Recorder, **options)
    return protocol


async def closed(*protocols: Recorder) -> None:
    for protocol in protocols:
        protocol.transport.close()
        await protocol.lost


def name_of(protocol: Recorder) -> Any:
    return protocol.transport.get_extra_info("sockname")


# To and fro


@on_both
def test_datagrams_go_to_and_fro(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        server = await endpoint(local_addr=LOOPBACK)
        client = await endpoint(remote_addr=name_of(server))
        client.transport.sendto(b"one")
        client.transport.sendto(bytearray(b"two"), None)
        client.transport.sendto(memoryview(b"three"), name_of(server))
        await until(lambda: len(server.data) == 3)
        assert server.data == [b"one", b"two", b"three"]
        assert server.senders == [name_of(client)] * 3
        server.transport.sendto(b"back", name_of(client))
        await until(lambda: client.data)
        assert client.data == [b"back"]
        assert client.senders == [name_of(server)]
        await closed(server, client)
        assert server.events == client.events == ["made", "lost"]
        assert server.lost.result() is None

    run_on(loop_factory, main())


@on_both
def test_what_a_transport_tells_of_itself(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        server = await endpoint(local_addr=LOOPBACK)
        client = await endpoint(remote_addr=name_of(server))
        for each in (server, client):
            transport: Any = each.transport
            assert isinstance(transport, asyncio.Transport)
            # asyncio's own is one from 3.12 on.
            assert isinstance(transport, asyncio.DatagramTransport) or sys.version_info < (3, 12)
            sock = transport.get_extra_info("socket")
            assert sock.type == socket.SOCK_DGRAM
            assert sock.getsockname() == name_of(each)
            assert transport.get_extra_info("nothing", 7) == 7
            assert transport.get_protocol() is each
            assert not transport.is_closing()
            assert "fd=" in repr(transport)
        assert server.transport.get_extra_info("peername") is None
        assert client.transport.get_extra_info("peername") == name_of(server)
        await closed(server, client)
        assert server.transport.is_closing()
        assert "closed" in repr(server.transport)

    run_on(loop_factory, main())


@on_both
def test_an_empty_datagram_is_a_datagram(loop_factory: LoopFactory) -> None:
    if loop_factory is asyncio.SelectorEventLoop and sys.version_info < (3, 13):
        pytest.skip("asyncio before 3.13 drops it")

    async def main() -> None:
        server = await endpoint(local_addr=LOOPBACK)
        client = await endpoint(remote_addr=name_of(server))
        client.transport.sendto(b"")
        server.transport.sendto(b"", name_of(client))
        await until(lambda: server.data and client.data)
        assert server.data == client.data == [b""]
        await closed(server, client)

    run_on(loop_factory, main())


@on_both
def test_the_largest_datagram_arrives_whole(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        server = await endpoint(local_addr=LOOPBACK)
        data = os.urandom(65507)
        client = await endpoint(remote_addr=name_of(server))
        client.transport.sendto(data)
        await until(lambda: server.data)
        assert server.data == [data]
        await closed(server, client)

    run_on(loop_factory, main())


@on_both
def test_many_datagrams_arrive_in_order_and_others_get_their_turn(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        server = await endpoint(local_addr=LOOPBACK)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for number in range(150):
                sock.sendto(b"%d" % number, name_of(server))
        turns = 0
        while len(server.data) < 150:
            await asyncio.sleep(0)
            turns += 1
            assert turns < 100_000
        assert server.data == [b"%d" % number for number in range(150)]
        # Not all in one go.
        assert turns > 3
        await closed(server)

    run_on(loop_factory, main())


def test_a_flood_leaves_others_their_turn() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await endpoint(local_addr=LOOPBACK)
        turns: list[int] = []
        received_in_turn: list[int] = []

        def count() -> None:
            turns.append(1)
            if len(server.data) < 150:
                loop.call_soon(count)

        def datagram_received(data: bytes, addr: Any) -> None:
            server.data.append(data)
            received_in_turn.append(len(turns))

        server.datagram_received = datagram_received  # type: ignore[method-assign]  # for this one
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for number in range(150):
                sock.sendto(b"%d" % number, name_of(server))
        loop.call_soon(count)
        await until(lambda: len(server.data) == 150)
        assert max(received_in_turn.count(turn) for turn in set(received_in_turn)) <= 32
        await closed(server)

    run(main())


@on_both
def test_ipv6(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        try:
            server = await endpoint(local_addr=("::1", 0))
        except OSError:
            pytest.skip("there is no IPv6 here")
        client = await endpoint(remote_addr=name_of(server)[:2])
        client.transport.sendto(b"six")
        await until(lambda: server.data)
        assert server.senders == [name_of(client)]
        await closed(server, client)

    run_on(loop_factory, main())


@on_both
def test_a_name_is_looked_up(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        server = await endpoint(local_addr=("localhost", 0), family=socket.AF_INET)
        client = await endpoint(remote_addr=("localhost", name_of(server)[1]), family=socket.AF_INET)
        client.transport.sendto(b"x")
        await until(lambda: server.data)
        await closed(server, client)

    run_on(loop_factory, main())


@on_both
def test_a_socket_made_elsewhere_is_taken_over(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(LOOPBACK)
        server = await endpoint(sock=sock)
        assert sock.gettimeout() == 0
        connected = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        connected.connect(sock.getsockname())
        client = await endpoint(sock=connected)
        client.transport.sendto(b"x")
        await until(lambda: server.data)
        await closed(server, client)
        assert sock.fileno() == connected.fileno() == -1

    run_on(loop_factory, main())


def test_an_unnamed_pair_of_sockets_works() -> None:
    async def main() -> None:
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        left, right = [await endpoint(sock=sock) for sock in pair]
        left.transport.sendto(b"x")
        await until(lambda: right.data)
        await closed(left, right)

    run(main())


@on_both
def test_broadcasts_go_to_the_one_address_without_a_connection(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        server = await endpoint(local_addr=LOOPBACK)
        client = await endpoint(remote_addr=name_of(server), allow_broadcast=True)
        sock = client.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)
        assert client.transport.get_extra_info("peername") is None
        client.transport.sendto(b"x")
        with pytest.raises(ValueError, match="Invalid address: must be None or"):
            client.transport.sendto(b"x", ("127.0.0.1", 9))
        await until(lambda: server.data)
        await closed(server, client)

    run_on(loop_factory, main())


@on_both
def test_two_endpoints_share_a_port_if_both_want_it(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        first = await endpoint(local_addr=LOOPBACK, reuse_port=True)
        second = await endpoint(local_addr=name_of(first), reuse_port=True)
        assert name_of(first) == name_of(second)
        with pytest.raises(OSError) as caught:
            await endpoint(local_addr=name_of(first))
        assert caught.value.errno == errno.EADDRINUSE
        await closed(first, second)

    run_on(loop_factory, main())


# Unix datagrams


@on_both
def test_unix_datagrams_have_paths(loop_factory: LoopFactory, tmp_path: Path) -> None:
    async def main() -> None:
        here, there = str(tmp_path / "here"), str(tmp_path / "there")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stale:
            stale.bind(here)
        server = await endpoint(local_addr=here, family=socket.AF_UNIX)
        client = await endpoint(local_addr=there, remote_addr=here, family=socket.AF_UNIX)
        client.transport.sendto(b"x")
        await until(lambda: server.data)
        assert server.senders == [there]
        server.transport.sendto(b"y", there)
        await until(lambda: client.data)
        await closed(server, client)
        # asyncio leaves it, too.
        assert os.path.exists(here)

    run_on(loop_factory, main())


@on_both
@pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")
def test_unix_datagrams_have_abstract_names(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        name = "\0nursery-" + secrets.token_hex(8)
        server = await endpoint(local_addr=name, family=socket.AF_UNIX)
        client = await endpoint(remote_addr=name, family=socket.AF_UNIX)
        client.transport.sendto(b"x")
        await until(lambda: server.data)
        assert server.senders in ([None], [""])
        await closed(server, client)

    run_on(loop_factory, main())


@on_both
@pytest.mark.skipif(not hasattr(socket, "SOCK_SEQPACKET"), reason="there are no sequenced packets")
def test_sequenced_packets_are_taken_as_well(loop_factory: LoopFactory) -> None:
    if loop_factory is asyncio.SelectorEventLoop and sys.version_info < (3, 13):
        pytest.skip("asyncio before 3.13 refuses them")

    async def main() -> None:
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        reader = await endpoint(sock=pair[0])
        with pair[1] as writer:
            writer.send(b"one")
            writer.send(b"two")
            await until(lambda: len(reader.data) == 2)
        assert reader.data[:2] == [b"one", b"two"]
        await closed(reader)

    run_on(loop_factory, main())


@pytest.mark.skipif(not hasattr(socket, "SOCK_SEQPACKET"), reason="there are no sequenced packets")
def test_the_end_of_sequenced_packets_closes_the_transport() -> None:
    async def main() -> None:
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        reader = await endpoint(sock=pair[0])
        pair[1].close()
        assert await reader.lost is None
        assert reader.data == []

    run(main())


# Flow control


def unix_pair(tmp_path: Path, *, connected: bool) -> tuple[socket.socket, Awaitable[Recorder], str | None]:
    """Return a socket that does not read yet, an endpoint to be that sends to it, and what to pass to sendto()."""
    path = str(tmp_path / "slow")
    slow = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    slow.bind(path)
    slow.setblocking(False)
    if connected:
        return slow, endpoint(remote_addr=path, family=socket.AF_UNIX), None
    return slow, endpoint(family=socket.AF_UNIX), path


async def drained(slow: socket.socket, count: int) -> list[bytes]:
    got: list[bytes] = []
    while len(got) < count:
        try:
            got.append(slow.recv(100_000))
        except BlockingIOError:
            await asyncio.sleep(0.0005)
    return got


connected_or_not = pytest.mark.parametrize("connected", [True, False])


@on_both
@connected_or_not
def test_a_slow_reader_pauses_the_protocol_and_gets_everything(
    loop_factory: LoopFactory, tmp_path: Path, connected: bool
) -> None:
    async def main() -> None:
        slow, made, target = unix_pair(tmp_path, connected=connected)
        with slow:
            sender = await made
            transport = sender.transport
            assert transport.get_write_buffer_limits() == (16384, 65536)
            data = [b"%d" % number + b"." * 2000 for number in range(200)]
            for each in data:
                transport.sendto(each, target)
            assert transport.get_write_buffer_size() > 65536
            assert sender.events == ["made", "pause"]
            assert await drained(slow, 200) == data
            await until(lambda: sender.events == ["made", "pause", "resume"])
            assert transport.get_write_buffer_size() == 0 or loop_factory is asyncio.SelectorEventLoop
            await closed(sender)

    run_on(loop_factory, main())


@connected_or_not
def test_waiting_for_a_slow_reader_costs_next_to_nothing(tmp_path: Path, connected: bool) -> None:
    async def main() -> None:
        slow, made, target = unix_pair(tmp_path, connected=connected)
        with slow:
            sender = await made
            tries: list[int] = []
            send = sender.transport._transmit

            def counted(data: Any, addr: Any) -> Any:
                tries.append(1)
                return send(data, addr)

            sender.transport._transmit = counted
            for _ in range(100):
                sender.transport.sendto(b"x", target)
            before = len(tries)
            await asyncio.sleep(0.03)
            # asyncio tries about a hundred thousand times a second if the socket is not connected.
            assert len(tries) - before < 20
            await drained(slow, 100)
            # The next one that has to wait begins with the shortest pause again.
            await until(lambda: sender.transport._retry is None)
            assert sender.transport._retry_after == 0.001
            await closed(sender)

    run(main())


@on_both
def test_close_sends_what_is_buffered_first(loop_factory: LoopFactory, tmp_path: Path) -> None:
    async def main() -> None:
        slow, made, target = unix_pair(tmp_path, connected=True)
        with slow:
            sender = await made
            for number in range(100):
                sender.transport.sendto(b"%d" % number, target)
            sender.transport.close()
            assert sender.transport.is_closing()
            await asyncio.sleep(0.001)
            assert not sender.lost.done()
            assert await drained(slow, 100) == [b"%d" % number for number in range(100)]
            assert await sender.lost is None
            assert sender.events == ["made", "lost"]

    run_on(loop_factory, main())


@on_both
@connected_or_not
def test_abort_loses_what_is_buffered_and_tells_once(
    loop_factory: LoopFactory, tmp_path: Path, connected: bool
) -> None:
    async def main() -> None:
        slow, made, target = unix_pair(tmp_path, connected=connected)
        with slow:
            sender = await made
            for _ in range(100):
                sender.transport.sendto(b"x", target)
            sender.transport.abort()
            assert await sender.lost is None
            assert getattr(sender.transport, "_retry", None) is None
            sender.transport.close()
            await asyncio.sleep(0.002)
            assert sender.events == ["made", "lost"]
            assert slow.recv(10) == b"x"

    run_on(loop_factory, main())


@on_both
def test_each_buffered_datagram_counts_its_header(loop_factory: LoopFactory, tmp_path: Path) -> None:
    if loop_factory is asyncio.SelectorEventLoop and sys.version_info < (3, 13):
        pytest.skip("from 3.13 on")

    async def main() -> None:
        slow, made, _ = unix_pair(tmp_path, connected=True)
        with slow:
            sender = await made
            transport = sender.transport
            while not transport.get_write_buffer_size():
                transport.sendto(b"x")
            assert transport.get_write_buffer_size() == 9
            transport.sendto(b"")
            assert transport.get_write_buffer_size() == 17
            transport.set_write_buffer_limits(high=20)
            transport.sendto(b"")
            assert sender.events == ["made", "pause"]
            transport.abort()
            await sender.lost

    run_on(loop_factory, main())


@on_both
def test_buffered_data_may_be_changed_by_its_owner(loop_factory: LoopFactory, tmp_path: Path) -> None:
    async def main() -> None:
        slow, made, _ = unix_pair(tmp_path, connected=True)
        with slow:
            sender = await made
            data = bytearray(b"x")
            count = 0
            while not sender.transport.get_write_buffer_size():
                sender.transport.sendto(data)
                count += 1
            data[:] = b"y"
            assert await drained(slow, count) == [b"x"] * count
            await closed(sender)

    run_on(loop_factory, main())


def test_resume_writing_may_send_again(tmp_path: Path) -> None:
    async def main() -> None:
        slow, made, _ = unix_pair(tmp_path, connected=True)
        with slow:
            sender = await made
            transport = sender.transport
            transport.set_write_buffer_limits(high=0)
            rounds = []

            def resume_writing() -> None:
                rounds.append(1)
                if len(rounds) <= 3:
                    while not transport.get_write_buffer_size():
                        transport.sendto(b"again")

            sender.resume_writing = resume_writing  # type: ignore[method-assign]  # for this one
            while not transport.get_write_buffer_size():
                transport.sendto(b"x")
            while len(rounds) < 4:
                await drained(slow, 1)
                await asyncio.sleep(0)
            await closed(sender)

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio's cannot before 3.12")
@on_both
def test_a_paused_transport_receives_later(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        server = await endpoint(local_addr=LOOPBACK)
        client = await endpoint(remote_addr=name_of(server))
        server.transport.pause_reading()
        server.transport.pause_reading()
        assert not server.transport.is_reading()
        client.transport.sendto(b"x")
        await asyncio.sleep(0.002)
        assert server.data == []
        server.transport.resume_reading()
        server.transport.resume_reading()
        await until(lambda: server.data)
        await closed(server, client)

    run_on(loop_factory, main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio's cannot before 3.12")
@on_both
def test_a_protocol_that_pauses_gets_one_datagram_and_no_more(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        server = await endpoint(local_addr=LOOPBACK)

        def datagram_received(data: bytes, addr: Any) -> None:
            server.data.append(data)
            server.transport.pause_reading()

        server.datagram_received = datagram_received  # type: ignore[method-assign]  # for this one
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for number in range(3):
                sock.sendto(b"%d" % number, name_of(server))
        for number in range(3):
            while len(server.data) <= number:
                await asyncio.sleep(0.0005)
            await asyncio.sleep(0.001)
            assert len(server.data) == number + 1
            server.transport.resume_reading()
        await closed(server)

    run_on(loop_factory, main())


# Errors


@on_both
def test_what_the_system_says_goes_to_the_protocol_and_the_transport_lives_on(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
            nobody.bind(LOOPBACK)
            address = nobody.getsockname()
        client = await endpoint(remote_addr=address)
        client.transport.sendto(b"x")
        await until(lambda: client.errors)
        assert isinstance(client.errors[0], ConnectionRefusedError)
        assert not client.transport.is_closing()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as somebody:
            somebody.bind(address)
            somebody.settimeout(1)
            client.transport.sendto(b"x")
            data, sender = somebody.recvfrom(10)
            assert data == b"x"
            somebody.sendto(b"y", sender)
            await until(lambda: client.data)
        await closed(client)
        assert client.lost.result() is None

    run_on(loop_factory, main())


@on_both
def test_a_datagram_that_is_too_long_is_an_error_of_its_own(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        server = await endpoint(local_addr=LOOPBACK)
        client = await endpoint(remote_addr=name_of(server))
        client.transport.sendto(b"x" * 100_000)
        assert [error.errno for error in client.errors] == [errno.EMSGSIZE]
        client.transport.sendto(b"x")
        await until(lambda: server.data)
        await closed(server, client)

    run_on(loop_factory, main())


@on_both
def test_a_buffered_datagram_that_fails_does_not_stop_the_others(loop_factory: LoopFactory, tmp_path: Path) -> None:
    async def main() -> None:
        slow, made, target = unix_pair(tmp_path, connected=False)
        with slow:
            sender = await made
            count = 0
            while not sender.transport.get_write_buffer_size():
                sender.transport.sendto(b"x", target)
                count += 1
            sender.transport.sendto(b"x", str(tmp_path / "nobody"))
            sender.transport.sendto(b"y", target)
            assert await drained(slow, count + 1) == [b"x"] * count + [b"y"]
            assert [error.errno for error in sender.errors] == [errno.ENOENT]
            await closed(sender)

    run_on(loop_factory, main())


@on_both
def test_what_a_protocol_raises_is_reported_and_the_transport_lives_on(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        reports: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context["exception"]))
        server = await endpoint(local_addr=LOOPBACK)

        def datagram_received(data: bytes, addr: Any) -> None:
            server.data.append(data)
            raise LookupError(data)

        server.datagram_received = datagram_received  # type: ignore[method-assign]  # for this one
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for number in range(50):
                sock.sendto(b"%d" % number, name_of(server))
            await until(lambda: len(server.data) == 50)
        assert len(reports) == 50
        await closed(server)

    run_on(loop_factory, main())


def test_what_error_received_raises_does_not_stop_what_is_buffered(tmp_path: Path) -> None:
    async def main() -> None:
        reports: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context["exception"]))
        slow, made, target = unix_pair(tmp_path, connected=False)
        with slow:
            sender = await made

            def error_received(exc: Exception) -> None:
                raise LookupError

            sender.error_received = error_received  # type: ignore[method-assign]  # for this one
            count = 0
            while not sender.transport.get_write_buffer_size():
                sender.transport.sendto(b"x", target)
                count += 1
            sender.transport.sendto(b"x", str(tmp_path / "nobody"))
            sender.transport.sendto(b"y", target)
            sender.transport.close()
            assert await drained(slow, count + 1) == [b"x"] * count + [b"y"]
            await sender.lost
            assert [type(report) for report in reports] == [LookupError]

    run(main())


@on_both
def test_a_connection_made_that_raises_is_reported_and_the_endpoint_is_there(loop_factory: LoopFactory) -> None:
    class Clumsy(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            raise LookupError

    async def main() -> None:
        loop = asyncio.get_running_loop()
        reports: list[Any] = []
        loop.set_exception_handler(lambda loop, context: reports.append(context["exception"]))
        transport, protocol = await loop.create_datagram_endpoint(Clumsy, local_addr=LOOPBACK)
        assert [type(report) for report in reports] == [LookupError]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x", name_of(protocol))
            await until(lambda: protocol.data)
        transport.close()
        await protocol.lost

    run_on(loop_factory, main())


def test_a_descriptor_that_something_else_takes_over_ends_the_transport() -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        server = await endpoint(local_addr=LOOPBACK)
        await asyncio.sleep(0)
        loop.io.open(server.transport._sock_fd)
        error = await server.lost
        assert isinstance(error, OSError)
        assert "closed, or something else" in str(error)

    run(main())


def test_a_descriptor_closed_behind_the_loops_back_ends_the_transport() -> None:
    async def main() -> None:
        reports: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context["exception"]))
        server = await endpoint(local_addr=LOOPBACK)
        transport = server.transport
        os.close(transport._sock_fd)
        transport.pause_reading()
        transport._interest.readable = True
        transport.resume_reading()
        error = await server.lost
        assert isinstance(error, OSError)
        assert error.errno == errno.EBADF
        # The socket object finds out as well.
        assert [report.errno for report in reports] == [errno.EBADF]

    run(main())


# Misuse


@on_both
def test_data_has_to_be_bytes(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        server = await endpoint(local_addr=LOOPBACK)
        with pytest.raises(TypeError, match="data argument must be a bytes-like object, not 'str'"):
            server.transport.sendto("text", name_of(server))
        await closed(server)

    run_on(loop_factory, main())


@on_both
def test_a_connected_endpoint_sends_to_its_peer_only(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        server = await endpoint(local_addr=LOOPBACK)
        client = await endpoint(remote_addr=name_of(server))
        with pytest.raises(ValueError, match=r"Invalid address: must be None or \('127"):
            client.transport.sendto(b"x", ("127.0.0.1", 1))
        await closed(server, client)

    run_on(loop_factory, main())


def test_an_address_that_is_missing_or_wrong_is_told_to_the_caller() -> None:
    async def main() -> None:
        server = await endpoint(local_addr=LOOPBACK)
        with pytest.raises(ValueError, match="needs an address"):
            server.transport.sendto(b"x")
        with pytest.raises(TypeError):
            server.transport.sendto(b"x", "no tuple")
        assert not server.transport.is_closing()
        await closed(server)

    run(main())


@on_both
def test_between_close_and_connection_lost_datagrams_go_out(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        server = await endpoint(local_addr=LOOPBACK)
        client = await endpoint(local_addr=LOOPBACK)
        client.transport.close()
        client.transport.sendto(b"last", name_of(server))
        client.transport.sendto(b"x" * 100_000, name_of(server))
        assert len(client.errors) == 1
        await client.lost
        await until(lambda: server.data)
        assert server.data == [b"last"]
        await closed(server)

    run_on(loop_factory, main())


def test_what_is_sent_to_a_closed_endpoint_is_dropped_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        server = await endpoint(local_addr=LOOPBACK)
        client = await endpoint(remote_addr=name_of(server))
        await closed(server, client)
        for _ in range(10):
            client.transport.sendto(b"x")
            server.transport.sendto(b"x", ("127.0.0.1", 9))

    run(main())
    assert caplog.text.count("socket.send() raised exception.") == 2 * 6


def test_a_closed_transport_is_no_work_for_the_garbage_collector() -> None:
    async def main() -> None:
        server = await endpoint(local_addr=LOOPBACK)
        await closed(server)
        transport = weakref.ref(server.transport)
        # A step of its own: the loop's last callback was the transport's.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gc.disable()
        try:
            server.transport = None
            assert transport() is None
        finally:
            gc.enable()

    run(main())


def test_a_transport_that_outlives_its_loop_warns_and_closes_its_socket() -> None:
    socks: list[socket.socket] = []

    async def main() -> None:
        server = await endpoint(local_addr=LOOPBACK)
        socks.append(server.transport._sock)

    def run_and_forget() -> None:
        run(main())
        gc.collect()

    with pytest.warns(ResourceWarning, match="unclosed transport"):
        run_and_forget()
    assert socks[0].fileno() == -1


# Arguments of create_datagram_endpoint


@on_both
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "unexpected address family"),
        ({"local_addr": "text"}, TypeError, "2-tuple is expected"),
        ({"local_addr": ("127.0.0.1", 0, 0)}, TypeError, "2-tuple is expected"),
        ({"remote_addr": 1}, TypeError, "2-tuple is expected"),
        ({"local_addr": b"path", "family": socket.AF_UNIX}, TypeError, "string is expected"),
        ({"local_addr": ("::1", 0), "remote_addr": ("127.0.0.1", 1)}, ValueError, "can not get address information"),
    ],
)
def test_arguments_that_do_not_fit(
    loop_factory: LoopFactory, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    async def main() -> None:
        with pytest.raises(error, match=message):
            await endpoint(**options)

    run_on(loop_factory, main())


@on_both
@pytest.mark.parametrize(
    "option",
    [
        {"local_addr": ("127.0.0.1", 1)},
        {"remote_addr": ("127.0.0.1", 1)},
        {"family": 1},
        {"proto": 1},
        {"flags": 1},
        {"reuse_port": True},
        {"allow_broadcast": True},
    ],
)
def test_a_socket_excludes_what_would_make_one(loop_factory: LoopFactory, option: dict[str, Any]) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            with pytest.raises(ValueError, match="can not be used when sock is specified") as caught:
                await endpoint(sock=sock, **option)
            assert next(iter(option)) in str(caught.value)

    run_on(loop_factory, main())


@on_both
def test_a_stream_socket_is_refused(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        with socket.socket() as sock, pytest.raises(ValueError, match=r"Socket was expected|socket was expected"):
            await endpoint(sock=sock)

    run_on(loop_factory, main())


@on_both
def test_an_address_without_an_endpoint_needs_only_a_family(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        client = await endpoint(family=socket.AF_INET)
        server = await endpoint(local_addr=LOOPBACK)
        client.transport.sendto(b"x", name_of(server))
        await until(lambda: server.data)
        await closed(client, server)

    run_on(loop_factory, main())


@on_both
def test_of_several_addresses_the_first_that_works_is_taken(
    loop_factory: LoopFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look_up(host: str, port: int, **options: Any) -> list[Any]:
        second = "127.0.0.1" if host == "two.test" else "240.0.0.2"
        return [
            (socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("240.0.0.1", port)),
            (socket.AF_INET, socket.SOCK_DGRAM, 0, "", (second, port)),
        ]

    async def main() -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
        server = await endpoint(local_addr=("two.test", 0))
        assert name_of(server)[0] == "127.0.0.1"
        with pytest.raises(OSError) as caught:
            await endpoint(local_addr=("none.test", 0))
        assert caught.value.errno == errno.EADDRNOTAVAIL
        await closed(server)

    run_on(loop_factory, main())


def test_a_factory_that_raises_leaves_no_socket_behind(recwarn: pytest.WarningsRecorder) -> None:
    async def main() -> None:
        def factory() -> Recorder:
            raise LookupError

        with pytest.raises(LookupError):
            await asyncio.get_running_loop().create_datagram_endpoint(factory, local_addr=LOOPBACK)

    run(main())
    gc.collect()
    assert not recwarn.list


@on_both
def test_debug_mode_tells_of_new_endpoints(loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "asyncio")

    async def main() -> None:
        server = await endpoint(local_addr=LOOPBACK)
        client = await endpoint(remote_addr=name_of(server))
        await closed(server, client)

    run_on(loop_factory, main(), debug=True)
    told = [record for record in caplog.records if "Datagram endpoint" in record.message]
    assert [record.levelno for record in told] == [logging.INFO, logging.DEBUG]


@on_both
def test_a_call_that_is_cancelled_closes_the_socket(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        made: list[Recorder] = []

        def factory() -> Recorder:
            made.append(Recorder())
            return made[0]

        creating = asyncio.ensure_future(loop.create_datagram_endpoint(factory, local_addr=LOOPBACK))
        await asyncio.sleep(0)
        creating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await creating
        assert await made[0].lost is None

    run_on(loop_factory, main())
