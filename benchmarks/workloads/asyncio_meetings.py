"""The asyncio API, where tasks meet: a condition, a barrier, a semaphore."""

from __future__ import annotations

import asyncio

from benchmarks.expect import expect
from benchmarks.meter import Meter

LAP = 3000
PARTIES = 10
PERMITS = 5


async def condition(meter: Meter) -> None:
    condition = asyncio.Condition()
    balls = [0, 0]

    async def play(side: int) -> None:
        for _ in range(LAP // 2):
            async with condition:
                # The first one begins; then the ball is on the side that has returned it less often.
                while balls[side] > balls[1 - side] or (side and balls[0] == balls[1]):
                    await condition.wait()
                balls[side] += 1
                condition.notify()

    for _ in meter.laps(LAP):
        balls[:] = 0, 0
        async with asyncio.TaskGroup() as group:
            group.create_task(play(0))
            group.create_task(play(1))
        expect("balls returned", sum(balls), LAP)


async def barrier(meter: Meter) -> None:
    barrier = asyncio.Barrier(PARTIES)
    rounds = LAP // PARTIES
    positions = 0

    async def meet() -> None:
        nonlocal positions
        for _ in range(rounds):
            position = await barrier.wait()
            positions += position

    for _ in meter.laps(LAP):
        positions = 0
        async with asyncio.TaskGroup() as group:
            for _ in range(PARTIES):
                group.create_task(meet())
        expect("sum of the positions", positions, rounds * sum(range(PARTIES)))


async def semaphore(meter: Meter) -> None:
    semaphore = asyncio.Semaphore(PERMITS)
    inside = most = 0

    async def enter() -> None:
        nonlocal inside, most
        sleep = asyncio.sleep
        for _ in range(LAP // PARTIES):
            async with semaphore:
                inside += 1
                most = max(most, inside)
                await sleep(0)
                inside -= 1

    for _ in meter.laps(LAP):
        most = 0
        async with asyncio.TaskGroup() as group:
            for _ in range(PARTIES):
                group.create_task(enter())
        expect("the most inside at once", most, PERMITS)
