"""The parking lot: fair, cancellable, movable and breakable."""

from __future__ import annotations

from math import inf
from typing import Any, cast

import pytest

import nursery
from nursery import BrokenResourceError, CancelScope
from nursery.lowlevel import (
    ParkingLot,
    Task,
    add_parking_lot_breaker,
    checkpoint,
    current_task,
    remove_parking_lot_breaker,
)

from .in_run import in_a_run


class Sleepers:
    """Tasks that park in a lot and note when they wake."""

    def __init__(self) -> None:
        self.woken: list[object] = []
        self.tasks: dict[object, Task] = {}
        self.scopes: dict[object, CancelScope] = {}

    async def park(self, name: object, lot: ParkingLot) -> None:
        self.tasks[name] = current_task()
        with CancelScope() as scope:
            self.scopes[name] = scope
            await lot.park()
            self.woken.append(name)


async def settle() -> None:
    """Let everyone run who can."""
    for _ in range(4):
        await checkpoint()


@in_a_run
async def test_sleepers_are_woken_in_the_order_in_which_they_came() -> None:
    lot, sleepers = ParkingLot(), Sleepers()
    async with nursery.open_nursery() as n:
        for number in range(4):
            n.start_soon(sleepers.park, number, lot)
        await settle()
        woken = lot.unpark()
        assert woken == [sleepers.tasks[0]]
        lot.unpark(count=2)
        await settle()
        assert sleepers.woken == [0, 1, 2]
        lot.unpark_all()
    assert sleepers.woken == [0, 1, 2, 3]


@in_a_run
async def test_the_length_the_truth_and_the_statistics_count_the_sleepers() -> None:
    lot, sleepers = ParkingLot(), Sleepers()
    counts = [(len(lot), bool(lot), lot.statistics().tasks_waiting)]
    async with nursery.open_nursery() as n:
        for number in range(2):
            n.start_soon(sleepers.park, number, lot)
        await settle()
        counts.append((len(lot), bool(lot), lot.statistics().tasks_waiting))
        lot.unpark_all()
        counts.append((len(lot), bool(lot), lot.statistics().tasks_waiting))
    assert counts == [(0, False, 0), (2, True, 2), (0, False, 0)]


@in_a_run
async def test_unparking_an_empty_lot_wakes_nobody_and_saves_nothing() -> None:
    lot, sleepers = ParkingLot(), Sleepers()
    assert lot.unpark() == []
    assert lot.unpark_all() == []
    async with nursery.open_nursery() as n:
        n.start_soon(sleepers.park, 0, lot)
        await settle()
        assert sleepers.woken == []
        lot.unpark(count=100)
    assert sleepers.woken == [0]


@pytest.mark.parametrize("count", [0, -1, 1.5, -inf])
def test_a_count_that_is_no_positive_integer_is_refused(count: float) -> None:
    async def main() -> None:
        with pytest.raises(ValueError):
            ParkingLot().unpark(count=count)
        with pytest.raises(ValueError):
            ParkingLot().repark(ParkingLot(), count=count)

    nursery.run(main)


@in_a_run
async def test_a_cancelled_sleeper_is_no_longer_in_the_lot() -> None:
    lot, sleepers = ParkingLot(), Sleepers()
    async with nursery.open_nursery() as n:
        for number in range(3):
            n.start_soon(sleepers.park, number, lot)
        await settle()
        sleepers.scopes[1].cancel()
        assert len(lot) == 2
        lot.unpark(count=2)
    assert sleepers.woken == [0, 2]


@in_a_run
async def test_a_wake_up_that_was_handed_out_is_not_lost_if_the_sleeper_is_cancelled_afterwards() -> None:
    lot, sleepers = ParkingLot(), Sleepers()
    async with nursery.open_nursery() as n:
        n.start_soon(sleepers.park, 0, lot)
        await settle()
        assert lot.unpark() == [sleepers.tasks[0]]
        sleepers.scopes[0].cancel()
    assert sleepers.woken == [0]


