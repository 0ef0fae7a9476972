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


def is_short(protocol: asyncio.BaseProtocol) -> bool:
    return bool(receiver_of(protocol) != getattr(protocol, "data_received", None))


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


def test_only_exact_and_unpatched_readers_get_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    class Reader(asyncio.StreamReader):
        pass

    class Protocol(asyncio.StreamReaderProtocol):
        pass

    async def main() -> None:
        reader = asyncio.StreamReader()
        assert is_short(asyncio.StreamReaderProtocol(reader))
        assert not is_short(Protocol(reader))
        theirs = Reader()
        assert not is_short(asyncio.StreamReaderProtocol(theirs))
        protocol = asyncio.StreamReaderProtocol(reader)
        setattr(protocol, "data_received", print)  # noqa: B010  # as a library might; mypy objects
        assert not is_short(protocol)
        setattr(reader, "feed_data", print)  # noqa: B010  # as a library might; mypy objects
        assert not is_short(asyncio.StreamReaderProtocol(reader))
        assert receiver_of(asyncio.BaseProtocol()) is None
        reader = asyncio.StreamReader()
        with monkeypatch.context() as patch:
            patch.setattr(asyncio.StreamReader, "feed_data", print)
            assert not is_short(asyncio.StreamReaderProtocol(reader))
        with monkeypatch.context() as patch:
            patch.setattr(asyncio.StreamReaderProtocol, "data_received", print)
            assert not is_short(asyncio.StreamReaderProtocol(reader))
        assert is_short(asyncio.StreamReaderProtocol(reader))

    run(main())


def test_both_ways_leave_a_reader_in_the_same_state() -> None:
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
