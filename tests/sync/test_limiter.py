"""CapacityLimiter."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

import nursery
from nursery.lowlevel import current_task
from nursery.sync import CapacityLimiter, CapacityLimiterStatistics
from nursery.testing import assert_checkpoints, assert_no_checkpoints, wait_all_tasks_blocked


@pytest.mark.parametrize(
    ("tokens", "error"), [(1.0, TypeError), (nan, TypeError), (-inf, TypeError), ("1", TypeError), (-1, ValueError)]
)
def test_a_wrong_number_of_tokens_is_refused(tokens: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="total_tokens must be"):
        CapacityLimiter(tokens)
    limiter = CapacityLimiter(3)
    with pytest.raises(error, match="total_tokens must be"):
        limiter.total_tokens = tokens
    assert limiter.total_tokens == 3


async def test_it_counts_tokens_and_knows_the_borrowers() -> None:
    limiter = CapacityLimiter(2)
    assert (limiter.total_tokens, limiter.borrowed_tokens, limiter.available_tokens) == (2, 0, 2)
    assert repr(limiter) == f"<nursery.CapacityLimiter at {id(limiter):#x}, 0/2 with 0 waiting>"
    with assert_no_checkpoints():
        limiter.acquire_nowait()
    with assert_checkpoints():
        await limiter.acquire_on_behalf_of("somebody")
    assert (limiter.total_tokens, limiter.borrowed_tokens, limiter.available_tokens) == (2, 2, 0)
    assert limiter.statistics() == CapacityLimiterStatistics(
        borrowed_tokens=2, total_tokens=2, borrowers=[current_task(), "somebody"], tasks_waiting=0
    )
    with pytest.raises(nursery.WouldBlock):
        limiter.acquire_on_behalf_of_nowait("another")
    with assert_no_checkpoints():
        limiter.release_on_behalf_of("somebody")
        limiter.release()
    assert limiter.borrowed_tokens == 0


async def test_acquire_is_a_checkpoint_each_time() -> None:
    limiter = CapacityLimiter(1)
    for _ in range(20):
        with assert_checkpoints():
            async with limiter as nothing:
                assert nothing is None


async def test_a_borrower_holds_one_token_at_most() -> None:
    limiter = CapacityLimiter(5)
    async with limiter:
        with pytest.raises(RuntimeError, match="this borrower is already holding one of this CapacityLimiter's tokens"):
            limiter.acquire_nowait()
        with pytest.raises(RuntimeError, match="this borrower is already holding one of this CapacityLimiter's tokens"):
            await limiter.acquire()
        with pytest.raises(RuntimeError, match="this borrower is already holding"):
            await limiter.acquire_on_behalf_of(current_task())
    assert limiter.borrowed_tokens == 0


async def test_releasing_what_one_does_not_hold_is_a_runtime_error() -> None:
    limiter = CapacityLimiter(1)
    with pytest.raises(RuntimeError, match="this borrower isn't holding any of this CapacityLimiter's tokens"):
        limiter.release()
    limiter.acquire_on_behalf_of_nowait("somebody")
    with pytest.raises(RuntimeError, match="this borrower isn't holding any of this CapacityLimiter's tokens"):
        limiter.release()
    assert limiter.statistics().borrowers == ["somebody"]


async def test_a_token_goes_to_the_one_who_has_waited_longest() -> None:
    limiter = CapacityLimiter(1)
    record: list[int] = []

    async def waiter(i: int) -> None:
        with assert_checkpoints():
            await limiter.acquire()
        record.append(i)
        limiter.release()

    async with nursery.open_nursery() as n:
        await limiter.acquire()
        for i in range(4):
            n.start_soon(waiter, i)
            await wait_all_tasks_blocked()
        assert limiter.statistics().tasks_waiting == 4
        limiter.release()
        assert limiter.borrowed_tokens == 1
        with pytest.raises(nursery.WouldBlock):
            limiter.acquire_nowait()
    assert record == [0, 1, 2, 3]
    assert limiter.borrowed_tokens == 0


async def test_more_tokens_wake_those_who_wait_and_fewer_take_nothing_away() -> None:
    limiter = CapacityLimiter(0)
    async with nursery.open_nursery() as n:
        for i in range(6):
            n.start_soon(limiter.acquire_on_behalf_of, i)
            await wait_all_tasks_blocked()
        assert limiter.statistics().tasks_waiting == 6
        limiter.total_tokens = 2
        assert limiter.statistics().borrowers == [0, 1]
        limiter.total_tokens = 1
        assert limiter.available_tokens == -1
        limiter.release_on_behalf_of(0)
        assert limiter.statistics().borrowers == [1]
        limiter.release_on_behalf_of(1)
        assert limiter.statistics().borrowers == [2]
        limiter.total_tokens = 3
        assert limiter.statistics().borrowers == [2, 3, 4]
        limiter.total_tokens = inf
        assert limiter.statistics().borrowers == [2, 3, 4, 5]
        assert limiter.available_tokens == inf
        assert limiter.total_tokens == inf
    assert limiter.statistics().tasks_waiting == 0


async def test_no_limit_is_a_limit_as_well() -> None:
    limiter = CapacityLimiter(inf)
    for i in range(100):
        limiter.acquire_on_behalf_of_nowait(i)
    assert limiter.borrowed_tokens == 100
    limiter.total_tokens = 1
    with pytest.raises(nursery.WouldBlock):
        limiter.acquire_nowait()


async def test_a_cancelled_waiter_borrows_nothing_and_is_forgotten() -> None:
    limiter = CapacityLimiter(1)
    await limiter.acquire()
    async with nursery.open_nursery() as n:
        n.start_soon(limiter.acquire)
        await wait_all_tasks_blocked()
        assert limiter.statistics().tasks_waiting == 1
        n.cancel_scope.cancel()
    assert limiter.statistics().tasks_waiting == 0
    limiter.release()
    assert limiter.borrowed_tokens == 0
    with nursery.CancelScope() as scope:
        scope.cancel()
        await limiter.acquire()
    assert scope.cancelled_caught
    assert limiter.borrowed_tokens == 0


async def test_a_waiter_that_was_chosen_and_is_then_cancelled_has_its_token() -> None:
    limiter = CapacityLimiter(1)
    record: list[str] = []

    async def chosen() -> None:
        async with limiter:
            record.append("has it")
            await nursery.sleep_forever()

    await limiter.acquire()
    async with nursery.open_nursery() as n:
        n.start_soon(chosen)
        await wait_all_tasks_blocked()
        limiter.release()
        n.cancel_scope.cancel()
    assert record == ["has it"]
    assert limiter.borrowed_tokens == 0


async def test_two_tasks_may_wait_for_the_same_borrower_one_token_at_a_time() -> None:
    limiter = CapacityLimiter(1)
    record: list[str] = []

    async def use(borrower: str, name: str) -> None:
        await limiter.acquire_on_behalf_of(borrower)
        record.append(name)
        await wait_all_tasks_blocked()
        limiter.release_on_behalf_of(borrower)

    limiter.acquire_on_behalf_of_nowait("first")
    async with nursery.open_nursery() as n:
        for borrower, name in [("same", "a"), ("same", "b"), ("other", "c")]:
            n.start_soon(use, borrower, name)
            await wait_all_tasks_blocked()
        assert limiter.statistics().tasks_waiting == 3
        limiter.total_tokens = 3
        # Two tokens are free: the second task that waits for the same borrower has to be passed over.
        assert limiter.statistics().borrowers == ["first", "same", "other"]
        assert limiter.statistics().tasks_waiting == 1
        limiter.total_tokens = 5
        assert limiter.statistics().tasks_waiting == 1
        # A free token is free for everybody else.
        limiter.acquire_on_behalf_of_nowait("newcomer")
        limiter.release_on_behalf_of("newcomer")
        limiter.release_on_behalf_of("first")
    assert sorted(record[:2]) == ["a", "c"]
    assert record[2:] == ["b"]
    assert limiter.borrowed_tokens == 0