@in_a_run
async def test_parking_in_a_cancelled_scope_raises_and_leaves_nothing_behind() -> None:
    lot = ParkingLot()
    with CancelScope() as scope:
        scope.cancel()
        await lot.park()
    assert scope.cancelled_caught
    assert len(lot) == 0


@in_a_run
async def test_repark_moves_the_longest_sleepers_to_the_end_of_the_other_lot() -> None:
    first, second, sleepers = ParkingLot(), ParkingLot(), Sleepers()
    async with nursery.open_nursery() as n:
        n.start_soon(sleepers.park, "second's own", second)
        for number in range(3):
            n.start_soon(sleepers.park, number, first)
        await settle()
        first.repark(second, count=2)
        assert (len(first), len(second)) == (1, 3)
        assert sleepers.woken == []
        second.unpark_all()
        await settle()
        assert sleepers.woken == ["second's own", 0, 1]
        first.repark_all(second)
        assert (len(first), len(second)) == (0, 1)
        second.unpark()
    assert sleepers.woken == ["second's own", 0, 1, 2]


@in_a_run
async def test_a_reparked_sleeper_that_is_cancelled_leaves_its_new_lot() -> None:
    first, second, sleepers = ParkingLot(), ParkingLot(), Sleepers()
    async with nursery.open_nursery() as n:
        n.start_soon(sleepers.park, 0, first)
        await settle()
        first.repark(second)
        sleepers.scopes[0].cancel()
        assert (len(first), len(second)) == (0, 0)
    assert sleepers.woken == []


@in_a_run
async def test_repark_takes_a_lot_and_nothing_else() -> None:
    with pytest.raises(TypeError):
        ParkingLot().repark(cast(Any, None))


@in_a_run
async def test_repark_wakes_in_the_order_of_arrival_over_a_chain_of_lots() -> None:
    lots, sleepers = [ParkingLot() for _ in range(3)], Sleepers()
    async with nursery.open_nursery() as n:
        for number in range(6):
            n.start_soon(sleepers.park, number, lots[number % 2])
        await settle()
        lots[0].repark_all(lots[2])
        lots[1].repark_all(lots[2])
        lots[2].unpark_all()
    assert sleepers.woken == [0, 2, 4, 1, 3, 5]


# Breaking


async def expect_broken(lot: ParkingLot, got: list[str]) -> None:
    """Park, and note the error."""
    try:
        await lot.park()
    except BrokenResourceError as exc:
        got.append(str(exc))


@in_a_run
async def test_a_broken_lot_raises_in_those_who_sleep_and_those_who_come_later() -> None:
    lot, got = ParkingLot(), list[str]()
    async with nursery.open_nursery() as n:
        n.start_soon(expect_broken, lot, got)
        await settle()
        lot.break_lot()
        await settle()
        assert len(got) == 1
        await expect_broken(lot, got)
    assert len(got) == 2
    assert repr(current_task()) in got[0]
    assert lot.broken_by == [current_task()]


@in_a_run
async def test_a_lot_breaks_when_a_registered_task_ends() -> None:
    lot, got, tasks = ParkingLot(), list[str](), list[Task]()

    async def owner() -> None:
        tasks.append(current_task())
        add_parking_lot_breaker(current_task(), lot)

    async with nursery.open_nursery() as n:
        n.start_soon(expect_broken, lot, got)
        n.start_soon(owner)
    assert len(got) == 1
    assert lot.broken_by == tasks


@in_a_run
async def test_a_lot_breaks_also_when_the_registered_task_fails_or_is_cancelled() -> None:
    for ending in ("error", "cancelled"):
        lot, got = ParkingLot(), list[str]()

        async def owner(lot: ParkingLot, ending: str) -> None:
            add_parking_lot_breaker(current_task(), lot)
            if ending == "error":
                raise ValueError
            await nursery.sleep_forever()

        async with nursery.open_nursery() as outer:
            outer.start_soon(expect_broken, lot, got)
            await settle()
            try:
                async with nursery.open_nursery() as n:
                    n.start_soon(owner, lot, ending)
                    await checkpoint()
                    n.cancel_scope.cancel()
            except* ValueError:
                pass
        assert len(got) == 1


