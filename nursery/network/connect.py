"""Connecting to a host that has several addresses, without waiting long for those that do not answer.

Invariant: an attempt begins when the one before it has failed, or has not succeeded within the delay; the first to
succeed is returned, and every other socket is closed, whatever happens.

This is RFC 8305 ("happy eyeballs") with the system's resolver, which asks for both families at once.
"""

from __future__ import annotations

import socket as stdlib_socket
from typing import Final

from ..kernel.nursery import open_nursery
from ..kernel.scope import CancelScope
from ..sync.event import Event
from ..timeouts import move_on_after
from .resolver import AddressInfo, getaddrinfo
from .socket_type import AddressFormat, SocketType
from .sockets import socket
from .stream import SocketStream

# The delay that RFC 8305, section 5, recommends (seconds).
DEFAULT_DELAY: Final = 0.250


async def open_tcp_stream(
    host: str | bytes,
    port: int,
    *,
    happy_eyeballs_delay: float | None = DEFAULT_DELAY,
    local_address: str | None = None,
) -> SocketStream:
    """Connect to a host and port by TCP, and return the stream.

    Arguments: happy_eyeballs_delay is how many seconds an attempt at one of the host's addresses may take before the
    next is tried beside it; inf tries them strictly one after the other.  local_address is an address of this machine
    to connect from.

    A cancel point; if it raises, nothing is left open.  Raises ValueError for a host that is neither str nor bytes,
    TypeError for a port that is no int, gaierror if the host is not known, OSError if no address could be connected
    to: its cause is a group of the attempts' errors.

    Example::

        async with await nursery.open_tcp_stream("example.org", 80) as stream:
            await stream.send_all(b"GET / HTTP/1.0\\r\\n\\r\\n")

    Source: trio's documentation, `trio.open_tcp_stream`.
    """
    # getaddrinfo would take both None and "http"; the first has another meaning for listeners.
    if not isinstance(host, str | bytes):
        raise ValueError(f"host must be str or bytes, not {host!r}")
    if not isinstance(port, int):
        raise TypeError(f"port must be int, not {port!r}")
    if happy_eyeballs_delay is None:
        happy_eyeballs_delay = DEFAULT_DELAY
    targets = await getaddrinfo(host, port, type=stdlib_socket.SOCK_STREAM)
    if not targets:
        # A resolver of the user's own can answer so.
        raise OSError(f"no results found for hostname lookup: {format_host_port(host, port)}")
    second_of_another_family(targets)
    race = Race(host, port, happy_eyeballs_delay, local_address)
    sock = await race.run(targets)
    try:
        return SocketStream(sock)
    except BaseException:
        sock.close()
        raise


def second_of_another_family(targets: list[AddressInfo]) -> None:
    """Move the first target whose family differs from that of the first to the second place.

    A family that does not work at all then costs one delay, however many addresses it has (RFC 8305, section 4).
    """
    for place, target in enumerate(targets):
        if target[0] != targets[0][0]:
            targets.insert(1, targets.pop(place))
            break


def format_host_port(host: str | bytes, port: int) -> str:
    """Return "host:port", with brackets around an IPv6 address."""
    name = host.decode("ascii") if isinstance(host, bytes) else host
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


class Race:
    """The attempts of one call, and what has come of them."""

    def __init__(self, host: str | bytes, port: int, delay: float, local_address: str | None) -> None:
        self._host = host
        self._port = port
        self._delay = delay
        self._local_address = local_address
        self._sockets: set[SocketType] = set()
        self._winner: SocketType | None = None
        self._errors: list[OSError] = []

    async def run(self, targets: list[AddressInfo]) -> SocketType:
        """Return the first socket that got connected."""
        try:
            async with open_nursery() as attempts:
                for target in targets:
                    failed = Event()
                    attempts.start_soon(self._attempt, target, failed, attempts.cancel_scope)
                    with move_on_after(self._delay):
                        await failed.wait()
        except BaseException:
            self._close_all_but(None)
            raise
        self._close_all_but(self._winner)
        if self._winner is not None:
            return self._winner
        message = f"all attempts to connect to {format_host_port(self._host, self._port)} failed"
        raise OSError(message) from ExceptionGroup(message, self._errors)

    async def _attempt(self, target: AddressInfo, failed: Event, everything: CancelScope) -> None:
        family, kind, protocol, _, address = target
        try:
            sock = socket(family, kind, protocol)
            self._sockets.add(sock)
            if self._local_address is not None:
                await self._bind(sock, address)
            await sock.connect(address)
        except OSError as exc:
            self._errors.append(exc)
            failed.set()
        else:
            self._winner = sock
            everything.cancel(reason="another attempt to connect was faster")

    async def _bind(self, sock: SocketType, address: AddressFormat) -> None:
        """Let the connection come from the address that the caller wants."""
        if hasattr(stdlib_socket, "IP_BIND_ADDRESS_NO_PORT"):
            try:
                # The port is then chosen when the other side is known, from four times as many.
                sock.setsockopt(stdlib_socket.IPPROTO_IP, stdlib_socket.IP_BIND_ADDRESS_NO_PORT, 1)
            except OSError:
                # An old kernel.
                pass
        try:
            await sock.bind((self._local_address, 0))
        except OSError as exc:
            raise OSError(
                f"local_address={self._local_address!r} is incompatible with remote address {address[0]!r}"
            ) from exc

    def _close_all_but(self, winner: SocketType | None) -> None:
        for sock in self._sockets:
            if sock is not winner:
                sock.close()


__all__ = ["open_tcp_stream"]
