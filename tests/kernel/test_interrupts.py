"""Ctrl-C: raised at once in unprotected code, kept for the main task in protected code, and never lost."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from types import FrameType
from typing import Any, cast

import outcome
import pytest

import nursery
from nursery import CancelScope
from nursery.kernel.idle import wait_all_tasks_blocked
from nursery.lowlevel import (
    Abort,
    RaiseCancelT,
    cancel_shielded_checkpoint,
    checkpoint,
    checkpoint_if_cancelled,
    current_run_token,
    current_task,
    currently_ki_protected,
    disable_ki_protection,
    enable_ki_protection,
    reschedule,
    spawn_system_task,
    wait_task_rescheduled,
)

from .in_run import in_a_run


@pytest.fixture(autouse=True)
def python_s_own_handler() -> Generator[None, None, None]:
    """Begin with the handler that a program finds, and fail a test that leaves another one behind."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def interrupt() -> None:
    """Press Ctrl-C."""
    signal.raise_signal(signal.SIGINT)


# Unprotected code


def test_in_unprotected_code_the_interrupt_is_raised_at_once() -> None:
    reached: list[str] = []

    async def main() -> None:
        interrupt()
        reached.append("after the interrupt")

    with pytest.raises(KeyboardInterrupt):
        nursery.run(main)
    assert reached == []


def test_an_interrupt_from_another_process_s_kill_is_the_same() -> None:
    async def main() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await checkpoint()

    with pytest.raises(KeyboardInterrupt):
        nursery.run(main)


def test_an_interrupt_raised_in_a_child_leaves_through_its_nursery() -> None:
    cleaned: list[str] = []

    async def sleeper() -> None:
        try:
            await nursery.sleep_forever()
        except nursery.Cancelled:
            cleaned.append("sleeper")
            raise

    async def child() -> None:
        try:
            interrupt()
        except KeyboardInterrupt:
            await checkpoint()
            cleaned.append("child")
            raise

    async def main() -> None:
        async with nursery.open_nursery() as n:
            n.start_soon(sleeper)
            n.start_soon(child)

    with pytest.raises(BaseExceptionGroup) as caught:
        nursery.run(main)
    assert [type(e) for e in caught.value.exceptions] == [KeyboardInterrupt]
    assert sorted(cleaned) == ["child", "sleeper"]


def test_an_interrupt_may_be_caught_and_the_run_goes_on() -> None:
    async def main() -> str:
        with pytest.raises(KeyboardInterrupt):
            interrupt()
        await checkpoint()
        return "went on"

    assert nursery.run(main) == "went on"


# Protected code


def test_in_protected_code_the_interrupt_waits_for_the_main_tasks_next_checkpoint() -> None:
    reached: list[str] = []

    @enable_ki_protection
    async def main() -> None:
        interrupt()
        reached.append("after the interrupt")
        await checkpoint()
        reached.append("after the checkpoint")

    with pytest.raises(KeyboardInterrupt):
        nursery.run(main)
    assert reached == ["after the interrupt"]


@pytest.mark.parametrize(
    "wait", [checkpoint, checkpoint_if_cancelled, nursery.sleep_forever, functools.partial(nursery.sleep, 5)]
)
def test_every_cancel_point_of_the_main_task_raises_a_waiting_interrupt(wait: Callable[[], Any]) -> None:
    @enable_ki_protection
    async def main() -> None:
        interrupt()
        with pytest.raises(KeyboardInterrupt):
            await wait()
        await checkpoint()

    nursery.run(main)


def test_an_interrupt_in_a_protected_child_is_raised_in_the_main_task() -> None:
    seen: list[str] = []

    @enable_ki_protection
    async def child() -> None:
        interrupt()
        seen.append("child goes on")
        try:
            await nursery.sleep_forever()
        except nursery.Cancelled:
            seen.append("child cancelled")
            raise

    async def main() -> None:
        async with nursery.open_nursery() as n:
            n.start_soon(child)
            try:
                await nursery.sleep_forever()
            except KeyboardInterrupt:
                seen.append("main interrupted")
                raise

    with pytest.raises(BaseExceptionGroup) as caught:
        nursery.run(main)
    assert [type(e) for e in caught.value.exceptions] == [KeyboardInterrupt]
    assert seen == ["child goes on", "main interrupted", "child cancelled"]


