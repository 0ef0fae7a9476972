"""The network in memory, and open_stream_to_socket_listener."""

from __future__ import annotations

import errno
import os
import socket as stdlib_socket
import ssl
import sys
from collections.abc import Awaitable, Callable

import pytest
import trustme

import nursery
from nursery import BrokenResourceError, BusyResourceError, ClosedResourceError, SocketStream
from nursery.abc import HalfCloseableStream
from nursery.socket import AF_INET, AF_INET6, SOCK_DGRAM, SOCK_STREAM
from nursery.testing import MockClock, wait_all_tasks_blocked
from nursery.testing.network import Host, Link, Network
from nursery.testing.sockets import open_stream_to_socket_listener
from nursery.testing.stream_checks import check_half_closeable_stream
from nursery.tls.stream import SSLStream


async def echo(stream: SocketStream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def serve_echo(n: nursery.Nursery, host: Host, port: int = 80) -> None:
    with host.active():
        await n.start(nursery.serve_tcp, echo, port)


async def connected(host: Host, port: int = 99) -> tuple[SocketStream, SocketStream]:
    """Connect from home to a listener on `host`; return the client's end and the server's."""
    accepted: list[SocketStream] = []
    with host.active():
        [listener] = await nursery.open_tcp_listeners(port)

    async def accept() -> None:
        async with listener:
            accepted.append(await listener.accept())

    async with nursery.open_nursery() as n:
        n.start_soon(accept)
        client = await nursery.open_tcp_stream(host.name, port)
    return client, accepted[0]


# open_stream_to_socket_listener


@pytest.mark.parametrize("host", [None, "127.0.0.1"])
async def test_a_stream_is_opened_to_a_real_listener(host: str | None) -> None:
    for listener in await nursery.open_tcp_listeners(0, host=host):
        async with listener, nursery.open_nursery() as n:
            accepted: list[SocketStream] = []

            async def accept(
                listener: nursery.SocketListener = listener, accepted: list[SocketStream] = accepted
            ) -> None:
                accepted.append(await listener.accept())

            n.start_soon(accept)
            async with await open_stream_to_socket_listener(listener) as stream:
                await stream.send_all(b"x")
                await wait_all_tasks_blocked()
                async with accepted[0] as server:
                    assert await server.receive_some(1) == b"x"


async def test_a_stream_is_opened_to_a_unix_listener(tmp_path: object) -> None:
    sock = nursery.socket.socket(nursery.socket.AF_UNIX)
    await sock.bind(f"{tmp_path}/socket")
    sock.listen(1)
    async with nursery.SocketListener(sock) as listener, await open_stream_to_socket_listener(listener) as stream:
        async with await listener.accept() as server:
            await server.send_all(b"x")
            assert await stream.receive_some() == b"x"


async def test_a_stream_that_is_refused_leaves_nothing_open() -> None:
    [listener] = await nursery.open_tcp_listeners(0, host="127.0.0.1")
    address = listener.socket.getsockname()

    class Gone:
        family = AF_INET

        def getsockname(self) -> object:
            return address

    await listener.aclose()
    listener.socket = Gone()  # type: ignore[assignment]  # says where it was
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="onnect"):
        await open_stream_to_socket_listener(listener)
    assert len(os.listdir("/proc/self/fd")) == descriptors


# In the place of the real network


async def test_open_tcp_stream_and_serve_tcp_work_unchanged(autojump_clock: MockClock) -> None:
    with Network() as network:
        server = network.host("server.example")
        async with nursery.open_nursery() as n:
            await serve_echo(n, server)
            async with await nursery.open_tcp_stream("server.example", 80) as stream:
                await stream.send_all(b"hello")
                assert await stream.receive_some() == b"hello"
                await stream.send_eof()
                assert await stream.receive_some() == b""
            n.cancel_scope.cancel()


async def test_no_descriptor_is_used(autojump_clock: MockClock) -> None:
    descriptors = set(os.listdir("/proc/self/fd"))
    with Network() as network:
        client, server = await connected(network.host("server"))
        assert set(os.listdir("/proc/self/fd")) == descriptors
        assert client.socket.fileno() < 0
        await client.aclose()
        await server.aclose()
        assert client.socket.fileno() == -1


async def test_a_listener_in_memory_can_be_connected_to_by_itself(autojump_clock: MockClock) -> None:
    with Network():
        for listener in await nursery.open_tcp_listeners(0):
            stream = await open_stream_to_socket_listener(listener)
            server = await listener.accept()
            await stream.send_all(b"x")
            assert await server.receive_some() == b"x"
            assert stream.socket.getpeername() == server.socket.getsockname()
            assert server.socket.getpeername() == stream.socket.getsockname()
            for resource in (stream, server, listener):
                await resource.aclose()


async def test_a_listener_on_another_host_in_memory_can_be_connected_to(autojump_clock: MockClock) -> None:
    with Network(link=Link(delay=1)) as network:
        host = network.host("server", "fd00::1", "10.9.9.9")
        with host.active():
            listeners = await nursery.open_tcp_listeners(0)
        for listener in listeners:
            async with listener:
                try:
                    async with await open_stream_to_socket_listener(listener) as stream:
                        assert stream.socket.getpeername()[0] == host.addresses[listener.socket.family == AF_INET]
                except OSError as exc:
                    # At home there is no IPv6.
                    assert listener.socket.family == AF_INET6
                    assert exc.errno == errno.EAFNOSUPPORT
        assert nursery.current_time() == 2


