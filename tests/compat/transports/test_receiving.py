"""The short way of data into asyncio's stream readers: nobody can tell it from the long one."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import weakref
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from nursery.compat.transports import receiving
from nursery.compat.transports.receiving import receiver_of
from tests.compat.two_loops import LoopFactory, on_both, run, run_on


@contextlib.asynccontextmanager
async def stream(limit: int = 2**16) -> AsyncGenerator[tuple[asyncio.StreamReader, Any, socket.socket], None]:
    """A reader and a writer, and the blocking socket at the other end."""
    left, right = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=left, limit=limit)
    right.settimeout(5)
    with right:
        yield reader, writer, right
        writer.transport.abort()


@on_both
def test_a_reader_gets_what_was_sent_in_all_the_ways_it_has(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        async with stream() as (reader, _, peer):
            waiting = asyncio.ensure_future(reader.read(100))
            await asyncio.sleep(0)
            peer.sendall(b"first")
            assert await waiting == b"first"
            peer.sendall(b"one line\nexactly12until!rest")
            assert await reader.readline() == b"one line\n"
            assert await reader.readexactly(9) == b"exactly12"
            assert await reader.readuntil(b"!") == b"until!"
            peer.close()
            assert await reader.read() == b"rest"
            assert reader.at_eof()

    run_on(loop_factory, main())


@on_both
def test_a_cancelled_reader_loses_nothing(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        async with stream() as (reader, _, peer):
            waiting = asyncio.ensure_future(reader.read(100))
            await asyncio.sleep(0)
            waiting.cancel()
            peer.sendall(b"still here")
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert await reader.read(100) == b"still here"

    run_on(loop_factory, main())


@on_both
def test_a_reader_is_paused_above_twice_its_limit_and_goes_on(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        async with stream(limit=1000) as (reader, writer, peer):
            peer.sendall(b"x" * 2000)
            await asyncio.sleep(0.003)
            assert writer.transport.is_reading()
            peer.sendall(b"y")
            await asyncio.sleep(0.003)
            assert not writer.transport.is_reading()
            # What is sent now stays with the system.
            peer.sendall(b"z" * 3000)
            await asyncio.sleep(0.003)
            assert len(getattr(reader, "_buffer")) == 2001  # noqa: B009  # private, and not in typeshed
            assert await reader.readexactly(5001) == b"x" * 2000 + b"y" + b"z" * 3000
            assert writer.transport.is_reading()

    run_on(loop_factory, main())


@on_both
def test_a_reader_that_the_program_has_dropped_is_not_kept_alive(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        left, right = socket.socketpair()
        with right:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: None)
            reader = asyncio.StreamReader()
            protocol = asyncio.StreamReaderProtocol(reader)
            dropped = weakref.ref(reader)
            transport, _ = await loop.create_connection(lambda: protocol, sock=left)
            del reader
            gc.collect()
            assert dropped() is None
            right.sendall(b"for nobody")
            await asyncio.sleep(0.003)
            transport.abort()
            await asyncio.sleep(0)

    run_on(loop_factory, main())


def test_what_a_library_has_replaced_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    class Reader(asyncio.StreamReader):
        def feed_data(self, data: Any) -> None:
            called.append("a reader of its own kind")

    class Protocol(asyncio.StreamReaderProtocol):
        def data_received(self, data: bytes) -> None:
            called.append("a protocol of its own kind")

    called: list[str] = []

    def note(*arguments: object) -> None:
        called.append("a function put there")

    async def main() -> None:
        theirs = Reader()
        receiver_of(asyncio.StreamReaderProtocol(theirs))(b"x")
        assert called.pop() == "a reader of its own kind"
        reader = asyncio.StreamReader()
        receiver_of(Protocol(reader))(b"x")
        assert called.pop() == "a protocol of its own kind"
        protocol = asyncio.StreamReaderProtocol(reader)
        setattr(protocol, "data_received", note)  # noqa: B010  # mypy objects to what libraries do
        receiver_of(protocol)(b"x")
        assert called.pop() == "a function put there"
        setattr(reader, "feed_data", note)  # noqa: B010  # mypy objects to what libraries do
        receiver_of(asyncio.StreamReaderProtocol(reader))(b"x")
        assert called.pop() == "a function put there"
        for owner, name in ((asyncio.StreamReader, "feed_data"), (asyncio.StreamReaderProtocol, "data_received")):
            with monkeypatch.context() as patch:
                patch.setattr(owner, name, note)
                reader = asyncio.StreamReader()
                receiver_of(asyncio.StreamReaderProtocol(reader))(b"x")
                assert called.pop() == "a function put there"
        assert receiver_of(asyncio.BaseProtocol()) is None

    run(main())


def test_both_ways_leave_a_reader_in_the_same_state(monkeypatch: pytest.MonkeyPatch) -> None:
    # Adopted readers are no longer asyncio's.
    monkeypatch.setattr(receiving, "adopt", None)

    class Plain(asyncio.Transport):
        def __init__(self) -> None:
            super().__init__()
            self.calls: list[str] = []

        def pause_reading(self) -> None:
            self.calls.append("pause")

    def state(reader: Any, waiter: Any, transport: Plain) -> tuple[Any, ...]:
        return bytes(reader._buffer), reader._paused, reader._waiter, waiter and waiter.done(), tuple(transport.calls)

    async def main() -> None:
        for pieces in ([b"x"], [b"x" * 20], [b"x" * 21], [b"x" * 30, b"y"], [b"a", b"b" * 20, b"c"]):
            for waits in (None, "waiting", "cancelled"):
                states = []
                for short in (True, False):
                    reader: Any = asyncio.StreamReader(limit=10)
                    protocol = asyncio.StreamReaderProtocol(reader)
                    transport = Plain()
                    protocol.connection_made(transport)
                    waiter = None
                    if waits is not None:
                        reader._waiter = waiter = asyncio.get_running_loop().create_future()
                        if waits == "cancelled":
                            waiter.cancel()
                    receive = receiver_of(protocol) if short else protocol.data_received
                    for piece in pieces:
                        receive(piece)
                    states.append(state(reader, waiter, transport))
                assert states[0] == states[1]

    run(main())
