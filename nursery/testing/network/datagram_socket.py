"""Datagram sockets in memory.

Invariant: a datagram arrives whole or not at all.
"""

from __future__ import annotations

import errno
import socket as stdlib_socket
from collections import deque
from socket import SOCK_DGRAM, AddressFamily
from typing import Final

from ...network.socket_type import DEFAULT_BACKLOG, AddressFormat, SocketType
from .endpoint import FLAGS_WITHOUT_EFFECT, Endpoint
from .host import WILDCARDS, Host, failure
from .names import sockaddr

# The most that fits into a packet of IPv4, and what a socket keeps before it drops what comes (bytes).
LARGEST_DATAGRAM: Final = 65507
RECEIVE_BUFFER: Final = 256 * 1024


class DatagramSocket(Endpoint):
    """A socket of type SOCK_DGRAM."""

    def __init__(self, host: Host, family: AddressFamily, proto: int) -> None:
        super().__init__(host, family, SOCK_DGRAM, proto)
        self._arrived: deque[tuple[bytes, tuple[str, int]]] = deque()
        self._arrived_bytes = 0
        self._deaf = False

    def is_readable(self) -> bool:
        return bool(self._arrived)

    async def wait_writable(self) -> None:
        # A network takes whatever it gets.
        await self.until_writable(lambda: True)

    def listen(self, backlog: int = DEFAULT_BACKLOG) -> None:
        self.check_open()
        raise failure(errno.EOPNOTSUPP, "datagram sockets have no connections to listen for")

    async def accept(self) -> tuple[SocketType, AddressFormat]:
        self.check_open()
        raise failure(errno.EOPNOTSUPP, "datagram sockets have no connections to accept")

    async def connect(self, address: AddressFormat) -> None:
        self.remote = await self.resolve(address, local=False)
        self._bind_if_need_be(self.remote[0])

    def _bind_if_need_be(self, target: str) -> tuple[str, int]:
        if self.local is None:
            wildcard = WILDCARDS[self.family]
            self.local = (wildcard, self.host.bind(self, wildcard, 0))
        address, port = self.local
        return (self.host.address_towards(target) if address == WILDCARDS[self.family] else address), port

    def getsockname(self) -> AddressFormat:
        if self.local is not None and self.remote is not None:
            self.check_open()
            return sockaddr(*self._bind_if_need_be(self.remote[0]))
        return super().getsockname()

    def shut_down_receiving(self) -> None:
        self._deaf = True
        self.wake_reader()

    async def transmit(self, data: bytes, address: AddressFormat | None) -> int:
        await self.until_writable(lambda: True)
        remote = self.remote if address is None else await self.resolve(address, local=False)
        self.check_open()
        self.raise_error()
        if remote is None:
            raise failure(errno.EDESTADDRREQ)
        if self._shut_down_sending:
            raise failure(errno.EPIPE)
        if len(data) > LARGEST_DATAGRAM:
            raise failure(errno.EMSGSIZE)
        source = self._bind_if_need_be(remote[0])
        network = self.network
        target = network.host_at(remote[0], self.host)
        # Nobody there: nobody says so either.
        if target is not None and network.passes(self.host, target):
            network.after(network.travel_time(self.host, target), self._arrive, target, remote, data, source)
        return len(data)

    def _arrive(self, host: Host, remote: tuple[str, int], data: bytes, source: tuple[str, int]) -> None:
        """Be at the target host, if it has not been cut off meanwhile."""
        if self.network.is_cut(self.host, host):
            return
        target = host.bound_to(SOCK_DGRAM, *remote)
        if isinstance(target, DatagramSocket):
            target.arrived(data, source)
        elif self.remote == remote and self.network.passes(host, self.host):
            self.network.after(self.network.travel_time(host, self.host), self._refused, remote)

    def _refused(self, remote: tuple[str, int]) -> None:
        """Be told that nobody listens there; only a connected socket is interested."""
        if self._open and self.remote == remote:
            self._error = errno.ECONNREFUSED
            self.wake_reader()

    def arrived(self, data: bytes, source: tuple[str, int]) -> None:
        """Take a datagram in, unless it is unwanted or there is no room."""
        if self._deaf or (self.remote is not None and self.remote != source):
            return
        if self._arrived_bytes + len(data) > RECEIVE_BUFFER:
            return
        self._arrived.append((data, source))
        self._arrived_bytes += len(data)
        self.wake_reader()

    async def receive(self, most: int, flags: int) -> tuple[bytes, int, AddressFormat]:
        if flags & ~(stdlib_socket.MSG_PEEK | FLAGS_WITHOUT_EFFECT):
            raise failure(errno.EOPNOTSUPP, "of the flags, datagram sockets in memory know MSG_PEEK")
        await self.until_readable(lambda: bool(self._arrived or self._error) or self._deaf)
        self.raise_error()
        if not self._arrived:
            return b"", 0, None
        data, source = self._arrived[0]
        if not flags & stdlib_socket.MSG_PEEK:
            self._arrived.popleft()
            self._arrived_bytes -= len(data)
        return data[:most], int(stdlib_socket.MSG_TRUNC) if len(data) > most else 0, sockaddr(*source)
