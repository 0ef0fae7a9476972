"""The facade's streams over sockets: connections, servers, flow control, ends of every kind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import struct
import tempfile
from collections.abc import AsyncGenerator
from typing import Any

import pytest

import nursery
from nursery import compat
from nursery.compat.stream import StreamReader, StreamReaderProtocol, StreamWriter
from tests.compat.test_streams import on_ours, turns
from tests.compat.transports.tls_ends import receive_exactly, reports

HOST = "127.0.0.1"
# What one receive brings at most, see transports/socket.py.
ONE_RECEIVE = 128 * 1024
HIGH_MARK = 64 * 1024


class Served:
    """A server whose callback hands its first streams over, and stays until `end`."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.streams: asyncio.Future[tuple[Any, Any]] = loop.create_future()
        self.end = asyncio.Event()

    async def __call__(self, reader: Any, writer: Any) -> None:
        self.streams.set_result((reader, writer))
        await self.end.wait()


@contextlib.asynccontextmanager
async def connected(*, limit: int = 2**16, unix: bool = False) -> AsyncGenerator[tuple[Any, Any, Any, Any], None]:
    """Connect two ends: reader and writer of the client, reader and writer of the server."""
    served = Served()
    with tempfile.TemporaryDirectory() as folder:
        if unix:
            path = os.path.join(folder, "socket")
            server: Any = await compat.start_unix_server(served, path, limit=limit)
            reader, writer = await compat.open_unix_connection(path, limit=limit)
        else:
            server = await compat.start_server(served, HOST, 0, limit=limit)
            reader, writer = await compat.open_connection(*server.sockets[0].getsockname(), limit=limit)
        async with server:
            far_reader, far_writer = await served.streams
            try:
                yield reader, writer, far_reader, far_writer
            finally:
                for each in (writer, far_writer):
                    each.transport.abort()
                served.end.set()
                server.close()


@contextlib.asynccontextmanager
async def against_a_socket(*, limit: int = 2**16) -> AsyncGenerator[tuple[Any, Any, socket.socket], None]:
    """Connect to a plain blocking socket, which this thread holds: reader, writer, socket."""
    with socket.create_server((HOST, 0)) as listener:
        reader, writer = await compat.open_connection(*listener.getsockname(), limit=limit)
        sock, _ = listener.accept()
    with sock:
        sock.settimeout(5)
        try:
            yield reader, writer, sock
        finally:
            writer.transport.abort()
            await turns(2)


