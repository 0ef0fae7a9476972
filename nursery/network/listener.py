"""Listening sockets, as a source of streams.

Invariant: `accept` raises only for what concerns the listener or the whole process; a connection that died while it
queued is the business of nobody.
"""

from __future__ import annotations

import errno
import socket as stdlib_socket
from typing import Final, final

from ..kernel.errors import ClosedResourceError
from ..kernel.traps import checkpoint
from ..streams.abstract import Listener
from .socket_type import SocketType
from .stream import SocketStream

# accept() reports the errors of the connection it was about to hand out.  Linux may report any that a socket can
# have, EPERM if a firewall said no; the BSDs report ECONNABORTED for a peer that went away (accept(2)).
_OF_THE_CONNECTION: Final = frozenset(
    number
    for name in (
        "ECONNABORTED",
        "ECONNRESET",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "ENETDOWN",
        "ENETUNREACH",
        "ENONET",
        "ENOPROTOOPT",
        "ENOSR",
        "EOPNOTSUPP",
        "EPERM",
        "EPROTO",
        "EPROTONOSUPPORT",
        "ESOCKTNOSUPPORT",
        "ETIMEDOUT",
    )
    # No system knows all of them.
    if (number := getattr(errno, name, None)) is not None
)


@final
class SocketListener(Listener[SocketStream]):
    """A listener over a listening socket of type SOCK_STREAM, which from then on belongs to it.

    Attributes: `socket`, the socket object.

    Raises TypeError for what is no socket of this library, ValueError if it is not a stream socket that listens.
    Source: trio's documentation, `trio.SocketListener`.
    """

    __slots__ = ("__weakref__", "socket")

    def __init__(self, socket: SocketType) -> None:
        if not isinstance(socket, SocketType):
            raise TypeError(f"SocketListener requires a nursery socket object, not {socket!r}")
        if socket.type != stdlib_socket.SOCK_STREAM:
            raise ValueError("SocketListener requires a SOCK_STREAM socket")
        try:
            listening = socket.getsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_ACCEPTCONN)
        except OSError:
            # Not every system can tell.
            listening = True
        if not listening:
            raise ValueError("SocketListener requires a listening socket")
        self.socket = socket

    async def accept(self) -> SocketStream:
        """Wait for the next connection and return it as a stream.

        A cancel point; if cancelled, no connection is lost.  Raises BusyResourceError if another task is accepting,
        ClosedResourceError if the listener was closed, OSError if the process or the system is out of something
        (EMFILE, ENFILE, ENOBUFS, ENOMEM).

        Source: trio's documentation, `trio.SocketListener.accept`.
        """
        while True:
            try:
                sock, _ = await self.socket.accept()
            except OSError as exc:
                if exc.errno == errno.EBADF:
                    raise ClosedResourceError("this listener was already closed") from None
                if exc.errno not in _OF_THE_CONNECTION:
                    raise
            else:
                return SocketStream(sock)

    async def aclose(self) -> None:
        """Close the listener and its socket.  A cancel point; closed in any case."""
        self.socket.close()
        await checkpoint()

    def __repr__(self) -> str:
        return f"<SocketListener over {self.socket!r}>"


__all__ = ["SocketListener"]