def test_a_main_task_that_waits_for_its_children_is_interrupted_and_they_are_cancelled() -> None:
    @enable_ki_protection
    async def child() -> None:
        interrupt()
        await nursery.sleep_forever()

    async def main() -> None:
        async with nursery.open_nursery() as n:
            n.start_soon(child)

    with pytest.raises(BaseExceptionGroup) as caught:
        nursery.run(main)
    assert [type(e) for e in caught.value.exceptions] == [KeyboardInterrupt]


def test_a_shielded_main_task_is_interrupted_all_the_same() -> None:
    @enable_ki_protection
    async def main() -> None:
        with CancelScope(shield=True):
            interrupt()
            with pytest.raises(KeyboardInterrupt):
                await checkpoint()

    nursery.run(main)


def test_the_interrupt_comes_before_a_pending_cancellation_which_then_comes_too() -> None:
    @enable_ki_protection
    async def main() -> None:
        with CancelScope() as scope:
            scope.cancel()
            with pytest.raises(nursery.Cancelled):
                await checkpoint()
            interrupt()
            with pytest.raises(KeyboardInterrupt):
                await checkpoint()
            with pytest.raises(nursery.Cancelled):
                await checkpoint()

    nursery.run(main)


def test_points_that_are_no_cancel_points_let_the_interrupt_wait() -> None:
    @enable_ki_protection
    async def main() -> None:
        interrupt()
        for _ in range(3):
            await cancel_shielded_checkpoint()
        async with nursery.open_nursery():
            pass
        with pytest.raises(KeyboardInterrupt):
            await checkpoint()

    nursery.run(main)


def test_a_sleep_that_refuses_to_be_aborted_leaves_the_interrupt_for_the_next_checkpoint() -> None:
    @enable_ki_protection
    async def main() -> None:
        task = current_task()
        interrupt()

        def abort(raise_cancel: RaiseCancelT) -> Abort:
            reschedule(task, outcome.Value("done all the same"))
            return Abort.FAILED

        assert await wait_task_rescheduled(abort) == "done all the same"
        with pytest.raises(KeyboardInterrupt):
            await checkpoint()

    nursery.run(main)


def test_a_slow_abort_may_hand_the_interrupt_over_itself() -> None:
    @enable_ki_protection
    async def main() -> None:
        task = current_task()
        interrupt()

        def abort(raise_cancel: RaiseCancelT) -> Abort:
            reschedule(task, outcome.capture(raise_cancel))
            return Abort.FAILED

        with pytest.raises(KeyboardInterrupt):
            await wait_task_rescheduled(abort)
        await checkpoint()

    nursery.run(main)


def test_two_interrupts_before_the_checkpoint_are_raised_as_one() -> None:
    @enable_ki_protection
    async def main() -> None:
        interrupt()
        interrupt()
        with pytest.raises(KeyboardInterrupt):
            await checkpoint()
        await checkpoint()

    nursery.run(main)


def test_a_later_interrupt_is_raised_again() -> None:
    @enable_ki_protection
    async def main() -> None:
        for _ in range(3):
            interrupt()
            with pytest.raises(KeyboardInterrupt):
                await checkpoint()

    nursery.run(main)


def test_with_the_restriction_unprotected_code_too_waits_for_a_checkpoint() -> None:
    reached: list[str] = []

    async def main() -> None:
        interrupt()
        reached.append("after the interrupt")
        with pytest.raises(KeyboardInterrupt):
            await nursery.sleep(5)

    nursery.run(main, restrict_keyboard_interrupt_to_checkpoints=True)
    assert reached == ["after the interrupt"]


# The edges of the run


def test_an_interrupt_before_main_begins_is_raised_in_it_or_instead_of_it() -> None:
    class Early(nursery.abc.Instrument):
        def before_run(self) -> None:
            interrupt()

    async def main() -> None:
        await checkpoint()
        pytest.fail("the interrupt was lost")

    with pytest.raises(KeyboardInterrupt):
        nursery.run(main, instruments=[Early()])


def test_an_interrupt_in_mains_last_moment_is_raised_by_run() -> None:
    @enable_ki_protection
    async def main() -> None:
        interrupt()

    with pytest.raises(KeyboardInterrupt):
        nursery.run(main)


