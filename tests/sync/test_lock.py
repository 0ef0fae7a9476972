"""Lock and StrictFIFOLock."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

import pytest

import nursery
from nursery.lowlevel import current_task
from nursery.sync import Lock, LockStatistics, StrictFIFOLock
from nursery.testing import assert_checkpoints, assert_no_checkpoints, wait_all_tasks_blocked

AnyLock: TypeAlias = Lock | StrictFIFOLock

pytestmark = pytest.mark.parametrize("make", [Lock, StrictFIFOLock])


async def test_one_task_holds_it(make: Callable[[], AnyLock]) -> None:
    lock = make()
    assert not lock.locked()
    assert lock.statistics() == LockStatistics(locked=False, owner=None, tasks_waiting=0)
    assert repr(lock) == f"<nursery.{make.__name__} at {id(lock):#x}, unlocked>"
    with assert_no_checkpoints():
        lock.acquire_nowait()
    assert lock.locked()
    assert lock.statistics() == LockStatistics(locked=True, owner=current_task(), tasks_waiting=0)
    assert "locked with 0 waiters" in repr(lock)
    with assert_no_checkpoints():
        lock.release()
    assert not lock.locked()


async def test_acquire_is_a_checkpoint_each_time(make: Callable[[], AnyLock]) -> None:
    lock = make()
    for _ in range(20):
        with assert_checkpoints():
            await lock.acquire()
        lock.release()
    for _ in range(20):
        with assert_checkpoints():
            async with lock as nothing:
                assert nothing is None
                assert lock.locked()
        assert not lock.locked()


async def test_acquiring_it_twice_is_a_runtime_error(make: Callable[[], AnyLock]) -> None:
    lock = make()
    async with lock:
        with pytest.raises(RuntimeError, match="attempt to re-acquire an already held Lock"):
            lock.acquire_nowait()
        with pytest.raises(RuntimeError, match="attempt to re-acquire an already held Lock"):
            await lock.acquire()
    assert not lock.locked()


async def test_releasing_what_one_does_not_hold_is_a_runtime_error(make: Callable[[], AnyLock]) -> None:
    lock = make()
    with pytest.raises(RuntimeError, match="can't release a Lock you don't own: nobody holds it"):
        lock.release()

    async def thief() -> None:
        with pytest.raises(RuntimeError, match=r"can't release a Lock you don't own: <Task .* holds it"):
            lock.release()
        with pytest.raises(nursery.WouldBlock):
            lock.acquire_nowait()

    async with lock:
        async with nursery.open_nursery() as n:
            n.start_soon(thief)
    assert not lock.locked()


async def test_it_is_handed_to_the_one_who_has_waited_longest(make: Callable[[], AnyLock]) -> None:
    lock = make()
    record: list[int] = []

    async def waiter(i: int) -> None:
        with assert_checkpoints():
            await lock.acquire()
        record.append(i)
        assert lock.statistics().owner is current_task()
        lock.release()

    async with nursery.open_nursery() as n:
        await lock.acquire()
        for i in range(5):
            n.start_soon(waiter, i)
            await wait_all_tasks_blocked()
        assert lock.statistics().tasks_waiting == 5
        assert "locked with 5 waiters" in repr(lock)
        lock.release()
        # It is somebody else's already: the one who has just released it cannot take it back.
        assert lock.locked()
        with pytest.raises(nursery.WouldBlock):
            lock.acquire_nowait()
        await lock.acquire()
        record.append(99)
        lock.release()
    assert record == [0, 1, 2, 3, 4, 99]
    assert not lock.locked()


async def test_a_cancelled_waiter_leaves_the_queue(make: Callable[[], AnyLock]) -> None:
    lock = make()
    record: list[str] = []
    scope = nursery.CancelScope()

    async def impatient() -> None:
        with scope:
            await lock.acquire()

    async def patient() -> None:
        async with lock:
            record.append("patient")

    async with nursery.open_nursery() as n:
        async with lock:
            n.start_soon(impatient)
            await wait_all_tasks_blocked()
            n.start_soon(patient)
            await wait_all_tasks_blocked()
            scope.cancel()
            await wait_all_tasks_blocked()
            assert lock.statistics().tasks_waiting == 1
    assert scope.cancelled_caught
    assert record == ["patient"]


async def test_when_every_waiter_was_cancelled_release_frees_it(make: Callable[[], AnyLock]) -> None:
    lock = make()
    await lock.acquire()
    async with nursery.open_nursery() as n:
        n.start_soon(lock.acquire)
        n.start_soon(lock.acquire)
        await wait_all_tasks_blocked()
        n.cancel_scope.cancel()
    assert lock.statistics().tasks_waiting == 0
    lock.release()
    assert not lock.locked()
    assert current_task().breaks is None


async def test_a_waiter_that_was_chosen_and_is_then_cancelled_has_the_lock(make: Callable[[], AnyLock]) -> None:
    lock = make()
    record: list[str] = []

    async def chosen(scope: nursery.CancelScope) -> None:
        with scope:
            async with lock:
                record.append("has it")
                await nursery.lowlevel.checkpoint()
                record.append("was not cancelled")

    async def successor() -> None:
        async with lock:
            record.append("successor")

    async with nursery.open_nursery() as n:
        scope = nursery.CancelScope()
        await lock.acquire()
        n.start_soon(chosen, scope)
        await wait_all_tasks_blocked()
        n.start_soon(successor)
        await wait_all_tasks_blocked()
        lock.release()
        scope.cancel()
    assert record == ["has it", "successor"]
    assert not lock.locked()


async def test_acquire_in_a_cancelled_scope_takes_nothing(make: Callable[[], AnyLock]) -> None:
    lock = make()
    with nursery.CancelScope() as scope:
        scope.cancel()
        await lock.acquire()
    assert scope.cancelled_caught
    assert not lock.locked()


async def test_waiters_of_an_owner_that_ends_get_an_error_and_so_do_later_ones(make: Callable[[], AnyLock]) -> None:
    lock = make()
    errors: list[str] = []

    async def careless() -> None:
        await lock.acquire()
        await wait_all_tasks_blocked()

    async def waiter() -> None:
        with pytest.raises(nursery.BrokenResourceError) as caught:
            await lock.acquire()
        errors.append(str(caught.value))
        assert caught.value.__suppress_context__

    async with nursery.open_nursery() as n:
        n.start_soon(careless)
        await nursery.lowlevel.checkpoint()
        n.start_soon(waiter)
        n.start_soon(waiter)
    owner = lock.statistics().owner
    assert owner is not None
    assert len(errors) == 2
    for error in errors:
        assert re.match(f"Owner of this lock exited without releasing: {re.escape(repr(owner))}", error)
    with pytest.raises(nursery.BrokenResourceError, match="exited without releasing"):
        await lock.acquire()
    with pytest.raises(nursery.WouldBlock):
        lock.acquire_nowait()
    assert lock.locked()


async def test_an_owner_that_ends_while_nobody_waits_is_noticed_by_those_who_come_later(
    make: Callable[[], AnyLock],
) -> None:
    lock = make()
    async with nursery.open_nursery() as n:
        n.start_soon(lock.acquire)
    for _ in range(2):
        with pytest.raises(nursery.BrokenResourceError, match="Owner of this lock exited without releasing"):
            await lock.acquire()


async def test_an_heir_that_ends_without_releasing_breaks_it_for_those_behind(make: Callable[[], AnyLock]) -> None:
    lock = make()

    async def waiter() -> None:
        with pytest.raises(nursery.BrokenResourceError, match="exited without releasing"):
            await lock.acquire()

    async with nursery.open_nursery() as n:
        await lock.acquire()
        n.start_soon(lock.acquire)
        await wait_all_tasks_blocked()
        n.start_soon(waiter)
        await wait_all_tasks_blocked()
        lock.release()


async def test_ending_after_an_orderly_release_breaks_nothing(make: Callable[[], AnyLock]) -> None:
    lock = make()

    async def user() -> None:
        for _ in range(3):
            async with lock:
                await nursery.lowlevel.checkpoint()
        assert current_task().breaks is None

    async with nursery.open_nursery() as n:
        for _ in range(5):
            n.start_soon(user)
    await lock.acquire()
    lock.release()


async def test_tasks_that_loop_over_it_all_get_their_turn(make: Callable[[], AnyLock]) -> None:
    lock = make()
    record: list[int] = []

    async def loop(i: int) -> None:
        for _ in range(50):
            async with lock:
                record.append(i)

    async with nursery.open_nursery() as n:
        for i in range(3):
            n.start_soon(loop, i)
    if make is StrictFIFOLock:
        # Who is first depends on the schedule, but then they take turns.
        assert record == record[:3] * 50
        assert sorted(record[:3]) == [0, 1, 2]
    else:
        # Nobody takes it more often in a row than the budget allows.
        for i in range(3):
            assert str(i) * 12 not in "".join(map(str, record[:100]))
        assert {0, 1, 2} == set(record[:60])


def test_outside_a_run_it_is_a_runtime_error(make: Callable[[], AnyLock]) -> None:
    lock = make()
    for call in (lock.acquire_nowait, lock.release):
        with pytest.raises(RuntimeError, match="must be called from async context"):
            call()
