"""One machine of the network: its names, its addresses, and who listens on which port.

Invariant: an address and port of one protocol belong to at most one socket of the host; the wildcard address of a
family stands for all addresses of that family.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from ipaddress import ip_address
from socket import AF_INET, AF_INET6, AddressFamily, SocketKind
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .endpoint import Endpoint
    from .network import Network

# The ports that are given out, one after the other, where none was asked for (RFC 6335).
FIRST_FREE_PORT: Final = 49152
LAST_PORT: Final = 65535

WILDCARDS: Final = {AF_INET: "0.0.0.0", AF_INET6: "::"}


def failure(number: int, detail: str = "") -> OSError:
    """Return the OSError that the system would raise, with its words."""
    text = os.strerror(number)
    return OSError(number, f"{text}: {detail}" if detail else text)


def family_of(address: str) -> AddressFamily:
    """Return the family of a numeric address; ValueError if it is none."""
    return AF_INET6 if ip_address(address).version == 6 else AF_INET


class Host:
    """A machine in an in-memory network; made by `Network.host`.

    Attributes: `name`, `addresses`, `network`.
    """

    def __init__(self, network: Network, name: str, addresses: tuple[str, ...]) -> None:
        self.network = network
        self.name = name
        self.addresses = addresses
        self._bound: dict[tuple[SocketKind, str, int], Endpoint] = {}
        self._next_port = FIRST_FREE_PORT

    def __repr__(self) -> str:
        return f"<Host {self.name!r}, {', '.join(self.addresses)}>"

    @contextmanager
    def active(self) -> Generator[Host, None, None]:
        """Return a context manager inside which this host is where code runs.

        Sockets that are made in the block, and in tasks that are started in it, are this host's.  Blocks may be nested
        and are entered by each task on its own.
        """
        token = self.network.current.set(self)
        try:
            yield self
        finally:
            self.network.current.reset(token)

    # What sockets ask

    def supports(self, family: AddressFamily) -> bool:
        """Return whether the host has an address of this family."""
        return any(family_of(address) == family for address in self.addresses)

    def owns(self, address: str) -> bool:
        """Return whether this numeric address leads from the host to itself."""
        return address in self.addresses or ip_address(address).is_loopback

    def address_towards(self, target: str) -> str:
        """Return the address from which the host talks to `target`."""
        if self.owns(target):
            return target
        return self.address_of(family_of(target))

    def address_of(self, family: AddressFamily) -> str:
        """Return the first of the host's addresses that is of this family; there must be one."""
        return next(address for address in self.addresses if family_of(address) == family)

    def bind(self, endpoint: Endpoint, address: str, port: int) -> int:
        """Give an address and port to a socket, any free port for 0; return the port."""
        if address != WILDCARDS[endpoint.family] and not self.owns(address):
            raise failure(errno.EADDRNOTAVAIL, f"{self!r} does not have {address}")
        if port == 0:
            port = self._free_port(endpoint, address)
        elif self._taken(endpoint, address, port):
            raise failure(errno.EADDRINUSE, f"port {port} of {self!r}")
        self._bound[endpoint.type, address, port] = endpoint
        return port

    def _free_port(self, endpoint: Endpoint, address: str) -> int:
        for _ in range(FIRST_FREE_PORT, LAST_PORT + 1):
            port = self._next_port
            self._next_port = port + 1 if port < LAST_PORT else FIRST_FREE_PORT
            if not self._taken(endpoint, address, port):
                return port
        raise failure(errno.EADDRINUSE, f"{self!r} has no free port left")

    def _taken(self, endpoint: Endpoint, address: str, port: int) -> bool:
        wildcard = WILDCARDS[endpoint.family]
        return any(
            kind is endpoint.type
            and taken_port == port
            and owner.family is endpoint.family
            and (taken == address or wildcard in (taken, address))
            for (kind, taken, taken_port), owner in self._bound.items()
        )

    def release(self, endpoint: Endpoint) -> None:
        """Take back what was given to a socket."""
        for key in [key for key, owner in self._bound.items() if owner is endpoint]:
            del self._bound[key]

    def bound_to(self, kind: SocketKind, address: str, port: int) -> Endpoint | None:
        """Return the socket that packets to this address and port are for."""
        exact = self._bound.get((kind, address, port))
        return exact or self._bound.get((kind, WILDCARDS[family_of(address)], port))
