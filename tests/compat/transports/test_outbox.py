"""What is written in a turn that others wait in is sent at its end; nobody else sees the difference, except in time."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import socket
import struct
import subprocess
import sys
import time
import warnings
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

import nursery
from nursery import compat
from nursery.compat.transports import outbox as outboxes
from nursery.compat.transports.outbox import LATE, MOST, PATIENCE
from tests.compat.transports.test_socket import Recorder
from tests.compat.two_loops import run


@pytest.fixture(autouse=True)
def nobody_is_too_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests do nothing but write."""
    monkeypatch.setattr(outboxes, "FAST", 0.0)


def nothing() -> None:
    """Wait for a turn."""


class End:
    """A transport's other end, looked at without waiting."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.setblocking(False)

    @property
    def has(self) -> bytes:
        """What has come, once."""
        with contextlib.suppress(BlockingIOError):
            return self.sock.recv(1 << 20)
        return b"nothing"


@contextlib.asynccontextmanager
async def connections(count: int) -> AsyncGenerator[list[tuple[Any, End]], None]:
    """So many protocols, with the other ends of their connections."""
    loop = asyncio.get_running_loop()
    made = []
    for _ in range(count):
        ours, theirs = socket.socketpair()
        _, protocol = await loop.create_connection(Recorder, sock=ours)
        made.append((protocol, End(theirs)))
    # Slow as the machine may be now, it is not what is tested.
    outbox(loop).patience = 0
    try:
        yield made
    finally:
        for protocol, end in made:
            protocol.transport.abort()
            await protocol.lost
            end.sock.close()


@contextlib.asynccontextmanager
async def connection() -> AsyncGenerator[tuple[Any, End], None]:
    """One of them."""
    async with connections(1) as made:
        yield made[0]


def outbox(loop: Any) -> Any:
    """The loop's own."""
    return loop.outbox


def busy() -> None:
    """Let somebody wait for the next turn."""
    asyncio.get_running_loop().call_soon(nothing)


def test_who_is_alone_sends_at_once() -> None:
    async def main() -> None:
        async with connection() as (protocol, end):
            protocol.transport.write(b"x")
            assert end.has == b"x"

    run(main())


def test_while_others_wait_it_is_sent_at_the_end_of_the_turn() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connections(2) as ((one, end_of_one), (other, end_of_other)):
            seen = []
            loop.call_soon(lambda: seen.append((end_of_one.has, end_of_other.has)))
            one.transport.write(b"x")
            other.transport.write(b"y")
            assert one.transport.get_write_buffer_size() == 1
            loop.call_soon(lambda: seen.append((end_of_one.has, end_of_other.has)))
            await asyncio.sleep(0)
            assert seen == [(b"nothing", b"nothing"), (b"x", b"y")]
            assert one.transport.get_write_buffer_size() == 0

    run(main())


def test_several_writes_of_one_turn_keep_their_order() -> None:
    async def main() -> None:
        async with connection() as (protocol, end):
            busy()
            for piece in (b"one ", bytearray(b"two "), memoryview(b"three ")):
                protocol.transport.write(piece)
            protocol.transport.writelines([b"four ", b"five "])
            protocol.transport.write(b"")
            assert end.has == b"nothing"
            await asyncio.sleep(0)
            assert end.has == b"one two three four five "
            assert protocol.events == ["made"]

    run(main())


def test_what_the_caller_changes_afterwards_is_sent_as_it_was() -> None:
    async def main() -> None:
        async with connection() as (protocol, end):
            busy()
            data = bytearray(b"before")
            protocol.transport.write(data)
            data[:] = b"after!"
            await asyncio.sleep(0)
            assert end.has == b"before"

    run(main())


def test_no_more_than_so_many_are_put_off() -> None:
    async def main() -> None:
        async with connections(MOST + 1) as made:
            busy()
            for protocol, _ in made:
                protocol.transport.write(b"x")
            assert [end.has for _, end in made] == [b"x"] * MOST + [b"nothing"]
            await asyncio.sleep(0)
            assert made[-1][1].has == b"x"

    run(main())


