"""Sending files: sendfile for transports, sock_sendfile for raw sockets.

Invariant: when a call ends that has begun to send, however it ends, the file's position is behind the last byte that
was sent.  While a file goes out through a transport, the transport does not read, and refuses other writes if the
system does the sending.

The system's sendfile() is asked for one megabyte at a time, so that a peer that takes everything does not keep the loop
from its other work.
"""

from __future__ import annotations

import asyncio
import errno
import io
import os
import socket
import stat
from asyncio import SendfileNotAvailableError, constants
from typing import IO, TYPE_CHECKING, Any, Final

from ..transports.socket import SocketTransport
from .lines import Line, Place, Unfinished
from .sockets import Sockets

if TYPE_CHECKING:
    from ...kernel.io.interest import Interest

# How many bytes one system call is asked to send.
CHUNK: Final = 1024 * 1024
# These are the connection's end, not the system's refusal to send such a file.
SOCKET_ERRORS: Final = frozenset({errno.ENOTCONN, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN})


class Sendfile(Sockets):
    """sendfile and sock_sendfile."""

    async def sock_sendfile(
        self,
        sock: socket.socket,
        file: IO[bytes],
        offset: int = 0,
        count: int | None = None,
        *,
        fallback: bool | None = True,
    ) -> int:
        """Send a file through a stream socket and return how many bytes were sent.

        Arguments: file is a regular file opened in binary mode; offset is where to begin in it; count how many bytes to
        send at most, None for all there are; with fallback, what the system's sendfile() cannot send is read in a
        thread and sent.
        Raises SendfileNotAvailableError for such a file without fallback, OSError if the connection breaks.  A
        cancelled call has sent what lies before the file's position.
        Source: asyncio's documentation, `loop.sock_sendfile`.
        """
        self._place_of(sock)
        check_arguments(file, offset, count)
        if sock.type != socket.SOCK_STREAM:
            raise ValueError("only SOCK_STREAM type sockets are supported")
        try:
            return await self._sock_sendfile_native(sock, file, offset, count)
        except SendfileNotAvailableError:
            if not fallback:
                raise
        pieces = Pieces(self, file, offset, count)
        try:
            while data := await pieces.read():
                await self.sock_sendall(sock, data)
                pieces.sent += len(data)
        finally:
            pieces.end()
        return pieces.sent

    async def _sock_sendfile_native(
        self, sock: socket.socket, file: IO[bytes], offset: int, count: int | None
    ) -> int:
        descriptor = regular(file)
        place = self._place_of(sock) or self._new_place(sock)
        return await self._send_through(place.writing, sock, file, descriptor, offset, count)

    async def _send_through(
        self, line: Line, sock: socket.socket, file: IO[bytes], descriptor: int, offset: int, count: int | None
    ) -> int:
        """Let the system send a file, when it is this call's turn to write to the socket."""
        rest = Rest(sock, descriptor, offset, count)
        try:
            await line.take_turn(rest, tried=False)
        except SendfileNotAvailableError:
            raise
        except BaseException:
            _leave_at(file, offset + rest.sent)
            raise
        _leave_at(file, offset + rest.sent)
        return rest.sent

    async def sendfile(
        self,
        transport: asyncio.WriteTransport,
        file: IO[bytes],
        offset: int = 0,
        count: int | None = None,
        *,
        fallback: bool = True,
    ) -> int:
        """Send a file through a transport and return how many bytes were sent.

        Arguments: as `sock_sendfile`.  TLS transports always read the file and write.
        Raises SendfileNotAvailableError if the system's sendfile() does not serve and there is no fallback,
        RuntimeError for a transport that is closing or is no stream, ConnectionError if the connection ends meanwhile.
        Source: asyncio's documentation, `loop.sendfile`.
        """
        if transport.is_closing():
            raise RuntimeError("Transport is closing")
        mode = getattr(transport, "_sendfile_compatible", constants._SendfileMode.UNSUPPORTED)
        if mode is constants._SendfileMode.UNSUPPORTED:
            raise RuntimeError(f"sendfile is not supported for transport {transport!r}")
        check_arguments(file, offset, count)
        if mode is constants._SendfileMode.TRY_NATIVE:
            try:
                return await self._sendfile_native(transport, file, offset, count)
            except SendfileNotAvailableError:
                if not fallback:
                    raise
        if not fallback:
            raise RuntimeError(
                f"fallback is disabled and native sendfile is not supported for transport {transport!r}"
            )
        pieces = Pieces(self, file, offset, count)
        stand_in = StandIn(transport)
        try:
            while data := await pieces.read():
                await stand_in.until_writable()
                transport.write(data)
                pieces.sent += len(data)
        finally:
            pieces.end()
            stand_in.leave()
        return pieces.sent

    # CPython's tests replace this name.
    async def _sendfile_native(
        self, transport: asyncio.WriteTransport, file: IO[bytes], offset: int, count: int | None
    ) -> int:
        if not isinstance(transport, SocketTransport):
            raise SendfileNotAvailableError(f"sendfile() of the system is not available for {transport!r}")
        descriptor = regular(file)
        sock = transport._sock
        assert sock is not None
        emptied = transport._make_empty_waiter()
        was_reading = transport.is_reading()
        transport.pause_reading()
        try:
            await emptied
            line = TransportPlace(self, sock, transport._interest).writing
            return await self._send_through(line, sock, file, descriptor, offset, count)
        except ConnectionError as exc:
            # What a failed write() does.
            transport._fatal_error(exc, "Fatal write error on socket transport")
            raise
        finally:
            transport._reset_empty_waiter()
            if was_reading:
                transport.resume_reading()


