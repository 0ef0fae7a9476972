"""Task switches: tasks that do nothing but let the others run."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from benchmarks.dialect import Dialect
from benchmarks.expect import expect
from benchmarks.meter import Meter

SWITCHES = 20_000


@dataclass(frozen=True, slots=True)
class Switch:
    tasks: int

    async def in_dialect(self, lib: Dialect, meter: Meter) -> None:
        steps = SWITCHES // self.tasks
        taken = 0

        async def step() -> None:
            nonlocal taken
            checkpoint = lib.lowlevel.checkpoint
            for _ in range(steps):
                await checkpoint()
            taken += steps

        for _ in meter.laps(SWITCHES):
            taken = 0
            async with lib.open_nursery() as nursery:
                for _ in range(self.tasks):
                    nursery.start_soon(step)
            expect("steps", taken, SWITCHES)

    async def in_asyncio(self, meter: Meter) -> None:
        steps = SWITCHES // self.tasks
        taken = 0

        async def step() -> None:
            nonlocal taken
            sleep = asyncio.sleep
            for _ in range(steps):
                await sleep(0)
            taken += steps

        for _ in meter.laps(SWITCHES):
            taken = 0
            async with asyncio.TaskGroup() as group:
                for _ in range(self.tasks):
                    group.create_task(step())
            expect("steps", taken, SWITCHES)
