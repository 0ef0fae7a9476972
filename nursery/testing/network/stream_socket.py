"""Stream sockets in memory: listening, connecting, and the two ends of a connection.

Invariant: a byte is under way on a wire, or in the receiving end's buffer; together these never hold more than WINDOW,
so a sender whose receiver does not read has to wait.
"""

from __future__ import annotations

import errno
import socket as stdlib_socket
from collections import deque
from socket import SOCK_STREAM, AddressFamily, SocketKind
from typing import Final

from ...kernel.errors import Cancelled
from ...kernel.traps import checkpoint
from ...network.socket_type import DEFAULT_BACKLOG, AddressFormat, SocketType
from .endpoint import FLAGS_WITHOUT_EFFECT, Endpoint
from .host import WILDCARDS, Host, failure
from .later import Later
from .wire import Wire

# Bytes that may be under way or unread in one direction.
WINDOW: Final = 64 * 1024
# Linux's: the first repetition of an unanswered attempt to connect after a second, then after twice the time (seconds).
FIRST_ATTEMPT: Final = 1.0
ATTEMPTS: Final = 7


class StreamSocket(Endpoint):
    """A socket of type SOCK_STREAM."""

    def __init__(self, host: Host, family: AddressFamily, kind: SocketKind, proto: int) -> None:
        if kind != SOCK_STREAM:
            raise failure(errno.ESOCKTNOSUPPORT, f"the in-memory network has no {kind.name}")
        super().__init__(host, family, SOCK_STREAM, proto)
        # While it listens: who has connected and was not accepted yet.
        self._queue: deque[StreamSocket] | None = None
        self._backlog = 0
        # While it is connected.
        self._outgoing: Wire | None = None
        self._incoming: Wire | None = None
        self._buffer = bytearray()
        self._ended = False
        self._deaf = False
        self._broken = False

    @property
    def other_host(self) -> Host | None:
        """The host at the other end."""
        return None if self._outgoing is None else self._outgoing.target.host

    # Listening

    def is_listening(self) -> bool:
        return self._queue is not None

    def listen(self, backlog: int = DEFAULT_BACKLOG) -> None:
        self.check_open()
        if self._outgoing is not None:
            raise failure(errno.EINVAL, "the socket is connected")
        if self.local is None:
            wildcard = WILDCARDS[self.family]
            self.local = (wildcard, self.host.bind(self, wildcard, 0))
        self._backlog = backlog
        if self._queue is None:
            self._queue = deque()

    async def accept(self) -> tuple[SocketType, AddressFormat]:
        self.check_open()
        queue = self._queue
        if queue is None:
            raise failure(errno.EINVAL, "the socket does not listen")
        await self.until_readable(lambda: bool(queue))
        accepted = queue.popleft()
        return accepted, accepted.getpeername()

    # Connecting

    async def connect(self, address: AddressFormat) -> None:
        self.check_open()
        if self._outgoing is not None or self._queue is not None:
            raise failure(errno.EISCONN)
        try:
            remote = await self.resolve(address, local=False)
            await checkpoint()
            self.check_open()
            await self._shake_hands(remote)
        except Cancelled:
            # As with real sockets: the attempt cannot be taken back.
            self.close()
            raise

    async def _shake_hands(self, remote: tuple[str, int]) -> None:
        network, here = self.network, self.host
        there = network.host_at(remote[0], here)
        if there is None:
            raise failure(errno.EHOSTUNREACH, f"the in-memory network has no host with the address {remote[0]}")
        if self.local is None or self.local[0] == WILDCARDS[self.family]:
            port = 0 if self.local is None else self.local[1]
            self.host.release(self)
            address = here.address_towards(remote[0])
            self.local = (address, here.bind(self, address, port))
        for attempt in range(ATTEMPTS):
            if network.passes(here, there):
                await self._pause(network.travel_time(here, there))
                if not network.is_cut(here, there):
                    listener = there.bound_to(SOCK_STREAM, *remote)
                    if not isinstance(listener, StreamSocket) or listener._queue is None:
                        await self._pause(network.travel_time(there, here))
                        raise failure(errno.ECONNREFUSED, f"nobody listens on port {remote[1]} of {there!r}")
                    if len(listener._queue) <= listener._backlog:
                        listener._take_in(self, remote)
                        await self._pause(network.travel_time(there, here))
                        self.raise_error()
                        return
            await self._pause(FIRST_ATTEMPT * 2.0**attempt)
        raise failure(errno.ETIMEDOUT, f"{there!r} did not answer")

    def _take_in(self, client: StreamSocket, address: tuple[str, int]) -> None:
        """Make the other end of a client's connection, and let it queue."""
        assert self._queue is not None
        server = StreamSocket(self.host, self.family, self.type, self.proto)
        server.local, server.remote = address, client.local
        client.remote = address
        server._outgoing = client._incoming = Wire(server, client)
        client._outgoing = server._incoming = Wire(client, server)
        self.network.connections[client] = self.network.connections[server] = None
        self._queue.append(server)
        self.wake_reader()

    async def _pause(self, seconds: float) -> None:
        """Let time pass, as the task that writes, so that closing ends it."""
        if seconds <= 0:
            return
        over = False

        def end() -> None:
            nonlocal over
            over = True
            self.wake_writer()

        runner = self.network.runner
        entry, when = Later(end, ()), runner.now() + seconds
        runner.deadlines.add(entry, when)
        try:
            await self.until_writable(lambda: over)
        finally:
            if not over:
                runner.deadlines.remove(entry, when)

    # Sending and receiving

    def is_readable(self) -> bool:
        return bool(self._queue) or self._something_to_receive()

    def _something_to_receive(self) -> bool:
        return bool(self._buffer) or self._ended or self._deaf or self._broken

    async def receive(self, most: int, flags: int) -> tuple[bytes, int, AddressFormat]:
        self.check_open()
        if self._incoming is None:
            raise failure(errno.ENOTCONN)
        if flags & ~(stdlib_socket.MSG_PEEK | FLAGS_WITHOUT_EFFECT):
            raise failure(errno.EOPNOTSUPP, "of the flags, stream sockets in memory know MSG_PEEK")
        await self.until_readable(lambda: most == 0 or self._something_to_receive())
        # As on Linux: what had arrived before a reset can be received, and after the other's end there is no error.
        if most and not self._buffer and not self._ended:
            self.raise_error()
        data = bytes(self._buffer[:most])
        if data and not flags & stdlib_socket.MSG_PEEK:
            del self._buffer[:most]
            self._incoming.source.wake_writer()
        return data, 0, None

    def _room(self) -> int:
        """Return how many bytes can be sent now."""
        wire = self._outgoing
        return 0 if wire is None else WINDOW - wire.load - len(wire.target._buffer)

    def _can_send(self) -> bool:
        return self._room() > 0 or self._broken or self._shut_down_sending

    async def wait_writable(self) -> None:
        self.check_open()
        await self.until_writable(self._can_send)

    async def transmit(self, data: bytes, address: AddressFormat | None) -> int:
        self.check_open()
        if self._outgoing is None:
            raise failure(errno.EPIPE)
        # Connected, so an address is not looked at.
        await self.until_writable(self._can_send)
        self.raise_error()
        if self._broken or self._shut_down_sending:
            raise failure(errno.EPIPE)
        sent = data[: self._room()]
        if sent:
            self._outgoing.push(sent)
        return len(sent)

    def shut_down_sending(self) -> None:
        if self._outgoing is not None and not self._broken:
            self._outgoing.push(None)
        self.wake_writer()

    def shut_down_receiving(self) -> None:
        self._deaf = True
        self._buffer.clear()
        self.wake_reader()

    # What comes from the network

    def arrived(self, data: bytes | None) -> None:
        """Take in what the other end has sent; None is its end."""
        if self._open and not self._broken:
            if data is None:
                self._ended = True
            elif not self._deaf:
                self._buffer += data
            self.wake_reader()
        elif data is not None:
            self._reset_other_end()

    def fail_with_reset(self) -> None:
        """Be told that the connection was reset."""
        # The other end has said goodbye before: so it is a mistake to send more.
        self.fail(errno.EPIPE if self._ended else errno.ECONNRESET)

    def fail(self, number: int) -> None:
        """Be broken, with the system's number of the error."""
        self.network.connections.pop(self, None)
        if self._outgoing is not None:
            self._outgoing.stop()
        if self._open and not self._broken:
            self._broken = True
            self._error = number
            self.wake_reader()
            self.wake_writer()

    # Its end

    def hang_up(self) -> None:
        if self._queue is not None:
            for waiting in self._queue:
                waiting._reset_other_end()
                waiting.fail_with_reset()
                waiting.close()
        elif self._outgoing is not None and not self._broken:
            if self._buffer:
                # Something was never read: the other end is to know that it did not get through.
                self._reset_other_end()
            elif not self._shut_down_sending:
                self._outgoing.push(None)
        self.network.connections.pop(self, None)

    def _reset_other_end(self) -> None:
        """Send a reset: it overtakes what is under way, and is not sent again if it is lost."""
        wire, network = self._outgoing, self.network
        assert wire is not None
        wire.stop()
        there = wire.target.host
        if network.passes(self.host, there):
            network.after(network.travel_time(self.host, there), wire.target.fail_with_reset)
