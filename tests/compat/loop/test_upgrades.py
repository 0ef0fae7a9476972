"""start_tls: on clients and servers, over sockets, over TLS and over what somebody else has made."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
import weakref
from collections.abc import AsyncGenerator
from typing import Any

import pytest

import nursery
from tests.compat.transports.tls_ends import (
    BufferedRecorder,
    Recorder,
    as_client,
    as_server,
    calling,
    connected,
    receive_all,
    receive_exactly,
    reports,
    serving,
)
from tests.compat.two_loops import LoopFactory, on_both, run, run_on
from tests.tls.certificates import HOST, OF_ANOTHER_HOST, client_context, server_context


def start_tls(transport: Any, protocol: Any, context: ssl.SSLContext, **options: Any) -> Any:
    if not options.get("server_side"):
        options.setdefault("server_hostname", HOST)
    return asyncio.get_running_loop().start_tls(transport, protocol, context, **options)


@contextlib.asynccontextmanager
async def plain_pair() -> AsyncGenerator[tuple[Recorder, Recorder], None]:
    """Two protocols that are connected in plain text."""
    loop = asyncio.get_running_loop()
    left, right = socket.socketpair()
    _, client = await loop.create_connection(Recorder, sock=left)
    _, served = await loop.create_connection(Recorder, sock=right)
    try:
        yield client, served
    finally:
        for end in (client, served):
            if not end.lost.done():
                end.transport.abort()
            await end.lost


@on_both
def test_both_ends_of_a_connection_may_be_upgraded(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        async with plain_pair() as (client, served):
            client.transport.write(b"plain")
            assert await served.until(5) == b"plain"
            client.data.clear()
            served.data.clear()
            above, below = await asyncio.gather(
                start_tls(client.transport, client, client_context()),
                start_tls(served.transport, served, server_context(), server_side=True),
            )
            above.write(b"secret")
            assert await served.until(6) == b"secret"
            below.write(b"known")
            assert await client.until(5) == b"known"
            assert above.get_protocol() is client
            assert above.get_extra_info("peercert")
            # Told of the connection once, when it was plain.
            assert client.events == served.events == ["made"]
            above.close()
            assert await client.lost is None
            assert await served.lost is None
            assert served.events == ["made", "eof", "lost"]

    run_on(loop_factory, main())


@on_both
def test_a_client_upgrades_towards_a_blocking_server(loop_factory: LoopFactory) -> None:
    def program(sock: socket.socket) -> None:
        assert receive_exactly(sock, 8) == b"STARTTLS"
        sock.sendall(b"go")
        tls = as_server(sock)
        assert receive_exactly(tls, 5) == b"hello"
        tls.sendall(b"world")
        assert receive_all(tls) == b""
        tls.unwrap()

    async def main() -> None:
        peer, address = serving(program)
        async with peer:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"STARTTLS")
            assert await reader.readexactly(2) == b"go"
            await writer.start_tls(client_context(), server_hostname=HOST)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"world"
            writer.close()
            await writer.wait_closed()

    run_on(loop_factory, main())


@on_both
def test_a_server_upgrades_towards_a_blocking_client(loop_factory: LoopFactory) -> None:
    def program(sock: socket.socket) -> None:
        sock.sendall(b"STARTTLS\n")
        assert receive_exactly(sock, 2) == b"go"
        tls = as_client(sock)
        tls.sendall(b"hello\n")
        assert receive_all(tls) == b"you said hello\n"
        tls.unwrap()

    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.readline() == b"STARTTLS\n"
            writer.write(b"go")
            await writer.start_tls(server_context())
            writer.write(b"you said " + await reader.readline())
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            async with calling(program, server.sockets[0].getsockname()):
                pass

    run_on(loop_factory, main())


@on_both
def test_tls_in_tls(loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture) -> None:
    data = bytes(range(256)) * 8000

    async def main() -> None:
        async with connected() as ends:
            ends.client.transport.write(b"outer")
            assert await ends.served.until(5) == b"outer"
            ends.served.data.clear()
            above, served_above = await asyncio.gather(
                start_tls(ends.client.transport, ends.client, client_context()),
                start_tls(ends.served.transport, ends.served, server_context(), server_side=True),
            )
            above.write(data)
            assert await ends.served.until(len(data)) == data
            served_above.write(b"back")
            assert await ends.client.until(4) == b"back"
            assert above.get_extra_info("socket") is not None
            above.close()
            assert await ends.client.lost is None
            assert await ends.served.lost is None
            assert ends.served.events[-2:] == ["eof", "lost"]

    run_on(loop_factory, main())
    assert not caplog.records


def test_tls_in_tls_into_a_buffer_of_the_protocols_own() -> None:
    async def main() -> None:
        async with connected(served_factory=lambda: BufferedRecorder(1000)) as ends:
            above, _ = await asyncio.gather(
                start_tls(ends.client.transport, ends.client, client_context()),
                start_tls(ends.served.transport, ends.served, server_context(), server_side=True),
            )
            above.write(b"x" * 100_000)
            above.close()
            await ends.served.lost
            assert ends.served.data == b"x" * 100_000

    run(main())


def test_tls_in_tls_keeps_flow_control() -> None:
    size = 9_000_000

    async def main() -> None:
        async with connected() as ends:
            above, served_above = await asyncio.gather(
                start_tls(ends.client.transport, ends.client, client_context()),
                start_tls(ends.served.transport, ends.served, server_context(), server_side=True),
            )
            served_above.pause_reading()
            above.write(b"x" * size)
            assert ends.client.paused.is_set()
            assert above.get_write_buffer_size() > 0
            await asyncio.sleep(0.005)
            assert not ends.served.data
            served_above.resume_reading()
            await ends.client.resumed.wait()
            await ends.served.until(size)

    run(main())


# What was received before


def test_plain_text_behind_the_command_never_reaches_the_server_as_if_it_were_secret() -> None:
    def program(sock: socket.socket) -> None:
        # One packet, as the attacker in the middle makes it.
        sock.sendall(b"STARTTLS\nevil command\n")
        assert receive_exactly(sock, 2) == b"go"
        with pytest.raises(OSError):
            tls = as_client(sock)
            tls.sendall(b"hello\n")
            receive_exactly(tls, 1)

    async def main() -> None:
        heard: list[bytes] = []
        failures: list[BaseException] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.readline() == b"STARTTLS\n"
            writer.write(b"go")
            try:
                await writer.start_tls(server_context())
                heard.append(await reader.readline())
            except ssl.SSLError as exc:
                failures.append(exc)
            finally:
                writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            async with calling(program, server.sockets[0].getsockname()):
                pass
        assert not heard
        assert len(failures) == 1

    run(main())


def test_plain_text_behind_the_answer_never_reaches_the_client_as_if_it_were_secret() -> None:
    def program(sock: socket.socket) -> None:
        assert receive_exactly(sock, 8) == b"STARTTLS"
        sock.sendall(b"go\nevil answer\n")
        with pytest.raises(OSError):
            receive_exactly(as_server(sock), 1)

    async def main() -> None:
        peer, address = serving(program)
        async with peer:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"STARTTLS")
            assert await reader.readline() == b"go\n"
            with pytest.raises(ssl.SSLError):
                await writer.start_tls(client_context(), server_hostname=HOST)
            with contextlib.suppress(ssl.SSLError):
                assert await reader.read() == b""

    run(main())


def test_a_client_that_does_not_wait_for_the_answer_is_upgraded_too() -> None:
    def program(sock: socket.socket) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client_context().wrap_bio(incoming, outgoing, server_hostname=HOST)
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        sock.sendall(b"STARTTLS\n" + outgoing.read())
        while True:
            incoming.write(sock.recv(65536))
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                pass
        tls.write(b"hello\n")
        sock.sendall(outgoing.read())
        receive_all(sock)

    async def main() -> None:
        heard: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.readline() == b"STARTTLS\n"
            # By now the beginning of the handshake stands in the reader's buffer.
            await writer.start_tls(server_context())
            heard.append(await reader.readline())
            writer.transport.abort()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            async with calling(program, server.sockets[0].getsockname()):
                pass
        assert heard == [b"hello\n"]

    run(main())


def test_a_reader_that_was_paused_by_plain_text_reads_on() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        left, right = socket.socketpair()
        _, client = await loop.create_connection(Recorder, sock=left)
        reader, writer = await asyncio.open_connection(sock=right, limit=10)
        client.transport.pause_reading()
        above: Any = None

        async def upgrade() -> None:
            nonlocal above
            client.transport.resume_reading()
            above = await start_tls(client.transport, client, client_context())

        # Server and client change places: the writer's end is the server.
        task = asyncio.create_task(upgrade())
        while not getattr(reader, "_paused"):  # noqa: B009  # a private name, and that is the point
            await asyncio.sleep(0.001)
        transport = await loop.start_tls(
            writer.transport, writer.transport.get_protocol(), server_context(), server_side=True
        )
        assert transport is not None
        await task
        above.write(b"hello\n")
        assert await reader.readline() == b"hello\n"
        above.abort()
        await client.lost
        transport.abort()

    run(main())


# Errors


def test_what_cannot_be_upgraded_is_refused_and_left_alone() -> None:
    async def main() -> None:
        async with plain_pair() as (client, served):
            with pytest.raises(TypeError, match=r"expected to be an instance of ssl\.SSLContext, got None"):
                await start_tls(client.transport, client, None)  # type: ignore[arg-type]  # that is what is refused
            with pytest.raises(TypeError, match="is not supported by start_tls"):
                await start_tls(object(), client, client_context())
            with pytest.raises(ValueError, match="ssl_handshake_timeout should be a positive number, got 0"):
                await start_tls(client.transport, client, client_context(), ssl_handshake_timeout=0)
            with pytest.raises(ValueError, match="ssl_shutdown_timeout should be a positive number, got -1"):
                await start_tls(client.transport, client, client_context(), ssl_shutdown_timeout=-1)
            with pytest.raises(ValueError, match="server_hostname is needed"):
                await start_tls(client.transport, client, client_context(), server_hostname=None)
            client.transport.write(b"still plain")
            await served.until(11)
            client.transport.close()
            with pytest.raises(ConnectionAbortedError, match="closed or about to be"):
                await start_tls(client.transport, client, client_context())

    run(main())


def test_a_failed_handshake_closes_the_connection_and_tells_everybody() -> None:
    async def main() -> None:
        async with plain_pair() as (client, served):
            with reports() as told:
                results = await asyncio.gather(
                    start_tls(client.transport, client, client_context()),
                    start_tls(served.transport, served, server_context(OF_ANOTHER_HOST), server_side=True),
                    return_exceptions=True,
                )
            assert isinstance(results[0], ssl.SSLCertVerificationError)
            assert await client.lost is results[0]
            await served.lost
            assert client.events == ["made", "lost"]
            assert served.events[0] == "made"
            assert served.events[-1] == "lost"
            assert not told

    run(main())


def test_an_end_or_a_time_limit_in_the_handshake_is_told_to_the_protocol_too() -> None:
    # asyncio would not: its protocol waits for connection_lost for ever.
    async def main() -> None:
        async with plain_pair() as (client, served):
            with pytest.raises(ConnectionAbortedError, match="longer than"):
                await start_tls(client.transport, client, client_context(), ssl_handshake_timeout=0.005)
            assert isinstance(await client.lost, ConnectionAbortedError)
        async with plain_pair() as (client, served):
            upgrading = asyncio.ensure_future(start_tls(client.transport, client, client_context()))
            await served.until(1)
            served.transport.close()
            with pytest.raises(ConnectionResetError):
                await upgrading
            assert isinstance(await client.lost, ConnectionResetError)

    run(main())


@on_both
def test_a_cancelled_upgrade_closes_the_connection(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        async with plain_pair() as (client, served):
            upgrading = asyncio.ensure_future(start_tls(client.transport, client, client_context()))
            await served.until(1)
            upgrading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await upgrading
            assert client.transport.is_closing()
            assert await served.lost is None
            # asyncio's protocol never hears of its own end.
            if loop_factory is not asyncio.SelectorEventLoop:
                assert await client.lost is None
            elif not client.lost.done():
                client.lost.set_result(None)

    run_on(loop_factory, main())


def test_a_scope_that_cuts_an_upgrade_short_closes_the_connection() -> None:
    async def main() -> None:
        async with plain_pair() as (client, served):
            with nursery.move_on_after(0.005) as scope:
                await start_tls(client.transport, client, client_context())
            assert scope.cancelled_caught
            assert await client.lost is None
            assert await served.lost is None

    run(main())


def test_a_protocol_that_was_told_to_pause_before_is_told_to_go_on_after() -> None:
    async def main() -> None:
        async with plain_pair() as (client, served):
            served.transport.pause_reading()
            while not client.paused.is_set():
                client.transport.write(b"x" * 100_000)
            size = client.transport.get_write_buffer_size()
            assert size > 0
            upgrading = asyncio.ensure_future(start_tls(client.transport, client, client_context()))
            await asyncio.sleep(0)
            served.transport.resume_reading()
            await client.resumed.wait()
            assert client.events == ["made", "pause", "resume"]
            upgrading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await upgrading

    run(main())


# Transports of others


class Relay(asyncio.Transport):
    """A transport somebody has written, over one of the loop's: it knows data_received, and nothing private."""

    _start_tls_compatible = True

    def __init__(self, inner: Any, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self._inner = inner
        self._outer = protocol
        inner.set_protocol(self.Ears(self))

    class Ears(asyncio.Protocol):
        def __init__(self, relay: Relay) -> None:
            self.relay = relay

        def data_received(self, data: bytes) -> None:
            protocol: Any = self.relay._outer
            protocol.data_received(data)

        def eof_received(self) -> bool | None:
            protocol: Any = self.relay._outer
            return bool(protocol.eof_received())

        def connection_lost(self, exc: BaseException | None) -> None:
            protocol: Any = self.relay._outer
            protocol.connection_lost(exc)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._outer = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._outer

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._inner.get_extra_info(name, default)

    def write(self, data: Any) -> None:
        self._inner.write(data)

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        size: int = self._inner.get_write_buffer_size()
        return size

    def is_closing(self) -> bool:
        return bool(self._inner.is_closing())

    def pause_reading(self) -> None:
        self._inner.pause_reading()

    def resume_reading(self) -> None:
        self._inner.resume_reading()

    def close(self) -> None:
        self._inner.close()

    def abort(self) -> None:
        self._inner.abort()


def test_a_transport_of_somebody_elses_may_be_upgraded() -> None:
    async def main() -> None:
        async with plain_pair() as (client, served):
            relay = Relay(client.transport, client)
            above, _ = await asyncio.gather(
                start_tls(relay, client, client_context()),
                start_tls(served.transport, served, server_context(), server_side=True),
            )
            above.write(b"through")
            assert await served.until(7) == b"through"
            assert above.get_extra_info("socket") is not None
            with reports() as told:
                client.data_received = broken  # type: ignore[method-assign]  # an application that fails
                above.set_protocol(client)
                served.transport.get_protocol().transport.write(b"x")
                # It cannot be told why it is to end; the protocol hears it all the same.
                assert isinstance(await client.lost, LookupError)
            assert len(told) == 1

    run(main())


def broken(data: bytes) -> None:
    raise LookupError("broken protocol")


@pytest.mark.parametrize("at_once", [True, False])
def test_a_connection_whose_handshake_failed_goes_without_the_collector(at_once: bool) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        made: list[weakref.ref[Any]] = []

        class Seen(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                made.append(weakref.ref(transport))

        async def fail(sock: socket.socket) -> None:
            made.append(weakref.ref(sock))
            try:
                if at_once:
                    await loop.create_connection(Seen, sock=sock, ssl=client_context(), server_hostname="another.test")
                    return
                transport, protocol = await loop.create_connection(Seen, sock=sock)
                await loop.start_tls(transport, protocol, client_context(), server_hostname="another.test")
            finally:
                transport = protocol = None

        left, right = socket.socketpair()
        _, served = await loop.create_connection(Recorder, sock=right, ssl=None)
        server = asyncio.create_task(start_tls(served.transport, served, server_context(), server_side=True))
        client = asyncio.create_task(fail(left))
        del left
        with pytest.raises(ssl.SSLCertVerificationError):
            await client
        with contextlib.suppress(OSError):
            await server
        del client
        await asyncio.sleep(0)
        assert [each() for each in made] == [None] * len(made)

    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()
