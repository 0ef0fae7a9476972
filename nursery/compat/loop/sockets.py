"""The sock_* functions: one system call, tried first, then a future until the socket is ready.

Invariant: they wait in futures, not in native waits, so they follow asyncio's rule of cancellation: once.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from .descriptors import Descriptors
from .executors import Executors


class Sockets(Descriptors, Executors):
    """sock_recv, sock_recv_into, sock_recvfrom, sock_sendall, sock_sendto, sock_connect, sock_accept."""

    def _check_nonblocking(self, sock: socket.socket) -> None:
        if self._debug and sock.gettimeout() != 0:
            raise ValueError("the socket must be non-blocking")

    async def _until_readable(self, sock: socket.socket) -> None:
        fd = self._free_descriptor(sock)
        ready: asyncio.Future[None] = self.create_future()
        handle = self._watch_reader(fd, _set_ready, (ready,))
        try:
            await ready
        finally:
            watch = self._watches.get(fd)
            if watch is not None and watch.reader is handle:
                self._unwatch_reader(fd)

    async def _until_writable(self, sock: socket.socket) -> None:
        fd = self._free_descriptor(sock)
        ready: asyncio.Future[None] = self.create_future()
        handle = self._watch_writer(fd, _set_ready, (ready,))
        try:
            await ready
        finally:
            watch = self._watches.get(fd)
            if watch is not None and watch.writer is handle:
                self._unwatch_writer(fd)

    async def sock_recv(self, sock: socket.socket, nbytes: int) -> bytes:
        """Receive up to `nbytes` bytes."""
        self._check_nonblocking(sock)
        while True:
            try:
                return sock.recv(nbytes)
            except (BlockingIOError, InterruptedError):
                await self._until_readable(sock)

    async def sock_recv_into(self, sock: socket.socket, buf: Any) -> int:
        """Receive into `buf` and return how many bytes came."""
        self._check_nonblocking(sock)
        while True:
            try:
                return sock.recv_into(buf)
            except (BlockingIOError, InterruptedError):
                await self._until_readable(sock)

    async def sock_recvfrom(self, sock: socket.socket, bufsize: int) -> Any:
        """Receive a datagram and the address it came from."""
        self._check_nonblocking(sock)
        while True:
            try:
                return sock.recvfrom(bufsize)
            except (BlockingIOError, InterruptedError):
                await self._until_readable(sock)

    async def sock_recvfrom_into(self, sock: socket.socket, buf: Any, nbytes: int = 0) -> Any:
        """Receive a datagram into `buf`; return its size and the address it came from."""
        self._check_nonblocking(sock)
        while True:
            try:
                return sock.recvfrom_into(buf, nbytes or len(buf))
            except (BlockingIOError, InterruptedError):
                await self._until_readable(sock)

    async def sock_sendall(self, sock: socket.socket, data: Any) -> None:
        """Send all of `data`."""
        self._check_nonblocking(sock)
        view = memoryview(data).cast("B")
        sent = 0
        while sent < len(view):
            try:
                sent += sock.send(view[sent:])
            except (BlockingIOError, InterruptedError):
                await self._until_writable(sock)

    async def sock_sendto(self, sock: socket.socket, data: Any, address: Any) -> int:
        """Send a datagram to `address`."""
        self._check_nonblocking(sock)
        while True:
            try:
                return sock.sendto(data, address)
            except (BlockingIOError, InterruptedError):
                await self._until_writable(sock)

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect to `address`, whose host name is looked up first."""
        self._check_nonblocking(sock)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            host, port = address[:2]
            infos = await self._resolve(host, port, family=sock.family, type=sock.type, proto=sock.proto)
            address = infos[0][4]
        try:
            sock.connect(address)
            return
        except (BlockingIOError, InterruptedError):
            await self._until_writable(sock)
        failure = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failure:
            raise OSError(failure, f"Connect call failed {address}")

    async def sock_accept(self, sock: socket.socket) -> tuple[socket.socket, Any]:
        """Accept a connection; return its socket, which does not block, and the peer's address."""
        self._check_nonblocking(sock)
        while True:
            try:
                connection, address = sock.accept()
            except (BlockingIOError, InterruptedError):
                await self._until_readable(sock)
            else:
                connection.setblocking(False)
                return connection, address

    async def _resolve(
        self, host: Any, port: Any, *, family: int = 0, type: int = socket.SOCK_STREAM, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        """Return the addresses of a host; what is an address already needs no thread."""
        known = numeric_address(host, port, family, type, proto)
        if known is not None:
            return [known]
        infos = await self.getaddrinfo(host, port, family=family, type=type, proto=proto, flags=flags)
        if not infos:
            raise OSError(f"getaddrinfo({host!r}) returned empty list")
        return infos


def _set_ready(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def numeric_address(host: Any, port: Any, family: int, type: int, proto: int) -> tuple[Any, ...] | None:
    """Return what getaddrinfo would, if `host` is a literal address and `port` a number; None otherwise."""
    if not isinstance(host, str) or not host or "%" in host:
        return None
    if isinstance(port, (str, bytes)) and port:
        try:
            port = int(port)
        except ValueError:
            return None
    if not isinstance(port, int):
        return None
    if type == socket.SOCK_STREAM:
        proto = socket.IPPROTO_TCP
    elif type == socket.SOCK_DGRAM:
        proto = socket.IPPROTO_UDP
    else:
        return None
    for candidate in (socket.AF_INET, socket.AF_INET6):
        if family not in (socket.AF_UNSPEC, candidate):
            continue
        try:
            socket.inet_pton(candidate, host)
        except OSError:
            continue
        address: tuple[Any, ...] = (host, port) if candidate == socket.AF_INET else (host, port, 0, 0)
        return candidate, type, proto, "", address
    return None
