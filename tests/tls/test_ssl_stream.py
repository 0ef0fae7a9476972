"""TLS streams over a wire in memory: data, checkpoints, errors, conflicts."""

from __future__ import annotations

import array
import ssl

import pytest

import nursery
from nursery import BrokenResourceError, BusyResourceError
from nursery.testing import assert_checkpoints, wait_all_tasks_blocked
from nursery.tls.stream import PIECE, SSLStream
from tests.tls.certificates import (
    HOST,
    VERSIONS,
    client_context,
    server_context,
)
from tests.tls.wire import Wire, connected_pair, receive_exactly, tls_pair

each_version = pytest.mark.parametrize("version", VERSIONS)


# Data


@each_version
async def test_what_is_sent_arrives_in_both_directions(version: ssl.TLSVersion) -> None:
    client, server = tls_pair(version)

    async def answer() -> None:
        assert await server.receive_some() == b"ping"
        await server.send_all(b"pong")

    async with nursery.open_nursery() as n:
        n.start_soon(answer)
        await client.send_all(b"ping")
        assert await client.receive_some() == b"pong"
    assert not any(b"ping" in piece for piece in client.transport_stream.sent)


@each_version
@pytest.mark.parametrize("at_most", [1, 7, None])
async def test_a_wire_that_splits_anywhere_changes_nothing(version: ssl.TLSVersion, at_most: int | None) -> None:
    client, server = tls_pair(version)
    client.transport_stream.at_most = server.transport_stream.at_most = at_most
    data = bytes(range(256)) * 80

    async def answer() -> None:
        await server.send_all(await receive_exactly(server, len(data)))
        assert await server.receive_some() == b""
        await server.aclose()

    async with nursery.open_nursery() as n:
        n.start_soon(answer)
        await client.send_all(data)
        assert await receive_exactly(client, len(data)) == data
        await client.aclose()


@each_version
async def test_one_message_is_one_send_and_one_receive(version: ssl.TLSVersion) -> None:
    client, server = await connected_pair(version)
    for size in (1, 1000, 60_000):
        await client.send_all(b"x" * size)
        assert await server.receive_some() == b"x" * size
        await server.send_all(b"y" * size)
        assert await client.receive_some() == b"y" * size
    assert len(client.transport_stream.sent) == len(server.transport_stream.sent) == 3
    assert client.transport_stream.receives == server.transport_stream.receives == 3


