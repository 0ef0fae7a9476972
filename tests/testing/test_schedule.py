"""Seeded schedules: other orders than first in, first out, and the bugs that they shake out."""

from __future__ import annotations

import pytest

import nursery
from nursery.kernel.foreign import Callback
from nursery.sync import Lock
from nursery.testing import SeededSchedule, assert_no_checkpoints, explore_schedules, wait_all_tasks_blocked

Order = list[tuple[int, int]]


async def record_order(tasks: int = 10, rounds: int = 3) -> Order:
    order: Order = []

    async def child(i: int) -> None:
        for round_ in range(rounds):
            order.append((round_, i))
            await nursery.lowlevel.checkpoint()

    async with nursery.open_nursery() as n:
        for i in range(tasks):
            n.start_soon(child, i)
    return order


def order_with(seed: int | None) -> Order:
    async def main() -> Order:
        if seed is None:
            return await record_order()
        with SeededSchedule(seed):
            return await record_order()

    return nursery.run(main)


FIFO = [(round_, i) for round_ in range(3) for i in range(10)]


def test_without_a_seed_the_order_is_first_in_first_out() -> None:
    assert order_with(None) == FIFO


def test_the_same_seed_gives_the_same_order() -> None:
    for seed in range(5):
        assert order_with(seed) == order_with(seed)


def test_different_seeds_give_different_orders() -> None:
    assert len({tuple(order_with(seed)) for seed in range(20)}) == 20


def test_each_task_still_runs_once_a_batch() -> None:
    assert sorted(order_with(1)) == FIFO


async def test_one_object_gives_the_same_order_in_each_block() -> None:
    schedule = SeededSchedule(3)
    assert schedule.seed == 3
    # Let the run's own tasks settle: they are in the queue as well.
    await wait_all_tasks_blocked()
    with schedule:
        first = await record_order()
    await record_order()
    await wait_all_tasks_blocked()
    with schedule:
        second = await record_order()
    assert first == second != FIFO
    assert repr(schedule) == "<SeededSchedule, seed=3>"


async def test_schedules_nest_and_the_outer_one_comes_back() -> None:
    runner = nursery.lowlevel.current_task().runner
    before = runner.permute
    with SeededSchedule(1):
        outer = runner.permute
        assert outer is not None
        with SeededSchedule(2):
            assert runner.permute != outer
        assert runner.permute == outer
    assert runner.permute == before


async def test_one_object_cannot_be_in_use_twice_at_once() -> None:
    schedule = SeededSchedule(1)
    with schedule, pytest.raises(RuntimeError, match="in use already"):
        with schedule:
            pass


def test_outside_a_run_it_is_a_runtime_error() -> None:
    with pytest.raises(RuntimeError, match="must be called from async context"):
        with SeededSchedule(1):
            pass


async def test_entering_and_leaving_are_not_checkpoints() -> None:
    with assert_no_checkpoints():
        with SeededSchedule(1):
            pass


async def test_it_acts_at_once_on_tasks_that_were_started_before() -> None:
    orders: set[tuple[int, ...]] = set()
    for seed in range(10):
        order: list[int] = []

        async def note(i: int, order: list[int] = order) -> None:
            order.append(i)

        async with nursery.open_nursery() as n:
            for i in range(5):
                n.start_soon(note, i)
            with SeededSchedule(seed):
                await nursery.lowlevel.checkpoint()
        assert sorted(order) == list(range(5))
        orders.add(tuple(order))
    assert len(orders) > 1


async def test_callbacks_of_a_foreign_dialect_keep_their_order() -> None:
    runner = nursery.lowlevel.current_task().runner
    called: list[int] = []
    with SeededSchedule(5):
        async with nursery.open_nursery() as n:
            for i in range(20):
                n.start_soon(nursery.lowlevel.checkpoint)
                runner.queue.append(Callback(lambda i=i: called.append(i)))  # type: ignore[misc]  # a default binds i
    assert called == list(range(20))


async def test_many_tasks_are_all_served() -> None:
    with SeededSchedule(1):
        order = await record_order(tasks=500, rounds=2)
    assert len(set(order)) == 1000


# Bugs that depend on the order


async def right_by_luck() -> None:
    produced: list[str] = []

    async def producer() -> None:
        produced.append("it")

    async def consumer() -> None:
        assert produced, "the consumer relies on being second"

    async with nursery.open_nursery() as n:
        n.start_soon(producer)
        n.start_soon(consumer)


def test_a_race_is_found_and_the_seed_that_shows_it_is_named() -> None:
    nursery.run(right_by_luck)
    with pytest.raises(ExceptionGroup) as caught:
        explore_schedules(right_by_luck)
    (note,) = caught.value.__notes__
    assert note.startswith("with SeededSchedule(")
    seed = int(note.removeprefix("with SeededSchedule(").removesuffix(")"))
    with pytest.raises(ExceptionGroup):
        explore_schedules(right_by_luck, seeds=[seed])


async def locks_in_opposite_orders() -> None:
    a, b = Lock(), Lock()

    async def one() -> None:
        async with a:
            await nursery.lowlevel.checkpoint()
            async with b:
                pass

    async def two() -> None:
        # In the usual order this is just long enough for the other to be done.
        for _ in range(2):
            await nursery.lowlevel.checkpoint()
        async with b:
            await nursery.lowlevel.checkpoint()
            async with a:
                pass

    with nursery.fail_after(1):
        async with nursery.open_nursery() as n:
            n.start_soon(one)
            n.start_soon(two)


def test_a_deadlock_is_found_and_shows_as_a_timeout_at_once() -> None:
    nursery.run(locks_in_opposite_orders)
    with pytest.raises(nursery.TooSlowError):
        explore_schedules(locks_in_opposite_orders)


def test_exploring_runs_once_for_each_seed_and_passes_arguments_on() -> None:
    seen: list[tuple[object, str]] = []

    async def main(argument: str) -> None:
        await nursery.sleep(1000)
        seen.append((nursery.lowlevel.current_run_token(), argument))

    explore_schedules(main, "x", seeds=range(7))
    assert len(seen) == 7
    assert len({id(token) for token, _ in seen}) == 7
    assert {argument for _, argument in seen} == {"x"}