async def test_the_real_network_is_back_after_the_block() -> None:
    with Network() as network:
        network.host("server")
    with nursery.socket.socket() as sock:
        assert sock.fileno() >= 0
    before = nursery.socket.set_custom_hostname_resolver(None)
    assert before is None


async def test_networks_nest() -> None:
    with Network() as outer:
        outer.host("outer")
        with Network():
            with pytest.raises(stdlib_socket.gaierror):
                await nursery.socket.getaddrinfo("outer", 80)
        assert await nursery.socket.getaddrinfo("outer", 80)
        with pytest.raises(RuntimeError, match="in use"):
            outer.__enter__()


def test_a_network_outside_its_block_says_so() -> None:
    with pytest.raises(RuntimeError, match="enter it"):
        _ = Network().runner


async def test_tls_works_unchanged(autojump_clock: MockClock) -> None:
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("server.example").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    with Network(link=Link(delay=0.1)) as network:
        server = network.host("server.example")
        with server.active():
            [listener] = await nursery.open_tcp_listeners(443)
        async with nursery.open_nursery() as n:

            async def serve() -> None:
                async with SSLStream(await listener.accept(), server_context, server_side=True) as stream:
                    await stream.send_all(await stream.receive_some())

            n.start_soon(serve)
            transport = await nursery.open_tcp_stream("server.example", 443)
            async with SSLStream(transport, client_context, server_hostname="server.example") as stream:
                await stream.send_all(b"secret")
                assert await stream.receive_some() == b"secret"


@pytest.mark.parametrize("link", [Link(), Link(delay=0.1), Link(delay=0.01, jitter=0.05, loss=0.1)])
async def test_streams_in_memory_keep_the_promises_of_streams(autojump_clock: MockClock, link: Link) -> None:
    with Network(link=link) as network:
        host = network.host("server")

        async def pair() -> tuple[HalfCloseableStream, HalfCloseableStream]:
            return await connected(host)

        async def clogged() -> tuple[HalfCloseableStream, HalfCloseableStream]:
            left, right = await connected(host)
            for stream in (left, right):
                with nursery.move_on_after(5):
                    while True:
                        await stream.send_all(b"x" * 1000)
            return left, right

        await check_half_closeable_stream(pair, clogged, patience=1000)


# Hosts and names


async def test_a_name_leads_to_the_addresses_of_its_host() -> None:
    with Network() as network:
        network.host("Server", "10.1.1.1", "fd00::1")
        found = await nursery.socket.getaddrinfo("SERVER.", 80, type=SOCK_STREAM)
        assert [(info[0], info[4]) for info in found] == [
            (AF_INET, ("10.1.1.1", 80)),
            (AF_INET6, ("fd00::1", 80, 0, 0)),
        ]
        [only] = await nursery.socket.getaddrinfo("server", "80", family=AF_INET6, type=SOCK_DGRAM)
        assert only[1] is SOCK_DGRAM


async def test_unknown_names_and_services_are_not_found() -> None:
    with Network() as network:
        network.host("server")
        with pytest.raises(stdlib_socket.gaierror) as caught:
            await nursery.open_tcp_stream("nowhere", 80)
        assert caught.value.errno == stdlib_socket.EAI_NONAME
        with pytest.raises(stdlib_socket.gaierror) as caught:
            await nursery.socket.getaddrinfo("server", "telepathy")
        assert caught.value.errno == stdlib_socket.EAI_SERVICE
        with pytest.raises(stdlib_socket.gaierror):
            await nursery.socket.getaddrinfo("server", 80, family=AF_INET6)


async def test_addresses_have_names_too() -> None:
    with Network() as network:
        network.host("server", "10.1.1.1")
        assert await nursery.socket.getnameinfo(("10.1.1.1", 80), 0) == ("server", "80")
        assert await nursery.socket.getnameinfo(("10.1.1.1", 80), stdlib_socket.NI_NUMERICHOST) == ("10.1.1.1", "80")
        assert await nursery.socket.getnameinfo(("10.9.9.9", 80), 0) == ("10.9.9.9", "80")
        with pytest.raises(stdlib_socket.gaierror):
            await nursery.socket.getnameinfo(("10.9.9.9", 80), stdlib_socket.NI_NAMEREQD)


async def test_localhost_is_the_host_that_asks(autojump_clock: MockClock) -> None:
    with Network() as network:
        server = network.host("server")
        async with nursery.open_nursery() as n:
            await serve_echo(n, server)
            with server.active():
                await (await nursery.open_tcp_stream("localhost", 80)).aclose()
                await (await nursery.open_tcp_stream("127.0.0.1", 80)).aclose()
            with pytest.raises(OSError, match="all attempts"):
                await nursery.open_tcp_stream("localhost", 80)
            n.cancel_scope.cancel()


