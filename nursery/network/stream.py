"""Byte streams over connected sockets.

Invariant: every operation is one flat `async def` that works on the socket's interest and its bound system calls: at
most one `recv` and one `send` for a message that fits.  These are the two functions that a server lives in; what is
written out here is written as functions elsewhere (`Socket._reading`).

What may be skipped, and why it is sound: after a short read on TCP nothing is left, and what comes later is a new
edge, so the next receive sleeps without trying; unless a hang-up was seen, for data and FIN may both be queued and no
further edge will come.  After a partial send the buffer is full, likewise.
"""

from __future__ import annotations

import errno
import socket as stdlib_socket
from operator import index
from typing import TYPE_CHECKING, Final, NoReturn, final, overload

from ..kernel.current import current, current_task
from ..kernel.errors import BrokenResourceError, BusyResourceError, ClosedResourceError
from ..kernel.interrupts import enable_ki_protection
from ..kernel.io.interest import abort_read, abort_write
from ..kernel.traps import BUDGET, cancel_shielded_checkpoint, checkpoint, park
from ..streams.abstract import HalfCloseableStream
from .socket_type import SocketType
from .sockets import Socket

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

DEFAULT_RECEIVE_SIZE: Final = 64 * 1024
# How much unsent data the system keeps (bytes): more only makes what is sent older.
NOT_SENT_LOW_WATER: Final = 16 * 1024

ANOTHER_SENDS: Final = "another task is currently sending data on this SocketStream"
ANOTHER_RECEIVES: Final = "another task is currently receiving data on this SocketStream"


