"""loop.sendfile and loop.sock_sendfile: by the system where it can, read and written where it cannot."""

from __future__ import annotations

import asyncio
import errno
import gzip
import io
import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from tests.compat.two_loops import LoopFactory, on_both, run, run_on

CONTENT = os.urandom(1_500_000)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[IO[bytes]]:
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    with path.open("rb") as opened:
        yield opened


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    with left, right:
        yield left, right


@pytest.fixture(scope="module")
def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    import trustme

    authority = trustme.CA()
    for_server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("file.test").configure_cert(for_server)
    for_client = ssl.create_default_context()
    authority.configure_trust(for_client)
    return for_server, for_client


async def received(sock: socket.socket, count: int) -> bytes:
    loop = asyncio.get_running_loop()
    got = bytearray()
    while len(got) < count:
        piece = await loop.sock_recv(sock, 200_000)
        assert piece
        got += piece
    return bytes(got)


async def until(condition: Callable[[], object]) -> None:
    for _ in range(4000):
        if condition():
            return
        await asyncio.sleep(0.0005)
    raise AssertionError("not in time")


class NoFile(io.BytesIO):
    """Content that is not in a file."""


class Pipe:
    """Content that can only be read from its beginning to its end."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def read(self, size: int) -> bytes:
        return self._content.read(size)

    readinto = property(lambda self: self._content.readinto)


# Raw sockets


@on_both
@pytest.mark.parametrize(
    ("offset", "count"), [(0, None), (1000, None), (0, 1000), (1000, 2000), (1_400_000, 200_000), (2_000_000, None)]
)
@pytest.mark.parametrize("kind", ["file", "no file"])
def test_a_file_goes_through_a_raw_socket(
    loop_factory: LoopFactory,
    pair: tuple[socket.socket, socket.socket],
    file: IO[bytes],
    kind: str,
    offset: int,
    count: int | None,
) -> None:
    left, right = pair
    source: Any = file if kind == "file" else NoFile(CONTENT)
    expected = CONTENT[offset:] if count is None else CONTENT[offset : offset + count]

    async def main() -> None:
        loop = asyncio.get_running_loop()
        sending = asyncio.ensure_future(loop.sock_sendfile(left, source, offset, count))
        assert await received(right, len(expected)) == expected
        assert await sending == len(expected)
        # asyncio before 3.14 leaves it alone if nothing was sent.
        if expected or loop_factory is not asyncio.SelectorEventLoop:
            assert source.tell() == offset + len(expected)

    run_on(loop_factory, main())


@on_both
def test_what_is_no_regular_file_is_an_error_without_fallback(
    loop_factory: LoopFactory, pair: tuple[socket.socket, socket.socket]
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for source in (NoFile(b"content"), object()):
            with pytest.raises(asyncio.SendfileNotAvailableError, match="not a regular file"):
                await loop.sock_sendfile(pair[0], source, fallback=False)  # type: ignore[arg-type]  # that is the test

    run_on(loop_factory, main())


@pytest.mark.parametrize("buffering", [-1, 0])
def test_a_fifo_is_read_and_sent(pair: tuple[socket.socket, socket.socket], buffering: int) -> None:
    # asyncio takes it for an empty file.
    left, right = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        with open(reading, "rb", buffering) as source:
            with open(writing, "wb") as end:
                end.write(b"content")
            assert await loop.sock_sendfile(left, source) == 7
        assert await loop.sock_recv(right, 100) == b"content"

    run(main())


def test_what_can_only_be_read_on_is_sent_from_where_it_is(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        source: Any = Pipe(CONTENT[:300_000])
        sending = asyncio.ensure_future(loop.sock_sendfile(left, source))
        assert await received(right, 300_000) == CONTENT[:300_000]
        assert await sending == 300_000

    run(main())


def test_the_offset_counts_from_the_beginning_whatever_was_read_before(
    pair: tuple[socket.socket, socket.socket], file: IO[bytes]
) -> None:
    # Without the system's sendfile() asyncio begins where the file stands if the offset is 0.
    left, right = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for source in (file, NoFile(CONTENT)):
            source.read(10)
            assert await loop.sock_sendfile(left, source, 0, 5) == 5
            assert await loop.sock_recv(right, 100) == CONTENT[:5]
            # Also the file object's own buffer knows.
            assert source.tell() == 5
            assert source.read(5) == CONTENT[5:10]

    run(main())


@on_both
def test_where_the_system_refuses_the_file_is_read_and_sent(
    loop_factory: LoopFactory,
    pair: tuple[socket.socket, socket.socket],
    file: IO[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left, right = pair

    def refuse(*args: object) -> int:
        raise OSError(errno.EINVAL, "no")

    monkeypatch.setattr(os, "sendfile", refuse)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(asyncio.SendfileNotAvailableError, match=r"os\.sendfile call failed"):
            await loop.sock_sendfile(left, file, fallback=False)
        sending = asyncio.ensure_future(loop.sock_sendfile(left, file))
        assert await received(right, len(CONTENT)) == CONTENT
        assert await sending == len(CONTENT)

    run_on(loop_factory, main())


def test_a_system_without_sendfile_reads_and_sends(
    pair: tuple[socket.socket, socket.socket], file: IO[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right = pair
    monkeypatch.delattr(os, "sendfile")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(asyncio.SendfileNotAvailableError, match=r"os\.sendfile\(\) is not available"):
            await loop.sock_sendfile(left, file, fallback=False)
        sending = asyncio.ensure_future(loop.sock_sendfile(left, file))
        assert await received(right, len(CONTENT)) == CONTENT
        assert await sending == len(CONTENT)

    run(main())


@on_both
def test_a_broken_connection_is_an_error_and_the_position_tells_how_far_it_came(
    loop_factory: LoopFactory, pair: tuple[socket.socket, socket.socket], file: IO[bytes]
) -> None:
    left, right = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        sending = asyncio.ensure_future(loop.sock_sendfile(left, file))
        await received(right, 1000)
        right.close()
        with pytest.raises(ConnectionError):
            await sending
        assert 1000 <= file.tell() < len(CONTENT)

    run_on(loop_factory, main())


def test_a_connection_that_is_broken_already_is_no_reason_to_fall_back(
    pair: tuple[socket.socket, socket.socket], file: IO[bytes]
) -> None:
    left, right = pair
    right.close()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for fallback in (False, True):
            with pytest.raises(ConnectionError):
                await loop.sock_sendfile(left, file, fallback=fallback)
        with socket.socket() as unconnected:
            unconnected.setblocking(False)
            with pytest.raises(ConnectionError):
                await loop.sock_sendfile(unconnected, file)
        assert file.tell() == 0

    run(main())


@pytest.mark.parametrize("kind", ["file", "no file"])
def test_a_cancelled_call_has_sent_what_lies_before_the_position(
    pair: tuple[socket.socket, socket.socket], file: IO[bytes], kind: str
) -> None:
    left, right = pair
    source: IO[bytes] = file if kind == "file" else NoFile(CONTENT)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        sending = asyncio.ensure_future(loop.sock_sendfile(left, source))
        first = await received(right, 1000)
        await asyncio.sleep(0.002)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        left.shutdown(socket.SHUT_WR)
        rest = bytearray()
        while piece := await loop.sock_recv(right, 1_000_000):
            rest += piece
        sent = len(first) + len(rest)
        assert first + rest == CONTENT[:sent]
        # A piece that was being sent when the cancellation came may have been sent in part.
        assert source.tell() <= sent
        assert kind == "no file" or source.tell() == sent

    run(main())


@pytest.mark.parametrize("waits", ["before it reads", "after it has read"])
def test_a_read_that_a_cancelled_call_left_behind_does_not_move_the_position(
    pair: tuple[socket.socket, socket.socket], waits: str
) -> None:
    reads = threading.Event()
    go_on = threading.Event()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size) if waits == "after it has read" else b""
            reads.set()
            go_on.wait(1)
            return data or super().read(size)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        source = Slow(CONTENT)
        sending = asyncio.ensure_future(loop.sock_sendfile(pair[0], source, 100))
        await until(reads.is_set)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        go_on.set()
        await loop.shutdown_default_executor()
        assert source.tell() == 100

    run(main())


def test_others_get_their_turn_while_a_peer_takes_everything(
    pair: tuple[socket.socket, socket.socket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, _ = pair
    chunks: list[int] = []
    turns: list[int] = []

    def send(out: int, source: int, offset: int, count: int) -> int:
        chunks.append(count)
        return min(count, 20_000_000 - offset)

    monkeypatch.setattr(os, "sendfile", send)
    path = tmp_path / "large"
    with path.open("wb") as made:
        made.truncate(20_000_000)

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def count() -> None:
            turns.append(1)
            if len(chunks) < 20:
                loop.call_soon(count)

        loop.call_soon(count)
        with path.open("rb") as source:
            assert await loop.sock_sendfile(left, source) == 20_000_000

    run(main())
    assert max(chunks) <= 1_048_576
    assert len(turns) >= 15


def test_a_second_sender_waits_for_the_end_of_the_file(
    pair: tuple[socket.socket, socket.socket], file: IO[bytes]
) -> None:
    left, right = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        sending = asyncio.ensure_future(loop.sock_sendfile(left, file))
        await asyncio.sleep(0)
        after = asyncio.ensure_future(loop.sock_sendall(left, b"after"))
        got = await received(right, len(CONTENT) + 5)
        assert got == CONTENT + b"after"
        await asyncio.gather(sending, after)

    run(main())


@on_both
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"count": 0}, ValueError, "count must be a positive integer"),
        ({"count": -1}, ValueError, "count must be a positive integer"),
        ({"count": "1"}, TypeError, "count must be a positive integer"),
        ({"offset": -1}, ValueError, "offset must be a non-negative integer"),
        ({"offset": 1.5}, TypeError, "offset must be a non-negative integer"),
    ],
)
def test_numbers_that_make_no_sense(
    loop_factory: LoopFactory,
    pair: tuple[socket.socket, socket.socket],
    file: IO[bytes],
    options: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    async def main() -> None:
        with pytest.raises(error, match=message):
            await asyncio.get_running_loop().sock_sendfile(pair[0], file, **options)

    run_on(loop_factory, main())


@on_both
def test_sockets_and_files_of_the_wrong_kind(
    loop_factory: LoopFactory, pair: tuple[socket.socket, socket.socket], file: IO[bytes], tmp_path: Path
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        (tmp_path / "text").write_text("text")
        with (tmp_path / "text").open() as text, pytest.raises(ValueError, match="binary mode"):
            await loop.sock_sendfile(pair[0], text)  # type: ignore[arg-type]  # that is the test
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, pytest.raises(ValueError, match="SOCK_STREAM"):
            sock.setblocking(False)
            await loop.sock_sendfile(sock, file)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        with context.wrap_socket(socket.socket()) as wrapped, pytest.raises(TypeError, match="SSLSocket"):
            wrapped.setblocking(False)
            await loop.sock_sendfile(wrapped, file)

    run_on(loop_factory, main())


def test_a_file_whose_mode_is_a_number_is_taken_for_a_binary_one(
    pair: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    left, right = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        path = tmp_path / "zipped"
        path.write_bytes(gzip.compress(b"content"))
        with gzip.open(path) as source:
            # As in asyncio: what has a descriptor is sent as it lies in the file.
            sent = await loop.sock_sendfile(left, source)  # type: ignore[arg-type]  # not an IO[bytes] to typeshed
        assert gzip.decompress(await received(right, sent)) == b"content"

    run(main())


@on_both
def test_debug_mode_wants_a_socket_that_does_not_block(loop_factory: LoopFactory, file: IO[bytes]) -> None:
    async def main() -> None:
        with socket.socket() as sock, pytest.raises(ValueError, match="the socket must be non-blocking"):
            await asyncio.get_running_loop().sock_sendfile(sock, file)

    run_on(loop_factory, main(), debug=True)


# Transports


class Receiver(asyncio.Protocol):
    """Collects what comes, and reads on or not."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.data = bytearray()
        self.made: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self.events: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.made.set_result(None)

    def data_received(self, data: bytes) -> None:
        self.data += data

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.events.append("lost")
        self.lost.set_result(exc)