async def test_a_task_acts_on_the_host_it_was_started_on() -> None:
    with Network() as network:
        server = network.host("server")
        names: list[str] = []

        async def say() -> None:
            await nursery.lowlevel.checkpoint()
            names.append(network.current.get().name)

        async with nursery.open_nursery() as n:
            with server.active():
                n.start_soon(say)
            n.start_soon(say)
        assert names == ["server", "home"]


def test_hosts_have_names_and_addresses_of_their_own() -> None:
    network = Network()
    server = network.host("server", "10.1.1.1", "FD00:0::1")
    assert server.addresses == ("10.1.1.1", "fd00::1")
    assert repr(server) == "<Host 'server', 10.1.1.1, fd00::1>"
    assert network.hosts == {"home": network.home, "server": server}
    assert network.host("a").addresses != network.host("b").addresses
    for name, address in (("SERVER", "10.1.1.2"), ("localhost", "10.1.1.2"), ("x", "10.1.1.1"), ("x", "127.0.0.1")):
        with pytest.raises(ValueError, match=r"there is a host|every host"):
            network.host(name, address)
    with pytest.raises(ValueError, match="IPv4 or IPv6"):
        network.host("x", "not an address")


async def test_a_host_without_ipv6_is_a_machine_without_ipv6(autojump_clock: MockClock) -> None:
    with Network() as network:
        both = network.host("both", "10.1.1.1", "fd00::1")
        with pytest.raises(OSError, match="address of AF_INET6") as caught:
            nursery.socket.socket(AF_INET6)
        assert caught.value.errno == errno.EAFNOSUPPORT
        assert len(await nursery.open_tcp_listeners(0)) == 1
        with both.active():
            assert len(await nursery.open_tcp_listeners(80)) == 2
        # Its address of IPv4 is tried, and the other is no obstacle.
        stream = await nursery.open_tcp_stream("both", 80)
        assert stream.socket.getpeername() == ("10.1.1.1", 80)


async def test_there_are_stream_and_datagram_sockets_and_no_others() -> None:
    with Network():
        with pytest.raises(OSError) as caught:
            nursery.socket.socket(AF_INET, nursery.socket.SOCK_RAW)
        assert caught.value.errno == errno.ESOCKTNOSUPPORT
        with pytest.raises(OSError) as caught:
            nursery.socket.socket(nursery.socket.AF_UNIX)
        assert caught.value.errno == errno.EAFNOSUPPORT


# Ports


async def test_a_port_belongs_to_one_listener() -> None:
    with Network() as network:
        [first] = await nursery.open_tcp_listeners(80)
        for host in (None, "10.0.0.1", "127.0.0.1"):
            with pytest.raises(OSError, match="port 80") as caught:
                await nursery.open_tcp_listeners(80, host=host)
            assert caught.value.errno == errno.EADDRINUSE
        with network.host("other").active():
            await nursery.open_tcp_listeners(80)
        await first.aclose()
        await nursery.open_tcp_listeners(80)


async def test_a_foreign_address_cannot_be_bound() -> None:
    with Network() as network:
        network.host("other", "10.1.1.1")
        with pytest.raises(OSError, match="does not have") as caught:
            await nursery.open_tcp_listeners(80, host="10.1.1.1")
        assert caught.value.errno == errno.EADDRNOTAVAIL
        with pytest.raises(OverflowError):
            await nursery.socket.socket().bind(("0.0.0.0", 65536))


async def test_free_ports_are_given_out_in_order() -> None:
    with Network():
        [a], [b] = await nursery.open_tcp_listeners(0), await nursery.open_tcp_listeners(0)
        assert a.socket.getsockname()[1] + 1 == b.socket.getsockname()[1]


# Connecting


async def test_connecting_takes_a_round_trip(autojump_clock: MockClock) -> None:
    with Network(link=Link(delay=0.1)) as network:
        client, server = await connected(network.host("server"))
        assert nursery.current_time() == pytest.approx(0.2)
        await client.send_all(b"x")
        assert await server.receive_some() == b"x"
        assert nursery.current_time() == pytest.approx(0.3)


async def test_a_port_that_nobody_listens_on_refuses_after_a_round_trip(autojump_clock: MockClock) -> None:
    with Network(link=Link(delay=0.1)) as network:
        network.host("server")
        with pytest.raises(OSError, match="all attempts") as caught:
            await nursery.open_tcp_stream("server", 80)
        assert isinstance(caught.value.__cause__, ExceptionGroup)
        [error] = caught.value.__cause__.exceptions
        assert isinstance(error, ConnectionRefusedError)
        assert nursery.current_time() == pytest.approx(0.2)


async def test_an_address_without_a_host_cannot_be_reached(autojump_clock: MockClock) -> None:
    with Network():
        with pytest.raises(OSError) as caught:
            await nursery.socket.socket().connect(("10.9.9.9", 80))
        assert caught.value.errno == errno.EHOSTUNREACH


async def test_connecting_across_a_partition_times_out(autojump_clock: MockClock) -> None:
    with Network() as network:
        server = network.host("server")
        async with nursery.open_nursery() as n:
            await serve_echo(n, server)
            network.partition([server])
            with pytest.raises(TimeoutError):
                await nursery.socket.socket().connect((server.addresses[0], 80))
            assert nursery.current_time() == 127
            n.cancel_scope.cancel()


