"""The asyncio API, time limits: kept, and overrun."""

from __future__ import annotations

import asyncio

from benchmarks.expect import expect
from benchmarks.meter import Meter

LAP = 2000


async def timeout_late(meter: Meter) -> None:
    loop = asyncio.get_running_loop()
    for _ in meter.laps(LAP):
        late = 0
        for _ in range(LAP):
            try:
                async with asyncio.timeout(0):
                    await loop.create_future()
            except TimeoutError:
                late += 1
        expect("waits interrupted", late, LAP)


async def _answer() -> int:
    return 42


async def wait_for(meter: Meter) -> None:
    for _ in meter.laps(LAP):
        total = 0
        for _ in range(LAP):
            total += await asyncio.wait_for(_answer(), 30)
        expect("sum of the answers", total, 42 * LAP)


async def wait_for_future(meter: Meter) -> None:
    loop = asyncio.get_running_loop()
    for _ in meter.laps(LAP):
        total = 0
        for _ in range(LAP):
            answer: asyncio.Future[int] = loop.create_future()
            loop.call_soon(answer.set_result, 42)
            total += await asyncio.wait_for(answer, 30)
        expect("sum of the answers", total, 42 * LAP)
