"""A server of TLS 1.2 that shakes hands again: reads that have to send, writes that have to receive.

Only OpenSSL itself can begin that, so the server is the program `openssl`.
"""

from __future__ import annotations

import socket as stdlib_socket
import ssl
from pathlib import Path

import nursery
from nursery.abc import Stream
from nursery.network.sockets import from_stdlib_socket
from nursery.network.stream import SocketStream
from nursery.testing import wait_all_tasks_blocked
from nursery.tls.engine import Step, TLSEngine
from nursery.tls.stream import SSLStream
from tests.tls.certificates import HOST, client_context
from tests.tls.openssl import needs_openssl, s_server
from tests.tls.wire import receive_exactly

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
        server.command(b"R")
        # A read finds the request, and answers it.
        assert not engine.outgoing.pending
        while not engine.outgoing.pending:
            engine.feed(sock.recv(65536))
            assert engine.read(100) is Step.NEED_INPUT
        assert engine.write(b"in between\n") is Step.NEED_INPUT
        while engine.write(b"in between\n") is Step.NEED_INPUT:
            exchange()
        sock.sendall(engine.take_output())
        server.read_until(b"in between")
        server.command(b"and back")
        while (data := engine.read(100)) is Step.NEED_INPUT:
            exchange()
        assert data == b"and back\n"


async def test_a_receiver_shakes_hands_again_without_being_asked(tmp_path: Path) -> None:
    with s_server(tmp_path) as (server, port):
        transport = SocketStream(from_stdlib_socket(connect(port)))
        async with SSLStream(transport, client_context(TLS_1_2), server_hostname=HOST) as stream:
            await stream.do_handshake()
            for _ in range(2):
                server.command(b"R")
                server.command(b"new keys")
                assert await receive_exactly(stream, 9) == b"new keys\n"
                await stream.send_all(b"I see\n")
            await nursery.to_thread.run_sync(server.read_until, b"(I see\n(.|\n)*){2}")


class Gate(Stream):
    """A stream whose receives can be held up."""

    def __init__(self, inner: SocketStream) -> None:
        self.inner = inner
        self.sends = 0
        self.hold_after_send = False
        self.opened = nursery.Event()
        self.opened.set()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.inner.send_all(data)
        self.sends += 1
        if self.hold_after_send:
            self.hold_after_send = False
            self.opened = nursery.Event()

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await self.opened.wait()
        return await self.inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.inner.aclose()


async def test_a_sender_waits_for_the_input_that_a_receiver_waits_for(tmp_path: Path) -> None:
    # One receive serves both: were the sender to receive for itself after that, it would wait for ever.
    with s_server(tmp_path) as (server, port):
        gate = Gate(SocketStream(from_stdlib_socket(connect(port))))
        async with SSLStream(gate, client_context(TLS_1_2), server_hostname=HOST) as stream:
            await stream.do_handshake()
            # The receiver answers the server's request, and is then held up in the middle of the handshake.
            gate.hold_after_send = True
            sends = gate.sends
            async with nursery.open_nursery() as n:

                async def receive() -> None:
                    assert await receive_exactly(stream, 5) == b"over\n"

                n.start_soon(receive)
                server.command(b"R")
                while gate.sends == sends:
                    await nursery.sleep(0.001)
                sent = nursery.Event()

                async def send() -> None:
                    await stream.send_all(b"in between\n")
                    sent.set()

                n.start_soon(send)
                await wait_all_tasks_blocked()
                assert not sent.is_set()
                gate.opened.set()
                await sent.wait()
                await nursery.to_thread.run_sync(server.read_until, b"in between")
                server.command(b"over")


async def test_a_send_that_is_cancelled_in_the_middle_of_a_handshake_breaks_the_stream(tmp_path: Path) -> None:
    with s_server(tmp_path) as (server, port):
        gate = Gate(SocketStream(from_stdlib_socket(connect(port))))
        stream = SSLStream(gate, client_context(TLS_1_2), server_hostname=HOST)
        await stream.do_handshake()
        gate.hold_after_send = True
        sends = gate.sends
        async with nursery.open_nursery() as n:
            n.start_soon(stream.receive_some)
            server.command(b"R")
            while gate.sends == sends:
                await nursery.sleep(0.001)
            with nursery.move_on_after(0.001) as scope:
                await stream.send_all(b"half done")
            assert scope.cancelled_caught
            try:
                await stream.send_all(b"something else")
            except nursery.BrokenResourceError:
                pass
            else:
                raise AssertionError("the engine would have mixed up the two")
            n.cancel_scope.cancel()
        await stream.aclose()
