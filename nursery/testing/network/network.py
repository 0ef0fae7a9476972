"""The network: which hosts there are, what lies between them, and who is cut off from whom.

Invariant: with the same seed and the same program the same packets are lost, delayed and delivered in the same order,
for all randomness comes from one generator, and all time from the run's clock.

It takes the place of sockets and of name resolution in the run that enters it: everything that is built on them
(`open_tcp_stream`, `serve_tcp`, TLS) works on it unchanged.
"""

from __future__ import annotations

import errno
import random
import socket as stdlib_socket
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from ipaddress import ip_address
from socket import AF_INET, SOCK_DGRAM, SOCK_STREAM, AddressFamily, SocketKind
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVarTuple

from ...kernel.current import current_runner
from ...network.resolver import HostnameResolver, set_custom_hostname_resolver
from ...network.socket_type import SocketFactory, SocketType
from ...network.sockets import set_custom_socket_factory
from .datagram_socket import DatagramSocket
from .host import Host, failure
from .later import Later
from .link import PERFECT, Link
from .names import Names
from .stream_socket import StreamSocket

if TYPE_CHECKING:
    from ...kernel.runner import Runner

Ts = TypeVarTuple("Ts")

# What Linux lets callers add to the kind of a socket.
FLAGS_OF_KIND: Final[int] = getattr(stdlib_socket, "SOCK_NONBLOCK", 0) | getattr(stdlib_socket, "SOCK_CLOEXEC", 0)


