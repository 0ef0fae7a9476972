"""A great deal of data through a pipe, from the standard output of a child process."""

from __future__ import annotations

import asyncio
import subprocess

from benchmarks.dialect import Dialect
from benchmarks.expect import expect
from benchmarks.meter import Meter

MEGABYTE = 1_000_000
MEGABYTES = 100
READ = 64 * 1024


async def in_dialect(lib: Dialect, meter: Meter) -> None:
    megabytes = meter.population(MEGABYTES)
    for _ in meter.laps(megabytes):
        size = 0
        process = await lib.lowlevel.open_process(_command(megabytes), stdout=subprocess.PIPE)
        assert process.stdout is not None
        async for data in process.stdout:
            size += len(data)
        await process.wait()
        expect("bytes received", size, megabytes * MEGABYTE)


async def in_asyncio_streams(meter: Meter) -> None:
    megabytes = meter.population(MEGABYTES)
    for _ in meter.laps(megabytes):
        size = 0
        process = await asyncio.create_subprocess_exec(*_command(megabytes), stdout=subprocess.PIPE)
        assert process.stdout is not None
        while data := await process.stdout.read(READ):
            size += len(data)
        await process.wait()
        expect("bytes received", size, megabytes * MEGABYTE)


async def in_asyncio_protocol(meter: Meter) -> None:
    class Counter(asyncio.SubprocessProtocol):
        def __init__(self) -> None:
            self.size = 0
            self.finished = loop.create_future()

        def pipe_data_received(self, fd: int, data: bytes) -> None:
            self.size += len(data)

        def connection_lost(self, exc: Exception | None) -> None:
            self.finished.set_result(None)

    loop = asyncio.get_running_loop()
    megabytes = meter.population(MEGABYTES)
    for _ in meter.laps(megabytes):
        command = _command(megabytes)
        _, counter = await loop.subprocess_exec(Counter, *command, stdin=None, stderr=None)
        await counter.finished
        expect("bytes received", counter.size, megabytes * MEGABYTE)


def in_epoll(meter: Meter) -> None:
    """The limit: nothing but reads, which block."""
    megabytes = meter.population(MEGABYTES)
    for _ in meter.laps(megabytes):
        size = 0
        with subprocess.Popen(_command(megabytes), stdout=subprocess.PIPE, bufsize=0) as process:
            assert process.stdout is not None
            while data := process.stdout.read(READ):
                size += len(data)
        expect("bytes received", size, megabytes * MEGABYTE)


def _command(megabytes: int) -> list[str]:
    return ["head", "-c", str(megabytes * MEGABYTE), "/dev/zero"]
