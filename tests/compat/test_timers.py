"""call_later and call_at, on the kernel's deadlines."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from nursery import compat
from nursery.compat.loop import EventLoop
from nursery.kernel.clock import Clock


class HandClock(Clock):
    """A clock that jumps to whatever is waited for."""

    def __init__(self) -> None:
        self.time = 100.0

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return self.time

    def deadline_to_sleep_time(self, deadline: float) -> float:
        self.time = max(self.time, min(deadline, self.time + 3600))
        return 0.0


@pytest.fixture
def loop() -> Any:
    loop = EventLoop(HandClock())
    yield loop
    loop.close()


def test_timers_ring_by_time_and_equal_ones_in_order_of_creation(loop: EventLoop) -> None:
    rung: list[str] = []
    start = loop.time()
    loop.call_at(start + 2, rung.append, "2 a")
    loop.call_at(start + 1, rung.append, "1")
    loop.call_at(start + 2, rung.append, "2 b")
    loop.call_later(-5, rung.append, "past")
    loop.run_until_complete(asyncio.sleep(3))
    assert rung == ["past", "1", "2 a", "2 b"]


def test_two_equal_timers_both_ring(loop: EventLoop) -> None:
    rung: list[int] = []
    when = loop.time() + 1
    loop.call_at(when, rung.append, 1)
    loop.call_at(when, rung.append, 1)
    loop.run_until_complete(asyncio.sleep(2))
    assert rung == [1, 1]


def test_a_cancelled_timer_is_removed_truly(loop: EventLoop) -> None:
    rung: list[int] = []
    handle = loop.call_later(1, rung.append, 1)
    assert isinstance(handle, asyncio.TimerHandle)
    assert handle.when() == loop.time() + 1
    assert len(loop.runner.deadlines) == 1
    handle.cancel()
    handle.cancel()
    assert handle.cancelled()
    assert len(loop.runner.deadlines) == 0
    loop.run_until_complete(asyncio.sleep(2))
    assert rung == []


def test_timers_in_any_order_ring_by_time_and_the_cancelled_ones_never(loop: EventLoop) -> None:
    rung: list[float] = []
    random = Random(3)
    start = loop.time()
    times = [random.choice((0.001, 0.02, 5.0)) * random.randrange(1, 9) for _ in range(300)]
    handles = [loop.call_at(start + time, rung.append, time) for time in times]
    for number, handle in enumerate(handles):
        assert isinstance(handle, asyncio.TimerHandle)
        if number % 3 == 0:
            handle.cancel()
    loop.runner.deadlines.check()
    loop.run_until_complete(asyncio.sleep(50))
    assert rung == sorted(time for number, time in enumerate(times) if number % 3)
    assert len(loop.runner.deadlines) == 0


def test_a_timer_may_be_cancelled_after_it_rang(loop: EventLoop) -> None:
    rung: list[str] = []
    handle = loop.call_later(1, rung.append, "once")
    assert handle.when() == loop.time() + 1
    loop.run_until_complete(asyncio.sleep(2))
    assert rung == ["once"]
    assert not handle.cancelled()
    handle.cancel()
    assert handle.cancelled()


def test_a_timer_cancelled_after_it_was_queued_does_not_ring(loop: EventLoop) -> None:
    rung: list[int] = []
    when = loop.time() + 1
    handles: list[asyncio.TimerHandle] = []
    loop.call_at(when, lambda: handles[0].cancel())
    handles.append(loop.call_at(when, rung.append, 1))
    loop.run_until_complete(asyncio.sleep(2))
    assert rung == []


def test_timers_compare_by_their_times(loop: EventLoop) -> None:
    when = loop.time() + 60
    early, late, other = (loop.call_at(time, print) for time in (when, when + 1, when + 1))
    assert early < late > early <= late >= early
    assert late <= other >= late
    assert not (late < other)
    assert not (late > other)
    assert not (late <= early)
    assert not (early >= late)
    assert late != early
    with pytest.raises(TypeError):
        assert late <= 5  # type: ignore[operator]  # that is the point
    for timer in (early, late, other):
        timer.cancel()


def test_none_is_no_time(loop: EventLoop) -> None:
    nothing: Any = None
    with pytest.raises(TypeError, match="delay must not be None"):
        loop.call_later(nothing, print)
    with pytest.raises(TypeError, match="when cannot be None"):
        loop.call_at(nothing, print)


def test_the_loops_time_is_the_runs_clock() -> None:
    async def main() -> None:
        import nursery

        assert abs(asyncio.get_running_loop().time() - nursery.current_time()) < 1

    compat.run(main())