@asynccontextmanager
async def connected(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext] | None = None,
) -> AsyncIterator[tuple[Receiver, Receiver]]:
    """Yield the protocols of a client and of a server, over TLS if contexts are given."""
    loop = asyncio.get_running_loop()
    served: list[Receiver] = []

    def factory() -> Receiver:
        served.append(Receiver())
        return served[0]

    options: dict[str, Any] = {} if contexts is None else {"ssl": contexts[1], "server_hostname": "file.test"}
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    # So little that a peer that does not read is noticed.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    server = await loop.create_server(factory, sock=listening, ssl=None if contexts is None else contexts[0])
    try:
        transport, client = await loop.create_connection(Receiver, *server.sockets[0].getsockname(), **options)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32_768)
        await until(lambda: served and served[0].made.done())
        try:
            yield client, served[0]
        finally:
            for each in (client, served[0]):
                if not each.lost.done():
                    each.transport.abort()
                await each.lost
    finally:
        server.close()
        await server.wait_closed()


@pytest.fixture(params=["plain", "tls"])
def contexts(
    request: pytest.FixtureRequest, tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> tuple[ssl.SSLContext, ssl.SSLContext] | None:
    return tls_contexts if request.param == "tls" else None


Contexts = tuple[ssl.SSLContext, ssl.SSLContext] | None


@on_both
@pytest.mark.parametrize(("offset", "count"), [(0, None), (1000, 2000), (1_400_000, 200_000)])
@pytest.mark.parametrize("kind", ["file", "no file"])
def test_a_file_goes_through_a_transport_between_other_data(
    loop_factory: LoopFactory, contexts: Contexts, file: IO[bytes], kind: str, offset: int, count: int | None
) -> None:
    if kind == "no file" and loop_factory is asyncio.SelectorEventLoop:
        # It keeps views of the buffer that it reads the next piece into (seen on 3.14).
        pytest.skip("asyncio may send other bytes")
    source: Any = file if kind == "file" else NoFile(CONTENT)
    expected = CONTENT[offset:] if count is None else CONTENT[offset : offset + count]

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connected(contexts) as (client, served):
            before, after = b"before" * 50_000, b"after" * 50_000
            client.transport.write(before)
            assert await loop.sendfile(client.transport, source, offset, count) == len(expected)
            client.transport.write(after)
            await until(lambda: len(served.data) == len(before) + len(expected) + len(after))
            assert served.data == before + expected + after
            assert source.tell() == offset + len(expected)
            assert client.transport.get_protocol() is client
            assert client.transport.is_reading()

    run_on(loop_factory, main())


@on_both
def test_other_writes_are_refused_while_the_system_sends(loop_factory: LoopFactory, file: IO[bytes]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connected() as (client, served):
            served.transport.pause_reading()
            sending = asyncio.ensure_future(loop.sendfile(client.transport, file))
            await asyncio.sleep(0.002)
            with pytest.raises(RuntimeError, match="unable to write; sendfile is in progress"):
                client.transport.write(b"x")
            with pytest.raises(RuntimeError, match=r"unable to write(lines)?; sendfile is in progress"):
                client.transport.writelines([b"x"])
            assert not client.transport.is_reading()
            served.transport.resume_reading()
            await sending
            client.transport.write(b"x")
            assert client.transport.is_reading()

    run_on(loop_factory, main())


@on_both
def test_what_comes_meanwhile_is_received_afterwards(
    loop_factory: LoopFactory, contexts: Contexts, file: IO[bytes]
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connected(contexts) as (client, served):
            served.transport.pause_reading()
            sending = asyncio.ensure_future(loop.sendfile(client.transport, file))
            await asyncio.sleep(0.005)
            served.transport.write(b"hello")
            await asyncio.sleep(0.005)
            assert client.data == b""
            served.transport.resume_reading()
            await sending
            await until(lambda: client.data == b"hello")

    run_on(loop_factory, main())


@on_both
def test_a_transport_that_was_paused_stays_so(loop_factory: LoopFactory, contexts: Contexts, file: IO[bytes]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connected(contexts) as (client, _served):
            client.transport.pause_reading()
            await loop.sendfile(client.transport, file)
            assert not client.transport.is_reading()

    run_on(loop_factory, main())


def test_the_protocol_is_told_to_pause_and_to_resume_in_turn(contexts: Contexts) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connected(contexts) as (client, served):
            client.transport.set_write_buffer_limits(high=10_000)
            served.transport.pause_reading()
            while client.events != ["pause"]:
                client.transport.write(b"x" * 100_000)
            sending = asyncio.ensure_future(loop.sendfile(client.transport, NoFile(CONTENT)))
            await asyncio.sleep(0.002)
            assert client.events == ["pause"]
            served.transport.resume_reading()
            await sending
            await until(lambda: not client.transport.get_write_buffer_size())
            assert client.events[:2] == ["pause", "resume"]
            for odd, even in zip(client.events[::2], client.events[1::2], strict=False):
                assert (odd, even) == ("pause", "resume")
            assert len(client.events) % 2 == 0

    run(main())


def test_a_protocol_that_was_paused_before_is_told_when_the_buffer_is_empty_again(contexts: Contexts) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connected(contexts) as (client, served):
            client.transport.set_write_buffer_limits(high=10_000)
            served.transport.pause_reading()
            while client.events != ["pause"]:
                client.transport.write(b"x" * 100_000)
            sending = asyncio.ensure_future(loop.sendfile(client.transport, NoFile(b"little")))
            await asyncio.sleep(0.002)
            served.transport.resume_reading()
            await sending
            assert client.events == ["pause", "resume"]

    run(main())


def test_a_protocol_is_told_that_the_file_has_filled_the_buffer(contexts: Contexts) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connected(contexts) as (client, served):
            client.transport.set_write_buffer_limits(high=10_000)
            served.transport.pause_reading()
            # One piece, which finds the buffer empty.
            await loop.sendfile(client.transport, NoFile(CONTENT), 0, 262_144)
            assert client.events == ["pause"]
            served.transport.resume_reading()
            await until(lambda: client.events == ["pause", "resume"])

    run(main())


def test_a_slow_reader_does_not_grow_the_buffer(contexts: Contexts) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connected(contexts) as (client, served):
            served.transport.pause_reading()
            sending = asyncio.ensure_future(loop.sendfile(client.transport, NoFile(CONTENT)))
            await asyncio.sleep(0.02)
            high = client.transport.get_write_buffer_limits()[1]
            # One write more, and what TLS adds to it.
            assert client.transport.get_write_buffer_size() <= high + 300_000
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending

    run(main())


@on_both
def test_a_peer_that_goes_away_is_an_error_and_ends_the_transport(
    loop_factory: LoopFactory, contexts: Contexts, file: IO[bytes]
) -> None:
    if contexts and loop_factory is asyncio.SelectorEventLoop:
        pytest.skip("now and then asyncio's TLS does not notice")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connected(contexts) as (client, served):
            served.transport.pause_reading()
            sending = asyncio.ensure_future(loop.sendfile(client.transport, file))
            await asyncio.sleep(0.005)
            served.transport.abort()
            with pytest.raises(ConnectionError):
                await sending
            assert file.tell() < len(CONTENT)
            await client.lost
            assert client.events.count("lost") == 1

    run_on(loop_factory, main())


def test_a_broken_connection_ends_a_transport_that_does_not_read(file: IO[bytes]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connected() as (client, served):
            client.transport.pause_reading()
            served.transport.pause_reading()
            sending = asyncio.ensure_future(loop.sendfile(client.transport, file))
            await asyncio.sleep(0.002)
            served.transport.abort()
            with pytest.raises(ConnectionError) as caught:
                await sending
            assert await client.lost is caught.value

    run(main())


def test_a_transport_that_is_aborted_between_two_chunks_is_an_error(
    file: IO[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.sendfile

    def send(out: int, source: int, offset: int, count: int) -> int:
        return real(out, source, offset, 10)

    monkeypatch.setattr(os, "sendfile", send)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connected() as (client, _):
            sending = asyncio.ensure_future(loop.sendfile(client.transport, file))
            for _ in range(10):
                await asyncio.sleep(0)
            client.transport.abort()
            with pytest.raises(ConnectionError):
                await sending
            assert 0 < file.tell() < 1000

    run(main())


def test_a_transport_that_is_aborted_meanwhile_is_an_error(contexts: Contexts, file: IO[bytes]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connected(contexts) as (client, served):
            served.transport.pause_reading()
            sending = asyncio.ensure_future(loop.sendfile(client.transport, file))
            await asyncio.sleep(0.005)
            client.transport.abort()
            with pytest.raises(ConnectionError):
                await sending
            await client.lost
            assert client.events.count("lost") == 1

    run(main())


def test_a_transport_that_is_aborted_before_its_buffer_is_empty_is_an_error(file: IO[bytes]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connected() as (client, served):
            served.transport.pause_reading()
            client.transport.write(b"x" * 10_000_000)
            sending = asyncio.ensure_future(loop.sendfile(client.transport, file))
            await asyncio.sleep(0.002)
            client.transport.abort()
            with pytest.raises(ConnectionError):
                await sending
            assert file.tell() == 0

    run(main())


def test_a_cancelled_call_leaves_the_transport_usable(contexts: Contexts, file: IO[bytes]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connected(contexts) as (client, served):
            served.transport.pause_reading()
            sending = asyncio.ensure_future(loop.sendfile(client.transport, file))
            await asyncio.sleep(0.002)
            if contexts:
                # A thread has read something, and it was written.
                await until(client.transport.get_write_buffer_size)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            sent = file.tell()
            assert 0 < sent < len(CONTENT)
            assert client.transport.is_reading()
            client.transport.write(b"after")
            served.transport.resume_reading()
            await until(lambda: len(served.data) == sent + 5)
            assert served.data == CONTENT[:sent] + b"after"

    run(main())


def test_only_one_file_at_a_time_goes_through_a_transport(file: IO[bytes]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connected() as (client, served):
            served.transport.pause_reading()
            sending = asyncio.ensure_future(loop.sendfile(client.transport, file))
            await asyncio.sleep(0.002)
            with pytest.raises(RuntimeError):
                await loop.sendfile(client.transport, file)
            served.transport.resume_reading()
            assert await sending == len(CONTENT)
            await until(lambda: len(served.data) == len(CONTENT))
            assert client.transport.is_reading()

    run(main())


@on_both
def test_a_transport_that_is_closing_is_refused(loop_factory: LoopFactory, file: IO[bytes]) -> None:
    async def main() -> None:
        async with connected() as (client, _):
            client.transport.close()
            with pytest.raises(RuntimeError, match="Transport is closing"):
                await asyncio.get_running_loop().sendfile(client.transport, file)

    run_on(loop_factory, main())


@on_both
def test_datagrams_carry_no_files(loop_factory: LoopFactory, file: IO[bytes]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport: Any
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, family=socket.AF_INET)
        with pytest.raises(RuntimeError, match="sendfile is not supported for transport"):
            await loop.sendfile(transport, file)
        transport.close()
        await asyncio.sleep(0)

    run_on(loop_factory, main())


@on_both
def test_without_fallback_only_the_system_may_send(
    loop_factory: LoopFactory, tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext], file: IO[bytes]
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connected(tls_contexts) as (client, _):
            with pytest.raises(RuntimeError, match="fallback is disabled"):
                await loop.sendfile(client.transport, file, fallback=False)
        async with connected() as (client, _):
            with pytest.raises(asyncio.SendfileNotAvailableError):
                await loop.sendfile(client.transport, NoFile(b"content"), fallback=False)
            assert client.transport.is_reading()

    run_on(loop_factory, main())


def test_numbers_are_checked_for_transports_too(contexts: Contexts, file: IO[bytes]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connected(contexts) as (client, _):
            with pytest.raises(ValueError, match="count must be a positive integer"):
                await loop.sendfile(client.transport, file, 0, 0)
            with pytest.raises(TypeError, match="offset must be a non-negative integer"):
                await loop.sendfile(client.transport, file, "0")  # type: ignore[arg-type]  # that is the test

    run(main())
