"""Calls from outside: accepted ones run once and in order, late ones are refused."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

import nursery
from nursery import RunFinishedError
from nursery.kernel.current import current_runner
from nursery.kernel.idle import wait_all_tasks_blocked
from nursery.lowlevel import (
    RunToken,
    checkpoint,
    current_run_token,
    current_statistics,
    current_task,
    currently_ki_protected,
    in_nursery_task,
    spawn_system_task,
)

from .broken_run import internal_error_of
from .in_run import in_a_run


@in_a_run
async def test_a_run_has_one_token_the_same_each_time() -> None:
    assert current_run_token() is current_run_token()


def test_two_runs_have_two_tokens() -> None:
    async def main() -> RunToken:
        return current_run_token()

    assert nursery.run(main) != nursery.run(main)


@in_a_run
async def test_calls_run_in_the_order_in_which_they_were_accepted() -> None:
    ran: list[int] = []
    token = current_run_token()
    for number in range(20):
        token.run_sync_soon(ran.append, number)
    assert ran == []
    await wait_all_tasks_blocked()
    assert ran == list(range(20))


@in_a_run
async def test_a_call_wakes_a_loop_that_sleeps() -> None:
    token = current_run_token()
    called = threading.Event()

    def foreign() -> None:
        token.run_sync_soon(called.set)

    thread = threading.Thread(target=foreign)
    with nursery.fail_after(1):
        thread.start()
        while not called.is_set():
            await nursery.sleep(0.001)
    thread.join()


@in_a_run
async def test_a_call_from_a_thread_ends_a_sleep_without_a_deadline() -> None:
    token = current_run_token()
    with nursery.CancelScope() as scope:
        thread = threading.Thread(target=lambda: token.run_sync_soon(scope.cancel))
        thread.start()
        await nursery.sleep_forever()
    thread.join()
    assert scope.cancelled_caught


@in_a_run
async def test_an_idempotent_call_that_waits_already_is_dropped() -> None:
    ran: list[int] = []
    token = current_run_token()
    for number in (1, 2, 1, 2, 1, 3):
        token.run_sync_soon(ran.append, number, idempotent=True)
    token.run_sync_soon(ran.append, 1)
    await wait_all_tasks_blocked()
    assert ran == [1, 2, 3, 1]


@in_a_run
async def test_an_idempotent_call_may_be_queued_again_once_it_has_started() -> None:
    ran: list[str] = []
    token = current_run_token()

    def once_more() -> None:
        ran.append("call")
        if len(ran) < 3:
            token.run_sync_soon(once_more, idempotent=True)

    token.run_sync_soon(once_more, idempotent=True)
    await wait_all_tasks_blocked()
    assert ran == ["call"] * 3


@in_a_run
async def test_idempotent_calls_need_hashable_arguments() -> None:
    with pytest.raises(TypeError):
        current_run_token().run_sync_soon(list, [], idempotent=True)
    assert current_statistics().run_sync_soon_queue_size == 0


@in_a_run
async def test_calls_that_queue_calls_do_not_starve_the_tasks() -> None:
    token = current_run_token()
    calls = 0
    stop = False

    def again() -> None:
        nonlocal calls
        calls += 1
        if not stop and calls < 100_000:
            token.run_sync_soon(again)

    token.run_sync_soon(again)
    for _ in range(20):
        await checkpoint()
    await nursery.sleep(0.001)
    stop = True
    assert 0 < calls < 100_000


@in_a_run
async def test_calls_run_in_no_user_task_and_are_protected() -> None:
    main = current_task()
    seen: list[tuple[bool, bool]] = []

    def call() -> None:
        seen.append((current_task() is main, currently_ki_protected()))

    current_run_token().run_sync_soon(call)
    await wait_all_tasks_blocked()
    assert seen == [(False, True)]


@in_a_run
async def test_a_thousand_calls_are_all_made() -> None:
    ran: list[int] = []
    token = current_run_token()
    for number in range(5000):
        token.run_sync_soon(ran.append, number)
    await wait_all_tasks_blocked()
    assert ran == list(range(5000))


def test_many_threads_lose_no_call_and_each_keeps_its_order() -> None:
    ran: list[tuple[int, int]] = []

    async def main() -> None:
        token = current_run_token()

        def foreign(name: int) -> None:
            for number in range(300):
                token.run_sync_soon(ran.append, (name, number))

        threads = [threading.Thread(target=foreign, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            await nursery.sleep(0.001)
        await wait_all_tasks_blocked()

    nursery.run(main)
    assert len(ran) == 1200
    for name in range(4):
        assert [number for who, number in ran if who == name] == list(range(300))


def test_a_call_after_the_end_of_the_run_is_refused() -> None:
    async def main() -> RunToken:
        return current_run_token()

    token = nursery.run(main)
    with pytest.raises(RunFinishedError):
        token.run_sync_soon(lambda: None)


def test_every_call_accepted_during_the_end_of_a_run_is_made() -> None:
    # A race without luck: whatever moment the thread hits, accepted and made are the same number.
    for _ in range(10):
        accepted: list[int] = []
        made: list[int] = []
        refused = threading.Event()

        async def main(accepted: list[int] = accepted, made: list[int] = made, refused: Any = refused) -> None:
            token = current_run_token()

            def foreign() -> None:
                number = 0
                while True:
                    try:
                        token.run_sync_soon(made.append, number)
                    except RunFinishedError:
                        refused.set()
                        return
                    accepted.append(number)
                    number += 1
                    if number % 50 == 0:
                        time.sleep(0)

            threading.Thread(target=foreign).start()
            await nursery.sleep(0.001)

        nursery.run(main)
        assert refused.wait(1)
        assert made == accepted


def test_calls_run_on_after_the_main_task_has_crashed() -> None:
    ran: list[str] = []

    async def main() -> None:
        current_run_token().run_sync_soon(ran.append, "ran")
        raise ValueError

    with pytest.raises(ValueError):
        nursery.run(main)
    assert ran == ["ran"]


def test_a_call_queued_by_the_last_call_still_runs() -> None:
    ran: list[int] = []

    async def main() -> None:
        token = current_run_token()

        def chain(number: int) -> None:
            ran.append(number)
            if number < 3:
                token.run_sync_soon(chain, number + 1)

        token.run_sync_soon(chain, 0)

    nursery.run(main)
    assert ran == [0, 1, 2, 3]


def test_a_call_that_raises_ends_the_run_with_an_internal_error_and_the_others_still_run() -> None:
    ran: list[str] = []

    def crash() -> None:
        raise ValueError("from a call")

    async def main() -> None:
        token = current_run_token()
        token.run_sync_soon(ran.append, "before")
        token.run_sync_soon(crash)
        token.run_sync_soon(ran.append, "after")
        await nursery.sleep_forever()

    text = internal_error_of(lambda: nursery.run(main))
    assert ran == ["before", "after"]
    assert "ValueError: from a call" in text


def test_a_crashing_call_cancels_the_main_task_so_that_it_can_clean_up() -> None:
    cleaned: list[str] = []

    def crash() -> None:
        raise ValueError

    async def main() -> None:
        current_run_token().run_sync_soon(crash)
        try:
            await nursery.sleep_forever()
        finally:
            cleaned.append("cleaned")

    internal_error_of(lambda: nursery.run(main))
    assert cleaned == ["cleaned"]


def test_a_call_that_crashes_while_the_inbox_closes_is_an_internal_error_too() -> None:
    ran: list[str] = []

    async def main() -> None:
        token = current_run_token()

        async def at_shutdown() -> None:
            try:
                await nursery.sleep_forever()
            finally:
                token.run_sync_soon(until_refused)

        def until_refused() -> None:
            try:
                token.run_sync_soon(until_refused)
            except RunFinishedError:
                ran.append("last")
                raise ValueError("a late crash") from None

        spawn_system_task(at_shutdown)
        await checkpoint()

    text = internal_error_of(lambda: nursery.run(main))
    assert ran == ["last"]
    assert "ValueError: a late crash" in text


@in_a_run
async def test_the_statistics_count_the_waiting_calls() -> None:
    token = current_run_token()
    for _ in range(3):
        token.run_sync_soon(lambda: None)
    assert current_statistics().run_sync_soon_queue_size == 3
    await wait_all_tasks_blocked()
    assert current_statistics().run_sync_soon_queue_size == 0


@in_a_run
async def test_the_lock_is_reentrant_so_that_a_signal_handler_may_call_while_it_is_held() -> None:
    ran: list[str] = []
    with current_runner().inbox._lock:
        current_run_token().run_sync_soon(ran.append, "from the handler")
    await wait_all_tasks_blocked()
    assert ran == ["from the handler"]


@in_a_run
async def test_calls_see_themselves_inside_the_run() -> None:
    seen: list[bool] = []
    current_run_token().run_sync_soon(lambda: seen.append(in_nursery_task()))
    await wait_all_tasks_blocked()
    assert seen == [True]


def test_asking_for_the_token_outside_a_run_is_an_error() -> None:
    with pytest.raises(RuntimeError):
        current_run_token()