async def test_connecting_succeeds_when_the_partition_has_healed(autojump_clock: MockClock) -> None:
    with Network() as network:
        server = network.host("server")
        async with nursery.open_nursery() as n:
            await serve_echo(n, server)
            network.partition([server])

            async def heal() -> None:
                await nursery.sleep(2)
                network.heal()

            n.start_soon(heal)
            await nursery.open_tcp_stream("server", 80)
            # Attempts are made at 0, 1 and 3 seconds.
            assert nursery.current_time() == 3
            n.cancel_scope.cancel()


async def test_happy_eyeballs_go_around_an_address_that_refuses(autojump_clock: MockClock) -> None:
    with Network() as network:
        network.host("client", "10.1.1.1", "fd00::1")
        server = network.host("server", "fd00::2", "10.1.1.2")
        with server.active():
            await nursery.open_tcp_listeners(80, host="0.0.0.0")
        with network.hosts["client"].active():
            stream = await nursery.open_tcp_stream("server", 80)
        assert stream.socket.getpeername() == ("10.1.1.2", 80)
        assert stream.socket.getsockname()[0] == "10.1.1.1"


async def test_a_cancelled_attempt_to_connect_closes_the_socket(autojump_clock: MockClock) -> None:
    with Network(link=Link(delay=1)) as network:
        server = network.host("server")
        with server.active():
            [listener] = await nursery.open_tcp_listeners(80)
        sock = nursery.socket.socket()
        with nursery.move_on_after(1.5):
            await sock.connect((server.addresses[0], 80))
        assert sock.fileno() == -1
        # The other side had taken it in already, and finds its end.
        accepted = await listener.accept()
        assert await accepted.receive_some() == b""


async def test_closing_a_socket_ends_its_attempt_to_connect(autojump_clock: MockClock) -> None:
    with Network(link=Link(delay=10)) as network:
        server = network.host("server")
        sock = nursery.socket.socket()

        async def connect() -> None:
            with pytest.raises(ClosedResourceError):
                await sock.connect((server.addresses[0], 80))

        async with nursery.open_nursery() as n:
            n.start_soon(connect)
            await wait_all_tasks_blocked()
            sock.close()
        assert nursery.current_time() == 0


async def test_a_full_queue_of_a_listener_makes_clients_try_again(autojump_clock: MockClock) -> None:
    with Network() as network:
        server = network.host("server")
        with server.active():
            [listener] = await nursery.open_tcp_listeners(80, backlog=0)
        async with nursery.open_nursery() as n:
            n.start_soon(nursery.open_tcp_stream, "server", 80)
            n.start_soon(nursery.open_tcp_stream, "server", 80)
            await nursery.sleep(0.5)
            for _ in range(2):
                await listener.accept()
        assert nursery.current_time() == 1


async def test_closing_a_listener_resets_who_queues(autojump_clock: MockClock) -> None:
    with Network() as network:
        with network.host("server").active():
            [listener] = await nursery.open_tcp_listeners(80)
        client = await nursery.open_tcp_stream("server", 80)
        await listener.aclose()
        with pytest.raises(BrokenResourceError):
            await client.receive_some()
        with pytest.raises(ClosedResourceError):
            await listener.accept()


async def test_closing_a_listener_wakes_who_accepts(autojump_clock: MockClock) -> None:
    with Network():
        [listener] = await nursery.open_tcp_listeners(80)

        async def accept() -> None:
            with pytest.raises(ClosedResourceError):
                await listener.accept()

        async with nursery.open_nursery() as n:
            n.start_soon(accept)
            await wait_all_tasks_blocked()
            await listener.aclose()


async def test_a_connected_socket_cannot_connect_or_listen_again(autojump_clock: MockClock) -> None:
    with Network() as network:
        client, _server = await connected(network.host("server"))
        with pytest.raises(OSError) as caught:
            await client.socket.connect(("10.0.0.2", 99))
        assert caught.value.errno == errno.EISCONN
        with pytest.raises(OSError) as caught:
            client.socket.listen()
        assert caught.value.errno == errno.EINVAL
        with pytest.raises(OSError) as caught:
            await client.socket.accept()
        assert caught.value.errno == errno.EINVAL


# Streams under bad conditions


async def test_a_sender_waits_when_the_receiver_does_not_read(autojump_clock: MockClock) -> None:
    with Network() as network:
        client, server = await connected(network.host("server"))
        data = os.urandom(300_000)
        received = bytearray()

        async def receive() -> None:
            async for piece in server:
                received.extend(piece)
                await nursery.sleep(1)

        async with nursery.open_nursery() as n:
            n.start_soon(receive)
            await client.send_all(data)
            await client.send_eof()
            assert nursery.current_time() > 2
        assert received == data


async def test_a_stream_loses_nothing_on_a_bad_link(autojump_clock: MockClock) -> None:
    with Network(seed=5, link=Link(delay=0.05, jitter=0.2, loss=0.3)) as network:
        client, server = await connected(network.host("server"))
        sent = bytes(range(256)) * 10
        received = bytearray()

        async def send() -> None:
            for number in range(0, len(sent), 100):
                await client.send_all(sent[number : number + 100])
            await client.aclose()

        async with nursery.open_nursery() as n:
            n.start_soon(send)
            async for piece in server:
                received += piece
        assert received == sent
        assert nursery.current_time() > 0.5


