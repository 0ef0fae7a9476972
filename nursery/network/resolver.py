"""Names to addresses and back.

Invariant: what is numeric already is answered in the thread of the run; whatever might ask a name server or read a file
happens in another thread (or in the resolver that was set for this run), and a cancelled look-up is left behind there.

The functions of the standard module are looked up at each call, so that what replaces them there is used here too
(tests/network/test_resolver.py).
"""

from __future__ import annotations

import socket as stdlib_socket
from abc import ABC, abstractmethod
from socket import AddressFamily, SocketKind
from typing import Final, Literal, TypeAlias

from ..kernel.current import current_task
from ..kernel.runvar import RunVar
from ..kernel.traps import cancel_shielded_checkpoint, checkpoint
from ..threads.worker import run_in_thread

AddressInfo: TypeAlias = (
    tuple[Literal[AddressFamily.AF_INET], SocketKind, int, str, tuple[str, int]]
    | tuple[Literal[AddressFamily.AF_INET6], SocketKind, int, str, tuple[str, int, int, int] | tuple[int, bytes]]
)

_NUMBERS_ONLY: Final = stdlib_socket.NI_NUMERICHOST | stdlib_socket.NI_NUMERICSERV
# Some systems lack the second.
_NUMERIC_ONLY: Final = stdlib_socket.AI_NUMERICHOST | getattr(stdlib_socket, "AI_NUMERICSERV", 0)


class HostnameResolver(ABC):
    """Answers the look-ups of a run in place of the system; see `set_custom_hostname_resolver`.

    Source: trio's documentation, `trio.abc.HostnameResolver`.
    """

    @abstractmethod
    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[AddressInfo]:
        """Answer as `socket.getaddrinfo` would.

        The host is never numeric and comes as bytes, IDNA-encoded if need be.
        """

    @abstractmethod
    async def getnameinfo(
        self, sockaddr: tuple[str, int] | tuple[str, int, int, int], flags: int
    ) -> tuple[str, str]:
        """Answer as `socket.getnameinfo` would."""


_resolver: Final[RunVar[HostnameResolver | None]] = RunVar("hostname_resolver", None)


def set_custom_hostname_resolver(hostname_resolver: HostnameResolver | None) -> HostnameResolver | None:
    """Let `hostname_resolver` answer the look-ups of this run, None for the system; return the one before.

    Not a cancel point.  Raises RuntimeError outside a run.
    Source: trio's documentation, `trio.socket.set_custom_hostname_resolver`.
    """
    previous = _resolver.get()
    _resolver.set(hostname_resolver)
    return previous


def encode_hostname(hostname: str) -> bytes:
    """Return a host name as it is asked for on the wire: ASCII as it is, the rest by IDNA 2008 with UTS 46.

    The standard library would use IDNA 2003, by which some names lead to another host.  Raises UnicodeError (idna's
    IDNAError) for what is no host name, ModuleNotFoundError if the package `idna`, needed for such names alone, is not
    installed.

    Source: trio's documentation, `trio.lowlevel.encode_hostname`.
    """
    try:
        return hostname.encode("ascii")
    except UnicodeEncodeError:
        # Here, not above: few programs ever see such a name.
        import idna

        return idna.encode(hostname, uts46=True)


async def getaddrinfo(
    host: bytes | str | None,
    port: bytes | str | int | None,
    family: int = 0,
    type: int = 0,
    proto: int = 0,
    flags: int = 0,
) -> list[AddressInfo]:
    """Look up the addresses of a host and service; arguments and result are those of `socket.getaddrinfo`.

    A cancel point; a look-up under way goes on in its thread, unheeded.  Raises `socket.gaierror`.

    Example::

        for family, kind, protocol, _, address in await nursery.socket.getaddrinfo("example.org", 443):
            print(address)

    Source: trio's documentation, `trio.socket.getaddrinfo`.
    """
    task = current_task()
    if task.alert:
        task.raise_if_interrupted()
    try:
        found = stdlib_socket.getaddrinfo(host, port, family, type, proto, flags | _NUMERIC_ONLY)
    except stdlib_socket.gaierror as exc:
        if exc.errno != stdlib_socket.EAI_NONAME:
            await cancel_shielded_checkpoint()
            raise
    else:
        await cancel_shielded_checkpoint()
        return found
    # A name, then.
    if isinstance(host, str):
        host = encode_hostname(host)
    resolver = _resolver.get()
    if resolver is not None:
        return await resolver.getaddrinfo(host, port, family, type, proto, flags)
    return await run_in_thread(
        stdlib_socket.getaddrinfo, host, port, family, type, proto, flags, abandon_on_cancel=True
    )


async def getnameinfo(
    sockaddr: tuple[str, int] | tuple[str, int, int, int], flags: int
) -> tuple[str, str]:
    """Look up the names of an address; arguments and result are those of `socket.getnameinfo`.

    A cancel point; a look-up under way goes on in its thread, unheeded.  Raises `socket.gaierror`.

    Source: trio's documentation, `trio.socket.getnameinfo`.
    """
    resolver = _resolver.get()
    if resolver is not None:
        return await resolver.getnameinfo(sockaddr, flags)
    if flags & _NUMBERS_ONLY == _NUMBERS_ONLY:
        # Numbers to numbers: nobody is asked (the standard library takes no name in `sockaddr`).
        await checkpoint()
        return stdlib_socket.getnameinfo(sockaddr, flags)
    return await run_in_thread(stdlib_socket.getnameinfo, sockaddr, flags, abandon_on_cancel=True)


async def getprotobyname(name: str) -> int:
    """Look up the number of a protocol, as `socket.getprotobyname` does.  A cancel point.

    Source: trio's documentation, `trio.socket.getprotobyname`.
    """
    return await run_in_thread(stdlib_socket.getprotobyname, name, abandon_on_cancel=True)


__all__ = [
    "AddressInfo",
    "HostnameResolver",
    "encode_hostname",
    "getaddrinfo",
    "getnameinfo",
    "getprotobyname",
    "set_custom_hostname_resolver",
]