def check_arguments(file: object, offset: object, count: object) -> None:
    """Raise ValueError or TypeError for what cannot be sent."""
    mode = getattr(file, "mode", "b")
    if isinstance(mode, str) and "b" not in mode:
        raise ValueError("file should be opened in binary mode")
    if count is not None:
        if not isinstance(count, int):
            raise TypeError(f"count must be a positive integer (got {count!r})")
        if count <= 0:
            raise ValueError(f"count must be a positive integer (got {count!r})")
    if not isinstance(offset, int):
        raise TypeError(f"offset must be a non-negative integer (got {offset!r})")
    if offset < 0:
        raise ValueError(f"offset must be a non-negative integer (got {offset!r})")


def regular(file: Any) -> int:
    """Return the descriptor of a regular file; SendfileNotAvailableError for anything else."""
    if not hasattr(os, "sendfile"):
        raise SendfileNotAvailableError("os.sendfile() is not available")
    try:
        descriptor: int = file.fileno()
        mode = os.fstat(descriptor).st_mode
    except (AttributeError, io.UnsupportedOperation, OSError) as exc:
        raise SendfileNotAvailableError("not a regular file") from exc
    if not stat.S_ISREG(mode):
        raise SendfileNotAvailableError("not a regular file")
    return descriptor


def _leave_at(file: IO[bytes], position: int) -> None:
    try:
        file.seek(position)
    except (AttributeError, OSError, ValueError):
        # No file object but something with a descriptor; or a pipe; or it was closed meanwhile.
        pass


class Rest:
    """What the system has still to send of a file; called, it sends a chunk, and is unfinished until all is sent."""

    __slots__ = ("_count", "_descriptor", "_offset", "_sock", "sent")

    def __init__(self, sock: socket.socket, descriptor: int, offset: int, count: int | None) -> None:
        self._sock = sock
        self._descriptor = descriptor
        self._offset = offset
        self._count = count
        self.sent = 0

    def __call__(self) -> None:
        chunk = CHUNK if self._count is None else min(CHUNK, self._count - self.sent)
        try:
            sent = os.sendfile(self._sock.fileno(), self._descriptor, self._offset + self.sent, chunk)
        except BlockingIOError:
            raise
        except OSError as exc:
            if self._sock.fileno() < 0 or exc.errno == errno.ENOTCONN:
                # The same on every system, and whoever was first to know.
                raise ConnectionError(exc.errno, "socket is not connected") from exc
            if self.sent or isinstance(exc, (ConnectionError, TimeoutError)) or exc.errno in SOCKET_ERRORS:
                raise
            raise SendfileNotAvailableError("os.sendfile call failed") from exc
        self.sent += sent
        if sent and self.sent != self._count:
            raise Unfinished


