"""Blocking functions in threads: `nursery.to_thread`."""

from __future__ import annotations

import contextvars
import gc
import signal
import threading
import time
import weakref
from typing import Any

import pytest

import nursery
from nursery import from_thread, to_thread
from nursery.sync.limiter import CapacityLimiter
from nursery.testing import assert_checkpoints, wait_all_tasks_blocked
from nursery.threads import worker
from nursery.threads.active import active_thread_count


async def test_it_runs_in_another_thread_and_returns_the_value() -> None:
    with assert_checkpoints():
        thread = await to_thread.run_sync(threading.current_thread)
    assert thread is not threading.current_thread()


async def test_arguments_are_passed_on() -> None:
    assert await to_thread.run_sync(divmod, 17, 5) == (3, 2)


async def test_an_error_comes_out_with_its_traceback() -> None:
    def fail() -> None:
        raise KeyError("failed in the thread")

    with pytest.raises(KeyError) as info:
        await to_thread.run_sync(fail)
    assert [frame.name for frame in info.traceback][-1] == "fail"


async def test_other_tasks_run_meanwhile() -> None:
    gate = threading.Event()

    async def open_gate() -> None:
        gate.set()

    async with nursery.open_nursery() as n:
        n.start_soon(open_gate)
        assert await to_thread.run_sync(gate.wait, 5)


async def test_an_async_function_is_a_mistake() -> None:
    async def asynchronous() -> None:
        raise AssertionError("never awaited")

    with pytest.raises(TypeError, match="expected a sync function"):
        await to_thread.run_sync(asynchronous)  # type: ignore[unused-coroutine]  # the mistake under test
    mistaken: Any = asynchronous()
    with pytest.raises(TypeError, match="got the coroutine object"):
        await to_thread.run_sync(mistaken)


async def test_the_thread_has_a_telling_name() -> None:
    def name() -> str:
        return threading.current_thread().name

    assert await to_thread.run_sync(name) == f"name from {nursery.lowlevel.current_task().name}"
    assert await to_thread.run_sync(name, thread_name="chosen") == "chosen"


async def test_mistakes_are_told_under_the_public_name() -> None:
    with pytest.raises(TypeError, match=r"^run_sync\(\) got an unexpected keyword argument 'base'"):
        await to_thread.run_sync(int, "11", base=2)  # type: ignore[call-arg]  # the mistake under test


async def test_a_name_that_is_none_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="must be a str"):
        await to_thread.run_sync(int, thread_name=5)  # type: ignore[arg-type]  # the mistake under test
    assert to_thread.current_default_thread_limiter().borrowed_tokens == 0
    assert active_thread_count() == 0


async def test_a_result_leaves_no_cyclic_garbage() -> None:
    class CanaryError(Exception):
        pass

    def fail() -> None:
        raise CanaryError

    gc.collect()
    gc.disable()
    try:
        try:
            await to_thread.run_sync(fail)
        except CanaryError as exc:
            canary = weakref.ref(exc)
        # The worker lets go of its result when it has delivered it.
        for _ in range(500):
            if canary() is None:
                break
            time.sleep(0.001)
        assert canary() is None
    finally:
        gc.enable()


class Canary:
    pass


async def test_what_the_function_held_is_let_go_of_before_the_call_returns() -> None:
    # A thread that was slow to forget its last job kept it alive in one of ten cases.
    gc.disable()
    try:
        for _ in range(200):
            argument = Canary()
            watched = weakref.ref(argument)
            await to_thread.run_sync(repr, argument)
            del argument
            assert watched() is None

            held = Canary()
            watched = weakref.ref(held)

            def work(held: Canary = held) -> None:
                pass

            del held
            await to_thread.run_sync(work)
            del work
            assert watched() is None
    finally:
        gc.enable()


