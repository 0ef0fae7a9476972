"""One stream, several tasks: both directions at once, and closing in between."""

from __future__ import annotations

import random
import socket as stdlib_socket
import ssl

import pytest

import nursery
from nursery import BrokenResourceError, ClosedResourceError
from nursery.network.sockets import from_stdlib_socket
from nursery.network.stream import SocketStream
from nursery.testing import wait_all_tasks_blocked
from nursery.tls.stream import PIECE, SSLStream
from tests.tls.certificates import HOST, VERSIONS, client_context, server_context
from tests.tls.wire import Wire, connected_pair, receive_exactly, tls_pair

each_version = pytest.mark.parametrize("version", VERSIONS)


def socket_pair(version: ssl.TLSVersion) -> tuple[SSLStream[SocketStream], SSLStream[SocketStream]]:
    left, right = (SocketStream(from_stdlib_socket(sock)) for sock in stdlib_socket.socketpair())
    return (
        SSLStream(left, client_context(version), server_hostname=HOST),
        SSLStream(right, server_context(), server_side=True),
    )


@each_version
async def test_megabytes_go_both_ways_at_once_over_sockets(version: ssl.TLSVersion) -> None:
    data = random.Random(0).randbytes(3_000_000)
    client, server = socket_pair(version)

    async def send(stream: SSLStream[SocketStream], sizes: random.Random) -> None:
        start = 0
        while start < len(data):
            size = sizes.choice([1, 1000, 16384, 100_000, 2 * PIECE + 1])
            await stream.send_all(data[start : start + size])
            start += size

    async def receive(stream: SSLStream[SocketStream], sizes: random.Random) -> None:
        received = bytearray()
        while len(received) < len(data):
            received += await stream.receive_some(sizes.choice([None, 1000, 16384, 1 << 20]))
        assert received == data

    async with client, server:
        async with nursery.open_nursery() as n:
            for seed, stream in enumerate((client, server)):
                n.start_soon(send, stream, random.Random(seed))
                n.start_soon(receive, stream, random.Random(seed + 10))


async def test_a_sender_that_is_stuck_does_not_hinder_the_receiver() -> None:
    client, server = await connected_pair()
    client.transport_stream.clogged = True
    async with nursery.open_nursery() as n:
        n.start_soon(client.send_all, b"stuck")
        await wait_all_tasks_blocked()
        for _ in range(3):
            await server.send_all(b"x")
            assert await client.receive_some() == b"x"
        client.transport_stream.unclog()
    assert await server.receive_some() == b"stuck"


async def test_closing_waits_for_a_send_under_way_and_says_goodbye_behind_it() -> None:
    client, server = await connected_pair()
    client.transport_stream.clogged = True
    async with nursery.open_nursery() as n:
        n.start_soon(client.send_all, b"last words")
        await wait_all_tasks_blocked()
        n.start_soon(client.aclose)
        await wait_all_tasks_blocked()
        assert not client.transport_stream.closed
        client.transport_stream.unclog()
    assert await server.receive_some() == b"last words"
    assert await server.receive_some() == b""


async def test_closing_ends_a_long_send_between_two_pieces() -> None:
    client, server = await connected_pair()
    client.transport_stream.clogged = True

    async def send() -> None:
        with pytest.raises(ClosedResourceError):
            await client.send_all(bytes(3 * PIECE))

    async with nursery.open_nursery() as n:
        n.start_soon(send)
        await wait_all_tasks_blocked()
        n.start_soon(client.aclose)
        await wait_all_tasks_blocked()
        client.transport_stream.unclog()
    assert await receive_exactly(server, PIECE) == bytes(PIECE)
    assert await server.receive_some() == b""


async def test_a_goodbye_does_not_follow_a_send_that_was_cut_short() -> None:
    client, server = await connected_pair()
    client.transport_stream.clogged = True
    async with nursery.open_nursery() as n:
        with nursery.CancelScope() as scope:
            async with nursery.open_nursery() as sending:
                sending.start_soon(client.send_all, b"never")
                await wait_all_tasks_blocked()
                n.start_soon(client.aclose)
                await wait_all_tasks_blocked()
                scope.cancel()
    assert client.transport_stream.closed
    assert client.transport_stream.sent == []
    with pytest.raises(BrokenResourceError):
        await server.receive_some()


async def test_two_tasks_may_close_at_once() -> None:
    for pair in (tls_pair(), await connected_pair()):
        client, server = pair
        async with nursery.open_nursery() as n:
            n.start_soon(client.aclose)
            n.start_soon(client.aclose)
            assert await server.receive_some() == b""
        assert client.transport_stream.closed


async def test_one_who_waits_for_room_and_a_sender_of_goodbye_take_turns() -> None:
    client, server = await connected_pair()
    client.transport_stream.clogged = True
    async with nursery.open_nursery() as n:
        n.start_soon(client.wait_send_all_might_not_block)
        await wait_all_tasks_blocked()
        n.start_soon(client.aclose)
        await wait_all_tasks_blocked()
        client.transport_stream.unclog()
    assert await server.receive_some() == b""


@each_version
@pytest.mark.parametrize("at_most", [1, 100, 20_000])
async def test_a_slow_transport_carries_both_directions(version: ssl.TLSVersion, at_most: int) -> None:
    client, server = tls_pair(version)
    client.transport_stream.at_most = server.transport_stream.at_most = at_most
    size = at_most * 50

    async def exchange(stream: SSLStream[Wire]) -> None:
        async with nursery.open_nursery() as n:
            n.start_soon(stream.send_all, b"x" * size)
            assert await receive_exactly(stream, size) == b"x" * size

    async with nursery.open_nursery() as n:
        n.start_soon(exchange, client)
        n.start_soon(exchange, server)
