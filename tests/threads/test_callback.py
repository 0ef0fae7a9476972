"""From a thread back into the run: `nursery.from_thread`."""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import nursery
from nursery import from_thread, to_thread
from nursery.lowlevel import Task, current_run_token, current_task
from nursery.testing import wait_all_tasks_blocked


async def in_plain_thread(fn: Callable[[], object]) -> object:
    """Run `fn` in a thread that the run did not start, and return what it does."""
    results: queue.SimpleQueue[tuple[object, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            results.put((fn(), None))
        except BaseException as exc:
            results.put((None, exc))

    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive():
        await nursery.sleep(0.001)
    value, error = results.get()
    if error is not None:
        raise error
    return value


async def wait_until_abandoned_threads_have_ended() -> None:
    limiter = to_thread.current_default_thread_limiter()
    while limiter.borrowed_tokens:
        await nursery.sleep(0.001)


# What runs where


async def test_an_async_function_runs_in_the_task_that_waits() -> None:
    async def task() -> Task:
        await nursery.sleep(0)
        return current_task()

    assert await to_thread.run_sync(from_thread.run, task) is current_task()


async def test_a_plain_function_is_called_in_the_thread_of_the_run() -> None:
    def where() -> tuple[threading.Thread, Task]:
        return threading.current_thread(), current_task()

    assert await to_thread.run_sync(from_thread.run_sync, where) == (threading.current_thread(), current_task())


async def test_with_a_token_it_runs_in_a_system_task() -> None:
    token = current_run_token()

    async def task() -> Task:
        await nursery.sleep(0)
        return current_task()

    def in_thread() -> Task:
        return from_thread.run(task, run_token=token)

    for system in (await to_thread.run_sync(in_thread), await in_plain_thread(in_thread)):
        assert isinstance(system, Task)
        assert system is not current_task()
        assert "task" in system.name


async def test_a_plain_function_can_be_called_by_token() -> None:
    token = current_run_token()
    called = await in_plain_thread(lambda: from_thread.run_sync(threading.current_thread, run_token=token))
    assert called is threading.current_thread()


async def test_many_calls_can_be_made_from_one_thread() -> None:
    calls: list[int] = []

    async def asynchronous(number: int) -> int:
        await nursery.lowlevel.checkpoint()
        calls.append(number)
        return number

    def in_thread() -> int:
        return sum(from_thread.run(asynchronous, n) + from_thread.run_sync(abs, -n) for n in range(5))

    assert await to_thread.run_sync(in_thread) == 20
    assert calls == [0, 1, 2, 3, 4]


async def test_errors_come_out_in_the_thread() -> None:
    async def fail() -> None:
        await nursery.lowlevel.checkpoint()
        raise KeyError("async")

    def fail_sync() -> None:
        raise KeyError("sync")

    def in_thread() -> None:
        with pytest.raises(KeyError, match="async"):
            from_thread.run(fail)
        with pytest.raises(KeyError, match="sync"):
            from_thread.run_sync(fail_sync)

    await to_thread.run_sync(in_thread)


async def test_channels_of_work_go_both_ways() -> None:
    # A thread asks for a value that another task has yet to make.
    event_set = False

    async def wait_for_it() -> str:
        while not event_set:
            await nursery.lowlevel.checkpoint()
        return "made"

    async with nursery.open_nursery() as n:

        async def make() -> None:
            nonlocal event_set
            await nursery.sleep(0.002)
            event_set = True

        n.start_soon(make)
        assert await to_thread.run_sync(from_thread.run, wait_for_it) == "made"


# Contexts

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def test_the_call_sees_the_threads_context_and_leaves_both_alone() -> None:
    async def look() -> str:
        await nursery.lowlevel.checkpoint()
        seen = variable.get()
        variable.set("set by the call")
        await nursery.lowlevel.checkpoint()
        assert variable.get() == "set by the call"
        return seen

    def look_sync() -> str:
        seen = variable.get()
        variable.set("set by the call")
        return seen

    def in_thread() -> list[str]:
        variable.set("set in the thread")
        return [from_thread.run(look), variable.get(), from_thread.run_sync(look_sync), variable.get()]

    variable.set("set by the caller")
    assert await to_thread.run_sync(in_thread) == ["set in the thread"] * 4
    assert variable.get() == "set by the caller"
    await nursery.lowlevel.checkpoint()
    assert variable.get() == "set by the caller"


async def test_a_system_task_sees_the_threads_context() -> None:
    token = current_run_token()

    async def look() -> str:
        return variable.get()

    def in_thread() -> str:
        variable.set("set in the thread")
        return from_thread.run(look, run_token=token)

    assert await in_plain_thread(in_thread) == "set in the thread"


# Cancellation


async def test_a_call_runs_in_the_scopes_of_the_host_task() -> None:
    with nursery.move_on_after(0.002) as scope:
        await to_thread.run_sync(from_thread.run, nursery.sleep_forever)
    assert scope.cancelled_caught


async def test_the_thread_gets_the_cancellation_and_may_swallow_it() -> None:
    def in_thread() -> str:
        with pytest.raises(nursery.Cancelled):
            from_thread.run(nursery.sleep_forever)
        return "noticed"

    with nursery.move_on_after(0.002) as scope:
        assert await to_thread.run_sync(in_thread) == "noticed"
    assert not scope.cancelled_caught


async def test_check_cancelled_raises_once_the_host_task_is_cancelled() -> None:
    begun = threading.Event()

    def work() -> None:
        from_thread.check_cancelled()
        begun.set()
        for _ in range(5000):
            from_thread.check_cancelled()
            time.sleep(0.001)
        raise AssertionError("never cancelled")

    async with nursery.open_nursery() as n:
        n.start_soon(to_thread.run_sync, work)
        await to_thread.run_sync(begun.wait, 5)
        n.cancel_scope.cancel("enough")
    assert n.cancel_scope.cancelled_caught


async def test_check_cancelled_tells_why() -> None:
    messages: list[str] = []

    def work() -> None:
        try:
            while True:
                from_thread.check_cancelled()
                time.sleep(0.001)
        except nursery.Cancelled as exc:
            messages.append(str(exc))
            raise

    with nursery.CancelScope() as scope:
        async with nursery.open_nursery() as n:
            n.start_soon(to_thread.run_sync, work)
            await wait_all_tasks_blocked()
            scope.cancel("enough")
    assert "enough" in messages[0]


async def test_check_cancelled_is_quiet_after_a_shield() -> None:
    with nursery.CancelScope() as outer:
        outer.cancel()
        with nursery.CancelScope(shield=True):
            await to_thread.run_sync(from_thread.check_cancelled)


async def test_an_abandoned_thread_can_find_out_and_still_call_the_run() -> None:
    abandoned = threading.Event()
    results: queue.SimpleQueue[object] = queue.SimpleQueue()
    host: Task | None = None

    async def task() -> Task:
        await nursery.lowlevel.checkpoint()
        return current_task()

    def work() -> None:
        # Not abandoned yet: the host task serves it.
        results.put(from_thread.run(task))
        abandoned.wait(5)
        try:
            from_thread.check_cancelled()
        except nursery.Cancelled as exc:
            results.put(exc)
        results.put(from_thread.run(task))
        results.put(from_thread.run_sync(threading.current_thread))

    async def call() -> None:
        nonlocal host
        host = current_task()
        with scope:
            await to_thread.run_sync(work, abandon_on_cancel=True)
        assert scope.cancelled_caught

    scope = nursery.CancelScope()
    async with nursery.open_nursery() as n:
        n.start_soon(call)
        while results.empty():
            await nursery.sleep(0.001)
        scope.cancel()
    abandoned.set()
    await wait_until_abandoned_threads_have_ended()
    assert results.get_nowait() is host
    assert isinstance(results.get_nowait(), nursery.Cancelled)
    system = results.get_nowait()
    assert isinstance(system, Task)
    assert system is not host
    assert results.get_nowait() is threading.current_thread()


async def test_a_thread_abandoned_while_its_call_runs_in_the_host_task_gets_cancelled() -> None:
    answers: queue.SimpleQueue[str] = queue.SimpleQueue()

    async def cancel_and_sleep() -> None:
        scope.cancel()
        await nursery.sleep_forever()

    def work() -> None:
        try:
            from_thread.run(cancel_and_sleep)
        except nursery.Cancelled:
            answers.put("cancelled")

    with nursery.CancelScope() as scope:
        await to_thread.run_sync(work, abandon_on_cancel=True)
    assert scope.cancelled_caught
    await wait_until_abandoned_threads_have_ended()
    assert answers.get_nowait() == "cancelled"


# The end of the run


def test_after_the_run_calls_are_refused() -> None:
    async def get_token() -> nursery.lowlevel.RunToken:
        return current_run_token()

    token = nursery.run(get_token)
    with pytest.raises(nursery.RunFinishedError):
        from_thread.run(nursery.sleep, 0, run_token=token)
    with pytest.raises(nursery.RunFinishedError):
        from_thread.run_sync(print, run_token=token)


def test_a_call_under_way_when_the_run_ends_is_cancelled() -> None:
    errors: queue.SimpleQueue[BaseException] = queue.SimpleQueue()
    running = threading.Event()

    async def announce_and_sleep() -> None:
        running.set()
        await nursery.sleep_forever()

    async def main() -> threading.Thread:
        token = current_run_token()

        def in_thread() -> None:
            try:
                from_thread.run(announce_and_sleep, run_token=token)
            except BaseException as exc:
                errors.put(exc)

        thread = threading.Thread(target=in_thread)
        thread.start()
        await to_thread.run_sync(running.wait, 5)
        return thread

    nursery.run(main).join(5)
    assert isinstance(errors.get_nowait(), nursery.Cancelled)


async def test_a_call_that_comes_while_the_system_tasks_end_is_refused() -> None:
    from nursery.threads.callback import AsyncRequest

    request = AsyncRequest[None](nursery.sleep, (0,))

    class Ending:
        def spawn_system(self, *args: object) -> None:
            raise RuntimeError("Nursery is closed to new arrivals")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nursery.threads.callback.current_runner", Ending)
        request.serve_apart()
    with pytest.raises(nursery.RunFinishedError):
        request._answer.get_nowait().unwrap()


# Mistakes


@pytest.mark.parametrize("call", [from_thread.run, from_thread.run_sync])
async def test_calling_it_in_the_thread_of_a_run_is_a_mistake(call: Callable[..., object]) -> None:
    for token in (None, current_run_token()):
        with pytest.raises(RuntimeError, match="blocking function"):
            call(nursery.lowlevel.checkpoint, run_token=token)


@pytest.mark.parametrize("call", [from_thread.run, from_thread.run_sync])
def test_a_foreign_thread_must_name_the_run(call: Callable[..., object]) -> None:
    with pytest.raises(RuntimeError, match="run_token="):
        call(nursery.lowlevel.checkpoint)
    with pytest.raises(RuntimeError, match="run_token"):
        call(nursery.lowlevel.checkpoint, run_token="token")


def test_a_foreign_thread_cannot_check_for_cancellation() -> None:
    with pytest.raises(RuntimeError, match=r"to_thread\.run_sync"):
        from_thread.check_cancelled()


async def test_the_wrong_kind_of_function_is_a_mistake() -> None:
    async def asynchronous() -> None:
        raise AssertionError("never awaited")

    def in_thread() -> None:
        with pytest.raises(TypeError, match="expected a synchronous function"):
            from_thread.run_sync(asynchronous)  # type: ignore[unused-coroutine]  # the mistake under test
        with pytest.raises(TypeError, match="expected an async function"):
            from_thread.run(abs, -1)  # type: ignore[arg-type]  # the mistake under test
        mistaken: Any = from_thread.run
        with pytest.raises(TypeError, match="got the coroutine object"):
            mistaken(asynchronous())
        mistaken = from_thread.run_sync
        with pytest.raises(TypeError, match="got the coroutine object"):
            mistaken(asynchronous())

    await to_thread.run_sync(in_thread)
