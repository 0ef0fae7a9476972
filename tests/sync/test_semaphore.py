"""Semaphore."""

from __future__ import annotations

from typing import Any

import pytest

import nursery
from nursery.lowlevel import ParkingLotStatistics
from nursery.sync import Semaphore
from nursery.testing import assert_checkpoints, assert_no_checkpoints, wait_all_tasks_blocked


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"initial_value": 1.0}, TypeError),
        ({"initial_value": -1}, ValueError),
        ({"initial_value": 1, "max_value": 2.0}, TypeError),
        ({"initial_value": 2, "max_value": 1}, ValueError),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Semaphore(**arguments)


async def test_it_counts() -> None:
    semaphore = Semaphore(2)
    assert semaphore.value == 2
    assert semaphore.max_value is None
    assert repr(semaphore) == f"<nursery.Semaphore(2) at {id(semaphore):#x}>"
    with assert_no_checkpoints():
        semaphore.acquire_nowait()
    with assert_checkpoints():
        await semaphore.acquire()
    assert semaphore.value == 0
    with pytest.raises(nursery.WouldBlock):
        semaphore.acquire_nowait()
    with assert_no_checkpoints():
        semaphore.release()
    assert semaphore.value == 1
    async with semaphore:
        assert semaphore.value == 0
    assert semaphore.value == 1
    # Without a limit there may be more than there were.
    semaphore.release()
    semaphore.release()
    assert semaphore.value == 3


async def test_acquire_is_a_checkpoint_each_time() -> None:
    semaphore = Semaphore(1)
    for _ in range(20):
        with assert_checkpoints():
            async with semaphore:
                pass


async def test_a_limit_is_kept() -> None:
    semaphore = Semaphore(1, max_value=1)
    assert semaphore.max_value == 1
    assert "max_value=1" in repr(semaphore)
    with pytest.raises(ValueError, match="semaphore released too many times"):
        semaphore.release()
    assert semaphore.value == 1
    await semaphore.acquire()
    semaphore.release()
    with pytest.raises(ValueError, match="semaphore released too many times"):
        semaphore.release()


async def test_a_full_semaphore_with_a_limit_of_zero_cannot_be_released() -> None:
    with pytest.raises(ValueError, match="semaphore released too many times"):
        Semaphore(0, max_value=0).release()


async def test_a_unit_goes_to_the_one_who_has_waited_longest() -> None:
    semaphore = Semaphore(0)
    record: list[int] = []

    async def waiter(i: int) -> None:
        with assert_checkpoints():
            await semaphore.acquire()
        record.append(i)

    async with nursery.open_nursery() as n:
        for i in range(3):
            n.start_soon(waiter, i)
            await wait_all_tasks_blocked()
        assert semaphore.statistics() == ParkingLotStatistics(tasks_waiting=3)
        semaphore.release()
        # It is given away already, the value never rises.
        assert semaphore.value == 0
        with pytest.raises(nursery.WouldBlock):
            semaphore.acquire_nowait()
        await wait_all_tasks_blocked()
        assert record == [0]
        semaphore.release()
        await wait_all_tasks_blocked()
        semaphore.release()
    assert record == [0, 1, 2]
    assert semaphore.value == 0


async def test_a_cancelled_waiter_takes_nothing() -> None:
    semaphore = Semaphore(0)
    async with nursery.open_nursery() as n:
        n.start_soon(semaphore.acquire)
        await wait_all_tasks_blocked()
        n.cancel_scope.cancel()
    assert semaphore.statistics().tasks_waiting == 0
    semaphore.release()
    assert semaphore.value == 1
    with nursery.CancelScope() as scope:
        scope.cancel()
        await semaphore.acquire()
    assert scope.cancelled_caught
    assert semaphore.value == 1


async def test_a_waiter_that_was_chosen_and_is_then_cancelled_has_its_unit() -> None:
    semaphore = Semaphore(0)
    record: list[str] = []

    async def chosen() -> None:
        async with semaphore:
            record.append("has it")
            await nursery.sleep_forever()

    async with nursery.open_nursery() as n:
        n.start_soon(chosen)
        await wait_all_tasks_blocked()
        semaphore.release()
        n.cancel_scope.cancel()
    assert record == ["has it"]
    assert semaphore.value == 1
