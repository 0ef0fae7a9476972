"""MockClock: time that a test moves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from math import inf, nan
from queue import SimpleQueue

import outcome
import pytest

import nursery
from nursery.testing import MockClock, wait_all_tasks_blocked


def test_the_time_moves_only_by_jumps() -> None:
    clock = MockClock()
    assert clock.rate == 0
    assert clock.autojump_threshold == inf
    assert clock.current_time() == 0
    clock.jump(1.25)
    clock.jump(0)
    assert clock.current_time() == 1.25
    assert clock.deadline_to_sleep_time(1.0) == 0
    assert clock.deadline_to_sleep_time(1.25) == 0
    assert clock.deadline_to_sleep_time(1.3) > 1_000_000
    assert "time=1.25" in repr(clock)


def test_the_time_moves_at_its_rate() -> None:
    real = 100.0
    clock = MockClock()
    clock._real_clock = lambda: real
    clock.rate = 0.5
    real += 1
    assert clock.current_time() == 0.5
    clock.rate = 4
    real += 1
    assert clock.current_time() == 4.5
    assert clock.deadline_to_sleep_time(8.5) == 1
    clock.jump(4)
    assert clock.deadline_to_sleep_time(8.5) == 0


@pytest.mark.parametrize("seconds", [-1, nan])
def test_it_cannot_jump_backwards(seconds: float) -> None:
    clock = MockClock()
    with pytest.raises(ValueError, match="time can't go backwards"):
        clock.jump(seconds)
    assert clock.current_time() == 0


@pytest.mark.parametrize("rate", [-1, nan])
def test_a_negative_rate_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="rate must be >= 0"):
        MockClock(rate=rate)
    clock = MockClock()
    with pytest.raises(ValueError, match="rate must be >= 0"):
        clock.rate = rate


def test_a_threshold_must_be_a_number() -> None:
    with pytest.raises(ValueError, match="autojump_threshold must not be NaN"):
        MockClock(autojump_threshold=nan)


def test_autojump_makes_sleeping_free_and_exact() -> None:
    async def main() -> None:
        for seconds in (1, 0.1, 1e-9, 1e6, 1 / 3):
            wanted = nursery.current_time() + seconds
            await nursery.sleep(seconds)
            assert nursery.current_time() == wanted

    began = time.perf_counter()
    nursery.run(main, clock=MockClock(autojump_threshold=0))
    assert time.perf_counter() - began < 1


def test_timeouts_fire_in_order_under_autojump() -> None:
    record: list[tuple[float, int]] = []

    async def child(i: int) -> None:
        with nursery.move_on_after(i):
            await nursery.sleep_forever()
        record.append((nursery.current_time(), i))

    async def main() -> None:
        async with nursery.open_nursery() as n:
            for i in (3, 1, 2):
                n.start_soon(child, i)

    nursery.run(main, clock=MockClock(autojump_threshold=0))
    assert record == [(1, 1), (2, 2), (3, 3)]


def test_the_clock_waits_for_the_threshold_before_it_jumps() -> None:
    async def main() -> None:
        await nursery.sleep(1000)

    began = time.perf_counter()
    nursery.run(main, clock=MockClock(autojump_threshold=0.02))
    assert 0.02 <= time.perf_counter() - began < 1


async def test_wait_all_tasks_blocked_goes_before_the_jump(autojump_clock: MockClock) -> None:
    record: list[str] = []

    async def sleeper() -> None:
        await nursery.sleep(1)
        record.append("jumped")

    async with nursery.open_nursery() as n:
        n.start_soon(sleeper)
        for _ in range(3):
            await wait_all_tasks_blocked(0.001)
            assert autojump_clock.current_time() == 0
        record.append("quiet")
    assert record == ["quiet", "jumped"]


async def test_a_task_may_change_the_threshold(mock_clock: MockClock) -> None:
    async with nursery.open_nursery() as n:
        n.start_soon(nursery.sleep, 100)
        await wait_all_tasks_blocked()
        assert len(n.child_tasks) == 1
        mock_clock.autojump_threshold = 0
    assert mock_clock.current_time() == 100
    mock_clock.autojump_threshold = inf
    with nursery.CancelScope() as scope:
        async with nursery.open_nursery() as n:
            n.start_soon(nursery.sleep, 1)
            await wait_all_tasks_blocked(0.005)
            scope.cancel()
    assert mock_clock.current_time() == 100


@pytest.mark.parametrize(
    "change",
    [
        lambda clock: setattr(clock, "autojump_threshold", 0),
        lambda clock: clock.jump(1000),
        lambda clock: setattr(clock, "rate", 1e7),
    ],
    ids=["threshold", "jump", "rate"],
)
def test_a_change_from_another_thread_wakes_a_sleeping_loop(change: Callable[[MockClock], object]) -> None:
    clock = MockClock()

    def later() -> None:
        time.sleep(0.02)
        change(clock)

    async def main() -> None:
        thread = threading.Thread(target=later)
        thread.start()
        await nursery.sleep(1000)
        thread.join()

    nursery.run(main, clock=clock)
    assert clock.current_time() >= 1000


def test_a_change_after_the_run_is_harmless() -> None:
    async def main() -> None:
        await nursery.sleep(0)

    clock = MockClock(autojump_threshold=0)
    nursery.run(main, clock=clock)
    clock.jump(1)
    clock.autojump_threshold = 1
    clock.rate = 1
    # And one clock may serve several runs, one after the other.
    nursery.run(main, clock=clock)


def test_a_change_by_another_thread_after_the_run_is_harmless() -> None:
    async def main() -> None:
        await nursery.sleep(0)

    clock = MockClock()
    nursery.run(main, clock=clock)
    thread = threading.Thread(target=clock.jump, args=(1,))
    thread.start()
    thread.join()
    assert clock.current_time() == 1


@pytest.mark.parametrize("autojump", [True, False])
def test_the_host_of_a_guest_run_may_change_the_clock_mid_sleep(autojump: bool) -> None:
    todo: SimpleQueue[Callable[[], object]] = SimpleQueue()
    results: list[outcome.Outcome[str]] = []
    clock = MockClock()
    asleep = threading.Event()

    async def main() -> str:
        asleep.set()
        await nursery.sleep(1000)
        return "slept"

    nursery.lowlevel.start_guest_run(
        main,
        run_sync_soon_threadsafe=todo.put,
        done_callback=results.append,
        host_uses_signal_set_wakeup_fd=True,
        clock=clock,
    )
    while not asleep.is_set() or not todo.empty():
        todo.get(timeout=5)()
    # The run now sleeps in its thread, for a day; we are the host.
    if autojump:
        clock.autojump_threshold = 0
    else:
        clock.jump(1000)
    while not results:
        todo.get(timeout=5)()
    assert results[0].unwrap() == "slept"
    assert clock.current_time() == 1000


def test_a_clock_that_is_not_the_runs_own_changes_nothing() -> None:
    async def main() -> None:
        runner = nursery.lowlevel.current_task().runner
        MockClock(autojump_threshold=0).autojump_threshold = 0
        assert runner.autojump_threshold == inf
        assert runner.autojump_clock is None

    nursery.run(main)