async def test_a_stream_stalls_during_a_partition_and_goes_on_after_it(autojump_clock: MockClock) -> None:
    with Network() as network:
        host = network.host("server")
        client, server = await connected(host)
        network.partition([host])
        await client.send_all(b"x")
        with nursery.move_on_after(60) as scope:
            await server.receive_some()
        assert scope.cancelled_caught
        network.heal()
        assert await server.receive_some() == b"x"
        assert 60 < nursery.current_time() < 200


async def test_what_is_under_way_is_cut_off_too(autojump_clock: MockClock) -> None:
    with Network(link=Link(delay=1)) as network:
        host = network.host("server")
        client, server = await connected(host)
        await client.send_all(b"x")
        start = nursery.current_time()
        network.partition([host])
        with nursery.move_on_after(1.1) as scope:
            await server.receive_some()
        assert scope.cancelled_caught
        network.heal()
        await server.receive_some()
        assert nursery.current_time() == pytest.approx(start + 1.2)


async def test_a_stream_gives_up_when_the_partition_lasts(autojump_clock: MockClock) -> None:
    with Network() as network:
        host = network.host("server")
        client, _server = await connected(host)
        network.partition([host])
        await client.send_all(b"x")
        with pytest.raises(BrokenResourceError) as caught:
            await client.receive_some()
        assert isinstance(caught.value.__cause__, TimeoutError)
        assert 900 < nursery.current_time() < 1000


async def test_a_partition_has_sides(autojump_clock: MockClock) -> None:
    with Network() as network:
        a, b, c = (network.host(name) for name in "abc")
        network.partition([a, b], [c])
        assert not network.is_cut(a, b)
        assert network.is_cut(a, c)
        assert network.is_cut(a, network.home)
        assert network.is_cut(c, network.home)
        network.partition([a])
        assert network.is_cut(a, b)
        assert not network.is_cut(b, c)
        network.heal()
        assert not network.is_cut(a, b)


async def test_a_reset_breaks_both_ends_at_once(autojump_clock: MockClock) -> None:
    with Network(link=Link(delay=5)) as network:
        host, other = network.host("server"), network.host("other")
        client, server = await connected(host)
        bystander, _ = await connected(other)
        await client.send_all(b"never seen")
        now = nursery.current_time()

        async def expect_reset(stream: SocketStream) -> None:
            with pytest.raises(BrokenResourceError) as caught:
                await stream.receive_some()
            assert isinstance(caught.value.__cause__, ConnectionResetError)
            with pytest.raises(BrokenResourceError):
                await stream.send_all(b"x")

        async with nursery.open_nursery() as n:
            n.start_soon(expect_reset, client)
            n.start_soon(expect_reset, server)
            await wait_all_tasks_blocked()
            network.reset(network.home, host)
        assert nursery.current_time() == now
        await bystander.send_all(b"x")
        network.reset(network.home)
        await expect_reset(bystander)


async def test_closing_with_unread_data_resets_the_other_end(autojump_clock: MockClock) -> None:
    with Network() as network:
        client, server = await connected(network.host("server"))
        await client.send_all(b"unread")
        await server.aclose()
        with pytest.raises(BrokenResourceError):
            await client.receive_some()


async def test_a_closed_end_answers_data_with_a_reset(autojump_clock: MockClock) -> None:
    with Network(link=Link(delay=0.1)) as network:
        client, server = await connected(network.host("server"))
        await server.aclose()
        assert await client.receive_some() == b""
        await client.send_all(b"too late")
        await nursery.sleep(0.3)
        with pytest.raises(BrokenResourceError):
            await client.send_all(b"x")


async def test_what_was_sent_before_closing_arrives(autojump_clock: MockClock) -> None:
    with Network(link=Link(delay=0.1)) as network:
        client, server = await connected(network.host("server"))
        await client.send_all(b"farewell")
        await client.aclose()
        assert await server.receive_some() == b"farewell"
        assert await server.receive_some() == b""


async def test_two_tasks_that_receive_at_once_are_caught(autojump_clock: MockClock) -> None:
    with Network() as network:
        client, _server = await connected(network.host("server"))
        async with nursery.open_nursery() as n:
            n.start_soon(client.receive_some)
            await wait_all_tasks_blocked()
            with pytest.raises(BusyResourceError):
                await client.receive_some()
            n.cancel_scope.cancel()


async def test_sockets_that_are_closed_later_than_the_block_do_not_mind(autojump_clock: MockClock) -> None:
    with Network(link=Link(delay=1)) as network:
        client, server = await connected(network.host("server"))
    await client.send_all(b"x")
    await client.aclose()
    assert await server.receive_some() == b"x"


