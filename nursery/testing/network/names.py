"""Name resolution in the in-memory network.

Invariant: only hosts of the network have names; nothing is ever asked of the system.
"""

from __future__ import annotations

import socket as stdlib_socket
from socket import AF_INET, AF_INET6, AF_UNSPEC, SOCK_DGRAM, SOCK_STREAM, AddressFamily
from typing import TYPE_CHECKING, Any, Final, NoReturn

from ...kernel.traps import checkpoint
from ...network.resolver import AddressInfo, HostnameResolver
from .host import Host, family_of

if TYPE_CHECKING:
    from .network import Network

# The kinds of sockets there are, with their protocols.
KINDS: Final = ((SOCK_STREAM, stdlib_socket.IPPROTO_TCP), (SOCK_DGRAM, stdlib_socket.IPPROTO_UDP))


class Names(HostnameResolver):
    """Answers look-ups from the hosts of one network."""

    def __init__(self, network: Network) -> None:
        self._network = network

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[AddressInfo]:
        """Answer as `socket.getaddrinfo` would, in the order in which the host's addresses were given."""
        await checkpoint()
        number = _number(port)
        found: list[Any] = []
        for address in self._addresses(host):
            for kind, protocol in KINDS:
                if family in (AF_UNSPEC, family_of(address)) and type in (0, kind) and proto in (0, protocol):
                    found.append((family_of(address), kind, protocol, "", sockaddr(address, number)))
        if not found:
            _refuse(stdlib_socket.EAI_NONAME, f"{host!r} has no address of the kind that was asked for")
        return found

    def _addresses(self, name: bytes | None) -> tuple[str, ...]:
        here = self._network.current.get()
        if name is None or name.lower() == b"localhost":
            return tuple(
                loopback
                for family, loopback in ((AF_INET6, "::1"), (AF_INET, "127.0.0.1"))
                if here.supports(AddressFamily(family))
            )
        text = name.decode("ascii").lower()
        host = self._network.hosts.get(text.removesuffix("."))
        if host is not None:
            return host.addresses
        try:
            # Only the service was a name.
            family_of(text)
        except ValueError:
            _refuse(stdlib_socket.EAI_NONAME, f"the in-memory network has no host {text!r}")
        return (text,)

    async def getnameinfo(
        self, sockaddr: tuple[str, int] | tuple[str, int, int, int], flags: int
    ) -> tuple[str, str]:
        """Answer as `socket.getnameinfo` would; services have no names here."""
        await checkpoint()
        address, port = sockaddr[0], sockaddr[1]
        host: Host | None = None
        if not flags & stdlib_socket.NI_NUMERICHOST:
            host = self._network.host_at(address, self._network.current.get())
            if host is None and flags & stdlib_socket.NI_NAMEREQD:
                _refuse(stdlib_socket.EAI_NONAME, f"the in-memory network has no host with the address {address}")
        return (address if host is None else host.name), str(port)


def sockaddr(address: str, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    """Return an address in the form that sockets of its family have."""
    return (address, port) if family_of(address) == AF_INET else (address, port, 0, 0)


def _number(port: bytes | str | int | None) -> int:
    if port is None:
        return 0
    try:
        return int(port)
    except ValueError:
        _refuse(stdlib_socket.EAI_SERVICE, f"the in-memory network knows ports by number, not by name: {port!r}")


def _refuse(number: int, detail: str) -> NoReturn:
    raise stdlib_socket.gaierror(number, detail)
