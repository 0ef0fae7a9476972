"""assert_checkpoints and assert_no_checkpoints."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import nursery
from nursery.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled, current_task
from nursery.sync import Event, Lock
from nursery.testing import assert_checkpoints, assert_no_checkpoints


async def test_a_block_with_a_checkpoint_passes() -> None:
    with assert_checkpoints():
        await checkpoint()
    with assert_checkpoints():
        await nursery.sleep(0.001)


async def test_a_block_without_a_checkpoint_fails() -> None:
    with pytest.raises(AssertionError, match=r"assert_checkpoints block did not yield! \(it passed 0 cancel points"):
        with assert_checkpoints():
            pass


@pytest.mark.parametrize("half", [checkpoint_if_cancelled, cancel_shielded_checkpoint])
async def test_half_a_checkpoint_is_neither_one_nor_none(half: Callable[[], object]) -> None:
    with pytest.raises(AssertionError, match="did not yield"):
        with assert_checkpoints():
            await half()  # type: ignore[misc]  # both are async functions
    with pytest.raises(AssertionError, match="assert_no_checkpoints block yielded"):
        with assert_no_checkpoints():
            await half()  # type: ignore[misc]  # as above


async def test_two_halves_make_a_checkpoint() -> None:
    with assert_checkpoints():
        await checkpoint_if_cancelled()
        await cancel_shielded_checkpoint()


async def test_a_block_that_raises_need_not_pass_a_checkpoint() -> None:
    with pytest.raises(KeyError):
        with assert_checkpoints():
            raise KeyError


async def test_no_checkpoints_holds_for_plain_code_and_fails_for_any_checkpoint() -> None:
    with assert_no_checkpoints():
        Event().set()
    with pytest.raises(AssertionError, match="assert_no_checkpoints block yielded"):
        with assert_no_checkpoints():
            await checkpoint()


async def test_no_checkpoints_fails_also_if_the_block_raises() -> None:
    with pytest.raises(AssertionError, match="assert_no_checkpoints block yielded") as caught:
        with assert_no_checkpoints():
            await checkpoint()
            raise KeyError
    assert isinstance(caught.value.__context__, KeyError)


async def test_assertions_nest() -> None:
    with assert_checkpoints():
        with assert_no_checkpoints():
            pass
        with assert_checkpoints():
            await checkpoint()
        with assert_no_checkpoints():
            pass
    assert current_task().count is None
    assert not current_task().alert


async def test_an_operation_that_may_skip_its_yield_counts_each_time() -> None:
    lock = Lock()
    for _ in range(20):
        with assert_checkpoints():
            await lock.acquire()
        lock.release()


async def test_a_cancelled_checkpoint_counts() -> None:
    with nursery.CancelScope() as scope:
        scope.cancel()
        with assert_checkpoints():
            with pytest.raises(nursery.Cancelled):
                await checkpoint()
        with assert_checkpoints():
            with pytest.raises(nursery.Cancelled):
                await Event().wait()
        with assert_checkpoints():
            with pytest.raises(nursery.Cancelled):
                await Lock().acquire()


async def test_other_tasks_are_not_counted() -> None:
    async with nursery.open_nursery() as n:
        n.start_soon(checkpoint)
        with assert_no_checkpoints():
            n.start_soon(checkpoint)


async def test_one_assertion_serves_one_block_at_a_time() -> None:
    assertion = assert_checkpoints()
    with assertion:
        await checkpoint()
        with pytest.raises(RuntimeError, match="in use already"):
            with assertion:
                pass


def test_outside_a_run_it_is_a_runtime_error() -> None:
    with pytest.raises(RuntimeError, match="must be called from async context"):
        with assert_checkpoints():
            pass
