"""How a connection ends: in good order, cut off, closed here."""

from __future__ import annotations

import ssl

import pytest

import nursery
from nursery import BrokenResourceError, ClosedResourceError
from nursery.abc import HalfCloseableStream
from nursery.testing import assert_checkpoints, wait_all_tasks_blocked
from nursery.tls.stream import SSLStream
from tests.tls.certificates import (
    AUTHORITY,
    HOST,
    OF_ANOTHER_HOST,
    VERSIONS,
    client_context,
    server_context,
)
from tests.tls.wire import Wire, connected_pair, shake_hands, tls_pair, wire_pair

each_version = pytest.mark.parametrize("version", VERSIONS)


@each_version
async def test_a_peer_that_closes_is_the_end_of_the_data_each_time(version: ssl.TLSVersion) -> None:
    client, server = await connected_pair(version)
    await client.send_all(b"last words")
    await client.aclose()
    assert await server.receive_some() == b"last words"
    for _ in range(3):
        with assert_checkpoints():
            assert await server.receive_some() == b""
    await server.aclose()
    assert server.transport_stream.closed


@each_version
async def test_closing_before_the_handshake_shakes_hands_first(version: ssl.TLSVersion) -> None:
    client, server = tls_pair(version)
    async with nursery.open_nursery() as n:
        n.start_soon(client.aclose)
        assert await server.receive_some() == b""
    await server.aclose()


@each_version
async def test_both_sides_may_close_at_once(version: ssl.TLSVersion) -> None:
    client, server = await connected_pair(version)
    async with nursery.open_nursery() as n:
        n.start_soon(client.aclose)
        n.start_soon(server.aclose)
    assert client.transport_stream.closed
    assert server.transport_stream.closed


@each_version
async def test_truncation_is_an_error(version: ssl.TLSVersion) -> None:
    client, server = await connected_pair(version)
    await client.send_all(b"half of")
    await client.transport_stream.aclose()
    assert await server.receive_some() == b"half of"
    with pytest.raises(BrokenResourceError) as caught:
        await server.receive_some()
    assert isinstance(caught.value.__cause__, ssl.SSLEOFError)
    with pytest.raises(BrokenResourceError):
        await server.receive_some()
    with pytest.raises(BrokenResourceError):
        await server.send_all(b"x")
    await server.aclose()


async def test_truncation_is_an_error_with_the_standard_librarys_default_context() -> None:
    # It has OP_IGNORE_UNEXPECTED_EOF.
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    client, server = tls_pair(client=context)
    await shake_hands(client, server)
    await server.transport_stream.aclose()
    with pytest.raises(BrokenResourceError) as caught:
        await client.receive_some()
    assert isinstance(caught.value.__cause__, ssl.SSLEOFError)


async def test_truncation_in_the_middle_of_a_record_is_an_error() -> None:
    client, server = await connected_pair()
    client.transport_stream.tamper = lambda data: data[:-1]
    await client.send_all(b"cut off")
    client.transport_stream.end()
    with pytest.raises(BrokenResourceError) as caught:
        await server.receive_some()
    assert isinstance(caught.value.__cause__, ssl.SSLEOFError)


@each_version
async def test_with_https_compatible_truncation_is_the_end(version: ssl.TLSVersion) -> None:
    client, server = await connected_pair(version, https_compatible=True)
    await client.send_all(b"all of it")
    await client.transport_stream.aclose()
    assert await server.receive_some() == b"all of it"
    for _ in range(3):
        with assert_checkpoints():
            assert await server.receive_some() == b""
    with pytest.raises(BrokenResourceError):
        await server.send_all(b"x")
    await server.aclose()


@each_version
async def test_with_https_compatible_closing_says_nothing(version: ssl.TLSVersion) -> None:
    client, server = await connected_pair(version, https_compatible=True)
    await client.aclose()
    assert client.transport_stream.sent == []
    assert await server.receive_some() == b""
    client, server = tls_pair(version, https_compatible=True)
    await client.aclose()
    assert client.transport_stream.sent == []


async def test_with_https_compatible_a_peer_that_leaves_before_the_handshake_is_the_end() -> None:
    client, server = tls_pair(https_compatible=True)
    await client.aclose()
    for _ in range(2):
        with assert_checkpoints():
            assert await server.receive_some() == b""
    with pytest.raises(BrokenResourceError):
        await server.send_all(b"x")


