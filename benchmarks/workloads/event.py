"""Ping-pong: two tasks that wake each other in turn through events."""

from __future__ import annotations

import asyncio

from benchmarks.dialect import Dialect, Event
from benchmarks.expect import expect
from benchmarks.meter import Meter

ROUNDS = 5000


async def in_dialect(lib: Dialect, meter: Meter) -> None:
    # Such an event is set once and for all, so each turn has one of its own.
    serve: Event
    reply: Event
    returned = 0

    async def ping() -> None:
        nonlocal reply, returned
        for _ in range(ROUNDS):
            reply = awaited = lib.Event()
            serve.set()
            await awaited.wait()
            returned += 1

    async def pong() -> None:
        nonlocal serve
        for _ in range(ROUNDS):
            await serve.wait()
            serve = lib.Event()
            reply.set()

    for _ in meter.laps(2 * ROUNDS):
        returned = 0
        serve, reply = lib.Event(), lib.Event()
        async with lib.open_nursery() as nursery:
            nursery.start_soon(ping)
            nursery.start_soon(pong)
        expect("balls returned", returned, ROUNDS)


async def in_asyncio(meter: Meter) -> None:
    serve, reply = asyncio.Event(), asyncio.Event()
    returned = 0

    async def ping() -> None:
        nonlocal returned
        for _ in range(ROUNDS):
            serve.set()
            await reply.wait()
            reply.clear()
            returned += 1

    async def pong() -> None:
        for _ in range(ROUNDS):
            await serve.wait()
            serve.clear()
            reply.set()

    for _ in meter.laps(2 * ROUNDS):
        returned = 0
        async with asyncio.TaskGroup() as group:
            group.create_task(ping())
            group.create_task(pong())
        expect("balls returned", returned, ROUNDS)
