"""Connected pairs of streams and sockets on this machine."""

from __future__ import annotations

import contextlib
import socket as stdlib_socket
from collections.abc import AsyncGenerator

import pytest

from nursery.network.listeners import open_tcp_listeners
from nursery.network.sockets import Socket, from_stdlib_socket
from nursery.network.stream import SocketStream


def has_ipv6() -> bool:
    """Whether this machine has an IPv6 loopback."""
    try:
        with stdlib_socket.socket(stdlib_socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
needs_unix = pytest.mark.skipif(not hasattr(stdlib_socket, "AF_UNIX"), reason="this system has no Unix sockets")


@contextlib.asynccontextmanager
async def tcp_pair(host: str = "127.0.0.1") -> AsyncGenerator[tuple[SocketStream, SocketStream], None]:
    """Yield the two ends of a TCP connection: the one that connected, the one that accepted."""
    [listener] = await open_tcp_listeners(0, host=host)
    async with listener:
        near = stdlib_socket.create_connection(listener.socket.getsockname()[:2])
        far = await listener.accept()
    async with SocketStream(from_stdlib_socket(near)) as stream, far:
        yield stream, far


@contextlib.asynccontextmanager
async def unix_pair() -> AsyncGenerator[tuple[SocketStream, SocketStream], None]:
    """Yield the two ends of a Unix socket pair."""
    left, right = stdlib_socket.socketpair()
    async with SocketStream(from_stdlib_socket(left)) as near, SocketStream(from_stdlib_socket(right)) as far:
        yield near, far


def raw(stream: SocketStream) -> stdlib_socket.socket:
    """The standard library's socket under a stream, to do things behind the stream's back."""
    assert isinstance(stream.socket, Socket)
    return stream.socket._sock


class Counting:
    """Calls a function and counts the calls."""

    def __init__(self, function: object) -> None:
        self.function = function
        self.calls = 0

    def __call__(self, *args: object) -> object:
        self.calls += 1
        assert callable(self.function)
        return self.function(*args)
