"""TLS listeners, and the functions that connect and serve over TCP."""

from __future__ import annotations

import functools
import os
import socket as stdlib_socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

import nursery
from nursery import BrokenResourceError, ClosedResourceError
from nursery.abc import HostnameResolver
from nursery.network.listener import SocketListener
from nursery.network.listeners import open_tcp_listeners
from nursery.network.resolver import AddressInfo
from nursery.network.stream import SocketStream
from nursery.resource import aclose_forcefully
from nursery.testing import wait_all_tasks_blocked
from nursery.tls import (
    SSLListener,
    SSLStream,
    open_ssl_over_tcp_listeners,
    open_ssl_over_tcp_stream,
    serve_ssl_over_tcp,
)
from tests.tls.certificates import HOST, client_context, server_context


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/dev/fd"))


def port_of(listener: SSLListener[SocketStream]) -> int:
    assert isinstance(listener.transport_listener, SocketListener)
    port = listener.transport_listener.socket.getsockname()[1]
    assert isinstance(port, int)
    return port


async def echo(stream: SSLStream[SocketStream]) -> None:
    async with stream:
        try:
            async for data in stream:
                await stream.send_all(data)
        except BrokenResourceError:
            # Anybody can connect and send nonsense.
            pass


@asynccontextmanager
async def echo_server(*, https_compatible: bool = False) -> AsyncGenerator[int, None]:
    """A server; yield its port."""
    async with nursery.open_nursery() as n:
        serve = functools.partial(
            serve_ssl_over_tcp, echo, 0, server_context(), host="127.0.0.1", https_compatible=https_compatible
        )
        [listener] = await n.start(serve)
        yield port_of(listener)
        n.cancel_scope.cancel()


class Anywhere(HostnameResolver):
    """Every name is this machine."""

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[AddressInfo]:
        assert isinstance(port, int)
        kind = stdlib_socket.SOCK_STREAM
        return [(stdlib_socket.AF_INET, kind, stdlib_socket.IPPROTO_TCP, "", ("127.0.0.1", port))]

    async def getnameinfo(self, sockaddr: tuple[str, int] | tuple[str, int, int, int], flags: int) -> tuple[str, str]:
        raise NotImplementedError


async def test_a_client_talks_to_a_server_by_name() -> None:
    nursery.socket.set_custom_hostname_resolver(Anywhere())
    async with echo_server() as port:
        stream = await open_ssl_over_tcp_stream(HOST, port, ssl_context=client_context())
        async with stream:
            assert isinstance(stream.transport_stream, SocketStream)
            assert stream.server_hostname == HOST
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"hello"


async def test_a_client_talks_to_a_server_by_address() -> None:
    async with echo_server() as port:
        async with await open_ssl_over_tcp_stream("127.0.0.1", port, ssl_context=client_context()) as stream:
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"hello"


async def test_the_server_must_be_who_was_asked_for() -> None:
    nursery.socket.set_custom_hostname_resolver(Anywhere())
    async with echo_server() as port:
        async with await open_ssl_over_tcp_stream("other.example", port, ssl_context=client_context()) as stream:
            with pytest.raises(BrokenResourceError) as caught:
                await stream.send_all(b"secret")
            assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


async def test_by_default_the_systems_authorities_are_trusted_and_no_others() -> None:
    nursery.socket.set_custom_hostname_resolver(Anywhere())
    async with echo_server() as port:
        async with await open_ssl_over_tcp_stream(HOST, port) as stream:
            assert stream.context.check_hostname
            with pytest.raises(BrokenResourceError) as caught:
                await stream.do_handshake()
            assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


@pytest.mark.parametrize("https_compatible", [False, True])
async def test_https_compatible_is_passed_on(https_compatible: bool) -> None:
    [listener] = await open_ssl_over_tcp_listeners(
        0, server_context(), host="127.0.0.1", https_compatible=https_compatible
    )
    async with listener:
        client = await open_ssl_over_tcp_stream(
            "127.0.0.1", port_of(listener), ssl_context=client_context(), https_compatible=https_compatible
        )
        server = await listener.accept()
        async with server:
            async with nursery.open_nursery() as n:
                n.start_soon(client.do_handshake)
                n.start_soon(server.do_handshake)
            await aclose_forcefully(client)
            if https_compatible:
                assert await server.receive_some() == b""
            else:
                with pytest.raises(BrokenResourceError):
                    await server.receive_some()


