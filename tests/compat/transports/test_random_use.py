"""Random programs at both ends of a connection: whatever they do in whatever order, the promises of a transport hold.

What arrives is what was written, in order, and all of it if the writer closed in peace and the reader read on.
A protocol hears made, data, at most one end, lost, and nothing later; it is told to pause and to resume in turns.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from tests.compat.transports.tls_ends import TLS_1_2, Recorder
from tests.compat.two_loops import run
from tests.tls.certificates import HOST, client_context, server_context


class Watched(Recorder):
    """Notes what must not happen."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.closed = False
        self.ended = False
        self.aborted = False
        self.wrong: list[str] = []

    def data_received(self, data: bytes) -> None:
        if not data or self.closed or self.ended or self.lost.done():
            self.wrong.append(f"data of {len(data)} bytes after {self.events}")
        if not self.transport.is_reading():
            self.wrong.append("data while paused")
        self.data += data

    def eof_received(self) -> bool:
        if self.ended or self.lost.done():
            self.wrong.append("a second end")
        self.ended = True
        return self.keep_open

    def pause_writing(self) -> None:
        if self.paused.is_set():
            self.wrong.append("paused twice")
        self.paused.set()

    def resume_writing(self) -> None:
        if not self.paused.is_set():
            self.wrong.append("resumed twice")
        self.paused.clear()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self.lost.done():
            self.wrong.append("lost twice")
        super().connection_lost(exc)


class Buffered(asyncio.BufferedProtocol):
    """Takes a Watched's data into a small buffer, and passes the rest on."""

    def __init__(self, watched: Watched, size: int) -> None:
        self.watched = watched
        self.buffer = bytearray(size)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.watched.data_received(bytes(self.buffer[:nbytes]))

    def __getattribute__(self, name: str) -> Any:
        if name in ("eof_received", "pause_writing", "resume_writing", "connection_lost"):
            return getattr(self.watched, name)
        return object.__getattribute__(self, name)


@contextlib.asynccontextmanager
async def connection(kind: str) -> AsyncGenerator[tuple[Watched, Watched], None]:
    loop = asyncio.get_running_loop()
    left, right = socket.socketpair()
    for sock in (left, right):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)
    above: dict[str, Any] = {}
    below: dict[str, Any] = {}
    if kind != "plain":
        version = {"version": TLS_1_2} if kind == "TLS 1.2" else {}
        above = {"ssl": client_context(**version), "server_hostname": HOST, "ssl_shutdown_timeout": 1}
        below = {"ssl": server_context(), "ssl_shutdown_timeout": 1}
    (_, client), (_, served) = await asyncio.gather(
        loop.create_connection(Watched, sock=left, **above),
        loop.connect_accepted_socket(Watched, right, **below),
    )
    if kind == "TLS in TLS":
        client.transport, served.transport = await asyncio.gather(
            loop.start_tls(client.transport, client, client_context(), server_hostname=HOST),
            loop.start_tls(served.transport, served, server_context(), server_side=True),
        )
    try:
        yield client, served
    finally:
        for end in (client, served):
            if not end.lost.done():
                end.transport.abort()
            await end.lost


def act(end: Watched, peer: Watched, chance: random.Random, kind: str) -> None:
    """Do one thing at one end."""
    transport = end.transport
    what = chance.randrange(40)
    if what < 22 and transport.is_closing():
        # What is written to a closed transport may be sent, while it still sends, or not.
        return
    size = chance.choice((1, 10, 1000, 20_000, 65536, 140_000, 400_000))
    if what < 18:
        data = chance.randbytes(size)
        transport.write(data if what < 9 else bytearray(data) if what < 13 else memoryview(data))
        end.sent += data
    elif what < 22:
        pieces = [chance.randbytes(size // 3) for _ in range(chance.randrange(5))]
        transport.writelines(pieces)
        end.sent += b"".join(pieces)
    elif what < 27:
        transport.pause_reading()
    elif what < 33:
        transport.resume_reading()
    elif what < 35:
        transport.set_write_buffer_limits(chance.choice((0, 100, 10_000, 200_000)))
    elif what < 38:
        if not end.lost.done():
            transport.set_protocol(chance.choice((end, Buffered(end, chance.choice((1000, 30_000))))))
    elif what == 38 and chance.random() < 0.3 and not (kind == "plain" and peer.closed):
        # Two that have closed read no more: each would wait for the other to take what it has buffered.
        end.closed = True
        transport.close()
    elif chance.random() < 0.05:
        end.closed = end.aborted = True
        transport.abort()


async def program(seed: int, kind: str) -> None:
    chance = random.Random(seed)
    async with connection(kind) as (client, served):
        ends = (client, served)
        for _ in range(chance.randrange(60)):
            end, peer = chance.sample(ends, 2)
            act(end, peer, chance, kind)
            if chance.random() < 0.5:
                await asyncio.sleep(0)
            elif chance.random() < 0.1:
                await asyncio.sleep(0.0005)
        peaceful = not (client.aborted or served.aborted)
        for end, peer in ((client, served), (served, client)):
            assert peer.sent.startswith(end.data), "something arrived that was not sent like this"
            end.transport.resume_reading()
            if not (peer.closed or end.closed or end.ended or peer.ended):
                while len(end.data) < len(peer.sent):
                    await asyncio.sleep(0)
        if not client.closed and not served.closed:
            chance.choice(ends).transport.close()
        for end, peer in ((client, served), (served, client)):
            exc = await end.lost
            # Who closes a socket with something unread in it resets the connection; TLS reads on to the goodbye.
            reset = kind == "plain" and isinstance(exc, ConnectionError)
            assert exc is None or reset or not peaceful
            assert not end.wrong
            assert peer.sent.startswith(end.data)
            if peaceful and not reset and not end.closed and not peer.ended:
                # Whoever did not close has everything that was written before the other one did.
                assert end.data == peer.sent


@pytest.mark.parametrize("kind", ["plain", "TLS 1.2", "TLS 1.3", "TLS in TLS"])
def test_whatever_two_programs_do_the_promises_hold(kind: str, long_form: bool) -> None:
    async def main() -> None:
        for seed in range(1500 if long_form else 12):
            try:
                await program(seed, kind)
            except BaseException as exc:
                exc.add_note(f"seed {seed}")
                raise

    run(main(), seconds=300 if long_form else 20)
