"""Streams that live in memory, and whose every move a test can hook into.

Invariant: a byte that was sent is in exactly one place: in the sending stream, until a pump takes it out, or in the
receiving stream, until somebody receives it.  Neither buffer has a limit, so nothing here waits for room.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from operator import index
from types import TracebackType
from typing import TypeAlias, TypeVar, final

from ..kernel.errors import BrokenResourceError, BusyResourceError, ClosedResourceError, WouldBlock
from ..kernel.parking import ParkingLot
from ..kernel.traps import checkpoint
from ..streams.abstract import ReceiveStream, SendStream
from ..streams.stapled import StapledStream

AsyncHook: TypeAlias = Callable[[], Awaitable[object]]
SyncHook: TypeAlias = Callable[[], object]

SendStreamT = TypeVar("SendStreamT", bound=SendStream)
ReceiveStreamT = TypeVar("ReceiveStreamT", bound=ReceiveStream)


def checked_max_bytes(max_bytes: int | None) -> int | None:
    """Return `max_bytes` as an int or None; TypeError if it is neither, ValueError if it is less than 1."""
    if max_bytes is None:
        return None
    max_bytes = index(max_bytes)
    if max_bytes < 1:
        raise ValueError(f"max_bytes must be >= 1, not {max_bytes}")
    return max_bytes


class OneAtATime:
    """A context manager that one task at a time may be inside; the second gets BusyResourceError."""

    __slots__ = ("_busy", "_what")

    def __init__(self, what: str) -> None:
        self._what = what
        self._busy = False

    def __enter__(self) -> None:
        if self._busy:
            raise BusyResourceError(f"another task is already {self._what}")
        self._busy = True

    def __exit__(
        self, etype: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._busy = False


class _Buffer:
    """Bytes with an end that is open or closed, and one reader who may wait for them."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ended = False
        self._arrivals = ParkingLot()
        self._reading = OneAtATime("fetching data from this stream")

    def put(self, data: bytes | bytearray | memoryview) -> None:
        if self._ended:
            raise ClosedResourceError("this in-memory stream was closed, or given its end, already")
        self._bytes += data
        self._arrivals.unpark_all()

    def end(self) -> None:
        self._ended = True
        self._arrivals.unpark_all()

    def discard(self) -> None:
        self._bytes.clear()

    def get_nowait(self, max_bytes: int | None) -> bytearray:
        with self._reading:
            max_bytes = checked_max_bytes(max_bytes)
            if not self._bytes and not self._ended:
                raise WouldBlock
            return self._take(max_bytes)

    async def get(self, max_bytes: int | None) -> bytearray:
        with self._reading:
            max_bytes = checked_max_bytes(max_bytes)
            if self._bytes or self._ended:
                await checkpoint()
            # An empty piece wakes the reader too, and is not the end.
            while not self._bytes and not self._ended:
                await self._arrivals.park()
            return self._take(max_bytes)

    def _take(self, max_bytes: int | None) -> bytearray:
        taken = self._bytes[:max_bytes]
        del self._bytes[:max_bytes]
        return taken


