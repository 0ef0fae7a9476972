"""Real peers over real sockets: the standard library's `ssl.SSLSocket`, and the program `openssl`."""

from __future__ import annotations

import contextlib
import functools
import socket as stdlib_socket
import ssl
import threading
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

import nursery
from nursery import BrokenResourceError
from nursery.network.listener import SocketListener
from nursery.network.sockets import from_stdlib_socket
from nursery.network.stream import SocketStream
from nursery.testing import wait_all_tasks_blocked
from nursery.tls.connect import open_ssl_over_tcp_stream
from nursery.tls.listener import SSLListener
from nursery.tls.serve import open_ssl_over_tcp_listeners
from nursery.tls.stream import SSLStream
from tests.tls.certificates import HOST, OF_ANOTHER_HOST, VERSIONS, client_context, server_context
from tests.tls.gate import Gate
from tests.tls.openssl import needs_openssl, s_client, s_server
from tests.tls.wire import cut_short, receive_exactly

each_version = pytest.mark.parametrize("version", VERSIONS)

SECONDS = 10.0  # a peer in a thread gives up after that
MEGABYTE = bytes(range(256)) * 4096


@contextlib.contextmanager
def peer(act: Callable[[stdlib_socket.socket], None]) -> Generator[SocketStream, None, None]:
    """Let `act(socket)` play the other side in a thread; its error, if it has one, is raised at the end."""
    near, far = stdlib_socket.socketpair()
    far.settimeout(SECONDS)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with far:
                act(far)
        except BaseException as exc:
            errors.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        with near:
            yield SocketStream(from_stdlib_socket(near))
    finally:
        thread.join()
    if errors:
        raise errors[0]


def at_server(context: ssl.SSLContext, act: Callable[[ssl.SSLSocket], None]) -> Callable[[stdlib_socket.socket], None]:
    def run(sock: stdlib_socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True, suppress_ragged_eofs=False) as tls:
            act(tls)

    return run


def at_client(context: ssl.SSLContext, act: Callable[[ssl.SSLSocket], None]) -> Callable[[stdlib_socket.socket], None]:
    def run(sock: stdlib_socket.socket) -> None:
        with context.wrap_socket(sock, server_hostname=HOST, suppress_ragged_eofs=False) as tls:
            act(tls)

    return run


def echo(tls: ssl.SSLSocket) -> None:
    while data := tls.recv(100_000):
        tls.sendall(data)
    with contextlib.suppress(OSError):
        # Which of the two has gone first is left open.
        tls.unwrap()


def port_of(listener: SSLListener[SocketStream]) -> int:
    assert isinstance(listener.transport_listener, SocketListener)
    port = listener.transport_listener.socket.getsockname()[1]
    assert isinstance(port, int)
    return port


# ssl.SSLSocket


@each_version
async def test_a_client_talks_to_the_standard_librarys_server(version: ssl.TLSVersion) -> None:
    with peer(at_server(server_context(), echo)) as transport:
        async with SSLStream(transport, client_context(version), server_hostname=HOST) as stream:
            await stream.send_all(b"ping")
            assert await stream.receive_some() == b"ping"
            async with nursery.open_nursery() as n:
                n.start_soon(stream.send_all, MEGABYTE)
                assert await receive_exactly(stream, len(MEGABYTE)) == MEGABYTE


@each_version
async def test_a_server_talks_to_the_standard_librarys_client(version: ssl.TLSVersion) -> None:
    def ask(tls: ssl.SSLSocket) -> None:
        tls.sendall(b"ping")
        assert tls.recv(100) == b"pong"
        tls.unwrap()

    with peer(at_client(client_context(version), ask)) as transport:
        async with SSLStream(transport, server_context(), server_side=True) as stream:
            assert await stream.receive_some() == b"ping"
            await stream.send_all(b"pong")
            assert await stream.receive_some() == b""


@each_version
async def test_a_client_unwraps_with_the_standard_librarys_server(version: ssl.TLSVersion) -> None:
    def answer(tls: ssl.SSLSocket) -> None:
        assert tls.recv(100) == b"ping"
        assert tls.recv(100) == b""
        plain = tls.unwrap()
        plain.sendall(b"in the clear")
        assert plain.recv(100) == b"likewise"
        plain.close()

    with peer(at_server(server_context(), answer)) as transport:
        stream = SSLStream(transport, client_context(version), server_hostname=HOST)
        await stream.send_all(b"ping")
        plain, trailing = await stream.unwrap()
        assert plain is transport
        assert trailing + await receive_exactly(plain, len(b"in the clear") - len(trailing)) == b"in the clear"
        await plain.send_all(b"likewise")


