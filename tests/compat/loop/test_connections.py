"""create_connection, create_server and connect_accepted_socket: whom they reach, and how they say that they did not."""

from __future__ import annotations

import asyncio
import errno
import gc
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Any

import pytest

import nursery
from nursery.compat.loop.connections import interleaved
from tests.compat.transports.tls_ends import Recorder, as_client, calling, receive_all, receive_exactly, serving
from tests.compat.two_loops import LoopFactory, on_both, run, run_on
from tests.tls.certificates import HOST, client_context, server_context

HAS_IPV6 = socket.has_ipv6
V4, V6 = socket.AF_INET, socket.AF_INET6


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def address_info(*addresses: tuple[str, int]) -> list[Any]:
    """What getaddrinfo would return for these addresses."""
    return [
        (V6, socket.SOCK_STREAM, 6, "", (*address, 0, 0))
        if ":" in address[0]
        else (V4, socket.SOCK_STREAM, 6, "", address)
        for address in addresses
    ]


def resolving_to(*addresses: tuple[str, int]) -> Callable[..., Any]:
    """A getaddrinfo that finds these addresses for every name."""

    async def getaddrinfo(*arguments: Any, **options: Any) -> list[Any]:
        return address_info(*addresses)

    return getaddrinfo


def replace(loop: asyncio.AbstractEventLoop, method: str, function: Callable[..., Any]) -> None:
    setattr(loop, method, function)


async def connect(*arguments: Any, **options: Any) -> tuple[Any, Recorder]:
    return await asyncio.get_running_loop().create_connection(Recorder, *arguments, **options)


async def serve(*arguments: Any, **options: Any) -> Any:
    return await asyncio.get_running_loop().create_server(Recorder, *arguments, **options)


async def end(transport: Any, protocol: Recorder) -> None:
    transport.close()
    await protocol.lost


# Arguments