class Network(SocketFactory):
    """A network in memory, in the place of the real one while its block is entered.

    Arguments: seed is any int; everything that is left to chance follows from it.  link is what lies between two hosts
    unless `set_link` says otherwise.

    Attributes: `home`, the host that code runs on unless it is inside `host.active()`; `hosts`, all hosts by name.

    Hosts are found by their names and addresses and, each by itself, as "localhost".  A stream to a host that does not
    listen is refused, one across a partition waits and times out (ETIMEDOUT) after some two minutes, data on an
    established one after a quarter of an hour; with a `MockClock` neither takes any real time.

    Example::

        async def main() -> None:
            with nursery.testing.Network(seed=1, link=Link(delay=0.05)) as network:
                server = network.host("server")
                async with nursery.open_nursery() as n:
                    with server.active():
                        await n.start(nursery.serve_tcp, echo, 80)
                    stream = await nursery.open_tcp_stream("server", 80)

        nursery.run(main, clock=nursery.testing.MockClock(autojump_threshold=0))
    """

    def __init__(self, seed: int = 0, *, link: Link = PERFECT) -> None:
        self._random = random.Random(seed)
        self._link = link
        self._links: dict[frozenset[Host], Link] = {}
        # Which side of the partition each host is on; those that are not named are all on one more.
        self._sides: dict[Host, int] = {}
        self._entered = False
        # Kept after the block: what was opened in it may be closed later.
        self._runner: Runner | None = None
        self._previous: tuple[SocketFactory | None, HostnameResolver | None] = (None, None)
        # In the order of their making, so that a reset is deterministic too.
        self.connections: dict[StreamSocket, None] = {}
        self.hosts: dict[str, Host] = {}
        self.home = self.host("home")
        self.current: ContextVar[Host] = ContextVar("current host", default=self.home)

    def __repr__(self) -> str:
        return f"<Network of {', '.join(self.hosts)}>"

    # Setting it up

    def host(self, name: str, *addresses: str) -> Host:
        """Add a host, and return it.

        Arguments: addresses are numeric, of IPv4 or IPv6; without any the host gets one of 10.0.0.0/8.

        Raises ValueError for a name or an address that is taken already, or for what is no address.
        """
        if name.lower() in self.hosts or name.lower() == "localhost":
            raise ValueError(f"there is a host of the name {name!r} already")
        if not addresses:
            number = len(self.hosts) + 1
            addresses = (f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",)
        canonical = tuple(str(ip_address(address)) for address in addresses)
        for address in canonical:
            if ip_address(address).is_loopback or ip_address(address).is_unspecified:
                raise ValueError(f"{address} is not the address of one host: every host has it")
            if self.host_at(address) is not None:
                raise ValueError(f"there is a host with the address {address} already")
        self.hosts[name.lower()] = host = Host(self, name, canonical)
        return host

    def set_link(self, a: Host, b: Host, link: Link) -> None:
        """Let `link` be what lies between two hosts from now on; what is under way keeps its time."""
        self._links[frozenset((a, b))] = link

    # Making it fail

    def partition(self, *sides: Iterable[Host]) -> None:
        """Cut the network into sides: from now on nothing passes from one to another; not even what is under way.

        Arguments: sides are groups of hosts; hosts in none of them are one more side.  It replaces the partition from
        before.  Not a cancel point.

        Example::

            network.partition([primary], [replica_1, replica_2])
        """
        self._sides = {host: number for number, side in enumerate(sides, 1) for host in side}

    def heal(self) -> None:
        """End the partition: streams go on where they stopped, as soon as they try again; datagrams are gone."""
        self._sides = {}

    def reset(self, a: Host, b: Host | None = None) -> None:
        """Reset every connection between two hosts, or every connection of one: both ends get ECONNRESET at once.

        Not a cancel point.
        """
        for sock in tuple(self.connections):
            ends = {sock.host, sock.other_host}
            if a in ends and (b is None or ends == {a, b}):
                sock.fail_with_reset()

    # Taking the real one's place

    def __enter__(self) -> Self:
        if self._entered:
            raise RuntimeError(f"{self!r} is in use already")
        self._runner = current_runner()
        self._entered = True
        self._previous = (set_custom_socket_factory(self), set_custom_hostname_resolver(Names(self)))
        return self

    def __exit__(
        self, etype: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        factory, resolver = self._previous
        set_custom_socket_factory(factory)
        set_custom_hostname_resolver(resolver)
        self._entered = False

    def socket(
        self,
        family: AddressFamily | int = AF_INET,
        type: SocketKind | int = SOCK_STREAM,
        proto: int = 0,
    ) -> SocketType:
        """Return a new socket of the current host: this is what `nursery.socket.socket()` calls.

        Raises OSError (EAFNOSUPPORT) for a family of which the host has no address, (ESOCKTNOSUPPORT) for other kinds
        than SOCK_STREAM and SOCK_DGRAM.
        """
        host = self.current.get()
        try:
            family = AddressFamily(family)
        except ValueError:
            raise failure(errno.EAFNOSUPPORT, f"there is no family {family}") from None
        try:
            kind = SocketKind(type & ~FLAGS_OF_KIND)
        except ValueError:
            raise failure(errno.EINVAL, f"there is no kind of socket {type}") from None
        if kind is SOCK_DGRAM:
            return DatagramSocket(host, family, proto)
        return StreamSocket(host, family, kind, proto)

    # What sockets ask

    @property
    def runner(self) -> Runner:
        """The run whose clock is the network's; RuntimeError before the block was entered."""
        if self._runner is None:
            raise RuntimeError(f"{self!r} is used before its block: enter it with 'with'")
        return self._runner

    def host_at(self, address: str, seen_from: Host | None = None) -> Host | None:
        """Return the host that has a numeric address."""
        if seen_from is not None and seen_from.owns(address):
            return seen_from
        return next((host for host in self.hosts.values() if address in host.addresses), None)

    def is_cut(self, a: Host, b: Host) -> bool:
        """Return whether a partition lies between two hosts."""
        return self._sides.get(a, 0) != self._sides.get(b, 0)

    def passes(self, a: Host, b: Host) -> bool:
        """Return whether one packet gets from one host to the other."""
        if self.is_cut(a, b):
            return False
        loss = self._between(a, b).loss
        return loss == 0 or self._random.random() >= loss

    def travel_time(self, a: Host, b: Host) -> float:
        """Return how long one packet takes from one host to the other."""
        link = self._between(a, b)
        return link.delay + (self._random.uniform(0, link.jitter) if link.jitter else 0.0)

    def _between(self, a: Host, b: Host) -> Link:
        return PERFECT if a is b else self._links.get(frozenset((a, b)), self._link)

    def after(self, seconds: float, call: Callable[[*Ts], object], *args: *Ts) -> None:
        """Make a call when the time has come; at once for 0."""
        if seconds <= 0:
            call(*args)
        else:
            runner = self.runner
            runner.deadlines.add(Later(call, args), runner.now() + seconds)


__all__ = ["Network"]
