"""Opening listeners on a TCP port.

Invariant: either every socket that the address stands for listens, but for families that this machine lacks, or none
is left open.
"""

from __future__ import annotations

import errno
import socket as stdlib_socket
from typing import Final

from .listener import SocketListener
from .resolver import getaddrinfo
from .sockets import socket

# listen() takes the queue's length in 16 bits on many systems, and some take more modulo 65536.
LONGEST_BACKLOG: Final = 0xFFFF


async def open_tcp_listeners(
    port: int, *, host: str | bytes | None = None, backlog: int | None = None
) -> list[SocketListener]:
    """Listen for TCP connections, and return a listener for each address that `host` has.

    Arguments: port 0 lets the system choose one, for each listener another.  host None stands for every interface,
    in IPv4 and IPv6 where the machine has them; "0.0.0.0" and "::" for one of the two families; a name for all its
    addresses.  backlog is how many connections may queue; by default as many as the system allows.

    A cancel point; if it raises, nothing is left open.  Raises TypeError for a port that is no int, OSError if an
    address cannot be had.

    Source: trio's documentation, `trio.open_tcp_listeners`.
    """
    # getaddrinfo would take "http" as well, but whoever passes that wants open_tcp_stream.
    if not isinstance(port, int):
        raise TypeError(f"port must be an int, not {port!r}")
    backlog = checked_backlog(backlog)
    found = await getaddrinfo(host, port, type=stdlib_socket.SOCK_STREAM, flags=stdlib_socket.AI_PASSIVE)
    listeners: list[SocketListener] = []
    unsupported: list[OSError] = []
    try:
        for family, kind, protocol, _, address in found:
            try:
                sock = socket(family, kind, protocol)
            except OSError as exc:
                if exc.errno != errno.EAFNOSUPPORT:
                    raise
                # Names have IPv6 addresses on machines without IPv6 too.
                unsupported.append(exc)
                continue
            try:
                # A restarted server gets its port back at once.  It means something else, and bad, on Windows.
                sock.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_REUSEADDR, 1)
                if family == stdlib_socket.AF_INET6:
                    # Else the two wildcard addresses would get in each other's way.
                    sock.setsockopt(stdlib_socket.IPPROTO_IPV6, stdlib_socket.IPV6_V6ONLY, 1)
                await sock.bind(address)
                sock.listen(backlog)
                listeners.append(SocketListener(sock))
            except BaseException:
                sock.close()
                raise
    except BaseException:
        for listener in listeners:
            listener.socket.close()
        raise
    if unsupported and not listeners:
        message = f"This system doesn't support any of the address families that host {host!r} has"
        raise OSError(errno.EAFNOSUPPORT, message) from ExceptionGroup(message, unsupported)
    return listeners


def checked_backlog(backlog: int | None) -> int:
    """Return the queue length to ask for, or raise TypeError or ValueError."""
    if backlog is None:
        return LONGEST_BACKLOG
    if not isinstance(backlog, int):
        raise TypeError(f"backlog must be an int or None, not {backlog!r}")
    if backlog < 0:
        raise ValueError(f"backlog must be a non-negative int, not {backlog!r}")
    return min(backlog, LONGEST_BACKLOG)


__all__ = ["open_tcp_listeners"]
