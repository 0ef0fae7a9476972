"""One producer, one consumer, and some room or none between them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from benchmarks.dialect import Dialect, ReceiveChannel, SendChannel
from benchmarks.expect import expect
from benchmarks.meter import Meter

ITEMS = 5000


@dataclass(frozen=True, slots=True)
class Channel:
    room: int

    async def in_dialect(self, lib: Dialect, meter: Meter) -> None:
        received = 0

        async def produce(channel: SendChannel) -> None:
            async with channel:
                for item in range(ITEMS):
                    await channel.send(item)

        async def consume(channel: ReceiveChannel) -> None:
            nonlocal received
            async with channel:
                async for item in channel:
                    received += item

        for _ in meter.laps(ITEMS):
            received = 0
            send, receive = lib.open_memory_channel(self.room)
            async with lib.open_nursery() as nursery:
                nursery.start_soon(produce, send)
                nursery.start_soon(consume, receive)
            expect("sum of the items", received, sum(range(ITEMS)))

    async def in_asyncio(self, meter: Meter) -> None:
        received = 0

        async def produce(queue: asyncio.Queue[int]) -> None:
            for item in range(ITEMS):
                await queue.put(item)

        async def consume(queue: asyncio.Queue[int]) -> None:
            nonlocal received
            for _ in range(ITEMS):
                received += await queue.get()

        for _ in meter.laps(ITEMS):
            received = 0
            # A queue of 0 would be one without a limit; the nearest to no room is room for one.
            queue = asyncio.Queue[int](self.room or 1)
            async with asyncio.TaskGroup() as group:
                group.create_task(produce(queue))
                group.create_task(consume(queue))
            expect("sum of the items", received, sum(range(ITEMS)))
