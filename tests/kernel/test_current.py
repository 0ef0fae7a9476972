"""Which run and which task the calling thread is in."""

from __future__ import annotations

import threading

import pytest

import nursery
from nursery.kernel.current import current, current_runner
from nursery.kernel.idle import wait_all_tasks_blocked
from nursery.lowlevel import (
    checkpoint,
    current_clock,
    current_root_task,
    current_run_token,
    current_statistics,
    current_task,
    in_nursery_run,
    in_nursery_task,
)

from .in_run import in_a_run


def test_outside_a_run_every_question_says_where_it_must_be_asked() -> None:
    for question in (
        current_task,
        current_root_task,
        current_clock,
        current_statistics,
        nursery.current_time,
        nursery.current_effective_deadline,
        current_runner,
    ):
        with pytest.raises(RuntimeError, match="async context"):
            question()


def test_outside_a_run_one_is_in_neither_run_nor_task() -> None:
    assert (in_nursery_run(), in_nursery_task()) == (False, False)


@in_a_run
async def test_inside_a_task_one_is_in_both() -> None:
    assert (in_nursery_run(), in_nursery_task()) == (True, True)


@in_a_run
async def test_a_thread_beside_the_run_is_not_in_it() -> None:
    seen: list[tuple[bool, bool]] = []
    thread = threading.Thread(target=lambda: seen.append((in_nursery_run(), in_nursery_task())))
    thread.start()
    thread.join()
    assert seen == [(False, False)]


def test_an_instrument_is_in_the_run_but_in_no_task() -> None:
    seen: list[tuple[str, bool, bool]] = []

    class Watcher(nursery.abc.Instrument):
        def before_run(self) -> None:
            seen.append(("before_run", in_nursery_run(), in_nursery_task()))

        def before_io_wait(self, timeout: float) -> None:
            seen.append(("before_io_wait", in_nursery_run(), in_nursery_task()))

        def after_run(self) -> None:
            seen.append(("after_run", in_nursery_run(), in_nursery_task()))

    async def main() -> None:
        await nursery.sleep(0.001)

    nursery.run(main, instruments=[Watcher()])
    assert {name for name, _, _ in seen} == {"before_run", "before_io_wait", "after_run"}
    assert all(in_run and not in_task for _, in_run, in_task in seen)


@in_a_run
async def test_the_current_task_is_the_one_that_runs() -> None:
    main = current_task()
    seen: list[bool] = []

    async def child() -> None:
        seen.append(current_task() is main)
        await checkpoint()
        seen.append(current_task() is main)

    async with nursery.open_nursery() as n:
        n.start_soon(child)
        await checkpoint()
        assert current_task() is main
    assert seen == [False, False]


@in_a_run
async def test_the_root_task_is_nobodys_child_and_everybodys_ancestor() -> None:
    root = current_root_task()
    assert root is not None
    assert root.parent_nursery is None
    task = current_task()
    while task.parent_nursery is not None:
        task = task.parent_nursery.parent_task
    assert task is root


@in_a_run
async def test_a_call_from_outside_runs_inside_the_run() -> None:
    seen: list[bool] = []
    current_run_token().run_sync_soon(lambda: seen.append(in_nursery_run()))
    await wait_all_tasks_blocked()
    assert seen == [True]


def test_after_a_run_the_thread_is_in_none_also_when_main_failed() -> None:
    async def fail() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        nursery.run(fail)
    assert current.runner is None


def test_two_threads_may_each_have_a_run_of_their_own() -> None:
    both = threading.Barrier(2, timeout=5)
    tokens: list[object] = []

    async def main() -> None:
        both.wait()
        tokens.append(current_run_token())
        await nursery.sleep(0.001)

    threads = [threading.Thread(target=nursery.run, args=(main,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(tokens)) == 2
