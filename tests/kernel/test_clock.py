"""Clocks: the system's, and those a user brings."""

from __future__ import annotations

import time

import pytest

import nursery
from nursery.kernel.clock import Clock, SystemClock
from nursery.lowlevel import checkpoint, current_clock

from .in_run import in_a_run
from .jumping_clock import JumpingClock


@in_a_run
async def test_the_default_clock_is_the_systems_monotonic_one() -> None:
    before = time.monotonic()
    now = nursery.current_time()
    assert before <= now <= time.monotonic()
    assert isinstance(current_clock(), SystemClock)


def test_the_system_clock_tells_how_long_to_sleep() -> None:
    clock = SystemClock()
    clock.start_clock()
    deadline = clock.current_time() + 10
    assert 9 < clock.deadline_to_sleep_time(deadline) <= 10
    assert Clock.current_time is not SystemClock.current_time
    assert SystemClock.current_time(clock) <= clock.current_time()


def test_a_custom_clock_is_started_once_and_then_asked() -> None:
    clock = JumpingClock(start=50)

    async def main() -> tuple[float, float]:
        assert current_clock() is clock
        began = nursery.current_time()
        await nursery.sleep(1000)
        return began, nursery.current_time()

    assert nursery.run(main, clock=clock) == (50, 1050)
    assert clock.started == 1


def test_a_clock_may_underestimate_the_sleep() -> None:
    class Impatient(JumpingClock):
        asked = 0

        def deadline_to_sleep_time(self, deadline: float) -> float:
            self.asked += 1
            if self.time + 1 < deadline:
                self.time += 1
                return 0.0
            self.time = deadline
            return 0.0

    clock = Impatient()

    async def main() -> float:
        await nursery.sleep(5)
        return nursery.current_time()

    assert nursery.run(main, clock=clock) == 1005
    assert clock.asked >= 5


def test_a_clock_that_sleeps_really_waits_that_long() -> None:
    async def main() -> float:
        before = time.monotonic()
        await nursery.sleep(0.005)
        return time.monotonic() - before

    assert 0.004 <= nursery.run(main) < 0.5


def test_a_clock_must_answer_all_three_questions() -> None:
    with pytest.raises(TypeError):
        Clock()  # type: ignore[abstract]  # the misuse under test


def test_a_run_without_deadlines_does_not_read_the_clock() -> None:
    class Counting(JumpingClock):
        reads = 0

        def current_time(self) -> float:
            self.reads += 1
            return self.time

    clock = Counting()

    async def main() -> int:
        before = clock.reads
        for _ in range(200):
            await checkpoint()
        return clock.reads - before

    assert nursery.run(main, clock=clock) == 0


def test_a_clock_that_fails_ends_the_run_with_an_internal_error() -> None:
    from .broken_run import internal_error_of

    class Broken(JumpingClock):
        def deadline_to_sleep_time(self, deadline: float) -> float:
            raise ValueError("the clock is broken")

    async def main() -> None:
        await nursery.sleep(1)

    assert "the clock is broken" in internal_error_of(lambda: nursery.run(main, clock=Broken()))
