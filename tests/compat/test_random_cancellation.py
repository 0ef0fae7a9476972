"""Random requests and random scopes over every kind of wait: no request is lost, none comes out of nothing.

Each task waits in a scope, for something of the facade or something native, and is cancelled by either at any time.
What happens depends on the clock as well, so a failure may need several tries; the seed names the program.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import nursery
from nursery import compat as asyncio

TASKS = 4
WAITS_EACH = 12


class Program:
    """One random program: some tasks, what they share, and somebody who cancels them."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.wrong: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.scopes: dict[int, nursery.CancelScope] = {}
        # How many requests each task has not been told of.
        self.requested = [0] * TASKS
        self.lock = asyncio.Lock()
        self.native_lock = nursery.Lock()
        self.semaphore = asyncio.Semaphore(1)
        self.condition = asyncio.Condition()
        self.queue: asyncio.Queue[None] = asyncio.Queue()
        self.event = asyncio.Event()
        self.waits: list[Callable[[], Awaitable[object]]] = [
            lambda: asyncio.sleep(0),
            lambda: asyncio.sleep(0.0005),
            lambda: nursery.sleep(0.0004),
            lambda: asyncio.gather(asyncio.sleep(0), asyncio.sleep(0.0003)),
            lambda: asyncio.wait_for(asyncio.sleep(0.0003), 5),
            lambda: asyncio.shield(asyncio.sleep(0.0004)),
            lambda: asyncio.wait([asyncio.ensure_future(asyncio.sleep(0.0003))]),
            lambda: self.event.wait(),
            self.hold_a_lock,
            self.hold_a_native_lock,
            self.hold_a_permit,
            self.use_the_queue,
            self.use_the_condition,
            self.wait_for_a_future,
            self.in_a_group,
            self.in_a_nursery,
        ]

    async def hold_a_lock(self) -> None:
        async with self.lock:
            await asyncio.sleep(0)

    async def hold_a_native_lock(self) -> None:
        async with self.native_lock:
            await nursery.lowlevel.checkpoint()

    async def hold_a_permit(self) -> None:
        async with self.semaphore:
            await asyncio.sleep(0.0003)

    async def use_the_queue(self) -> None:
        if self.random.random() < 0.5:
            self.queue.put_nowait(None)
        else:
            await self.queue.get()

    async def use_the_condition(self) -> None:
        async with self.condition:
            if self.random.random() < 0.4:
                self.condition.notify_all()
            else:
                await self.condition.wait()

    async def wait_for_a_future(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def end() -> None:
            if not future.done():
                future.set_result(None)

        asyncio.get_running_loop().call_later(0.0005, end)
        await future

    async def in_a_group(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0.0003))
            group.create_task(nursery.sleep(0.0002))

    async def in_a_nursery(self) -> None:
        async with nursery.open_nursery() as group:
            group.start_soon(asyncio.sleep, 0.0003)
            group.start_soon(nursery.sleep, 0.0002)

    async def work(self, number: int) -> None:
        for _ in range(WAITS_EACH):
            try:
                with nursery.CancelScope() as self.scopes[number]:
                    for _ in range(self.random.randrange(1, 4)):
                        await self.random.choice(self.waits)()
            except asyncio.CancelledError as exc:
                if isinstance(exc, nursery.Cancelled):
                    self.wrong.append(f"{number}: a scope let its own cancellation out")
                elif not self.requested[number]:
                    self.wrong.append(f"{number}: was cancelled by nobody")
                self.told(number)
            if self.requested[number]:
                try:
                    # It may still be on its way: the scope's came first.
                    await asyncio.sleep(0.0002)
                    await nursery.lowlevel.checkpoint()
                except asyncio.CancelledError:
                    pass
                else:
                    self.wrong.append(f"{number}: was not told of a request")
                self.told(number)

    def told(self, number: int) -> None:
        self.requested[number] = 0
        task = asyncio.current_task()
        assert task is not None
        while task.uncancel():
            pass

    async def disturb(self) -> None:
        while True:
            await asyncio.sleep(self.random.choice([0, 0, 0.0002]))
            for _ in range(self.random.randrange(3)):
                number, chance = self.random.randrange(TASKS), self.random.random()
                if self.tasks[number].done():
                    continue
                if chance < 0.35 and number in self.scopes:
                    self.scopes[number].cancel()
                elif chance < 0.7:
                    self.requested[number] += 1
                    self.tasks[number].cancel()
                elif chance < 0.8:
                    self.event.set()
                    self.event.clear()
                elif chance < 0.9:
                    self.queue.put_nowait(None)
                else:
                    async with self.condition:
                        self.condition.notify_all()

    async def main(self) -> None:
        self.tasks = [asyncio.create_task(self.work(number)) for number in range(TASKS)]
        disturber = asyncio.create_task(self.disturb())
        async with asyncio.timeout(5):
            await asyncio.wait(self.tasks)
        disturber.cancel()
        await asyncio.wait([disturber])
        for task in self.tasks:
            task.result()
        # Nothing is held, and nothing was given twice.
        states: tuple[Any, ...] = (self.lock.locked(), self.native_lock.locked(), self.condition.locked())
        assert states == (False, False, False)
        async with asyncio.timeout(1):
            await self.semaphore.acquire()
        assert self.semaphore.locked()


