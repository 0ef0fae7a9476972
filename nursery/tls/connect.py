"""Connecting by TLS over TCP.

Invariant: if it raises, nothing is left open.
"""

from __future__ import annotations

import ssl

from ..network.connect import DEFAULT_DELAY, open_tcp_stream
from ..network.stream import SocketStream
from ..resource import aclose_forcefully
from .stream import SSLStream


async def open_ssl_over_tcp_stream(
    host: str | bytes,
    port: int,
    *,
    https_compatible: bool = False,
    ssl_context: ssl.SSLContext | None = None,
    happy_eyeballs_delay: float | None = DEFAULT_DELAY,
) -> SSLStream[SocketStream]:
    """Connect to a host and port by TCP, and return a TLS stream over it, before its handshake.

    Arguments: host is also whom the server's certificate must name.  ssl_context is by default a new one with the
    system's trusted authorities.  https_compatible is that of `SSLStream`; happy_eyeballs_delay, in seconds, that of
    `open_tcp_stream`.

    A cancel point; if it raises, nothing is left open.  Raises what `open_tcp_stream` and `SSLStream` do; a
    certificate that is no good shows in the handshake.

    Example::

        async with await nursery.open_ssl_over_tcp_stream("example.org", 443, https_compatible=True) as stream:
            await stream.send_all(b"GET / HTTP/1.0\\r\\nHost: example.org\\r\\n\\r\\n")
            async for piece in stream:
                print(piece)

    Source: trio's documentation, `trio.open_ssl_over_tcp_stream`.
    """
    transport = await open_tcp_stream(host, port, happy_eyeballs_delay=happy_eyeballs_delay)
    try:
        if ssl_context is None:
            ssl_context = ssl.create_default_context()
        return SSLStream(transport, ssl_context, server_hostname=host, https_compatible=https_compatible)
    except BaseException:
        await aclose_forcefully(transport)
        raise


__all__ = ["open_ssl_over_tcp_stream"]
