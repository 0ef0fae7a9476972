"""A child process that ends as soon as it starts. Its own time is in the wall time, not in the CPU time."""

from __future__ import annotations

import asyncio
import subprocess

from benchmarks.dialect import Dialect
from benchmarks.expect import expect
from benchmarks.meter import Meter

COMMAND = ("true",)
PROCESSES = 10


async def in_dialect(lib: Dialect, meter: Meter) -> None:
    for _ in meter.laps(PROCESSES):
        for _ in range(PROCESSES):
            finished = await lib.run_process(COMMAND)
            expect("exit status", finished.returncode, 0)


async def in_dialect_no_input(lib: Dialect, meter: Meter) -> None:
    for _ in meter.laps(PROCESSES):
        for _ in range(PROCESSES):
            finished = await lib.run_process(COMMAND, stdin=subprocess.DEVNULL)
            expect("exit status", finished.returncode, 0)


async def in_asyncio(meter: Meter) -> None:
    for _ in meter.laps(PROCESSES):
        for _ in range(PROCESSES):
            process = await asyncio.create_subprocess_exec(*COMMAND, stdin=subprocess.PIPE)
            await process.communicate()
            expect("exit status", process.returncode, 0)


async def in_asyncio_no_input(meter: Meter) -> None:
    for _ in meter.laps(PROCESSES):
        for _ in range(PROCESSES):
            process = await asyncio.create_subprocess_exec(*COMMAND, stdin=subprocess.DEVNULL)
            expect("exit status", await process.wait(), 0)
