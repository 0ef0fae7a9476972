"""Condition."""

from __future__ import annotations

from typing import Any

import pytest

import nursery
from nursery.lowlevel import current_task
from nursery.sync import Condition, ConditionStatistics, Lock, LockStatistics, Semaphore, StrictFIFOLock
from nursery.testing import assert_checkpoints, assert_no_checkpoints, wait_all_tasks_blocked


@pytest.mark.parametrize("lock", [Semaphore(1), StrictFIFOLock(), 1])
def test_only_a_lock_will_do(lock: Any) -> None:
    with pytest.raises(TypeError, match=r"lock must be a nursery\.Lock"):
        Condition(lock)


async def test_it_is_a_lock_too() -> None:
    lock = Lock()
    condition = Condition(lock)
    assert not condition.locked()
    with assert_no_checkpoints():
        condition.acquire_nowait()
    assert lock.locked()
    assert condition.locked()
    condition.release()
    with assert_checkpoints():
        await condition.acquire()
    condition.release()
    with assert_checkpoints():
        async with condition as nothing:
            assert nothing is None
            assert lock.locked()
    assert "<nursery.Condition" in repr(condition)


async def test_without_the_lock_nothing_works() -> None:
    condition = Condition()
    for held_by_another in (False, True):
        async with nursery.open_nursery() as n:
            if held_by_another:
                n.start_soon(hold, condition)
                await wait_all_tasks_blocked()
            with pytest.raises(RuntimeError, match="must hold the lock to wait"):
                await condition.wait()
            with pytest.raises(RuntimeError, match="must hold the lock to notify"):
                condition.notify()
            with pytest.raises(RuntimeError, match="must hold the lock to notify"):
                condition.notify_all()
            n.cancel_scope.cancel()


async def hold(condition: Condition) -> None:
    async with condition:
        await nursery.sleep_forever()


async def test_notified_tasks_go_on_in_order_and_each_holds_the_lock() -> None:
    condition = Condition()
    record: list[int] = []

    async def waiter(i: int) -> None:
        async with condition:
            with assert_checkpoints():
                await condition.wait()
            assert condition.statistics().lock_statistics.owner is current_task()
            record.append(i)
            await nursery.lowlevel.checkpoint()

    async with nursery.open_nursery() as n:
        for i in range(6):
            n.start_soon(waiter, i)
            await wait_all_tasks_blocked()
        assert condition.statistics() == ConditionStatistics(
            tasks_waiting=6, lock_statistics=LockStatistics(locked=False, owner=None, tasks_waiting=0)
        )
        async with condition:
            with assert_no_checkpoints():
                condition.notify()
            # Not woken, moved: it waits for the lock now.
            assert condition.statistics() == ConditionStatistics(
                tasks_waiting=5, lock_statistics=LockStatistics(locked=True, owner=current_task(), tasks_waiting=1)
            )
        await wait_all_tasks_blocked()
        assert record == [0]
        async with condition:
            condition.notify(2)
        await wait_all_tasks_blocked()
        assert record == [0, 1, 2]
        async with condition:
            condition.notify_all()
        await wait_all_tasks_blocked()
        assert record == [0, 1, 2, 3, 4, 5]
        async with condition:
            # Nobody waits: no harm.
            condition.notify()
            condition.notify_all()


async def test_a_cancelled_wait_takes_the_lock_again_before_it_raises() -> None:
    condition = Condition()
    record: list[str] = []
    scope = nursery.CancelScope()

    async def waiter() -> None:
        with scope:
            async with condition:
                try:
                    await condition.wait()
                finally:
                    assert condition.statistics().lock_statistics.owner is current_task()
                    record.append("has it again")

    async with nursery.open_nursery() as n:
        n.start_soon(waiter)
        await wait_all_tasks_blocked()
        async with condition:
            scope.cancel()
            await wait_all_tasks_blocked()
            # Cancelled, but it has to wait until we give the lock back.
            assert record == []
            assert condition.statistics().lock_statistics.tasks_waiting == 1
            # It is no waiter any more: a notification is not wasted on it.
            assert condition.statistics().tasks_waiting == 0
    assert record == ["has it again"]
    assert scope.cancelled_caught
    assert not condition.locked()


async def test_a_wait_that_is_cancelled_after_it_was_notified_takes_the_lock_again() -> None:
    condition = Condition()
    scope = nursery.CancelScope()
    record: list[str] = []

    async def waiter() -> None:
        with scope:
            async with condition:
                try:
                    await condition.wait()
                    record.append("notified")
                finally:
                    assert condition.statistics().lock_statistics.owner is current_task()

    async with nursery.open_nursery() as n:
        n.start_soon(waiter)
        await wait_all_tasks_blocked()
        async with condition:
            condition.notify()
            scope.cancel()
            await wait_all_tasks_blocked()
            assert condition.statistics().lock_statistics.tasks_waiting == 1
    assert scope.cancelled_caught
    assert record == []
    assert not condition.locked()


async def test_a_wait_that_has_the_lock_again_is_not_cancelled_any_more() -> None:
    condition = Condition()
    record: list[str] = []

    async def waiter() -> None:
        async with condition:
            await condition.wait()
            record.append("notified")

    async with nursery.open_nursery() as n:
        n.start_soon(waiter)
        await wait_all_tasks_blocked()
        async with condition:
            condition.notify()
        n.cancel_scope.cancel()
    assert record == ["notified"]


async def test_a_notifier_that_ends_without_releasing_breaks_the_lock_for_those_it_notified() -> None:
    condition = Condition()

    async def careless() -> None:
        await condition.acquire()
        condition.notify()

    async def waiter() -> None:
        await condition.acquire()
        with pytest.raises(nursery.BrokenResourceError, match="exited without releasing"):
            await condition.wait()

    async with nursery.open_nursery() as n:
        n.start_soon(waiter)
        await wait_all_tasks_blocked()
        n.start_soon(careless)


async def test_several_conditions_may_share_a_lock() -> None:
    lock = Lock()
    not_empty, not_full = Condition(lock), Condition(lock)
    box: list[int] = []
    received: list[int] = []

    async def producer() -> None:
        for i in range(20):
            async with not_full:
                while len(box) >= 2:
                    await not_full.wait()
                box.append(i)
                not_empty.notify()

    async def consumer() -> None:
        for _ in range(10):
            async with not_empty:
                while not box:
                    await not_empty.wait()
                received.append(box.pop(0))
                not_full.notify()

    async with nursery.open_nursery() as n:
        n.start_soon(producer)
        n.start_soon(consumer)
        n.start_soon(consumer)
    assert sorted(received) == list(range(20))
