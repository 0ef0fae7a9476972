"""The loop: strict order, bounded distance between polls, and two batches that do the same."""

from __future__ import annotations

import random
import socket
import sys
import threading
import time
from collections.abc import Callable
from math import inf
from typing import Any

import outcome
import pytest

import nursery
from nursery import CancelScope, Nursery, TaskStatus
from nursery.abc import Instrument
from nursery.kernel.current import current_runner
from nursery.kernel.loop import POLL_EVERY
from nursery.kernel.runner import END_OF_BATCH, Runner
from nursery.lowlevel import (
    Abort,
    ParkingLot,
    Task,
    cancel_shielded_checkpoint,
    checkpoint,
    current_task,
    reschedule,
    wait_readable,
    wait_task_rescheduled,
)

from .in_run import in_a_run
from .jumping_clock import JumpingClock

# Order


@in_a_run
async def test_tasks_step_in_turn_for_ever() -> None:
    order: list[int] = []

    async def turns(number: int) -> None:
        for _ in range(50):
            order.append(number)
            await checkpoint()

    async with nursery.open_nursery() as n:
        for number in range(7):
            n.start_soon(turns, number)
    assert order == list(range(7)) * 50


@in_a_run
async def test_a_woken_task_stands_behind_those_that_were_runnable_before() -> None:
    order: list[str] = []
    tasks: list[Task] = []

    async def sleeper() -> None:
        tasks.append(current_task())
        await wait_task_rescheduled(lambda raise_cancel: Abort.SUCCEEDED)
        order.append("woken")

    async def runnable(name: str) -> None:
        order.append(name)

    async with nursery.open_nursery() as n:
        n.start_soon(sleeper)
        await checkpoint()
        n.start_soon(runnable, "before")
        reschedule(tasks[0])
        n.start_soon(runnable, "after")
    assert order == ["before", "woken", "after"]


def test_sleepers_due_at_different_times_wake_in_the_order_of_their_deadlines() -> None:
    order: list[int] = []

    async def sleeper(number: int) -> None:
        await nursery.sleep(number / 5000)
        order.append(number)

    async def main() -> None:
        async with nursery.open_nursery() as n:
            for number in (4, 1, 3, 2):
                n.start_soon(sleeper, number)
            await cancel_shielded_checkpoint()

    nursery.run(main, clock=JumpingClock())
    assert order == [1, 2, 3, 4]


def test_a_program_does_the_same_each_time() -> None:
    assert trace_of(3, traced=False) == trace_of(3, traced=False)


# Polling and the clock


def test_a_busy_run_polls_at_least_every_64_steps() -> None:
    steps = 0
    distances: list[int] = []

    async def busy() -> None:
        nonlocal steps
        for _ in range(300):
            steps += 1
            await checkpoint()

    async def main() -> None:
        nonlocal steps
        io = current_runner().io

        def counting(question: Callable[[float], Any]) -> Callable[[float], Any]:
            def ask(timeout: float) -> Any:
                nonlocal steps
                distances.append(steps)
                steps = 0
                return question(timeout)

            return ask

        # The driver's two questions, counted.
        for name in ("fetch", "poll"):
            setattr(io, name, counting(getattr(io, name)))
        async with nursery.open_nursery() as n:
            for _ in range(5):
                n.start_soon(busy)

    nursery.run(main)
    assert POLL_EVERY == 64
    assert len(distances) > 20
    assert max(distances) <= POLL_EVERY


def test_a_busy_run_does_not_poll_in_every_turn() -> None:
    polls = 0

    class Watcher(Instrument):
        def before_io_wait(self, timeout: float) -> None:
            nonlocal polls
            polls += 1

    async def main() -> None:
        for _ in range(1000):
            await checkpoint()

    nursery.run(main, instruments=[Watcher()])
    assert polls <= 1000 / POLL_EVERY + 5


