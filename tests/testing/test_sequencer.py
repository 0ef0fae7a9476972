"""Sequencer: blocks of different tasks in one order."""

from __future__ import annotations

import pytest

import nursery
from nursery.testing import Sequencer, wait_all_tasks_blocked


async def test_blocks_run_in_the_order_of_their_numbers() -> None:
    record: list[int] = []

    async def child(*positions: int) -> None:
        for position in positions:
            async with seq(position):
                record.append(position)

    seq = Sequencer()
    async with nursery.open_nursery() as n:
        n.start_soon(child, 0, 4)
        n.start_soon(child, 2, 5)
        n.start_soon(child, 1, 3)
    assert record == [0, 1, 2, 3, 4, 5]


async def test_a_block_that_raises_lets_the_next_one_run() -> None:
    seq = Sequencer()
    with pytest.raises(KeyError):
        async with seq(0):
            raise KeyError
    async with seq(1):
        pass


async def test_a_position_is_for_one_block() -> None:
    seq = Sequencer()
    async with seq(0):
        pass
    with pytest.raises(RuntimeError, match="Attempted to reuse sequence point 0"):
        async with seq(0):
            pass


async def test_a_position_is_taken_on_entry_and_not_on_the_call() -> None:
    seq = Sequencer()
    seq(0)
    async with seq(0):
        pass


async def test_a_cancelled_wait_breaks_the_sequence_for_everyone() -> None:
    seq = Sequencer()
    scope = nursery.CancelScope()
    errors: list[str] = []

    async def cancelled() -> None:
        with scope:
            try:
                async with seq(1):
                    pytest.fail("it is not its turn")
            except RuntimeError as exc:
                errors.append(str(exc))

    async def waiting() -> None:
        try:
            async with seq(2):
                pytest.fail("it is not its turn")
        except RuntimeError as exc:
            errors.append(str(exc))

    async with nursery.open_nursery() as n:
        n.start_soon(cancelled)
        n.start_soon(waiting)
        await wait_all_tasks_blocked()
        scope.cancel()
    assert errors[0].startswith("Sequencer wait cancelled -- sequence broken")
    assert errors[1].startswith("sequence broken!")
    assert not scope.cancelled_caught
    with pytest.raises(RuntimeError, match="sequence broken!"):
        async with seq(0):
            pass