@in_a_run
async def test_a_lot_breaks_once_for_each_registration() -> None:
    lot = ParkingLot()

    async def owner() -> None:
        for _ in range(3):
            add_parking_lot_breaker(current_task(), lot)
        remove_parking_lot_breaker(current_task(), lot)

    async with nursery.open_nursery() as n:
        n.start_soon(owner)
    assert len(lot.broken_by) == 2


@in_a_run
async def test_a_registration_that_was_undone_breaks_nothing() -> None:
    lot, sleepers = ParkingLot(), Sleepers()

    async def owner() -> None:
        add_parking_lot_breaker(current_task(), lot)
        remove_parking_lot_breaker(current_task(), lot)

    async with nursery.open_nursery() as n:
        n.start_soon(sleepers.park, 0, lot)
        n.start_soon(owner)
        await settle()
        assert lot.broken_by == []
        lot.unpark()


@in_a_run
async def test_undoing_a_registration_that_does_not_exist_is_an_error() -> None:
    lot = ParkingLot()
    with pytest.raises(RuntimeError):
        remove_parking_lot_breaker(current_task(), lot)
    add_parking_lot_breaker(current_task(), lot)
    with pytest.raises(RuntimeError):
        remove_parking_lot_breaker(current_task(), ParkingLot())
    remove_parking_lot_breaker(current_task(), lot)
    with pytest.raises(RuntimeError):
        remove_parking_lot_breaker(current_task(), lot)


@in_a_run
async def test_a_task_that_has_ended_cannot_be_registered() -> None:
    tasks: list[Task] = []

    async def child() -> None:
        tasks.append(current_task())

    async with nursery.open_nursery() as n:
        n.start_soon(child)
    with pytest.raises(BrokenResourceError, match="exited"):
        add_parking_lot_breaker(tasks[0], ParkingLot())


@in_a_run
async def test_a_task_may_break_the_lot_it_would_sleep_in() -> None:
    lot = ParkingLot()
    lot.break_lot()
    with pytest.raises(BrokenResourceError):
        await lot.park()


@in_a_run
async def test_breaking_again_names_the_latest_breaker() -> None:
    lot, got = ParkingLot(), list[str]()

    async def other() -> None:
        lot.break_lot()

    lot.break_lot()
    async with nursery.open_nursery() as n:
        n.start_soon(other, name="the other one")
    await expect_broken(lot, got)
    assert len(lot.broken_by) == 2
    assert "the other one" in got[0]


@in_a_run
async def test_moving_into_a_broken_lot_raises_in_the_moved() -> None:
    lot, broken, got = ParkingLot(), ParkingLot(), list[str]()
    broken.break_lot()
    async with nursery.open_nursery() as n:
        n.start_soon(expect_broken, lot, got)
        await settle()
        lot.repark(broken)
    assert len(got) == 1
    assert (len(lot), len(broken)) == (0, 0)


@in_a_run
async def test_each_sleeper_of_a_broken_lot_gets_an_error_of_its_own() -> None:
    lot, errors = ParkingLot(), list[BaseException]()

    async def sleeper() -> None:
        try:
            await lot.park()
        except BrokenResourceError as exc:
            errors.append(exc)

    async with nursery.open_nursery() as n:
        n.start_soon(sleeper)
        n.start_soon(sleeper)
        await settle()
        lot.break_lot()
    assert len(errors) == 2
    assert errors[0] is not errors[1]


@in_a_run
async def test_parking_in_a_broken_lot_while_cancelled_raises_one_of_the_two() -> None:
    lot = ParkingLot()
    lot.break_lot()
    with CancelScope() as scope:
        scope.cancel()
        with pytest.raises((BrokenResourceError, nursery.Cancelled)):
            await lot.park()
