"""TCP clients and servers: create_connection, create_server, connect_accepted_socket.

Invariant: a socket made here is closed here, unless a transport or a server has taken it over.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from asyncio import staggered
from asyncio.log import logger
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from itertools import chain, zip_longest
from ssl import SSLContext
from typing import Any, TypeVar

from ..transports.socket import SocketTransport
from ..transports.tls import SSLTransport
from ..transports.tls_settings import TLSSettings
from .server import Server
from .sockets import Sockets, refuse_tls_socket, share_port

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)


def refuse_tls_options(**options: object) -> None:
    """Raise ValueError if an option of TLS was given without TLS."""
    for name, value in options.items():
        if value is not None:
            raise ValueError(f"{name} is only meaningful with ssl")


class Connections(Sockets):
    """Connecting, listening, and taking over sockets that are connected already."""

    async def create_connection(
        self,
        protocol_factory: Callable[[], ProtocolT],
        host: str | None = None,
        port: int | str | None = None,
        *,
        ssl: SSLContext | bool | None = None,
        family: int = 0,
        proto: int = 0,
        flags: int = 0,
        sock: socket.socket | None = None,
        local_addr: tuple[str, int] | None = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        happy_eyeballs_delay: float | None = None,
        interleave: int | None = None,
        all_errors: bool = False,
    ) -> tuple[asyncio.Transport, ProtocolT]:
        """Connect to a TCP server, or take over a connected socket, and return transport and protocol.

        Arguments: ssl is a context, or True for one that trusts the system's authorities.  server_hostname is whom the
        certificate must name, the host if it is left out; an empty one lets any name do.  happy_eyeballs_delay and the
        time limits are in seconds.
        Raises OSError, an ExceptionGroup of all with all_errors; `ssl.SSLError` and ConnectionError if the handshake
        fails, ConnectionAbortedError if it takes too long; ValueError for arguments that contradict each other.
        Source: asyncio's documentation, `loop.create_connection`.
        """
        settings = None
        if ssl:
            if server_hostname is None:
                if not host:
                    raise ValueError("You must set server_hostname when using ssl without a host")
                server_hostname = host
            settings = TLSSettings.of(
                ssl,
                server_hostname=server_hostname,
                handshake_timeout=ssl_handshake_timeout,
                shutdown_timeout=ssl_shutdown_timeout,
            )
        else:
            refuse_tls_options(
                server_hostname=server_hostname,
                ssl_handshake_timeout=ssl_handshake_timeout,
                ssl_shutdown_timeout=ssl_shutdown_timeout,
            )
        if sock is not None:
            if host is not None or port is not None:
                raise ValueError("host/port and sock can not be specified at the same time")
            _check_stream(sock)
        elif host is None and port is None:
            raise ValueError("host and port was not specified and no sock specified")
        else:
            sock = await self._connect_to_host(
                host, port, family, proto, flags, local_addr, happy_eyeballs_delay, interleave, all_errors
            )
        transport, protocol = await self._take_over_as(protocol_factory, sock, settings)
        if self._debug:
            logger.debug(
                "%r connected to %s:%r: (%r, %r)", transport.get_extra_info("socket"), host, port, transport, protocol
            )
        return transport, protocol

    async def connect_accepted_socket(
        self,
        protocol_factory: Callable[[], ProtocolT],
        sock: socket.socket,
        *,
        ssl: SSLContext | bool | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> tuple[asyncio.Transport, ProtocolT]:
        """Take over a connection that was accepted elsewhere, and return transport and protocol.

        Arguments: the time limits are in seconds.
        Raises as `create_connection` does where TLS is concerned.
        Source: asyncio's documentation, `loop.connect_accepted_socket`.
        """
        _check_stream(sock)
        transport, protocol = await self._take_over(
            protocol_factory,
            sock,
            ssl=ssl,
            server_side=True,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        if self._debug:
            logger.debug("%r handled: (%r, %r)", transport.get_extra_info("socket"), transport, protocol)
        return transport, protocol

    async def _take_over(
        self,
        protocol_factory: Callable[[], ProtocolT],
        sock: socket.socket,
        *,
        ssl: SSLContext | bool | None = None,
        server_hostname: str | None = None,
        server_side: bool = False,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> tuple[asyncio.Transport, ProtocolT]:
        """Make a transport of a connected stream socket, and wait until its protocol knows of it.

        If that fails, the socket is closed, but not for a ValueError or TypeError about the arguments of TLS.
        """
        settings = None
        if ssl:
            settings = TLSSettings.of(
                ssl,
                server_side=server_side,
                server_hostname=server_hostname,
                handshake_timeout=ssl_handshake_timeout,
                shutdown_timeout=ssl_shutdown_timeout,
            )
        else:
            refuse_tls_options(ssl_handshake_timeout=ssl_handshake_timeout, ssl_shutdown_timeout=ssl_shutdown_timeout)
        return await self._take_over_as(protocol_factory, sock, settings)

    async def _take_over_as(
        self, protocol_factory: Callable[[], ProtocolT], sock: socket.socket, settings: TLSSettings | None
    ) -> tuple[asyncio.Transport, ProtocolT]:
        self._check_closed()
        connected: asyncio.Future[None] = self.create_future()
        context = copy_context()
        encrypted: SSLTransport | None = None
        transport: SocketTransport | SSLTransport
        try:
            sock.setblocking(False)
            protocol = protocol_factory()
            if settings is None:
                transport = SocketTransport(self, sock, protocol, connected, context=context)
            else:
                transport = encrypted = SSLTransport(self, protocol, settings, connected, context=context)
                encrypted.over(SocketTransport(self, sock, encrypted._ssl_protocol, context=context))
        except BaseException:
            sock.close()
            if encrypted is not None:
                encrypted.abort()
            raise
        try:
            await connected
        except BaseException:
            transport.close()
            raise
        finally:
            # The traceback of its error leads here (tests/compat/loop/test_upgrades.py).
            del connected
        return transport, protocol

    async def _connect_to_host(
        self,
        host: str | None,
        port: int | str | None,
        family: int,
        proto: int,
        flags: int,
        local_addr: tuple[str, int] | None,
        happy_eyeballs_delay: float | None,
        interleave: int | None,
        all_errors: bool,
    ) -> socket.socket:
        if happy_eyeballs_delay is not None and interleave is None:
            # The race of the two families needs them mixed (RFC 8305).
            interleave = 1
        infos = await self._resolve(host, port, family=family, proto=proto, flags=flags)
        local_infos = None
        if local_addr is not None:
            local_infos = await self._resolve(local_addr[0], local_addr[1], family=family, proto=proto, flags=flags)
        if interleave:
            infos = interleaved(infos, interleave)
        failures: list[list[OSError]] = []
        errors: list[OSError] = []
        sock: socket.socket | None = None
        try:
            if happy_eyeballs_delay is None:
                for info in infos:
                    try:
                        sock = await self._connect_to(info, local_infos, failures)
                        break
                    except OSError:
                        continue
            else:
                attempts = [partial(self._connect_to, info, local_infos, failures) for info in infos]
                sock = (await staggered.staggered_race(attempts, happy_eyeballs_delay, loop=self))[0]
            if sock is not None:
                return sock
            errors += [error for attempt in failures for error in attempt]
            if not errors:
                # Each attempt was cut short by something else than an error of its own.
                raise TimeoutError("create_connection failed")
            if all_errors:
                raise ExceptionGroup("create_connection failed", errors)
            if len(errors) == 1:
                raise errors[0]
            texts = {str(error) for error in errors}
            if len(texts) == 1:
                raise errors[0]
            raise OSError("Multiple exceptions: {}".format(", ".join(str(error) for error in errors)))
        finally:
            # The errors' tracebacks hold this frame (tests/compat/loop/test_connections.py).
            failures.clear()
            del errors, failures

    async def _connect_to(
        self, info: tuple[Any, ...], local_infos: list[Any] | None, failures: list[list[OSError]]
    ) -> socket.socket:
        """Connect to one address; what fails is put into `failures` and raised."""
        failed: list[OSError] = []
        failures.append(failed)
        family, kind, proto, _, address = info
        sock = None
        try:
            sock = socket.socket(family=family, type=kind, proto=proto)
            sock.setblocking(False)
            if local_infos is not None:
                self._bind_local(sock, family, local_infos, failed)
            await self.sock_connect(sock, address)
            self._leave_place(sock)
            return sock
        except OSError as exc:
            if exc not in failed:
                failed.append(exc)
            if sock is not None:
                with suppress(OSError):
                    sock.close()
            raise
        except BaseException:
            if sock is not None:
                # What it raised counts, not what becomes of a socket that nobody has seen.
                with suppress(OSError):
                    sock.close()
            raise
        finally:
            del failed, failures

    def _bind_local(
        self, sock: socket.socket, family: int, local_infos: list[Any], failed: list[OSError]
    ) -> None:
        for local_family, _, _, _, address in local_infos:
            if local_family != family:
                continue
            try:
                sock.bind(address)
                return
            except OSError as exc:
                text = f"error while attempting to bind on address {address!r}: {(exc.strerror or '').lower()}"
                failed.append(OSError(exc.errno, text))
        if not failed:
            failed.append(OSError(f"no matching local address with family={family!r} found"))
        raise failed.pop()

    async def create_server(  # type: ignore[override]  # typeshed has an overload for each way to call it
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | Iterable[str] | None = None,
        port: int | str | None = None,
        *,
        family: int = socket.AF_UNSPEC,
        flags: int = socket.AI_PASSIVE,
        sock: socket.socket | None = None,
        backlog: int = 100,
        ssl: SSLContext | None = None,
        reuse_address: bool | None = None,
        reuse_port: bool | None = None,
        keep_alive: bool | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        start_serving: bool = True,
    ) -> Server:
        """Listen on one or more addresses, or on `sock`, and return the server.

        Arguments: ssl is the context with the server's certificate; the time limits are in seconds, and for each
        connection.
        Raises OSError naming the address that cannot be bound.
        Source: asyncio's documentation, `loop.create_server`.
        """
        self._check_closed()
        if isinstance(ssl, bool):
            raise TypeError("ssl argument must be an SSLContext or None")
        if ssl is None:
            refuse_tls_options(ssl_handshake_timeout=ssl_handshake_timeout, ssl_shutdown_timeout=ssl_shutdown_timeout)
        else:
            # Before anything is opened.
            TLSSettings.of(
                ssl,
                server_side=True,
                handshake_timeout=ssl_handshake_timeout,
                shutdown_timeout=ssl_shutdown_timeout,
            )
        if sock is not None:
            if host is not None or port is not None:
                raise ValueError("host/port and sock can not be specified at the same time")
            _check_stream(sock)
            sockets = [sock]
        elif host is None and port is None:
            raise ValueError("Neither host/port nor sock were specified")
        else:
            sockets = await self._listening_sockets(host, port, family, flags, reuse_address, reuse_port, keep_alive)
        for listening in sockets:
            listening.setblocking(False)
        server = Server(
            self, sockets, protocol_factory, backlog, ssl, ssl_handshake_timeout, ssl_shutdown_timeout
        )
        if start_serving:
            await server.start_serving()
        if self._debug:
            logger.info("%r is serving", server)
        return server

    async def _listening_sockets(
        self,
        host: str | Iterable[str] | None,
        port: int | str | None,
        family: int,
        flags: int,
        reuse_address: bool | None,
        reuse_port: bool | None,
        keep_alive: bool | None,
    ) -> list[socket.socket]:
        if reuse_address is None:
            reuse_address = os.name == "posix" and sys.platform != "cygwin"
        hosts: list[str | None]
        if host == "" or host is None:
            hosts = [None]
        elif isinstance(host, str):
            hosts = [host]
        else:
            hosts = list(host)
        found = await asyncio.gather(*[self._resolve(each, port, family=family, flags=flags) for each in hosts])
        sockets: list[socket.socket] = []
        try:
            for info in dict.fromkeys(chain.from_iterable(found)):
                family, kind, proto, _, address = info
                try:
                    sock = socket.socket(family, kind, proto)
                except OSError:
                    # The system knows the address but not the family (IPv6 switched off).
                    continue
                sockets.append(sock)
                if reuse_address:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
                if reuse_port and family in (socket.AF_INET, socket.AF_INET6):
                    share_port(sock)
                if keep_alive:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, True)
                if family == socket.AF_INET6 and hasattr(socket, "IPPROTO_IPV6"):
                    # Else "all interfaces" of both families would be in each other's way.
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, True)
                try:
                    sock.bind(address)
                except OSError as exc:
                    if exc.errno == errno.EADDRNOTAVAIL:
                        # The name has an address of a family that is switched off here (bpo-30945).
                        sockets.remove(sock)
                        sock.close()
                        continue
                    text = f"error while attempting to bind on address {address!r}: {(exc.strerror or '').lower()}"
                    raise OSError(exc.errno, text) from None
        except BaseException:
            for sock in sockets:
                sock.close()
            raise
        if not sockets:
            raise OSError(f"could not bind on any address out of {[info[4] for each in found for info in each]!r}")
        return sockets


def interleaved(infos: list[Any], first_family_count: int) -> list[Any]:
    """Mix the families of addresses, `first_family_count` of the first one leading."""
    families: dict[int, list[Any]] = {}
    for info in infos:
        families.setdefault(info[0], []).append(info)
    lists = list(families.values())
    leading = lists[0][: first_family_count - 1]
    del lists[0][: first_family_count - 1]
    return leading + [info for row in zip_longest(*lists) for info in row if info is not None]


def _check_stream(sock: socket.socket) -> None:
    refuse_tls_socket(sock)
    if sock.type != socket.SOCK_STREAM:
        raise ValueError(f"A Stream Socket was expected, got {sock!r}")
