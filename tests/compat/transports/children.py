"""Child processes for tests: a protocol that writes down what happens to one."""

from __future__ import annotations

import asyncio
import subprocess
from typing import Any

SLEEP = ("sleep", "100")


class Witness(asyncio.SubprocessProtocol):
    """Writes down what the transport of a process tells it."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.events: list[str] = []
        self.data = {1: b"", 2: b""}
        self.exited: asyncio.Future[int] = loop.create_future()
        self.lost: asyncio.Future[BaseException | None] = loop.create_future()
        self.pipe_lost: dict[int, asyncio.Future[BaseException | None]] = {
            fd: loop.create_future() for fd in (0, 1, 2)
        }
        self.resumed = asyncio.Event()
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.events.append("made")

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.data[fd] += data
        self.events.append(f"data {fd}")

    def pipe_connection_lost(self, fd: int, exc: BaseException | None) -> None:
        self.events.append(f"pipe lost {fd}" if exc is None else f"pipe lost {fd} {type(exc).__name__}")
        self.pipe_lost[fd].set_result(exc)

    def process_exited(self) -> None:
        self.events.append("exited")
        self.exited.set_result(self.transport.get_returncode())

    def connection_lost(self, exc: BaseException | None) -> None:
        self.events.append("lost")
        self.lost.set_result(exc)

    def pause_writing(self) -> None:
        self.events.append("pause")
        self.resumed.clear()

    def resume_writing(self) -> None:
        self.events.append("resume")
        self.resumed.set()

    async def has(self, fd: int, data: bytes) -> None:
        """Wait until what has come from `fd` is `data`."""
        while self.data[fd] != data:
            assert data.startswith(self.data[fd])
            await asyncio.sleep(0)


async def start(*command: str, stdin: Any = None, stdout: Any = None, stderr: Any = None, **options: Any) -> Witness:
    """Start a program and return its witness."""
    _, witness = await asyncio.get_running_loop().subprocess_exec(
        Witness, *command, stdin=stdin, stdout=stdout, stderr=stderr, **options
    )
    return witness


async def start_shell(line: str, *pipes: int, stdin: int | None = None, **options: Any) -> Witness:
    """Let the shell run a line, with pipes for the descriptors given, and return its witness."""
    stdout, stderr = (subprocess.PIPE if fd in pipes else None for fd in (1, 2))
    if 0 in pipes:
        stdin = subprocess.PIPE
    _, witness = await asyncio.get_running_loop().subprocess_shell(
        Witness, line, stdin=stdin, stdout=stdout, stderr=stderr, **options
    )
    return witness
