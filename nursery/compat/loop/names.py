"""Names to addresses and back: getaddrinfo and getnameinfo.

Invariant: what is numeric already is answered in the loop's own thread, by a call that neither asks a name server nor
reads a file; whatever else happens in the default executor.

The functions of the standard module are looked up at each call, so that what replaces them there is used here too.
"""

from __future__ import annotations

import socket
from asyncio.log import logger
from typing import TYPE_CHECKING, Any, Final

from .executors import Executors

if TYPE_CHECKING:
    from ...network.resolver import AddressInfo

# Some systems lack the second.
NUMERIC: Final = socket.AI_NUMERICHOST | getattr(socket, "AI_NUMERICSERV", 0)
NAMELESS: Final = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
PROTOCOLS: Final = (0, socket.IPPROTO_TCP, socket.IPPROTO_UDP)


class Names(Executors):
    """getaddrinfo and getnameinfo."""

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[AddressInfo]:
        """Look up the addresses of a host and a service: arguments and result are those of `socket.getaddrinfo`.

        Raises socket.gaierror.  In debug mode a look-up that took longer than `slow_callback_duration` is logged.
        Unlike asyncio's, a literal address with a number for a port is answered without a thread, and without a turn.

        Source: asyncio's documentation, `loop.getaddrinfo`.
        """
        look_up = self._timed_getaddrinfo if self._debug else socket.getaddrinfo
        if is_literal(host) and is_number(port):
            return look_up(host, port, family, type, proto, flags | NUMERIC)
        return await self.run_in_executor(None, look_up, host, port, family, type, proto, flags)

    def _timed_getaddrinfo(
        self, host: bytes | str | None, port: bytes | str | int | None, family: int, type: int, proto: int, flags: int
    ) -> list[AddressInfo]:
        """Look addresses up, and log what was asked, what was answered and how long it took."""
        asked = [f"{host!s}:{port!r}"]
        for name, value in (("family", family), ("type", type), ("proto", proto), ("flags", flags)):
            if value:
                asked.append(f"{name}={value!r}")
        question = ", ".join(asked)
        logger.debug("Get address info %s", question)
        began = self.time()
        found = socket.getaddrinfo(host, port, family, type, proto, flags)
        took = self.time() - began
        log = logger.info if took >= self.slow_callback_duration else logger.debug
        log("Getting address info %s took %.3fms: %r", question, took * 1e3, found)
        return found

    async def getnameinfo(
        self, sockaddr: tuple[str, int] | tuple[str, int, int, int], flags: int = 0
    ) -> tuple[str, str]:
        """Look up the names of an address: arguments and result are those of `socket.getnameinfo`.

        Raises socket.gaierror.  Unlike asyncio's, it needs no thread if the flags ask for no names at all.

        Source: asyncio's documentation, `loop.getnameinfo`.
        """
        if flags & NAMELESS == NAMELESS:
            return socket.getnameinfo(sockaddr, flags)
        return await self.run_in_executor(None, socket.getnameinfo, sockaddr, flags)

    async def _resolve(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *rest: int,
        family: int = 0,
        type: int = socket.SOCK_STREAM,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """Return the addresses of a host, one at least; `rest` is what follows host and port in an IPv6 address."""
        known = numeric_address(host, port, family, type, proto, *rest)
        if known is not None:
            return [known]
        infos = await self.getaddrinfo(host, port, family=family, type=type, proto=proto, flags=flags)
        if not infos:
            raise OSError(f"getaddrinfo({host!r}) returned empty list")
        return infos


def is_literal(host: object) -> bool:
    """Return whether a host is no name: a literal address, with or without a zone, or None."""
    if host is None:
        return True
    if isinstance(host, bytes):
        try:
            host = host.decode("ascii")
        except UnicodeDecodeError:
            return False
    if not isinstance(host, str):
        return False
    address, percent, _zone = host.partition("%")
    return _family_of(address, (socket.AF_INET6,) if percent else (socket.AF_INET, socket.AF_INET6)) is not None


def is_number(port: object) -> bool:
    """Return whether a port is no name of a service."""
    return port is None or isinstance(port, int) or (isinstance(port, (str, bytes)) and port.isdigit())


def numeric_address(
    host: object,
    port: bytes | str | int | None,
    family: int,
    type: int,
    proto: int,
    flowinfo: int = 0,
    scope: int = 0,
) -> tuple[Any, ...] | None:
    """Return the one answer that getaddrinfo has for a literal address and a number; None if it is not as simple."""
    if proto not in PROTOCOLS or host is None:
        return None
    if type == socket.SOCK_STREAM:
        proto = socket.IPPROTO_TCP
    elif type == socket.SOCK_DGRAM:
        proto = socket.IPPROTO_UDP
    else:
        return None
    if port is None or port in ("", b""):
        port = 0
    else:
        try:
            port = int(port)
        except (TypeError, ValueError):
            # A service has a name.
            return None
    if isinstance(host, bytes):
        host = host.decode("idna")
    if not isinstance(host, str) or "%" in host:
        # The zone of an IPv6 address becomes a number of the address.
        return None
    found = _family_of(host, (socket.AF_INET, socket.AF_INET6) if family == socket.AF_UNSPEC else (family,))
    if found is None:
        return None
    address = (host, port, flowinfo, scope) if found == socket.AF_INET6 else (host, port)
    return found, type, proto, "", address


def _family_of(host: str, families: tuple[int, ...]) -> int | None:
    for family in families:
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return family
    return None
