"""TCP transports and servers; what asyncio's own loop does with the same program is the measure."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from nursery import compat

BIG = 3_000_000


class Recorder(asyncio.Protocol):
    """Writes down what a transport tells it."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.data = bytearray()
        self.lost: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self.arrived = asyncio.Event()
        self.keep_open = False
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.arrived.set()

    def eof_received(self) -> bool:
        self.events.append("eof")
        self.arrived.set()
        return self.keep_open

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.events.append("lost")
        self.lost.set_result(exc)


Program = Callable[[Any, Any], Coroutine[Any, Any, list[str]]]


def on_both_loops(program: Program) -> None:
    """Run `program(server_protocol, client_protocol)`, connected, on asyncio's loop and on ours: same events."""

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        accepted: asyncio.Future[Recorder] = loop.create_future()

        def factory() -> Recorder:
            protocol = Recorder()
            accepted.set_result(protocol)
            return protocol

        server = await loop.create_server(factory, "127.0.0.1", 0)
        _, client = await loop.create_connection(Recorder, *server.sockets[0].getsockname())
        served = await accepted
        while served.transport is None:
            await asyncio.sleep(0)
        try:
            return await asyncio.wait_for(program(served, client), 5)
        finally:
            for protocol in (served, client):
                # asyncio's transport cannot be aborted once it is lost.
                if not protocol.lost.done():
                    protocol.transport.abort()
                await protocol.lost
            server.close()
            await server.wait_closed()

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        expected = runner.run(main())
    assert compat.run(main()) == expected
    assert expected


def test_data_goes_to_and_fro() -> None:
    async def program(served: Any, client: Any) -> list[str]:
        client.transport.write(b"ping")
        await served.arrived.wait()
        served.transport.writelines([b"po", bytearray(b"n"), memoryview(b"g")])
        while len(client.data) < 4:
            await asyncio.sleep(0)
        return [served.data.decode(), client.data.decode(), *served.events, *client.events]

    on_both_loops(program)


def test_close_sends_what_is_buffered_first() -> None:
    async def program(served: Any, client: Any) -> list[str]:
        client.transport.write(b"x" * BIG)
        client.transport.write(b"y" * BIG)
        assert client.transport.get_write_buffer_size() > 0
        client.transport.close()
        assert client.transport.is_closing()
        assert await client.lost is None
        assert await served.lost is None
        assert bytes(served.data) == b"x" * BIG + b"y" * BIG
        return [*served.events, *client.events]

    on_both_loops(program)


def test_abort_loses_what_is_buffered_and_tells_once() -> None:
    async def program(served: Any, client: Any) -> list[str]:
        served.transport.pause_reading()
        client.transport.write(b"x" * BIG * 3)
        client.transport.abort()
        client.transport.abort()
        client.transport.close()
        assert client.transport.get_write_buffer_size() == 0
        assert await client.lost is None
        return list(client.events)

    on_both_loops(program)


def test_write_eof_is_sent_after_the_data_and_the_other_direction_stays_open() -> None:
    async def program(served: Any, client: Any) -> list[str]:
        served.keep_open = True
        client.transport.write(b"z" * BIG)
        assert client.transport.can_write_eof()
        client.transport.write_eof()
        with pytest.raises(RuntimeError, match="after write_eof"):
            client.transport.write(b"more")
        while "eof" not in served.events:
            await asyncio.sleep(0.001)
        assert len(served.data) == BIG
        served.transport.write(b"still here")
        await client.arrived.wait()
        served.transport.close()
        await client.lost
        return [client.data.decode(), *served.events, *client.events]

    on_both_loops(program)


def test_the_protocol_is_paused_above_the_high_mark_and_resumed_at_the_low_one() -> None:
    async def program(served: Any, client: Any) -> list[str]:
        client.transport.set_write_buffer_limits(high=1000, low=100)
        limits = client.transport.get_write_buffer_limits()
        served.transport.pause_reading()
        while "pause" not in client.events:
            client.transport.write(b"x" * 100_000)
        served.transport.resume_reading()
        while "resume" not in client.events:
            await asyncio.sleep(0.001)
        return [*map(str, limits), *client.events]

    on_both_loops(program)


def test_paused_reading_delivers_nothing_until_resumed() -> None:
    async def program(served: Any, client: Any) -> list[str]:
        served.transport.pause_reading()
        states = [served.transport.is_reading()]
        client.transport.write(b"waiting")
        await asyncio.sleep(0.005)
        assert not served.data
        served.transport.resume_reading()
        states.append(served.transport.is_reading())
        await served.arrived.wait()
        return [served.data.decode(), *map(str, states)]

    on_both_loops(program)


def test_data_and_fin_in_one_packet_are_both_seen() -> None:
    async def program(served: Any, client: Any) -> list[str]:
        served.transport.pause_reading()
        client.transport.write(b"last words")
        client.transport.close()
        await client.lost
        await asyncio.sleep(0.002)
        served.transport.resume_reading()
        await served.lost
        return [served.data.decode(), *served.events]

    on_both_loops(program)


