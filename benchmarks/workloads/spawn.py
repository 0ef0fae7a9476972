"""Tasks that end as soon as they start."""

from __future__ import annotations

import asyncio

from benchmarks.dialect import Dialect
from benchmarks.expect import expect
from benchmarks.meter import Meter

CHILDREN = 1000


async def in_dialect(lib: Dialect, meter: Meter) -> None:
    finished = 0

    async def child() -> None:
        nonlocal finished
        finished += 1

    for _ in meter.laps(CHILDREN):
        finished = 0
        async with lib.open_nursery() as nursery:
            for _ in range(CHILDREN):
                nursery.start_soon(child)
        expect("children finished", finished, CHILDREN)


async def in_asyncio(meter: Meter) -> None:
    finished = 0

    async def child() -> None:
        nonlocal finished
        finished += 1

    for _ in meter.laps(CHILDREN):
        finished = 0
        async with asyncio.TaskGroup() as group:
            for _ in range(CHILDREN):
                group.create_task(child())
        expect("children finished", finished, CHILDREN)
