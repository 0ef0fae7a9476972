"""Synchronisation leaves nothing behind for the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable

import pytest

import nursery
from nursery.sync import CapacityLimiter, Condition, Event, Lock, Semaphore, StrictFIFOLock
from nursery.testing import wait_all_tasks_blocked


async def use_event() -> None:
    event = Event()
    async with nursery.open_nursery() as n:
        n.start_soon(event.wait)
        await wait_all_tasks_blocked()
        event.set()


async def use_condition() -> None:
    condition = Condition()

    async def waiter() -> None:
        async with condition:
            await condition.wait()

    async with nursery.open_nursery() as n:
        n.start_soon(waiter)
        await wait_all_tasks_blocked()
        async with condition:
            condition.notify()


def contend(make: Callable[[], Lock | StrictFIFOLock | Semaphore | CapacityLimiter]) -> Callable[[], Awaitable[None]]:
    async def use() -> None:
        primitive = make()

        async def user() -> None:
            async with primitive:
                await nursery.lowlevel.checkpoint()
            with nursery.CancelScope() as scope:
                scope.cancel()
                async with primitive:
                    pass

        async with nursery.open_nursery() as n:
            n.start_soon(user)
            n.start_soon(user)

    return use


@pytest.mark.parametrize(
    "use",
    [
        use_event,
        use_condition,
        contend(Lock),
        contend(StrictFIFOLock),
        contend(lambda: Semaphore(1)),
        contend(lambda: CapacityLimiter(1)),
    ],
    ids=["Event", "Condition", "Lock", "StrictFIFOLock", "Semaphore", "CapacityLimiter"],
)
async def test_it_leaves_no_cyclic_garbage(use: Callable[[], Awaitable[None]]) -> None:
    await use()
    gc.collect()
    gc.disable()
    try:
        await use()
        await use()
        assert gc.collect() == 0
    finally:
        gc.enable()