def test_an_interrupt_that_nobody_received_carries_mains_own_error_as_context() -> None:
    @enable_ki_protection
    async def main() -> None:
        interrupt()
        raise ValueError("main's own")

    with pytest.raises(KeyboardInterrupt) as caught:
        nursery.run(main)
    assert isinstance(caught.value.__context__, ValueError)


def test_an_interrupt_after_the_inbox_closed_is_raised_by_run() -> None:
    async def main() -> None:
        token = current_run_token()

        def until_refused() -> None:
            try:
                token.run_sync_soon(until_refused)
            except nursery.RunFinishedError:
                interrupt()

        token.run_sync_soon(until_refused)

    with pytest.raises(KeyboardInterrupt):
        nursery.run(main)


def test_an_interrupt_while_system_tasks_shut_down_is_raised_by_run() -> None:
    async def system() -> None:
        try:
            await nursery.sleep_forever()
        finally:
            interrupt()

    async def main() -> None:
        spawn_system_task(system)
        await checkpoint()

    with pytest.raises(KeyboardInterrupt):
        nursery.run(main)


def test_an_interrupt_in_the_last_hook_is_not_lost() -> None:
    class Late(nursery.abc.Instrument):
        def after_run(self) -> None:
            interrupt()

    async def main() -> None:
        pass

    with pytest.raises(KeyboardInterrupt):
        nursery.run(main, instruments=[Late()])


def test_an_interrupt_from_a_thread_wakes_a_loop_that_sleeps() -> None:
    async def main() -> None:
        thread = threading.Thread(target=_interrupt_soon)
        thread.start()
        try:
            await nursery.sleep(5)
        finally:
            thread.join()

    before = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        nursery.run(main)
    assert time.monotonic() - before < 2


def _interrupt_soon() -> None:
    time.sleep(0.003)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


# Whose handler


def test_a_handler_of_the_user_is_left_alone() -> None:
    caught: list[int] = []

    def mine(signum: int, frame: FrameType | None) -> None:
        caught.append(signum)

    signal.signal(signal.SIGINT, mine)

    async def main() -> None:
        interrupt()
        await checkpoint()
        assert signal.getsignal(signal.SIGINT) is mine

    try:
        nursery.run(main)
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert caught == [signal.SIGINT]


def test_a_handler_that_the_user_sets_during_the_run_stays_after_it() -> None:
    def mine(signum: int, frame: FrameType | None) -> None:
        pass

    async def main() -> None:
        signal.signal(signal.SIGINT, mine)

    try:
        nursery.run(main)
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_the_default_handler_is_put_back_also_after_an_error() -> None:
    async def main() -> None:
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        raise ValueError

    with pytest.raises(ValueError):
        nursery.run(main)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_run_in_another_thread_touches_no_signal_handler() -> None:
    seen: list[object] = []

    async def main() -> None:
        seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=nursery.run, args=(main,))
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


# What counts as protected


@in_a_run
async def test_main_and_children_are_not_protected() -> None:
    seen = [currently_ki_protected()]

    async def child() -> None:
        seen.append(currently_ki_protected())
        await checkpoint()
        seen.append(currently_ki_protected())

    async with nursery.open_nursery() as n:
        n.start_soon(child)
    await checkpoint()
    seen.append(currently_ki_protected())
    assert seen == [False] * 4


def test_outside_a_run_everything_counts_as_protected() -> None:
    assert currently_ki_protected()


@in_a_run
async def test_system_tasks_calls_from_outside_and_their_children_inside_are_protected() -> None:
    seen: list[bool] = []

    def note() -> None:
        seen.append(currently_ki_protected())

    async def system() -> None:
        note()
        await checkpoint()
        note()

    spawn_system_task(system)
    current_run_token().run_sync_soon(note)
    await wait_all_tasks_blocked()
    assert seen == [True] * 3


@in_a_run
async def test_abort_functions_are_protected() -> None:
    seen: list[bool] = []

    def abort(raise_cancel: RaiseCancelT) -> Abort:
        seen.append(currently_ki_protected())
        return Abort.SUCCEEDED

    async def sleeper() -> None:
        await wait_task_rescheduled(abort)

    async with nursery.open_nursery() as n:
        n.start_soon(sleeper)
        await checkpoint()
        n.cancel_scope.cancel()
        await cancel_shielded_checkpoint()
    assert seen == [True]