def test_more_than_the_high_mark_is_sent_at_once() -> None:
    async def main() -> None:
        async with connection() as (protocol, end):
            protocol.transport.set_write_buffer_limits(10)
            busy()
            protocol.transport.write(b"x" * 11)
            assert end.has == b"x" * 11
            protocol.transport.write(b"y" * 10)
            assert end.has == b"nothing"
            protocol.transport.write(b"z")
            assert end.has == b"y" * 10 + b"z"
            # Whoever wants nothing buffered gets nothing put off.
            protocol.transport.set_write_buffer_limits(0)
            protocol.transport.write(b"x")
            assert end.has == b"x"
            assert protocol.events == ["made"]

    run(main())


@pytest.mark.parametrize("end_it", ["close", "write_eof", "abort"])
def test_it_is_sent_before_the_end(end_it: str) -> None:
    async def main() -> None:
        async with connection() as (protocol, end):
            busy()
            protocol.transport.write(b"x")
            getattr(protocol.transport, end_it)()
            assert end.has == b"x"
            if end_it == "write_eof":
                assert end.has == b""
            else:
                assert await protocol.lost is None

    run(main())


def test_nothing_is_sent_after_an_abort() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connection() as (protocol, end):
            transport = protocol.transport
            busy()
            transport.write(b"x")
            loop.call_soon(transport.write, b"too late")
            transport.abort()
            transport.write(b"too late")
            await protocol.lost
            transport.write(b"too late")
            assert transport._lost_writes == 3
            assert end.has == b"x"

    run(main())


def test_sendfile_comes_after_it(tmp_path: Any) -> None:
    async def main() -> None:
        path = tmp_path / "file"
        path.write_bytes(b"file")
        async with connection() as (protocol, end):
            busy()
            protocol.transport.write(b"head ")
            with path.open("rb") as file:
                await asyncio.get_running_loop().sendfile(protocol.transport, file)
            assert end.has == b"head file"

    run(main())


def test_who_stops_the_loop_has_written() -> None:
    loop = compat.new_event_loop()
    ours, theirs = socket.socketpair()
    end = End(theirs)
    transport, protocol = loop.run_until_complete(loop.create_connection(Recorder, sock=ours))

    def write_and_stop() -> None:
        loop.call_soon(nothing)
        transport.write(b"x")
        loop.stop()

    def write_and_exit() -> None:
        loop.call_soon(nothing)
        transport.write(b"y")
        raise SystemExit

    loop.call_soon(write_and_stop)
    loop.run_forever()
    assert end.has == b"x"
    loop.call_soon(write_and_exit)
    with pytest.raises(SystemExit):
        loop.run_forever()
    assert end.has == b"y"
    transport.abort()
    loop.run_until_complete(protocol.lost)
    loop.close()
    theirs.close()