@pytest.mark.parametrize("first", range(0, 24, 4))
def test_no_request_is_lost_and_none_comes_out_of_nothing(first: int) -> None:
    for seed in range(first, first + 4):
        program = Program(seed)
        asyncio.run(program.main())
        assert program.wrong == [], f"seed {seed}"


@pytest.mark.parametrize("how", ["scope", "attribute"])
def test_what_a_shield_held_back_is_told_after_it_though_something_newer_was_told_inside(how: str) -> None:
    async def main() -> bool:
        with nursery.CancelScope() as outer:
            with nursery.CancelScope(shield=how == "scope") as shield:
                shield.shield = True
                with nursery.CancelScope() as inner:
                    outer.cancel()
                    inner.cancel()
                    await asyncio.Event().wait()
                if how == "attribute":
                    shield.shield = False
                    await asyncio.Event().wait()
            await asyncio.Event().wait()
        assert inner.cancelled_caught
        return outer.cancelled_caught

    async def bounded() -> bool:
        return await asyncio.wait_for(main(), 2)

    assert asyncio.run(bounded())


def test_what_was_told_before_a_shield_is_not_told_again_after_it() -> None:
    async def main() -> list[str]:
        steps: list[str] = []
        with nursery.CancelScope() as outer:
            try:
                outer.cancel()
                await asyncio.sleep(1)
            finally:
                with nursery.CancelScope(shield=True), nursery.CancelScope() as inner:
                    inner.cancel()
                    await asyncio.sleep(1)
                steps.append("shielded clean-up")
                await asyncio.sleep(0.001)
                steps.append("clean-up in peace")
        return steps

    assert asyncio.run(main()) == ["shielded clean-up", "clean-up in peace"]


async def shielded_child() -> None:
    with nursery.CancelScope(shield=True):
        await nursery.sleep(0.003)


async def nursery_that_ends_in_peace() -> None:
    async with nursery.open_nursery() as group:
        group.start_soon(shielded_child)


async def nursery_whose_failure_is_handled() -> None:
    async def fail_when_told() -> None:
        try:
            await asyncio.sleep(1)
        finally:
            raise ValueError

    try:
        async with nursery.open_nursery() as group:
            group.start_soon(fail_when_told)
    except* ValueError:
        pass


async def group_that_ends_in_peace() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(shielded_child())


async def call_in_a_thread() -> None:
    await nursery.to_thread.run_sync(time.sleep, 0.003)


async def timeout_that_comes_with_it() -> None:
    try:
        async with asyncio.timeout(0):
            time.sleep(0.002)
            await asyncio.Event().wait()
    except TimeoutError:
        pass


@pytest.mark.parametrize(
    "first",
    [
        nursery_that_ends_in_peace,
        nursery_whose_failure_is_handled,
        group_that_ends_in_peace,
        call_in_a_thread,
        timeout_that_comes_with_it,
    ],
)
def test_what_a_wait_has_not_raised_is_raised_by_the_next_one(first: Callable[[], Awaitable[None]]) -> None:
    async def main() -> bool:
        with nursery.move_on_after(0.001) as scope:
            await first()
            await asyncio.Event().wait()
        return scope.cancelled_caught

    async def bounded() -> bool:
        return await asyncio.wait_for(main(), 2)

    assert asyncio.run(bounded())
