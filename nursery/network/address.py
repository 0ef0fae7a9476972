"""Addresses as users write them, to addresses as the system takes them.

Invariant: an address whose host and port are numbers comes back unchanged, and nothing is waited for.
"""

from __future__ import annotations

import os
import socket as stdlib_socket
from typing import Any, Final

from .resolver import getaddrinfo
from .socket_type import AddressFormat

INTERNET: Final = (stdlib_socket.AF_INET, stdlib_socket.AF_INET6)

_inet_pton: Final = stdlib_socket.inet_pton


# flat: each datagram comes by here
def is_numeric(family: int, address: AddressFormat) -> bool:
    """Return whether `address` is right for a socket of an internet `family` as it is, for it is made of numbers.

    Anything unusual may be called not numeric: `resolve_address` knows better.
    """
    if address.__class__ is not tuple or len(address) != 2 or address[1].__class__ is not int:
        return False
    try:
        _inet_pton(family, address[0])
    except (OSError, TypeError):
        return False
    return True


async def resolve_address(sock: stdlib_socket.socket, address: AddressFormat, *, local: bool) -> AddressFormat:
    """Return `address` with its names resolved, in the form that `sock` takes.

    Arguments: local=True is for binding, where no host means every interface.
    A cancel point only if there is a name to look up.  Raises ValueError for the wrong kind of tuple, gaierror.
    """
    family = sock.family
    if family == stdlib_socket.AF_INET:
        if not isinstance(address, tuple) or len(address) != 2:
            raise ValueError("address should be a (host, port) tuple")
    elif family == stdlib_socket.AF_INET6:
        if not isinstance(address, tuple) or not 2 <= len(address) <= 4:
            raise ValueError("address should be a (host, port, [flowinfo, [scopeid]]) tuple")
    elif family == getattr(stdlib_socket, "AF_UNIX", None):
        return os.fspath(address)
    else:
        return address
    host: Any = address[0]
    port: Any = address[1]
    if isinstance(port, int) and host is not None:
        try:
            stdlib_socket.inet_pton(family, host)
        except (OSError, TypeError):
            pass
        else:
            return address
    # What the standard library's sockets understand by these two.
    if host == "":
        host = None
    elif host == "<broadcast>":
        host = "255.255.255.255"
    flags = stdlib_socket.AI_PASSIVE if local else 0
    if family == stdlib_socket.AF_INET6 and not sock.getsockopt(
        stdlib_socket.IPPROTO_IPV6, stdlib_socket.IPV6_V6ONLY
    ):
        flags |= stdlib_socket.AI_V4MAPPED
    found = await getaddrinfo(host, port, family, sock.type, sock.proto, flags)
    resolved: tuple[Any, ...] = found[0][4]
    if family == stdlib_socket.AF_INET6:
        # The look-up knows nothing of the flow and the scope that the caller gave.
        return (*resolved[:2], *address[2:], *resolved[len(address) :])
    return resolved
