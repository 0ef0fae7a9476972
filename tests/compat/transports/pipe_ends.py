"""Pipes for tests: a protocol that writes down what happens to it, and one program on two loops."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from nursery import compat

T = TypeVar("T")


class Recorder(asyncio.Protocol):
    """Writes down what a transport tells it."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.data = bytearray()
        self.lost: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self.resumed = asyncio.Event()
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> None:
        self.events.append("eof")

    def pause_writing(self) -> None:
        self.events.append("pause")
        self.resumed.clear()

    def resume_writing(self) -> None:
        self.events.append("resume")
        self.resumed.set()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.events.append(f"lost {type(exc).__name__}")
        self.lost.set_result(exc)

    async def has(self, size: int) -> bytes:
        """Wait until `size` bytes were received."""
        while len(self.data) < size:
            await asyncio.sleep(0)
        return bytes(self.data)


async def reader(fd: int | None = None) -> tuple[Recorder, int]:
    """Return a protocol that reads from a pipe, and the other end's descriptor."""
    other = -1
    if fd is None:
        fd, other = os.pipe()
    _, protocol = await asyncio.get_running_loop().connect_read_pipe(Recorder, open(fd, "rb", 0))
    return protocol, other


async def writer(fd: int | None = None) -> tuple[Recorder, int]:
    """Return a protocol that writes to a pipe, and the other end's descriptor, which does not block."""
    other = -1
    if fd is None:
        other, fd = os.pipe()
        os.set_blocking(other, False)
    _, protocol = await asyncio.get_running_loop().connect_write_pipe(Recorder, open(fd, "wb", 0))
    return protocol, other


def drain(fd: int, size: int = 1 << 20) -> bytes:
    """Return what there is to read at once, `size` bytes at most."""
    data = b""
    with suppress(BlockingIOError):
        while len(data) < size and (piece := os.read(fd, size - len(data))):
            data += piece
    return data


async def turns(count: int = 5) -> None:
    """Let the loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def polls(count: int = 3) -> None:
    """Let the loop ask the system for events."""
    for _ in range(count):
        await asyncio.sleep(0.0005)


def on_both_loops(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a program on asyncio's loop and on ours; what it returns must be the same, and something."""
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        expected = runner.run(asyncio.wait_for(main(), 5))
    found = compat.run(asyncio.wait_for(main(), 5))
    assert found == expected, f"{found!r} on ours, {expected!r} on asyncio's own"
    assert found
    return found


def on_ours(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a program on our loop."""
    return compat.run(asyncio.wait_for(main(), 5))
