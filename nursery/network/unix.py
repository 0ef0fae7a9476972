"""Connecting to a Unix socket.

Invariant: if it raises, nothing is left open.
"""

from __future__ import annotations

import os
import socket as stdlib_socket
from typing import Final

from .sockets import socket
from .stream import SocketStream

_AF_UNIX: Final = getattr(stdlib_socket, "AF_UNIX", None)


async def open_unix_socket(
    filename: str | bytes | os.PathLike[str] | os.PathLike[bytes],
) -> SocketStream:
    """Connect to the Unix socket at `filename`, and return the stream.

    A cancel point; if it raises, nothing is left open.  Raises OSError, RuntimeError on systems without such
    sockets, TypeError for what is no path.

    Source: trio's documentation, `trio.open_unix_socket`.
    """
    if _AF_UNIX is None:
        raise RuntimeError("Unix sockets are not supported on this platform")
    path = os.fspath(filename)
    sock = socket(_AF_UNIX, stdlib_socket.SOCK_STREAM)
    try:
        await sock.connect(path)
        return SocketStream(sock)
    except BaseException:
        sock.close()
        raise


__all__ = ["open_unix_socket"]