async def test_the_context_of_a_task_that_is_over_is_let_go_of() -> None:
    watched: list[weakref.ref[Canary]] = []
    holder: contextvars.ContextVar[Canary] = contextvars.ContextVar("holder")

    async def hold() -> None:
        canary = Canary()
        watched.append(weakref.ref(canary))
        holder.set(canary)
        await to_thread.run_sync(int)

    gc.disable()
    try:
        for _ in range(200):
            async with nursery.open_nursery() as n:
                n.start_soon(hold)
            assert watched.pop()() is None
    finally:
        gc.enable()


# Contexts

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def test_the_function_sees_a_copy_of_the_callers_context() -> None:
    def look_and_change() -> str:
        before = variable.get()
        variable.set("changed in the thread")
        return before

    variable.set("set by the caller")
    assert await to_thread.run_sync(look_and_change) == "set by the caller"
    assert variable.get() == "set by the caller"


async def test_a_context_does_not_leak_into_the_next_job() -> None:
    def change() -> None:
        variable.set("left behind")

    async def in_a_task_of_its_own() -> None:
        await to_thread.run_sync(change)

    async with nursery.open_nursery() as n:
        n.start_soon(in_a_task_of_its_own)
    assert await to_thread.run_sync(variable.get) == "unset"


# Cancellation


async def test_in_a_cancelled_scope_no_thread_is_started() -> None:
    ran = False

    def run() -> None:
        nonlocal ran
        ran = True

    with nursery.CancelScope() as scope:
        scope.cancel()
        await to_thread.run_sync(run)
    assert scope.cancelled_caught
    assert not ran


async def test_by_default_a_cancelled_call_ends_with_its_function() -> None:
    begun, gate = threading.Event(), threading.Event()
    results: list[str] = []

    def work() -> str:
        begun.set()
        gate.wait(5)
        return "done all the same"

    async with nursery.open_nursery() as n:

        async def call() -> None:
            results.append(await to_thread.run_sync(work))

        n.start_soon(call)
        await to_thread.run_sync(begun.wait, 5)
        n.cancel_scope.cancel()
        with nursery.CancelScope(shield=True):
            await nursery.sleep(0.002)
            assert results == []
            gate.set()
    assert results == ["done all the same"]


async def test_an_abandoned_function_goes_on_and_its_result_is_dropped() -> None:
    begun, gate, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        gate.wait(5)
        ended.set()
        raise ValueError("nobody is interested")

    async with nursery.open_nursery() as n:

        async def call() -> None:
            with nursery.CancelScope() as scope:
                n.start_soon(cancel_later, scope)
                await to_thread.run_sync(work, abandon_on_cancel=True)
            assert scope.cancelled_caught
            assert not ended.is_set()

        async def cancel_later(scope: nursery.CancelScope) -> None:
            await to_thread.run_sync(begun.wait, 5)
            scope.cancel()

        n.start_soon(call)
    gate.set()
    assert await to_thread.run_sync(ended.wait, 5)


async def test_the_truth_of_abandon_on_cancel_is_asked_at_once() -> None:
    class Undecided:
        def __bool__(self) -> bool:
            raise NotImplementedError

    with pytest.raises(NotImplementedError):
        await to_thread.run_sync(int, abandon_on_cancel=Undecided())  # type: ignore[arg-type]  # the mistake under test


def test_the_run_may_end_before_an_abandoned_thread_does() -> None:
    gate, ended = threading.Event(), threading.Event()

    def work() -> None:
        gate.wait(5)
        try:
            from_thread.run_sync(print, "too late")
        except nursery.RunFinishedError:
            ended.set()

    async def main() -> None:
        with nursery.move_on_after(0.002):
            await to_thread.run_sync(work, abandon_on_cancel=True)

    nursery.run(main)
    gate.set()
    assert ended.wait(5)


def test_an_interrupt_is_kept_until_the_function_has_ended() -> None:
    ended = False

    def work() -> None:
        nonlocal ended
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.002)
        ended = True

    async def main() -> None:
        with pytest.raises(KeyboardInterrupt):
            await to_thread.run_sync(work)
            await nursery.sleep(1)
        assert ended

    if threading.current_thread() is not threading.main_thread():
        pytest.skip("interrupts reach the main thread only")
    nursery.run(main)


