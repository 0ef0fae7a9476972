"""A timeout that does not expire, alone or among a great many outstanding deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

from benchmarks.dialect import Dialect
from benchmarks.expect import expect
from benchmarks.meter import Meter

TIMEOUTS = 2000


def _far_deadline(random: Random) -> float:
    return 1000 + 1000 * random.random()


@dataclass(frozen=True, slots=True)
class Timeouts:
    outstanding: int

    async def in_dialect(self, lib: Dialect, meter: Meter) -> None:
        checkpoint = lib.lowlevel.checkpoint
        async with _dialect_sleepers(lib, meter.population(self.outstanding)):
            for _ in meter.laps(TIMEOUTS):
                completed = 0
                for _ in range(TIMEOUTS):
                    with lib.move_on_after(30):
                        await checkpoint()
                        completed += 1
                expect("bodies completed", completed, TIMEOUTS)

    async def in_asyncio(self, meter: Meter) -> None:
        sleep = asyncio.sleep
        async with _asyncio_sleepers(meter.population(self.outstanding)):
            for _ in meter.laps(TIMEOUTS):
                completed = 0
                for _ in range(TIMEOUTS):
                    async with asyncio.timeout(30):
                        await sleep(0)
                        completed += 1
                expect("bodies completed", completed, TIMEOUTS)


@asynccontextmanager
async def _dialect_sleepers(lib: Dialect, count: int) -> AsyncIterator[None]:
    random = Random(0)
    started = ended = 0

    async def sleeper() -> None:
        nonlocal started, ended
        started += 1
        try:
            await lib.sleep(_far_deadline(random))
        finally:
            ended += 1

    async with lib.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(sleeper)
        while started < count:
            await lib.lowlevel.checkpoint()
        yield
        expect("sleepers that woke early", ended, 0)
        nursery.cancel_scope.cancel()
    expect("sleepers cancelled", ended, count)


@asynccontextmanager
async def _asyncio_sleepers(count: int) -> AsyncIterator[None]:
    random = Random(0)
    started = ended = 0

    async def sleeper() -> None:
        nonlocal started, ended
        started += 1
        try:
            await asyncio.sleep(_far_deadline(random))
        finally:
            ended += 1

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(sleeper()) for _ in range(count)]
        while started < count:
            await asyncio.sleep(0)
        yield
        expect("sleepers that woke early", ended, 0)
        for task in tasks:
            task.cancel()
    expect("sleepers cancelled", ended, count)