@in_a_run
async def test_instruments_are_protected() -> None:
    seen: list[bool] = []

    class Watcher(nursery.abc.Instrument):
        def before_task_step(self, task: nursery.lowlevel.Task) -> None:
            seen.append(currently_ki_protected())

    watcher = Watcher()
    nursery.lowlevel.add_instrument(watcher)
    await checkpoint()
    await checkpoint()
    nursery.lowlevel.remove_instrument(watcher)
    assert seen
    assert all(seen)


@in_a_run
async def test_protection_reaches_into_plain_functions_that_are_called() -> None:
    def inner() -> bool:
        return currently_ki_protected()

    @enable_ki_protection
    def protected() -> bool:
        return inner()

    @disable_ki_protection
    def unprotected() -> bool:
        return inner()

    @enable_ki_protection
    def protected_around() -> bool:
        return unprotected()

    assert (inner(), protected(), unprotected(), protected_around()) == (False, True, False, False)


@in_a_run
async def test_protection_follows_an_async_function_across_its_awaits() -> None:
    @enable_ki_protection
    async def protected() -> list[bool]:
        seen = [currently_ki_protected()]
        await checkpoint()
        seen.append(currently_ki_protected())
        return seen

    assert await protected() == [True, True]
    assert not currently_ki_protected()


@in_a_run
async def test_a_protected_function_may_be_started_as_a_task() -> None:
    seen: list[bool] = []

    @enable_ki_protection
    async def child() -> None:
        seen.append(currently_ki_protected())
        await checkpoint()
        seen.append(currently_ki_protected())

    async with nursery.open_nursery() as n:
        n.start_soon(child)
    assert seen == [True, True]


@in_a_run
async def test_an_unprotected_part_of_a_system_task_is_interrupted_at_once() -> None:
    @disable_ki_protection
    async def open_part() -> None:
        with pytest.raises(KeyboardInterrupt):
            interrupt()
        seen.append("raised")

    seen: list[str] = []
    spawn_system_task(open_part)
    await wait_all_tasks_blocked()
    assert seen == ["raised"]


@in_a_run
async def test_protection_follows_generators_and_not_who_iterates() -> None:
    @enable_ki_protection
    def protected() -> Iterator[bool]:
        yield currently_ki_protected()
        yield currently_ki_protected()

    @disable_ki_protection
    def unprotected() -> Iterator[bool]:
        yield currently_ki_protected()
        yield currently_ki_protected()

    @enable_ki_protection
    def iterate_protected() -> list[bool]:
        return list(unprotected())

    seen = []
    for value in protected():
        seen.append(value)
        seen.append(currently_ki_protected())
    assert seen == [True, False, True, False]
    assert iterate_protected() == [False, False]


@in_a_run
async def test_protection_follows_context_managers_made_of_generators_also_when_an_error_is_thrown_in() -> None:
    seen: list[bool] = []

    @contextlib.contextmanager
    @enable_ki_protection
    def protected() -> Generator[None, None, None]:
        seen.append(currently_ki_protected())
        try:
            yield
        finally:
            seen.append(currently_ki_protected())

    with protected():
        seen.append(currently_ki_protected())
    with pytest.raises(KeyError), protected():
        raise KeyError
    assert seen == [True, False, True, True, True]


@in_a_run
async def test_protection_follows_async_generators_across_awaits_and_yields() -> None:
    seen: list[bool] = []

    @enable_ki_protection
    async def protected() -> AsyncIterator[None]:
        seen.append(currently_ki_protected())
        await checkpoint()
        try:
            yield
        finally:
            seen.append(currently_ki_protected())
            await checkpoint()
            seen.append(currently_ki_protected())

    async for _ in protected():
        assert not currently_ki_protected()
    with pytest.raises(KeyError):
        async with contextlib.asynccontextmanager(protected)():
            raise KeyError
    assert seen == [True] * 6


@in_a_run
async def test_each_closure_keeps_its_own_protection() -> None:
    def make() -> Callable[[], bool]:
        def inner() -> bool:
            return currently_ki_protected()

        return inner

    plain, protected = make(), enable_ki_protection(make())
    assert (plain(), protected(), make()()) == (False, True, False)


