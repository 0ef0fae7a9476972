"""The TLS engine: its table of states, and what it makes of each kind of input."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from nursery import ClosedResourceError, NeedHandshakeError
from nursery.tls.engine import RECORD, Phase, Step, TLSEngine
from tests.tls.certificates import (
    HOST,
    OF_ANOTHER_HOST,
    VERSIONS,
    client_context,
    needs_nameless_clients,
    server_context,
)

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

DONE, NEED_INPUT = Step.DONE, Step.NEED_INPUT

pytestmark = pytest.mark.parametrize("version", VERSIONS)


def new_pair(
    version: ssl.TLSVersion, *, truncation_ok: bool = False, hold_tickets: bool = True
) -> tuple[TLSEngine, TLSEngine]:
    client = TLSEngine(client_context(version), server_hostname=HOST, truncation_ok=truncation_ok)
    server = TLSEngine(server_context(), server_side=True, truncation_ok=truncation_ok, hold_tickets=hold_tickets)
    return client, server


def carry(source: TLSEngine, target: TLSEngine) -> int:
    """Carry the output of one engine to the other, and return how many bytes that were."""
    output = source.take_output() if source.outgoing.pending else b""
    target.feed(output)
    return len(output)


def shake_hands(client: TLSEngine, server: TLSEngine) -> None:
    steps = [NEED_INPUT, NEED_INPUT]
    while steps != [DONE, DONE]:
        steps = [client.handshake(), server.handshake()]
        carry(client, server)
        carry(server, client)
    assert client.phase is server.phase is Phase.OPEN


def open_pair(version: ssl.TLSVersion, *, truncation_ok: bool = False) -> tuple[TLSEngine, TLSEngine]:
    """Two engines after the handshake."""
    client, server = new_pair(version, truncation_ok=truncation_ok)
    shake_hands(client, server)
    return client, server


def transfer(source: TLSEngine, target: TLSEngine, data: bytes) -> None:
    assert source.write(data) is DONE
    carry(source, target)


def read_all(engine: TLSEngine) -> bytes:
    data = b""
    while True:
        piece = engine.read(1 << 20)
        if not isinstance(piece, bytes):
            return data
        assert piece, "the peer has ended"
        data += piece


def phase_of(engine: TLSEngine) -> Phase:
    # A function, since for a type checker a phase seen before a call is the phase after it.
    return engine.phase


def is_starved(engine: TLSEngine) -> bool:
    return engine.starved


# Handshake


def test_a_new_engine_has_nothing_to_say(version: ssl.TLSVersion) -> None:
    client, server = new_pair(version)
    assert not client.outgoing.pending
    assert not server.outgoing.pending
    assert client.phase is server.phase is Phase.HANDSHAKE


def test_a_handshake_answers_need_input_until_the_peer_has_spoken(version: ssl.TLSVersion) -> None:
    client, server = new_pair(version)
    assert server.handshake() is NEED_INPUT
    assert not server.outgoing.pending
    assert client.handshake() is NEED_INPUT
    assert client.outgoing.pending
    assert client.handshake() is NEED_INPUT
    assert not client.handshake_done


def test_a_handshake_works_byte_by_byte(version: ssl.TLSVersion) -> None:
    client, server = new_pair(version)
    steps = {client: NEED_INPUT, server: NEED_INPUT}
    while set(steps.values()) != {DONE}:
        for engine, peer in ((client, server), (server, client)):
            steps[engine] = engine.handshake()
            for byte in engine.take_output() if engine.outgoing.pending else b"":
                peer.feed(bytes([byte]))
                steps[peer] = peer.handshake()
    transfer(client, server, b"hello")
    assert server.read(100) == b"hello"


def test_a_handshake_that_is_done_stays_done(version: ssl.TLSVersion) -> None:
    client, _ = open_pair(version)
    assert client.handshake() is DONE
    assert client.handshake_done
    assert not client.outgoing.pending


@pytest.mark.parametrize("operation", ["read", "write", "unwrap"])
def test_nothing_is_read_or_written_before_the_handshake(version: ssl.TLSVersion, operation: str) -> None:
    # OpenSSL would shake hands by itself then.
    client, _ = new_pair(version)
    call = {"read": lambda: client.read(1), "write": lambda: client.write(b"x"), "unwrap": client.unwrap}[operation]
    with pytest.raises(NeedHandshakeError, match=operation):
        call()
    assert not client.outgoing.pending


def test_a_certificate_for_another_host_breaks_the_client_and_its_alert_the_server(version: ssl.TLSVersion) -> None:
    client = TLSEngine(client_context(version), server_hostname=HOST)
    server = TLSEngine(server_context(OF_ANOTHER_HOST), server_side=True)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for 'server\.example'"):
        for _ in range(5):
            client.handshake()
            carry(client, server)
            server.handshake()
            carry(server, client)
    assert phase_of(client) is Phase.BROKEN
    assert carry(client, server)
    with pytest.raises(ssl.SSLError) as caught:
        server.handshake()
        server.read(1)
    assert "ALERT" in (caught.value.reason or "")


@needs_nameless_clients
def test_a_client_that_says_that_any_name_will_do_checks_none(version: ssl.TLSVersion) -> None:
    with pytest.raises(ValueError, match="server_hostname is needed"):
        TLSEngine(client_context(version), server_hostname="")
    client = TLSEngine(client_context(version), server_hostname="", any_name=True)
    server = TLSEngine(server_context(OF_ANOTHER_HOST), server_side=True)
    shake_hands(client, server)
    # A name that is given is checked all the same.
    client = TLSEngine(client_context(version), server_hostname=HOST, any_name=True)
    server = TLSEngine(server_context(OF_ANOTHER_HOST), server_side=True)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client, server)


def test_the_end_of_input_in_the_handshake_is_truncation_even_where_that_is_forgiven(version: ssl.TLSVersion) -> None:
    client, _ = new_pair(version, truncation_ok=True)
    assert client.handshake() is NEED_INPUT
    client.feed_eof()
    with pytest.raises(ssl.SSLEOFError):
        client.handshake()
    assert phase_of(client) is Phase.BROKEN
    assert client.truncated


def test_bytes_that_are_no_tls_break_the_handshake(version: ssl.TLSVersion) -> None:
    _, server = new_pair(version)
    server.feed(b"GET / HTTP/1.1\r\nHost: server.example\r\n\r\n")
    with pytest.raises(ssl.SSLError):
        server.handshake()
    assert phase_of(server) is Phase.BROKEN
    with pytest.raises(ssl.SSLError, match="failed before"):
        server.handshake()


# Session tickets


def test_session_tickets_wait_for_the_first_data(version: ssl.TLSVersion) -> None:
    client, server = open_pair(version)
    assert not server.outgoing.pending
    before = len(server._tickets)
    transfer(server, client, b"data")
    assert read_all(client) == b"data"
    assert client.ssl_object.session is not None
    assert client.ssl_object.session.has_ticket
    if version is ssl.TLSVersion.TLSv1_3:
        assert before
        assert not server._tickets


def test_session_tickets_go_out_at_once_if_they_are_not_held(version: ssl.TLSVersion) -> None:
    client, server = new_pair(version, hold_tickets=False)
    while server.handshake() is NEED_INPUT:
        carry(server, client)
        client.handshake()
        carry(client, server)
    assert server.outgoing.pending
    carry(server, client)
    assert client.handshake() is DONE
    assert client.read(10) is NEED_INPUT
    assert client.ssl_object.session is not None
    assert client.ssl_object.session.has_ticket


def test_a_session_can_be_resumed_with_a_held_ticket(version: ssl.TLSVersion) -> None:
    context, at_server = client_context(version), server_context()
    session = None
    for reused in (False, True):
        client, server = TLSEngine(context, server_hostname=HOST), TLSEngine(at_server, server_side=True)
        if session is not None:
            client.ssl_object.session = session
        shake_hands(client, server)
        transfer(server, client, b"x")
        assert read_all(client) == b"x"
        assert client.ssl_object.session_reused is reused
        session = client.ssl_object.session


# Data


@pytest.mark.parametrize("size", [1, 2, RECORD - 1, RECORD, RECORD + 1, 5 * RECORD, 1_000_003])
def test_data_of_any_size_arrives_whole(version: ssl.TLSVersion, size: int) -> None:
    client, server = open_pair(version)
    data = (bytes(range(251)) * (size // 251 + 1))[:size]
    transfer(client, server, data)
    assert read_all(server) == data


@pytest.mark.parametrize("form", [bytes, bytearray, memoryview])
def test_write_takes_any_form_of_bytes(version: ssl.TLSVersion, form: type) -> None:
    client, server = open_pair(version)
    assert client.write(form(b"some bytes")) is DONE
    carry(client, server)
    assert server.read(100) == b"some bytes"


def test_a_write_that_is_taken_in_parts_goes_on_where_it_stopped(version: ssl.TLSVersion) -> None:
    client, server = open_pair(version)
    whole = client._write
    calls = 0

    def part(data: ReadableBuffer) -> int:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise ssl.SSLWantReadError
        return whole(memoryview(data)[:4])

    client._write = part
    assert client.write(b"0123456789") is NEED_INPUT
    assert client.write(b"0123456789") is DONE
    assert client.write(b"abc") is DONE
    carry(client, server)
    assert read_all(server) == b"0123456789abc"


def test_read_returns_no_more_than_it_was_asked_for(version: ssl.TLSVersion) -> None:
    client, server = open_pair(version)
    transfer(client, server, b"0123456789")
    transfer(client, server, b"abc")
    assert server.read(4) == b"0123"
    assert not is_starved(server)
    assert server.read(6) == b"456789"
    assert server.read(100) == b"abc"
    assert server.read(100) is NEED_INPUT


def test_read_joins_the_records_that_are_there(version: ssl.TLSVersion) -> None:
    client, server = open_pair(version)
    for piece in (b"a", b"b" * RECORD, b"c"):
        transfer(client, server, piece)
    assert server.read(1 << 20) == b"a" + b"b" * RECORD + b"c"
    assert is_starved(server)


@pytest.mark.parametrize("size", [1, 100, RECORD - 1, RECORD, RECORD + 1, 200_000])
def test_read_into_fills_a_buffer_as_far_as_there_is_something(version: ssl.TLSVersion, size: int) -> None:
    client, server = open_pair(version)
    buffer = memoryview(bytearray(size))
    assert server.read_into(buffer) is NEED_INPUT
    assert is_starved(server)
    sent = bytes(range(256)) * (16 if size == 1 else 600)
    transfer(client, server, sent)
    got = bytearray()
    while not is_starved(server):
        count = server.read_into(buffer)
        assert isinstance(count, int)
        assert count == min(size, len(sent) - len(got))
        got += buffer[:count]
    assert got == sent
    assert server.read_into(buffer) is NEED_INPUT


def test_read_into_tells_the_end_and_errors_as_read_does(version: ssl.TLSVersion) -> None:
    buffer = memoryview(bytearray(100))
    client, server = new_pair(version)
    with pytest.raises(NeedHandshakeError):
        server.read_into(buffer)
    client, server = open_pair(version)
    client.write(b"last words")
    assert client.unwrap() is NEED_INPUT
    carry(client, server)
    assert server.read_into(buffer) == 10
    assert server.read_into(buffer) == server.read_into(buffer) == 0
    assert server.phase is Phase.ENDED
    client, server = open_pair(version)
    transfer(client, server, b"good")
    server.feed(b"\x17\x03\x03\x00\x20" + b"forged" * 10)
    assert server.read_into(buffer) == 4
    with pytest.raises(ssl.SSLError):
        server.read_into(buffer)
    assert phase_of(server) is Phase.BROKEN
    client, server = open_pair(version, truncation_ok=True)
    transfer(client, server, b"cut off")
    server.feed_eof()
    assert server.read_into(buffer) == 7
    assert server.read_into(buffer) == 0
    assert server.truncated
    client, server = open_pair(version)
    server.feed_eof()
    with pytest.raises(ssl.SSLEOFError):
        server.read_into(buffer)


def test_what_was_fed_and_not_looked_at_is_counted(version: ssl.TLSVersion) -> None:
    client, server = open_pair(version)
    read_all(server)
    assert client.write(b"x" * 100) is DONE
    output = client.take_output()
    server.feed(output)
    assert server.unread == len(output)
    assert server.read(100) == b"x" * 100
    assert server.unread == 0


def test_half_a_record_is_nothing_yet(version: ssl.TLSVersion) -> None:
    client, server = open_pair(version)
    client.write(b"first")
    client.write(b"second")
    ciphertext = client.take_output()
    for byte in ciphertext[:-1]:
        server.feed(bytes([byte]))
        assert server.read(100) in (NEED_INPUT, b"first")
    server.feed(ciphertext[-1:])
    assert server.read(100) == b"second"


def test_an_engine_is_starved_only_when_read_could_find_nothing(version: ssl.TLSVersion) -> None:
    client, server = open_pair(version)
    assert server.read(1) is NEED_INPUT
    assert is_starved(server)
    transfer(client, server, b"x" * (RECORD + 5))
    assert not is_starved(server)
    assert server.read(RECORD) == b"x" * RECORD
    assert not is_starved(server)
    assert server.read(5) == b"x" * 5
    assert is_starved(server)
    transfer(client, server, b"x" * 5)
    assert server.read(5) == b"x" * 5
    assert is_starved(server)


# Ends


def test_close_notify_is_the_end_and_stays_the_end(version: ssl.TLSVersion) -> None:
    client, server = open_pair(version)
    transfer(client, server, b"last words")
    assert client.unwrap() is NEED_INPUT
    assert phase_of(client) is Phase.CLOSING
    carry(client, server)
    assert server.read(100) == b"last words"
    assert server.read(100) == b""
    assert phase_of(server) is Phase.ENDED
    assert server.read(100) == b""
    assert not is_starved(server)


def test_a_side_that_was_told_goodbye_can_still_send(version: ssl.TLSVersion) -> None:
    client, server = open_pair(version)
    assert client.unwrap() is NEED_INPUT
    carry(client, server)
    assert server.read(1) == b""
    transfer(server, client, b"one thing more")
    assert client.read(100) == b"one thing more"


def test_a_side_that_said_goodbye_can_send_nothing_more(version: ssl.TLSVersion) -> None:
    client, server = open_pair(version)
    assert client.unwrap() is NEED_INPUT
    with pytest.raises(ClosedResourceError, match="close_notify"):
        client.write(b"x")
    assert phase_of(client) is Phase.CLOSING
    carry(client, server)
    assert server.unwrap() is DONE
    carry(server, client)
    assert client.read(1) == b""
    assert phase_of(client) is Phase.CLOSED
    assert client.read(1) == b""
    assert client.unwrap() is DONE
    with pytest.raises(ClosedResourceError):
        client.write(b"x")


def test_what_follows_close_notify_is_trailing_data_and_never_read(version: ssl.TLSVersion) -> None:
    client, server = open_pair(version)
    assert client.unwrap() is NEED_INPUT
    carry(client, server)
    assert server.unwrap() is DONE
    with pytest.raises(RuntimeError, match="CLOSING"):
        client.trailing_data()
    client.feed(server.take_output() + b"plain text")
    assert client.unwrap() is DONE
    client.feed(b", and more")
    assert client.read(100) == b""
    assert client.trailing_data() == b"plain text, and more"
    assert client.trailing_data() == b""


def test_data_in_place_of_the_answer_breaks_an_unwrap(version: ssl.TLSVersion) -> None:
    client, server = open_pair(version)
    assert client.unwrap() is NEED_INPUT
    transfer(server, client, b"not goodbye")
    with pytest.raises(ssl.SSLError):
        client.unwrap()
    assert phase_of(client) is Phase.BROKEN


def test_unread_data_does_not_keep_close_notify_back(version: ssl.TLSVersion) -> None:
    client, server = open_pair(version)
    transfer(server, client, b"never read")
    client.close_notify()
    carry(client, server)
    assert server.read(100) == b""


def test_close_notify_is_made_once_and_only_where_there_is_a_connection(version: ssl.TLSVersion) -> None:
    client, server = new_pair(version)
    client.close_notify()
    assert not client.outgoing.pending
    client, server = open_pair(version)
    client.close_notify()
    carry(client, server)
    client.close_notify()
    assert not client.outgoing.pending
    assert server.read(1) == b""
    server.close_notify()
    assert phase_of(server) is Phase.CLOSED


@pytest.mark.parametrize("option", [0, getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)])
def test_truncation_is_an_error_whatever_the_context_says(version: ssl.TLSVersion, option: int) -> None:
    context = client_context(version)
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", ssl.Options(0))
    context.options |= ssl.Options(option)
    client, server = TLSEngine(context, server_hostname=HOST), TLSEngine(server_context(), server_side=True)
    shake_hands(client, server)
    transfer(server, client, b"half of")
    client.feed_eof()
    assert client.read(100) == b"half of"
    assert not is_starved(client)
    with pytest.raises(ssl.SSLEOFError, match="close_notify"):
        client.read(100)
    assert phase_of(client) is Phase.BROKEN
    assert client.truncated


def test_truncation_is_the_end_where_that_is_allowed(version: ssl.TLSVersion) -> None:
    client, server = open_pair(version, truncation_ok=True)
    transfer(server, client, b"all of it")
    client.feed_eof()
    assert client.read(100) == b"all of it"
    assert client.read(100) == b""
    assert client.read(100) == b""
    assert client.truncated
    assert client.write(b"still open this way") is DONE


def test_the_end_of_input_in_the_middle_of_a_record_is_truncation(version: ssl.TLSVersion) -> None:
    client, server = open_pair(version)
    server.write(b"cut off")
    client.feed(server.take_output()[:-3])
    client.feed_eof()
    with pytest.raises(ssl.SSLEOFError):
        client.read(100)


def test_the_end_of_input_behind_close_notify_is_no_truncation(version: ssl.TLSVersion) -> None:
    client, server = open_pair(version)
    server.close_notify()
    carry(server, client)
    client.feed_eof()
    assert client.read(100) == b""
    assert client.unwrap() is DONE
    assert not client.truncated


def test_truncation_breaks_an_unwrap(version: ssl.TLSVersion) -> None:
    client, _ = open_pair(version)
    assert client.unwrap() is NEED_INPUT
    client.feed_eof()
    with pytest.raises(ssl.SSLEOFError):
        client.unwrap()
    client, _ = open_pair(version, truncation_ok=True)
    assert client.unwrap() is NEED_INPUT
    client.feed_eof()
    assert client.unwrap() is DONE


def test_nothing_can_be_fed_after_the_end(version: ssl.TLSVersion) -> None:
    client, _ = open_pair(version)
    client.feed_eof()
    with pytest.raises(RuntimeError, match="feed_eof"):
        client.feed(b"x")


# Errors


def test_an_error_behind_good_data_comes_after_the_data(version: ssl.TLSVersion) -> None:
    client, server = open_pair(version)
    client.write(b"good")
    good = client.take_output()
    client.write(b"bad")
    bad = bytearray(client.take_output())
    bad[-1] ^= 1
    server.feed(good + bad)
    assert server.read(100) == b"good"
    with pytest.raises(ssl.SSLError) as caught:
        server.read(100)
    assert caught.value.reason != "failed before"
    assert phase_of(server) is Phase.BROKEN
    assert server.outgoing.pending, "the alert"
    with pytest.raises(ssl.SSLError, match="failed before"):
        server.read(100)


@pytest.mark.parametrize("operation", ["handshake", "read", "write", "unwrap"])
def test_a_broken_engine_refuses_everything(version: ssl.TLSVersion, operation: str) -> None:
    client, _ = open_pair(version)
    client.feed(b"this is no TLS record at all")
    with pytest.raises(ssl.SSLError):
        client.read(100)
    client.take_output()
    calls = {
        "handshake": client.handshake,
        "read": lambda: client.read(1),
        "write": lambda: client.write(b"x"),
        "unwrap": client.unwrap,
    }
    with pytest.raises(ssl.SSLError, match="failed before"):
        calls[operation]()
    client.close_notify()
    assert not client.outgoing.pending


def test_a_replayed_record_is_an_error(version: ssl.TLSVersion) -> None:
    client, server = open_pair(version)
    client.write(b"pay 10")
    record = client.take_output()
    server.feed(record)
    assert server.read(100) == b"pay 10"
    server.feed(record)
    with pytest.raises(ssl.SSLError):
        server.read(100)
