"""Two ends of a wire in memory, which can be clogged, cut and listened to, and TLS over it."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable

import nursery
from nursery.abc import Stream
from nursery.lowlevel import ParkingLot, checkpoint
from nursery.testing import wait_all_tasks_blocked
from nursery.tls.stream import SSLStream
from tests.tls.certificates import HOST, client_context, server_context


class Wire(Stream):
    """One end of the wire.

    It refuses two senders or two receivers at once, as real transports do: TLS must never be the second.
    """

    peer: Wire

    def __init__(self) -> None:
        self.arrived = bytearray()
        self.ended = False
        self.closed = False
        # How much one receive may return, all that is there by default.
        self.at_most: int | None = None
        # While True a send does not get through.
        self.clogged = False
        # What each send_all was given, and how often one was received.
        self.sent: list[bytes] = []
        self.receives = 0
        self.tamper: Callable[[bytes], bytes] = lambda data: data
        self._lot = ParkingLot()
        self._sending = False
        self._receiving = False

    def unclog(self) -> None:
        self.clogged = False
        self._lot.unpark_all()

    def end(self) -> None:
        """Let the peer see the end of the data."""
        self.peer.ended = True
        self.peer._lot.unpark_all()

    def arrive(self, data: bytes) -> None:
        """Let `data` arrive at this end."""
        self.arrived += data
        self._lot.unpark_all()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._sending:
            raise nursery.BusyResourceError("two tasks send on the wire")
        self._sending = True
        try:
            await checkpoint()
            while self.clogged and not self.closed:
                await self._lot.park()
            self._check()
            self.sent.append(bytes(data))
            self.peer.arrive(self.tamper(bytes(data)))
        finally:
            self._sending = False

    async def wait_send_all_might_not_block(self) -> None:
        if self._sending:
            raise nursery.BusyResourceError("two tasks send on the wire")
        self._sending = True
        try:
            await checkpoint()
            while self.clogged and not self.closed:
                await self._lot.park()
            self._check()
        finally:
            self._sending = False

    def _check(self) -> None:
        if self.closed:
            raise nursery.ClosedResourceError("this end was closed")
        if self.peer.closed:
            raise nursery.BrokenResourceError("the other end was closed")

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._receiving:
            raise nursery.BusyResourceError("two tasks receive from the wire")
        self._receiving = True
        try:
            await checkpoint()
            while not (self.arrived or self.ended or self.closed):
                await self._lot.park()
            if self.closed:
                raise nursery.ClosedResourceError("this end was closed")
            count = min(n for n in (len(self.arrived), self.at_most, max_bytes) if n is not None)
            data = bytes(self.arrived[:count])
            del self.arrived[:count]
            self.receives += 1
            return data
        finally:
            self._receiving = False

    async def aclose(self) -> None:
        if not self.closed:
            self.closed = True
            self._lot.unpark_all()
            self.end()
        await checkpoint()


def wire_pair() -> tuple[Wire, Wire]:
    left, right = Wire(), Wire()
    left.peer, right.peer = right, left
    return left, right


def tls_pair(
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    *,
    client: ssl.SSLContext | None = None,
    server: ssl.SSLContext | None = None,
    https_compatible: bool = False,
    host: str | bytes = HOST,
) -> tuple[SSLStream[Wire], SSLStream[Wire]]:
    """The client's and the server's end, before the handshake."""
    left, right = wire_pair()
    return (
        SSLStream(left, client or client_context(version), server_hostname=host, https_compatible=https_compatible),
        SSLStream(right, server or server_context(), server_side=True, https_compatible=https_compatible),
    )


async def shake_hands(client: SSLStream[Wire], server: SSLStream[Wire]) -> None:
    async with nursery.open_nursery() as n:
        n.start_soon(client.do_handshake)
        n.start_soon(server.do_handshake)


async def connected_pair(
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, *, https_compatible: bool = False
) -> tuple[SSLStream[Wire], SSLStream[Wire]]:
    """The client's and the server's end, after the handshake, the session tickets delivered and nothing counted."""
    client, server = tls_pair(version, https_compatible=https_compatible)
    await shake_hands(client, server)
    # The server's session tickets go with its first data.
    await server.send_all(b"!")
    assert await client.receive_some() == b"!"
    for end in (client, server):
        end.transport_stream.sent.clear()
        end.transport_stream.receives = 0
    return client, server


async def cut_short(function: Callable[..., Awaitable[object]], *arguments: object) -> None:
    """Call `function`, and cancel the call when it sleeps and everybody else does."""
    with nursery.CancelScope() as scope:

        async def cancel() -> None:
            await wait_all_tasks_blocked()
            scope.cancel()

        async with nursery.open_nursery() as n:
            n.start_soon(cancel)
            await function(*arguments)
    assert scope.cancelled_caught


async def receive_exactly(stream: Stream, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = await stream.receive_some()
        assert piece, "the stream ended too early"
        data += piece
    return bytes(data)