@each_version
async def test_the_standard_librarys_server_that_just_leaves_has_truncated(version: ssl.TLSVersion) -> None:
    def leave(tls: ssl.SSLSocket) -> None:
        tls.sendall(b"half of")
        # So that what was sent is not lost in a reset.
        tls.recv(100)

    with peer(at_server(server_context(), leave)) as transport:
        stream = SSLStream(transport, client_context(version), server_hostname=HOST)
        assert await stream.receive_some() == b"half of"
        await stream.send_all(b"x")
        with pytest.raises(BrokenResourceError) as caught:
            await stream.receive_some()
        assert isinstance(caught.value.__cause__, ssl.SSLEOFError)
        await stream.aclose()


async def test_the_standard_librarys_server_is_told_that_its_certificate_is_no_good() -> None:
    def fail(sock: stdlib_socket.socket) -> None:
        # In TLS 1.3 the server has finished when the alert comes.
        with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
            at_server(server_context(OF_ANOTHER_HOST), lambda tls: print(tls.recv(1)))(sock)

    with peer(fail) as transport:
        stream = SSLStream(transport, client_context(), server_hostname=HOST)
        with pytest.raises(BrokenResourceError, match="not valid for"):
            await stream.do_handshake()
        await stream.aclose()


async def test_a_client_that_only_sends_is_not_blocked_by_session_tickets() -> None:
    # Nobody reads what the server has to say, and its side of the wire is full.
    def send(tls: ssl.SSLSocket) -> None:
        tls.sendall(MEGABYTE)
        tls.unwrap()

    with peer(at_client(client_context(), send)) as transport:
        async with SSLStream(transport, server_context(), server_side=True) as stream:
            assert await receive_exactly(stream, len(MEGABYTE)) == MEGABYTE
            assert await stream.receive_some() == b""


# The program openssl


@needs_openssl
@each_version
async def test_a_client_talks_to_openssl_s_server(version: ssl.TLSVersion, tmp_path: Path) -> None:
    with s_server(tmp_path, "-rev") as (_, port):
        transport = await nursery.open_tcp_stream("127.0.0.1", port)
        async with SSLStream(transport, client_context(version), server_hostname=HOST) as stream:
            await stream.send_all(b"forwards\n")
            assert await receive_exactly(stream, 9) == b"sdrawrof\n"
            assert stream.version() == version.name.replace("v1_", "v1.")


@needs_openssl
@each_version
async def test_a_server_talks_to_openssl_s_client(version: ssl.TLSVersion, tmp_path: Path) -> None:
    [listener] = await open_ssl_over_tcp_listeners(0, server_context(), host="127.0.0.1")
    port = port_of(listener)
    async with listener:
        options = ("-tls1_2",) if version is ssl.TLSVersion.TLSv1_2 else ("-tls1_3",)
        with s_client(tmp_path, port, "-quiet", *options) as client:
            stream = await listener.accept()
            client.type(b"hello")
            assert await receive_exactly(stream, 6) == b"hello\n"
            await stream.send_all(b"hello yourself")
            await stream.aclose()
            # It ends because it was told goodbye.
            await nursery.to_thread.run_sync(client.read_until, b"hello yourself$")
            assert await nursery.to_thread.run_sync(client.process.wait, SECONDS) == 0


@needs_openssl
async def test_openssl_s_client_refuses_a_certificate_for_another_host(tmp_path: Path) -> None:
    [listener] = await open_ssl_over_tcp_listeners(0, server_context(OF_ANOTHER_HOST), host="127.0.0.1")
    port = port_of(listener)
    async with listener:
        with s_client(tmp_path, port, "-quiet") as client:
            async with await listener.accept() as stream:
                with pytest.raises(BrokenResourceError) as caught:
                    await stream.do_handshake()
                    await stream.receive_some()
                assert isinstance(caught.value.__cause__, ssl.SSLError)
                assert "ALERT" in (caught.value.__cause__.reason or "")
            assert await nursery.to_thread.run_sync(client.process.wait, SECONDS) != 0