def test_a_reset_is_told_as_an_error() -> None:
    async def program(served: Any, client: Any) -> list[str]:
        sock = client.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        client.transport.abort()
        exc = await served.lost
        return [type(exc).__name__, *served.events]

    on_both_loops(program)


def test_a_protocol_that_raises_loses_its_connection() -> None:
    async def program(served: Any, client: Any) -> list[str]:
        reports: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))

        def broken(data: bytes) -> None:
            raise LookupError("broken protocol")

        served.transport.pause_reading()
        served.data_received = broken
        served.transport.set_protocol(served)
        served.transport.resume_reading()
        client.transport.write(b"x")
        exc = await served.lost
        return [repr(exc), *(report["message"] for report in reports)]

    on_both_loops(program)


def test_what_is_no_bytes_is_refused() -> None:
    async def program(served: Any, client: Any) -> list[str]:
        with pytest.raises(TypeError, match="bytes"):
            client.transport.write("text")
        return ["refused"]

    on_both_loops(program)


def test_extra_info_names_both_ends() -> None:
    async def program(served: Any, client: Any) -> list[str]:
        assert client.transport.get_extra_info("peername") == served.transport.get_extra_info("sockname")
        assert client.transport.get_extra_info("sockname") == served.transport.get_extra_info("peername")
        assert client.transport.get_extra_info("nothing", 5) == 5
        sock = client.transport.get_extra_info("socket")
        return [type(sock).__name__, str(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0)]

    on_both_loops(program)


def test_a_bytearray_may_be_changed_after_write() -> None:
    async def program(served: Any, client: Any) -> list[str]:
        served.transport.pause_reading()
        client.transport.write(b"a" * BIG * 3)
        data = bytearray(b"good")
        client.transport.writelines([data])
        data[:] = b"evil"
        served.transport.resume_reading()
        while len(served.data) < BIG * 3 + 4:
            await asyncio.sleep(0.001)
        return [served.data[-4:].decode()]

    # asyncio's own transports keep a view; ours copies: only ours is asked.
    async def main() -> None:
        loop = asyncio.get_running_loop()
        left, right = socket.socketpair()
        _, served = await loop.create_connection(Recorder, sock=left)
        _, client = await loop.create_connection(Recorder, sock=right)
        assert await program(served, client) == ["good"]
        client.transport.close()
        await served.lost
        await client.lost

    compat.run(main())


def test_a_buffered_protocol_receives_into_its_own_buffer() -> None:
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.buffer = bytearray(4)
            self.got = bytearray()
            self.lost = asyncio.get_running_loop().create_future()

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.got += self.buffer[:nbytes]

        def connection_lost(self, exc: BaseException | None) -> None:
            self.lost.set_result(exc)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        left, right = socket.socketpair()
        _, protocol = await loop.create_connection(Buffered, sock=left)
        right.sendall(b"more than four bytes")
        right.close()
        await protocol.lost
        assert protocol.got == b"more than four bytes"

    compat.run(main())


def test_a_server_counts_its_connections() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Recorder, "127.0.0.1", 0, start_serving=False)
        assert not server.is_serving()
        await server.start_serving()
        assert server.is_serving()
        assert server.get_loop() is loop
        (sock,) = server.sockets
        transport, client = await loop.create_connection(Recorder, *sock.getsockname())
        await asyncio.sleep(0.002)
        server.close()
        server.close()
        assert server.sockets == ()
        assert not server.is_serving()
        transport.close()
        await client.lost
        await asyncio.wait_for(server.wait_closed(), 1)

    compat.run(main())


def test_serve_forever_ends_when_cancelled_and_closes_the_server() -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Recorder, "127.0.0.1", 0)
        serving = asyncio.create_task(server.serve_forever())
        await asyncio.sleep(0)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert server.sockets == ()

    compat.run(main())


def test_a_bind_error_names_the_address() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Recorder, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(OSError, match=rf"127\.0\.0\.1', {port}") as caught:
            await loop.create_server(Recorder, "127.0.0.1", port)
        assert caught.value.errno == errno.EADDRINUSE
        server.close()
        await server.wait_closed()

    compat.run(main())


def test_a_refused_connection_raises() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        with pytest.raises(ExceptionGroup):
            await asyncio.get_running_loop().create_connection(Recorder, "127.0.0.1", port, **ALL_ERRORS)

    compat.run(main())


ALL_ERRORS: dict[str, Any] = {"all_errors": True}


def test_local_addr_and_happy_eyeballs_are_honoured() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Recorder, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        transport, client = await loop.create_connection(
            Recorder, host, port, local_addr=("127.0.0.1", 0), happy_eyeballs_delay=0.1
        )
        assert transport.get_extra_info("sockname")[0] == "127.0.0.1"
        transport.close()
        await client.lost
        server.close()
        await server.wait_closed()

    compat.run(main())


def test_many_connections_at_once_are_all_accepted() -> None:
    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            writer.close()
            await writer.wait_closed()

        async def ask(number: int) -> bytes:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"%d\n" % number)
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            return answer

        server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=50)
        address = server.sockets[0].getsockname()
        answers = await asyncio.gather(*[ask(number) for number in range(50)])
        assert answers == [b"%d\n" % number for number in range(50)]
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.002)

    compat.run(main())
