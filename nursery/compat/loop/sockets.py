"""The sock_* functions: one system call, tried first; if it would block, the caller waits in line for the next try.

Invariant: a cancelled call has received, accepted or (sock_sendall and sock_connect apart) sent nothing.  They wait in
futures, not in native waits, so they follow asyncio's rule of cancellation: once.

Where asyncio's loop lets a second waiter for the same direction of a socket push out the first one, which then waits
for ever, here both are served in turn (lines.py).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..handles import Handle
from .descriptors import Descriptors
from .lines import Line, Place, Unfinished
from .names import Names, is_literal

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

T = TypeVar("T")

INTERNET: Final = (socket.AF_INET, socket.AF_INET6)

# Seconds between two tries to connect to a unix socket whose backlog is full: no event tells when it is not any more.
FIRST_RETRY: Final = 0.001
LONGEST_RETRY: Final = 0.05


class Sockets(Descriptors, Names):
    """sock_recv and sock_recvfrom, both also `_into`; sock_accept, sock_sendall, sock_sendto, sock_connect.

    Each wants a non-blocking socket, which debug mode checks (ValueError); an `ssl.SSLSocket` is a TypeError, a socket
    that a transport uses a RuntimeError.
    """

    @cached_property
    def _places(self) -> dict[int, Place]:
        """Where sockets were waited for, by descriptor."""
        return {}

    # flat: once for every call
    def _place_of(self, sock: socket.socket) -> Place | None:
        """Check that `sock` may be used by a sock_* function; return its place, if it was waited for before."""
        if isinstance(sock, ssl.SSLSocket):
            refuse_tls_socket(sock)
        if self._debug and sock.gettimeout() != 0:
            raise ValueError("the socket must be non-blocking")
        fd = sock.fileno()
        if fd in self._transports.data:
            self._no_transport(fd)
        place = self._places.get(fd)
        if place is None or place.owner() is sock or place.belongs_to(sock):
            return place
        place.abandon()
        del self._places[fd]
        return None

    def _new_place(self, sock: socket.socket) -> Place:
        """Make a place for a socket that is waited for the first time."""
        self._check_closed()
        fd = sock.fileno()
        place = self._places[fd] = Place(self, sock, fd)
        return place

    def _leave_place(self, sock: socket.socket) -> None:
        """Let a transport take over a socket that only the caller has waited for."""
        place = self._places.pop(sock.fileno(), None)
        if place is not None:
            place.dissolve()

    async def _when_readable(self, sock: socket.socket, call: Callable[[], T]) -> T:
        place = self._place_of(sock) or self._new_place(sock)
        # As in asyncio, whoever reads takes the descriptor over from add_reader().
        Descriptors._unwatch_reader(self, place.fd)
        return await place.reading.take_turn(call)

    async def _when_writable(self, sock: socket.socket, call: Callable[[], T], *, tried: bool = True) -> T:
        place = self._place_of(sock) or self._new_place(sock)
        Descriptors._unwatch_writer(self, place.fd)
        return await place.writing.take_turn(call, tried=tried)

    # add_reader() and its kin on a descriptor that is being waited for

    def _watch_reader(self, fd: int, callback: Callable[..., object], args: tuple[Any, ...]) -> Handle:
        line = self._line_at(fd, writing=False)
        if line is not None:
            line.displace(lambda: taken_by("add_reader", fd))
        return super()._watch_reader(fd, callback, args)

    def _watch_writer(self, fd: int, callback: Callable[..., object], args: tuple[Any, ...]) -> Handle:
        line = self._line_at(fd, writing=True)
        if line is not None:
            line.displace(lambda: taken_by("add_writer", fd))
        return super()._watch_writer(fd, callback, args)

    # Who waits is left waiting, as in asyncio: anyio removes the reader so, and cancels the call after.

    def _unwatch_reader(self, fd: int) -> bool:
        line = self._line_at(fd, writing=False)
        return (line is not None and line.release()) or super()._unwatch_reader(fd)

    def _unwatch_writer(self, fd: int) -> bool:
        line = self._line_at(fd, writing=True)
        return (line is not None and line.release()) or super()._unwatch_writer(fd)

    def _line_at(self, fd: int, *, writing: bool) -> Line | None:
        """Return who waits for one direction of a descriptor, if it still is what they wait for."""
        place = self._places.get(fd)
        if place is None:
            return None
        owner = place.owner()
        if owner is None or owner.fileno() != fd:
            place.abandon()
            del self._places[fd]
            return None
        return place.writing if writing else place.reading

    # Receiving

    async def sock_recv(self, sock: socket.socket, nbytes: int) -> bytes:
        """Receive up to `nbytes` bytes; empty bytes are the end of the stream.

        A cancelled call has received nothing.
        Source: asyncio's documentation, `loop.sock_recv`.
        """
        place = self._place_of(sock)
        if place is None or not place.reading.waiters:
            try:
                return sock.recv(nbytes)
            except (BlockingIOError, InterruptedError):
                pass
        return await self._when_readable(sock, lambda: sock.recv(nbytes))

    async def sock_recv_into(self, sock: socket.socket, buf: WriteableBuffer) -> int:
        """Receive into `buf` and return how many bytes came; 0 is the end of the stream.

        A cancelled call has received nothing.
        Source: asyncio's documentation, `loop.sock_recv_into`.
        """
        place = self._place_of(sock)
        if place is None or not place.reading.waiters:
            try:
                return sock.recv_into(buf)
            except (BlockingIOError, InterruptedError):
                pass
        return await self._when_readable(sock, lambda: sock.recv_into(buf))

    async def sock_recvfrom(self, sock: socket.socket, bufsize: int) -> tuple[bytes, Any]:
        """Receive a datagram of up to `bufsize` bytes, and the address it came from.

        A cancelled call has received nothing.
        Source: asyncio's documentation, `loop.sock_recvfrom`.
        """
        place = self._place_of(sock)
        if place is None or not place.reading.waiters:
            try:
                return sock.recvfrom(bufsize)
            except (BlockingIOError, InterruptedError):
                pass
        return await self._when_readable(sock, lambda: sock.recvfrom(bufsize))

    async def sock_recvfrom_into(
        self, sock: socket.socket, buf: WriteableBuffer, nbytes: int = 0
    ) -> tuple[int, Any]:
        """Receive a datagram into `buf`; return how many bytes it has and the address it came from.

        Arguments: nbytes is how many to take at most, 0 for as many as `buf` holds.
        A cancelled call has received nothing.
        Source: asyncio's documentation, `loop.sock_recvfrom_into`.
        """
        place = self._place_of(sock)
        nbytes = nbytes or memoryview(buf).nbytes
        if place is None or not place.reading.waiters:
            try:
                return sock.recvfrom_into(buf, nbytes)
            except (BlockingIOError, InterruptedError):
                pass
        return await self._when_readable(sock, lambda: sock.recvfrom_into(buf, nbytes))

    async def sock_accept(self, sock: socket.socket) -> tuple[socket.socket, Any]:
        """Accept a connection; return its socket, which does not block, and the peer's address.

        A cancelled call has accepted nothing.
        Source: asyncio's documentation, `loop.sock_accept`.
        """
        place = self._place_of(sock)
        if place is None or not place.reading.waiters:
            try:
                connection, address = sock.accept()
            except (BlockingIOError, InterruptedError):
                pass
            else:
                connection.setblocking(False)
                return connection, address
        connection, address = await self._when_readable(sock, lambda: sock.accept())
        connection.setblocking(False)
        return connection, address

    # Sending

    async def sock_sendall(self, sock: socket.socket, data: ReadableBuffer) -> None:
        """Send all of `data`.

        After an error or a cancellation nobody can tell how much was sent.  Two calls for one socket send one after
        the other.
        Source: asyncio's documentation, `loop.sock_sendall`.
        """
        place = self._place_of(sock)
        sent = None
        if place is None or not place.writing.waiters:
            try:
                sent = sock.send(data)
            except (BlockingIOError, InterruptedError):
                pass
            else:
                if sent == (len(data) if type(data) is bytes else memoryview(data).nbytes):
                    return
        await self._when_writable(sock, Remainder(sock, data, sent or 0), tried=sent is None)

    async def sock_sendto(self, sock: socket.socket, data: ReadableBuffer, address: Any) -> int:
        """Send a datagram to `address` and return how many bytes were sent.

        A host name is looked up first; a cancelled call has sent nothing.
        Source: asyncio's documentation, `loop.sock_sendto`; asyncio looks host names up in the loop's thread.
        """
        place = self._place_of(sock)
        if sock.family in INTERNET and type(address) is tuple and len(address) > 1 and names_a_host(address[0]):
            infos = await self._resolve(*address[:4], family=sock.family, type=sock.type, proto=sock.proto)
            address = infos[0][4]
            place = self._place_of(sock)
        if place is None or not place.writing.waiters:
            try:
                return sock.sendto(data, address)
            except (BlockingIOError, InterruptedError):
                pass
        return await self._when_writable(sock, lambda: sock.sendto(data, address))

    # Connecting

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect to `address`; a host name is looked up first.

        Raises OSError, naming the address.  After a cancellation the connection may still come about: close the socket.
        Unlike in asyncio, a unix socket whose backlog is full is tried again until it is not.

        Source: asyncio's documentation, `loop.sock_connect`.
        """
        self._place_of(sock)
        if sock.family in INTERNET:
            if isinstance(address, str) or len(address[:2]) < 2:
                raise ValueError(f"the address of an internet socket is (host, port, ...), not {address!r}")
            infos = await self._resolve(*address[:4], family=sock.family, type=sock.type, proto=sock.proto)
            address = infos[0][4]
        try:
            sock.connect(address)
        except (BlockingIOError, InterruptedError):
            pass
        else:
            return
        if sock.family == getattr(socket, "AF_UNIX", None):
            await self._connect_again(sock, address)
        else:
            await self._when_writable(sock, lambda: finish_connecting(sock, address))

    async def _connect_again(self, sock: socket.socket, address: Any) -> None:
        delay = FIRST_RETRY
        while True:
            await asyncio.sleep(delay)
            try:
                sock.connect(address)
            except BlockingIOError:
                delay = min(2 * delay, LONGEST_RETRY)
            else:
                return