async def test_the_same_seed_gives_the_same_run(autojump_clock: MockClock) -> None:
    async def history(seed: int) -> list[tuple[float, bytes]]:
        start = nursery.current_time()
        with Network(seed, link=Link(delay=0.1, jitter=0.5, loss=0.3)) as network:
            host = network.host("server")
            with host.active():
                receiver = nursery.socket.socket(type=SOCK_DGRAM)
                await receiver.bind(("0.0.0.0", 7))
            sender = nursery.socket.socket(type=SOCK_DGRAM)
            for number in range(30):
                await sender.sendto(bytes([number]), ("server", 7))
            seen: list[tuple[float, bytes]] = []
            with nursery.move_on_after(10):
                while True:
                    data = await receiver.recv(10)
                    seen.append((round(nursery.current_time() - start, 9), data))
            return seen

    first, again, other = await history(1), await history(1), await history(2)
    assert first == again
    assert first != other
    assert 10 < len(first) < 30
    assert [data for _, data in first] != sorted(data for _, data in first)


# Datagrams


async def datagram_pair(network: Network) -> tuple[nursery.socket.SocketType, nursery.socket.SocketType]:
    with network.host("server", "10.1.1.1").active():
        server = nursery.socket.socket(type=SOCK_DGRAM)
    await server.bind(("0.0.0.0", 7))
    return nursery.socket.socket(type=SOCK_DGRAM), server


async def test_datagrams_arrive_whole_with_their_sender(autojump_clock: MockClock) -> None:
    with Network(link=Link(delay=0.1)) as network:
        client, server = await datagram_pair(network)
        assert await client.sendto(b"one", ("server", 7)) == 3
        assert await client.sendto(b"two", 0, ("10.1.1.1", 7)) == 3
        data, address = await server.recvfrom(100)
        assert (data, address) == (b"one", ("10.0.0.1", client.getsockname()[1]))
        assert await server.recv(2) == b"tw"
        assert nursery.current_time() == pytest.approx(0.1)
        await server.sendto(b"back", address)
        assert await client.recvfrom(100) == (b"back", ("10.1.1.1", 7))


async def test_a_connected_datagram_socket_hears_its_peer_alone(autojump_clock: MockClock) -> None:
    with Network() as network:
        client, server = await datagram_pair(network)
        await client.connect(("server", 7))
        assert client.getpeername() == ("10.1.1.1", 7)
        assert client.getsockname()[0] == "10.0.0.1"
        assert await client.send(b"hello") == 5
        _, address = await server.recvfrom(100)
        stranger = nursery.socket.socket(type=SOCK_DGRAM)
        await stranger.sendto(b"spam", address)
        await server.sendto(b"answer", address)
        assert await client.recv(100) == b"answer"


async def test_datagrams_are_lost_in_partitions_and_where_nobody_listens(autojump_clock: MockClock) -> None:
    with Network(link=Link(delay=0.1)) as network:
        client, server = await datagram_pair(network)
        await client.sendto(b"nobody", ("10.1.1.1", 8))
        await client.sendto(b"nowhere", ("10.9.9.9", 7))
        await client.sendto(b"cut off under way", ("10.1.1.1", 7))
        network.partition([network.home])
        await client.sendto(b"cut off", ("10.1.1.1", 7))
        await nursery.sleep(1)
        network.heal()
        await client.sendto(b"arrives", ("10.1.1.1", 7))
        assert await server.recv(100) == b"arrives"


async def test_all_datagrams_are_lost_on_a_dead_link(autojump_clock: MockClock) -> None:
    with Network() as network:
        client, server = await datagram_pair(network)
        network.set_link(network.home, network.hosts["server"], Link(loss=1))
        await client.sendto(b"lost", ("server", 7))
        assert not server.is_readable()


async def test_a_datagram_socket_drops_what_it_has_no_room_for(autojump_clock: MockClock) -> None:
    with Network() as network:
        client, server = await datagram_pair(network)
        for _ in range(10):
            await client.sendto(bytes(60_000), ("server", 7))
        received = 0
        while server.is_readable():
            await server.recv(1)
            received += 1
        assert 0 < received < 10
        with pytest.raises(OSError) as caught:
            await client.sendto(bytes(70_000), ("server", 7))
        assert caught.value.errno == errno.EMSGSIZE


async def test_a_datagram_needs_a_destination() -> None:
    with Network():
        with pytest.raises(OSError) as caught:
            await nursery.socket.socket(type=SOCK_DGRAM).send(b"x")
        assert caught.value.errno == errno.EDESTADDRREQ


# The rest of the socket interface


async def test_every_way_to_read_and_write(autojump_clock: MockClock) -> None:
    with Network() as network:
        left, right = await connected(network.host("server"))
        a, b = left.socket, right.socket
        buffer, more = bytearray(3), bytearray(10)
        await a.send(b"abc")
        assert await b.recv(10, nursery.socket.MSG_PEEK) == b"abc"
        assert await b.recv_into(buffer) == 3
        assert buffer == b"abc"
        await a.sendmsg([b"ab", bytearray(b"cdef")])
        assert await b.recvmsg_into([buffer, more]) == (6, [], 0, None)
        assert buffer + more[:3] == b"abcdef"
        await a.sendmsg([b"xyz"])
        assert await b.recvmsg(2) == (b"xy", [], 0, None)
        assert await b.recvfrom_into(buffer, 1) == (1, None)
        assert b.family is AF_INET
        assert b.type is SOCK_STREAM
        assert not b.is_readable()
        await b.wait_writable()
        for call in (
            lambda: b.recv(1, nursery.socket.MSG_OOB),
            lambda: a.sendmsg([b"x"], [(1, 1, b"fd")]),
        ):
            with pytest.raises(OSError) as caught:
                await call()
            assert caught.value.errno == errno.EOPNOTSUPP
        with pytest.raises(ValueError, match="negative"):
            await b.recv(-1)


