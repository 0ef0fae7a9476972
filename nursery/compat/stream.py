"""asyncio's streams, with waits that the kernel wakes directly.

Invariant: what was received and not read stands in `_chunk` alone, as it came, or in `_bytes` alone.
So a reader that takes whole messages gets the very bytes that the system gave, without a copy, and `_buffer`, the name
that asyncio's own methods and libraries know, is made of them when somebody asks for it.

The classes extend asyncio's, so what a library does with its streams it can do with these.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import coroutines
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, SupportsIndex, TypeAlias

from .tasks import shield, sleep
from .transports import receiving
from .waiting import Lot

if TYPE_CHECKING:
    import ssl

    from _typeshed import ReadableBuffer


# What is called for each connection of a server.
ClientConnected: TypeAlias = "Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None]"

DEFAULT_LIMIT: Final = 2**16


class StreamReader(asyncio.StreamReader):
    """The receiving side of a stream.

    Arguments: limit is how many bytes a line may have; twice as many are buffered before the peer has to wait.
    Raises ValueError for a limit that is not positive.
    Source: asyncio's documentation, `asyncio.StreamReader`.
    """

    if TYPE_CHECKING:
        _limit: int
        _eof: bool
        _paused: bool
        _exception: Exception | None
        _source_traceback: list[object] | None
        _transport: Any

    def __init__(self, limit: int = DEFAULT_LIMIT, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._bytes = bytearray()
        self._chunk: bytes | None = None
        self._lot = Lot()
        super().__init__(limit=limit, loop=asyncio.get_event_loop() if loop is None else loop)
        if self._source_traceback:
            # Where this was called, not what it called.
            del self._source_traceback[-1]

    def __repr__(self) -> str:
        described = super().__repr__()
        return f"{described[:-1]} waiting>" if self._lot.waiters else described

    @property
    def _buffer(self) -> bytearray:
        if self._chunk is not None:
            self._bytes += self._chunk
            self._chunk = None
        return self._bytes

    @_buffer.setter
    def _buffer(self, value: bytearray) -> None:
        self._chunk = None
        self._bytes = value

    # Receiving

    # flat: once for every message
    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        """Take what was received; called by the protocol."""
        assert not self._eof, "feed_data after feed_eof"
        if not data:  # type: ignore[truthy-iterable]  # bytes of some kind
            return
        if self._chunk is None and not self._bytes and type(data) is bytes:
            self._chunk = data
            buffered = len(data)
        else:
            buffer = self._buffer
            buffer.extend(data)
            buffered = len(buffer)
        if self._lot.waiters:
            # There is no second one.
            self._lot.wake_one()
        if buffered > 2 * self._limit and self._transport is not None and not self._paused:
            try:
                self._transport.pause_reading()
            except NotImplementedError:
                # It cannot be paused: then there is no limit.
                self._transport = None
            else:
                self._paused = True

    def _wakeup_waiter(self) -> None:
        self._lot.wake_one()

    def set_exception(self, exc: Exception) -> None:
        """Let every read raise `exc` from now on, also one that waits; called by the protocol."""
        self._exception = exc
        self._lot.wake_one()

    # flat: once for every wait
    async def _wait_for_data(self, func_name: str) -> None:
        if self._lot.waiters:
            raise RuntimeError(
                f"{func_name}() called while another coroutine is already waiting for incoming data: one task reads at "
                "a time"
            )
        if self._exception is not None:
            # Nothing will come any more.
            raise self._exception
        assert not self._eof, "_wait_for_data after EOF"
        if self._paused:
            # Else nothing would ever come.
            self._paused = False
            self._transport.resume_reading()
        await self._lot.wait()

    def at_eof(self) -> bool:
        """Return whether the end was received and everything before it was read."""
        return self._eof and self._chunk is None and not self._bytes

    # flat: once for every message
    async def read(self, n: int = -1) -> bytes:
        """Return what there is, at most `n` bytes, waiting for the first one; b"" at the end of the stream.

        Arguments: a negative n reads until the end.

        A cancel point if it waits; if cancelled, nothing was taken.
        """
        if self._exception is not None:
            raise self._exception
        if n == 0:
            return b""
        if n < 0:
            return await self._read_all()
        while self._chunk is None and not self._bytes and not self._eof:
            # A task that was not waiting may have taken what this one was woken for: b"" would mean the end.
            await self._wait_for_data("read")
        chunk = self._chunk
        if chunk is not None and len(chunk) <= n:
            self._chunk = None
            data = chunk
        elif chunk is not None and len(chunk) <= 4 * n:
            # A part of one large message: cheaper than by way of the buffer, unless the rest is copied again and again.
            data, self._chunk = chunk[:n], chunk[n:]
        else:
            buffer = self._buffer
            data = bytes(memoryview(buffer)[:n])
            del buffer[:n]
        if self._paused:
            self._maybe_resume_transport()
        return data

    async def _read_all(self) -> bytes:
        # Block by block, so that the limit lets the rest come.
        blocks: list[bytes] = []
        try:
            while block := await self.read(sys.maxsize):
                blocks.append(block)
        except BaseException:
            unread = bytearray().join([*blocks, self._buffer])
            self._buffer = unread
            raise
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    def _maybe_resume_transport(self) -> None:
        if self._paused and len(self._buffer) <= self._limit:
            self._paused = False
            self._transport.resume_reading()

    def _change_transport(self, old: asyncio.Transport, new: asyncio.Transport) -> None:
        """Pause and resume the transport that stands upon another one from now on, which needs that one itself."""
        if self._transport is old:
            self._transport = new
            if self._paused:
                old.resume_reading()
                new.pause_reading()

    async def readexactly(self, n: int) -> bytes:
        """Return exactly `n` bytes, waiting for all of them.

        A cancel point if it waits; if cancelled, nothing was taken.
        Raises IncompleteReadError, with what there was, if the stream ends before; ValueError for a negative `n`.
        """
        if n < 0:
            raise ValueError(f"readexactly size can not be less than zero, not {n!r}")
        if self._exception is not None:
            raise self._exception
        if n == 0:
            return b""
        chunk = self._chunk
        if chunk is not None and len(chunk) == n:
            self._chunk = None
            data = chunk
        else:
            while len(self._buffer) < n:
                if self._eof:
                    incomplete = bytes(self._buffer)
                    self._buffer.clear()
                    raise asyncio.IncompleteReadError(incomplete, n)
                await self._wait_for_data("readexactly")
            buffer = self._buffer
            data = bytes(memoryview(buffer)[:n])
            del buffer[:n]
        self._maybe_resume_transport()
        return data

    async def readline(self) -> bytes:
        """Return the next line with its end, or what there is at the end of the stream.

        A cancel point if it waits; if cancelled, nothing was taken.
        Raises ValueError for a line above the limit.
        """
        separator = b"\n"
        try:
            return await self.readuntil(separator)
        except asyncio.IncompleteReadError as exc:
            return exc.partial
        except asyncio.LimitOverrunError as exc:
            buffer = self._buffer
            if buffer.startswith(separator, exc.consumed):
                del buffer[: exc.consumed + len(separator)]
            else:
                buffer.clear()
            self._maybe_resume_transport()
            raise ValueError(exc.args[0]) from None

    async def readuntil(self, separator: ReadableBuffer | tuple[ReadableBuffer, ...] = b"\n") -> bytes:
        """Return what comes until `separator`, with it.

        Arguments: separator is bytes, or a tuple of them, the shortest match of which ends the message.

        A cancel point if it waits; if cancelled, nothing was taken.
        Raises LimitOverrunError if no separator comes within the limit, and leaves the data there; IncompleteReadError,
        with what there was, if the stream ends before; ValueError for an empty separator.
        """
        separators: list[Any] = [separator]
        if isinstance(separator, tuple):
            separators = sorted(separator, key=len)
        if not separators:
            raise ValueError("Separator should contain at least one element")
        shortest, longest = len(separators[0]), len(separators[-1])
        if shortest == 0:
            raise ValueError("Separator should be at least one-byte string")
        if self._exception is not None:
            raise self._exception
        # Where to look: everything before has been looked at.
        offset = 0
        while True:
            buffered: bytes | bytearray = self._bytes if self._chunk is None else self._chunk
            if len(buffered) - offset >= shortest:
                start = end = -1
                for each in separators:
                    at = buffered.find(each, offset)
                    if at != -1 and (end == -1 or at + len(each) < end):
                        start, end = at, at + len(each)
                if end != -1:
                    break
                # A separator may have begun at the end.
                offset = max(0, len(buffered) + 1 - longest)
                if offset > self._limit:
                    raise asyncio.LimitOverrunError("Separator is not found, and chunk exceed the limit", offset)
            if self._eof:
                incomplete = bytes(buffered)
                self._buffer.clear()
                raise asyncio.IncompleteReadError(incomplete, None)
            await self._wait_for_data("readuntil")
        if start > self._limit:
            raise asyncio.LimitOverrunError("Separator is found, but chunk is longer than limit", start)
        if type(buffered) is bytes and end == len(buffered):
            self._chunk = None
            data = buffered
        else:
            buffer = self._buffer
            data = bytes(memoryview(buffer)[:end])
            del buffer[:end]
        self._maybe_resume_transport()
        return data


class StreamReaderProtocol(asyncio.StreamReaderProtocol):
    """What feeds a StreamReader from a transport, and calls a server's callback.

    The reader belongs to the program, which has dropped it when nothing refers to it any more: what comes then is
    dropped as well.

    Source: asyncio's documentation, `asyncio.StreamReaderProtocol`.
    """

    if TYPE_CHECKING:
        _client_connected_cb: ClientConnected | None
        _connection_lost: bool
        _loop: asyncio.AbstractEventLoop
        _over_ssl: bool
        _paused: bool
        _reject_connection: bool
        _stream_reader: StreamReader | None
        _stream_reader_wr: Any
        _strong_reader: StreamReader | None
        _task: asyncio.Task[None] | None
        _transport: Any

        async def _drain_helper(self) -> None: ...
        def _get_close_waiter(self, stream: asyncio.StreamWriter) -> asyncio.Future[None]: ...

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin a connection: call the callback of a server, in a task if it is a coroutine function."""
        callback = self._client_connected_cb
        if self._reject_connection or callback is None:
            super().connection_made(transport)
            return
        self._transport = transport
        self._over_ssl = transport.get_extra_info("sslcontext") is not None
        reader: Any = self._stream_reader
        if reader is not None:
            reader.set_transport(transport)
        # Only the program has the writer: if it drops the writer, that closes the connection.
        try:
            returned = callback(reader, StreamWriter(self._transport, self, reader, self._loop))
        except Exception as exc:
            self._report_callback(exc, transport)
        else:
            if coroutines.iscoroutine(returned):
                self._task = task = self._loop.create_task(returned)
                task.add_done_callback(partial(self._handled, transport))
        self._strong_reader = None

    def _handled(self, transport: Any, task: asyncio.Task[None]) -> None:
        # After start_tls() it is another one.
        transport = self._transport or transport
        if task.cancelled():
            transport.close()
            return
        error = task.exception()
        if error is not None:
            self._report_callback(error, transport)

    def _report_callback(self, error: BaseException, transport: Any) -> None:
        """Tell of an error of the callback, which a task of it or it itself raised, and end the connection."""
        self._loop.call_exception_handler(
            {"message": "Unhandled exception in client_connected_cb", "exception": error, "transport": transport}
        )
        transport.close()

    def _replace_transport(self, transport: asyncio.Transport) -> None:
        """Take note of start_tls(); called by a writer."""
        old, self._transport = self._transport, transport
        self._over_ssl = transport.get_extra_info("sslcontext") is not None
        if isinstance(self._stream_reader, StreamReader):
            self._stream_reader._change_transport(old, transport)

    def _replace_writer(self, writer: asyncio.StreamWriter) -> None:
        # What a writer of asyncio's calls before 3.13.
        transport: Any = writer.transport
        self._replace_transport(transport)

    # flat: once for every message
    def data_received(self, data: bytes) -> None:
        """Pass data on to the reader."""
        reference = self._stream_reader_wr
        reader = None if reference is None else reference()
        if reader is not None:
            reader.feed_data(data)


