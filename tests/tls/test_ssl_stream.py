"""TLS streams over a wire in memory: data, ends, errors, what is known of the connection."""

from __future__ import annotations

import array
import gc
import ssl
from pathlib import Path

import pytest

import nursery
from nursery import BrokenResourceError, BusyResourceError, ClosedResourceError, NeedHandshakeError
from nursery.abc import HalfCloseableStream
from nursery.testing import assert_checkpoints, wait_all_tasks_blocked
from nursery.tls.stream import PIECE, SSLStream
from tests.tls.certificates import (
    AUTHORITY,
    HOST,
    OF_A_CLIENT,
    OF_ANOTHER_HOST,
    VERSIONS,
    client_context,
    expired_certificate,
    self_signed_context,
    server_context,
)
from tests.tls.wire import Wire, connected_pair, receive_exactly, shake_hands, tls_pair, wire_pair

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


# Handshake


@each_version
async def test_the_first_use_shakes_hands(version: ssl.TLSVersion) -> None:
    client, server = tls_pair(version)
    async with nursery.open_nursery() as n:
        n.start_soon(server.receive_some)
        await client.send_all(b"x")
    assert client.version() == server.version() == version.name.replace("v1_", "v1.")


@each_version
async def test_all_who_want_the_handshake_share_one(version: ssl.TLSVersion) -> None:
    client, server = tls_pair(version)
    async with nursery.open_nursery() as n:
        for _ in range(3):
            n.start_soon(client.do_handshake)
            n.start_soon(server.do_handshake)
        n.start_soon(client.send_all, b"from the client")
        n.start_soon(server.send_all, b"from the server")
        assert await client.receive_some() == b"from the server"
        assert await server.receive_some() == b"from the client"


async def test_a_server_that_never_receives_after_the_handshake_does_not_fill_the_wire_with_tickets() -> None:
    client, server = tls_pair()
    await shake_hands(client, server)
    # Nothing is on its way to a client that may never receive.
    assert not client.transport_stream.arrived


async def check_that_both_fail(
    client: SSLStream[Wire], server: SSLStream[Wire], reason: str
) -> tuple[BaseException | None, BaseException | None]:
    causes: list[BaseException | None] = [None, None]

    async def fail(place: int, stream: SSLStream[Wire]) -> None:
        with pytest.raises(BrokenResourceError) as caught:
            await stream.do_handshake()
            await stream.receive_some()
        causes[place] = caught.value.__cause__
        with pytest.raises(BrokenResourceError):
            await stream.send_all(b"secret")
        with pytest.raises(BrokenResourceError):
            await stream.do_handshake()
        await stream.aclose()
        assert stream.transport_stream.closed

    async with nursery.open_nursery() as n:
        n.start_soon(fail, 0, client)
        n.start_soon(fail, 1, server)
    assert any(reason in str(cause) for cause in causes), causes
    assert not any(b"secret" in piece for piece in client.transport_stream.sent)
    return causes[0], causes[1]


@each_version
async def test_a_certificate_for_another_host_is_refused_and_the_server_told(version: ssl.TLSVersion) -> None:
    client, server = tls_pair(version, server=server_context(OF_ANOTHER_HOST))
    refused, told = await check_that_both_fail(client, server, "not valid for 'server.example'")
    assert isinstance(refused, ssl.SSLCertVerificationError)
    assert isinstance(told, ssl.SSLError)
    assert "ALERT" in (told.reason or "")


@each_version
async def test_an_expired_certificate_is_refused(version: ssl.TLSVersion) -> None:
    client, server = tls_pair(version, server=server_context(expired_certificate()))
    refused, told = await check_that_both_fail(client, server, "expired")
    assert isinstance(refused, ssl.SSLCertVerificationError)
    assert isinstance(told, ssl.SSLError)
    assert "EXPIRED" in (told.reason or "")


@each_version
async def test_a_self_signed_certificate_is_refused(version: ssl.TLSVersion, tmp_path: Path) -> None:
    client, server = tls_pair(version, server=self_signed_context(tmp_path))
    refused, _ = await check_that_both_fail(client, server, "self")
    assert isinstance(refused, ssl.SSLCertVerificationError)