async def test_large_data_is_encrypted_in_pieces() -> None:
    client, server = await connected_pair()
    data = bytes(range(256)) * (PIECE // 100)
    async with nursery.open_nursery() as n:
        n.start_soon(client.send_all, data)
        assert await receive_exactly(server, len(data)) == data
    assert len(client.transport_stream.sent) == -(-len(data) // PIECE)


async def test_records_are_as_long_as_they_may_be() -> None:
    client, server = await connected_pair()
    await client.send_all(bytes(160 * 1024))
    [ciphertext] = client.transport_stream.sent
    assert len(ciphertext) < 160 * 1024 + 10 * 40
    await receive_exactly(server, 160 * 1024)


@pytest.mark.parametrize(
    "data", [bytearray(b"abcd"), memoryview(b"abcd"), memoryview(array.array("H", [1, 2, 3]))], ids=repr
)
async def test_send_all_takes_any_form_of_bytes(data: bytearray | memoryview) -> None:
    client, server = await connected_pair()
    await client.send_all(data)
    assert await server.receive_some() == bytes(data)


async def test_a_large_view_of_wider_items_is_sent_whole() -> None:
    client, server = await connected_pair()
    data = array.array("Q", range(100_000))
    async with nursery.open_nursery() as n:
        n.start_soon(client.send_all, memoryview(data))
        assert await receive_exactly(server, len(data) * 8) == data.tobytes()


@each_version
async def test_sending_nothing_sends_nothing(version: ssl.TLSVersion) -> None:
    # To OpenSSL an empty write is something else.
    client, server = await connected_pair(version)
    with assert_checkpoints():
        await client.send_all(b"")
    await client.send_all(memoryview(b""))
    assert client.transport_stream.sent == []
    await client.send_all(b"x")
    assert await server.receive_some() == b"x"


async def test_receive_some_returns_no_more_than_it_was_asked_for() -> None:
    client, server = await connected_pair()
    await client.send_all(b"0123456789")
    assert await server.receive_some(4) == b"0123"
    assert server.pending() == 6
    assert await server.receive_some(100) == b"456789"
    assert server.transport_stream.receives == 1


@pytest.mark.parametrize("max_bytes", [0, -1])
async def test_receiving_less_than_a_byte_is_refused(max_bytes: int) -> None:
    client, _ = tls_pair()
    with pytest.raises(ValueError, match="max_bytes"):
        await client.receive_some(max_bytes)
    with pytest.raises(TypeError):
        await client.receive_some(1.5)  # type: ignore[arg-type]  # the misuse under test
    assert client.transport_stream.sent == []


async def test_a_stream_can_be_iterated_over() -> None:
    client, server = await connected_pair()

    async def send() -> None:
        for piece in (b"a", b"b", b"c"):
            await client.send_all(piece)
        await client.aclose()

    async with nursery.open_nursery() as n:
        n.start_soon(send)
        assert b"".join([bytes(piece) async for piece in server]) == b"abc"


async def test_tls_works_over_tls() -> None:
    client, server = tls_pair()
    inner_client = SSLStream(client, client_context(), server_hostname=HOST)
    inner_server = SSLStream(server, server_context(), server_side=True)

    async def answer() -> None:
        assert await inner_server.receive_some() == b"ping"
        await inner_server.send_all(b"pong")
        assert await inner_server.receive_some() == b""
        await inner_server.aclose()

    async with nursery.open_nursery() as n:
        n.start_soon(answer)
        await inner_client.send_all(b"ping")
        assert await inner_client.receive_some() == b"pong"
        await inner_client.aclose()
    assert client.transport_stream.closed


# Checkpoints


@each_version
async def test_every_method_is_a_checkpoint(version: ssl.TLSVersion) -> None:
    client, server = tls_pair(version)

    async def answer() -> None:
        with assert_checkpoints():
            await server.do_handshake()
        await server.send_all(b"xy")
        assert await server.receive_some() == b"x"
        assert await server.receive_some() == b""
        await server.unwrap()

    async with nursery.open_nursery() as n:
        n.start_soon(answer)
        with assert_checkpoints():
            await client.do_handshake()
        with assert_checkpoints():
            await client.do_handshake()
        with assert_checkpoints():
            await client.wait_send_all_might_not_block()
        with assert_checkpoints():
            await client.send_all(b"x")
        with assert_checkpoints():
            await client.receive_some(1)
        with assert_checkpoints():
            # It is there already.
            await client.receive_some(1)
        with assert_checkpoints():
            await client.unwrap()
        with assert_checkpoints():
            await client.aclose()


async def test_a_receiver_whose_data_is_all_there_lets_others_run() -> None:
    client, server = await connected_pair()
    await client.send_all(b"x" * 100)
    seen: list[int] = []

    async def look() -> None:
        while len(seen) < 3:
            seen.append(server.pending())
            await nursery.lowlevel.checkpoint()

    async with nursery.open_nursery() as n:
        n.start_soon(look)
        for _ in range(100):
            await server.receive_some(1)
        assert len(seen) >= 3


# Errors


@each_version
async def test_a_record_that_was_changed_on_the_way_is_an_error_behind_the_data_before_it(
    version: ssl.TLSVersion,
) -> None:
    client, server = await connected_pair(version)
    await client.send_all(b"good")
    client.transport_stream.tamper = lambda data: data[:-1] + bytes([data[-1] ^ 1])
    await client.send_all(b"bad")
    assert await server.receive_some() == b"good"
    with pytest.raises(BrokenResourceError) as caught:
        await server.receive_some()
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    # The peer hears of it.
    with pytest.raises(BrokenResourceError) as caught:
        await client.receive_some()
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    assert "ALERT" in (caught.value.__cause__.reason or "")


async def test_an_error_of_the_transport_in_a_send_breaks_the_stream() -> None:
    client, _ = await connected_pair()

    class Failing(Wire):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            raise KeyError

    client.transport_stream.__class__ = Failing
    with pytest.raises(KeyError):
        await client.send_all(b"x")
    for operation in (client.send_all(b"x"), client.receive_some(), client.wait_send_all_might_not_block()):
        with pytest.raises(BrokenResourceError):
            await operation
    # A goodbye would make no sense to the peer.
    await client.aclose()
    assert client.transport_stream.closed


async def test_an_error_of_the_transport_in_a_receive_leaves_the_stream_as_it_is() -> None:
    client, server = await connected_pair()
    wire = client.transport_stream

    class Failing(Wire):
        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            raise KeyError

    wire.__class__ = Failing
    with pytest.raises(KeyError):
        await client.receive_some()
    wire.__class__ = Wire
    await server.send_all(b"x")
    assert await client.receive_some() == b"x"


@pytest.mark.parametrize("method", ["send_all", "receive_some"])
async def test_an_error_of_the_transport_in_the_handshake_breaks_the_stream(method: str) -> None:
    client, _ = tls_pair()

    async def fail(self: Wire, *_args: object) -> None:
        raise KeyError

    client.transport_stream.__class__ = type("Failing", (Wire,), {method: fail})
    with pytest.raises(KeyError):
        await client.do_handshake()
    with pytest.raises(BrokenResourceError):
        await client.do_handshake()


# Conflicts


async def test_a_second_task_in_the_same_direction_is_refused_also_in_the_handshake() -> None:
    client, _ = tls_pair()

    async def refused() -> None:
        await wait_all_tasks_blocked()
        with pytest.raises(BusyResourceError, match="another task"):
            await client.send_all(b"x")
        with pytest.raises(BusyResourceError, match="another task"):
            await client.wait_send_all_might_not_block()
        with pytest.raises(BusyResourceError, match="another task"):
            await client.receive_some()
        with pytest.raises(BusyResourceError, match="another task"):
            await client.unwrap()
        n.cancel_scope.cancel()

    async with nursery.open_nursery() as n:
        n.start_soon(client.send_all, b"x")
        n.start_soon(client.receive_some)
        n.start_soon(refused)


async def test_a_refused_task_leaves_the_other_alone() -> None:
    client, server = await connected_pair()
    async with nursery.open_nursery() as n:

        async def receive() -> None:
            assert await client.receive_some() == b"x"

        n.start_soon(receive)
        await wait_all_tasks_blocked()
        with pytest.raises(BusyResourceError):
            await client.receive_some()
        with pytest.raises(BusyResourceError):
            await client.unwrap()
        await server.send_all(b"x")
    await client.send_all(b"y")
    assert await server.receive_some() == b"y"


async def test_two_tasks_that_wait_for_room_are_one_too_many() -> None:
    client, _ = await connected_pair()
    client.transport_stream.clogged = True
    async with nursery.open_nursery() as n:
        n.start_soon(client.wait_send_all_might_not_block)
        await wait_all_tasks_blocked()
        with pytest.raises(BusyResourceError):
            await client.wait_send_all_might_not_block()
        client.transport_stream.unclog()
