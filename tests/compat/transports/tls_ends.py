"""Ends of TLS connections: protocols that write down what they are told, and peers: blocking sockets in threads."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Self

import trustme

from tests.tls.certificates import CERTIFICATE, HOST, client_context, server_context

TLS_1_2 = ssl.TLSVersion.TLSv1_2

# The sockets that a peer's program has wrapped, in its thread.
_wrapped = threading.local()


class Recorder(asyncio.Protocol):
    """Writes down what a transport tells it."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.data = bytearray()
        self.made = asyncio.Event()
        self.arrived = asyncio.Event()
        self.paused = asyncio.Event()
        self.resumed = asyncio.Event()
        self.lost: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self.keep_open = False
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.events.append("made")
        self.made.set()

    def data_received(self, data: bytes) -> None:
        assert "eof" not in self.events
        self.data += data
        self.arrived.set()

    def eof_received(self) -> bool:
        self.events.append("eof")
        self.arrived.set()
        return self.keep_open

    def pause_writing(self) -> None:
        self.events.append("pause")
        self.paused.set()

    def resume_writing(self) -> None:
        self.events.append("resume")
        self.resumed.set()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.events.append("lost")
        self.lost.set_result(exc)

    async def until(self, size: int) -> bytes:
        """Wait until so much has arrived, and return all that has."""
        while len(self.data) < size:
            assert not self.lost.done(), f"the connection was lost ({self.lost}) with {bytes(self.data)!r}"
            self.arrived.clear()
            await self.arrived.wait()
        return bytes(self.data)


class BufferedRecorder(asyncio.BufferedProtocol):
    """The same for a protocol that receives into a buffer of its own, of `size` bytes."""

    def __init__(self, size: int) -> None:
        self.buffer = bytearray(size)
        self.data = bytearray()
        self.arrived = asyncio.Event()
        self.lost: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self.transport: Any = None
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        assert 0 < nbytes <= len(self.buffer)
        self.data += self.buffer[:nbytes]
        self.arrived.set()

    def eof_received(self) -> None:
        self.ended = True

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.set_result(exc)


@dataclass
class Ends:
    """The two ends of one connection."""

    client: Any
    served: Any
    server: Any

    def __iter__(self) -> Iterator[Any]:
        yield self.client
        yield self.served


@contextlib.asynccontextmanager
async def connected(
    client_factory: Callable[[], asyncio.BaseProtocol] | None = None,
    served_factory: Callable[[], asyncio.BaseProtocol] | None = None,
    *,
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    shutdown_timeout: float | None = None,
) -> AsyncGenerator[Ends, None]:
    """Connect a client and a server of the running loop with each other; both are gone at the end."""
    loop = asyncio.get_running_loop()
    accepted: asyncio.Future[Any] = loop.create_future()

    def factory() -> asyncio.BaseProtocol:
        protocol = (served_factory or Recorder)()
        accepted.set_result(protocol)
        return protocol

    server = await loop.create_server(
        factory, "127.0.0.1", 0, ssl=server_context(), ssl_shutdown_timeout=shutdown_timeout
    )
    async with server:
        transport, client = await loop.create_connection(
            client_factory or Recorder,
            *server.sockets[0].getsockname(),
            ssl=client_context(version),
            server_hostname=HOST,
            ssl_shutdown_timeout=shutdown_timeout,
        )
        served = await accepted
        while served.transport is None:
            await asyncio.sleep(0)
        try:
            yield Ends(client, served, server)
        finally:
            server.close()
            ends: tuple[Any, ...] = (served, client)
            for protocol in ends:
                if not protocol.lost.done():
                    protocol.transport.abort()
                await asyncio.wait_for(asyncio.shield(protocol.lost), 5)
            assert transport.is_closing()


class Peer:
    """A blocking program at the other end, in a thread; what it raises comes out of `join`."""

    def __init__(self, program: Callable[[socket.socket], object], sock: socket.socket) -> None:
        self._error: BaseException | None = None
        self.result: Any = None
        self.sock = sock

        def run() -> None:
            sock.settimeout(5)
            _wrapped.sockets = []
            try:
                if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    connection, _ = sock.accept()
                    connection.settimeout(5)
                else:
                    connection = sock
                with connection:
                    self.result = program(connection)
            except BaseException as exc:
                self._error = exc
            finally:
                for wrapped in _wrapped.sockets:
                    wrapped.close()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    async def join(self) -> Any:
        """Wait for its end, and return what it returned or raise what it raised."""
        await asyncio.to_thread(self._thread.join, 5)
        assert not self._thread.is_alive(), "the peer is stuck"
        if self._error is not None:
            raise self._error
        return self.result

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, *exc: object) -> None:
        try:
            if kind is None:
                await self.join()
        finally:
            self.sock.close()


def serving(program: Callable[[socket.socket], object]) -> tuple[Peer, tuple[str, int]]:
    """Run `program` with the first connection to a port; return it and the address."""
    listener = socket.create_server(("127.0.0.1", 0))
    host, port = listener.getsockname()
    return Peer(program, listener), (host, port)


def calling(program: Callable[[socket.socket], object], address: tuple[str, int]) -> Peer:
    """Run `program` with a connection to `address`."""
    return Peer(program, socket.create_connection(address, timeout=5))


def _wrap(sock: socket.socket, context: ssl.SSLContext, **options: Any) -> ssl.SSLSocket:
    # An end without a goodbye is an error to these peers.
    wrapped = context.wrap_socket(sock, suppress_ragged_eofs=False, do_handshake_on_connect=False, **options)
    _wrapped.sockets.append(wrapped)
    wrapped.do_handshake()
    return wrapped


def as_server(sock: socket.socket, certificate: trustme.LeafCert = CERTIFICATE) -> ssl.SSLSocket:
    """Take the server's part on a socket, and shake hands."""
    return _wrap(sock, server_context(certificate), server_side=True)


def as_client(sock: socket.socket, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLSocket:
    """Take the client's part on a socket, and shake hands."""
    return _wrap(sock, client_context(version), server_hostname=HOST)


def bare(tls: ssl.SSLSocket) -> socket.socket:
    """Return the socket below a TLS socket, which must not be used any more."""
    sock = socket.socket(fileno=tls.detach())
    sock.settimeout(5)
    _wrapped.sockets.append(sock)
    return sock


def receive_all(sock: socket.socket) -> bytes:
    """Receive until the end."""
    pieces = []
    while piece := sock.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def receive_exactly(sock: socket.socket, size: int) -> bytes:
    """Receive so many bytes."""
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        assert piece, f"the end came after {data!r}"
        data += piece
    return data


@contextlib.contextmanager
def reports() -> Generator[list[dict[str, Any]], None, None]:
    """Collect what is told to the running loop's exception handler."""
    loop = asyncio.get_running_loop()
    told: list[dict[str, Any]] = []
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: told.append(context))
    try:
        yield told
    finally:
        loop.set_exception_handler(before)
