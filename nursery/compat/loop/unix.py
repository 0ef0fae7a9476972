"""Unix connections and servers: create_unix_connection and create_unix_server.

Invariant: a socket made here is closed here, unless a transport or a server has taken it over.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl as stdlib_ssl
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from .connections import Connections
from .server import Server
from .socket_files import SocketFile, file_of, has_file, remove_stale
from .sockets import refuse_tls_socket

if TYPE_CHECKING:
    from _typeshed import StrPath

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)
Path: TypeAlias = "StrPath | bytes"

# Before 3.13 asyncio leaves the file behind, and programs written for that remove it themselves.
CLEANS_UP: Final = sys.version_info >= (3, 13)


class UnixServer(Server):
    """A server on a unix socket, which may have a file to remove.

    Source: asyncio's documentation, `asyncio.Server`.
    """

    _file: SocketFile | None = None

    def close(self) -> None:
        """Stop accepting, close the socket and remove its file, if that is wanted; connections go on."""
        super().close()
        file, self._file = self._file, None
        if file is not None:
            file.remove()


class UnixSockets(Connections):
    """create_unix_connection and create_unix_server."""

    async def create_unix_connection(
        self,
        protocol_factory: Callable[[], ProtocolT],
        path: Path | None = None,
        *,
        ssl: stdlib_ssl.SSLContext | bool | None = None,
        sock: socket.socket | None = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> tuple[asyncio.Transport, ProtocolT]:
        """Connect to a unix server, or take over a connected socket, and return transport and protocol.

        Arguments: path may begin with a NUL (an abstract name); the time limits of TLS are in seconds.
        Raises OSError, ValueError for arguments that exclude each other.
        Source: asyncio's documentation, `loop.create_unix_connection`.
        """
        if server_hostname is not None and not isinstance(server_hostname, str):
            raise TypeError(f"server_hostname must be a string or None, not {server_hostname!r}")
        if ssl:
            if server_hostname is None:
                raise ValueError("you have to pass server_hostname when using ssl")
        else:
            if server_hostname is not None:
                raise ValueError("server_hostname is only meaningful with ssl")
            _refuse_time_limits(ssl_handshake_timeout, ssl_shutdown_timeout)
        if path is not None:
            if sock is not None:
                raise ValueError("path and sock can not be specified at the same time")
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.setblocking(False)
                await self.sock_connect(sock, os.fspath(path))
            except BaseException:
                sock.close()
                raise
        elif sock is None:
            raise ValueError("no path and sock were specified")
        else:
            check_unix_stream(sock)
        return await self._take_over(
            protocol_factory,
            sock,
            ssl=ssl,
            server_hostname=server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )

    async def create_unix_server(  # type: ignore[override]  # typeshed lacks cleanup_socket
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        path: Path | None = None,
        *,
        sock: socket.socket | None = None,
        backlog: int = 100,
        ssl: stdlib_ssl.SSLContext | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        start_serving: bool = True,
        cleanup_socket: bool = CLEANS_UP,
    ) -> Server:
        """Listen on a unix socket and return the server.

        A socket file that is there already is removed first, any other file is an error; the new file has the
        permissions that the process's umask leaves.

        Arguments: path may begin with a NUL (an abstract name, without a file); cleanup_socket removes the file when
        the server is closed, unless another has taken its place (the default from 3.13 on); the time limits of TLS are
        in seconds.
        Raises OSError naming the path if it is in use, ValueError for arguments that exclude each other.
        Source: asyncio's documentation, `loop.create_unix_server`.
        """
        self._check_closed()
        if isinstance(ssl, bool):
            raise TypeError("ssl argument must be an SSLContext or None")
        if not ssl:
            _refuse_time_limits(ssl_handshake_timeout, ssl_shutdown_timeout)
        if path is not None:
            if sock is not None:
                raise ValueError("path and sock can not be specified at the same time")
            sock = bound_to(os.fspath(path))
        elif sock is None:
            raise ValueError("path was not specified, and no sock specified")
        else:
            check_unix_stream(sock)
        sock.setblocking(False)
        server = UnixServer(self, [sock], protocol_factory, backlog, ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
        try:
            if cleanup_socket:
                server._file = file_of(sock)
            if start_serving:
                await server.start_serving()
        except BaseException:
            # Nobody else knows the server.
            server.close()
            raise
        return server


def _refuse_time_limits(ssl_handshake_timeout: float | None, ssl_shutdown_timeout: float | None) -> None:
    if ssl_handshake_timeout is not None:
        raise ValueError("ssl_handshake_timeout is only meaningful with ssl")
    if ssl_shutdown_timeout is not None:
        raise ValueError("ssl_shutdown_timeout is only meaningful with ssl")


def check_unix_stream(sock: socket.socket) -> None:
    """Raise ValueError if `sock` is not a unix stream socket, TypeError if it does TLS by itself."""
    refuse_tls_socket(sock)
    if sock.family != socket.AF_UNIX or sock.type != socket.SOCK_STREAM:
        raise ValueError(f"A UNIX Domain Stream Socket was expected, got {sock!r}")


def bound_to(path: str | bytes) -> socket.socket:
    """Return a stream socket bound to `path`; OSError names the path if it is in use."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if has_file(path):
            remove_stale(path)
        sock.bind(path)
    except OSError as exc:
        sock.close()
        if exc.errno == errno.EADDRINUSE:
            raise OSError(errno.EADDRINUSE, f"Address {path!r} is already in use") from None
        raise
    except BaseException:
        sock.close()
        raise
    return sock
