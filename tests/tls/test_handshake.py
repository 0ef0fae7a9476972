"""Agreeing on keys, checking certificates, and what is known of the connection after it."""

from __future__ import annotations

import gc
import ssl
from pathlib import Path

import pytest

import nursery
from nursery import BrokenResourceError, NeedHandshakeError
from nursery.tls.stream import SSLStream
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
from tests.tls.wire import Wire, connected_pair, shake_hands, tls_pair, wire_pair

each_version = pytest.mark.parametrize("version", VERSIONS)


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

    servers.sni_callback = choose
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