class Pieces:
    """A file read piece by piece in threads, where the system's sendfile() does not serve.

    Each piece is read at the place that follows from what was sent, so neither a read that a cancellation left behind
    nor the position the file had before matters.
    """

    def __init__(self, loop: Sockets, file: IO[bytes], offset: int, count: int | None) -> None:
        self._loop = loop
        self._file: Any = file
        self._offset = offset
        self._count = count
        # 256 KiB.  asyncio gives transports a sixteenth of it; through TLS that is five times slower.
        self._size = constants.SENDFILE_FALLBACK_READBUFFER_SIZE
        self._ended = False
        self.sent = 0

    async def read(self) -> bytes:
        """Return the next piece, empty at the end."""
        size = self._size if self._count is None else min(self._size, self._count - self.sent)
        if not size:
            return b""
        return await self._loop.run_in_executor(None, self._read, size)

    def _read(self, size: int) -> bytes:
        self._seek()
        data: bytes | None = self._file.read(size)
        if self._ended:
            # Cancelled while this thread was reading.
            self._seek()
        return data or b""

    def _seek(self) -> None:
        try:
            self._file.seek(self._offset + self.sent)
        except (AttributeError, OSError):
            # A pipe, or the like: what comes next is the next piece.
            if self._offset and not self.sent:
                raise

    def end(self) -> None:
        """Leave the file's position behind what was sent."""
        self._ended = True
        _leave_at(self._file, self._offset + self.sent)


class StandIn(asyncio.Protocol):
    """The protocol of a transport while a file is written to it: it waits where the real one would be told to pause."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._protocol: asyncio.BaseProtocol = transport.get_protocol()
        self._was_reading: bool = transport.is_reading()
        self._was_paused = self._paused = bool(getattr(transport, "_protocol_paused", False))
        self._writable: asyncio.Future[None] | None = None
        self._ended = False
        self._error: BaseException | None = None
        transport.pause_reading()
        transport.set_protocol(self)

    async def until_writable(self) -> None:
        """Wait until the transport takes data; ConnectionError if it does not any more."""
        while self._paused and not self._ended:
            self._writable = asyncio.get_running_loop().create_future()
            await self._writable
        if self._error is not None:
            raise self._error
        if self._ended or self._transport.is_closing():
            raise ConnectionError("Connection closed by peer")

    def leave(self) -> None:
        """Put the real protocol back, and tell it what it has missed."""
        if self._ended:
            return
        self._transport.set_protocol(self._protocol)
        if self._was_reading:
            self._transport.resume_reading()
        if self._was_paused and not self._paused:
            self._protocol.resume_writing()
        elif self._paused and not self._was_paused:
            self._protocol.pause_writing()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._ended = True
        self._error = exc
        self._wake()
        self._protocol.connection_lost(exc)  # type: ignore[arg-type]  # asyncio passes what it has

    def data_received(self, data: bytes) -> None:
        raise RuntimeError("Invalid state: reading should be paused")

    def eof_received(self) -> bool | None:
        if self._transport.is_closing():
            # The answer of a TLS peer to our own goodbye.
            protocol: Any = self._protocol
            keep_open: bool | None = protocol.eof_received()
            return keep_open
        raise RuntimeError("Invalid state: reading should be paused")

    def _wake(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)


class TransportPlace(Place):
    """The place of a transport's socket, with the transport's own registration."""

    __slots__ = ()

    def __init__(self, loop: Sockets, sock: socket.socket, interest: Interest) -> None:
        super().__init__(loop, sock, interest.fd)
        self.interest = interest

    def register(self) -> Interest:
        """Return the transport's registration, if it has not ended."""
        assert self.interest is not None
        if self.interest.closed:
            raise self.gone()
        return self.interest

    def gone(self) -> OSError:
        """Return the news that the connection has ended."""
        return ConnectionError("Connection is closed by peer")
