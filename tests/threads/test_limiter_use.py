"""How `to_thread.run_sync` borrows from a limiter: at once where it can, else by the limiter's own waiting."""

from __future__ import annotations

import threading
from typing import cast

import nursery
from nursery import to_thread
from nursery.sync.limiter import CapacityLimiter
from nursery.testing import wait_all_tasks_blocked


async def test_with_a_token_free_the_thread_works_before_any_other_task_has_its_turn() -> None:
    started = threading.Event()

    async def call() -> None:
        await to_thread.run_sync(started.set)

    async def next_in_the_queue() -> None:
        # This blocks the run: were the thread still to be started, it would wait in vain.
        assert started.wait(1)

    async with nursery.open_nursery() as n:
        n.start_soon(call)
        n.start_soon(next_in_the_queue)


async def test_the_token_that_comes_back_goes_to_whoever_waits_and_not_to_a_newcomer() -> None:
    limiter = CapacityLimiter(1)
    limiter.acquire_on_behalf_of_nowait("somebody else")
    order: list[str] = []

    async def call(name: str) -> None:
        await to_thread.run_sync(order.append, name, limiter=limiter)

    async with nursery.open_nursery() as n:
        n.start_soon(call, "first")
        await wait_all_tasks_blocked()
        limiter.release_on_behalf_of("somebody else")
        n.start_soon(call, "second")
    assert order == ["first", "second"]


async def test_a_limiter_of_the_users_own_needs_only_two_methods() -> None:
    class Own:
        def __init__(self) -> None:
            self.calls: list[str] = []

        async def acquire_on_behalf_of(self, borrower: object) -> None:
            self.calls.append("acquire")

        def release_on_behalf_of(self, borrower: object) -> None:
            self.calls.append("release")

    own = Own()
    assert await to_thread.run_sync(int, limiter=cast(CapacityLimiter, own)) == 0
    assert own.calls == ["acquire", "release"]