@final
class SocketStream(HalfCloseableStream):
    """A stream over a connected socket of type SOCK_STREAM, which from then on belongs to it.

    Attributes: `socket`, the socket object.

    TCP sockets get TCP_NODELAY and, where it exists, TCP_NOTSENT_LOWAT; `setsockopt` can change that.
    Raises TypeError for what is no socket of this library, ValueError for other kinds of socket.

    Example::

        stream = await nursery.open_tcp_stream("example.org", 80)
        async with stream:
            await stream.send_all(b"GET / HTTP/1.0\\r\\n\\r\\n")
            async for piece in stream:
                print(piece)

    Source: trio's documentation, `trio.SocketStream`.
    """

    __slots__ = ("__weakref__", "_recv", "_send", "_sending", "_sock", "socket")

    def __init__(self, socket: SocketType) -> None:
        if not isinstance(socket, SocketType):
            raise TypeError(f"SocketStream requires a nursery socket object, not {socket!r}")
        if socket.type != stdlib_socket.SOCK_STREAM:
            raise ValueError("SocketStream requires a SOCK_STREAM socket")
        self.socket = socket
        # Whether a task is between the first and the last byte of its data.
        self._sending = False
        if isinstance(socket, Socket):
            self._sock: Socket | None = socket
            self._recv = socket.plain_recv
            self._send = socket.plain_send
        else:
            # A test double: it is used by its async methods.
            self._sock = None
        try:
            socket.setsockopt(stdlib_socket.IPPROTO_TCP, stdlib_socket.TCP_NODELAY, True)
        except OSError:
            # Not TCP.
            pass
        else:
            if hasattr(stdlib_socket, "TCP_NOTSENT_LOWAT"):
                try:
                    socket.setsockopt(stdlib_socket.IPPROTO_TCP, stdlib_socket.TCP_NOTSENT_LOWAT, NOT_SENT_LOW_WATER)
                except OSError:
                    pass

    # flat: the hot path of every server
    @enable_ki_protection
    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if max_bytes is None:
            max_bytes = DEFAULT_RECEIVE_SIZE
        else:
            max_bytes = index(max_bytes)
            if max_bytes < 1:
                raise ValueError(f"max_bytes must be >= 1, not {max_bytes!r}")
        runner = current.runner
        task = None if runner is None else runner.current
        if task is None:
            task = current_task()
            runner = task.runner
        if task.alert:
            task.raise_if_interrupted()
        sock = self._sock
        if sock is None:
            return await self._receive_from_double(max_bytes)
        if sock.runner is not runner:
            sock.join(task.runner)
        interest = sock.interest
        if interest.reader is not None:
            raise BusyResourceError(ANOTHER_RECEIVES)
        if interest.readable:
            try:
                data = self._recv(max_bytes)
            except BlockingIOError:
                pass
            except OSError as exc:
                await cancel_shielded_checkpoint()
                self._raise_stream_error(exc)
            else:
                if 0 < len(data) < max_bytes and not interest.hangup:
                    interest.readable = False
                if task.budget > 0:
                    task.budget -= 1
                else:
                    task.budget = BUDGET
                    await cancel_shielded_checkpoint()
                return data
        task.budget = BUDGET
        if interest.closed:
            # Somebody announced that the socket would be closed, and it was not (tests/network/test_socket_stream.py).
            interest = sock.join(task.runner)
            if interest.reader is not None:
                raise BusyResourceError(ANOTHER_RECEIVES)
        while True:
            interest.readable = False
            interest.reader = task
            if interest.arm is not None:
                interest.arm(interest)
            task.custom_sleep_data = interest
            await park(task, abort_read)
            try:
                data = self._recv(max_bytes)
            except BlockingIOError:
                # Somebody else was faster, through the socket itself; perhaps they even wait by now.
                if interest.reader is not None:
                    raise BusyResourceError(ANOTHER_RECEIVES) from None
            except OSError as exc:
                self._raise_stream_error(exc)
            else:
                if 0 < len(data) < max_bytes and not interest.hangup:
                    interest.readable = False
                return data

    # flat: what `receive_some` does when it has to wait, as a server does for nearly every message; the rest is left to
    # it.  One coroutine fewer in each wait is 5 % fewer instructions for an echo of 1 KiB
    # (tests/network/test_stream_iteration.py).
    @enable_ki_protection
    async def __anext__(self) -> bytes:
        runner = current.runner
        task = None if runner is None else runner.current
        sock = self._sock
        if task is None or task.alert or sock is None or sock.runner is not runner:
            data = await self.receive_some()
        else:
            interest = sock.interest
            if interest.readable or interest.closed or interest.reader is not None or interest.arm is not None:
                data = await self.receive_some()
            else:
                task.budget = BUDGET
                interest.reader = task
                task.custom_sleep_data = interest
                await park(task, abort_read)
                try:
                    data = self._recv(DEFAULT_RECEIVE_SIZE)
                except BlockingIOError:
                    # Somebody else was faster, through the socket itself.
                    data = await self.receive_some()
                except OSError as exc:
                    self._raise_stream_error(exc)
                else:
                    if 0 < len(data) < DEFAULT_RECEIVE_SIZE and not interest.hangup:
                        interest.readable = False
        if not data:
            raise StopAsyncIteration
        return data

    # flat: the hot path of every server
    @enable_ki_protection
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        runner = current.runner
        task = None if runner is None else runner.current
        if task is None:
            task = current_task()
            runner = task.runner
        if task.alert:
            task.raise_if_interrupted()
        if self._sending:
            raise BusyResourceError(ANOTHER_SENDS)
        sock = self._sock
        if sock is None:
            await self._send_to_double(data)
            return
        if sock.runner is not runner:
            sock.join(task.runner)
        if data.__class__ is not bytes and data.__class__ is not bytearray:
            data = memoryview(data)
            if data.nbytes:
                # In bytes, whatever the items are: the system counts so.
                data = data.cast("B")
        size = len(data)
        interest = sock.interest
        sent = 0
        if not size:
            if sock.did_shutdown_SHUT_WR:
                raise ClosedResourceError("can't send data after sending EOF")
            await checkpoint()
            return
        if interest.writable:
            try:
                sent = self._send(data)
            except BlockingIOError:
                pass
            except OSError as exc:
                await cancel_shielded_checkpoint()
                self._raise_stream_error(exc)
            else:
                if sent == size:
                    if task.budget > 0:
                        task.budget -= 1
                    else:
                        task.budget = BUDGET
                        await cancel_shielded_checkpoint()
                    return
        task.budget = BUDGET
        self._sending = True
        try:
            with memoryview(data) as view:
                if interest.closed:
                    interest = sock.join(task.runner)
                while True:
                    interest.writable = False
                    if interest.writer is not None:
                        raise BusyResourceError(ANOTHER_SENDS)
                    interest.writer = task
                    if interest.arm is not None:
                        interest.arm(interest)
                    task.custom_sleep_data = interest
                    await park(task, abort_write)
                    with view[sent:] as rest:
                        try:
                            sent += self._send(rest)
                        except BlockingIOError:
                            continue
                        except OSError as exc:
                            self._raise_stream_error(exc)
                    if sent == size:
                        return
        finally:
            self._sending = False

    async def wait_send_all_might_not_block(self) -> None:
        self._begin_to_send()
        try:
            if self.socket.fileno() == -1:
                raise ClosedResourceError("this socket was already closed")
            await self.socket.wait_writable()
        finally:
            self._sending = False

    async def send_eof(self) -> None:
        self._begin_to_send()
        try:
            await checkpoint()
            # A second time it is an error on some systems.
            if self.socket.did_shutdown_SHUT_WR:
                return
            try:
                self.socket.shutdown(stdlib_socket.SHUT_WR)
            except OSError as exc:
                self._raise_stream_error(exc)
        finally:
            self._sending = False

    async def aclose(self) -> None:
        self.socket.close()
        await checkpoint()

    @overload
    def setsockopt(self, level: int, option: int, value: int | ReadableBuffer) -> None: ...

    @overload
    def setsockopt(self, level: int, option: int, value: None, length: int) -> None: ...

    def setsockopt(
        self, level: int, option: int, value: int | ReadableBuffer | None, length: int | None = None
    ) -> None:
        """Set an option of the socket; see `socket.socket.setsockopt`.

        Source: trio's documentation, `trio.SocketStream.setsockopt`.
        """
        if length is None:
            if value is None:
                raise TypeError("invalid value for argument 'value': it may be None only if length is given")
            self.socket.setsockopt(level, option, value)
        elif value is not None:
            raise TypeError(f"invalid value for argument 'value': {value!r}, it must be None if length is given")
        else:
            self.socket.setsockopt(level, option, value, length)

    @overload
    def getsockopt(self, level: int, option: int) -> int: ...

    @overload
    def getsockopt(self, level: int, option: int, buffersize: int) -> bytes: ...

    def getsockopt(self, level: int, option: int, buffersize: int = 0) -> int | bytes:
        """Return an option of the socket, as a number, or as up to `buffersize` bytes.

        Source: trio's documentation, `trio.SocketStream.getsockopt`.
        """
        if buffersize == 0:
            return self.socket.getsockopt(level, option)
        return self.socket.getsockopt(level, option, buffersize)

    def __repr__(self) -> str:
        return f"<SocketStream over {self.socket!r}>"

    # The rarer ways

    def _begin_to_send(self) -> None:
        if self._sending:
            raise BusyResourceError(ANOTHER_SENDS)
        self._sending = True

    def _raise_stream_error(self, error: OSError) -> NoReturn:
        """Raise what a stream raises where its socket raised `error`, which is the cause only if it tells more."""
        if error.errno == errno.EBADF:
            raise ClosedResourceError("this socket was already closed") from None
        if error.errno == errno.EPIPE and self.socket.did_shutdown_SHUT_WR:
            raise ClosedResourceError("can't send data after sending EOF") from None
        raise BrokenResourceError(f"socket connection broken: {error}") from error

    async def _receive_from_double(self, max_bytes: int) -> bytes:
        try:
            return await self.socket.recv(max_bytes)
        except OSError as exc:
            self._raise_stream_error(exc)

    async def _send_to_double(self, data: bytes | bytearray | memoryview) -> None:
        if self.socket.did_shutdown_SHUT_WR:
            raise ClosedResourceError("can't send data after sending EOF")
        self._begin_to_send()
        try:
            with memoryview(data) as view:
                if not view:
                    if self.socket.fileno() == -1:
                        raise ClosedResourceError("this socket was already closed")
                    await checkpoint()
                sent = 0
                while sent < len(view):
                    with view[sent:] as rest:
                        sent += await self.socket.send(rest)
        except OSError as exc:
            self._raise_stream_error(exc)
        finally:
            self._sending = False


__all__ = ["SocketStream"]
