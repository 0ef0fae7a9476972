"""The table of deadlines: exact times in coarse buckets, true removal, a bound on empty buckets."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import inf

import pytest

import nursery
from nursery.kernel.current import current_runner
from nursery.kernel.deadlines import SPARE, Deadlines
from nursery.lowlevel import current_task

from .in_run import in_a_run, in_virtual_time


class Entry:
    """Something with a deadline, that notes its expiry."""

    def __init__(self, name: object, expired: list[object], act: Callable[[], object] | None = None) -> None:
        self.name = name
        self.expired = expired
        self.act = act

    def expire(self) -> None:
        self.expired.append(self.name)
        if self.act is not None:
            self.act()


def test_what_is_due_expires_and_the_rest_stays() -> None:
    table, expired = Deadlines(), list[object]()
    for when in (1.0, 2.0, 3.0):
        table.add(Entry(when, expired), when)
    assert table.expire(2.0)
    assert expired == [1.0, 2.0]
    assert len(table) == 1
    assert table.soonest == 3.0


def test_nothing_expires_early_within_a_bucket() -> None:
    table, expired = Deadlines(), list[object]()
    base = 10.0
    for tenth in range(10):
        table.add(Entry(tenth, expired), base + tenth / 1000)
    table.expire(base + 4.5 / 1000)
    assert expired == [0, 1, 2, 3, 4]


def test_entries_expire_in_the_order_of_their_deadlines_also_within_a_bucket() -> None:
    table, expired = Deadlines(), list[object]()
    for when in (5.003, 5.001, 4.0, 5.002):
        table.add(Entry(when, expired), when)
    table.expire(6.0)
    assert expired == [4.0, 5.001, 5.002, 5.003]


def test_equal_deadlines_expire_in_the_order_in_which_they_were_added() -> None:
    table, expired = Deadlines(), list[object]()
    for name in "abcdef":
        table.add(Entry(name, expired), 7.0)
    table.expire(7.0)
    assert expired == list("abcdef")


def test_a_removed_entry_does_not_expire() -> None:
    table, expired = Deadlines(), list[object]()
    entry = Entry("removed", expired)
    table.add(entry, 1.0)
    table.remove(entry, 1.0)
    assert not table.expire(2.0)
    assert expired == []
    assert len(table) == 0


def test_an_entry_removed_by_the_expiry_of_another_does_not_expire() -> None:
    table, expired = Deadlines(), list[object]()
    victim = Entry("victim", expired)
    table.add(Entry("first", expired, lambda: table.remove(victim, 1.5)), 1.0)
    table.add(victim, 1.5)
    table.expire(2.0)
    assert expired == ["first"]


def test_an_entry_moved_by_the_expiry_of_another_waits_for_its_new_time() -> None:
    table, expired = Deadlines(), list[object]()
    moved = Entry("moved", expired)

    def move() -> None:
        table.remove(moved, 1.5)
        table.add(moved, 9.0)

    table.add(Entry("first", expired, move), 1.0)
    table.add(moved, 1.5)
    table.expire(2.0)
    assert expired == ["first"]
    assert table.next_deadline() == 9.0


def test_an_expiring_entry_may_add_itself_again() -> None:
    table, expired = Deadlines(), list[object]()
    entry = Entry("periodic", expired)
    entry.act = lambda: table.add(entry, len(expired) + 1.0)
    table.add(entry, 1.0)
    for now in (1.0, 2.0, 3.0):
        table.expire(now)
    assert expired == ["periodic"] * 3
    assert table.soonest == 4.0


def test_soonest_is_never_later_than_the_earliest_deadline() -> None:
    table = Deadlines()
    rng = random.Random(5)
    live: dict[Entry, float] = {}
    for _ in range(2000):
        if live and rng.random() < 0.5:
            entry = rng.choice(list(live))
            table.remove(entry, live.pop(entry))
        else:
            entry, when = Entry("", []), rng.uniform(-3, 3)
            live[entry] = when
            table.add(entry, when)
        earliest = min(live.values(), default=inf)
        assert table.soonest <= earliest
        if rng.random() < 0.1:
            assert table.next_deadline() == earliest == table.soonest
        table.check()
    assert len(table) == len(live)
    assert dict(table) == live


def test_an_earlier_deadline_in_the_bucket_used_last_is_the_soonest() -> None:
    table = Deadlines()
    first, second, third = (Entry(name, []) for name in "abc")
    table.add(first, 10.003)
    table.add(second, 10.001)
    table.check()
    assert table.soonest == 10.001
    table.remove(second, 10.001)
    assert table.next_deadline() == 10.003
    table.add(third, 10.002)
    table.check()
    assert table.soonest == 10.002


def test_an_entry_for_the_bucket_used_last_is_not_lost_when_that_was_dropped() -> None:
    table, expired = Deadlines(), list[object]()
    first, second = Entry("first", expired), Entry("second", expired)
    table.add(first, 10.001)
    table.remove(first, 10.001)
    assert table.next_deadline() == inf
    table.add(second, 10.001)
    table.check()
    assert table.next_deadline() == 10.001
    table.expire(11.0)
    assert expired == ["second"]


def test_what_an_expiry_adds_to_a_bucket_that_is_being_emptied_expires_later() -> None:
    table, expired = Deadlines(), list[object]()
    late = Entry("late", expired)
    table.add(Entry("first", expired, lambda: table.add(late, 10.001)), 10.001)
    assert table.expire(11.0)
    assert expired == ["first"]
    table.check()
    assert table.next_deadline() == 10.001
    table.expire(11.0)
    assert expired == ["first", "late"]


def test_setting_and_dropping_timeouts_for_ever_keeps_the_table_small() -> None:
    table = Deadlines()
    entry = Entry("", [])
    for number in range(20_000):
        table.add(entry, number / 10)
        table.remove(entry, number / 10)
    assert len(table) == 0
    assert len(table._buckets) <= SPARE + 1


def test_an_empty_table_has_no_next_deadline() -> None:
    table = Deadlines()
    entry = Entry("", [])
    table.add(entry, 1.0)
    table.remove(entry, 1.0)
    assert table.next_deadline() == inf
    assert table.soonest == inf
    assert not table.expire(1e9)


def test_the_largest_and_the_smallest_times_keep_their_order() -> None:
    table, expired = Deadlines(), list[object]()
    times = [1e308, 1e300, 1e18, 5.0, -1e18, -1e300, -1e308, -inf]
    for when in times:
        table.add(Entry(when, expired), when)
        assert table.next_deadline() == when, "each is earlier than those before"
    table.expire(1.7e308)
    assert expired == sorted(times)


def test_negative_times_near_zero_expire_exactly() -> None:
    table, expired = Deadlines(), list[object]()
    for when in (0.001, -0.001, 0.0, -0.02):
        table.add(Entry(when, expired), when)
    table.expire(-0.001)
    assert expired == [-0.02, -0.001]
    table.expire(0.0)
    assert expired == [-0.02, -0.001, 0.0]


def test_a_host_is_woken_when_the_earliest_deadline_changes() -> None:
    table = Deadlines()
    woken: list[str] = []
    table.wake_host = lambda: woken.append("woken")
    table.add(Entry("", []), 5.0)
    assert len(woken) == 1
    table.add(Entry("", []), 9.0)
    assert len(woken) == 1
    table.add(Entry("", []), 2.0)
    assert len(woken) == 2


def test_the_self_check_finds_an_entry_in_the_wrong_bucket() -> None:
    table = Deadlines()
    entry = Entry("", [])
    table.add(entry, 1.0)
    (bucket,) = table._buckets.values()
    bucket[entry] = 5.0
    with pytest.raises(AssertionError):
        table.check()


@in_virtual_time
async def test_a_scope_that_expires_takes_the_sleepers_inside_it_out_of_the_table() -> None:
    start = nursery.current_time()
    with nursery.move_on_at(start + 1):
        async with nursery.open_nursery() as n:
            for _ in range(3):
                n.start_soon(nursery.sleep_until, start + 1.001)
    assert len(current_runner().deadlines) == 0


@in_virtual_time
async def test_a_scope_and_a_sleeper_due_in_one_instant_do_not_wake_the_task_twice() -> None:
    start = nursery.current_time()

    async def limited() -> None:
        with nursery.move_on_at(start + 1):
            await nursery.sleep_until(start + 1)

    async def slept_first() -> None:
        scope = nursery.CancelScope()
        with scope:
            scope.deadline = inf
            task = current_task()
            task.runner.deadlines.add(Entry("", []), start + 1)
            scope.deadline = start + 1
            await nursery.sleep_until(start + 1)

    async with nursery.open_nursery() as n:
        for _ in range(3):
            n.start_soon(limited)
            n.start_soon(slept_first)
    assert nursery.current_time() == start + 1


@in_a_run
async def test_nothing_is_left_in_the_table_after_scopes_sleeps_and_cancellations() -> None:
    async def busy(number: int) -> None:
        with nursery.move_on_after(0.001 * (number % 3)):
            with nursery.move_on_after(100):
                await nursery.sleep(0.001 * (number % 5))

    async with nursery.open_nursery() as n:
        for number in range(30):
            n.start_soon(busy, number)
    assert len(current_runner().deadlines) == 0


@in_virtual_time
async def test_a_task_that_ends_inside_a_timed_scope_takes_its_deadline_along() -> None:
    scopes: list[nursery.CancelScope] = []

    async def untidy() -> None:
        scope = nursery.CancelScope(relative_deadline=50)
        scope.__enter__()
        scopes.append(scope)

    async with nursery.open_nursery() as n:
        n.start_soon(untidy)
    assert len(current_runner().deadlines) == 0
    await nursery.sleep(100)
    assert not scopes[0].cancel_called