class Remainder:
    """What sock_sendall has still to send; called, it sends once, and is unfinished until nothing is left."""

    __slots__ = ("_sock", "_view")

    def __init__(self, sock: socket.socket, data: ReadableBuffer, sent: int) -> None:
        self._sock = sock
        self._view = memoryview(data).cast("B")[sent:]

    def __call__(self) -> None:
        self._view = self._view[self._sock.send(self._view) :]
        if self._view:
            raise Unfinished


def refuse_tls_socket(sock: socket.socket) -> None:
    """Raise TypeError for a socket that does TLS by itself."""
    if isinstance(sock, ssl.SSLSocket):
        raise TypeError("Socket cannot be of type SSLSocket: give the plain socket, and the context as ssl")


def share_port(sock: socket.socket) -> None:
    """Let other sockets bind to the same port; ValueError where the system cannot."""
    if not hasattr(socket, "SO_REUSEPORT"):
        raise ValueError("reuse_port not supported by socket module")
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError as exc:
        raise ValueError(
            "reuse_port not supported by socket module, SO_REUSEPORT defined but not implemented."
        ) from exc


def taken_by(method: str, fd: int) -> RuntimeError:
    """Return the news for a sock_* function that was waiting; in asyncio it would wait for ever."""
    return RuntimeError(f"{method}() took descriptor {fd} from a sock_* function that was waiting for it")


def names_a_host(host: object) -> bool:
    """Return whether the host of an address would have to be looked up by the system call."""
    return isinstance(host, str) and host not in ("", "<broadcast>") and not is_literal(host)


def finish_connecting(sock: socket.socket, address: Any) -> None:
    """Tell how a connection attempt ended; BlockingIOError if it has not ended."""
    failure = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if failure:
        raise OSError(failure, f"Connect call failed {address}")
    if sock.family in INTERNET and sock.type == socket.SOCK_STREAM:
        try:
            sock.getpeername()
        except OSError:
            # Woken by an event from before the attempt, or someone else has asked for the error: connect() knows.
            sock.connect(address)
