"""The asyncio API, callbacks, timers and futures: one and the same program on every event loop."""

from __future__ import annotations

import asyncio

from benchmarks.expect import expect
from benchmarks.meter import Meter

LAP = 5000
BATCH = 100


async def future(meter: Meter) -> None:
    loop = asyncio.get_running_loop()
    for _ in meter.laps(LAP):
        total = 0
        for _ in range(LAP):
            answer: asyncio.Future[int] = loop.create_future()
            loop.call_soon(answer.set_result, 42)
            total += await answer
        expect("sum of the answers", total, 42 * LAP)


async def call_soon(meter: Meter) -> None:
    loop = asyncio.get_running_loop()
    called = 0

    def callback() -> None:
        nonlocal called
        called += 1

    for _ in meter.laps(LAP):
        called = 0
        for _ in range(LAP // BATCH):
            done: asyncio.Future[None] = loop.create_future()
            for _ in range(BATCH - 1):
                loop.call_soon(callback)
            loop.call_soon(done.set_result, None)
            await done
        expect("callbacks called", called, LAP // BATCH * (BATCH - 1))


async def call_later_cancel(meter: Meter) -> None:
    loop = asyncio.get_running_loop()
    called = 0

    def callback() -> None:
        nonlocal called
        called += 1

    for _ in meter.laps(LAP):
        for _ in range(LAP // BATCH):
            for _ in range(BATCH):
                loop.call_later(30, callback).cancel()
            # A turn of the loop now and then: some throw cancelled timers away only there.
            await asyncio.sleep(0)
        expect("cancelled timers that rang", called, 0)
