"""Datagram endpoints: create_datagram_endpoint.

Invariant: a socket made here is closed here, unless a transport has taken it over.
"""

from __future__ import annotations

import asyncio
import socket
from asyncio.log import logger
from collections.abc import Callable
from typing import Any, TypeVar

from ..transports.datagram import DatagramTransport
from .socket_files import has_file, remove_stale
from .sockets import Sockets, share_port

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)


class Datagrams(Sockets):
    """create_datagram_endpoint."""

    async def create_datagram_endpoint(  # type: ignore[override]  # typeshed still has reuse_address, gone since 3.11
        self,
        protocol_factory: Callable[[], ProtocolT],
        local_addr: tuple[str, int] | str | None = None,
        remote_addr: tuple[str, int] | str | None = None,
        *,
        family: int = 0,
        proto: int = 0,
        flags: int = 0,
        reuse_port: bool | None = None,
        allow_broadcast: bool | None = None,
        sock: socket.socket | None = None,
    ) -> tuple[asyncio.DatagramTransport, ProtocolT]:
        """Make a datagram socket, or take one over, and return transport and protocol.

        Arguments: local_addr is what to bind to, remote_addr what to connect to: host and port, or with
        family=AF_UNIX a path (a NUL at its beginning makes the name abstract; a socket file that is there already is
        removed).  With allow_broadcast the socket is not connected, only everything is sent to remote_addr.
        Raises OSError if no address works, ValueError and TypeError for arguments that do not fit.

        Example::

            transport, protocol = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 9999))

        Source: asyncio's documentation, `loop.create_datagram_endpoint`.
        """
        self._check_closed()
        target: Any = None
        if sock is not None:
            if sock.type == socket.SOCK_STREAM:
                raise ValueError(f"A datagram socket was expected, got {sock!r}")
            options = {
                "local_addr": local_addr,
                "remote_addr": remote_addr,
                "family": family,
                "proto": proto,
                "flags": flags,
                "reuse_port": reuse_port,
                "allow_broadcast": allow_broadcast,
            }
            problems = ", ".join(f"{name}={value}" for name, value in options.items() if value)
            if problems:
                raise ValueError(
                    f"socket modifier keyword arguments can not be used when sock is specified. ({problems})"
                )
            made = None
            sock.setblocking(False)
        else:
            candidates = await self._datagram_addresses(local_addr, remote_addr, family, proto, flags)
            sock, target = await self._first_socket(candidates, reuse_port, allow_broadcast)
            made = sock
        try:
            protocol = protocol_factory()
            waiter: asyncio.Future[None] = self.create_future()
            given: Any = protocol
            transport = DatagramTransport(self, sock, given, target, waiter)
        except BaseException:
            if made is not None:
                made.close()
            raise
        if self._debug:
            log = logger.info if local_addr else logger.debug
            log(
                "Datagram endpoint local_addr=%r remote_addr=%r created: (%r, %r)",
                local_addr, remote_addr, transport, protocol,
            )  # fmt: skip
        try:
            await waiter
        except BaseException:
            transport.close()
            raise
        return transport, protocol

    async def _datagram_addresses(
        self, local: Any, remote: Any, family: int, proto: int, flags: int
    ) -> list[tuple[int, int, Any, Any]]:
        """Return what to try: family, protocol, what to bind to, what to connect to."""
        if not local and not remote:
            if family == 0:
                raise ValueError("unexpected address family")
            return [(family, proto, None, None)]
        if hasattr(socket, "AF_UNIX") and family == socket.AF_UNIX:
            for path in (local, remote):
                if path is not None and not isinstance(path, str):
                    raise TypeError("string is expected")
            if local and has_file(local):
                remove_stale(local)
            return [(family, proto, local, remote)]
        # Each pair of family and protocol is tried for which there is whatever was asked for.
        pairs: dict[tuple[int, int], list[Any]] = {}
        for index, address in enumerate((local, remote)):
            if address is None:
                continue
            if not (isinstance(address, tuple) and len(address) == 2):
                raise TypeError("2-tuple is expected")
            infos = await self._resolve(*address, family=family, type=socket.SOCK_DGRAM, proto=proto, flags=flags)
            for found_family, _, found_proto, _, found in infos:
                pairs.setdefault((found_family, found_proto), [None, None])[index] = found
        candidates = [
            (*pair, bind_to, connect_to)
            for pair, (bind_to, connect_to) in pairs.items()
            if (bind_to is not None or not local) and (connect_to is not None or not remote)
        ]
        if not candidates:
            raise ValueError("can not get address information")
        return candidates

    async def _first_socket(
        self,
        candidates: list[tuple[int, int, Any, Any]],
        reuse_port: bool | None,
        allow_broadcast: bool | None,
    ) -> tuple[socket.socket, Any]:
        """Return a socket for the first candidate that works, and where all it sends goes; or raise the first error."""
        first_error: OSError | None = None
        try:
            for family, proto, bind_to, connect_to in candidates:
                sock = None
                try:
                    sock = socket.socket(family=family, type=socket.SOCK_DGRAM, proto=proto)
                    if reuse_port:
                        share_port(sock)
                    if allow_broadcast:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                    sock.setblocking(False)
                    if bind_to:
                        sock.bind(bind_to)
                    if connect_to and not allow_broadcast:
                        await self.sock_connect(sock, connect_to)
                except OSError as exc:
                    if sock is not None:
                        sock.close()
                    first_error = first_error or exc
                except BaseException:
                    if sock is not None:
                        sock.close()
                    raise
                else:
                    return sock, connect_to
            assert first_error is not None
            raise first_error
        finally:
            # Its traceback holds this frame.
            first_error = None
