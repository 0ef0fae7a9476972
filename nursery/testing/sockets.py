"""From a listener to a stream that is connected to it.

Invariant: the address is asked of the listener, so a test never has to know a port.
"""

from __future__ import annotations

from socket import AF_INET, AF_INET6
from typing import Final

from ..network.listener import SocketListener
from ..network.socket_type import SocketType
from ..network.sockets import socket
from ..network.stream import SocketStream
from .network.endpoint import Endpoint
from .network.host import WILDCARDS

LOOPBACK: Final = {AF_INET: "127.0.0.1", AF_INET6: "::1"}


async def open_stream_to_socket_listener(socket_listener: SocketListener) -> SocketStream:
    """Connect to a listener of this process, and return the stream.

    A cancel point; if it raises, nothing is left open.

    Example::

        listeners = await nursery.open_tcp_listeners(0, host="127.0.0.1")
        stream = await nursery.testing.open_stream_to_socket_listener(listeners[0])

    Source: trio's documentation, `trio.testing.open_stream_to_socket_listener`.
    """
    family = socket_listener.socket.family
    address = socket_listener.socket.getsockname()
    # A listener on every interface cannot be connected to by that name everywhere.
    if family in LOOPBACK and address[0] in WILDCARDS.values():
        address = (_this_machine(socket_listener.socket), *address[1:])
    sock = socket(family)
    try:
        await sock.connect(address)
        return SocketStream(sock)
    except BaseException:
        sock.close()
        raise


def _this_machine(listening: SocketType) -> str:
    """Return an address under which a socket that listens on all of them is found from here."""
    if isinstance(listening, Endpoint) and listening.host is not listening.network.current.get():
        return listening.host.address_of(listening.family)
    return LOOPBACK[listening.family]


__all__ = ["open_stream_to_socket_listener"]