async def test_with_https_compatible_an_error_is_still_an_error() -> None:
    client, server = await connected_pair(https_compatible=True)
    client.transport_stream.tamper = lambda data: data[:-1] + bytes([data[-1] ^ 1])
    await client.send_all(b"changed on the way")
    for _ in range(2):
        with pytest.raises(BrokenResourceError):
            await server.receive_some()


async def test_only_one_side_being_https_compatible_is_an_error_on_the_other() -> None:
    left, right = wire_pair()
    client = SSLStream(left, client_context(), server_hostname=HOST, https_compatible=True)
    server = SSLStream(right, server_context(), server_side=True)
    await shake_hands(client, server)
    await client.aclose()
    with pytest.raises(BrokenResourceError):
        await server.receive_some()


def test_there_is_no_half_close() -> None:
    # In TLS 1.2 an end in one direction is an end in both; unwrap is what there is.
    assert not issubclass(SSLStream, HalfCloseableStream)
    client, _ = tls_pair()
    assert not hasattr(client, "send_eof")


async def test_a_half_closed_transport_is_truncation() -> None:
    client, server = await connected_pair()
    client.transport_stream.end()
    with pytest.raises(BrokenResourceError) as caught:
        await server.receive_some()
    assert isinstance(caught.value.__cause__, ssl.SSLEOFError)


async def test_a_side_that_was_told_goodbye_can_still_send() -> None:
    client, server = await connected_pair()

    async def unwrap() -> None:
        with pytest.raises(BrokenResourceError):
            await client.unwrap()

    async with nursery.open_nursery() as n:
        n.start_soon(unwrap)
        assert await server.receive_some() == b""
        await server.send_all(b"but I have more")


async def test_a_closed_stream_refuses_everything_but_to_be_closed() -> None:
    client, server = await connected_pair()
    await client.aclose()
    for _ in range(2):
        with assert_checkpoints():
            await client.aclose()
    with pytest.raises(ClosedResourceError):
        await client.send_all(b"x")
    with pytest.raises(ClosedResourceError):
        await client.receive_some()
    with pytest.raises(ClosedResourceError):
        await client.do_handshake()
    with pytest.raises(ClosedResourceError):
        await client.unwrap()
    with pytest.raises(ClosedResourceError):
        await client.wait_send_all_might_not_block()
    await server.aclose()


async def test_closing_with_unread_data_still_says_goodbye() -> None:
    client, server = await connected_pair()
    await server.send_all(b"never read")
    await server.send_all(b"and this neither")
    assert await client.receive_some(1) == b"n"
    await client.aclose()
    assert await server.receive_some() == b""


async def test_a_peer_that_is_gone_is_no_error_when_closing() -> None:
    client, server = await connected_pair()
    await server.transport_stream.aclose()
    await client.aclose()
    assert client.transport_stream.closed


async def test_an_error_of_the_transport_when_closing_comes_out_and_it_is_closed_once() -> None:
    client, _ = await connected_pair()
    calls = 0

    class Failing(Wire):
        async def aclose(self) -> None:
            nonlocal calls
            calls += 1
            raise KeyError

    client.transport_stream.__class__ = Failing
    with pytest.raises(KeyError):
        await client.aclose()
    assert calls == 1
    await client.aclose()
    assert calls == 1


async def test_a_handshake_that_fails_in_aclose_is_an_error_and_the_transport_closed() -> None:
    client, server = tls_pair(server=server_context(OF_ANOTHER_HOST))

    async def refuse() -> None:
        with pytest.raises(BrokenResourceError):
            await server.do_handshake()
            await server.receive_some()

    async with nursery.open_nursery() as n:
        n.start_soon(refuse)
        with pytest.raises(BrokenResourceError):
            await client.aclose()
    assert client.transport_stream.closed


async def test_closing_wakes_a_receiver_with_an_error() -> None:
    client, _ = await connected_pair()

    async def receive() -> None:
        with pytest.raises(ClosedResourceError):
            await client.receive_some()

    async with nursery.open_nursery() as n:
        n.start_soon(receive)
        await wait_all_tasks_blocked()
        await client.aclose()
