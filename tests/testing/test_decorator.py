"""nursery_test: an async test for any test runner."""

from __future__ import annotations

import pytest

import nursery
from nursery.abc import Instrument
from nursery.testing import MockClock, nursery_test


def test_each_call_is_a_run_and_returns_the_value() -> None:
    @nursery_test
    async def add(a: int, b: int = 1) -> int:
        """Add."""
        await nursery.sleep(0)
        return a + b

    assert add(1, b=2) == 3
    assert add(1) == 2
    assert add.__doc__ == "Add."
    assert add.__name__ == "add"


def test_errors_come_out_as_they_are() -> None:
    @nursery_test
    async def fail() -> None:
        raise KeyError("it")

    with pytest.raises(KeyError, match="it"):
        fail()


def test_a_clock_and_instruments_among_the_keywords_take_part() -> None:
    class Counter(Instrument):
        steps = 0

        def before_task_step(self, task: nursery.lowlevel.Task) -> None:
            self.steps += 1

    @nursery_test
    async def sleep_long(clock: MockClock, counter: Counter) -> None:
        assert nursery.lowlevel.current_clock() is clock
        await nursery.sleep(1000)

    counter = Counter()
    sleep_long(clock=MockClock(autojump_threshold=0), counter=counter)
    assert counter.steps > 0


def test_two_clocks_are_too_many() -> None:
    @nursery_test
    async def never(a: MockClock, b: MockClock) -> None:
        pytest.fail("it ran")

    with pytest.raises(ValueError, match="too many clocks"):
        never(a=MockClock(), b=MockClock())
