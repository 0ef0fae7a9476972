"""A network that does what a test says: addresses that answer, refuse or stay silent, by a mock clock."""

from __future__ import annotations

import errno
import socket as stdlib_socket
from dataclasses import dataclass, field

import nursery
from nursery.network.resolver import AddressInfo, HostnameResolver, set_custom_hostname_resolver
from nursery.network.socket_type import SocketFactory, SocketType
from nursery.network.sockets import set_custom_socket_factory


@dataclass
class Site:
    """One address: after how many seconds it answers, and whether with an error."""

    ip: str
    after: float
    refuses: bool = False
    unsupported: bool = False


class FakeSocket(SocketType):
    def __init__(self, network: FakeNetwork, family: int) -> None:
        super().__init__()
        self._network = network
        self._family = family
        self.ip: str | None = None
        self.bound_to: object = None
        self.options: dict[tuple[int, int], object] = {}
        self.closed = False
        self.listening: int | None = None

    type = stdlib_socket.SOCK_STREAM

    @property
    def family(self) -> stdlib_socket.AddressFamily:
        return stdlib_socket.AddressFamily(self._family)

    def setsockopt(self, level: int, optname: int, value: object, optlen: object = None) -> None:
        if self._network.fails_in_setup and optname == stdlib_socket.TCP_NODELAY:
            raise KeyboardInterrupt
        self.options[level, optname] = value

    def getsockopt(self, level: int, optname: int, buflen: int | None = None) -> int:  # type: ignore[override]  # no bytes here
        return 1

    async def bind(self, address: object) -> None:
        if self._network.cannot_bind:
            raise OSError(errno.EADDRNOTAVAIL, "cannot bind")
        self.bound_to = address

    def listen(self, backlog: int = 0) -> None:
        self.listening = backlog

    async def connect(self, address: tuple[str, int]) -> None:
        self.ip = address[0]
        assert address[1] == 80
        network = self._network
        network.attempts[self.ip] = nursery.current_time() - network.began
        site = network.sites[self.ip]
        await nursery.sleep(site.after)
        if site.refuses:
            raise OSError(errno.ECONNREFUSED, f"{self.ip} refuses")

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeNetwork(SocketFactory, HostnameResolver):
    """Sites by their address, in the order in which the resolver names them."""

    sites: dict[str, Site]
    cannot_bind: bool = False
    fails_in_setup: bool = False
    attempts: dict[str, float] = field(default_factory=dict)
    sockets: list[FakeSocket] = field(default_factory=list)
    began: float = 0.0

    @classmethod
    def install(cls, *sites: Site, cannot_bind: bool = False, fails_in_setup: bool = False) -> FakeNetwork:
        """Take the place of the network for the rest of the run."""
        network = cls({site.ip: site for site in sites}, cannot_bind, fails_in_setup)
        network.began = nursery.current_time()
        set_custom_socket_factory(network)
        set_custom_hostname_resolver(network)
        return network

    def socket(self, family: int = 0, type: int = 0, proto: int = 0) -> SocketType:
        for site in self.sites.values():
            if site.unsupported and family == self._family(site):
                raise OSError(errno.EAFNOSUPPORT, "unsupported family")
        sock = FakeSocket(self, family)
        self.sockets.append(sock)
        return sock

    def _family(self, site: Site) -> int:
        return stdlib_socket.AF_INET6 if ":" in site.ip else stdlib_socket.AF_INET

    async def getaddrinfo(self, host: object, port: object, *args: object) -> list[AddressInfo]:
        found: list[AddressInfo] = []
        for site in self.sites.values():
            if ":" in site.ip:
                found.append(
                    (stdlib_socket.AF_INET6, stdlib_socket.SOCK_STREAM, 6, "", (site.ip, int(str(port)), 0, 0))
                )
            else:
                found.append((stdlib_socket.AF_INET, stdlib_socket.SOCK_STREAM, 6, "", (site.ip, int(str(port)))))
        return found

    async def getnameinfo(self, *args: object) -> tuple[str, str]:
        raise NotImplementedError

    def open_sockets(self) -> list[str | None]:
        """The addresses of the sockets that were not closed."""
        return [sock.ip for sock in self.sockets if not sock.closed]
