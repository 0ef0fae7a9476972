"""How many threads work for a run."""

from __future__ import annotations

import threading

import pytest

import nursery
from nursery import to_thread
from nursery.testing import assert_checkpoints, wait_all_tasks_blocked
from nursery.threads.active import active_thread_count, wait_all_threads_completed


async def test_threads_count_while_they_work() -> None:
    gate = threading.Event()
    assert active_thread_count() == 0
    async with nursery.open_nursery() as n:
        for _ in range(3):
            n.start_soon(to_thread.run_sync, gate.wait, 5)
        await wait_all_tasks_blocked()
        assert active_thread_count() == 3
        gate.set()
    assert active_thread_count() == 0


async def test_waiting_with_no_threads_is_a_checkpoint() -> None:
    with assert_checkpoints():
        await wait_all_threads_completed()


async def test_waiting_lasts_until_the_last_thread_has_ended() -> None:
    gates = [threading.Event(), threading.Event()]
    completed = False

    async def wait() -> None:
        nonlocal completed
        await wait_all_threads_completed()
        completed = True

    async with nursery.open_nursery() as n:
        for gate in gates:
            n.start_soon(to_thread.run_sync, gate.wait, 5)
        await wait_all_tasks_blocked()
        n.start_soon(wait)
        gates[0].set()
        while active_thread_count() == 2:
            await nursery.sleep(0.001)
        await wait_all_tasks_blocked()
        assert not completed
        gates[1].set()
    assert completed


async def test_abandoned_threads_do_not_count() -> None:
    gate, ended = threading.Event(), threading.Event()

    def work() -> None:
        gate.wait(5)
        ended.set()

    with nursery.move_on_after(0.002):
        await to_thread.run_sync(work, abandon_on_cancel=True)
    assert active_thread_count() == 0
    await wait_all_threads_completed()
    assert not ended.is_set()
    gate.set()
    limiter = to_thread.current_default_thread_limiter()
    while limiter.borrowed_tokens:
        await nursery.sleep(0.001)
    assert ended.is_set()
    assert active_thread_count() == 0


def test_counting_needs_a_run() -> None:
    with pytest.raises(RuntimeError):
        active_thread_count()