def reset(sock: socket.socket) -> None:
    """Close a socket so that its peer sees a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


on_both_families = pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])


# To and fro


@on_both_families
def test_data_goes_to_and_fro(unix: bool) -> None:
    async def main() -> None:
        async with connected(unix=unix) as (reader, writer, far_reader, far_writer):
            for each, kind in ((reader, StreamReader), (far_reader, StreamReader)):
                assert type(each) is kind
            assert type(writer) is type(far_writer) is StreamWriter
            writer.write(b"one\n")
            writer.writelines([b"two\n", b"three\n"])
            await writer.drain()
            assert [await far_reader.readline() for _ in range(3)] == [b"one\n", b"two\n", b"three\n"]
            far_writer.write(bytes(300_000))
            await far_writer.drain()
            assert await reader.readexactly(300_000) == bytes(300_000)

    on_ours(main)


def test_a_writer_tells_what_is_known_of_the_connection() -> None:
    async def main() -> None:
        async with connected() as (reader, writer, _, far_writer):
            assert writer.get_extra_info("peername") == far_writer.get_extra_info("sockname")
            assert writer.get_extra_info("no such thing", "default") == "default"
            assert writer.transport is writer._transport
            assert reader._transport is writer.transport
            assert repr(writer) == f"<StreamWriter transport={writer.transport!r} reader={reader!r}>"

    on_ours(main)


@on_both_families
def test_one_direction_can_be_ended_while_the_other_goes_on(unix: bool) -> None:
    async def main() -> None:
        async with connected(unix=unix) as (reader, writer, far_reader, far_writer):
            assert writer.can_write_eof()
            writer.write(b"the question")
            writer.write_eof()
            assert await far_reader.read() == b"the question"
            assert far_reader.at_eof()
            far_writer.write(b"the answer")
            await far_writer.drain()
            assert await reader.readexactly(10) == b"the answer"
            with pytest.raises(RuntimeError, match=r"after write_eof\(\)"):
                writer.write(b"more")

    on_ours(main)


def test_the_limit_of_a_connection_is_that_of_its_readers() -> None:
    async def main() -> None:
        async with connected(limit=7) as (reader, writer, far_reader, _):
            assert reader._limit == far_reader._limit == 7
            writer.write(b"a line too long\nfine\n")
            with pytest.raises(ValueError, match="limit"):
                await far_reader.readline()

    on_ours(main)


def test_options_go_on_to_the_loop() -> None:
    async def main() -> None:
        with socket.create_server((HOST, 0)) as listener:
            async with await compat.start_server(lambda *_: None, sock=listener, start_serving=False) as server:
                assert not server.is_serving()
        with pytest.raises(TypeError, match="no_such_option"):
            await compat.open_connection(HOST, 1, no_such_option=1)

    on_ours(main)


def test_a_refused_connection_is_an_error() -> None:
    async def main() -> None:
        with socket.create_server((HOST, 0)) as listener:
            address = listener.getsockname()
        with pytest.raises(ConnectionRefusedError):
            await compat.open_connection(*address)

    on_ours(main)


def test_connecting_that_a_scope_ends_leaves_nothing_open() -> None:
    async def main() -> None:
        with socket.create_server((HOST, 0)) as listener:
            for turn in range(4):
                with nursery.CancelScope() as scope:
                    async with nursery.open_nursery() as group:
                        opening: Any = compat.open_connection
                        group.start_soon(opening, *listener.getsockname())
                        await turns(turn)
                        scope.cancel()
            await turns(3)
            gc.collect()
            listener.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                while True:
                    with listener.accept()[0] as sock:
                        sock.settimeout(1)
                        assert sock.recv(1) == b""

    on_ours(main)


def test_outside_of_a_loop_of_ours_connecting_is_an_error() -> None:
    opening = compat.open_connection(HOST, 1)
    with pytest.raises(RuntimeError, match="no running event loop"):
        opening.send(None)
    with pytest.raises(RuntimeError, match=r"compat\.run"):
        asyncio.run(compat.open_connection(HOST, 1))


def test_a_pipe_can_be_read_by_a_reader_and_its_protocol() -> None:
    async def main() -> None:
        end, other = os.pipe()
        reader = StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: StreamReaderProtocol(reader), open(end, "rb", 0))
        os.write(other, b"through a pipe\n")
        os.close(other)
        assert [line async for line in reader] == [b"through a pipe\n"]

    on_ours(main)


# A server's callback


def test_a_plain_callback_gets_the_streams_at_once() -> None:
    async def main() -> None:
        got: list[tuple[Any, Any]] = []
        async with await compat.start_server(lambda *streams: got.append(streams), HOST, 0) as server:
            _, writer = await compat.open_connection(*server.sockets[0].getsockname())
            while not got:
                await asyncio.sleep(0)
            far_reader, far_writer = got.pop()
            assert type(far_reader) is StreamReader
            # The program has it now.
            assert far_writer._protocol._strong_reader is None
            writer.write(b"hello")
            assert await far_reader.read(10) == b"hello"
            writer.close()
            far_writer.close()
            await writer.wait_closed()

    on_ours(main)


def test_a_callback_is_run_in_a_task_of_its_own_for_each_connection() -> None:
    async def main() -> None:
        tasks: set[Any] = set()

        async def serve(reader: Any, writer: Any) -> None:
            tasks.add(asyncio.current_task())
            writer.write(await reader.readline())
            writer.close()

        async with await compat.start_server(serve, HOST, 0) as server:

            async def ask(number: int) -> None:
                reader, writer = await compat.open_connection(*server.sockets[0].getsockname())
                writer.write(b"%d\n" % number)
                assert await reader.read() == b"%d\n" % number
                writer.close()
                await writer.wait_closed()

            async with compat.TaskGroup() as group:
                for number in range(5):
                    group.create_task(ask(number))
        assert len(tasks) == 5

    on_ours(main)


async def end_of_first_connection(callback: Any) -> list[dict[str, Any]]:
    """Connect to a server with that callback, wait until it hangs up, and return what was reported."""
    with reports() as told:
        async with await compat.start_server(callback, HOST, 0) as server:
            reader, writer = await compat.open_connection(*server.sockets[0].getsockname())
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
    return told


def test_a_plain_function_that_fails_is_reported_and_its_connection_closed() -> None:
    async def main() -> None:
        def serve(reader: Any, writer: Any) -> None:
            kept.append(writer)
            raise ValueError("no service")

        kept: list[Any] = []
        [report] = await end_of_first_connection(serve)
        assert report["message"] == "Unhandled exception in client_connected_cb"
        assert repr(report["exception"]) == "ValueError('no service')"
        assert kept[0].is_closing()

    on_ours(main)


def test_a_callback_that_fails_is_reported_and_its_connection_closed() -> None:
    async def main() -> None:
        async def serve(reader: Any, writer: Any) -> None:
            kept.append(writer)
            raise ValueError("no service")

        kept: list[Any] = []
        [report] = await end_of_first_connection(serve)
        assert report["message"] == "Unhandled exception in client_connected_cb"
        assert repr(report["exception"]) == "ValueError('no service')"
        assert report["transport"] is kept[0].transport

    on_ours(main)


def test_a_callback_that_is_cancelled_closes_its_connection_and_nothing_is_reported() -> None:
    async def main() -> None:
        async def serve(reader: Any, writer: Any) -> None:
            kept.append(writer)
            task: Any = asyncio.current_task()
            task.cancel()
            await asyncio.sleep(1)

        kept: list[Any] = []
        assert await end_of_first_connection(serve) == []
        assert kept[0].is_closing()

    on_ours(main)


@pytest.mark.filterwarnings("ignore:unclosed <StreamWriter:ResourceWarning")
def test_a_plain_callback_that_fails_is_reported_and_its_connection_closed() -> None:
    async def main() -> None:
        def serve(reader: Any, writer: Any) -> None:
            raise ValueError("no service")

        async def collected(reader: Any) -> None:
            # The error's traceback holds the writer.
            while not reader.at_eof():
                told.clear()
                gc.collect()
                await asyncio.sleep(0.001)

        with reports() as told:
            async with await compat.start_server(serve, HOST, 0) as server:
                reader, writer = await compat.open_connection(*server.sockets[0].getsockname())
                while not told:
                    await asyncio.sleep(0)
                assert repr(told[0]["exception"]) == "ValueError('no service')"
                task = asyncio.create_task(collected(reader))
                assert await reader.read() == b""
                await task
                writer.close()

    on_ours(main)


def test_a_server_that_is_closed_leaves_its_connections_alone() -> None:
    async def main() -> None:
        served = Served()
        server = await compat.start_server(served, HOST, 0)
        reader, writer = await compat.open_connection(*server.sockets[0].getsockname())
        _, far_writer = await served.streams
        server.close()
        assert not server.is_serving()
        far_writer.write(b"still here")
        assert await reader.read(100) == b"still here"
        far_writer.close()
        writer.close()
        await server.wait_closed()
        served.end.set()

    on_ours(main)


def test_a_forgotten_writer_of_a_server_closes_its_connection_and_warns() -> None:
    async def main() -> None:
        async def serve(reader: Any, writer: Any) -> None:
            writer.write(b"bye")

        async def visit() -> bytes:
            async with await compat.start_server(serve, HOST, 0) as server:
                reader, writer = await compat.open_connection(*server.sockets[0].getsockname())
                said = await reader.read()
                writer.close()
                await writer.wait_closed()
                return said

        with pytest.warns(ResourceWarning, match="unclosed <StreamWriter"):
            assert await visit() == b"bye"

    on_ours(main)


def test_a_forgotten_writer_of_a_client_closes_its_connection_and_warns() -> None:
    async def main() -> None:
        with socket.create_server((HOST, 0)) as listener:
            streams: list[Any] = [await compat.open_connection(*listener.getsockname())]
            with listener.accept()[0] as sock:
                sock.settimeout(5)
                with pytest.warns(ResourceWarning, match="unclosed <StreamWriter"):
                    streams.clear()
                await turns(2)
                assert sock.recv(1) == b""

    on_ours(main)


def test_what_comes_for_a_reader_that_is_gone_is_dropped() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server((HOST, 0)) as listener:
            protocol = StreamReaderProtocol(StreamReader())
            transport, _ = await loop.create_connection(lambda: protocol, *listener.getsockname())
            gc.collect()
            with listener.accept()[0] as sock:
                sock.sendall(b"for nobody")
            closed: Any = protocol
            await turns(3)
            transport.close()
            await closed._closed

    on_ours(main)


# Flow control


def test_drain_waits_until_the_peer_has_taken_enough() -> None:
    async def main() -> None:
        async with against_a_socket() as (_, writer, sock):
            written = 0
            while not writer.transport.get_write_buffer_size():
                writer.write(bytes(HIGH_MARK))
                written += HIGH_MARK
                # What several writes have gathered is sent a turn later.
                await turns(2)
            writer.write(bytes(2 * HIGH_MARK))
            written += 2 * HIGH_MARK
            drains = [asyncio.create_task(writer.drain()) for _ in range(3)]
            await turns(5)
            assert not any(drain.done() for drain in drains)
            taken = 0
            while not all(drain.done() for drain in drains):
                taken += len(sock.recv(HIGH_MARK))
                await turns(3)
            assert writer.transport.get_write_buffer_size() <= HIGH_MARK // 4
            while taken < written:
                taken += len(await asyncio.to_thread(sock.recv, written - taken))

    on_ours(main)


def test_a_writer_that_drains_holds_no_more_than_the_high_mark_and_one_write() -> None:
    async def main() -> None:
        size, most = 40_000, 0

        async with against_a_socket() as (_, writer, sock):

            async def write() -> None:
                nonlocal most
                for number in range(200):
                    writer.write(bytes([number]) * size)
                    most = max(most, writer.transport.get_write_buffer_size())
                    await writer.drain()

            task = asyncio.create_task(write())
            for number in range(200):
                assert await asyncio.to_thread(receive_exactly, sock, size) == bytes([number]) * size
            await task
        assert HIGH_MARK < most <= HIGH_MARK + size

    on_ours(main)


@pytest.mark.parametrize("limit", [1000, 100_000])
def test_a_slow_reader_holds_no_more_than_twice_the_limit_and_one_receive(limit: int) -> None:
    async def main() -> None:
        size, most, got = 4_000_000, 0, 0
        async with connected(limit=limit) as (_, writer, far_reader, _far_writer):

            async def write() -> None:
                for _ in range(size // 50_000):
                    writer.write(bytes(50_000))
                    await writer.drain()
                writer.write_eof()

            task = asyncio.create_task(write())
            while data := await far_reader.read(limit // 2):
                got += len(data)
                most = max(most, len(far_reader._buffer) + len(data))
                await asyncio.sleep(0)
            await task
        assert got == size
        assert limit < most <= 2 * limit + ONE_RECEIVE

    on_ours(main)


def test_a_reader_that_has_stopped_stops_the_writer() -> None:
    async def main() -> None:
        async with connected(limit=1000) as (_, writer, far_reader, _far_writer):
            with nursery.move_on_after(0.1) as scope:
                while True:
                    writer.write(bytes(50_000))
                    await writer.drain()
            assert scope.cancelled_caught
            assert len(far_reader._buffer) <= 2 * 1000 + ONE_RECEIVE
            assert writer.transport.get_write_buffer_size() <= HIGH_MARK + 50_000
            assert "paused" in repr(far_reader)

    on_ours(main)


@pytest.mark.parametrize("how", ["scope", "edge"])
def test_a_drain_that_is_cancelled_loses_nothing_that_was_written(how: str) -> None:
    async def main() -> None:
        async with connected() as (_, writer, far_reader, _far_writer):
            far_reader._transport.pause_reading()
            written = b""
            number = 0
            while writer.transport.get_write_buffer_size() <= HIGH_MARK:
                number += 1
                piece = number.to_bytes(4, "big") * 8192
                writer.write(piece)
                written += piece
            if how == "scope":
                with nursery.move_on_after(0.002) as scope:
                    await writer.drain()
                assert scope.cancelled_caught
            else:
                with pytest.raises(TimeoutError):
                    await compat.wait_for(writer.drain(), 0.002)
            writer.write(b"and the end")
            far_reader._transport.resume_reading()
            assert await far_reader.readexactly(len(written) + 11) == written + b"and the end"
            await writer.drain()

    on_ours(main)


@pytest.mark.parametrize("kind", ["ours", "asyncio's"])
def test_tasks_of_either_class_drain_side_by_side(kind: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connected() as (_, writer, far_reader, _far_writer):

            async def write(byte: bytes) -> None:
                for _ in range(20):
                    writer.write(byte * 50_000)
                    await writer.drain()

            tasks = [
                loop.create_task(write(byte)) if kind == "ours" else asyncio.Task(write(byte), loop=loop)
                for byte in (b"a", b"b")
            ]
            got = await far_reader.readexactly(2 * 20 * 50_000)
            await asyncio.gather(*tasks)
            assert got.count(b"a") == got.count(b"b") == 20 * 50_000

    on_ours(main)


# Ends


@on_both_families
def test_close_sends_what_was_written_and_wait_closed_returns_afterwards(unix: bool) -> None:
    async def main() -> None:
        async with connected(unix=unix) as (reader, writer, far_reader, far_writer):
            writer.write(bytes(1_000_000))
            writer.close()
            assert writer.is_closing()
            waiting = asyncio.create_task(writer.wait_closed())
            assert len(await far_reader.read()) == 1_000_000
            await waiting
            await writer.wait_closed()
            assert await reader.read() == b""
            far_writer.close()
            await far_writer.wait_closed()

    on_ours(main)


def test_wait_closed_that_is_cancelled_leaves_the_others_waiting() -> None:
    async def main() -> None:
        async with connected() as (_, writer, _far_reader, _far_writer):
            first, second = [asyncio.create_task(writer.wait_closed()) for _ in range(2)]
            await turns(2)
            first.cancel()
            with nursery.move_on_after(0.001) as scope:
                await writer.wait_closed()
            assert scope.cancelled_caught
            assert first.cancelled()
            assert not second.done()
            writer.close()
            await second
            await writer.wait_closed()

    on_ours(main)


def test_a_reset_is_raised_by_every_call_afterwards() -> None:
    async def main() -> None:
        async with against_a_socket() as (reader, writer, sock):
            waiting = asyncio.create_task(reader.readline())
            await turns(2)
            reset(sock)
            with pytest.raises(ConnectionResetError):
                await waiting
            with pytest.raises(ConnectionResetError):
                await reader.read(1)
            with pytest.raises(ConnectionResetError):
                await writer.drain()
            with pytest.raises(ConnectionResetError):
                await writer.wait_closed()
            assert writer.is_closing()

    on_ours(main)


def test_what_came_before_a_reset_cannot_be_read_any_more_as_in_asyncio() -> None:
    async def program(module: Any) -> object:
        with socket.create_server((HOST, 0)) as listener:
            reader, writer = await module.open_connection(*listener.getsockname())
            sock, _ = listener.accept()
        sock.sendall(b"x" * 10)
        while not reader._buffer:
            await asyncio.sleep(0)
        reset(sock)
        while not writer.is_closing():
            await asyncio.sleep(0)
        await turns(3)
        try:
            return await reader.read(100)
        except OSError as exc:
            return type(exc)

    assert compat.run(program(compat)) is asyncio.run(program(asyncio)) is ConnectionResetError


def test_a_reset_ends_a_drain_that_waits() -> None:
    async def main() -> None:
        async with against_a_socket() as (_, writer, sock):
            while writer.transport.get_write_buffer_size() <= HIGH_MARK:
                writer.write(bytes(HIGH_MARK))
            drains = [asyncio.create_task(writer.drain()) for _ in range(2)]
            await turns(3)
            reset(sock)
            for drain in drains:
                with pytest.raises((ConnectionResetError, BrokenPipeError)):
                    await drain

    on_ours(main)


def test_drain_after_the_end_says_that_the_connection_is_lost() -> None:
    async def main() -> None:
        async with connected() as (_, writer, _far_reader, _far_writer):
            writer.close()
            # The turn that drain() waits is the one in which the end is told.
            with pytest.raises(ConnectionResetError, match="Connection lost"):
                await writer.drain()

    on_ours(main)


def test_writing_to_a_peer_that_is_gone_ends_in_an_error_and_not_in_a_hang() -> None:
    async def main() -> None:
        async with against_a_socket() as (_, writer, sock):
            reset(sock)
            with pytest.raises(ConnectionError):
                while True:
                    writer.write(b"x")
                    await writer.drain()

    on_ours(main)


def test_a_connection_that_has_ended_leaves_no_garbage() -> None:
    async def main() -> None:
        async def serve(reader: Any, writer: Any) -> None:
            writer.write(await reader.readline())
            writer.close()
            await writer.wait_closed()

        async def once() -> None:
            async with await compat.start_server(serve, HOST, 0) as server:
                reader, writer = await compat.open_connection(*server.sockets[0].getsockname())
                writer.write(b"line\n")
                assert await reader.read() == b"line\n"
                writer.close()
                await writer.wait_closed()
            await turns(3)

        await once()
        gc.collect()
        gc.disable()
        try:
            await once()
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            kinds = (StreamReader, StreamWriter, StreamReaderProtocol)
            assert [each for each in gc.garbage if isinstance(each, kinds)] == []
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()

    on_ours(main)


# Beside asyncio's own classes


def test_classes_of_asyncio_and_ours_go_together() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server((HOST, 0)) as listener:
            reader = StreamReader()
            protocol: Any = asyncio.StreamReaderProtocol(reader)
            transport, _ = await loop.create_connection(lambda: protocol, *listener.getsockname())
            writer = StreamWriter(transport, protocol, reader, loop)
            with listener.accept()[0] as sock:
                writer.write(b"hello")
                await writer.drain()
                assert sock.recv(10) == b"hello"
                sock.sendall(b"world\n")
                assert await reader.readline() == b"world\n"
                writer.close()
                await writer.wait_closed()

    on_ours(main)


def test_a_protocol_of_the_programs_own_is_asked_to_drain() -> None:
    class Protocol(StreamReaderProtocol):
        asked = 0

        async def _drain_helper(self) -> None:
            self.asked += 1
            await super()._drain_helper()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server((HOST, 0)) as listener:
            reader = StreamReader()
            protocol = Protocol(reader)
            transport, _ = await loop.create_connection(lambda: protocol, *listener.getsockname())
            writer = StreamWriter(transport, protocol, reader, loop)
            await writer.drain()
            assert protocol.asked == 1
            writer.close()
            await writer.wait_closed()

    on_ours(main)


def test_libraries_on_the_loop_may_use_asyncios_own_streams_with_a_facade_server() -> None:
    async def main() -> None:
        async def serve(reader: Any, writer: Any) -> None:
            async for line in reader:
                writer.write(line)
            writer.close()

        async with await compat.start_server(serve, HOST, 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"one\ntwo\n")
            writer.write_eof()
            assert await reader.read() == b"one\ntwo\n"
            writer.close()
            await writer.wait_closed()

    on_ours(main)
