"""The four doors for a second dialect: callbacks, foreign awaitables, its cancellations, tasks outside steps."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import outcome
import pytest

import nursery
from nursery import Cancelled, CancelScope
from nursery.kernel.current import current, current_runner
from nursery.kernel.entry import begin, drive, make_runner
from nursery.kernel.foreign import Callback, throw_into
from nursery.kernel.loop import expire
from nursery.lowlevel import Task, checkpoint, current_task, in_nursery_task, permanently_detach_coroutine_object

from .broken_run import internal_error_of
from .in_run import in_a_run


class Foreign:
    """An awaitable that yields itself, as an asyncio future does."""

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield self)


# Callbacks


@in_a_run
async def test_callbacks_and_tasks_share_one_queue_first_in_first_out() -> None:
    order: list[str] = []
    queue = current_runner().queue

    async def child(name: str) -> None:
        order.append(name)

    async with nursery.open_nursery() as n:
        n.start_soon(child, "task 1")
        queue.append(Callback(lambda: order.append("callback 1")))
        n.start_soon(child, "task 2")
        queue.append(Callback(lambda: order.append("callback 2")))
    assert order == ["task 1", "callback 1", "task 2", "callback 2"]


@in_a_run
async def test_a_callback_runs_as_no_task() -> None:
    seen: list[bool] = []
    current_runner().queue.append(Callback(lambda: seen.append(in_nursery_task())))
    await checkpoint()
    assert seen == [False]


@in_a_run
async def test_a_callback_may_be_queued_again_and_runs_once_each_time() -> None:
    runs: list[str] = []
    callback = Callback(lambda: runs.append("run"))
    for _ in range(3):
        current_runner().queue.append(callback)
    await checkpoint()
    assert len(runs) == 3


def test_a_callback_that_raises_is_an_internal_error() -> None:
    def fail() -> None:
        raise ValueError("from a callback")

    async def main() -> None:
        current_runner().queue.append(Callback(fail))
        await nursery.sleep_forever()

    assert "ValueError: from a callback" in internal_error_of(lambda: nursery.run(main))


def test_callbacks_run_also_in_a_traced_run_and_under_the_self_check() -> None:
    runs: list[str] = []

    async def main() -> None:
        current_runner().queue.append(Callback(lambda: runs.append("run")))
        await checkpoint()

    nursery.run(main, instruments=[nursery.abc.Instrument()], debug=True)
    assert runs == ["run"]


# Foreign awaitables


@in_a_run
async def test_without_a_dialect_a_foreign_awaitable_is_a_type_error_at_the_await() -> None:
    with pytest.raises(TypeError, match="does not know"):
        await Foreign()
    await checkpoint()


@in_a_run
async def test_the_rejection_can_be_caught_and_the_task_goes_on_waiting_natively() -> None:
    for _ in range(3):
        try:
            await Foreign()
        except TypeError:
            await nursery.sleep(0)


@in_a_run
async def test_the_rejection_names_the_task_and_what_it_yielded() -> None:
    foreign = Foreign()
    with pytest.raises(TypeError) as caught:
        await foreign
    assert repr(foreign) in str(caught.value)
    assert repr(current_task()) in str(caught.value)


@in_a_run
async def test_the_handler_of_foreign_awaitables_gets_task_and_yield_and_may_wake_the_task() -> None:
    runner = current_runner()
    got: list[tuple[Task, object]] = []

    def handle(task: Task, yielded: object) -> None:
        got.append((task, yielded))
        runner.queue.append(task)

    rejecting, runner.foreign_await = runner.foreign_await, handle
    try:
        foreign = Foreign()
        await foreign
    finally:
        runner.foreign_await = rejecting
    assert got == [(current_task(), foreign)]


@in_a_run
async def test_throw_into_raises_the_error_in_the_coroutine_once() -> None:
    runner = current_runner()

    def handle(task: Task, yielded: object) -> None:
        throw_into(task, ValueError("thrown"))

    rejecting, runner.foreign_await = runner.foreign_await, handle
    try:
        with pytest.raises(ValueError, match="thrown"):
            await Foreign()
        await checkpoint()
    finally:
        runner.foreign_await = rejecting


# The class of cancellations


class BothCancelled(Cancelled, _kernel=True):
    """What a dialect would raise: known to it by its own base class as well."""


@in_a_run
async def test_a_cancelled_scope_raises_the_class_that_the_dialect_gave() -> None:
    current_runner().cancelled_class = BothCancelled
    with CancelScope() as scope:
        scope.cancel("why")
        try:
            await checkpoint()
        except BothCancelled as exc:
            assert exc.reason == "why"
            raise
    assert scope.cancelled_caught


@in_a_run
async def test_sleepers_are_woken_with_that_class_too() -> None:
    current_runner().cancelled_class = BothCancelled
    with CancelScope() as scope:
        async with nursery.open_nursery() as n:
            n.start_soon(_expect, BothCancelled)
            await checkpoint()
            scope.cancel()
    assert scope.cancelled_caught


async def _expect(cls: type[BaseException]) -> None:
    try:
        await nursery.sleep_forever()
    except BaseException as exc:
        assert type(exc) is cls
        raise


# Tasks outside steps


@in_a_run
async def test_outside_a_step_there_is_no_task_until_a_dialect_says_which() -> None:
    runner = current_runner()
    main = current_task()
    seen: list[object] = []

    def ask() -> None:
        try:
            seen.append(current_task())
        except RuntimeError:
            seen.append("nobody")

    runner.queue.append(Callback(ask))
    await checkpoint()
    closed, runner.task_outside_step = runner.task_outside_step, lambda: main
    runner.queue.append(Callback(ask))
    await checkpoint()
    runner.task_outside_step = closed
    assert seen == ["nobody", main]


@in_a_run
async def test_a_scope_can_be_entered_outside_a_step_for_the_task_that_the_door_names() -> None:
    runner = current_runner()
    main = current_task()
    scope = CancelScope()

    def enter_and_leave() -> None:
        with scope:
            assert main.scope is scope

    runner.task_outside_step = lambda: main
    runner.queue.append(Callback(enter_and_leave))
    await checkpoint()
    assert main.scope is not scope


@in_a_run
async def test_a_dialect_may_give_its_own_class_of_tasks() -> None:
    class MyTask(Task):
        __slots__ = ()

    classes: list[type] = []

    async def child() -> None:
        classes.append(type(current_task()))

    current_runner().task_class = MyTask
    async with nursery.open_nursery() as n:
        n.start_soon(child)
    assert classes == [MyTask]


# In a traced run


def test_the_traced_batch_hands_foreign_awaitables_and_detached_tasks_on_as_the_plain_one_does() -> None:
    async def detaches() -> None:
        tasks.append(current_task())
        await permanently_detach_coroutine_object(outcome.Value(None))

    async def main() -> str:
        with pytest.raises(TypeError, match="does not know"):
            await Foreign()
        async with nursery.open_nursery() as n:
            n.start_soon(detaches)
        return "the same"

    tasks: list[Task] = []
    for instruments in ([], [nursery.abc.Instrument()]):
        assert nursery.run(main, instruments=instruments) == "the same"
    for task in tasks:
        task.coro.close()


# A run without a main task


def test_a_run_without_a_main_task_lasts_until_it_is_told_to_end() -> None:
    log: list[str] = []

    async def system() -> None:
        try:
            await nursery.sleep(0.001)
            log.append("slept")
            current_runner().end_soon()
            await nursery.sleep_forever()
        finally:
            log.append("cancelled")

    runner = make_runner(None, (), True)
    runner.generators.install_hooks()
    current.runner = runner
    try:
        begin(runner, None, (), wake_on_signals=False)
        while runner.system_nursery is None:
            expire(runner)
            runner.steps_until_poll = 1
            runner.batch(runner)
        runner.spawn_system(system, (), None)
        drive(runner)
    finally:
        current.runner = None
        runner.close()
    assert log == ["slept", "cancelled"]
    assert runner.finished
