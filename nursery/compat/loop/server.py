"""A server: listening sockets, and how many of their connections live.

Invariant: a listening socket is watched exactly while the server is serving, whatever happens to single connections.
`wait_closed` returns once the server is closed and its last connection is gone.  Each connection has a context of its
own, a copy of the one that the server was made in: the factory and all of the protocol are called in it.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
import weakref
from asyncio import trsock
from asyncio.log import logger
from collections.abc import Callable
from contextvars import Context, copy_context
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, Final, Self

from ..handles import ReadinessHandle
from ..transports.socket import SocketTransport
from ..transports.tls import SSLTransport, Wire
from ..transports.tls_settings import TLSSettings

if TYPE_CHECKING:
    from ...kernel.io.interest import Interest
    from .state import LoopState

# After the system refused another descriptor, seconds until the next try.
RETRY_AFTER: Final = 1.0
OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# The socket itself is gone: closed by somebody else, and its number perhaps used again.
SOCKET_GONE: Final = frozenset({errno.EBADF, errno.ENOTSOCK, errno.EINVAL, errno.EOPNOTSUPP})


class Listener:
    """One listening socket of a server that is serving."""

    __slots__ = ("_interest", "_on_connection", "_server", "sock")

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self._server = server
        self.sock = sock
        loop = server._loop
        self._interest: Interest = loop.io.open(sock.fileno())
        self._on_connection = ReadinessHandle(self._accept, loop, server._context.copy())
        self._wait()

    def _wait(self) -> None:
        self._on_connection.abort = True
        self._interest.reader = self._on_connection
        if self._interest.arm is not None:
            self._interest.arm(self._interest)

    def close(self) -> None:
        """Stop watching the socket."""
        interest = self._interest
        if interest.reader is self._on_connection:
            interest.reader = None
        self._server._loop.io.forget(interest)
        self._on_connection.cancel()

    def _accept(self) -> None:
        server = self._server
        for _ in range(max(server._backlog, 1)):
            if self._interest.closed:
                return
            try:
                connection, address = self.sock.accept()
            except (BlockingIOError, InterruptedError):
                break
            except OSError as exc:
                if exc.errno in OUT_OF_RESOURCES:
                    self._report("socket.accept() out of system resource", exc)
                    server._loop.call_later(RETRY_AFTER, self._retry, context=server._context.copy())
                    return
                if exc.errno in SOCKET_GONE:
                    self._report("socket.accept() failed: the server no longer listens on this socket", exc)
                    return
                # A connection that ended while it waited (accept(2)); the next one may be fine.
                continue
            context = server._context.copy()
            context.run(server._connected, connection, address, context)
        else:
            # There may be more, and no further edge will tell.
            self._on_connection.abort = None
            server._loop.runner.queue.append(self._on_connection)
            return
        self._interest.readable = False
        self._wait()

    def _report(self, message: str, exc: OSError) -> None:
        self._server._loop.call_exception_handler(
            {"message": message, "exception": exc, "socket": trsock.TransportSocket(self.sock)}
        )

    def _retry(self) -> None:
        if not self._interest.closed:
            self._accept()


class Server(asyncio.Server):
    """What `create_server` returns; it has nothing of asyncio's own but the class, for `isinstance`.

    Raises ValueError or TypeError for arguments of TLS that cannot be used.
    Source: asyncio's documentation, `asyncio.Server`.
    """

    # Whether `wait_closed` waits for the connections, once the server is closed.  Programs of 3.11 rely on it that it
    # does not; the facade, which is written by 3.13's documentation, sets it (compat/streams.py).
    _waits_for_connections = sys.version_info >= (3, 12)

    def __init__(
        self,
        loop: LoopState,
        sockets: list[socket.socket],
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        backlog: int,
        ssl_context: SSLContext | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> None:
        # Under this name libraries look for it.
        self._ssl_context = ssl_context
        self._tls: TLSSettings | None = None
        if ssl_context is not None:
            self._tls = TLSSettings.of(
                ssl_context,
                server_side=True,
                handshake_timeout=ssl_handshake_timeout,
                shutdown_timeout=ssl_shutdown_timeout,
            )
        self._context = copy_context()
        self._loop = loop
        self._sockets: list[socket.socket] | None = sockets
        self._listeners: list[Listener] = []
        self._factory = protocol_factory
        self._backlog = backlog
        self._serving = False
        self._connections: weakref.WeakSet[SocketTransport] = weakref.WeakSet()
        self._active = 0
        self._waiters: list[asyncio.Future[None]] | None = []
        self._serving_forever: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} sockets={self.sockets!r}>"

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The listening sockets, none once the server is closed."""
        if self._sockets is None:
            return ()
        return tuple(trsock.TransportSocket(sock) for sock in self._sockets)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop."""
        return self._loop

    def is_serving(self) -> bool:
        """Return whether connections are accepted."""
        return self._serving

    def _start_serving(self) -> None:
        if self._serving:
            return
        if self._sockets is None:
            raise RuntimeError(f"server {self!r} is closed")
        self._serving = True
        for sock in self._sockets:
            sock.listen(self._backlog)
            self._listeners.append(Listener(self, sock))

    async def start_serving(self) -> None:
        """Accept connections; nothing if that has begun already."""
        self._start_serving()
        # As in asyncio: one turn, so that the sockets are listened to when it returns.
        await asyncio.sleep(0)

    async def serve_forever(self) -> None:
        """Accept connections until cancelled; then close the server, and from 3.12 on its connections as well."""
        if self._serving_forever is not None:
            raise RuntimeError(f"server {self!r} is already being awaited on serve_forever()")
        if self._sockets is None:
            raise RuntimeError(f"server {self!r} is closed")
        self._start_serving()
        self._serving_forever = self._loop.create_future()
        try:
            await self._serving_forever
        except asyncio.CancelledError:
            try:
                self.close()
                # Else an idle client keeps it here, as in the first releases of asyncio 3.12 and 3.13.
                if sys.version_info >= (3, 12):
                    self.close_clients()
                await self.wait_closed()
            finally:
                raise
        finally:
            self._serving_forever = None

    def close(self) -> None:
        """Stop accepting and close the listening sockets; connections go on."""
        sockets, self._sockets = self._sockets, None
        if sockets is None:
            return
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for sock in sockets:
            try:
                sock.close()
            except OSError:
                # Closed behind our back.
                pass
        self._serving = False
        if self._serving_forever is not None and not self._serving_forever.done():
            self._serving_forever.cancel()
        if self._active == 0:
            self._wake_waiters()

    def close_clients(self) -> None:
        """Close every connection after its data was sent, those of TLS with a goodbye."""
        for transport in list(self._connections):
            _outermost(transport).close()

    def abort_clients(self) -> None:
        """Close every connection at once."""
        for transport in list(self._connections):
            _outermost(transport).abort()

    async def wait_closed(self) -> None:
        """Wait until the server is closed and its last connection is gone.

        Before 3.12 a server that the loop made, not the facade, is waited for only until it is closed.
        """
        if self._waiters is None or (self._sockets is None and not self._waits_for_connections):
            return
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()
        await self.wait_closed()

    # What connections tell

    def _connected(self, connection: socket.socket, address: object, context: Context) -> None:
        loop = self._loop
        if loop._debug:
            logger.debug("%r got a new connection from %r: %r", self, address, connection)
        extra = {"peername": address}
        encrypted: SSLTransport | None = None
        try:
            connection.setblocking(False)
            protocol = self._factory()
            if self._tls is None:
                SocketTransport(loop, connection, protocol, None, extra, self, context)
            else:
                encrypted = SSLTransport(loop, protocol, self._tls, context=context)
                below = SocketTransport(loop, connection, encrypted._ssl_protocol, None, extra, self, context)
                encrypted.over(below)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            connection.close()
            if encrypted is not None:
                encrypted.abort()
            loop.call_exception_handler(
                {"message": "Error on transport creation for incoming connection", "exception": exc}
            )

    def _attach(self, transport: SocketTransport) -> None:
        self._active += 1
        self._connections.add(transport)

    def _detach(self, transport: SocketTransport) -> None:
        self._active -= 1
        self._connections.discard(transport)
        if self._active == 0 and self._sockets is None:
            self._wake_waiters()

    def _wake_waiters(self) -> None:
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)


def _outermost(transport: asyncio.Transport) -> asyncio.Transport:
    """Return what the application sees of a connection: the last of the transports of TLS upon it."""
    while isinstance(protocol := transport.get_protocol(), Wire) and protocol.transport is not None:
        transport = protocol.transport
    return transport
