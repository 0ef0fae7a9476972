"""TLS transports: what asyncio's do with the same program is the measure, where asyncio's documentation is silent."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import socket
import ssl
import warnings
import weakref
from pathlib import Path
from typing import Any

import pytest

import nursery
from nursery import compat
from nursery.compat.transports.tls import RECEIVE, SSLTransport
from tests.compat.transports.tls_ends import (
    TLS_1_2,
    BufferedRecorder,
    Recorder,
    as_client,
    as_server,
    bare,
    calling,
    connected,
    receive_all,
    receive_exactly,
    reports,
    serving,
)
from tests.compat.two_loops import LoopFactory, on_both, run, run_on
from tests.tls.certificates import (
    HOST,
    OF_ANOTHER_HOST,
    VERSIONS,
    client_context,
    needs_nameless_clients,
    server_context,
)
from tests.tls.openssl import needs_openssl, s_client, s_server

MEGABYTE = 1024 * 1024


# Data


@pytest.mark.parametrize("version", VERSIONS)
@on_both
def test_data_goes_to_and_fro(loop_factory: LoopFactory, version: ssl.TLSVersion) -> None:
    async def main() -> None:
        async with connected(version=version) as ends:
            ends.client.transport.write(b"ping")
            assert await ends.served.until(4) == b"ping"
            ends.served.transport.writelines([b"po", bytearray(b"n"), memoryview(b"g")])
            assert await ends.client.until(4) == b"pong"

    run_on(loop_factory, main())


@on_both
def test_large_data_arrives_whole_and_in_order(loop_factory: LoopFactory) -> None:
    data = bytes(range(256)) * (16 * 1024) + b"odd"

    async def main() -> None:
        async with connected() as ends:
            ends.client.transport.write(data)
            ends.client.transport.write(data[::-1])
            assert await ends.served.until(2 * len(data)) == data + data[::-1]

    run_on(loop_factory, main())


def test_a_view_is_written_by_its_bytes() -> None:
    async def main() -> None:
        async with connected() as ends:
            wide = memoryview(b"abcdefgh").cast("I")
            ends.client.transport.write(wide)
            ends.client.transport.write(memoryview(b"123456")[::2])
            assert await ends.served.until(11) == b"abcdefgh135"

    run(main())


def test_a_bytearray_may_be_changed_after_write() -> None:
    async def main() -> None:
        async with connected() as ends:
            data = bytearray(b"good")
            ends.client.transport.write(data)
            data[:] = b"evil"
            assert await ends.served.until(4) == b"good"

    run(main())


@on_both
def test_what_is_no_bytes_is_refused(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        async with connected() as ends:
            with pytest.raises(TypeError, match="data: expecting a bytes-like instance, got str"):
                ends.client.transport.write("text")
            ends.client.transport.write(b"")
            ends.client.transport.write(b"x")
            assert await ends.served.until(1) == b"x"

    run_on(loop_factory, main())


@pytest.mark.parametrize("size", [1, 7, 16384, 100_000])
def test_a_buffered_protocol_receives_into_its_own_buffer(size: int) -> None:
    data = bytes(range(256)) * 300

    async def main() -> None:
        async with connected(served_factory=lambda: BufferedRecorder(size)) as ends:
            ends.client.transport.write(data if size > 1 else data[:300])
            ends.client.transport.close()
            assert await ends.served.lost is None
            assert ends.served.data == (data if size > 1 else data[:300])
            assert ends.served.ended

    # asyncio loses data where a buffer's slices are copies.
    run(main())


@on_both
def test_a_protocol_of_the_other_kind_may_take_over(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        async with connected() as ends:
            ends.client.transport.write(b"first")
            await ends.served.until(5)
            buffered = BufferedRecorder(100)
            transport = ends.served.transport
            transport.set_protocol(buffered)
            assert transport.get_protocol() is buffered
            ends.client.transport.write(b"second")
            while len(buffered.data) < 6:
                await asyncio.sleep(0.001)
            transport.set_protocol(ends.served)
            ends.client.transport.write(b"third")
            assert await ends.served.until(10) == b"firstthird"
            assert buffered.data == b"second"

    run_on(loop_factory, main())


def test_an_empty_buffer_loses_the_connection() -> None:
    async def main() -> None:
        async with connected(served_factory=lambda: BufferedRecorder(0)) as ends:
            with reports() as told:
                ends.client.transport.write(b"x")
                exc = await ends.served.lost
            assert isinstance(exc, RuntimeError)
            assert [report["message"] for report in told] == ["Fatal error: protocol.get_buffer() call failed."]

    run(main())


@on_both
def test_a_protocol_that_raises_loses_its_connection(loop_factory: LoopFactory) -> None:
    class Broken(Recorder):
        def data_received(self, data: bytes) -> None:
            raise LookupError("broken protocol")

    async def main() -> None:
        async with connected(served_factory=Broken) as ends:
            with reports() as told:
                ends.client.transport.write(b"x")
                assert isinstance(await ends.served.lost, LookupError)
            (report,) = told
            assert isinstance(report["exception"], LookupError)

    run_on(loop_factory, main())


def test_a_protocol_whose_connection_made_raises_fails_the_connecting() -> None:
    class Broken(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            raise LookupError("broken protocol")

    async def main() -> None:
        peer, address = serving(lambda sock: receive_all(as_server(sock)))
        with reports() as told, pytest.raises(LookupError):
            await asyncio.get_running_loop().create_connection(
                Broken, *address, ssl=client_context(), server_hostname=HOST
            )
        assert [report["message"] for report in told] == ["Fatal error: protocol.connection_made() call failed."]
        with pytest.raises(OSError):
            await peer.join()
        peer.sock.close()

    run(main())


# What is known


@on_both
def test_extra_info_is_that_of_tls_and_that_of_the_socket(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        async with connected() as ends:
            for end in ends:
                known = end.transport.get_extra_info
                assert isinstance(known("sslcontext"), ssl.SSLContext)
                assert isinstance(known("ssl_object"), ssl.SSLObject)
                assert known("cipher") == known("ssl_object").cipher()
                assert known("compression") is None
                assert known("nothing", "at all") == "at all"
                assert known("socket").fileno() > 0
            assert ("DNS", HOST) in ends.client.transport.get_extra_info("peercert")["subjectAltName"]
            assert ends.served.transport.get_extra_info("peercert") is None
            ours, theirs = (end.transport.get_extra_info for end in ends)
            assert ours("peername") == theirs("sockname")
            assert ours("sockname") == theirs("peername")

    run_on(loop_factory, main())


def test_the_transport_is_asyncios_to_all_who_ask() -> None:
    async def main() -> None:
        async with connected() as ends:
            transport = ends.client.transport
            assert issubclass(type(transport), asyncio.Transport)
            # aiohttp and asyncio's own tests look at these.
            assert transport._start_tls_compatible
            assert "ssl" in type(transport).__name__.lower()
            assert transport.loop is asyncio.get_running_loop()
            assert "open over <SocketTransport" in repr(transport)
            assert transport._ssl_protocol._transport.get_protocol() is transport._ssl_protocol

    run(main())


def test_what_a_library_puts_before_the_methods_of_the_ssl_protocol_is_called() -> None:
    # As gql does, to learn when aiohttp's connections are gone.
    async def main() -> None:
        async with connected() as ends:
            called: list[str] = []
            below = ends.client.transport._ssl_protocol
            lost, ended = below.connection_lost, below.eof_received

            def connection_lost(exc: BaseException | None) -> None:
                called.append("lost")
                lost(exc)

            def eof_received() -> bool:
                called.append("eof")
                return bool(ended())

            below.connection_lost, below.eof_received = connection_lost, eof_received
            ends.served.transport.close()
            await ends.client.lost
            assert called[-1] == "lost"

    run(main())


def test_one_context_serves_a_connection_from_beginning_to_end() -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")

    class Named(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            name.set("somebody")

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.events.append(name.get())

        def connection_lost(self, exc: BaseException | None) -> None:
            self.events.append(name.get())
            super().connection_lost(exc)

    async def main() -> None:
        async with connected(served_factory=Named) as ends:
            ends.client.transport.write(b"x")
            await ends.served.until(1)
            ends.client.transport.close()
            await ends.served.lost
            assert ends.served.events == ["made", "somebody", "eof", "somebody", "lost"]
            assert name.get() == "nobody"

    run(main())


# The end


@on_both
def test_close_is_seen_by_both_sides_as_a_good_end(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        async with connected() as ends:
            ends.client.transport.close()
            assert ends.client.transport.is_closing()
            assert await ends.client.lost is None
            assert await ends.served.lost is None
            assert ends.served.events == ["made", "eof", "lost"]
            ends.client.transport.close()
            ends.client.transport.abort()

    run_on(loop_factory, main())


@pytest.mark.parametrize("version", VERSIONS)
@on_both
def test_who_closes_hears_that_the_peer_has_ended_too(loop_factory: LoopFactory, version: ssl.TLSVersion) -> None:
    async def main() -> None:
        async with connected(version=version) as ends:
            ends.client.transport.close()
            await ends.client.lost
            await ends.served.lost
            assert ends.client.events == ["made", "eof", "lost"]
            assert ends.served.events == ["made", "eof", "lost"]

    run_on(loop_factory, main())


def test_a_protocol_that_fails_when_it_hears_that_the_peer_has_ended_gets_that_error() -> None:
    class Failing(Recorder):
        def eof_received(self) -> bool:
            super().eof_received()
            raise ValueError("no end")

    async def main() -> None:
        async with connected(Failing) as ends:
            with reports() as told:
                ends.client.transport.close()
                error = await ends.client.lost
            assert isinstance(error, ValueError)
            assert ends.client.events == ["made", "eof", "lost"]
            assert [context["message"] for context in told] == ["Error calling eof_received()"]

    run(main())


@pytest.mark.parametrize("version", VERSIONS)
def test_close_sends_what_is_buffered_and_then_a_goodbye(version: ssl.TLSVersion) -> None:
    def program(sock: socket.socket) -> bytes:
        tls = as_client(sock, version)
        # With suppress_ragged_eofs=False an end without a goodbye would be an error.
        data = receive_all(tls)
        tls.unwrap()
        return data

    async def main() -> None:
        loop = asyncio.get_running_loop()
        accepted: asyncio.Future[Recorder] = loop.create_future()

        class Served(Recorder):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                accepted.set_result(self)

        async with await loop.create_server(Served, "127.0.0.1", 0, ssl=server_context()) as server:
            async with calling(program, server.sockets[0].getsockname()) as peer:
                served = await accepted
                served.transport.write(b"x" * 3 * MEGABYTE)
                served.transport.write(b"y" * MEGABYTE)
                served.transport.close()
                served.transport.write(b"too late")
                assert await served.lost is None
                assert await peer.join() == b"x" * 3 * MEGABYTE + b"y" * MEGABYTE

    run(main())


def test_nothing_is_received_after_close() -> None:
    def program(sock: socket.socket) -> None:
        tls = as_server(sock)
        tls.sendall(b"before")
        receive_exactly(tls, 1)
        tls.sendall(b"after")
        assert receive_all(tls) == b""
        tls.unwrap()

    async def main() -> None:
        peer, address = serving(program)
        async with peer:
            transport, client = await asyncio.get_running_loop().create_connection(
                Recorder, *address, ssl=client_context(), server_hostname=HOST
            )
            await client.until(6)
            transport.write(b"!")
            transport.close()
            assert not transport.is_reading()
            assert await client.lost is None
            assert client.data == b"before"
            assert client.events == ["made", "eof", "lost"]

    run(main())


def test_close_with_unread_data_is_a_good_end_all_the_same() -> None:
    # asyncio would find the data in the place of the peer's goodbye, and lose the connection with an SSLError.
    async def main() -> None:
        async with connected() as ends:
            ends.client.transport.pause_reading()
            ends.served.transport.write(b"x" * 100_000)
            await asyncio.sleep(0.005)
            ends.client.transport.close()
            assert await ends.client.lost is None
            assert await ends.served.lost is None
            assert ends.client.data == b""

    run(main())


@on_both
def test_abort_loses_what_is_buffered_and_tells_once(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        async with connected() as ends:
            ends.served.transport.pause_reading()
            ends.client.transport.write(b"x" * 9 * MEGABYTE)
            ends.client.transport.abort()
            ends.client.transport.abort()
            assert ends.client.transport.is_closing()
            assert await ends.client.lost is None
            assert ends.client.events.count("lost") == 1

    run_on(loop_factory, main())


@on_both
def test_the_peers_goodbye_ends_the_data_and_the_connection(loop_factory: LoopFactory) -> None:
    def program(sock: socket.socket) -> None:
        tls = as_server(sock)
        tls.sendall(b"last words")
        tls.unwrap()

    async def main() -> None:
        peer, address = serving(program)
        async with peer:
            _, client = await asyncio.get_running_loop().create_connection(
                Recorder, *address, ssl=client_context(), server_hostname=HOST
            )
            assert await client.lost is None
            assert client.data == b"last words"
            assert client.events == ["made", "eof", "lost"]

    run_on(loop_factory, main())


@on_both
def test_what_was_written_when_the_peer_ends_is_still_sent(loop_factory: LoopFactory) -> None:
    size = 4 * MEGABYTE

    def program(sock: socket.socket) -> int:
        tls = as_server(sock)
        receive_exactly(tls, 4)
        # A goodbye for one direction only: the standard library's socket cannot do that.
        raw = bare(tls)
        raw.shutdown(socket.SHUT_WR)
        return len(receive_all(raw))

    async def main() -> None:
        peer, address = serving(program)
        async with peer:
            transport, client = await asyncio.get_running_loop().create_connection(
                Recorder, *address, ssl=client_context(), server_hostname=HOST
            )
            transport.write(b"ping")
            transport.write(b"x" * size)
            assert await client.lost is None
            assert await peer.join() > size

    run_on(loop_factory, main())


@on_both
def test_an_end_without_a_goodbye_is_the_end_of_the_data(loop_factory: LoopFactory) -> None:
    def program(sock: socket.socket) -> None:
        tls = as_server(sock)
        tls.sendall(b"cut off")
        tls.shutdown(socket.SHUT_RDWR)

    async def main() -> None:
        peer, address = serving(program)
        async with peer:
            with reports() as told:
                _, client = await asyncio.get_running_loop().create_connection(
                    Recorder, *address, ssl=client_context(), server_hostname=HOST
                )
                assert await client.lost is None
            assert client.data == b"cut off"
            assert client.events == ["made", "eof", "lost"]
            assert not told

    run_on(loop_factory, main())


@on_both
def test_keeping_open_after_the_end_has_no_effect(loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with connected() as ends:
            ends.served.keep_open = True
            ends.client.transport.close()
            assert await ends.served.lost is None

    run_on(loop_factory, main())
    assert "returning true from eof_received() has no effect when using ssl" in caplog.text


@on_both
def test_a_reset_is_told_as_an_error(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        async with connected() as ends:
            sock = ends.client.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            ends.client.transport.abort()
            assert isinstance(await ends.served.lost, ConnectionResetError)
            assert ends.served.events == ["made", "lost"]

    run_on(loop_factory, main())


@on_both
def test_a_record_that_was_tampered_with_is_told_as_an_error(
    loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture
) -> None:
    def program(sock: socket.socket) -> None:
        tls = as_server(sock)
        tls.sendall(b"good")
        receive_exactly(tls, 2)
        raw = bare(tls)
        raw.sendall(b"\x17\x03\x03\x00\x20" + b"forged" * 10)
        receive_all(raw)

    async def main() -> None:
        peer, address = serving(program)
        async with peer:
            with reports() as told:
                transport, client = await asyncio.get_running_loop().create_connection(
                    Recorder, *address, ssl=client_context(), server_hostname=HOST
                )
                await client.until(4)
                transport.write(b"ok")
                assert isinstance(await client.lost, ssl.SSLError)
            assert client.data == b"good"
            assert client.events == ["made", "lost"]
            # As with every error that the network can cause, only debug mode speaks of it.
            assert not told

    caplog.set_level(logging.DEBUG, "asyncio")
    run_on(loop_factory, main())
    assert "Fatal error" not in caplog.text
    run_on(loop_factory, main(), debug=True)
    assert "Fatal error on SSL protocol" in caplog.text


def test_an_alert_tells_the_peer_what_is_wrong() -> None:
    def program(sock: socket.socket) -> None:
        tls = as_server(sock)
        receive_exactly(tls, 2)
        raw = bare(tls)
        raw.sendall(b"\x17\x03\x03\x00\x20" + b"f" * 32)
        # An alert is a record as well.
        assert raw.recv(1000)

    async def main() -> None:
        peer, address = serving(program)
        async with peer:
            transport, client = await asyncio.get_running_loop().create_connection(
                Recorder, *address, ssl=client_context(), server_hostname=HOST
            )
            transport.write(b"ok")
            assert isinstance(await client.lost, ssl.SSLError)

    run(main())


@on_both
def test_a_peer_that_does_not_answer_the_goodbye_is_waited_for_as_long_as_was_said(loop_factory: LoopFactory) -> None:
    def program(sock: socket.socket) -> None:
        tls = as_server(sock)
        tls.sendall(b"hello")
        raw = bare(tls)
        try:
            receive_all(raw)
        except ConnectionResetError:
            pass

    async def main() -> None:
        peer, address = serving(program)
        async with peer:
            transport, client = await asyncio.get_running_loop().create_connection(
                Recorder, *address, ssl=client_context(), server_hostname=HOST, ssl_shutdown_timeout=0.02
            )
            await client.until(5)
            transport.close()
            exc = await client.lost
            assert isinstance(exc, TimeoutError)
            assert str(exc) == "SSL shutdown timed out"

    run_on(loop_factory, main())


def test_a_slow_reader_gets_all_of_it_though_that_takes_longer_than_a_shutdown_may() -> None:
    size = 5 * MEGABYTE

    async def main() -> None:
        async with connected(shutdown_timeout=0.04) as ends:
            for end, buffer in zip(ends, (socket.SO_SNDBUF, socket.SO_RCVBUF), strict=True):
                end.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, buffer, 100_000)
            ends.client.transport.write(b"x" * size)
            ends.client.transport.close()
            began = asyncio.get_running_loop().time()
            while not ends.served.lost.done():
                ends.served.transport.pause_reading()
                await asyncio.sleep(0.002)
                ends.served.transport.resume_reading()
                await asyncio.sleep(0)
            assert asyncio.get_running_loop().time() - began > 0.05
            assert await ends.client.lost is None
            assert len(ends.served.data) == size

    run(main())


def test_a_reader_that_has_stopped_is_waited_for_as_long_as_was_said() -> None:
    async def main() -> None:
        async with connected(shutdown_timeout=0.02) as ends:
            ends.served.transport.pause_reading()
            ends.client.transport.write(b"x" * 9 * MEGABYTE)
            ends.client.transport.close()
            assert isinstance(await ends.client.lost, TimeoutError)

    run(main())


@on_both
def test_there_is_no_end_for_one_direction(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        async with connected() as ends:
            assert not ends.client.transport.can_write_eof()
            with pytest.raises(NotImplementedError):
                ends.client.transport.write_eof()

    run_on(loop_factory, main())


def test_writing_to_a_closed_connection_is_noted_from_the_sixth_time_on(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with connected() as ends:
            ends.client.transport.close()
            await ends.client.lost
            for _ in range(5):
                ends.client.transport.write(b"x")
            assert not caplog.records
            ends.client.transport.write(b"x")

    run(main())
    assert "SSL connection is closed" in caplog.text


def test_a_transport_that_is_forgotten_warns() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Recorder, "127.0.0.1", 0, ssl=server_context())
        await loop.create_connection(
            asyncio.Protocol, *server.sockets[0].getsockname(), ssl=client_context(), server_hostname=HOST
        )
        server.close()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        compat.run(main())
        gc.collect()
    assert any("unclosed transport <SSLTransport open" in str(warning.message) for warning in caught)


def test_a_lost_connection_leaves_no_garbage() -> None:
    class Keeping(Recorder):
        """Keeps its transport for ever."""

    async def main() -> list[weakref.ref[Any]]:
        async with connected(Keeping, Keeping) as ends:
            ends.client.transport.write(b"x")
            await ends.served.until(1)
            ends.client.transport.close()
            await ends.client.lost
            await ends.served.lost
            return [weakref.ref(end.transport) for end in ends] + [weakref.ref(end) for end in ends]

    async def outer() -> None:
        seen = await main()
        await asyncio.sleep(0)
        assert [ref() for ref in seen] == [None] * 4

    gc.collect()
    gc.disable()
    try:
        run(outer())
    finally:
        gc.enable()


# Flow control


@on_both
def test_a_writer_is_paused_while_the_peer_does_not_read(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        async with connected() as ends:
            transport = ends.client.transport
            ends.served.transport.pause_reading()
            written = 0
            while not ends.client.paused.is_set():
                transport.write(b"x" * 100_000)
                written += 100_000
                await asyncio.sleep(0)
            assert transport.get_write_buffer_size() > 0
            ends.served.transport.resume_reading()
            await ends.client.resumed.wait()
            await ends.served.until(written)
            assert ends.client.events == ["made", "pause", "resume"]

    run_on(loop_factory, main())


def test_a_slow_reader_grows_no_buffer_past_the_high_mark_and_one_write() -> None:
    piece = 50_000

    async def main() -> None:
        async with connected() as ends:
            transport = ends.client.transport
            low, high = transport.get_write_buffer_limits()
            assert 0 < low < high
            ends.served.transport.pause_reading()
            while not ends.client.paused.is_set():
                transport.write(b"x" * piece)
                # TLS adds some bytes to each record.
                assert transport.get_write_buffer_size() <= high + piece + 1000
                await asyncio.sleep(0)

    run(main())


def test_the_marks_are_those_that_were_set() -> None:
    async def main() -> None:
        async with connected() as ends:
            transport = ends.client.transport
            transport.set_write_buffer_limits(high=1000, low=10)
            assert transport.get_write_buffer_limits() == (10, 1000)
            with pytest.raises(ValueError, match="must be >= low"):
                transport.set_write_buffer_limits(high=1, low=2)
            transport.set_write_buffer_limits(0)
            assert transport.get_write_buffer_limits() == (0, 0)
            ends.served.transport.pause_reading()
            # Whatever is buffered pauses.
            while not transport.get_write_buffer_size():
                assert not ends.client.paused.is_set()
                transport.write(b"x" * 100_000)
            assert ends.client.paused.is_set()
            ends.served.transport.resume_reading()
            await ends.client.resumed.wait()
            assert transport.get_write_buffer_size() == 0

    run(main())


@on_both
def test_paused_reading_delivers_nothing_until_resumed(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        async with connected() as ends:
            transport = ends.served.transport
            assert transport.is_reading()
            transport.pause_reading()
            transport.pause_reading()
            assert not transport.is_reading()
            ends.client.transport.write(b"waiting")
            await asyncio.sleep(0.005)
            assert not ends.served.data
            transport.resume_reading()
            transport.resume_reading()
            assert await ends.served.until(7) == b"waiting"

    run_on(loop_factory, main())


def test_a_protocol_that_pauses_in_the_middle_of_data_gets_the_rest_later() -> None:
    class Pausing(Recorder):
        def data_received(self, data: bytes) -> None:
            assert self.transport.is_reading()
            super().data_received(data)
            self.transport.pause_reading()

    async def main() -> None:
        async with connected(served_factory=Pausing) as ends:
            data = bytes(range(256)) * 4096
            ends.client.transport.write(data)
            ends.client.transport.close()
            while not ends.served.lost.done():
                ends.served.transport.resume_reading()
                await asyncio.sleep(0.001)
            assert ends.served.data == data
            assert ends.served.events == ["made", "eof", "lost"]

    run(main())


def test_a_paused_reader_holds_no_more_than_one_receive() -> None:
    async def main() -> None:
        async with connected() as ends:
            transport = ends.served.transport
            transport.pause_reading()
            ends.client.transport.write(b"x" * 8 * MEGABYTE)
            for _ in range(20):
                await asyncio.sleep(0.001)
                assert transport._engine.unread <= RECEIVE
            # Most of it is still where it was.
            assert ends.client.transport.get_write_buffer_size() > MEGABYTE
            transport.resume_reading()
            await ends.served.until(8 * MEGABYTE)

    run(main())


def test_a_connection_may_be_closed_while_paused_in_both_directions() -> None:
    async def main() -> None:
        async with connected(shutdown_timeout=5) as ends:
            for end in ends:
                end.transport.pause_reading()
            ends.served.transport.write(b"x" * MEGABYTE)
            ends.client.transport.write(b"x" * MEGABYTE)
            ends.client.transport.close()
            ends.served.transport.close()
            assert await ends.client.lost is None
            assert await ends.served.lost is None

    run(main())


# The handshake


def test_a_certificate_of_another_host_is_refused_and_the_peer_told() -> None:
    def program(sock: socket.socket) -> None:
        with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
            receive_all(as_server(sock, OF_ANOTHER_HOST))

    async def main() -> None:
        peer, address = serving(program)
        async with peer:
            with reports() as told, pytest.raises(ssl.SSLCertVerificationError, match=r"(?i)hostname mismatch"):
                await asyncio.get_running_loop().create_connection(
                    Recorder, *address, ssl=client_context(), server_hostname=HOST
                )
            assert not told

    run(main())


@on_both
def test_the_host_is_whom_the_certificate_must_name(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        peer, (_, port) = serving(lambda sock: receive_all(as_server(sock)))
        # The certificate names 127.0.0.1 too.
        transport, client = await loop.create_connection(Recorder, "127.0.0.1", port, ssl=client_context())
        transport.close()
        await client.lost
        await peer.join()
        peer.sock.close()

    run_on(loop_factory, main())


@needs_nameless_clients
@on_both
def test_an_empty_host_name_lets_any_certificate_pass(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        peer, address = serving(lambda sock: receive_all(as_server(sock, OF_ANOTHER_HOST)))
        async with peer:
            transport, client = await asyncio.get_running_loop().create_connection(
                Recorder, *address, ssl=client_context(), server_hostname=""
            )
            transport.close()
            await client.lost

    run_on(loop_factory, main())


@on_both
def test_true_trusts_the_systems_authorities_and_nobody_else(loop_factory: LoopFactory) -> None:
    def program(sock: socket.socket) -> None:
        with pytest.raises(ssl.SSLError):
            receive_all(as_server(sock))

    async def main() -> None:
        peer, address = serving(program)
        async with peer:
            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncio.get_running_loop().create_connection(Recorder, *address, ssl=True, server_hostname=HOST)

    run_on(loop_factory, main())


@on_both
def test_an_end_in_the_handshake_is_a_reset(loop_factory: LoopFactory) -> None:
    def program(sock: socket.socket) -> None:
        sock.recv(65536)

    async def main() -> None:
        peer, address = serving(program)
        async with peer:
            with reports() as told, pytest.raises(ConnectionResetError):
                await asyncio.get_running_loop().create_connection(
                    Recorder, *address, ssl=client_context(), server_hostname=HOST
                )
            assert not told

    run_on(loop_factory, main())


@on_both
def test_a_handshake_may_take_as_long_as_was_said(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        peer, address = serving(receive_all)
        async with peer:
            with pytest.raises(ConnectionAbortedError, match=r"longer than 0\.01 seconds: aborting the connection"):
                await asyncio.get_running_loop().create_connection(
                    Recorder, *address, ssl=client_context(), server_hostname=HOST, ssl_handshake_timeout=0.01
                )

    run_on(loop_factory, main())


def test_a_client_that_never_shakes_hands_is_dropped_by_the_server() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            Recorder, "127.0.0.1", 0, ssl=server_context(), ssl_handshake_timeout=0.01
        )
        with reports() as told:
            async with server, calling(receive_all, server.sockets[0].getsockname()) as peer:
                assert await peer.join() == b""
        assert not told

    run(main())


@on_both
def test_garbage_on_a_port_of_tls_hurts_nobody_else(loop_factory: LoopFactory) -> None:
    def garbage(sock: socket.socket) -> None:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n" * 10)
        try:
            receive_all(sock)
        except ConnectionResetError:
            pass

    def good(sock: socket.socket) -> bytes:
        tls = as_client(sock)
        tls.sendall(b"hello")
        return receive_exactly(tls, 5)

    class Echo(asyncio.Protocol):
        transport: Any

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(data)

    async def main(expected: list[str]) -> None:
        loop = asyncio.get_running_loop()
        with reports() as told:
            async with await loop.create_server(Echo, "127.0.0.1", 0, ssl=server_context()) as server:
                address = server.sockets[0].getsockname()
                async with calling(garbage, address):
                    pass
                async with calling(good, address) as peer:
                    assert await peer.join() == b"hello"
        assert [report["message"] for report in told] == expected
        assert all(isinstance(report["exception"], ssl.SSLError) for report in told)

    run_on(loop_factory, main([]))
    run_on(loop_factory, main(["Error on transport creation for incoming connection"]), debug=True)


def test_data_that_comes_with_the_end_of_the_handshake_is_delivered() -> None:
    def program(sock: socket.socket) -> bytes:
        context = client_context()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname=HOST)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))
        tls.write(b"early bird")
        with pytest.raises(ssl.SSLWantReadError):
            tls.unwrap()
        # The last of the handshake, data and a goodbye in one go.
        sock.sendall(outgoing.read())
        return receive_all(sock)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        served: list[Recorder] = []

        def factory() -> Recorder:
            served.append(Recorder())
            return served[-1]

        async with await loop.create_server(factory, "127.0.0.1", 0, ssl=server_context()) as server:
            async with calling(program, server.sockets[0].getsockname()):
                pass
            assert await served[0].lost is None
        assert served[0].data == b"early bird"
        assert served[0].events == ["made", "eof", "lost"]

    run(main())


def test_a_protocol_set_right_after_connecting_gets_all_the_data() -> None:
    def program(sock: socket.socket) -> None:
        tls = as_server(sock)
        tls.sendall(b"at once")
        receive_all(tls)
        tls.unwrap()

    async def main() -> None:
        peer, address = serving(program)
        async with peer:
            for _ in range(1):
                transport, first = await asyncio.get_running_loop().create_connection(
                    Recorder, *address, ssl=client_context(TLS_1_2), server_hostname=HOST
                )
                second = Recorder()
                transport.set_protocol(second)
                assert await second.until(7) == b"at once"
                assert not first.data
                transport.close()
                await second.lost

    run(main())


def test_a_scope_that_cuts_a_handshake_short_closes_the_connection() -> None:
    async def main() -> None:
        peer, address = serving(receive_all)
        async with peer:
            with nursery.move_on_after(0.01) as scope:
                await asyncio.get_running_loop().create_connection(
                    Recorder, *address, ssl=client_context(), server_hostname=HOST
                )
            assert scope.cancelled_caught
            # Everything that was sent, and the end.
            assert await peer.join()

    run(main())


def test_debug_mode_logs_the_handshake(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with connected():
            pass

    caplog.set_level(logging.DEBUG, "asyncio")
    run(main(), debug=True)
    assert "starts SSL handshake" in caplog.text
    assert "SSL handshake took" in caplog.text


def test_a_servers_callback_for_names_may_choose_another_context() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        other = server_context()
        names: list[str] = []

        def choose(tls: ssl.SSLObject, name: str, context: ssl.SSLContext) -> None:
            names.append(name)
            tls.context = other

        context = server_context(OF_ANOTHER_HOST)
        context.sni_callback = choose
        async with await loop.create_server(Recorder, "127.0.0.1", 0, ssl=context) as server:
            transport, client = await loop.create_connection(
                Recorder, *server.sockets[0].getsockname(), ssl=client_context(), server_hostname=HOST
            )
            transport.close()
            await client.lost
        assert names == [HOST]

    run(main())


# Renegotiation: a write that has to wait for input


@needs_openssl
def test_a_write_in_the_middle_of_another_handshake_is_sent_after_it(tmp_path: Path) -> None:
    async def main() -> None:
        with s_server(tmp_path) as (server, port):
            transport, client = await asyncio.get_running_loop().create_connection(
                Recorder, "127.0.0.1", port, ssl=client_context(TLS_1_2), server_hostname=HOST
            )
            assert isinstance(transport, SSLTransport)
            # Held up in the middle of the handshake: what the server says is not received.
            answered = transport._engine.outgoing
            below: Any = transport._below
            server.type(b"R")
            write_below = transport._write_below

            def hold(data: bytes) -> None:
                write_below(data)
                below.pause_reading()

            transport._write_below = hold
            while not below._paused:
                await asyncio.sleep(0.001)
            transport._write_below = write_below
            transport.set_write_buffer_limits(high=5)
            transport.write(b"in between, ")
            transport.write(b"and after\n")
            assert not answered.pending
            assert transport.get_write_buffer_size() == len(b"in between, and after\n")
            assert client.events == ["made", "pause"]
            await asyncio.to_thread(server.read_until, b"in between, and after")
            assert transport.get_write_buffer_size() == 0
            assert client.events == ["made", "pause", "resume"]
            server.type(b"and back")
            assert await client.until(9) == b"and back\n"
            transport.abort()
            await client.lost

    run(main())


# Peers of other makes


@needs_openssl
def test_the_program_openssl_is_served(tmp_path: Path) -> None:
    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"you said " + await reader.readline())
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context())
        async with server:
            with s_client(tmp_path, server.sockets[0].getsockname()[1], "-quiet") as client:
                client.type(b"hello")
                await asyncio.to_thread(client.read_until, b"you said hello")
                client.stdin.close()
                assert await asyncio.to_thread(client.process.wait, 5) == 0

    run(main())


@pytest.mark.parametrize("ours", ["client", "server"])
@pytest.mark.parametrize("other", ["asyncio", "uvloop"])
def test_another_loop_is_a_good_peer(other: str, ours: str) -> None:
    if other == "uvloop":
        make: Any = pytest.importorskip("uvloop").new_event_loop
    else:
        make = asyncio.SelectorEventLoop
    data = bytes(range(256)) * 4000

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(100_000):
            writer.write(piece)
            await writer.drain()
        writer.close()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context())

    async def call(port: int) -> None:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client_context(), server_hostname=HOST
        )
        writer.write(data)
        assert await reader.readexactly(len(data)) == data
        writer.close()
        await writer.wait_closed()

    with asyncio.Runner(loop_factory=make) as runner:
        loop = runner.get_loop()

        async def ours_with(there: Any) -> None:
            def elsewhere(main: Any) -> Any:
                return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(main, there))

            if ours == "server":
                async with await start() as server:
                    await elsewhere(call(server.sockets[0].getsockname()[1]))
            else:
                server = await elsewhere(start())
                await call(server.sockets[0].getsockname()[1])
                there.call_soon_threadsafe(server.close)

        import threading

        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            run(ours_with(loop))
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()


def test_asyncios_own_protocol_works_upon_our_socket_transport() -> None:
    # As aiosmtpd does for STARTTLS on the server.
    from asyncio import sslproto

    class Upgrading(Recorder):
        inner: Any = None

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if data == b"STARTTLS":
                self.transport.write(b"go")
                self.inner = Recorder()
                nobody: Any = None
                tls = sslproto.SSLProtocol(
                    asyncio.get_running_loop(), self.inner, server_context(), nobody, server_side=True
                )
                self.transport.set_protocol(tls)
                tls.connection_made(self.transport)

    def program(sock: socket.socket) -> None:
        sock.sendall(b"STARTTLS")
        assert receive_exactly(sock, 2) == b"go"
        tls = as_client(sock)
        tls.sendall(b"secret")
        assert receive_exactly(tls, 5) == b"known"
        tls.unwrap()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        served: list[Upgrading] = []

        def factory() -> Upgrading:
            served.append(Upgrading())
            return served[-1]

        async with await loop.create_server(factory, "127.0.0.1", 0) as server:
            async with calling(program, server.sockets[0].getsockname()) as peer:
                while not served or served[0].inner is None:
                    await asyncio.sleep(0.001)
                inner = served[0].inner
                assert await inner.until(6) == b"secret"
                inner.transport.write(b"known")
                await peer.join()
                await inner.lost

    run(main())