def test_marking_keeps_the_kind_of_function_and_the_function_itself() -> None:
    async def coroutine_function() -> None:
        pass

    async def async_generator_function() -> AsyncIterator[None]:
        yield

    def generator_function() -> Iterator[None]:
        yield

    for mark in (enable_ki_protection, disable_ki_protection):
        assert inspect.iscoroutinefunction(mark(coroutine_function))
        assert inspect.isasyncgenfunction(mark(async_generator_function))
        assert inspect.isgeneratorfunction(mark(generator_function))
        assert mark(coroutine_function) is coroutine_function


def test_what_is_not_written_in_python_cannot_be_marked() -> None:
    with pytest.raises(TypeError):
        enable_ki_protection(cast(Any, len))


def test_finalisers_are_protected() -> None:
    seen: list[bool] = []

    class Finalised:
        def __del__(self) -> None:
            seen.append(currently_ki_protected())
            seen.append(_called_by_the_finaliser())

    def _called_by_the_finaliser() -> bool:
        return currently_ki_protected()

    async def main() -> None:
        Finalised()
        await checkpoint()

    nursery.run(main)
    assert seen == [True, True]


# Nothing is lost, nothing is torn


def _interrupt_at_line(
    number: int, of_files: tuple[str, ...], main: Callable[[], Any]
) -> tuple[bool, BaseException | None]:
    """Run `main` and press Ctrl-C just before the given line event in the given files; tell whether it came so far."""
    seen = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal seen
        if not frame.f_code.co_filename.endswith(of_files):
            return None
        if event == "line":
            seen += 1
            if seen == number:
                sys.settrace(None)
                interrupt()
        return trace

    before = sys.gettrace()
    error: BaseException | None = None
    sys.settrace(trace)
    try:
        nursery.run(main, debug=True)
    except BaseException as exc:
        error = exc
    finally:
        sys.settrace(before)
    return seen >= number, error


@pytest.mark.parametrize("seconds", [0.0005, 5.0])
def test_an_interrupt_at_any_line_of_a_sleep_tears_nothing(seconds: float) -> None:
    async def main() -> None:
        try:
            with nursery.move_on_after(0.0002):
                await nursery.sleep(seconds)
        except KeyboardInterrupt:
            # The clock goes on: what the torn sleep left in the deadlines would wake this task by mistake.
            woken = False
            with CancelScope() as scope:
                scope.cancel()
                await wait_task_rescheduled(lambda raise_cancel: Abort.SUCCEEDED)
                woken = True
            assert not woken
            await nursery.sleep(0.001)
            assert len(current_task().runner.deadlines) == 0
            raise

    number, interrupted = 0, 0
    while number < 200:
        number += 1
        reached, error = _interrupt_at_line(number, ("nursery/timeouts.py",), main)
        if not reached:
            break
        assert isinstance(error, KeyboardInterrupt), f"at line event {number}: {error!r}"
        interrupted += 1
    assert interrupted > 5


def test_an_interrupt_at_any_line_of_the_kernel_is_raised_in_the_end() -> None:
    async def child() -> None:
        await checkpoint()

    async def main() -> None:
        async with nursery.open_nursery() as n:
            n.start_soon(child)
            with nursery.move_on_after(5):
                await checkpoint()

    files = tuple(f"nursery/kernel/{name}.py" for name in ("nursery", "scope", "task", "loop", "traps", "parking"))
    number, interrupted = 0, 0
    while number < 3000:
        # Steps of seven: every line is hit in some run of the suite's life, and a run stays short.
        number += 7
        reached, error = _interrupt_at_line(number, files, main)
        if not reached:
            break
        kinds = error.split(KeyboardInterrupt) if isinstance(error, BaseExceptionGroup) else (error, None)
        assert kinds[0] is not None, f"at line event {number} the interrupt was lost"
        assert kinds[1] is None, f"at line event {number}: {error!r}"
        assert isinstance(error, (KeyboardInterrupt, BaseExceptionGroup)), f"at line event {number}: {error!r}"
        interrupted += 1
    assert interrupted > 10


def test_marking_a_wrapper_marks_what_it_wraps() -> None:
    def inner() -> bool:
        return currently_ki_protected()

    @functools.wraps(inner)
    def wrapper() -> bool:
        return inner()

    async def main() -> tuple[bool, bool]:
        return wrapper(), inner()

    enable_ki_protection(wrapper)
    assert nursery.run(main) == (True, True)