@each_version
async def test_a_client_without_the_certificate_that_is_required_is_refused(version: ssl.TLSVersion) -> None:
    demanding = server_context()
    demanding.verify_mode = ssl.CERT_REQUIRED
    AUTHORITY.configure_trust(demanding)
    client, server = tls_pair(version, server=demanding)
    told, refused = await check_that_both_fail(client, server, "peer did not return a certificate")
    assert isinstance(told, ssl.SSLError)
    assert "ALERT" in (told.reason or "")
    assert isinstance(refused, ssl.SSLError)


@each_version
async def test_a_client_that_shows_its_certificate_is_known_to_the_server(version: ssl.TLSVersion) -> None:
    demanding = server_context()
    demanding.verify_mode = ssl.CERT_REQUIRED
    AUTHORITY.configure_trust(demanding)
    known = client_context(version)
    OF_A_CLIENT.configure_cert(known)
    client, server = tls_pair(version, client=known, server=demanding)
    await shake_hands(client, server)
    certificate = server.getpeercert()
    assert certificate is not None
    assert ("email", "client@server.example") in certificate["subjectAltName"]


async def test_versions_that_have_nothing_in_common_are_an_error() -> None:
    modern = server_context()
    modern.minimum_version = ssl.TLSVersion.TLSv1_3
    client, server = tls_pair(ssl.TLSVersion.TLSv1_2, server=modern)
    await check_that_both_fail(client, server, "PROTOCOL")


async def test_bytes_that_are_no_tls_break_a_server() -> None:
    left, right = wire_pair()
    server = SSLStream(right, server_context(), server_side=True)
    await left.send_all(b"GET / HTTP/1.1\r\nHost: server.example\r\n\r\n")
    with pytest.raises(BrokenResourceError) as caught:
        await server.receive_some()
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    await server.aclose()
    assert right.closed


async def test_a_server_that_speaks_no_tls_breaks_a_client() -> None:
    left, right = wire_pair()
    client = SSLStream(left, client_context(), server_hostname=HOST)
    await right.send_all(b"220 mail.example ESMTP\r\n")
    with pytest.raises(BrokenResourceError):
        await client.send_all(b"x")


async def test_the_alert_of_a_failed_handshake_is_not_sent_where_nobody_takes_it() -> None:
    left, right = wire_pair()
    server = SSLStream(right, server_context(), server_side=True)
    await left.send_all(b"no TLS here, and goodbye")
    await left.aclose()
    with pytest.raises(BrokenResourceError) as caught:
        await server.do_handshake()
    assert isinstance(caught.value.__cause__, ssl.SSLError)


async def test_a_host_name_is_needed_where_it_is_checked() -> None:
    left, _ = wire_pair()
    # OpenSSL would check no name then, and anybody's certificate would do.
    for nothing in (None, "", b""):
        with pytest.raises(ValueError, match="hostname"):
            SSLStream(left, client_context(), server_hostname=nothing)
    careless = client_context()
    careless.check_hostname = False
    SSLStream(left, careless)


async def test_an_address_can_be_what_the_certificate_names() -> None:
    client, server = tls_pair(host="127.0.0.1")
    await shake_hands(client, server)
    assert client.server_hostname == "127.0.0.1"


@pytest.mark.parametrize("host", ["server.example", b"server.example"])
async def test_a_host_name_may_be_bytes(host: str | bytes) -> None:
    client, server = tls_pair(host=host)
    await shake_hands(client, server)
    assert client.server_hostname == "server.example"


# Ends


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


# What is known of the connection


KNOWN_AFTER_THE_HANDSHAKE = (
    "cipher",
    "compression",
    "get_channel_binding",
    "getpeercert",
    "selected_alpn_protocol",
    "shared_ciphers",
    "version",
)


@pytest.mark.parametrize("name", KNOWN_AFTER_THE_HANDSHAKE)
async def test_what_the_handshake_tells_is_asked_for_after_it(name: str) -> None:
    client, server = tls_pair(ssl.TLSVersion.TLSv1_2)
    for stream in (client, server):
        with pytest.raises(NeedHandshakeError, match=name):
            getattr(stream, name)()
    await shake_hands(client, server)
    for stream in (client, server):
        assert getattr(stream, name)() == getattr(stream._engine.ssl_object, name)()
    await client.aclose()
    assert client.version() == "TLSv1.2"


