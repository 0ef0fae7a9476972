"""Stream sockets as transports; what asyncio's own loop does with the same program is the measure."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import errno
import gc
import os
import socket
import warnings
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

import pytest

from nursery import compat
from nursery.compat.transports.socket import PATIENCE, RECEIVE, RECEIVE_LARGE, SINGLES, STAY_LARGE
from tests.compat.transports.tls_ends import BufferedRecorder
from tests.compat.two_loops import LoopFactory, on_both, run, run_on

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


@on_both
def test_what_is_there_is_received_before_the_next_turn_but_one_also_if_the_loop_is_busy(
    loop_factory: LoopFactory,
) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        theirs.send(b"early")
        with theirs:
            transport, protocol = await asyncio.get_running_loop().create_connection(Recorder, sock=ours)
            await asyncio.sleep(0)
            assert protocol.data == b"early"
            transport.abort()
            await protocol.lost

    run_on(loop_factory, main())


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


# Pairs of our own loop's


@contextlib.asynccontextmanager
async def pair(
    factory: Callable[[], asyncio.BaseProtocol] | None = None,
) -> AsyncGenerator[tuple[Any, Recorder], None]:
    """A protocol made by `factory`, and a Recorder at the other end of its TCP connection; both are gone at the end."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        left = socket.create_connection(listener.getsockname())
        right, _ = listener.accept()
    _, subject = await loop.create_connection(factory or Recorder, sock=left)
    _, other = await loop.create_connection(Recorder, sock=right)
    try:
        yield subject, other
    finally:
        for protocol in (subject, other):
            transport = protocol.transport  # type: ignore[attr-defined]  # whatever the factory makes
            if not protocol.lost.done():  # type: ignore[attr-defined]  # whatever the factory makes
                transport.abort()
            await protocol.lost  # type: ignore[attr-defined]  # whatever the factory makes


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.0005)


@pytest.mark.parametrize("size", [1, 65535, 65536, 65537, 131007, 131008, 131009, 200_000, 1_000_000])
def test_messages_of_all_sizes_arrive_whole(size: int) -> None:
    # Around the sizes of a receive: whether something is left must never be guessed wrong.
    async def main() -> None:
        async with pair() as (served, client):
            for round_ in range(1, 4):
                client.transport.write(bytes([round_]) * size)
                await until(lambda: len(served.data) >= size)
                assert served.data == bytes([round_]) * size
                served.data.clear()
            # The end right behind.
            client.transport.write(b"x" * size)
            client.transport.close()
            assert await served.lost is None
            assert served.data == b"x" * size

    run(main())


def test_small_messages_after_large_ones_are_received_as_small_ones() -> None:
    async def main() -> None:
        async with pair() as (served, client):
            transport = served.transport
            client.transport.write(b"x" * 300_000)
            await until(lambda: len(served.data) == 300_000)
            assert transport._at_once == RECEIVE_LARGE
            for number in range(STAY_LARGE + 1):
                client.transport.write(b"y")
                await until(lambda: len(served.data) == 300_001 + number)  # noqa: B023  # in the same round
            assert transport._at_once == RECEIVE

    run(main())


