"""Event: happens once, wakes everyone."""

from __future__ import annotations

import weakref

import pytest

import nursery
from nursery.lowlevel import Task, current_task
from nursery.sync import Event, EventStatistics
from nursery.testing import assert_checkpoints, assert_no_checkpoints, wait_all_tasks_blocked


async def test_wait_returns_at_once_after_set_and_is_a_checkpoint() -> None:
    event = Event()
    assert not event.is_set()
    with assert_no_checkpoints():
        event.set()
        event.set()
    assert event.is_set()
    for _ in range(20):
        with assert_checkpoints():
            await event.wait()


async def test_set_wakes_waiters_in_the_order_in_which_they_came() -> None:
    event = Event()
    record: list[str] = []

    async def waiter() -> None:
        with assert_checkpoints():
            await event.wait()
        record.append(current_task().name)

    async with nursery.open_nursery() as n:
        for name in "abcde":
            n.start_soon(waiter, name=name)
            await wait_all_tasks_blocked()
        assert event.statistics() == EventStatistics(tasks_waiting=5)
        assert record == []
        event.set()
        assert event.statistics() == EventStatistics(tasks_waiting=0)
        # In this order they enter the queue, whatever a seed makes of it.
        queue = current_task().runner.queue
        assert "".join(item.name for item in queue if isinstance(item, Task)) == "abcde"
    assert sorted(record) == list("abcde")


async def test_a_cancelled_waiter_leaves_nothing_behind() -> None:
    event = Event()
    with nursery.CancelScope() as scope:
        async with nursery.open_nursery() as n:
            n.start_soon(event.wait)
            await wait_all_tasks_blocked()
            scope.cancel()
    assert event.statistics().tasks_waiting == 0
    event.set()


async def test_a_waiter_that_was_woken_is_not_interrupted_any_more() -> None:
    event = Event()
    reached: list[bool] = []

    async def waiter() -> None:
        await event.wait()
        reached.append(True)

    async with nursery.open_nursery() as n:
        n.start_soon(waiter)
        await wait_all_tasks_blocked()
        event.set()
        n.cancel_scope.cancel()
    assert reached == [True]


@pytest.mark.parametrize("happened", [True, False])
async def test_wait_in_a_cancelled_scope_raises(happened: bool) -> None:
    event = Event()
    if happened:
        event.set()
    with nursery.CancelScope() as scope:
        scope.cancel()
        await event.wait()
        pytest.fail("it did not raise")
    assert scope.cancelled_caught
    assert event.statistics().tasks_waiting == 0


async def test_a_loop_over_a_set_event_lets_others_run() -> None:
    event = Event()
    event.set()
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await nursery.lowlevel.checkpoint()
            turns += 1

    async with nursery.open_nursery() as n:
        n.start_soon(other)
        for _ in range(100):
            await event.wait()
        n.cancel_scope.cancel()
    assert turns >= 8


def test_it_is_no_truth_value() -> None:
    with pytest.raises(NotImplementedError, match="is_set"):
        bool(Event())


def test_it_can_be_made_and_set_outside_a_run_and_weakly_referenced() -> None:
    event = Event()
    assert repr(event) == f"<nursery.Event at {id(event):#x}, not set, 0 waiting>"
    event.set()
    assert repr(event) == f"<nursery.Event at {id(event):#x}, set>"
    assert weakref.ref(event)() is event


def test_waiting_outside_a_run_is_a_runtime_error() -> None:
    with pytest.raises(RuntimeError, match="must be called from async context"):
        Event().wait().send(None)
