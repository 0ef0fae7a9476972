"""The asyncio API, tasks: one and the same program on every event loop."""

from __future__ import annotations

import asyncio

from benchmarks.expect import expect
from benchmarks.meter import Meter

LAP = 5000
GROUP = 100


async def _answer() -> int:
    return 42


async def sleep0(meter: Meter) -> None:
    sleep = asyncio.sleep
    for _ in meter.laps(LAP):
        for _ in range(LAP):
            await sleep(0)


async def create_task(meter: Meter) -> None:
    for _ in meter.laps(LAP):
        total = 0
        for _ in range(LAP):
            total += await asyncio.create_task(_answer())
        expect("sum of the answers", total, 42 * LAP)


async def gather(meter: Meter) -> None:
    for _ in meter.laps(LAP):
        total = 0
        for _ in range(LAP // GROUP):
            total += sum(await asyncio.gather(*[_answer() for _ in range(GROUP)]))
        expect("sum of the answers", total, 42 * LAP)


async def taskgroup(meter: Meter) -> None:
    for _ in meter.laps(LAP):
        total = 0
        for _ in range(LAP // GROUP):
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(_answer()) for _ in range(GROUP)]
            total += sum(task.result() for task in tasks)
        expect("sum of the answers", total, 42 * LAP)


async def wait(meter: Meter) -> None:
    for _ in meter.laps(LAP):
        total = 0
        for _ in range(LAP // GROUP):
            done, pending = await asyncio.wait([asyncio.create_task(_answer()) for _ in range(GROUP)])
            expect("tasks left", len(pending), 0)
            total += sum(task.result() for task in done)
        expect("sum of the answers", total, 42 * LAP)


async def as_completed(meter: Meter) -> None:
    for _ in meter.laps(LAP):
        total = 0
        for _ in range(LAP // GROUP):
            for next_one in asyncio.as_completed([_answer() for _ in range(GROUP)]):
                total += await next_one
        expect("sum of the answers", total, 42 * LAP)
