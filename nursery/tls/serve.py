"""Serving by TLS over TCP: listeners, and a task for each connection.

Invariant: what `nursery.network.serve` promises holds here, for streams that speak TLS.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable

from ..kernel.nursery import TASK_STATUS_IGNORED, Nursery, TaskStatus
from ..network.listeners import open_tcp_listeners
from ..network.serve import serve_listeners
from ..network.stream import SocketStream
from .listener import SSLListener
from .stream import SSLStream


async def open_ssl_over_tcp_listeners(
    port: int,
    ssl_context: ssl.SSLContext,
    *,
    host: str | bytes | None = None,
    https_compatible: bool = False,
    backlog: int | None = None,
) -> list[SSLListener[SocketStream]]:
    """Listen for TCP connections that speak TLS, and return a listener for each address that `host` has.

    Arguments: port, host and backlog are those of `open_tcp_listeners`, https_compatible that of `SSLStream`.

    A cancel point; if it raises, nothing is left open.  Raises what `open_tcp_listeners` does.

    Source: trio's documentation, `trio.open_ssl_over_tcp_listeners`.
    """
    return [
        SSLListener(listener, ssl_context, https_compatible=https_compatible)
        for listener in await open_tcp_listeners(port, host=host, backlog=backlog)
    ]


async def serve_ssl_over_tcp(
    handler: Callable[[SSLStream[SocketStream]], Awaitable[object]],
    port: int,
    ssl_context: ssl.SSLContext,
    *,
    host: str | bytes | None = None,
    https_compatible: bool = False,
    backlog: int | None = None,
    handler_nursery: Nursery | None = None,
    task_status: TaskStatus[list[SSLListener[SocketStream]]] = TASK_STATUS_IGNORED,
) -> None:
    """Listen on a TCP port until cancelled, and run `handler(stream)` in a task for each connection.

    Arguments: port, host and backlog are those of `open_tcp_listeners`, https_compatible that of `SSLStream`,
    handler_nursery that of `serve_listeners`.

    The handshake is done in the handler, by its first operation.  A handler that lets its BrokenResourceError pass
    ends the server, as any error does: anybody can connect and send nonsense.  The stream is closed forcefully when
    the handler returns: one that wants to say goodbye in TLS closes it itself.

    With `nursery.start` it reports the list of listeners, already listening.  A cancel point; the listeners are
    closed in any case.  Raises what `open_tcp_listeners` and `serve_listeners` do.

    Example::

        async def echo(stream: nursery.SSLStream[nursery.SocketStream]) -> None:
            async with stream:
                async for data in stream:
                    await stream.send_all(data)

        async with nursery.open_nursery() as n:
            listeners = await n.start(nursery.serve_ssl_over_tcp, echo, 0, ssl_context)

    Source: trio's documentation, `trio.serve_ssl_over_tcp`.
    """
    listeners = await open_ssl_over_tcp_listeners(
        port, ssl_context, host=host, https_compatible=https_compatible, backlog=backlog
    )
    await serve_listeners(handler, listeners, handler_nursery=handler_nursery, task_status=task_status)


__all__ = ["open_ssl_over_tcp_listeners", "serve_ssl_over_tcp"]
