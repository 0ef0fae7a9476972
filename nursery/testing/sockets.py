"""From a listener to a stream that is connected to it.

Invariant: the address is asked of the listener, so a test never has to know a port.
"""

from __future__ import annotations

import socket as stdlib_socket

from ..network.listener import SocketListener
from ..network.sockets import socket
from ..network.stream import SocketStream


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
    if family == stdlib_socket.AF_INET and address[0] == "0.0.0.0":
        address = ("127.0.0.1", *address[1:])
    elif family == stdlib_socket.AF_INET6 and address[0] == "::":
        address = ("::1", *address[1:])
    sock = socket(family)
    try:
        await sock.connect(address)
        return SocketStream(sock)
    except BaseException:
        sock.close()
        raise


__all__ = ["open_stream_to_socket_listener"]
