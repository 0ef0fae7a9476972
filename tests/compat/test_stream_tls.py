"""The facade's streams in TLS, from the beginning and from the middle of a connection on."""

from __future__ import annotations

import asyncio
import socket
import ssl
import weakref
from typing import Any

import pytest

import nursery
from nursery import compat
from nursery.compat.stream import StreamReader, StreamReaderProtocol, StreamWriter
from nursery.compat.transports.tls import SSLTransport
from tests.compat.test_stream_connections import HIGH_MARK, connected
from tests.compat.test_streams import on_ours
from tests.compat.transports.tls_ends import as_client, as_server, calling, receive_all, receive_exactly, serving
from tests.tls.certificates import HOST, OF_ANOTHER_HOST, VERSIONS, client_context, server_context

MEGABYTE = 1024 * 1024
# What one receive brings at most, see transports/tls.py.
ONE_RECEIVE = 256 * 1024

over_versions = pytest.mark.parametrize("version", VERSIONS)


# From the beginning


@over_versions
def test_a_client_talks_to_a_server_of_the_ssl_module(version: ssl.TLSVersion) -> None:
    def program(sock: socket.socket) -> None:
        with as_server(sock) as tls:
            tls.sendall(receive_exactly(tls, MEGABYTE)[::-1])
            tls.unwrap()

    async def main() -> None:
        peer, address = serving(program)
        async with peer:
            reader, writer = await compat.open_connection(
                *address, ssl=client_context(version), server_hostname=HOST, ssl_handshake_timeout=5
            )
            assert writer.get_extra_info("ssl_object").version() == version.name.replace("_", ".", 1).replace("_", ".")
            assert not writer.can_write_eof()
            data = bytes(range(256)) * (MEGABYTE // 256)
            writer.write(data)
            await writer.drain()
            assert await reader.read() == data[::-1]
            writer.close()
            await writer.wait_closed()

    on_ours(main)


@over_versions
def test_a_server_talks_to_a_client_of_the_ssl_module(
    version: ssl.TLSVersion, caplog: pytest.LogCaptureFixture
) -> None:
    def program(sock: socket.socket) -> None:
        with as_client(sock, version) as tls:
            tls.sendall(b"one\ntwo\n")
            # The goodbye is answered, without a complaint in the log.
            bare_sock = tls.unwrap()
            assert bare_sock.recv(1) == b""

    async def main() -> None:
        async def serve(reader: Any, writer: Any) -> None:
            assert await reader.read() == b"one\ntwo\n"
            writer.close()
            await writer.wait_closed()
            served.set()

        served = asyncio.Event()
        server = await compat.start_server(serve, "127.0.0.1", 0, ssl=server_context(), ssl_shutdown_timeout=5)
        async with server, calling(program, server.sockets[0].getsockname()):
            await served.wait()

    on_ours(main)
    assert caplog.messages == []


def test_a_certificate_of_another_host_is_refused() -> None:
    def program(sock: socket.socket) -> None:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            as_server(sock, OF_ANOTHER_HOST).recv(1)

    async def main() -> None:
        peer, address = serving(program)
        async with peer:
            with pytest.raises(ssl.SSLCertVerificationError):
                await compat.open_connection(*address, ssl=client_context(), server_hostname=HOST)

    on_ours(main)


def test_a_slow_reader_holds_no_more_than_twice_the_limit_and_one_receive() -> None:
    limit, size = 10_000, 4 * MEGABYTE

    async def main() -> None:
        most = got = 0

        def program(sock: socket.socket) -> None:
            with as_server(sock) as tls:
                tls.sendall(bytes(size))
                tls.unwrap()

        peer, address = serving(program)
        async with peer:
            streams: Any = await compat.open_connection(
                *address, ssl=client_context(), server_hostname=HOST, limit=limit
            )
            reader, writer = streams
            while data := await reader.read(limit // 2):
                got += len(data)
                most = max(most, len(reader._buffer) + len(data))
            writer.close()
            await writer.wait_closed()
        assert got == size
        assert limit < most <= 2 * limit + ONE_RECEIVE

    on_ours(main)


def test_a_writer_that_drains_holds_no_more_than_the_high_mark_and_one_write() -> None:
    async def main() -> None:
        size, most = 50_000, 0

        def program(sock: socket.socket) -> int:
            with as_server(sock) as tls:
                return len(receive_all(tls))

        peer, address = serving(program)
        async with peer:
            _, writer = await compat.open_connection(*address, ssl=client_context(), server_hostname=HOST)
            for _ in range(100):
                writer.write(bytes(size))
                most = max(most, writer.transport.get_write_buffer_size())
                await writer.drain()
            writer.close()
            await writer.wait_closed()
            assert await peer.join() == 100 * size
        # Encryption adds some.
        assert most <= HIGH_MARK + size + 1000

    on_ours(main)


# From the middle on


def in_the_clear(sock: socket.socket) -> None:
    """Play a server that is asked for TLS, and then is one."""
    assert receive_exactly(sock, 9) == b"STARTTLS\n"
    sock.sendall(b"go ahead\n")
    with as_server(sock) as tls:
        tls.sendall(receive_exactly(tls, 7).upper())
        tls.unwrap()


async def asked_for_tls(address: tuple[str, int]) -> tuple[Any, Any]:
    reader, writer = await compat.open_connection(*address)
    writer.write(b"STARTTLS\n")
    assert await reader.readline() == b"go ahead\n"
    return reader, writer


def test_a_client_goes_on_in_tls() -> None:
    async def main() -> None:
        peer, address = serving(in_the_clear)
        async with peer:
            reader, writer = await asked_for_tls(address)
            protocol = writer.transport.get_protocol()
            plain = writer.transport
            await writer.start_tls(client_context(), server_hostname=HOST, ssl_shutdown_timeout=5)
            assert isinstance(writer.transport, SSLTransport)
            assert reader._transport is protocol._transport is writer.transport is not plain
            assert writer.transport.get_protocol() is protocol
            assert protocol._over_ssl
            assert writer.get_extra_info("sslcontext")
            writer.write(b"hello!\n")
            await writer.drain()
            assert await reader.readline() == b"HELLO!\n"
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    on_ours(main)


def test_a_server_goes_on_in_tls() -> None:
    def program(sock: socket.socket) -> None:
        sock.sendall(b"STARTTLS\n")
        assert receive_exactly(sock, 9) == b"go ahead\n"
        with as_client(sock) as tls:
            tls.sendall(b"hello!\n")
            assert receive_all(tls) == b"HELLO!\n"
            tls.unwrap()

    async def main() -> None:
        async def serve(reader: Any, writer: Any) -> None:
            assert await reader.readline() == b"STARTTLS\n"
            writer.write(b"go ahead\n")
            await writer.start_tls(server_context(), ssl_handshake_timeout=5, ssl_shutdown_timeout=5)
            writer.write((await reader.readline()).upper())
            writer.close()
            await writer.wait_closed()
            served.set()

        served = asyncio.Event()
        async with await compat.start_server(serve, "127.0.0.1", 0) as server:
            async with calling(program, server.sockets[0].getsockname()):
                await served.wait()

    on_ours(main)


def test_both_ends_may_be_ours() -> None:
    async def main() -> None:
        async with connected() as (reader, writer, far_reader, far_writer):
            async with compat.TaskGroup() as group:
                group.create_task(writer.start_tls(client_context(), server_hostname=HOST))
                group.create_task(far_writer.start_tls(server_context()))
            data = bytes(range(256)) * 4096
            far_writer.write(data)
            assert await reader.readexactly(len(data)) == data
            writer.write(b"got it")
            assert await far_reader.read(100) == b"got it"

    on_ours(main)


def test_after_the_upgrade_a_reader_that_has_stopped_stops_the_peer_and_gets_everything_later() -> None:
    async def main() -> None:
        async with connected(limit=5000) as (reader, writer, _, far_writer):
            async with compat.TaskGroup() as group:
                group.create_task(writer.start_tls(client_context(), server_hostname=HOST))
                group.create_task(far_writer.start_tls(server_context()))
            written = 0
            with nursery.move_on_after(0.2) as scope:
                while True:
                    far_writer.write(bytes(50_000))
                    written += 50_000
                    await far_writer.drain()
            assert scope.cancelled_caught
            assert 5000 < len(reader._buffer) <= 2 * 5000 + ONE_RECEIVE
            assert not writer.transport.is_reading()
            assert len(await reader.readexactly(written)) == written
            far_writer.write(b"and on")
            assert await reader.readexactly(6) == b"and on"

    on_ours(main)


def test_a_close_with_unread_data_after_the_upgrade_is_a_good_end() -> None:
    async def main() -> None:
        async with connected(limit=1000) as (reader, writer, _, far_writer):
            async with compat.TaskGroup() as group:
                group.create_task(writer.start_tls(client_context(), server_hostname=HOST))
                group.create_task(far_writer.start_tls(server_context()))
            far_writer.write(bytes(100_000))
            while not reader._paused:
                await asyncio.sleep(0)
            writer.close()
            await compat.wait_for(writer.wait_closed(), 2)

    on_ours(main)


def test_data_above_the_limit_right_after_the_handshake_pauses_the_right_transport() -> None:
    def program(sock: socket.socket) -> None:
        with as_server(sock) as tls:
            tls.sendall(bytes(200_000))
            assert receive_exactly(tls, 2) == b"ok"

    async def main() -> None:
        peer, address = serving(program)
        async with peer:
            streams: Any = await compat.open_connection(*address, limit=1000)
            reader, writer = streams
            # A task of asyncio's own class goes on a turn later than others.
            upgrading = writer.start_tls(client_context(), server_hostname=HOST)
            await asyncio.Task(upgrading, loop=asyncio.get_running_loop())
            assert len(await reader.readexactly(200_000)) == 200_000
            writer.write(b"ok")
            await writer.drain()
            writer.transport.abort()

    on_ours(main)


def test_a_handshake_that_fails_ends_the_connection_and_every_call_says_why() -> None:
    def program(sock: socket.socket) -> None:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            as_server(sock, OF_ANOTHER_HOST).recv(1)

    async def main() -> None:
        peer, address = serving(program)
        async with peer:
            reader, writer = await compat.open_connection(*address)
            with pytest.raises(ssl.SSLCertVerificationError):
                await writer.start_tls(client_context(), server_hostname=HOST)
            with pytest.raises((ssl.SSLCertVerificationError, ConnectionError)):
                await writer.wait_closed()
            assert writer.is_closing()
            with pytest.raises((ssl.SSLCertVerificationError, ConnectionError)):
                await writer.drain()
            with pytest.raises((ssl.SSLCertVerificationError, ConnectionError)):
                await reader.read(1)

    on_ours(main)


def test_an_upgrade_that_a_scope_ends_closes_the_connection() -> None:
    async def main() -> None:
        async with connected() as (reader, writer, far_reader, _):
            with nursery.move_on_after(0.01) as scope:
                await writer.start_tls(client_context(), server_hostname=HOST)
            assert scope.cancelled_caught
            assert (await far_reader.read())[:1] == b"\x16"
            await writer.wait_closed()
            assert await reader.read() == b""

    on_ours(main)


def test_what_the_peer_sent_with_its_last_clear_line_belongs_to_the_handshake() -> None:
    def program(sock: socket.socket) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client_context().wrap_bio(incoming, outgoing, server_hostname=HOST)
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        # The client hello comes in the same packet.
        sock.sendall(b"PROXY\n" + outgoing.read())
        while True:
            incoming.write(sock.recv(65536))
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                pass
        tls.write(b"hello!\n")
        sock.sendall(outgoing.read())
        while receive := sock.recv(65536):
            incoming.write(receive)
        try:
            assert tls.read(100) == b"HELLO!\n"
        except ssl.SSLWantReadError:
            pytest.fail("no answer came")

    async def main() -> None:
        async def serve(reader: Any, writer: Any) -> None:
            assert await reader.readline() == b"PROXY\n"
            await writer.start_tls(server_context(), ssl_shutdown_timeout=0.05)
            writer.write((await reader.readline()).upper())
            writer.close()

        async with await compat.start_server(serve, "127.0.0.1", 0) as server:
            async with calling(program, server.sockets[0].getsockname()):
                pass

    on_ours(main)


def test_what_somebody_put_behind_the_last_clear_line_is_not_taken_for_encrypted() -> None:
    def program(sock: socket.socket) -> None:
        sock.sendall(b"STARTTLS\nDELETE everything\n")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            as_client(sock).recv(1)

    async def main() -> None:
        async def serve(reader: Any, writer: Any) -> None:
            assert await reader.readline() == b"STARTTLS\n"
            while not reader._buffer:
                await asyncio.sleep(0)
            with pytest.raises(ssl.SSLError):
                await writer.start_tls(server_context())
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await reader.readline()

        async with await compat.start_server(serve, "127.0.0.1", 0) as server:
            async with calling(program, server.sockets[0].getsockname()):
                pass

    on_ours(main)


def test_a_writer_that_is_forgotten_after_the_upgrade_closes_and_warns() -> None:
    async def main() -> None:
        peer, address = serving(in_the_clear)
        async with peer:
            streams = [await asked_for_tls(address)]
            _, writer = streams[0]
            await writer.start_tls(client_context(), server_hostname=HOST)
            writer.write(b"hello!\n")
            gone = weakref.ref(writer)
            del writer
            with pytest.warns(ResourceWarning, match="unclosed <StreamWriter"):
                streams.clear()
            assert gone() is None

    on_ours(main)


@pytest.mark.parametrize("writer_type", [asyncio.StreamWriter, StreamWriter])
@pytest.mark.parametrize("protocol_type", [asyncio.StreamReaderProtocol, StreamReaderProtocol])
def test_classes_of_asyncio_and_ours_can_be_upgraded_together(writer_type: Any, protocol_type: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        peer, address = serving(in_the_clear)
        async with peer:
            reader = StreamReader()
            protocol = protocol_type(reader)
            transport, _ = await loop.create_connection(lambda: protocol, *address)
            writer = writer_type(transport, protocol, reader, loop)
            writer.write(b"STARTTLS\n")
            assert await reader.readline() == b"go ahead\n"
            await writer.start_tls(client_context(), server_hostname=HOST)
            assert protocol._over_ssl
            assert protocol._transport is writer.transport
            if StreamWriter is writer_type or StreamReaderProtocol is protocol_type:
                assert vars(reader)["_transport"] is writer.transport
            writer.write(b"hello!\n")
            assert await reader.read(100) == b"HELLO!\n"
            writer.close()
            await writer.wait_closed()

    on_ours(main)


def test_tls_within_tls() -> None:
    def program(sock: socket.socket) -> None:
        with as_server(sock) as outer:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            inner = server_context().wrap_bio(incoming, outgoing, server_side=True)
            for step in (inner.do_handshake, lambda: inner.write(inner.read(100).upper()), inner.unwrap):
                while True:
                    try:
                        step()
                        break
                    except ssl.SSLWantReadError:
                        outer.sendall(outgoing.read())
                        incoming.write(outer.recv(65536))
            outer.sendall(outgoing.read())
            outer.unwrap()

    async def main() -> None:
        peer, address = serving(program)
        async with peer:
            streams: Any = await compat.open_connection(*address, ssl=client_context(), server_hostname=HOST)
            reader, writer = streams
            await writer.start_tls(client_context(), server_hostname=HOST, ssl_shutdown_timeout=5)
            writer.write(b"hello!\n")
            assert await reader.readline() == b"HELLO!\n"
            writer.close()
            await writer.wait_closed()

    on_ours(main)