@in_a_run
async def test_a_descriptor_that_becomes_ready_is_seen_while_others_are_busy() -> None:
    here, there = socket.socketpair()
    done = False

    async def busy() -> None:
        turns = 0
        while not done:
            turns += 1
            assert turns < 1000
            await checkpoint()

    with here, there:
        async with nursery.open_nursery() as n:
            n.start_soon(busy)
            n.start_soon(busy)
            there.send(b"x")
            await wait_readable(here)
            done = True


@in_a_run
async def test_a_deadline_is_noticed_while_others_are_busy() -> None:
    async def busy() -> None:
        while True:
            await checkpoint()

    with nursery.fail_after(1):
        with nursery.move_on_after(0.002) as scope:
            async with nursery.open_nursery() as n:
                n.start_soon(busy)
                n.start_soon(busy)
    assert scope.cancelled_caught


def test_between_two_steps_of_one_task_the_clock_is_looked_at_if_there_is_a_deadline() -> None:
    class Ticking(JumpingClock):
        """A clock that moves a second at each look."""

        def current_time(self) -> float:
            self.time += 1
            return self.time

    async def main() -> int:
        steps = 0
        with nursery.move_on_after(10):
            while True:
                steps += 1
                await checkpoint()
        return steps

    assert nursery.run(main, clock=Ticking()) <= 11


@pytest.mark.parametrize("timeout", [1e20, inf])
def test_the_longest_sleeps_do_not_overflow_the_system_call(timeout: float) -> None:
    async def main() -> None:
        with nursery.move_on_after(timeout):
            async with nursery.open_nursery() as n:
                n.start_soon(nursery.sleep, timeout)
                await nursery.sleep(0.001)
                n.cancel_scope.cancel()

    nursery.run(main)


# Two batches, one meaning


def trace_of(seed: int, traced: bool) -> list[tuple[object, ...]]:
    """Run the random program number `seed`, with or without an instrument; return all that it saw."""
    trace: list[tuple[object, ...]] = []
    rng = random.Random(seed)
    lot = ParkingLot()
    scopes: list[CancelScope] = []
    sleepers: list[Task] = []
    born = 0

    def started(*, task_status: TaskStatus[int]) -> Any:
        return starting(task_status)

    async def starting(task_status: TaskStatus[int]) -> None:
        await checkpoint()
        task_status.started(rng.randrange(10))
        await checkpoint()

    async def park() -> None:
        await lot.park()

    async def wait_for_an_outcome() -> None:
        sleepers.append(current_task())

        def abort(raise_cancel: Any) -> Abort:
            sleepers.remove(current)
            return Abort.SUCCEEDED

        current = current_task()
        trace.append(("got", await wait_task_rescheduled(abort)))

    async def random_task(name: str, depth: int) -> None:
        nonlocal born
        trace.append(("born", name, nursery.current_time()))
        try:
            with CancelScope(relative_deadline=rng.choice([inf, inf, 1, 3]), shield=rng.random() < 0.1) as scope:
                scopes.append(scope)
                async with nursery.open_nursery() as n:
                    for _ in range(rng.randrange(6)):
                        await act(name, depth, n)
        except* ValueError as group:
            trace.append(("caught", name, len(group.exceptions)))
        trace.append(("ends", name, scope.cancelled_caught, nursery.current_time()))

    async def act(name: str, depth: int, n: Nursery) -> None:
        nonlocal born
        action = rng.randrange(13)
        trace.append(("act", name, action))
        if action < 4 and depth < 3 and born < 60:
            born += 1
            n.start_soon(random_task, f"{name}.{born}", depth + 1)
        elif action == 4:
            await checkpoint()
        elif action == 5:
            await nursery.sleep(rng.choice([0, 0.5, 1, 2]))
        elif action == 6:
            with nursery.move_on_after(2):
                await park()
        elif action == 7:
            lot.unpark(count=2)
        elif action == 8:
            rng.choice(scopes).cancel()
        elif action == 9 and rng.random() < 0.3:
            raise ValueError(name)
        elif action == 10:
            trace.append(("started", name, await n.start(started)))
        elif action == 11:
            with nursery.move_on_after(1):
                await wait_for_an_outcome()
        elif sleepers:
            reschedule(sleepers.pop(0), rng.choice([outcome.Value(name), outcome.Error(ValueError(name))]))

    async def main() -> None:
        await random_task("main", 0)

    instruments = [Instrument()] if traced else []
    try:
        nursery.run(main, clock=JumpingClock(), instruments=instruments, debug=True)
    except BaseException as exc:
        trace.append(("failed", type(exc).__name__))
    else:
        trace.append(("ended",))
    return trace


