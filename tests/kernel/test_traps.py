"""The traps: checkpoints, sleeping and being rescheduled, detaching, and errors that arrive as values."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, cast

import outcome
import pytest

import nursery
from nursery import CancelScope
from nursery.lowlevel import (
    Abort,
    RaiseCancelT,
    Task,
    cancel_shielded_checkpoint,
    checkpoint,
    checkpoint_if_cancelled,
    current_task,
    permanently_detach_coroutine_object,
    reattach_detached_coroutine_object,
    reschedule,
    temporarily_detach_coroutine_object,
    wait_task_rescheduled,
)

from .broken_run import internal_error_of
from .in_run import in_a_run


def succeed(raise_cancel: RaiseCancelT) -> Abort:
    """Agree to be woken."""
    return Abort.SUCCEEDED


class Count:
    """What testing.assert_checkpoints hangs on a task."""

    def __init__(self) -> None:
        self.cancel_points = 0
        self.schedule_points = 0


# Checkpoints


@in_a_run
async def test_checkpoint_lets_every_runnable_task_run_first() -> None:
    order: list[str] = []

    async def other(name: str) -> None:
        order.append(name)

    async with nursery.open_nursery() as n:
        n.start_soon(other, "a")
        n.start_soon(other, "b")
        await checkpoint()
        order.append("me")
    assert order == ["a", "b", "me"]


@in_a_run
async def test_checkpoint_if_cancelled_does_not_yield_if_not_cancelled() -> None:
    order: list[str] = []

    async def other() -> None:
        order.append("other")

    async with nursery.open_nursery() as n:
        n.start_soon(other)
        await checkpoint_if_cancelled()
        order.append("me")
    assert order == ["me", "other"]


@in_a_run
async def test_checkpoint_if_cancelled_raises_if_cancelled() -> None:
    with CancelScope() as scope:
        scope.cancel()
        await checkpoint_if_cancelled()
        pytest.fail("not raised")
    assert scope.cancelled_caught


@in_a_run
async def test_cancel_shielded_checkpoint_yields_and_never_raises() -> None:
    order: list[str] = []

    async def other() -> None:
        order.append("other")

    async with nursery.open_nursery() as n:
        n.start_soon(other)
        with CancelScope() as scope:
            scope.cancel()
            await cancel_shielded_checkpoint()
            order.append("me")
    assert order == ["other", "me"]


@pytest.mark.parametrize(
    ("function", "cancel_points", "schedule_points"),
    [(checkpoint, 1, 1), (cancel_shielded_checkpoint, 0, 1), (checkpoint_if_cancelled, 1, 0)],
)
def test_a_counting_test_sees_every_point_of_a_checkpoint(
    function: Callable[[], Any], cancel_points: int, schedule_points: int
) -> None:
    async def main() -> tuple[int, int]:
        task = current_task()
        task.count = count = Count()
        task.refresh()
        await function()
        task.count = None
        task.refresh()
        return count.cancel_points, count.schedule_points

    assert nursery.run(main) == (cancel_points, schedule_points)


@in_a_run
async def test_a_counting_test_sees_a_sleep_as_one_point_of_each_kind() -> None:
    task = current_task()
    task.count = count = Count()
    task.refresh()
    async with nursery.open_nursery() as n:
        n.start_soon(reschedule_soon, task)
        await wait_task_rescheduled(succeed)
        task.count = None
        task.refresh()
    assert (count.cancel_points, count.schedule_points) == (1, 1)


async def reschedule_soon(task: Task) -> None:
    """Wake `task`, a turn later."""
    await checkpoint()
    reschedule(task)


# Sleeping and being rescheduled


@in_a_run
async def test_reschedule_passes_a_value_to_the_sleeper() -> None:
    got: list[object] = []

    async def sleeper() -> None:
        tasks.append(current_task())
        got.append(await wait_task_rescheduled(succeed))

    tasks: list[Task] = []
    async with nursery.open_nursery() as n:
        n.start_soon(sleeper)
        await checkpoint()
        reschedule(tasks[0], outcome.Value("value"))
    assert got == ["value"]


@in_a_run
async def test_reschedule_without_a_value_passes_none() -> None:
    async with nursery.open_nursery() as n:
        n.start_soon(reschedule_soon, current_task())
        assert await wait_task_rescheduled(succeed) is None


@in_a_run
async def test_reschedule_passes_an_error_to_the_sleeper() -> None:
    async def waker(task: Task) -> None:
        reschedule(task, outcome.Error(ValueError("from the waker")))

    async with nursery.open_nursery() as n:
        n.start_soon(waker, current_task())
        with pytest.raises(ValueError, match="from the waker"):
            await wait_task_rescheduled(succeed)


@in_a_run
async def test_rescheduling_a_task_that_is_not_asleep_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="not asleep"):
        reschedule(current_task())


@in_a_run
async def test_a_sleeper_cannot_be_rescheduled_twice() -> None:
    async def waker(task: Task) -> None:
        reschedule(task)
        with pytest.raises(RuntimeError, match="not asleep"):
            reschedule(task)

    async with nursery.open_nursery() as n:
        n.start_soon(waker, current_task())
        await wait_task_rescheduled(succeed)


@in_a_run
async def test_sleepers_wake_in_the_order_in_which_they_were_rescheduled() -> None:
    order: list[int] = []
    tasks: dict[int, Task] = {}

    async def sleeper(number: int) -> None:
        tasks[number] = current_task()
        await wait_task_rescheduled(succeed)
        order.append(number)

    async with nursery.open_nursery() as n:
        for number in range(4):
            n.start_soon(sleeper, number)
        await checkpoint()
        for number in (2, 0, 3, 1):
            reschedule(tasks[number])
    assert order == [2, 0, 3, 1]


@in_a_run
async def test_custom_sleep_data_is_cleared_before_a_woken_sleeper_goes_on() -> None:
    async def waker(task: Task) -> None:
        assert task.custom_sleep_data == "mine"
        reschedule(task)

    task = current_task()
    async with nursery.open_nursery() as n:
        n.start_soon(waker, task)
        task.custom_sleep_data = "mine"
        await wait_task_rescheduled(succeed)
        assert task.custom_sleep_data is None


@in_a_run
async def test_custom_sleep_data_can_be_read_by_the_abort_function_and_is_cleared_after_it() -> None:
    task = current_task()
    seen: list[object] = []

    def abort(raise_cancel: RaiseCancelT) -> Abort:
        seen.append(task.custom_sleep_data)
        return Abort.SUCCEEDED

    with CancelScope() as scope:
        scope.cancel()
        task.custom_sleep_data = "mine"
        await wait_task_rescheduled(abort)
    assert seen == ["mine"]
    assert task.custom_sleep_data is None


# Abort functions


@in_a_run
async def test_the_abort_function_is_called_at_most_once_a_sleep() -> None:
    calls: list[str] = []

    async def sleeper() -> None:
        tasks.append(current_task())

        def abort(raise_cancel: RaiseCancelT) -> Abort:
            calls.append("abort")
            return Abort.FAILED

        await wait_task_rescheduled(abort)
        calls.append("woken")

    tasks: list[Task] = []
    with CancelScope() as outer:
        with CancelScope() as inner:
            async with nursery.open_nursery() as n:
                n.start_soon(sleeper)
                await checkpoint()
                n.cancel_scope.cancel()
                inner.cancel()
                outer.cancel()
                await cancel_shielded_checkpoint()
                reschedule(tasks[0])
    assert calls == ["abort", "woken"]


@in_a_run
async def test_each_sleep_has_an_abort_call_of_its_own() -> None:
    calls: list[int] = []
    task = current_task()

    def aborter(number: int) -> Callable[[RaiseCancelT], Abort]:
        def abort(raise_cancel: RaiseCancelT) -> Abort:
            calls.append(number)
            reschedule(task)
            return Abort.FAILED

        return abort

    with CancelScope() as scope:
        scope.cancel()
        await wait_task_rescheduled(aborter(1))
        await wait_task_rescheduled(aborter(2))
    assert calls == [1, 2]
    assert not scope.cancelled_caught


@in_a_run
async def test_after_a_failed_abort_the_sleeper_gets_what_the_waker_sends() -> None:
    task = current_task()

    async def cancel_and_wake(scope: CancelScope) -> None:
        scope.cancel()
        await cancel_shielded_checkpoint()
        reschedule(task, outcome.Value("work was done"))

    async with nursery.open_nursery() as n:
        with CancelScope() as scope:
            n.start_soon(cancel_and_wake, scope)
            assert await wait_task_rescheduled(lambda raise_cancel: Abort.FAILED) == "work was done"
            with pytest.raises(nursery.Cancelled):
                await checkpoint()


@in_a_run
async def test_a_captured_raise_cancel_stays_valid_though_the_task_is_shielded_meanwhile() -> None:
    task = current_task()
    captured: list[RaiseCancelT] = []

    def abort(raise_cancel: RaiseCancelT) -> Abort:
        captured.append(raise_cancel)
        return Abort.FAILED

    async def wake_later(inner: CancelScope) -> None:
        await cancel_shielded_checkpoint()
        inner.shield = True
        reschedule(task, outcome.capture(captured[0]))

    async with nursery.open_nursery() as n:
        with CancelScope() as outer:
            with CancelScope() as inner:
                outer.cancel()
                n.start_soon(wake_later, inner)
                with pytest.raises(nursery.Cancelled):
                    await wait_task_rescheduled(abort)
                await checkpoint()


def test_an_abort_function_that_answers_neither_yes_nor_no_is_an_internal_error() -> None:
    async def main() -> None:
        with CancelScope() as scope:
            scope.cancel()
            await wait_task_rescheduled(cast(Any, lambda raise_cancel: "yes"))

    assert "Abort.SUCCEEDED or Abort.FAILED" in internal_error_of(lambda: nursery.run(main))


def test_an_abort_function_that_raises_is_an_internal_error_with_its_cause() -> None:
    def abort(raise_cancel: RaiseCancelT) -> Abort:
        raise ValueError("broken abort")

    async def main() -> None:
        with CancelScope() as scope:
            scope.cancel()
            await wait_task_rescheduled(abort)

    assert "ValueError: broken abort" in internal_error_of(lambda: nursery.run(main))


def test_an_abort_function_may_be_called_for_a_task_that_begins_to_sleep_cancelled() -> None:
    calls: list[str] = []

    def abort(raise_cancel: RaiseCancelT) -> Abort:
        calls.append("abort")
        return Abort.SUCCEEDED

    async def main() -> None:
        with CancelScope() as scope:
            scope.cancel()
            await wait_task_rescheduled(abort)
        assert scope.cancelled_caught

    nursery.run(main)
    assert calls == ["abort"]


# Errors as values


@in_a_run
async def test_the_error_being_handled_survives_a_switch_to_another_task() -> None:
    async def other() -> None:
        try:
            raise KeyError
        except KeyError:
            await checkpoint()
            assert sys.exc_info()[0] is KeyError

    async with nursery.open_nursery() as n:
        n.start_soon(other)
        try:
            raise ValueError
        except ValueError:
            await checkpoint()
            assert sys.exc_info()[0] is ValueError
        assert sys.exc_info()[0] is None


@in_a_run
async def test_an_error_sent_to_a_sleeper_has_the_sleepers_context_and_not_the_wakers() -> None:
    async def waker(task: Task) -> None:
        try:
            raise OSError("the waker's own trouble")
        except OSError:
            reschedule(task, outcome.Error(ValueError()))

    async with nursery.open_nursery() as n:
        n.start_soon(waker, current_task())
        with pytest.raises(ValueError) as caught:
            try:
                raise KeyError("the sleeper's trouble")
            except KeyError:
                await wait_task_rescheduled(succeed)
    assert isinstance(caught.value.__context__, KeyError)
    assert caught.value.__context__.__context__ is None


@in_a_run
async def test_after_an_error_was_sent_in_and_handled_exc_info_is_the_outer_one_again() -> None:
    async def waker(task: Task) -> None:
        reschedule(task, outcome.Error(ValueError()))

    async with nursery.open_nursery() as n:
        n.start_soon(waker, current_task())
        try:
            raise KeyError
        except KeyError:
            try:
                await wait_task_rescheduled(succeed)
            except ValueError:
                assert sys.exc_info()[0] is ValueError
            assert sys.exc_info()[0] is KeyError


@in_a_run
async def test_a_cancelled_raised_in_an_except_block_is_chained_to_the_error_handled_there() -> None:
    with CancelScope() as scope:
        scope.cancel()
        with pytest.raises(nursery.Cancelled) as caught:
            try:
                raise KeyError
            except KeyError:
                await checkpoint()
    assert isinstance(caught.value.__context__, KeyError)


# Detaching


@in_a_run
async def test_a_permanently_detached_coroutine_goes_on_elsewhere_and_its_task_ends() -> None:
    tasks: list[Task] = []
    got: list[object] = []

    async def child() -> str:
        tasks.append(current_task())
        got.append(await permanently_detach_coroutine_object(outcome.Value(None)))
        return "ended elsewhere"

    async with nursery.open_nursery() as n:
        n.start_soon(child)
    with pytest.raises(StopIteration) as ended:
        tasks[0].coro.send("from the new scheduler")
    assert got == ["from the new scheduler"]
    assert ended.value.value == "ended elsewhere"


def test_a_detached_main_task_ends_the_run_with_its_final_outcome() -> None:
    tasks: list[Task] = []

    async def main() -> str:
        tasks.append(current_task())
        await permanently_detach_coroutine_object(outcome.Value("final"))
        return "unused"

    assert nursery.run(main) == "final"
    tasks[0].coro.close()


@in_a_run
async def test_detaching_with_an_error_fails_the_task() -> None:
    tasks: list[Task] = []

    async def child() -> None:
        tasks.append(current_task())
        await permanently_detach_coroutine_object(outcome.Error(ValueError()))

    with pytest.raises(ExceptionGroup) as caught:
        async with nursery.open_nursery() as n:
            n.start_soon(child)
    assert [type(e) for e in caught.value.exceptions] == [ValueError]
    tasks[0].coro.close()


@in_a_run
async def test_a_task_with_open_nurseries_cannot_be_detached() -> None:
    async with nursery.open_nursery():
        with pytest.raises(RuntimeError, match="open nurseries"):
            await permanently_detach_coroutine_object(outcome.Value(None))


@in_a_run
async def test_a_lent_coroutine_can_be_driven_by_hand_and_given_back() -> None:
    tasks: list[Task] = []
    got: list[object] = []

    async def child() -> None:
        tasks.append(current_task())
        got.append(await temporarily_detach_coroutine_object(succeed))
        got.append(await trap("second message"))
        await reattach_detached_coroutine_object(tasks[0], "last message")
        got.append(current_task() is tasks[0])
        await checkpoint()

    async with nursery.open_nursery() as n:
        n.start_soon(child)
        await checkpoint()
        assert tasks[0].coro.send("first answer") == "second message"
        assert tasks[0].coro.send("second answer") == "last message"
    assert got == ["first answer", "second answer", True]


class trap:
    """An awaitable of another framework: yields a message and returns the answer."""

    def __init__(self, message: object) -> None:
        self.message = message

    def __await__(self) -> Any:
        return (yield self.message)


@in_a_run
async def test_cancelling_a_lent_coroutine_calls_its_abort_function() -> None:
    aborted: list[str] = []

    async def child() -> None:
        def abort(raise_cancel: RaiseCancelT) -> Abort:
            aborted.append("abort")
            return Abort.SUCCEEDED

        await temporarily_detach_coroutine_object(abort)

    async with nursery.open_nursery() as n:
        n.start_soon(child)
        await checkpoint()
        n.cancel_scope.cancel()
    assert aborted == ["abort"]
    assert n.cancel_scope.cancelled_caught


@in_a_run
async def test_reattaching_to_the_wrong_task_is_an_error() -> None:
    tasks: list[Task] = []

    async def lender() -> None:
        tasks.append(current_task())
        await temporarily_detach_coroutine_object(succeed)

    async with nursery.open_nursery() as n:
        n.start_soon(lender)
        await checkpoint()
        with pytest.raises(RuntimeError, match="cannot reattach"):
            await reattach_detached_coroutine_object(tasks[0], None)
        with pytest.raises(RuntimeError, match="cannot reattach"):
            await reattach_detached_coroutine_object(current_task(), None)
        n.cancel_scope.cancel()


# Outside


def test_every_trap_outside_a_run_says_where_it_must_be_called() -> None:
    for call in (checkpoint_if_cancelled, nursery.sleep_forever, lambda: nursery.sleep(1)):
        coroutine = call()
        with pytest.raises(RuntimeError, match="async context"):
            coroutine.send(None)


@in_a_run
async def test_waking_a_task_from_a_foreign_thread_is_refused() -> None:
    errors: list[BaseException] = []
    tasks: list[Task] = []

    async def sleeper() -> None:
        tasks.append(current_task())
        await wait_task_rescheduled(succeed)

    def foreign() -> None:
        wakes: list[Callable[[], None]] = [
            lambda: reschedule(tasks[0]),
            tasks[0].wake,
            lambda: tasks[0].wake_with_error(ValueError()),
        ]
        for wake in wakes:
            try:
                wake()
            except RuntimeError as exc:
                errors.append(exc)

    async with nursery.open_nursery() as n:
        n.start_soon(sleeper)
        await checkpoint()
        thread = threading.Thread(target=foreign)
        thread.start()
        thread.join()
        assert tasks[0].abort is not None
        reschedule(tasks[0])
    assert len(errors) == 3