async def test_a_peer_that_shakes_no_hands_keeps_nobody_waiting() -> None:
    async with echo_server() as port:
        with stdlib_socket.create_connection(("127.0.0.1", port)):
            async with await open_ssl_over_tcp_stream("127.0.0.1", port, ssl_context=client_context()) as stream:
                await stream.send_all(b"x")
                assert await stream.receive_some() == b"x"


async def test_peers_that_send_nonsense_or_leave_do_no_harm_and_leak_nothing() -> None:
    async with echo_server() as port:
        before = descriptors()
        for greeting in (b"GET / HTTP/1.1\r\n\r\n", b"", b"\x16\x03\x01\xff\xff", bytes(1000)):
            with stdlib_socket.create_connection(("127.0.0.1", port)) as sock:
                sock.sendall(greeting)
        async with await open_ssl_over_tcp_stream("127.0.0.1", port, ssl_context=client_context()) as stream:
            await stream.send_all(b"x")
            assert await stream.receive_some() == b"x"
        with nursery.fail_after(10):
            while descriptors() > before:
                await nursery.sleep(0.001)


async def test_listeners_are_closed_with_serving_and_connections_with_their_handlers() -> None:
    before = descriptors()
    async with nursery.open_nursery() as n:
        [listener] = await n.start(functools.partial(serve_ssl_over_tcp, echo, 0, server_context(), host="127.0.0.1"))
        stream = await open_ssl_over_tcp_stream("127.0.0.1", port_of(listener), ssl_context=client_context())
        await stream.send_all(b"x")
        assert await stream.receive_some() == b"x"
        n.cancel_scope.cancel()
    with pytest.raises(ClosedResourceError):
        await listener.accept()
    with pytest.raises(BrokenResourceError):
        await stream.receive_some()
    await stream.aclose()
    assert descriptors() == before


async def test_a_context_that_is_not_for_servers_leaks_no_connection() -> None:
    [listener] = await open_ssl_over_tcp_listeners(0, client_context(), host="127.0.0.1")
    async with listener:
        before = descriptors()
        with stdlib_socket.create_connection(("127.0.0.1", port_of(listener))) as sock:
            sock.settimeout(5)
            with pytest.raises((ssl.SSLError, ValueError)):
                await listener.accept()
            assert sock.recv(1) == b""
        assert descriptors() == before


async def test_a_context_that_is_not_for_clients_leaks_no_connection() -> None:
    async with echo_server() as port:
        before = descriptors()
        with pytest.raises((ssl.SSLError, ValueError)):
            await open_ssl_over_tcp_stream("127.0.0.1", port, ssl_context=server_context())
        # The server's end goes when it has seen that.
        with nursery.fail_after(10):
            while descriptors() > before:
                await nursery.sleep(0.001)


async def test_closing_a_listener_closes_that_of_the_transport_and_wakes_who_waits() -> None:
    [transport_listener] = await open_tcp_listeners(0, host="127.0.0.1")
    listener = SSLListener(transport_listener, server_context())
    assert listener.transport_listener is transport_listener

    async def accept() -> None:
        with pytest.raises(ClosedResourceError):
            await listener.accept()

    async with nursery.open_nursery() as n:
        n.start_soon(accept)
        await wait_all_tasks_blocked()
        await listener.aclose()
    assert transport_listener.socket.fileno() == -1


async def test_listeners_are_for_the_host_and_port_that_were_asked_for() -> None:
    [listener] = await open_ssl_over_tcp_listeners(0, server_context(), host="127.0.0.1", backlog=1)
    async with listener:
        assert isinstance(listener.transport_listener, SocketListener)
        assert listener.transport_listener.socket.getsockname()[0] == "127.0.0.1"
    with pytest.raises(TypeError):
        await open_ssl_over_tcp_listeners("https", server_context())  # type: ignore[arg-type]  # the misuse under test
    with pytest.raises(ValueError, match="host"):
        await open_ssl_over_tcp_stream(None, 443)  # type: ignore[arg-type]  # the misuse under test
