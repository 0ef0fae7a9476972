"""asyncio.streams, by its names: connections and servers of streams.

The classes are ours (stream.py), to a type checker asyncio's.
"""

from __future__ import annotations

from asyncio import streams as stdlib_streams
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .loop import EventLoop
from .stream import DEFAULT_LIMIT
from .waiting import running_loop

if TYPE_CHECKING:
    from os import PathLike

    from .loop.server import Server
    from .typed import ClientConnected
    from .typed import StreamReader as StreamReader
    from .typed import StreamReaderProtocol as StreamReaderProtocol
    from .typed import StreamWriter as StreamWriter
else:
    from .stream import StreamReader, StreamReaderProtocol, StreamWriter

__all__ = (
    "StreamReader",
    "StreamReaderProtocol",
    "StreamWriter",
    "open_connection",
    "open_unix_connection",
    "start_server",
    "start_unix_server",
)


async def open_connection(
    host: str | None = None, port: int | str | None = None, *, limit: int = DEFAULT_LIMIT, **kwds: Any
) -> tuple[StreamReader, StreamWriter]:
    """Connect to a TCP server and return reader and writer.

    Arguments: limit is that of StreamReader, in bytes; kwds go to `loop.create_connection`.

    A cancel point; if cancelled, the connection is closed.
    Raises as `loop.create_connection` does.

    Example::

        reader, writer = await asyncio.open_connection("localhost", 8000)

    Source: asyncio's documentation, `asyncio.open_connection`.
    """
    loop = running_loop()
    reader = StreamReader(limit=limit, loop=loop)
    protocol = StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.create_connection(lambda: protocol, host, port, **kwds)
    return reader, StreamWriter(transport, protocol, reader, loop)


async def open_unix_connection(
    path: str | bytes | PathLike[str] | None = None, *, limit: int = DEFAULT_LIMIT, **kwds: Any
) -> tuple[StreamReader, StreamWriter]:
    """Connect to a Unix socket and return reader and writer: `open_connection` for paths.

    Source: asyncio's documentation, `asyncio.open_unix_connection`.
    """
    loop = running_loop()
    reader = StreamReader(limit=limit, loop=loop)
    protocol = StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.create_unix_connection(lambda: protocol, path, **kwds)
    return reader, StreamWriter(transport, protocol, reader, loop)


async def start_server(
    client_connected_cb: ClientConnected,
    host: str | Sequence[str] | None = None,
    port: int | str | None = None,
    *,
    limit: int = DEFAULT_LIMIT,
    **kwds: Any,
) -> Server:
    """Listen on a TCP port, and call `client_connected_cb(reader, writer)` for each connection.

    Arguments: a coroutine function is run in a task of its own, whose failure is reported and closes the connection.
    limit is that of StreamReader, in bytes; kwds go to `loop.create_server`.

    Raises as `loop.create_server` does.
    Source: asyncio's documentation, `asyncio.start_server`.
    """
    loop = running_loop()
    server = await loop.create_server(_protocol_factory(loop, client_connected_cb, limit), host, port, **kwds)
    server._waits_for_connections = True
    return server


async def start_unix_server(
    client_connected_cb: ClientConnected,
    path: str | bytes | PathLike[str] | None = None,
    *,
    limit: int = DEFAULT_LIMIT,
    **kwds: Any,
) -> Server:
    """Listen on a Unix socket: `start_server` for paths.

    The socket's file is removed when the server is closed, on every version of Python, unless cleanup_socket=False.
    Source: asyncio's documentation, `asyncio.start_unix_server`.
    """
    loop = running_loop()
    kwds.setdefault("cleanup_socket", True)
    server = await loop.create_unix_server(_protocol_factory(loop, client_connected_cb, limit), path, **kwds)
    server._waits_for_connections = True
    return server


def _protocol_factory(loop: EventLoop, callback: ClientConnected, limit: int) -> Callable[[], StreamReaderProtocol]:
    def factory() -> StreamReaderProtocol:
        return StreamReaderProtocol(StreamReader(limit=limit, loop=loop), callback, loop=loop)

    return factory


FlowControlMixin = stdlib_streams.FlowControlMixin


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Find what asyncio.streams has beside."""
        return getattr(stdlib_streams, name)
