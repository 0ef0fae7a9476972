"""The asyncio API, a lock: free whenever it is asked for, or never."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from benchmarks.expect import expect
from benchmarks.meter import Meter

LAP = 5000


@dataclass(frozen=True, slots=True)
class Locks:
    """So many tasks want the lock; with others about, whoever has it lets them run once."""

    tasks: int

    async def in_asyncio(self, meter: Meter) -> None:
        lock = asyncio.Lock()
        rounds = LAP // self.tasks
        inside = overlaps = taken = 0

        async def want_it(contended: bool) -> None:
            nonlocal inside, overlaps, taken
            sleep = asyncio.sleep
            for _ in range(rounds):
                async with lock:
                    inside += 1
                    if contended:
                        await sleep(0)
                    inside -= 1
                    overlaps += inside
                    taken += 1

        for _ in meter.laps(LAP):
            taken = 0
            async with asyncio.TaskGroup() as group:
                for _ in range(self.tasks):
                    group.create_task(want_it(self.tasks > 1))
            expect("times the lock was taken", taken, LAP)
            expect("others that had the lock", overlaps, 0)