def test_plain_and_traced_batch_do_the_same_for_random_programs(long_form: bool) -> None:
    lengths = []
    for seed in range(3000 if long_form else 120):
        plain, traced = trace_of(seed, traced=False), trace_of(seed, traced=True)
        assert plain == traced, f"program {seed}"
        lengths.append(len(plain))
    assert max(lengths) > 60, "the programs are too small to show anything"


def test_the_self_check_finds_nothing_in_random_programs(long_form: bool) -> None:
    for seed in range(1000, 10_000 if long_form else 1100):
        assert trace_of(seed, traced=False)[-1] == ("ended",), f"program {seed}"


def test_an_instrument_added_in_the_middle_changes_nothing_of_the_order() -> None:
    def order(add: Callable[[], None]) -> list[int]:
        seen: list[int] = []

        async def turns(number: int) -> None:
            for turn in range(6):
                seen.append(number)
                if (number, turn) == (1, 2):
                    add()
                await checkpoint()

        async def main() -> None:
            async with nursery.open_nursery() as n:
                for number in range(4):
                    n.start_soon(turns, number)

        nursery.run(main)
        return seen

    assert order(lambda: None) == order(lambda: nursery.lowlevel.add_instrument(Instrument()))


def test_a_permuted_run_changes_the_order_by_the_seed_and_nothing_else() -> None:
    def order(seed: int | None) -> list[int]:
        seen: list[int] = []

        async def child(number: int) -> None:
            await checkpoint()
            seen.append(number)

        async def main() -> None:
            runner: Runner = current_runner()
            if seed is not None:
                rng = random.Random(seed)

                def permute(queue: Any) -> None:
                    items = list(queue)
                    rng.shuffle(items)
                    queue.clear()
                    queue.extend(items)

                runner.permute = permute
                # It acts from the next batch on.
                runner.queue.appendleft(END_OF_BATCH)
                await checkpoint()
            async with nursery.open_nursery() as n:
                for number in range(8):
                    n.start_soon(child, number)

        nursery.run(main, debug=True)
        return seen

    assert order(None) == list(range(8))
    assert order(5) == order(5)
    assert sorted(order(5)) == list(range(8))
    assert len({tuple(order(seed)) for seed in range(5)}) > 1


def test_the_loop_keeps_no_finished_task_alive_while_it_sleeps() -> None:
    import gc
    import weakref

    references: list[weakref.ref[Task]] = []
    alive: list[bool] = []

    async def child() -> None:
        references.append(weakref.ref(current_task()))

    async def main() -> None:
        async with nursery.open_nursery() as n:
            n.start_soon(child)
        gc.collect()
        await nursery.sleep(0.001)
        alive.append(references[0]() is not None)

    nursery.run(main)
    assert alive == [False]


# Other threads


@pytest.mark.parametrize("others", [0, 1])
def test_a_busy_run_gives_way_to_other_threads_if_there_are_any(others: int, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    monkeypatch.setattr("nursery.kernel.loop.sleep", given.append)
    over = threading.Event()
    threads = [threading.Thread(target=over.wait) for _ in range(others)]
    alone = threading.active_count() == 1

    async def main() -> None:
        end = time.monotonic() + 4 * sys.getswitchinterval()
        while time.monotonic() < end:
            await checkpoint()

    for thread in threads:
        thread.start()
    try:
        nursery.run(main)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    if others or not alone:
        assert 1 <= len(given) <= 6
    else:
        assert not given