async def test_halves_can_be_shut_down(autojump_clock: MockClock) -> None:
    with Network() as network:
        left, right = await connected(network.host("server"))
        a, b = left.socket, right.socket
        a.shutdown(nursery.socket.SHUT_WR)
        assert a.did_shutdown_SHUT_WR
        with pytest.raises(BrokenPipeError):
            await a.send(b"x")
        assert await b.recv(1) == b""
        a.shutdown(nursery.socket.SHUT_RD)
        assert await a.recv(1) == b""
        b.shutdown(nursery.socket.SHUT_RDWR)
        with pytest.raises(OSError) as caught:
            nursery.socket.socket().shutdown(nursery.socket.SHUT_RD)
        assert caught.value.errno == errno.ENOTCONN


async def test_options_are_kept() -> None:
    with Network():
        sock = nursery.socket.socket(type=SOCK_DGRAM)
        sock.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_BROADCAST, 1)
        assert sock.getsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_BROADCAST) == 1
        assert sock.getsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_BROADCAST, 2) == b"\1\0"
        sock.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_LINGER, b"12345678")
        assert sock.getsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_LINGER, 8) == b"12345678"
        sock.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_LINGER, None, 2)
        assert sock.getsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_LINGER, 8) == b"\0\0"
        assert sock.getsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_TYPE) == SOCK_DGRAM
        sock.set_inheritable(True)
        assert not sock.get_inheritable()


async def test_there_is_no_descriptor_to_give_away() -> None:
    with Network(), nursery.socket.socket() as sock:
        for call in (sock.dup, sock.detach):
            with pytest.raises(OSError, match="no descriptor"):
                call()


async def test_a_closed_socket_can_do_nothing_more() -> None:
    with Network():
        sock = nursery.socket.socket()
        sock.close()
        sock.close()
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: sock.recv(1),
            lambda: sock.send(b"x"),
            lambda: sock.connect(("127.0.0.1", 1)),
            lambda: sock.bind(("127.0.0.1", 1)),
            sock.accept,
            sock.wait_writable,
        ]
        for call in calls:
            with pytest.raises(OSError) as caught:
                await call()
            assert caught.value.errno == errno.EBADF
        with pytest.raises(OSError):
            sock.getsockname()


async def test_an_unconnected_socket_has_nobody_to_talk_to() -> None:
    with Network(), nursery.socket.socket() as sock:
        for call, number in ((lambda: sock.recv(1), errno.ENOTCONN), (lambda: sock.send(b"x"), errno.EPIPE)):
            with pytest.raises(OSError) as caught:
                await call()
            assert caught.value.errno == number
        with pytest.raises(OSError):
            sock.getpeername()
        with pytest.raises(ValueError, match="tuple"):
            await sock.connect("somewhere")


# As in reality: each of these runs on the real loopback interface and in memory, and must end the same way.

Pair = tuple[nursery.socket.SocketType, nursery.socket.SocketType]
Outcome = tuple[object, ...]


async def socket_pair() -> Pair:
    with nursery.socket.socket() as listener:
        await listener.bind(("127.0.0.1", 0))
        listener.listen()
        client = nursery.socket.socket()
        await client.connect(listener.getsockname())
        server, _ = await listener.accept()
    return client, server


async def outcomes(*calls: Callable[[], Awaitable[object]]) -> Outcome:
    """Return what each call returns, or the class of its error and the system's name for it."""
    results: list[object] = []
    for call in calls:
        try:
            results.append(await call())
        except Exception as exc:
            number = exc.errno if isinstance(exc, OSError) else None
            results.append((type(exc).__name__, None if number is None else errno.errorcode[number]))
        # A real network takes a moment.
        await nursery.sleep(0.002)
    return tuple(results)


async def nothing_is_received_at_once(client: nursery.socket.SocketType, server: nursery.socket.SocketType) -> Outcome:
    return await outcomes(lambda: client.recv(0))


async def a_reset_is_told_once(client: nursery.socket.SocketType, server: nursery.socket.SocketType) -> Outcome:
    await server.send(b"data")
    await client.send(b"unread")
    await nursery.sleep(0.002)
    server.close()
    await nursery.sleep(0.002)
    return await outcomes(
        lambda: client.recv(2),
        lambda: client.recv(2),
        lambda: client.recv(2),
        lambda: client.recv(2),
        lambda: client.send(b"x"),
    )


async def a_reset_is_told_to_who_sends(client: nursery.socket.SocketType, server: nursery.socket.SocketType) -> Outcome:
    await client.send(b"unread")
    await nursery.sleep(0.002)
    server.close()
    await nursery.sleep(0.002)
    return await outcomes(lambda: client.send(b"x"), lambda: client.send(b"x"), lambda: client.recv(1))


async def a_reset_after_the_end_is_the_senders_mistake(
    client: nursery.socket.SocketType, server: nursery.socket.SocketType
) -> Outcome:
    server.close()
    await nursery.sleep(0.002)
    sends: list[Callable[[], Awaitable[object]]] = [lambda: client.send(b"x")] * 3
    return await outcomes(*sends, lambda: client.recv(1))


