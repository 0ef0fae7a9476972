"""Ending TLS and going on without it."""

from __future__ import annotations

import ssl

import pytest

import nursery
from nursery import BrokenResourceError, ClosedResourceError
from nursery.testing import wait_all_tasks_blocked
from tests.tls.certificates import VERSIONS
from tests.tls.wire import connected_pair, cut_short, tls_pair

each_version = pytest.mark.parametrize("version", VERSIONS)


@each_version
async def test_unwrap_gives_the_transport_back_open(version: ssl.TLSVersion) -> None:
    client, server = await connected_pair(version)
    wire = client.transport_stream

    async def answer() -> None:
        assert await server.receive_some() == b""
        transport, trailing = await server.unwrap()
        assert trailing == b""
        assert await transport.receive_some() == b"in the clear"
        await transport.send_all(b"likewise")

    async with nursery.open_nursery() as n:
        n.start_soon(answer)
        transport, trailing = await client.unwrap()
        assert transport is wire
        assert trailing == b""
        assert getattr(client, "transport_stream", 0) is None
        await transport.send_all(b"in the clear")
        assert await transport.receive_some() == b"likewise"
    with pytest.raises(ClosedResourceError):
        await client.send_all(b"x")
    # Closing what was unwrapped does not close what is used on.
    await client.aclose()
    assert not wire.closed


@each_version
async def test_what_came_behind_the_goodbye_in_one_piece_is_returned(version: ssl.TLSVersion) -> None:
    client, server = await connected_pair(version)

    async def unwrap() -> None:
        _, trailing = await client.unwrap()
        assert trailing == b"trailing"

    async with nursery.open_nursery() as n:
        n.start_soon(unwrap)
        assert await server.receive_some() == b""
        server.transport_stream.tamper = lambda goodbye: goodbye + b"trailing"
        await server.unwrap()


@each_version
async def test_the_bytes_behind_the_goodbye_are_not_mistaken_for_tls(version: ssl.TLSVersion) -> None:
    client, server = await connected_pair(version)
    client._engine.close_notify()
    server.transport_stream.arrive(client._engine.take_output() + b"\x17\x03\x03 looks like a record")
    assert await server.receive_some() == b""
    _, trailing = await server.unwrap()
    assert trailing == b"\x17\x03\x03 looks like a record"


@each_version
async def test_unwrap_shakes_hands_first(version: ssl.TLSVersion) -> None:
    client, server = tls_pair(version)
    async with nursery.open_nursery() as n:
        n.start_soon(client.unwrap)
        n.start_soon(server.unwrap)


@each_version
async def test_data_in_place_of_the_peers_goodbye_is_an_error(version: ssl.TLSVersion) -> None:
    client, server = await connected_pair(version)
    await server.send_all(b"not goodbye")
    with pytest.raises(BrokenResourceError) as caught:
        await client.unwrap()
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    # The goodbye was said all the same.
    assert await server.receive_some() == b""


@each_version
async def test_a_peer_that_leaves_without_a_goodbye_is_an_error(version: ssl.TLSVersion) -> None:
    client, server = await connected_pair(version)
    server.transport_stream.end()
    with pytest.raises(BrokenResourceError) as caught:
        await client.unwrap()
    assert isinstance(caught.value.__cause__, ssl.SSLEOFError)


@each_version
async def test_a_cancelled_unwrap_can_be_taken_up_again_and_nothing_more_be_sent(version: ssl.TLSVersion) -> None:
    client, server = await connected_pair(version)
    await cut_short(client.unwrap)
    with pytest.raises(ClosedResourceError, match="close_notify"):
        await client.send_all(b"x")
    assert await server.receive_some() == b""
    await server.unwrap()
    _, trailing = await client.unwrap()
    assert trailing == b""


async def test_a_stream_can_be_closed_while_it_is_unwrapped() -> None:
    client, _ = await connected_pair()

    async def unwrap() -> None:
        with pytest.raises(ClosedResourceError):
            await client.unwrap()

    async with nursery.open_nursery() as n:
        n.start_soon(unwrap)
        await wait_all_tasks_blocked()
        await client.aclose()
