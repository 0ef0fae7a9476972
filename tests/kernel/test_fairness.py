"""Fairness: nobody who could run waits longer than a bounded number of other steps."""

from __future__ import annotations

import os
import socket

import nursery
from nursery.kernel.current import current_runner
from nursery.kernel.idle import wait_all_tasks_blocked
from nursery.kernel.traps import BUDGET
from nursery.lowlevel import (
    ParkingLot,
    cancel_shielded_checkpoint,
    checkpoint,
    current_run_token,
    current_task,
    wait_readable,
    wait_writable,
)

from .in_run import in_a_run


class Turns:
    """Counts how often a neighbour ran."""

    def __init__(self) -> None:
        self.count = 0
        self.stop = False

    async def run(self) -> None:
        while not self.stop:
            self.count += 1
            await checkpoint()


async def finish_at_once() -> None:
    """An operation that need not wait, written as the kernel's operations are."""
    task = current_task()
    if task.alert:
        task.raise_if_interrupted()
    if task.budget > 0:
        task.budget -= 1
    else:
        task.budget = BUDGET
        await cancel_shielded_checkpoint()


@in_a_run
async def test_a_checkpoint_always_lets_the_neighbour_run() -> None:
    turns = Turns()
    async with nursery.open_nursery() as n:
        n.start_soon(turns.run)
        for number in range(20):
            await checkpoint()
            assert turns.count == number + 1
        turns.stop = True


@in_a_run
async def test_operations_that_need_not_wait_let_the_neighbour_run_within_the_budget() -> None:
    turns = Turns()
    async with nursery.open_nursery() as n:
        n.start_soon(turns.run)
        await checkpoint()
        seen = []
        for _ in range(10):
            before = turns.count
            for _ in range(BUDGET + 1):
                await finish_at_once()
            seen.append(turns.count - before)
        turns.stop = True
    assert min(seen) >= 1


@in_a_run
async def test_the_budget_is_small() -> None:
    assert 1 <= BUDGET <= 32


@in_a_run
async def test_a_counting_test_makes_every_operation_yield() -> None:
    class Count:
        cancel_points = 0
        schedule_points = 0

    turns, task = Turns(), current_task()
    async with nursery.open_nursery() as n:
        n.start_soon(turns.run)
        await checkpoint()
        task.count = count = Count()
        task.refresh()
        for _ in range(5):
            before = turns.count
            await finish_at_once()
            assert turns.count == before + 1
        task.count = None
        task.refresh()
        turns.stop = True
    assert (count.cancel_points, count.schedule_points) == (5, 5)


@in_a_run
async def test_waiting_for_a_descriptor_that_is_ready_lets_the_neighbour_run() -> None:
    turns = Turns()
    here, there = socket.socketpair()
    with here, there:
        there.send(b"never read")
        async with nursery.open_nursery() as n:
            n.start_soon(turns.run)
            for _ in range(5):
                before = turns.count
                await wait_readable(here)
                await wait_writable(here)
                assert turns.count > before
            turns.stop = True


@in_a_run
async def test_two_tasks_that_wake_each_other_do_not_starve_a_third() -> None:
    lot, turns = ParkingLot(), Turns()

    async def player() -> None:
        while not turns.stop:
            lot.unpark()
            await lot.park()

    async with nursery.open_nursery() as n:
        n.start_soon(player)
        n.start_soon(player)
        n.start_soon(turns.run)
        for _ in range(50):
            await checkpoint()
        assert turns.count >= 49
        turns.stop = True
        await checkpoint()
        lot.unpark_all()
        await checkpoint()
        n.cancel_scope.cancel()


@in_a_run
async def test_a_thousand_busy_tasks_do_not_starve_io() -> None:
    read, write = os.pipe()
    stop = False

    async def busy() -> None:
        while not stop:
            await checkpoint()

    try:
        async with nursery.open_nursery() as n:
            for _ in range(1000):
                n.start_soon(busy)
            await checkpoint()
            os.write(write, b"x")
            await wait_readable(read)
            stop = True
    finally:
        os.close(read)
        os.close(write)


@in_a_run
async def test_a_busy_task_does_not_starve_calls_from_outside() -> None:
    called: list[str] = []
    current_run_token().run_sync_soon(called.append, "called")
    turns = 0
    while not called:
        turns += 1
        assert turns < 1000
        await checkpoint()


@in_a_run
async def test_a_flood_of_new_tasks_does_not_starve_old_ones() -> None:
    turns = Turns()

    async def spawner(left: int) -> None:
        if left:
            n.start_soon(spawner, left - 1)

    async with nursery.open_nursery() as n:
        n.start_soon(turns.run)
        n.start_soon(spawner, 100)
        for _ in range(100):
            await checkpoint()
        assert turns.count >= 99
        turns.stop = True
    await wait_all_tasks_blocked()
    assert len(current_runner().queue) == 0