async def test_whether_a_session_was_resumed_is_known_after_the_handshake() -> None:
    context, at_server = client_context(), server_context()
    client, server = tls_pair(client=context, server=at_server)
    with pytest.raises(NeedHandshakeError):
        _ = client.session_reused
    await shake_hands(client, server)
    await server.send_all(b"the tickets go along")
    await client.receive_some()
    assert client.session_reused is False
    again, server = tls_pair(client=context, server=at_server)
    assert client.session is not None
    again.session = client.session
    await shake_hands(again, server)
    assert again.session_reused is True


async def test_a_tls_1_3_client_binds_its_channel_as_the_server_does() -> None:
    client, server = await connected_pair()
    assert client.get_channel_binding() == server.get_channel_binding()
    with pytest.raises(ValueError, match="nonsense"):
        client.get_channel_binding("nonsense")


@each_version
async def test_the_peers_certificate_is_there_in_both_forms(version: ssl.TLSVersion) -> None:
    client, server = await connected_pair(version)
    certificate = client.getpeercert()
    assert certificate is not None
    assert ("DNS", HOST) in certificate["subjectAltName"]
    in_binary = client.getpeercert(True)
    assert isinstance(in_binary, bytes)
    assert server.getpeercert() is None


async def test_the_application_protocol_is_agreed_on() -> None:
    clients, servers = client_context(), server_context()
    clients.set_alpn_protocols(["h2", "http/1.1"])
    servers.set_alpn_protocols(["http/1.1"])
    client, server = tls_pair(client=clients, server=servers)
    await shake_hands(client, server)
    assert client.selected_alpn_protocol() == server.selected_alpn_protocol() == "http/1.1"


async def test_a_server_can_choose_the_context_by_the_name_that_it_is_asked_for() -> None:
    servers = server_context(OF_ANOTHER_HOST)
    fitting = server_context()
    names: list[str | None] = []

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        names.append(name)
        connection.context = fitting

    servers.sni_callback = choose  # type: ignore[assignment]  # typeshed: an SSLSocket, where here it is an SSLObject
    client, server = tls_pair(server=servers)
    await shake_hands(client, server)
    assert names == [HOST]
    assert server.context is fitting


async def test_attributes_are_those_of_the_connection() -> None:
    context = client_context()
    client, server = tls_pair(client=context)
    assert client.context is context
    assert client.server_side is False
    assert server.server_side is True
    assert client.server_hostname == HOST
    assert server.server_hostname is None
    assert client.session is None
    assert {"context", "cipher", "transport_stream"} <= set(dir(client))
    with pytest.raises(AttributeError):
        client.server_side = True  # type: ignore[misc]  # the misuse under test
    with pytest.raises(AttributeError):
        client.nonsense  # type: ignore[attr-defined]  # the misuse under test
    # What would go past the stream is not there.
    for name in ("read", "write"):
        assert not hasattr(client, name)


async def test_a_context_that_is_set_before_the_handshake_is_the_one_that_counts() -> None:
    client, server = tls_pair()
    client.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    await check_that_both_fail(client, server, "unable to get local issuer certificate")


async def test_what_only_newer_pythons_know_is_passed_on() -> None:
    client, server = tls_pair()
    name = "get_verified_chain"
    if not hasattr(ssl.SSLObject, name):
        assert not hasattr(client, name)
        return
    with pytest.raises(NeedHandshakeError):
        getattr(client, name)
    await shake_hands(client, server)
    assert getattr(client, name)()


async def test_a_broken_connection_leaves_no_cyclic_garbage() -> None:
    async def break_one() -> None:
        client, server = await connected_pair()
        client.transport_stream.tamper = lambda data: b"nonsense" * 3
        await client.send_all(b"x")
        with pytest.raises(BrokenResourceError):
            await server.receive_some()
        client.transport_stream.tamper = bytes
        for stream in (client, server):
            await stream.aclose()
            # The wire's two ends refer to each other.
            del stream.transport_stream.peer

    await break_one()
    gc.collect()
    gc.disable()
    try:
        await break_one()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        assert not [thing for thing in gc.garbage if isinstance(thing, SSLStream | ssl.SSLObject | BaseException)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