@final
class MemorySendStream(SendStream):
    """A stream that keeps what is sent until the test fetches it.

    Arguments: send_all_hook and wait_send_all_might_not_block_hook are async functions, close_hook a plain one; each
    is called at the end of the method that it is named after, without arguments.

    Attributes: the three hooks; they may be set at any time, to None as well.

    Example::

        stream = nursery.testing.MemorySendStream()
        await stream.send_all(b"hello")
        assert stream.get_data_nowait() == b"hello"

    Source: trio's documentation, `trio.testing.MemorySendStream`.
    """

    def __init__(
        self,
        send_all_hook: AsyncHook | None = None,
        wait_send_all_might_not_block_hook: AsyncHook | None = None,
        close_hook: SyncHook | None = None,
    ) -> None:
        self.send_all_hook = send_all_hook
        self.wait_send_all_might_not_block_hook = wait_send_all_might_not_block_hook
        self.close_hook = close_hook
        self._buffer = _Buffer()
        self._sending = OneAtATime("sending to this stream")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Keep the data, then call `send_all_hook`.

        A cancel point; if cancelled before the hook was called, nothing was sent.  Raises ClosedResourceError,
        BusyResourceError, and what the hook raises.
        """
        with self._sending:
            await self._linger()
            self._buffer.put(data)
            if self.send_all_hook is not None:
                await self.send_all_hook()

    async def wait_send_all_might_not_block(self) -> None:
        """Call `wait_send_all_might_not_block_hook`; without one there is nothing to wait for.

        A cancel point.  Raises ClosedResourceError, BusyResourceError, and what the hook raises.
        """
        with self._sending:
            await self._linger()
            # Raises if the stream is closed.
            self._buffer.put(b"")
            if self.wait_send_all_might_not_block_hook is not None:
                await self.wait_send_all_might_not_block_hook()

    async def _linger(self) -> None:
        # Twice, to give a second task that wrongly sends at the same time a chance to be caught at it.
        await checkpoint()
        await checkpoint()

    def close(self) -> None:
        """Close the stream, then call `close_hook`.  What was sent can still be fetched.  Not a cancel point."""
        self._buffer.end()
        if self.close_hook is not None:
            self.close_hook()

    async def aclose(self) -> None:
        """Close the stream as `close` does, and be a checkpoint."""
        self.close()
        await checkpoint()

    async def get_data(self, max_bytes: int | None = None) -> bytearray:
        """Wait until at least one byte was sent, and fetch what there is; empty means that the stream is closed.

        Arguments: max_bytes is the most to fetch, at least 1.  A cancel point; if cancelled, nothing was fetched.
        Raises ValueError, and BusyResourceError if another task is fetching.
        """
        return await self._buffer.get(max_bytes)

    def get_data_nowait(self, max_bytes: int | None = None) -> bytearray:
        """Fetch what was sent as `get_data` does; raise WouldBlock if there is nothing.  Not a cancel point."""
        return self._buffer.get_nowait(max_bytes)


@final
class MemoryReceiveStream(ReceiveStream):
    """A stream from which is received what the test has put there.

    Arguments: receive_some_hook is an async function, called before each attempt to receive; close_hook is a plain
    one, called after closing.

    Attributes: the two hooks; they may be set at any time, to None as well.

    Example::

        stream = nursery.testing.MemoryReceiveStream()
        stream.put_data(b"hello")
        stream.put_eof()
        assert await stream.receive_some() == b"hello"

    Source: trio's documentation, `trio.testing.MemoryReceiveStream`.
    """

    def __init__(self, receive_some_hook: AsyncHook | None = None, close_hook: SyncHook | None = None) -> None:
        self.receive_some_hook = receive_some_hook
        self.close_hook = close_hook
        self._buffer = _Buffer()
        self._receiving = OneAtATime("receiving from this stream")
        self._closed = False

    async def receive_some(self, max_bytes: int | None = None) -> bytearray:
        """Call `receive_some_hook`, then wait for data and return what there is; empty means the end.

        Arguments: max_bytes is the most to return, at least 1.  A cancel point; if cancelled, nothing was taken.
        Raises ValueError, ClosedResourceError, BusyResourceError, and what the hook raises.
        """
        with self._receiving:
            # As in send_all: a chance to be caught.
            await checkpoint()
            await checkpoint()
            self._check_open()
            if self.receive_some_hook is not None:
                await self.receive_some_hook()
            data = await self._buffer.get(max_bytes)
            # close() ends the buffer to wake us; that is not the end that the sender would send.
            self._check_open()
            return data

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedResourceError("this in-memory stream was closed")

    def close(self) -> None:
        """Close the stream, dropping what was not received, then call `close_hook`.  Not a cancel point."""
        self._closed = True
        self._buffer.discard()
        self._buffer.end()
        if self.close_hook is not None:
            self.close_hook()

    async def aclose(self) -> None:
        """Close the stream as `close` does, and be a checkpoint."""
        self.close()
        await checkpoint()

    def put_data(self, data: bytes | bytearray | memoryview) -> None:
        """Let `data` be received after what is there already.

        Not a cancel point.  Raises ClosedResourceError after `put_eof` and after `close`.
        """
        self._buffer.put(data)

    def put_eof(self) -> None:
        """Let the end be received after what is there already.  Not a cancel point."""
        self._buffer.end()


def memory_stream_pump(
    memory_send_stream: MemorySendStream,
    memory_receive_stream: MemoryReceiveStream,
    *,
    max_bytes: int | None = None,
) -> bool:
    """Move what was sent on one stream to the other, where it can be received; return whether anything moved.

    Arguments: max_bytes is the most to move, by default all.  The end of a closed stream moves as well.

    Raises BrokenResourceError if the receiving stream is closed: what was fetched for it is lost, as on a broken
    connection.  Not a cancel point.

    Source: trio's documentation, `trio.testing.memory_stream_pump`.
    """
    try:
        data = memory_send_stream.get_data_nowait(max_bytes)
    except WouldBlock:
        return False
    try:
        if data:
            memory_receive_stream.put_data(data)
        else:
            memory_receive_stream.put_eof()
    except ClosedResourceError:
        raise BrokenResourceError("the receiving in-memory stream was closed") from None
    return True


def memory_stream_one_way_pair() -> tuple[MemorySendStream, MemoryReceiveStream]:
    """Make two streams, the first of which sends to the second; nothing ever waits for room.

    The sending stream's `send_all_hook` and `close_hook` pump; replace them to hold the data up or let it trickle.

    Example::

        send, receive = nursery.testing.memory_stream_one_way_pair()
        await send.send_all(b"hello")
        assert await receive.receive_some() == b"hello"

    Source: trio's documentation, `trio.testing.memory_stream_one_way_pair`.
    """
    send_stream = MemorySendStream()
    receive_stream = MemoryReceiveStream()

    def pump() -> None:
        memory_stream_pump(send_stream, receive_stream)

    async def pump_after_sending() -> None:
        pump()

    send_stream.send_all_hook = pump_after_sending
    send_stream.close_hook = pump
    return send_stream, receive_stream


def stapled_pair(
    one_way_pair: Callable[[], tuple[SendStreamT, ReceiveStreamT]],
) -> tuple[StapledStream[SendStreamT, ReceiveStreamT], StapledStream[SendStreamT, ReceiveStreamT]]:
    """Make two connected two-way streams out of two pairs of one-way streams."""
    left_sends, right_receives = one_way_pair()
    right_sends, left_receives = one_way_pair()
    return StapledStream(left_sends, left_receives), StapledStream(right_sends, right_receives)


def memory_stream_pair() -> tuple[
    StapledStream[MemorySendStream, MemoryReceiveStream], StapledStream[MemorySendStream, MemoryReceiveStream]
]:
    """Make two connected two-way streams; nothing ever waits for room.

    They are made of the pieces of `memory_stream_one_way_pair`, which a test may rearrange.

    Example::

        left, right = nursery.testing.memory_stream_pair()

        async def one_byte_a_second() -> None:
            while nursery.testing.memory_stream_pump(left.send_stream, right.receive_stream, max_bytes=1):
                await nursery.sleep(1)

        left.send_stream.send_all_hook = one_byte_a_second

    Source: trio's documentation, `trio.testing.memory_stream_pair`.
    """
    return stapled_pair(memory_stream_one_way_pair)


__all__ = [
    "AsyncHook",
    "MemoryReceiveStream",
    "MemorySendStream",
    "SyncHook",
    "memory_stream_one_way_pair",
    "memory_stream_pair",
    "memory_stream_pump",
]