def test_a_forked_child_does_not_send_what_its_parent_sends() -> None:
    program = """
import asyncio, os, socket, sys
from nursery import compat
ours, theirs = socket.socketpair()

def fork(transport):
    asyncio.get_running_loop().call_soon(int)
    transport.write(b"x")
    child = os.fork()
    if not child:
        sys.exit()
    os.waitpid(child, 0)

async def main():
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    asyncio.get_running_loop().call_soon(fork, transport)
    await asyncio.sleep(0.01)
    print(theirs.recv(10), flush=True)
    transport.abort()

compat.run(main())
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=20)
    assert finished.stderr == ""
    assert finished.stdout == "b'x'\n"


def test_while_the_loop_is_paused_nothing_is_put_off() -> None:
    loop = compat.new_event_loop()
    ours, theirs = socket.socketpair()
    end = End(theirs)
    transport, protocol = loop.run_until_complete(loop.create_connection(Recorder, sock=ours))
    loop.call_soon(nothing)
    for piece in (b"x", b"y", b"z"):
        transport.write(piece)
        assert end.has == piece
    transport.abort()
    loop.run_until_complete(protocol.lost)
    loop.close()
    theirs.close()


def test_what_is_written_last_in_open_loop_is_sent() -> None:
    ours, theirs = socket.socketpair()
    end = End(theirs)
    transport: Any = None

    async def main() -> None:
        nonlocal transport
        async with compat.open_loop() as loop:
            transport, _ = await loop.create_connection(Recorder, sock=ours)
            busy()
            transport.write(b"x")
        assert end.has == b"x"

    nursery.run(main)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        transport = None
        gc.collect()
    theirs.close()


def test_where_turns_are_slow_sends_are_direct_for_a_while() -> None:
    async def main() -> None:
        async with connections(3) as made:
            (protocol, end), *_ = made

            async def one_slow_turn() -> None:
                busy()
                for each, _ in made:
                    # As after a request.
                    each.transport._wrote = False
                    each.transport.write(b"x")
                    time.sleep(LATE / (len(made) - 1))
                await asyncio.sleep(0)
                assert [each.has for _, each in made] == [b"x"] * 3

            async def write(expected: bytes) -> None:
                protocol.transport._wrote = False
                busy()
                protocol.transport.write(b"y")
                assert end.has == expected
                await asyncio.sleep(0)

            # Longer if it goes on, as at first once it was better.
            for messages in (PATIENCE, 2 * PATIENCE, PATIENCE):
                await one_slow_turn()
                for _ in range(messages):
                    await write(b"y")
                if messages > PATIENCE:
                    await write(b"nothing")
                    assert end.has == b"y"
            await write(b"nothing")

    run(main())


def test_the_same_where_messages_come_too_fast_for_their_peer_to_fall_asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with connections(2) as made:
            busy()
            for protocol, _ in made:
                protocol.transport.write(b"x")
            monkeypatch.setattr(outboxes, "FAST", 1.0)
            await asyncio.sleep(0)
            for protocol, end in made:
                busy()
                assert end.has == b"x"
                protocol.transport.write(b"y")
                assert end.has == b"y"

    run(main())


class Refuses(Recorder):
    """Remembers in which context it was told."""

    where = contextvars.ContextVar("where", default="nowhere")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.events.append(self.where.get())
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        self.events.append(self.where.get())
        super().resume_writing()


async def connect_in_context(factory: Callable[[], asyncio.Protocol]) -> tuple[Any, socket.socket]:
    """A connection on the internet's sockets, made in a context of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        async def make() -> Any:
            Refuses.where.set("its own")
            return await asyncio.get_running_loop().create_connection(factory, *listener.getsockname())

        _, protocol = await asyncio.create_task(make())
        return protocol, listener.accept()[0]


def test_a_failure_is_told_once_and_in_the_transports_own_context() -> None:
    async def main() -> None:
        protocol, peer = await connect_in_context(Refuses)
        protocol.transport.pause_reading()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        outbox(asyncio.get_running_loop()).patience = 0
        busy()
        protocol.transport.write(b"x")
        assert isinstance(await protocol.lost, ConnectionError)
        assert protocol.events == ["made", "its own", "lost"]

    run(main())


def test_what_the_system_does_not_take_is_sent_later() -> None:
    async def main() -> None:
        async with connection() as (protocol, end):
            sock = protocol.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            busy()
            protocol.transport.write(b"x" * 60_000)
            assert protocol.transport.get_write_buffer_size() == 60_000
            await asyncio.sleep(0)
            assert 0 < protocol.transport.get_write_buffer_size() < 60_000
            # In order, whatever comes next.
            protocol.transport.write(b"y")
            came = b""
            while not came.endswith(b"y"):
                came += end.has.replace(b"nothing", b"")
                await asyncio.sleep(0)
            assert came == b"x" * 60_000 + b"y"

    run(main())


def test_who_is_paused_by_a_lower_mark_meanwhile_is_resumed() -> None:
    async def main() -> None:
        protocol, peer = await connect_in_context(Refuses)
        end = End(peer)
        outbox(asyncio.get_running_loop()).patience = 0
        busy()
        protocol.transport.write(b"x" * 100)
        protocol.transport.set_write_buffer_limits(10)
        assert protocol.events == ["made", "pause"]
        while "resume" not in protocol.events:
            await asyncio.sleep(0)
        assert protocol.events == ["made", "pause", "its own", "resume"]
        assert end.has == b"x" * 100
        protocol.transport.abort()
        await protocol.lost
        peer.close()

    run(main())