def test_an_error_in_connection_made_is_reported_and_the_connection_goes_on() -> None:
    class Broken(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            raise LookupError("broken protocol")

    async def main() -> None:
        reports: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
        async with pair(Broken) as (broken, other):
            assert isinstance(reports[0]["exception"], LookupError)
            other.transport.write(b"hello")
            await until(lambda: broken.data == b"hello")

    run(main())


def test_a_protocol_that_pauses_in_connection_made_gets_nothing() -> None:
    class Paused(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.transport.pause_reading()

    async def main() -> None:
        async with pair(Paused) as (paused, other):
            assert not paused.transport.is_reading()
            other.transport.write(b"hello")
            await asyncio.sleep(0.003)
            assert not paused.data
            paused.transport.resume_reading()
            await until(lambda: paused.data == b"hello")

    run(main())


def test_pausing_and_resuming_over_and_over_queues_one_read() -> None:
    async def main() -> None:
        async with pair() as (served, client):
            served.transport.pause_reading()
            client.transport.write(b"hello")
            await asyncio.sleep(0.003)
            runner = asyncio.get_running_loop().runner  # type: ignore[attr-defined]  # ours has one
            before = len(runner.queue)
            for _ in range(1000):
                served.transport.resume_reading()
                served.transport.pause_reading()
            assert len(runner.queue) <= before + 1
            served.transport.resume_reading()
            await until(lambda: served.data == b"hello")

    run(main())


def test_nothing_is_received_after_close() -> None:
    class Closing(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.close()

    async def main() -> None:
        async with pair(Closing) as (closing, other):
            other.transport.write(b"x" * 1_000_000)
            assert await closing.lost is None
            assert len(closing.data) <= RECEIVE
            assert closing.events == ["made", "lost"]

    run(main())


def test_a_protocol_of_the_other_kind_may_take_over_with_data_waiting() -> None:
    async def main() -> None:
        async with pair() as (served, client):
            transport = served.transport
            transport.pause_reading()
            client.transport.write(b"for the second")
            await asyncio.sleep(0.003)
            buffered = BufferedRecorder(4)
            transport.set_protocol(buffered)
            assert transport.get_protocol() is buffered
            transport.resume_reading()
            await until(lambda: buffered.data == b"for the second")
            transport.set_protocol(served)
            client.transport.write(b"for the first")
            await until(lambda: served.data == b"for the first")

    run(main())


def test_a_buffered_protocol_that_fails_loses_its_connection() -> None:
    class Failing(BufferedRecorder):
        def buffer_updated(self, nbytes: int) -> None:
            raise LookupError("broken protocol")

    for factory, message in (
        (lambda: BufferedRecorder(0), "Fatal error: protocol.get_buffer() call failed."),
        (lambda: Failing(10), "Fatal error: protocol.buffer_updated() call failed."),
    ):

        async def main() -> None:
            reports: list[dict[str, Any]] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
            async with pair(factory) as (failing, other):  # noqa: B023  # run in the same round
                other.transport.write(b"x")
                assert isinstance(await failing.lost, LookupError | RuntimeError)
                assert [report["message"] for report in reports] == [message]  # noqa: B023  # run in the same round

        run(main())


class MethodsOfABufferedProtocol(asyncio.BaseProtocol):
    """Derives from neither class; uvloop looks at the methods, and so do we."""

    def __init__(self) -> None:
        self.buffer = bytearray(5)
        self.data = bytearray()
        self.lost: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data += self.buffer[:nbytes]

    def eof_received(self) -> None:
        self.transport.write(bytes(self.data))

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.set_result(exc)


def test_a_protocol_is_buffered_by_its_methods() -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            _, protocol = await asyncio.get_running_loop().create_connection(MethodsOfABufferedProtocol, sock=ours)
            theirs.sendall(b"hello, world")
            theirs.shutdown(socket.SHUT_WR)
            assert await protocol.lost is None
            assert theirs.recv(100) == b"hello, world"

    run(main())


def test_a_factory_that_returns_nothing_is_an_error_where_it_was_given() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        told: list[Any] = []
        loop.set_exception_handler(lambda _, context: told.append(context))
        factory: Any = lambda: None  # noqa: E731  # what is meant is a function that forgets to return
        ours, theirs = socket.socketpair()
        with theirs:
            with pytest.raises(TypeError, match="the protocol factory returned None"):
                await loop.create_connection(factory, sock=ours)
            assert ours.fileno() == -1
        server = await loop.create_server(factory, "127.0.0.1", 0)
        with socket.create_connection(server.sockets[0].getsockname()) as client:
            client.setblocking(False)
            assert await loop.sock_recv(client, 1) == b""
        server.close()
        (context,) = told
        assert context["message"] == "Error on transport creation for incoming connection"
        assert isinstance(context["exception"], TypeError)

    run(main())


def test_a_list_of_any_length_and_of_views_of_any_kind_is_written() -> None:
    async def main() -> None:
        async with pair() as (served, client):
            pieces: list[Any] = [b"", bytearray(b"a"), memoryview(b"bcde").cast("H"), memoryview(b"f_g_")[::2], b""]
            client.transport.writelines(pieces)
            client.transport.writelines(iter([b"%d," % number for number in range(60_000)]))
            expected = b"abcdefg" + b"".join(b"%d," % number for number in range(60_000))
            await until(lambda: served.data == expected)
            for refused in (["text"], [5], [None]):
                with pytest.raises(TypeError, match="bytes-like"):
                    client.transport.writelines(refused)
            client.transport.write(memoryview(b"123456").cast("H"))
            client.transport.write(memoryview(b"7_8_")[::2])
            await until(lambda: served.data == expected + b"12345678")

    run(main())


def test_a_view_of_wide_items_is_buffered_by_its_bytes() -> None:
    async def main() -> None:
        async with pair() as (served, client):
            served.transport.pause_reading()
            while not client.transport.get_write_buffer_size():
                client.transport.write(b"x" * 1_000_000)
            before = client.transport.get_write_buffer_size()
            client.transport.writelines([memoryview(b"abcdefgh").cast("I")])
            assert client.transport.get_write_buffer_size() == before + 8
            served.transport.resume_reading()
            await until(lambda: served.data[-8:] == b"abcdefgh")
            assert client.transport.get_write_buffer_size() == 0

    run(main())


@pytest.mark.parametrize("how", ["write", "writelines"])
def test_a_slow_reader_grows_no_buffer_past_the_high_mark_and_one_write(how: str) -> None:
    piece = b"x" * 10_000

    async def main() -> None:
        async with pair() as (served, client):
            served.transport.pause_reading()
            transport = client.transport
            _, high = transport.get_write_buffer_limits()
            while "pause" not in client.events:
                if how == "write":
                    transport.write(piece)
                else:
                    transport.writelines([piece[:100], piece[100:]])
                assert transport.get_write_buffer_size() <= high + len(piece)
                await asyncio.sleep(0)
            served.transport.resume_reading()
            await until(lambda: "resume" in client.events)

    run(main())


def test_what_resume_writing_writes_comes_behind_what_was_buffered() -> None:
    class Answering(Recorder):
        def resume_writing(self) -> None:
            super().resume_writing()
            self.transport.write(b"more")
            self.transport.write_eof()

    async def main() -> None:
        async with pair(Answering) as (answering, other):
            other.transport.pause_reading()
            answering.transport.write(b"x" * 9_000_000)
            assert answering.events == ["made", "pause"]
            other.transport.resume_reading()
            await other.lost
            assert len(other.data) == 9_000_004
            assert other.data[-5:] == b"xmore"

    run(main())


def test_one_direction_stays_open_after_the_end_of_the_other() -> None:
    async def main() -> None:
        async with pair() as (served, client):
            served.keep_open = True
            client.transport.write_eof()
            await until(lambda: "eof" in served.events)
            served.transport.pause_reading()
            served.transport.resume_reading()
            for _ in range(3):
                served.transport.write(b"still here")
                await asyncio.sleep(0.001)
            assert client.data == b"still here" * 3
            client.transport.write_eof()
            with pytest.raises(RuntimeError, match="writelines"):
                client.transport.writelines([b"x"])
            served.transport.close()
            assert await client.lost is None

    run(main())


def test_a_descriptor_that_was_closed_behind_the_loops_back_is_an_error_of_the_connection() -> None:
    async def main() -> None:
        async with pair() as (served, client):
            os.close(client.transport._sock_fd)
            client.transport.write(b"x")
            exc = await client.lost
            assert isinstance(exc, OSError)
            assert exc.errno == errno.EBADF
            assert await served.lost is None

    run(main())


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_who_gets_the_number_of_a_socket_that_was_closed_behind_the_loops_back_is_not_refused(
    kind: socket.SocketKind,
) -> None:
    class Both(Recorder, asyncio.DatagramProtocol):
        pass

    async def main() -> None:
        loop = asyncio.get_running_loop()
        protocol: Any
        if kind == socket.SOCK_STREAM:
            closed, peer = socket.socketpair()
            _, protocol = await loop.create_connection(Recorder, sock=closed)
        else:
            closed, peer = socket.socketpair(type=socket.SOCK_DGRAM)
            _, protocol = await loop.create_datagram_endpoint(Both, sock=closed)
        number = closed.fileno()
        with peer, socket.socket() as free:
            server: Any = await loop.create_server(Recorder, "127.0.0.1", 0)
            with free:
                closed.close()
                os.dup2(free.fileno(), number)
            sock = socket.socket(fileno=number)
            sock.setblocking(False)
            await loop.sock_connect(sock, server.sockets[0].getsockname())
            exc = await protocol.lost
            assert isinstance(exc, OSError)
            assert exc.errno == errno.EBADF
            transport, _ = await loop.create_connection(Recorder, sock=sock)
            transport.abort()
            server.close()
            server.close_clients()
            await asyncio.sleep(0.001)

    run(main())


def test_one_context_serves_a_connection_from_beginning_to_end() -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")

    class Named(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.events.append(name.get())
            name.set("somebody")

        def data_received(self, data: bytes) -> None:
            self.events.append(name.get())

        def connection_lost(self, exc: BaseException | None) -> None:
            self.events.append(name.get())
            super().connection_lost(exc)

    async def main() -> None:
        name.set("whoever connects")
        async with pair(Named) as (named, other):
            other.transport.write(b"x")
            await until(lambda: len(named.events) > 2)
            named.transport.close()
            await named.lost
            assert named.events == ["made", "whoever connects", "somebody", "somebody", "lost"]
            assert name.get() == "whoever connects"

    run(main())


def test_writing_to_a_lost_connection_is_noted_from_the_fifth_time_on(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with pair() as (_, client):
            client.transport.abort()
            await client.lost
            for _ in range(4):
                client.transport.write(b"x")
            assert not caplog.records
            client.transport.writelines([b"x", b"y"])

    run(main())
    assert "socket.send() raised exception" in caplog.text


def test_a_transport_that_is_forgotten_warns() -> None:
    async def main() -> None:
        left, right = socket.socketpair()
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=left)
        right.close()
        transport.pause_reading()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        compat.run(main())
        gc.collect()
    assert any("unclosed transport <SocketTransport open" in str(warning.message) for warning in caught)


def test_a_lost_connection_leaves_no_garbage() -> None:
    class Keeping(Recorder):
        """Keeps its transport for ever."""

    async def main() -> None:
        async with pair(Keeping) as (keeping, other):
            other.transport.write(b"x")
            await until(lambda: keeping.data)
            other.transport.close()
            await keeping.lost
            seen = [weakref.ref(keeping), weakref.ref(keeping.transport)]
        # What the block has bound is still there.
        keeping = other = None  # type: ignore[assignment]  # see above
        await asyncio.sleep(0)
        assert [ref() for ref in seen] == [None, None]

    gc.collect()
    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()


def test_the_transport_answers_to_the_names_that_libraries_look_for() -> None:
    async def main() -> None:
        async with pair() as (served, _):
            transport = served.transport
            assert issubclass(type(transport), asyncio.Transport)
            assert transport.loop is asyncio.get_running_loop()
            assert transport._start_tls_compatible
            assert transport._sock.fileno() == transport._sock_fd
            assert "open fd=" in repr(transport)
            assert transport.get_extra_info("socket").fileno() == transport._sock_fd
            # Users may put something on it.
            transport.note = "mine"

    run(main())


# Gathering


class TwoWrites(Recorder):
    """Answers each request by so many writes."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces = [b"head ", b"body\n"]

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        for piece in self.pieces:
            self.transport.write(piece)


def count_system_calls(sock: socket.socket) -> Any:
    """A socket that counts what is sent by it."""

    class Counting:
        def __init__(self) -> None:
            self.sends = 0

        def send(self, data: Any) -> int:
            self.sends += 1
            return sock.send(data)

        def sendmsg(self, buffers: Any) -> int:
            self.sends += 1
            return sock.sendmsg(buffers)

        def __getattr__(self, name: str) -> Any:
            return getattr(sock, name)

    return Counting()


@contextlib.asynccontextmanager
async def counted_pair(factory: Callable[[], asyncio.BaseProtocol]) -> AsyncGenerator[tuple[Any, Any, Any], None]:
    """As `pair`; and what counts the system calls by which the protocol's transport sends."""
    async with pair(factory) as (subject, other):
        transport = subject.transport
        counting = count_system_calls(transport._sock)
        transport._sock = counting
        transport._send = counting.send
        yield subject, other, counting


async def ask(server: Any, client: Any, expected: bytes) -> None:
    """Send a request and wait for the answer."""
    before = len(client.data)
    client.transport.write(b"?")
    await until(lambda: len(client.data) == before + len(expected))
    assert client.data[before:] == expected


def test_the_writes_of_an_answer_are_sent_together_once_there_were_two() -> None:
    async def main() -> None:
        async with counted_pair(TwoWrites) as (server, client, counting):
            for _ in range(10):
                await ask(server, client, b"head body\n")
            # The first answer taught it.
            assert counting.sends == 11
            server.pieces = [b"one", b"two", b"three"]
            await ask(server, client, b"onetwothree")
            assert counting.sends == 12

    run(main())


def test_a_protocol_that_writes_once_is_never_delayed() -> None:
    async def main() -> None:
        async with counted_pair(TwoWrites) as (server, client, counting):
            server.pieces = [b"all of it"]
            for round_ in range(1, 10):
                await ask(server, client, b"all of it")
                assert counting.sends == round_
                assert not server.transport._gathering

    run(main())


def test_a_protocol_that_stops_writing_twice_is_not_delayed_any_more() -> None:
    async def main() -> None:
        async with counted_pair(TwoWrites) as (server, client, _):
            await ask(server, client, b"head body\n")
            assert server.transport._gathering
            server.pieces = [b"one"]
            for _ in range(SINGLES):
                await ask(server, client, b"one")
            assert not server.transport._gathering
            server.pieces = [b"head ", b"body\n"]
            for _ in range(PATIENCE):
                await ask(server, client, b"head body\n")
                assert not server.transport._gathering
            await ask(server, client, b"head body\n")
            assert server.transport._gathering

    run(main())


def test_what_is_gathered_counts_as_buffered_and_pauses_nobody_below_the_mark() -> None:
    async def main() -> None:
        async with counted_pair(Recorder) as (writer, reader, counting):
            transport = writer.transport
            transport.write(b"first")
            transport.write(b"second")
            assert transport.get_write_buffer_size() == 6
            transport.writelines([b"third", b"fourth"])
            assert transport.get_write_buffer_size() == 17
            assert counting.sends == 1
            await asyncio.sleep(0)
            assert transport.get_write_buffer_size() == 0
            assert counting.sends == 2
            await until(lambda: reader.data == b"firstsecondthirdfourth")
            # Whoever wants nothing buffered gets nothing gathered.
            transport.set_write_buffer_limits(0)
            transport.write(b"x")
            assert transport.get_write_buffer_size() == 0
            assert writer.events == ["made"]

    run(main())


def test_much_is_not_gathered() -> None:
    async def main() -> None:
        async with counted_pair(Recorder) as (writer, reader, counting):
            transport = writer.transport
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1_000_000)
            for _ in range(2):
                transport.write(b"x")
            assert transport._gathering
            transport.write(b"y" * RECEIVE)
            # With what was gathered before it.
            assert counting.sends == 2
            assert transport.get_write_buffer_size() == 0
            transport.writelines([b"z" * 200_000, b"z" * 200_000])
            assert counting.sends >= 3
            await until(lambda: reader.data == b"xx" + b"y" * RECEIVE + b"z" * 400_000)

    run(main())


@pytest.mark.parametrize("end", ["close", "write_eof", "abort"])
def test_what_is_gathered_is_sent_before_the_end(end: str) -> None:
    async def main() -> None:
        async with counted_pair(Recorder) as (writer, reader, _):
            writer.transport.write(b"first ")
            writer.transport.write(b"second ")
            writer.transport.write(b"third")
            getattr(writer.transport, end)()
            await until(lambda: "eof" in reader.events)
            assert reader.data == b"first second third"

    run(main())


def test_a_connection_that_is_lost_with_something_gathered_is_told_once() -> None:
    async def main() -> None:
        async with counted_pair(Recorder) as (writer, _, _):
            writer.transport.write(b"first ")
            writer.transport.write(b"second ")
            os.close(writer.transport._sock_fd)
            exc = await writer.lost
            assert isinstance(exc, OSError)
            assert exc.errno == errno.EBADF
            assert writer.events == ["made", "lost"]

    run(main())
