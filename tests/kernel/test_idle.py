"""Waiting until everybody else is blocked, and the clock that jumps when they are."""

from __future__ import annotations

import time
from math import inf, nan

import pytest

import nursery
from nursery import CancelScope
from nursery.kernel.current import current_runner
from nursery.kernel.idle import wait_all_tasks_blocked
from nursery.lowlevel import checkpoint

from .in_run import in_a_run
from .jumping_clock import JumpingClock


class PatientClock(JumpingClock):
    """A virtual clock as a mock clock is one: sleeps are endless until it is made to jump by the idle mechanism."""

    def __init__(self) -> None:
        super().__init__()
        self.jumps: list[float] = []

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return 0.0 if deadline <= self.time else 999.0

    def autojump(self, threshold: float) -> None:
        """Let the current run jump to the next deadline after `threshold` real seconds of idleness."""
        runner = current_runner()

        def jump() -> None:
            self.time = max(self.time, runner.deadlines.next_deadline())
            self.jumps.append(self.time)

        runner.autojump_clock = jump
        runner.autojump_threshold = threshold


@in_a_run
async def test_it_returns_once_every_other_task_is_blocked() -> None:
    log: list[str] = []

    async def busy() -> None:
        for _ in range(10):
            await checkpoint()
        log.append("busy ended")

    async with nursery.open_nursery() as n:
        n.start_soon(busy)
        n.start_soon(nursery.sleep_forever)
        await wait_all_tasks_blocked()
        log.append("all blocked")
        n.cancel_scope.cancel()
    assert log == ["busy ended", "all blocked"]


@in_a_run
async def test_a_cushion_restarts_whenever_somebody_runs() -> None:
    log: list[str] = []

    async def restless() -> None:
        for _ in range(4):
            await nursery.sleep(0.002)
        log.append("restless ended")

    async with nursery.open_nursery() as n:
        n.start_soon(restless)
        await wait_all_tasks_blocked(cushion=0.02)
        log.append("quiet")
    assert log == ["restless ended", "quiet"]


@in_a_run
async def test_the_cushion_is_waited_in_full() -> None:
    before = time.monotonic()
    await wait_all_tasks_blocked(cushion=0.005)
    assert time.monotonic() - before >= 0.004


@in_a_run
async def test_waiters_with_a_short_cushion_wake_before_those_with_a_long_one() -> None:
    log: list[str] = []

    async def waiter(name: str, cushion: float) -> None:
        await wait_all_tasks_blocked(cushion)
        log.append(name)

    async with nursery.open_nursery() as n:
        n.start_soon(waiter, "long", 0.004)
        n.start_soon(waiter, "zero", 0.0)
        n.start_soon(waiter, "short", 0.001)
        n.start_soon(waiter, "zero too", 0.0)
    assert log == ["zero", "zero too", "short", "long"]


@in_a_run
async def test_waiters_with_one_cushion_wake_together() -> None:
    woken_at: list[int] = []
    steps = 0

    async def waiter() -> None:
        nonlocal steps
        await wait_all_tasks_blocked(0.001)
        woken_at.append(steps)

    async with nursery.open_nursery() as n:
        for _ in range(5):
            n.start_soon(waiter)
    assert len(woken_at) == 5


@in_a_run
async def test_a_cancelled_waiter_is_forgotten() -> None:
    with nursery.move_on_after(0.001) as scope:
        await wait_all_tasks_blocked(cushion=10)
    assert scope.cancelled_caught
    assert len(current_runner().idle.waiting) == 0
    with CancelScope() as scope:
        scope.cancel()
        await wait_all_tasks_blocked()
    assert scope.cancelled_caught
    assert len(current_runner().idle.waiting) == 0


@pytest.mark.parametrize("cushion", [-1, nan])
def test_a_cushion_that_is_no_duration_is_refused(cushion: float) -> None:
    async def main() -> None:
        with pytest.raises(ValueError):
            await wait_all_tasks_blocked(cushion)

    nursery.run(main)


@in_a_run
async def test_it_does_not_wait_for_deadlines() -> None:
    before = time.monotonic()
    async with nursery.open_nursery() as n:
        n.start_soon(nursery.sleep, 100)
        await wait_all_tasks_blocked()
        n.cancel_scope.cancel()
    assert time.monotonic() - before < 1


# The jumping clock


def test_an_idle_run_jumps_to_the_next_deadline() -> None:
    clock = PatientClock()

    async def main() -> float:
        clock.autojump(0)
        await nursery.sleep(100)
        await nursery.sleep(50)
        return nursery.current_time()

    assert nursery.run(main, clock=clock) == 1150
    assert clock.jumps == [1100, 1150]


def test_waiters_for_idleness_wake_before_the_clock_jumps() -> None:
    clock = PatientClock()
    log: list[tuple[str, float]] = []

    async def sleeper() -> None:
        await nursery.sleep(10)
        log.append(("sleeper", nursery.current_time()))

    async def main() -> None:
        clock.autojump(0)
        async with nursery.open_nursery() as n:
            n.start_soon(sleeper)
            for _ in range(5):
                await wait_all_tasks_blocked()
                log.append(("blocked", nursery.current_time()))

    nursery.run(main, clock=clock)
    assert log == [("blocked", 1000.0)] * 5 + [("sleeper", 1010.0)]


def test_waiters_with_a_cushion_wake_before_the_clock_jumps_too() -> None:
    clock = PatientClock()
    log: list[tuple[str, float]] = []

    async def waiter() -> None:
        await wait_all_tasks_blocked(0.002)
        log.append(("blocked", nursery.current_time()))

    async def main() -> None:
        clock.autojump(0)
        async with nursery.open_nursery() as n:
            n.start_soon(waiter)
            await nursery.sleep(10)
            log.append(("slept", nursery.current_time()))

    nursery.run(main, clock=clock)
    assert log == [("blocked", 1000.0), ("slept", 1010.0)]


def test_a_threshold_is_real_time_of_idleness() -> None:
    clock = PatientClock()

    async def main() -> None:
        clock.autojump(0.005)
        await nursery.sleep(10_000)

    before = time.monotonic()
    nursery.run(main, clock=clock)
    assert 0.004 <= time.monotonic() - before < 1


def test_an_infinite_threshold_never_jumps() -> None:
    clock = PatientClock()

    async def main() -> None:
        clock.autojump(inf)
        async with nursery.open_nursery() as n:
            n.start_soon(nursery.sleep, 5)
            await wait_all_tasks_blocked(0.005)
            n.cancel_scope.cancel()

    nursery.run(main, clock=clock)
    assert clock.jumps == []
