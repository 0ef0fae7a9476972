"""Time limits and sleeping: exact in virtual time, clear about misuse."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from math import inf, nan

import pytest

import nursery
from nursery import CancelScope, TooSlowError
from nursery.lowlevel import checkpoint, current_statistics

from .kernel.in_run import in_a_run, in_virtual_time

Limit = Callable[[float], AbstractContextManager[CancelScope]]

# Sleeping


@in_virtual_time
async def test_sleep_lasts_as_long_as_asked() -> None:
    start = nursery.current_time()
    await nursery.sleep(2.5)
    assert nursery.current_time() == start + 2.5


@in_virtual_time
async def test_sleep_until_ends_at_the_time_asked() -> None:
    when = nursery.current_time() + 7
    await nursery.sleep_until(when)
    assert nursery.current_time() == when


@in_virtual_time
async def test_sleepers_wake_in_the_order_of_their_times() -> None:
    order: list[int] = []

    async def sleeper(seconds: int) -> None:
        await nursery.sleep(seconds)
        order.append(seconds)

    async with nursery.open_nursery() as n:
        for seconds in (5, 1, 3, 2, 4):
            n.start_soon(sleeper, seconds)
    assert order == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "call", [lambda: nursery.sleep(0), lambda: nursery.sleep_until(-inf), lambda: nursery.sleep_until(0)]
)
def test_a_sleep_that_is_over_already_is_a_checkpoint(call: Callable[[], Awaitable[None]]) -> None:
    order: list[str] = []

    async def other() -> None:
        order.append("other")

    async def main() -> None:
        async with nursery.open_nursery() as n:
            n.start_soon(other)
            await call()
            order.append("slept")
        with CancelScope() as scope:
            scope.cancel()
            await call()
            order.append("not cancelled")

    nursery.run(main)
    assert order == ["other", "slept"]


@pytest.mark.parametrize(
    "call",
    [
        lambda: nursery.sleep(5),
        lambda: nursery.sleep_forever(),
        lambda: nursery.sleep(inf),
        lambda: nursery.sleep_until(inf),
        lambda: nursery.sleep_until(1e12),
    ],
)
def test_every_sleep_can_be_cancelled_and_leaves_no_deadline(call: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with nursery.open_nursery() as n:
            n.start_soon(call)
            await checkpoint()
            n.cancel_scope.cancel()
        assert current_statistics().seconds_to_next_deadline == inf

    nursery.run(main)


@in_a_run
async def test_a_sleep_of_no_duration_is_refused() -> None:
    for seconds in (-1, nan):
        with pytest.raises(ValueError):
            await nursery.sleep(seconds)
    with pytest.raises(ValueError):
        await nursery.sleep_until(nan)


# Limits


@pytest.mark.parametrize("limit", [nursery.move_on_after, nursery.fail_after])
def test_a_limit_that_is_no_duration_is_refused(limit: Limit) -> None:
    async def main() -> None:
        for seconds in (-1, nan):
            with pytest.raises(ValueError), limit(seconds):
                pytest.fail("entered")

    nursery.run(main)


@pytest.mark.parametrize("limit", [nursery.move_on_at, nursery.fail_at])
def test_a_limit_that_is_no_time_is_refused(limit: Limit) -> None:
    async def main() -> None:
        with pytest.raises(ValueError), limit(nan):
            pytest.fail("entered")

    nursery.run(main)


@in_virtual_time
async def test_move_on_after_ends_the_block_quietly_at_its_limit() -> None:
    start = nursery.current_time()
    with nursery.move_on_after(3) as scope:
        await nursery.sleep(10)
    assert nursery.current_time() == start + 3
    assert scope.cancelled_caught


@in_virtual_time
async def test_move_on_after_counts_from_entry_and_not_from_its_making() -> None:
    limit = nursery.move_on_after(3)
    await nursery.sleep(100)
    start = nursery.current_time()
    with limit:
        await nursery.sleep_forever()
    assert nursery.current_time() == start + 3


@in_virtual_time
async def test_move_on_at_ends_the_block_quietly_at_its_time() -> None:
    when = nursery.current_time() + 3
    with nursery.move_on_at(when) as scope:
        await nursery.sleep_forever()
    assert nursery.current_time() == when
    assert scope.cancelled_caught


@in_virtual_time
async def test_a_block_that_is_done_in_time_is_left_alone() -> None:
    for limit in (nursery.move_on_after(5), nursery.fail_after(5)):
        with limit as scope:
            await nursery.sleep(4)
        assert not scope.cancelled_caught


@in_virtual_time
async def test_fail_after_raises_after_its_limit() -> None:
    start = nursery.current_time()
    with pytest.raises(TooSlowError):
        with nursery.fail_after(3):
            await nursery.sleep(10)
    assert nursery.current_time() == start + 3


@in_virtual_time
async def test_fail_at_raises_at_its_time() -> None:
    when = nursery.current_time() + 3
    with pytest.raises(TooSlowError):
        with nursery.fail_at(when):
            await nursery.sleep_forever()
    assert nursery.current_time() == when


@in_virtual_time
async def test_fail_after_counts_from_entry() -> None:
    limit = nursery.fail_after(3)
    await nursery.sleep(100)
    start = nursery.current_time()
    with pytest.raises(TooSlowError), limit:
        await nursery.sleep_forever()
    assert nursery.current_time() == start + 3


@in_virtual_time
async def test_fail_after_does_not_raise_if_the_limit_passed_but_interrupted_nothing() -> None:
    with nursery.fail_after(3) as scope:
        with CancelScope(shield=True):
            await nursery.sleep(10)
    assert scope.cancel_called
    assert not scope.cancelled_caught


@in_virtual_time
async def test_an_outer_limit_is_not_taken_for_the_inner_one() -> None:
    with pytest.raises(TooSlowError):
        with nursery.fail_after(1):
            with nursery.fail_after(5) as inner:
                await nursery.sleep_forever()
    assert not inner.cancelled_caught


@in_virtual_time
async def test_an_error_of_the_block_passes_through_a_limit() -> None:
    for limit in (nursery.move_on_after(5), nursery.fail_after(5)):
        with pytest.raises(KeyError), limit:
            raise KeyError


@pytest.mark.parametrize(
    "make",
    [
        lambda: nursery.move_on_after(5, shield=True),
        lambda: nursery.move_on_at(1e12, shield=True),
        lambda: nursery.fail_after(5, shield=True),
        lambda: nursery.fail_at(1e12, shield=True),
    ],
)
def test_every_limit_can_shield(make: Callable[[], AbstractContextManager[CancelScope]]) -> None:
    async def main() -> None:
        with CancelScope() as outer:
            outer.cancel()
            with make() as inner:
                assert inner.shield
                await checkpoint()
            passed.append("shielded")
            await checkpoint()
            passed.append("not cancelled")

    passed: list[str] = []
    nursery.run(main)
    assert passed == ["shielded"]


@in_virtual_time
async def test_a_limit_can_be_moved_while_it_runs() -> None:
    start = nursery.current_time()
    with nursery.move_on_after(1) as scope:
        scope.relative_deadline = 10
        await nursery.sleep_forever()
    assert nursery.current_time() == start + 10


def test_a_limit_can_be_made_outside_a_run() -> None:
    async def main(limit: AbstractContextManager[CancelScope]) -> bool:
        with limit as scope:
            await checkpoint()
        return scope.cancelled_caught

    assert nursery.run(main, nursery.move_on_after(0)) is True
    assert nursery.run(main, nursery.move_on_after(5)) is False


@in_virtual_time
async def test_the_error_names_the_limit() -> None:
    with pytest.raises(TooSlowError, match=r"2\.5"):
        with nursery.fail_after(2.5):
            await nursery.sleep_forever()