class StreamWriter(asyncio.StreamWriter):
    """The sending side of a stream.

    Source: asyncio's documentation, `asyncio.StreamWriter`.
    """

    if TYPE_CHECKING:
        _loop: asyncio.AbstractEventLoop
        _protocol: StreamReaderProtocol
        _reader: StreamReader | None
        _transport: Any

    # flat: once for every message
    async def drain(self) -> None:
        """Wait until the peer has taken enough for more to be written.

        A cancel point if it waits, or if the stream is closing; if cancelled, what was written is sent all the same.
        Raises what broke the connection, ConnectionResetError if it is lost.
        Source: asyncio's documentation, `StreamWriter.drain`.
        """
        reader = self._reader
        if reader is not None:
            exc = reader._exception
            if exc is not None:
                raise exc
        if self._transport.is_closing():
            # A turn for connection_lost(), which tells what happened.
            await sleep(0)
        protocol = self._protocol
        if type(protocol) is not StreamReaderProtocol or protocol._paused or protocol._connection_lost:
            await protocol._drain_helper()

    async def wait_closed(self) -> None:
        """Wait until the connection is gone.

        A cancel point; a cancelled call leaves the others that wait alone.
        Raises what broke the connection, if something did.
        Source: asyncio's documentation, `StreamWriter.wait_closed`.
        """
        closed: Any = self._protocol._get_close_waiter(self)
        await (shield(closed) if asyncio.isfuture(closed) else closed)

    async def start_tls(
        self,
        sslcontext: ssl.SSLContext,
        *,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> None:
        """Go on in TLS, after a handshake; the reader and this writer stand for the encrypted connection then.

        Arguments: server_hostname is whom the certificate must name.  The time limits are in seconds.

        A cancel point; if cancelled, the connection is closed.
        Raises as `loop.start_tls` does.
        Source: asyncio's documentation, `StreamWriter.start_tls`.
        """
        protocol = self._protocol
        await self.drain()
        old = self._transport
        new: Any = await self._loop.start_tls(
            old,
            protocol,
            sslcontext,
            server_side=protocol._client_connected_cb is not None,
            server_hostname=server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        self._transport = new
        if hasattr(protocol, "_replace_transport"):
            protocol._replace_transport(new)
        else:
            # asyncio's own, before 3.13.
            protocol._replace_writer(self)
        if isinstance(self._reader, StreamReader):
            self._reader._change_transport(old, new)


def _adopt(reader: asyncio.StreamReader) -> None:
    """Make a stdlib reader that nobody waits for one of ours, in place: a transport of ours feeds it from now on.

    So a program that imports asyncio, or a library, waits for its streams as directly as one that imports compat.
    """
    adopted: Any = reader
    buffered = vars(adopted).pop("_buffer")
    adopted.__class__ = StreamReader
    adopted._bytes = buffered
    adopted._chunk = None
    adopted._lot = Lot()


receiving.adopt = _adopt
receiving.stream_protocols.add(StreamReaderProtocol)
