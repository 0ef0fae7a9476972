"""What a cancelled operation leaves behind, in each phase of a connection."""

from __future__ import annotations

import ssl

import pytest

import nursery
from nursery import BrokenResourceError, Cancelled, ClosedResourceError
from nursery.resource import aclose_forcefully
from nursery.testing import wait_all_tasks_blocked
from tests.tls.certificates import VERSIONS
from tests.tls.wire import connected_pair, cut_short, shake_hands, tls_pair

each_version = pytest.mark.parametrize("version", VERSIONS)


async def test_a_handshake_that_is_cancelled_before_it_began_has_not_begun() -> None:
    client, server = tls_pair()
    with nursery.CancelScope() as scope:
        scope.cancel()
        await client.do_handshake()
    assert scope.cancelled_caught
    assert client.transport_stream.sent == []
    await shake_hands(client, server)


@each_version
@pytest.mark.parametrize("operation", ["do_handshake", "receive_some", "send_all", "unwrap"])
async def test_a_handshake_that_is_cut_short_breaks_the_stream(version: ssl.TLSVersion, operation: str) -> None:
    client, _ = tls_pair(version)
    arguments = (b"x",) if operation == "send_all" else ()
    await cut_short(getattr(client, operation), *arguments)
    assert client.transport_stream.sent
    for again in (client.do_handshake(), client.send_all(b"x"), client.receive_some(), client.unwrap()):
        with pytest.raises(BrokenResourceError):
            await again
    # A peer that did not answer then will not answer now: nothing is waited for.
    sent = len(client.transport_stream.sent)
    await client.aclose()
    assert client.transport_stream.closed
    assert len(client.transport_stream.sent) == sent


async def test_those_who_wait_for_a_handshake_learn_that_it_was_cut_short() -> None:
    client, _ = tls_pair()
    learned = 0

    async def wait() -> None:
        nonlocal learned
        with pytest.raises(BrokenResourceError):
            await client.receive_some()
        learned += 1

    async with nursery.open_nursery() as n:
        with nursery.CancelScope() as scope:
            async with nursery.open_nursery() as inner:
                inner.start_soon(client.do_handshake)
                await wait_all_tasks_blocked()
                n.start_soon(wait)
                await wait_all_tasks_blocked()
                scope.cancel()
    assert learned == 1


async def test_one_who_only_waits_for_a_handshake_can_be_cancelled_without_harm() -> None:
    client, server = tls_pair()
    async with nursery.open_nursery() as n:
        n.start_soon(client.do_handshake)
        await wait_all_tasks_blocked()
        await cut_short(client.receive_some)
        n.start_soon(server.do_handshake)
    await server.send_all(b"x")
    assert await client.receive_some() == b"x"


@each_version
async def test_a_cancelled_receive_has_taken_nothing(version: ssl.TLSVersion) -> None:
    client, server = await connected_pair(version)
    client.transport_stream.at_most = 10
    await server.send_all(b"longer than ten bytes of ciphertext")
    ciphertext = bytes(client.transport_stream.arrived)
    client.transport_stream.arrived.clear()
    for half in (ciphertext[:25], ciphertext[25:-1]):
        client.transport_stream.arrive(half)
        await cut_short(client.receive_some)
    client.transport_stream.arrive(ciphertext[-1:])
    assert await client.receive_some() == b"longer than ten bytes of ciphertext"


async def test_a_receive_in_a_cancelled_scope_takes_nothing_although_it_is_there() -> None:
    client, server = await connected_pair()
    await server.send_all(b"xyz")
    assert await client.receive_some(1) == b"x"
    with nursery.CancelScope() as scope:
        scope.cancel()
        await client.receive_some(1)
    assert scope.cancelled_caught
    assert await client.receive_some() == b"yz"


@each_version
async def test_a_send_that_is_cancelled_before_it_began_has_not_begun(version: ssl.TLSVersion) -> None:
    client, server = await connected_pair(version)
    with nursery.CancelScope() as scope:
        scope.cancel()
        await client.send_all(b"never sent")
    assert scope.cancelled_caught
    await client.send_all(b"sent")
    assert await server.receive_some() == b"sent"


@each_version
async def test_a_send_that_is_cut_short_breaks_the_stream(version: ssl.TLSVersion) -> None:
    client, _ = await connected_pair(version)
    client.transport_stream.clogged = True
    await cut_short(client.send_all, b"x")
    client.transport_stream.unclog()
    for again in (client.send_all(b"x"), client.receive_some(), client.wait_send_all_might_not_block()):
        with pytest.raises(BrokenResourceError):
            await again
    # Half a record and then a goodbye would be nonsense.
    await client.aclose()
    assert client.transport_stream.sent == []


async def test_waiting_for_room_can_be_cancelled_without_harm() -> None:
    client, server = await connected_pair()
    client.transport_stream.clogged = True
    await cut_short(client.wait_send_all_might_not_block)
    client.transport_stream.unclog()
    await client.send_all(b"x")
    assert await server.receive_some() == b"x"


async def test_an_unwrap_in_a_cancelled_scope_says_no_goodbye() -> None:
    client, server = await connected_pair()
    with nursery.CancelScope() as scope:
        scope.cancel()
        await client.unwrap()
    assert scope.cancelled_caught
    assert client.transport_stream.sent == []
    await client.send_all(b"x")
    assert await server.receive_some() == b"x"


@each_version
async def test_a_cancelled_aclose_closes_the_transport(version: ssl.TLSVersion) -> None:
    # In the goodbye, in the handshake before it, and at once.
    client, _ = await connected_pair(version)
    client.transport_stream.clogged = True
    await cut_short(client.aclose)
    assert client.transport_stream.closed

    client, _ = tls_pair(version)
    await cut_short(client.aclose)
    assert client.transport_stream.closed

    client, _ = await connected_pair(version)
    await aclose_forcefully(client)
    assert client.transport_stream.closed
    assert client.transport_stream.sent == []
    with pytest.raises(ClosedResourceError):
        await client.send_all(b"x")


async def test_closing_forcefully_ends_a_handshake_and_those_who_wait_for_it() -> None:
    client, _ = tls_pair()
    ended = 0

    async def shake() -> None:
        nonlocal ended
        with pytest.raises(ClosedResourceError):
            await client.do_handshake()
        ended += 1

    async with nursery.open_nursery() as n:
        n.start_soon(shake)
        n.start_soon(shake)
        await wait_all_tasks_blocked()
        await aclose_forcefully(client)
    assert ended == 2


async def test_a_cancelled_task_among_several_reports_cancelled_and_not_an_error_of_tls() -> None:
    client, _ = await connected_pair()
    client.transport_stream.clogged = True
    seen: list[type[BaseException]] = []

    async def send() -> None:
        try:
            await client.send_all(b"x")
        except BaseException as exc:
            seen.append(type(exc))
            raise

    await cut_short(send)
    assert len(seen) == 1
    assert issubclass(seen[0], Cancelled)