async def flags_that_mean_nothing_here(client: nursery.socket.SocketType, server: nursery.socket.SocketType) -> Outcome:
    await server.send(b"abc")
    await nursery.sleep(0.002)
    return await outcomes(
        lambda: client.recv(1, nursery.socket.MSG_DONTWAIT), lambda: client.recv(2, nursery.socket.MSG_WAITALL)
    )


async def more_than_the_buffer_holds(client: nursery.socket.SocketType, server: nursery.socket.SocketType) -> Outcome:
    await server.send(b"abc")
    return await outcomes(lambda: client.recv_into(bytearray(2), 5))


async def the_address_of_a_connected_socket_is_ignored(
    client: nursery.socket.SocketType, server: nursery.socket.SocketType
) -> Outcome:
    return await outcomes(lambda: client.sendto(b"ab", ("127.0.0.1", 1)), lambda: server.recv(5))


async def what_the_system_tells(client: nursery.socket.SocketType, server: nursery.socket.SocketType) -> Outcome:
    level = stdlib_socket.SOL_SOCKET
    return tuple(
        client.getsockopt(level, option)
        for option in (stdlib_socket.SO_ERROR, stdlib_socket.SO_DOMAIN, stdlib_socket.SO_PROTOCOL)
    )


async def a_half_that_is_none(client: nursery.socket.SocketType, server: nursery.socket.SocketType) -> Outcome:
    async def shut_down() -> None:
        client.shutdown(9)

    return await outcomes(shut_down)


async def ports_that_are_none(client: nursery.socket.SocketType, server: nursery.socket.SocketType) -> Outcome:
    with nursery.socket.socket() as sock, nursery.socket.socket(type=SOCK_DGRAM) as datagrams:
        return await outcomes(
            lambda: sock.connect(("127.0.0.1", 70000)),
            lambda: sock.bind(("127.0.0.1", -1)),
            lambda: datagrams.sendto(b"x", ("127.0.0.1", 65536)),
        )


async def kinds_that_are_none(client: nursery.socket.SocketType, server: nursery.socket.SocketType) -> Outcome:
    async def make(family: int, kind: int) -> object:
        with nursery.socket.socket(family, kind) as sock:
            return sock.type

    return await outcomes(
        lambda: make(999, SOCK_STREAM),
        lambda: make(AF_INET, 999),
        lambda: make(AF_INET, SOCK_STREAM | nursery.socket.SOCK_NONBLOCK | nursery.socket.SOCK_CLOEXEC),
    )


async def datagram_sockets_do_not_listen(
    client: nursery.socket.SocketType, server: nursery.socket.SocketType
) -> Outcome:
    with nursery.socket.socket(type=SOCK_DGRAM) as sock:

        async def listen() -> None:
            sock.listen()

        return await outcomes(listen, sock.accept)


async def a_datagram_that_is_refused(client: nursery.socket.SocketType, server: nursery.socket.SocketType) -> Outcome:
    with nursery.socket.socket(type=SOCK_DGRAM) as sock:
        await sock.connect(("127.0.0.1", 1))
        return await outcomes(
            lambda: sock.send(b"x"), lambda: sock.recv(1), lambda: sock.send(b"x"), lambda: sock.send(b"x")
        )


async def a_datagram_that_is_cut_short(client: nursery.socket.SocketType, server: nursery.socket.SocketType) -> Outcome:
    with nursery.socket.socket(type=SOCK_DGRAM) as left, nursery.socket.socket(type=SOCK_DGRAM) as right:
        await right.bind(("127.0.0.1", 0))
        await left.sendto(b"long", right.getsockname())
        await left.sendto(b"long", right.getsockname())
        return (await right.recvmsg(2))[:3] + (await right.recvmsg(4))[:3]


@pytest.mark.skipif(sys.platform != "linux", reason="the network in memory behaves like Linux's")
@pytest.mark.parametrize(
    "scene",
    [
        nothing_is_received_at_once,
        a_reset_is_told_once,
        a_reset_is_told_to_who_sends,
        a_reset_after_the_end_is_the_senders_mistake,
        flags_that_mean_nothing_here,
        more_than_the_buffer_holds,
        the_address_of_a_connected_socket_is_ignored,
        what_the_system_tells,
        a_half_that_is_none,
        ports_that_are_none,
        kinds_that_are_none,
        datagram_sockets_do_not_listen,
        a_datagram_that_is_refused,
        a_datagram_that_is_cut_short,
    ],
)
async def test_in_memory_it_ends_as_in_reality(
    scene: Callable[[nursery.socket.SocketType, nursery.socket.SocketType], Awaitable[Outcome]],
) -> None:
    async def play() -> Outcome:
        client, server = await socket_pair()
        with client, server, nursery.fail_after(5):
            return await scene(client, server)

    real = await play()
    with Network():
        assert await play() == real


def test_a_link_is_checked() -> None:
    for options in ({"delay": -1.0}, {"jitter": -1.0}, {"loss": 1.5}, {"delay": float("nan")}):
        with pytest.raises(ValueError, match="must be"):
            Link(**options)
