"""How the facade waits: parked in a lot, by asyncio's rule of cancellation."""

from __future__ import annotations

import asyncio

import pytest

import nursery
from nursery import compat
from nursery.compat.waiting import Lot


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Waiters:
    """Tasks in a lot, and what became of them."""

    def __init__(self, count: int) -> None:
        self.lot = Lot()
        self.log: list[tuple[str, int]] = []
        self.tasks = [asyncio.create_task(self._wait(number)) for number in range(count)]

    async def _wait(self, number: int) -> None:
        try:
            await self.lot.wait(lambda: self.log.append(("lost", number)))
        except asyncio.CancelledError:
            self.log.append(("cancelled", number))
            raise
        self.log.append(("woken", number))


def test_tasks_are_woken_in_the_order_of_arrival() -> None:
    async def main() -> None:
        waiters = Waiters(3)
        await turns(1)
        assert len(waiters.lot) == 3
        assert waiters.lot.wake_one()
        await turns(1)
        assert waiters.log == [("woken", 0)]
        waiters.lot.wake_all()
        await turns(1)
        assert waiters.log == [("woken", number) for number in range(3)]
        assert not waiters.lot.wake_one()

    compat.run(main())


def test_an_edge_takes_a_task_out_of_the_lot() -> None:
    async def main() -> None:
        waiters = Waiters(2)
        await turns(1)
        waiters.tasks[0].cancel("why")
        assert len(waiters.lot) == 1
        with pytest.raises(asyncio.CancelledError, match="why"):
            await waiters.tasks[0]
        waiters.lot.wake_one()
        await turns(1)
        assert waiters.log == [("cancelled", 0), ("woken", 1)]

    compat.run(main())


def test_a_woken_task_that_is_cancelled_before_it_runs_has_lost_its_turn() -> None:
    async def main() -> None:
        waiters = Waiters(1)
        await turns(1)
        waiters.lot.wake_one()
        waiters.tasks[0].cancel()
        await turns(1)
        assert waiters.log == [("lost", 0), ("cancelled", 0)]
        assert waiters.tasks[0].cancelled()

    compat.run(main())


def test_a_scope_interrupts_the_wait_once_and_lets_clean_up_wait() -> None:
    async def main() -> None:
        lot = Lot()
        cleaned = False
        with nursery.move_on_after(0.001) as scope:
            try:
                await lot.wait()
            finally:
                asyncio.get_running_loop().call_soon(lot.wake_one)
                await lot.wait()
                cleaned = True
        assert scope.cancelled_caught
        assert cleaned
        assert len(lot) == 0

    compat.run(main())


def test_what_a_task_was_woken_for_comes_before_a_scope() -> None:
    async def main() -> None:
        lot = Lot()
        got = False

        async def wait(scope: nursery.CancelScope) -> None:
            nonlocal got
            with scope:
                await lot.wait()
                got = True
                await asyncio.sleep(0)
                raise AssertionError("the next await is interrupted")

        scope = nursery.CancelScope()
        task = asyncio.create_task(wait(scope))
        await turns(1)
        lot.wake_one()
        scope.cancel()
        await task
        assert got
        assert scope.cancelled_caught

    compat.run(main())


def test_a_task_of_asyncios_own_class_waits_in_a_lot_as_well() -> None:
    async def main() -> None:
        lot = Lot()
        log: list[str] = []

        async def wait() -> None:
            try:
                await lot.wait(lambda: log.append("lost"))
                log.append("woken")
            except asyncio.CancelledError:
                log.append("cancelled")
                raise

        loop = asyncio.get_running_loop()
        tasks = [asyncio.Task(wait(), loop=loop) for _ in range(3)]
        await turns(1)
        lot.wake_one()
        await turns(2)
        tasks[1].cancel()
        await turns(2)
        lot.wake_one()
        tasks[2].cancel()
        await turns(3)
        assert log == ["woken", "cancelled", "lost", "cancelled"]
        assert len(lot) == 0

    compat.run(main())