@needs_openssl
@pytest.mark.parametrize("letter", [b"k", b"K"], ids=["new keys of the server's", "new keys of both"])
async def test_new_keys_in_the_middle_of_a_connection_are_nobodys_business(letter: bytes, tmp_path: Path) -> None:
    with s_server(tmp_path) as (server, port):
        gate = Gate(await nursery.open_tcp_stream("127.0.0.1", port))
        async with SSLStream(gate, client_context(), server_hostname=HOST) as stream:
            await stream.do_handshake()
            # The session tickets, in however many pieces.
            server.type(b"go")
            assert await receive_exactly(stream, 3) == b"go\n"
            for _ in range(3):
                receives = gate.receives
                async with nursery.open_nursery() as n:

                    async def receive() -> None:
                        assert await receive_exactly(stream, 6) == b"hello\n"

                    n.start_soon(receive)
                    server.type(letter)
                    await gate.until(lambda: gate.receives > receives)  # noqa: B023  # awaited in the same round
                    server.type(b"hello")
                await stream.send_all(b"hello yourself\n")
                await nursery.to_thread.run_sync(server.read_until, b"hello yourself\n")


@needs_openssl
async def test_a_receive_answers_a_request_for_a_certificate_after_the_handshake(tmp_path: Path) -> None:
    context = client_context()
    context.post_handshake_auth = True
    with s_server(tmp_path, "-verify", "1") as (server, port):
        gate = Gate(await nursery.open_tcp_stream("127.0.0.1", port))
        async with SSLStream(gate, context, server_hostname=HOST) as stream:
            await stream.do_handshake()
            sends = gate.sends
            async with nursery.open_nursery() as n:

                async def receive() -> None:
                    assert await receive_exactly(stream, 6) == b"hello\n"

                n.start_soon(receive)
                server.type(b"c")
                await gate.until(lambda: gate.sends > sends)
                server.type(b"hello")
            await stream.send_all(b"hello yourself\n")
            await nursery.to_thread.run_sync(server.read_until, b"hello yourself\n")


@needs_openssl
async def test_data_goes_behind_an_answer_that_is_stuck(tmp_path: Path) -> None:
    # Two tasks send on one transport then, in the order of the records.
    context = client_context()
    context.post_handshake_auth = True
    with s_server(tmp_path, "-verify", "1") as (server, port):
        gate = Gate(await nursery.open_tcp_stream("127.0.0.1", port))
        async with SSLStream(gate, context, server_hostname=HOST) as stream:
            await stream.do_handshake()
            sends = gate.sends
            gate.hold_sends()
            async with nursery.open_nursery() as n:

                async def receive() -> None:
                    assert await receive_exactly(stream, 6) == b"hello\n"

                n.start_soon(receive)
                server.type(b"c")
                await gate.until(lambda: gate.sends > sends)
                n.start_soon(stream.send_all, b"behind it\n")
                await wait_all_tasks_blocked()
                assert gate.sends == sends + 1
                gate.open()
                await nursery.to_thread.run_sync(server.read_until, b"behind it\n")
                server.type(b"hello")


@needs_openssl
async def test_data_is_not_lost_with_the_answer_to_something_else(tmp_path: Path) -> None:
    context = client_context()
    context.post_handshake_auth = True
    with s_server(tmp_path, "-verify", "1") as (server, port):
        gate = Gate(await nursery.open_tcp_stream("127.0.0.1", port))
        stream = SSLStream(gate, context, server_hostname=HOST)
        await stream.do_handshake()
        server.type(b"go")
        assert await receive_exactly(stream, 3) == b"go\n"
        server.type(b"c")
        # The request is fed, not yet read.
        stream._engine.feed(await gate.receive_some())
        server.type(b"hello")
        stream._engine.feed(await gate.receive_some())
        gate.hold_sends()
        with nursery.fail_after(5):
            assert await stream.receive_some() == b"hello\n"
        # It goes before the next receive.
        gate.open()
        sends = gate.sends
        await cut_short(stream.receive_some)
        assert gate.sends == sends + 1
        await stream.aclose()


async def test_open_ssl_over_tcp_stream_is_refused_by_a_server_without_tls() -> None:
    async def speak_plainly(stream: SocketStream) -> None:
        await stream.send_all(b"220 mail.example ESMTP\r\n")
        async for _ in stream:
            pass

    async with nursery.open_nursery() as n:
        [listener] = await n.start(functools.partial(nursery.serve_tcp, speak_plainly, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        stream = await open_ssl_over_tcp_stream("127.0.0.1", port, ssl_context=client_context())
        async with stream:
            with pytest.raises(BrokenResourceError) as caught:
                await stream.do_handshake()
            assert isinstance(caught.value.__cause__, ssl.SSLError)
        n.cancel_scope.cancel()