# Limits


async def test_a_limiter_bounds_how_many_threads_work() -> None:
    limiter = CapacityLimiter(3)
    lock = threading.Lock()
    working = most = 0

    def work() -> None:
        nonlocal working, most
        with lock:
            working += 1
            most = max(most, working)
        time.sleep(0.001)
        with lock:
            working -= 1

    async with nursery.open_nursery() as n:
        for _ in range(20):

            async def call() -> None:
                await to_thread.run_sync(work, limiter=limiter)

            n.start_soon(call)
    assert 1 <= most <= 3
    assert limiter.borrowed_tokens == 0


async def test_an_abandoned_thread_keeps_its_token_until_it_ends() -> None:
    limiter = CapacityLimiter(1)
    gate = threading.Event()
    with nursery.move_on_after(0.002):
        await to_thread.run_sync(gate.wait, 5, abandon_on_cancel=True, limiter=limiter)
    assert limiter.borrowed_tokens == 1
    gate.set()
    # Whoever waits for the token gets it from the thread.
    with nursery.fail_after(5):
        await limiter.acquire()
    assert limiter.borrowed_tokens == 1
    limiter.release()


async def test_the_borrower_is_the_job_with_its_name() -> None:
    limiter = CapacityLimiter(1)
    gate = threading.Event()
    async with nursery.open_nursery() as n:

        async def call() -> None:
            await to_thread.run_sync(gate.wait, 5, limiter=limiter, thread_name="borrower")

        n.start_soon(call)
        await wait_all_tasks_blocked()
        [borrower] = limiter.statistics().borrowers
        assert "borrower" in repr(borrower)
        gate.set()


async def test_waiting_for_a_token_can_be_cancelled() -> None:
    limiter = CapacityLimiter(1)
    limiter.acquire_on_behalf_of_nowait("somebody else")
    with nursery.move_on_after(0.001) as scope:
        await to_thread.run_sync(int, limiter=limiter)
    assert scope.cancelled_caught
    limiter.release_on_behalf_of("somebody else")
    assert await to_thread.run_sync(int, limiter=limiter) == 0


async def test_the_default_limiter_belongs_to_the_run_and_can_be_changed() -> None:
    limiter = to_thread.current_default_thread_limiter()
    assert limiter is to_thread.current_default_thread_limiter()
    assert limiter.total_tokens == 40
    limiter.total_tokens = 1
    assert await to_thread.run_sync(lambda: limiter.borrowed_tokens) == 1


def test_each_run_has_a_default_limiter_of_its_own() -> None:
    async def get() -> CapacityLimiter:
        return to_thread.current_default_thread_limiter()

    assert nursery.run(get) is not nursery.run(get)
    with pytest.raises(RuntimeError):
        to_thread.current_default_thread_limiter()


async def test_a_thread_that_cannot_start_gives_its_token_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(*args: object) -> None:
        raise RuntimeError("no more threads")

    monkeypatch.setattr(worker, "start_thread_soon", cannot)
    limiter = CapacityLimiter(1)
    with pytest.raises(RuntimeError, match="no more threads"):
        await to_thread.run_sync(int, limiter=limiter)
    assert limiter.borrowed_tokens == 0
    assert active_thread_count() == 0


class BadLimiter:
    """A limiter of the user's own, which cannot take its tokens back."""

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        pass

    def release_on_behalf_of(self, borrower: object) -> None:
        raise ValueError("cannot release")


async def test_an_error_of_the_limiter_reaches_the_caller() -> None:
    with pytest.raises(ValueError, match="cannot release") as info:
        await to_thread.run_sync(int, limiter=BadLimiter())  # type: ignore[arg-type]  # behaves like one
    assert info.value.__context__ is None

    def fail() -> None:
        raise KeyError

    with pytest.raises(ValueError, match="cannot release") as info:
        await to_thread.run_sync(fail, limiter=BadLimiter())  # type: ignore[arg-type]  # behaves like one
    assert isinstance(info.value.__context__, KeyError)
