"""A server of TLS 1.2 that shakes hands again: reads that have to send, writes that have to receive.

Only OpenSSL itself can begin that, so the server is the program `openssl`.
"""

from __future__ import annotations

import socket as stdlib_socket
import ssl
from pathlib import Path

import pytest

import nursery
from nursery.network.sockets import from_stdlib_socket
from nursery.network.stream import SocketStream
from nursery.testing import wait_all_tasks_blocked
from nursery.tls.engine import Step, TLSEngine
from nursery.tls.stream import SSLStream
from tests.tls.certificates import HOST, client_context
from tests.tls.gate import Gate
from tests.tls.openssl import needs_openssl, s_server
from tests.tls.wire import cut_short, receive_exactly

pytestmark = needs_openssl

TLS_1_2 = ssl.TLSVersion.TLSv1_2


def connect(port: int) -> stdlib_socket.socket:
    sock = stdlib_socket.create_connection(("127.0.0.1", port), timeout=10)
    sock.settimeout(10)
    return sock


def test_a_write_in_the_middle_of_a_handshake_needs_input_and_is_taken_up_again(tmp_path: Path) -> None:
    with s_server(tmp_path) as (server, port), connect(port) as sock:
        engine = TLSEngine(client_context(TLS_1_2), server_hostname=HOST)

        def exchange() -> None:
            if engine.outgoing.pending:
                sock.sendall(engine.take_output())
            engine.feed(sock.recv(65536))

        while engine.handshake() is Step.NEED_INPUT:
            exchange()
        server.type(b"R")
        # A read finds the request, and answers it.
        while True:
            engine.feed(sock.recv(65536))
            assert engine.read(100) is Step.NEED_INPUT
            if engine.outgoing.pending:
                break
        assert engine.write(b"in between\n") is Step.NEED_INPUT
        while engine.write(b"in between\n") is Step.NEED_INPUT:
            exchange()
        sock.sendall(engine.take_output())
        server.read_until(b"in between")
        server.type(b"and back")
        while (data := engine.read(100)) is Step.NEED_INPUT:
            exchange()
        assert data == b"and back\n"


async def test_a_receiver_shakes_hands_again_without_being_asked(tmp_path: Path) -> None:
    with s_server(tmp_path) as (server, port):
        gate = Gate(SocketStream(from_stdlib_socket(connect(port))))
        async with SSLStream(gate, client_context(TLS_1_2), server_hostname=HOST) as stream:
            await stream.do_handshake()
            for _ in range(2):
                sends = gate.sends
                async with nursery.open_nursery() as n:

                    async def receive() -> None:
                        assert await receive_exactly(stream, 9) == b"new keys\n"

                    n.start_soon(receive)
                    server.type(b"R")
                    await gate.until(lambda: gate.sends >= sends + 2)  # noqa: B023  # awaited in the same round
                    server.type(b"new keys")
                await stream.send_all(b"I see\n")
                await nursery.to_thread.run_sync(server.read_until, b"I see\n")


async def test_a_sender_waits_for_the_input_that_a_receiver_waits_for(tmp_path: Path) -> None:
    # One receive serves both: were the sender to receive for itself after that, it would wait for ever.
    with s_server(tmp_path) as (server, port):
        gate = Gate(SocketStream(from_stdlib_socket(connect(port))))
        async with SSLStream(gate, client_context(TLS_1_2), server_hostname=HOST) as stream:
            await stream.do_handshake()
            # The receiver answers the server's request, and is then held up in the middle of the handshake.
            gate.hold_after_send = True
            async with nursery.open_nursery() as n:

                async def receive() -> None:
                    assert await receive_exactly(stream, 5) == b"over\n"

                sent = nursery.Event()

                async def send() -> None:
                    await stream.send_all(b"in between\n")
                    sent.set()

                n.start_soon(receive)
                server.type(b"R")
                await gate.until(lambda: gate.holds_receives)
                n.start_soon(send)
                await wait_all_tasks_blocked()
                assert not sent.is_set()
                gate.open()
                await sent.wait()
                await nursery.to_thread.run_sync(server.read_until, b"in between")
                server.type(b"over")


async def test_a_send_that_is_cancelled_in_the_middle_of_a_handshake_breaks_the_stream(tmp_path: Path) -> None:
    with s_server(tmp_path) as (server, port):
        gate = Gate(SocketStream(from_stdlib_socket(connect(port))))
        stream = SSLStream(gate, client_context(TLS_1_2), server_hostname=HOST)
        await stream.do_handshake()
        gate.hold_after_send = True
        async with nursery.open_nursery() as n:
            n.start_soon(stream.receive_some)
            server.type(b"R")
            await gate.until(lambda: gate.holds_receives)
            await cut_short(stream.send_all, b"half done")
            # The engine would mix up the two.
            with pytest.raises(nursery.BrokenResourceError):
                await stream.send_all(b"something else")
            n.cancel_scope.cancel()
        await stream.aclose()


async def test_an_answer_waits_for_one_who_waits_for_room_and_the_other_way_round(tmp_path: Path) -> None:
    # To the transport both are a send.
    with s_server(tmp_path) as (server, port):
        gate = Gate(SocketStream(from_stdlib_socket(connect(port))))
        async with SSLStream(gate, client_context(TLS_1_2), server_hostname=HOST) as stream:
            await stream.do_handshake()
            sends, receives = gate.sends, gate.receives
            async with nursery.open_nursery() as n:

                async def receive() -> None:
                    assert await receive_exactly(stream, 5) == b"over\n"

                gate.hold_waits()
                n.start_soon(receive)
                n.start_soon(stream.wait_send_all_might_not_block)
                server.type(b"R")
                await gate.until(lambda: gate.receives > receives)
                await wait_all_tasks_blocked()
                assert gate.sends == sends
                # Now the answer goes out, and is stuck itself.
                gate.hold_sends()
                gate.release_waits()
                await gate.until(lambda: gate.sends > sends)
                ready = nursery.Event()

                async def wait() -> None:
                    await stream.wait_send_all_might_not_block()
                    ready.set()

                n.start_soon(wait)
                await wait_all_tasks_blocked()
                assert not ready.is_set()
                gate.open()
                await ready.wait()
                # The handshake takes one more send of the receiver's.
                await gate.until(lambda: gate.sends >= sends + 2)
                server.type(b"over")