@on_both
def test_arguments_that_contradict_each_other_are_refused(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        datagrams = socket.socket(type=socket.SOCK_DGRAM)
        with socket.socket() as sock, datagrams:
            refused: list[tuple[dict[str, Any], str]] = [
                ({}, "host and port was not specified and no sock specified"),
                ({"host": "h", "port": 1, "sock": sock}, "host/port and sock can not be specified at the same time"),
                ({"sock": datagrams}, "A Stream Socket was expected, got"),
                ({"host": "h", "port": 1, "server_hostname": "h"}, "server_hostname is only meaningful with ssl"),
                ({"host": "h", "port": 1, "ssl_handshake_timeout": 1}, "ssl_handshake_timeout is only meaningful with"),
                ({"host": "h", "port": 1, "ssl_shutdown_timeout": 1}, "ssl_shutdown_timeout is only meaningful with"),
                ({"sock": sock, "ssl": True}, "You must set server_hostname when using ssl without a host"),
                ({"host": "", "port": 1, "ssl": True}, "You must set server_hostname when using ssl without a host"),
            ]
            for options, message in refused:
                with pytest.raises(ValueError, match=message):
                    await connect(**options)
            refused = [
                ({}, "Neither host/port nor sock were specified"),
                ({"host": "h", "port": 1, "sock": sock}, "host/port and sock can not be specified at the same time"),
                ({"sock": datagrams}, "A Stream Socket was expected, got"),
                ({"port": 0, "ssl_handshake_timeout": 1}, "ssl_handshake_timeout is only meaningful with ssl"),
                ({"port": 0, "ssl_shutdown_timeout": 1}, "ssl_shutdown_timeout is only meaningful with ssl"),
            ]
            for options, message in refused:
                with pytest.raises(ValueError, match=message):
                    await serve(**options)
            with pytest.raises(ValueError, match="A Stream Socket was expected, got"):
                await loop.connect_accepted_socket(Recorder, datagrams)
            with pytest.raises(ValueError, match="ssl_handshake_timeout is only meaningful with ssl"):
                await loop.connect_accepted_socket(Recorder, sock, ssl_handshake_timeout=1)
            with pytest.raises(ValueError, match="ssl_shutdown_timeout is only meaningful with ssl"):
                await loop.connect_accepted_socket(Recorder, sock, ssl_shutdown_timeout=1)

    run_on(loop_factory, main())


def test_what_tls_cannot_use_is_refused_before_anything_is_opened() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def getaddrinfo(*arguments: Any, **options: Any) -> list[Any]:
            raise AssertionError("a name was looked up")

        replace(loop, "getaddrinfo", getaddrinfo)
        with pytest.raises(TypeError, match="SSLContext"):
            await connect("host", 1, ssl="context")
        for limit in ("ssl_handshake_timeout", "ssl_shutdown_timeout"):
            for value in (0, -1):
                with pytest.raises(ValueError, match=f"{limit} should be a positive number, got {value}"):
                    await connect("host", 1, ssl=True, **{limit: value})
        left, right = socket.socketpair()
        with left, right:
            with pytest.raises(ValueError, match="Server side SSL needs a valid SSLContext"):
                await loop.connect_accepted_socket(Recorder, left, ssl=True)
            assert left.fileno() >= 0

    run(main())


@on_both
def test_a_connected_socket_may_block_in_debug_mode_too(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        left, right = socket.socketpair()
        with left, right:
            await end(*await connect(sock=left))

    run_on(loop_factory, main(), debug=True)


@on_both
def test_a_socket_that_does_tls_by_itself_is_refused(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        context = ssl.create_default_context()
        with context.wrap_socket(socket.socket(), server_hostname="localhost") as encrypted:
            for call in (
                loop.create_connection(asyncio.Protocol, sock=encrypted),
                loop.create_server(asyncio.Protocol, sock=encrypted),
                loop.connect_accepted_socket(asyncio.Protocol, encrypted),
            ):
                with pytest.raises(TypeError, match="Socket cannot be of type SSLSocket"):
                    await call

    run_on(loop_factory, main())


# Connecting


@on_both
def test_a_refused_connection_raises(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        with pytest.raises(ConnectionRefusedError):
            await connect("127.0.0.1", unused_port())

    run_on(loop_factory, main())


@on_both
def test_the_errors_of_all_addresses_are_told_together(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        port = unused_port()
        replace(loop, "getaddrinfo", resolving_to(("127.0.0.1", port), ("127.0.0.2", port)))
        with pytest.raises(OSError, match=r"Multiple exceptions: .*127\.0\.0\.1.*127\.0\.0\.2"):
            await connect("a name", port)
        if sys.version_info >= (3, 12) or loop_factory is not asyncio.SelectorEventLoop:
            with pytest.raises(ExceptionGroup, match="create_connection failed") as caught:
                await connect("a name", port, all_errors=True)
            assert [type(error) for error in caught.value.exceptions] == [ConnectionRefusedError] * 2

    run_on(loop_factory, main())


def test_connecting_over_and_over_leaves_nothing_to_the_collector() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with await loop.create_server(asyncio.Protocol, "127.0.0.1", 0) as server:
            address = server.sockets[0].getsockname()
            refused = unused_port()
            gc.collect()
            gc.disable()
            try:
                for _ in range(5):
                    transport, _ = await loop.create_connection(asyncio.Protocol, *address)
                    transport.abort()
                    with pytest.raises(ConnectionRefusedError):
                        with socket.socket() as sock:
                            sock.setblocking(False)
                            await loop.sock_connect(sock, ("127.0.0.1", refused))
                    await asyncio.sleep(0.001)
                del transport, sock, _
                gc.set_debug(gc.DEBUG_SAVEALL)
                gc.collect()
                assert not [found for found in gc.garbage if type(found).__module__.startswith("nursery")]
            finally:
                gc.set_debug(0)
                gc.garbage.clear()
                gc.enable()

    run(main())


@pytest.mark.parametrize("count", [1, 2])
def test_a_failed_attempt_leaves_nothing_to_the_collector(count: int) -> None:
    addresses = [("127.0.0.1", unused_port()) for _ in range(count)]

    async def main() -> None:
        loop = asyncio.get_running_loop()
        replace(loop, "getaddrinfo", resolving_to(*addresses))
        gc.collect()
        # Of the tests before.
        known = [each for each in gc.get_objects() if isinstance(each, OSError)]
        gc.disable()
        try:
            with pytest.raises(OSError):
                await loop.create_connection(asyncio.Protocol, "host", 1)
            del loop
            await asyncio.sleep(0)
            left = [each for each in gc.get_objects() if isinstance(each, OSError) and each not in known]
            assert left == []
        finally:
            gc.enable()

    run(main())


@on_both
def test_the_next_address_is_tried_where_one_refuses(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with await serve("127.0.0.1", 0) as server:
            _, port = server.sockets[0].getsockname()
            # Nobody listens on the first.
            replace(loop, "getaddrinfo", resolving_to(("127.0.0.2", port), ("127.0.0.1", port)))
            for delay in (None, 0.25):
                transport, protocol = await connect("a name", port, happy_eyeballs_delay=delay)
                assert transport.get_extra_info("peername") == ("127.0.0.1", port)
                await end(transport, protocol)

    run_on(loop_factory, main())


def test_happy_eyeballs_do_not_wait_for_an_address_that_does_not_answer() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        tried: list[str] = []
        async with await serve("127.0.0.1", 0) as server:
            _, port = server.sockets[0].getsockname()
            replace(loop, "getaddrinfo", resolving_to(("127.0.0.2", port), ("127.0.0.1", port)))
            sock_connect = loop.sock_connect
            cancelled: list[str] = []

            async def silent(sock: socket.socket, address: Any) -> None:
                tried.append(address[0])
                if address[0] == "127.0.0.2":
                    try:
                        await asyncio.sleep(1000)
                    except asyncio.CancelledError:
                        cancelled.append(address[0])
                        raise
                await sock_connect(sock, address)

            replace(loop, "sock_connect", silent)
            transport, protocol = await connect("a name", port, happy_eyeballs_delay=0.005)
            assert transport.get_extra_info("peername") == ("127.0.0.1", port)
            assert tried == ["127.0.0.2", "127.0.0.1"]
            await end(transport, protocol)
            assert cancelled == ["127.0.0.2"]

    run(main())


def test_the_families_are_mixed_as_was_said() -> None:
    infos = address_info(("::1", 1), ("::2", 1), ("::3", 1), ("127.0.0.1", 1), ("127.0.0.2", 1))
    for count, expected in (
        (1, ["::1", "127.0.0.1", "::2", "127.0.0.2", "::3"]),
        (2, ["::1", "::2", "127.0.0.1", "::3", "127.0.0.2"]),
    ):
        assert [info[4][0] for info in interleaved(infos, count)] == expected


@on_both
def test_an_address_of_our_own_may_be_chosen(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        async with await serve("127.0.0.1", 0) as server:
            host, port = server.sockets[0].getsockname()
            for options in ({}, {"happy_eyeballs_delay": 0.1}):
                transport, protocol = await connect(host, port, local_addr=("127.0.0.3", 0), **options)
                assert transport.get_extra_info("sockname")[0] == "127.0.0.3"
                await end(transport, protocol)
            with pytest.raises(OSError, match=r"error while attempting to bind on address \('127\.0\.0\.1', \d+\)"):
                await connect(host, port, local_addr=("127.0.0.1", port))
            with pytest.raises(OSError, match="no matching local address with family="):
                await connect(host, port, local_addr=("::1", 0))

    run_on(loop_factory, main())


def test_a_scope_that_cuts_connecting_short_leaves_no_socket() -> None:
    async def main() -> None:
        # A backlog that is full: the system lets the next one wait.
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            waiting = [socket.socket() for _ in range(3)]
            for sock in waiting:
                sock.setblocking(False)
                sock.connect_ex(listener.getsockname())
            for options in ({}, {"happy_eyeballs_delay": 0.001}):
                with nursery.move_on_after(0.01) as scope:
                    await connect(*listener.getsockname(), **options)
                assert scope.cancelled_caught
            for sock in waiting:
                sock.close()

    # A socket that was forgotten warns, and warnings are errors.
    run(main())


def test_a_factory_that_fails_closes_the_socket() -> None:
    def broken() -> Recorder:
        raise LookupError("no protocol")

    async def main() -> None:
        left, right = socket.socketpair()
        with right:
            encrypted: dict[str, Any] = {"ssl": client_context(), "server_hostname": HOST}
            for options in ({}, encrypted):
                with pytest.raises(LookupError):
                    await asyncio.get_running_loop().create_connection(broken, sock=left, **options)
                assert left.fileno() == -1
                left, other = socket.socketpair()
                other.close()
            left.close()
            assert right.recv(1) == b""

    run(main())


@on_both
def test_a_connected_socket_is_taken_over(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        left, right = socket.socketpair()
        transport, protocol = await connect(sock=left)
        right.sendall(b"hello")
        assert await protocol.until(5) == b"hello"
        right.close()
        assert await protocol.lost is None
        assert transport.get_extra_info("socket") is not None

    run_on(loop_factory, main())


@on_both
def test_an_accepted_socket_is_taken_over_as_the_servers(loop_factory: LoopFactory) -> None:
    def program(sock: socket.socket) -> None:
        tls = as_client(sock)
        tls.sendall(b"hello")
        assert receive_exactly(tls, 5) == b"world"
        tls.unwrap()

    def plain(sock: socket.socket) -> None:
        sock.sendall(b"hello")
        assert receive_exactly(sock, 5) == b"world"

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            for peers, context in ((plain, None), (program, server_context())):
                async with calling(peers, listener.getsockname()):
                    connection, _ = listener.accept()
                    transport, protocol = await loop.connect_accepted_socket(Recorder, connection, ssl=context)
                    assert await protocol.until(5) == b"hello"
                    transport.write(b"world")
                    await protocol.lost

    run_on(loop_factory, main())


def test_a_connection_over_a_socket_that_was_given_needs_a_name() -> None:
    def program(sock: socket.socket) -> None:
        context = server_context()
        with context.wrap_socket(sock, server_side=True) as tls:
            receive_all(tls)

    async def main() -> None:
        peer, address = serving(program)
        async with peer:
            sock = socket.create_connection(address)
            transport, protocol = await connect(sock=sock, ssl=client_context(), server_hostname=HOST)
            assert isinstance(transport.get_extra_info("ssl_object"), ssl.SSLObject)
            await end(transport, protocol)

    run(main())


# Listening


@on_both
def test_a_bind_error_names_the_address(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        async with await serve("127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(OSError, match=rf"attempting to bind on address \('127\.0\.0\.1', {port}\)") as caught:
                await serve("127.0.0.1", port)
            assert caught.value.errno == errno.EADDRINUSE

    run_on(loop_factory, main())


def test_addresses_that_are_not_available_are_left_out() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        # As where a name has an address of a family that is switched off (203.0.113.0/24 is nobody's).
        replace(loop, "getaddrinfo", resolving_to(("203.0.113.1", 0), ("127.0.0.1", 0)))
        async with await serve("a name", 0) as server:
            assert [sock.getsockname()[0] for sock in server.sockets] == ["127.0.0.1"]
        replace(loop, "getaddrinfo", resolving_to(("203.0.113.1", 0)))
        with pytest.raises(OSError, match=r"could not bind on any address out of \[\('203\.0\.113\.1', 0\)\]"):
            await serve("a name", 0)

    run(main())


@on_both
def test_several_hosts_are_listened_on_each_by_a_socket_of_its_own(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        # The same address twice is one.
        async with await serve(["127.0.0.1", "127.0.0.2", "127.0.0.1"], 0) as server:
            names = [sock.getsockname() for sock in server.sockets]
            assert sorted(host for host, _ in names) == ["127.0.0.1", "127.0.0.2"]
            for name in names:
                await end(*await connect(*name))

    run_on(loop_factory, main())


@on_both
def test_without_a_host_all_interfaces_are_listened_on(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        for host in (None, ""):
            async with await serve(host, 0) as server:
                families = {sock.family for sock in server.sockets}
                assert V4 in families
                for sock in server.sockets:
                    if sock.family == V4:
                        await end(*await connect("127.0.0.1", sock.getsockname()[1]))

    run_on(loop_factory, main())


@on_both
def test_a_port_may_be_shared_if_both_say_so(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        async with await serve("127.0.0.1", 0, reuse_port=True) as server:
            port = server.sockets[0].getsockname()[1]
            async with await serve("127.0.0.1", port, reuse_port=True) as second:
                assert second.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
            with pytest.raises(OSError):
                await serve("127.0.0.1", port)

    run_on(loop_factory, main())


def test_keep_alive_and_reuse_address_are_options_of_the_socket() -> None:
    async def main() -> None:
        async with await serve("127.0.0.1", 0, keep_alive=True) as server:
            sock = server.sockets[0]
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        async with await serve("127.0.0.1", 0, reuse_address=False) as server:
            sock = server.sockets[0]
            assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)

    run(main())


@pytest.mark.skipif(not HAS_IPV6, reason="no IPv6 here")
def test_both_families_may_listen_on_one_port() -> None:
    async def main() -> None:
        try:
            async with await serve(["127.0.0.1", "::1"], 0) as server:
                port = server.sockets[0].getsockname()[1]
        except OSError:
            pytest.skip("no IPv6 here")
        async with await serve(["127.0.0.1", "::1"], port) as server:
            assert [sock.getsockname()[1] for sock in server.sockets] == [port, port]

    run(main())
