"""What every socket object offers, be it the real one or a stand-in for tests.

Invariant: nothing here touches the system; `Socket` (sockets.py) does, and code that only needs the interface says
`SocketType`.
"""

from __future__ import annotations

import socket as stdlib_socket
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterable
from socket import AddressFamily, SocketKind
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, overload

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

# Each address family has a form of its own (tuples of several lengths, str, bytes, paths), and no two callers agree
# on which they can see; the standard library's own annotations say Any as well.
AddressFormat: TypeAlias = Any
Ancillary: TypeAlias = "list[tuple[int, int, bytes]]"

DEFAULT_BACKLOG: Final = min(stdlib_socket.SOMAXCONN, 128)


class SocketType:
    """The interface of sockets: that of `socket.socket`, with what may wait made async.

    It cannot be instantiated: `nursery.socket.socket()` makes sockets.  Test doubles derive from it.

    Source: trio's documentation, `trio.socket.SocketType`.
    """

    __slots__ = ("__weakref__",)

    def __init__(self) -> None:
        super().__init__()
        if type(self) is SocketType:
            raise TypeError(
                "SocketType is an abstract class; use nursery.socket.socket if you want to construct a socket object"
            )

    # Before `type`, which hides the builtin from the rest of the class.

    def __enter__(self) -> Self:
        raise NotImplementedError

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        raise NotImplementedError

    # Looking at it and setting it up

    @property
    def family(self) -> AddressFamily:
        """The address family."""
        raise NotImplementedError

    @property
    def type(self) -> SocketKind:
        """The kind: stream, datagram ..."""
        raise NotImplementedError

    @property
    def proto(self) -> int:
        """The number of the protocol."""
        raise NotImplementedError

    @property
    def did_shutdown_SHUT_WR(self) -> bool:
        """Whether the sending half was shut down through this object."""
        raise NotImplementedError

    def fileno(self) -> int:
        """Return the descriptor, -1 if closed."""
        raise NotImplementedError

    def getpeername(self) -> AddressFormat:
        """Return the address of the other side."""
        raise NotImplementedError

    def getsockname(self) -> AddressFormat:
        """Return the address of this side."""
        raise NotImplementedError

    @overload
    def getsockopt(self, level: int, optname: int) -> int: ...

    @overload
    def getsockopt(self, level: int, optname: int, buflen: int) -> bytes: ...

    def getsockopt(self, level: int, optname: int, buflen: int | None = None) -> int | bytes:
        """Return an option's value, as a number, or as up to `buflen` bytes."""
        raise NotImplementedError

    @overload
    def setsockopt(self, level: int, optname: int, value: int | ReadableBuffer) -> None: ...

    @overload
    def setsockopt(self, level: int, optname: int, value: None, optlen: int) -> None: ...

    def setsockopt(
        self, level: int, optname: int, value: int | ReadableBuffer | None, optlen: int | None = None
    ) -> None:
        """Set an option to a value, or to `optlen` zero bytes if the value is None."""
        raise NotImplementedError

    def get_inheritable(self) -> bool:
        """Return whether child processes inherit the descriptor."""
        raise NotImplementedError

    def set_inheritable(self, inheritable: bool) -> None:
        """Say whether child processes inherit the descriptor."""
        raise NotImplementedError

    def listen(self, backlog: int = DEFAULT_BACKLOG) -> None:
        """Begin to accept connections, of which `backlog` may queue."""
        raise NotImplementedError

    def is_readable(self) -> bool:
        """Return whether reading would return at once, at this moment."""
        raise NotImplementedError

    # Its life

    def dup(self) -> SocketType:
        """Return a new socket object for a duplicate of the descriptor."""
        raise NotImplementedError

    def detach(self) -> int:
        """Give the descriptor away: return it, and be closed without closing it."""
        raise NotImplementedError

    def shutdown(self, flag: int) -> None:
        """Shut down one half or both: SHUT_RD, SHUT_WR, SHUT_RDWR."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the socket; tasks that wait for it get ClosedResourceError.  Idempotent, not a cancel point.

        Raises RuntimeError in another thread than that of tasks that wait for it.
        """
        raise NotImplementedError

    # What may wait

    async def bind(self, address: AddressFormat) -> None:
        """Take a local address; a name in it is resolved.  A cancel point."""
        raise NotImplementedError

    async def connect(self, address: AddressFormat) -> None:
        """Connect to an address; a name in it is resolved.

        A cancel point; if cancelled, the socket is closed: a connection attempt cannot be taken back.
        """
        raise NotImplementedError

    async def accept(self) -> tuple[SocketType, AddressFormat]:
        """Wait for a connection; return its socket and the address of the other side.  A cancel point."""
        raise NotImplementedError

    async def wait_writable(self) -> None:
        """Wait until the socket is writable.  A cancel point."""
        raise NotImplementedError

    def recv(self, buflen: int, flags: int = 0, /) -> Awaitable[bytes]:
        """Wait for data and return up to `buflen` bytes.  A cancel point; if cancelled, nothing was taken."""
        raise NotImplementedError

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> Awaitable[int]:
        """As `recv`, into a buffer; return how many bytes came."""
        raise NotImplementedError

    def recvfrom(self, bufsize: int, flags: int = 0, /) -> Awaitable[tuple[bytes, AddressFormat]]:
        """As `recv`; return the sender's address as well."""
        raise NotImplementedError

    def recvfrom_into(
        self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0
    ) -> Awaitable[tuple[int, AddressFormat]]:
        """As `recvfrom`, into a buffer."""
        raise NotImplementedError

    def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /
    ) -> Awaitable[tuple[bytes, Ancillary, int, AddressFormat]]:
        """As `recv`; return ancillary data, flags and the sender's address as well."""
        raise NotImplementedError

    def recvmsg_into(
        self, buffers: Iterable[WriteableBuffer], ancbufsize: int = 0, flags: int = 0, /
    ) -> Awaitable[tuple[int, Ancillary, int, AddressFormat]]:
        """As `recvmsg`, into several buffers."""
        raise NotImplementedError

    def send(self, bytes: ReadableBuffer, flags: int = 0, /) -> Awaitable[int]:
        """Wait until something can be sent; return how many of the bytes were.

        A cancel point; if cancelled, nothing was sent.
        """
        raise NotImplementedError

    @overload
    async def sendto(self, data: ReadableBuffer, address: AddressFormat, /) -> int: ...

    @overload
    async def sendto(self, data: ReadableBuffer, flags: int, address: AddressFormat, /) -> int: ...

    async def sendto(self, *args: Any) -> int:
        """As `send`, to an address; a name in it is resolved."""
        raise NotImplementedError

    async def sendmsg(
        self,
        buffers: Iterable[ReadableBuffer],
        ancdata: Iterable[tuple[int, int, ReadableBuffer]] = (),
        flags: int = 0,
        address: AddressFormat | None = None,
        /,
    ) -> int:
        """As `send`, from several buffers, with ancillary data."""
        raise NotImplementedError


class SocketFactory(ABC):
    """Makes the sockets of a run in place of the real ones; see `set_custom_socket_factory`.

    Source: trio's documentation, `trio.abc.SocketFactory`.
    """

    @abstractmethod
    def socket(
        self,
        family: AddressFamily | int = AddressFamily.AF_INET,
        type: SocketKind | int = SocketKind.SOCK_STREAM,
        proto: int = 0,
    ) -> SocketType:
        """Return a new socket object."""


__all__ = ["AddressFormat", "SocketFactory", "SocketType"]
