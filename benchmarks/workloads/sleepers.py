"""A crowd asleep at once, each until its own deadline: spawn, sleep, wake, finish."""

from __future__ import annotations

import asyncio
from random import Random

from benchmarks.dialect import Dialect
from benchmarks.expect import expect
from benchmarks.meter import Meter

SLEEPERS = 100_000


async def in_dialect(lib: Dialect, meter: Meter) -> None:
    sleepers = meter.population(SLEEPERS)
    random = Random(0).random
    woken = 0

    async def sleeper() -> None:
        nonlocal woken
        await lib.sleep(random())
        woken += 1

    for _ in meter.laps(sleepers, warm_up=False):
        woken = 0
        async with lib.open_nursery() as nursery:
            for _ in range(sleepers):
                nursery.start_soon(sleeper)
        expect("sleepers woken", woken, sleepers)


async def in_asyncio(meter: Meter) -> None:
    sleepers = meter.population(SLEEPERS)
    random = Random(0).random
    woken = 0

    async def sleeper() -> None:
        nonlocal woken
        await asyncio.sleep(random())
        woken += 1

    for _ in meter.laps(sleepers, warm_up=False):
        woken = 0
        async with asyncio.TaskGroup() as group:
            for _ in range(sleepers):
                group.create_task(sleeper())
        expect("sleepers woken", woken, sleepers)
