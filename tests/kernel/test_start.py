"""nursery.start: a task that reports when it is ready, and then moves into the nursery."""

from __future__ import annotations

from typing import Any, cast

import pytest

import nursery
from nursery import TASK_STATUS_IGNORED, CancelScope, Nursery, TaskStatus
from nursery.lowlevel import (
    Abort,
    Task,
    cancel_shielded_checkpoint,
    checkpoint,
    current_task,
    reschedule,
    wait_task_rescheduled,
)

from .in_run import in_a_run, in_virtual_time


async def report(value: object, *, task_status: TaskStatus[object] = TASK_STATUS_IGNORED) -> None:
    """Report `value` and end."""
    task_status.started(value)


# The value


@in_a_run
async def test_start_returns_what_the_child_reported() -> None:
    async with nursery.open_nursery() as n:
        assert await n.start(report, "ready") == "ready"


@in_a_run
async def test_started_without_a_value_makes_start_return_none() -> None:
    async def child(*, task_status: TaskStatus[None]) -> None:
        task_status.started()

    async with nursery.open_nursery() as n:
        assert (await cast(Any, n).start(child)) is None


@in_a_run
async def test_start_waits_until_the_child_has_reported() -> None:
    order: list[str] = []

    async def child(*, task_status: TaskStatus[None]) -> None:
        for _ in range(3):
            await checkpoint()
        order.append("reports")
        task_status.started()
        await checkpoint()
        order.append("goes on")

    async with nursery.open_nursery() as n:
        await n.start(child)
        order.append("start returned")
    assert order == ["reports", "start returned", "goes on"] or order == ["reports", "goes on", "start returned"]


@in_a_run
async def test_a_function_that_can_be_started_can_also_be_awaited() -> None:
    await report("nobody listens")
    assert repr(TASK_STATUS_IGNORED) == "TASK_STATUS_IGNORED"


@in_a_run
async def test_reporting_twice_is_an_error_in_the_child() -> None:
    async def child(*, task_status: TaskStatus[int]) -> None:
        task_status.started(1)
        with pytest.raises(RuntimeError, match="twice"):
            task_status.started(2)

    async with nursery.open_nursery() as n:
        assert await n.start(child) == 1


@in_a_run
async def test_a_child_that_ends_without_reporting_is_an_error() -> None:
    async def child(*, task_status: TaskStatus[None]) -> None:
        pass

    async with nursery.open_nursery() as n:
        with pytest.raises(RuntimeError, match="without calling"):
            await n.start(child)


@in_a_run
async def test_positional_arguments_and_a_name_are_passed_on() -> None:
    async def child(a: int, b: int, *, task_status: TaskStatus[tuple[int, str]]) -> None:
        task_status.started((a + b, current_task().name))

    async with nursery.open_nursery() as n:
        assert await n.start(child, 1, 2, name="adder") == (3, "adder")
        assert (await n.start(child, 1, 2))[1].endswith("child")


@in_a_run
async def test_a_function_without_task_status_is_a_type_error() -> None:
    async def child() -> None:
        pass

    async with nursery.open_nursery() as n:
        with pytest.raises(TypeError, match="task_status"):
            await n.start(cast(Any, child))


# Failures before the report


@in_a_run
async def test_a_crash_before_the_report_comes_out_of_start_bare() -> None:
    async def child(*, task_status: TaskStatus[None]) -> None:
        raise ValueError("too early")

    async with nursery.open_nursery() as n:
        with pytest.raises(ValueError, match="too early"):
            await n.start(child)
        await checkpoint()
    assert not n.cancel_scope.cancel_called


@in_a_run
async def test_a_crash_before_the_report_keeps_its_cause_and_context() -> None:
    async def child(*, task_status: TaskStatus[None]) -> None:
        try:
            raise KeyError("context")
        except KeyError:
            raise ValueError from OSError("cause")

    async with nursery.open_nursery() as n:
        with pytest.raises(ValueError) as caught:
            await n.start(child)
    assert isinstance(caught.value.__cause__, OSError)
    assert isinstance(caught.value.__context__, KeyError)


@in_a_run
async def test_a_crash_before_the_report_has_no_context_if_it_had_none() -> None:
    async def child(*, task_status: TaskStatus[None]) -> None:
        raise ValueError

    async with nursery.open_nursery() as n:
        with pytest.raises(ValueError) as caught:
            await n.start(child)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


@in_a_run
async def test_a_group_that_the_child_raised_is_not_flattened() -> None:
    async def child(*, task_status: TaskStatus[None]) -> None:
        raise ExceptionGroup("mine", [ValueError()])

    async with nursery.open_nursery() as n:
        with pytest.raises(ExceptionGroup) as caught:
            await n.start(child)
    assert caught.value.message == "mine"
    assert [type(e) for e in caught.value.exceptions] == [ValueError]


@in_a_run
async def test_a_childs_own_nursery_comes_out_of_start_as_one_group() -> None:
    async def fail() -> None:
        raise ValueError

    async def child(*, task_status: TaskStatus[None]) -> None:
        async with nursery.open_nursery() as inner:
            inner.start_soon(fail)

    async with nursery.open_nursery() as n:
        with pytest.raises(ExceptionGroup) as caught:
            await n.start(child)
    assert [type(e) for e in caught.value.exceptions] == [ValueError]


@in_a_run
async def test_a_child_that_reports_and_crashes_in_one_step_crashes_the_nursery() -> None:
    async def child(*, task_status: TaskStatus[str]) -> None:
        task_status.started("ready")
        raise ValueError("late")

    with pytest.raises(ExceptionGroup) as caught:
        async with nursery.open_nursery() as n:
            value = await n.start(child)
            assert value == "ready"
            await nursery.sleep_forever()
    assert [str(e) for e in caught.value.exceptions] == ["late"]


@in_a_run
async def test_a_crash_after_the_report_leaves_through_the_nursery() -> None:
    async def child(*, task_status: TaskStatus[None]) -> None:
        task_status.started()
        await checkpoint()
        raise ValueError("later")

    with pytest.raises(ExceptionGroup) as caught:
        async with nursery.open_nursery() as n:
            await n.start(child)
    assert [str(e) for e in caught.value.exceptions] == ["later"]


# Cancellation


@in_virtual_time
async def test_cancelling_start_cancels_the_child() -> None:
    async def child(*, task_status: TaskStatus[None]) -> None:
        try:
            await nursery.sleep_forever()
        finally:
            ended.append("child")

    ended: list[str] = []
    async with nursery.open_nursery() as n:
        with nursery.move_on_after(1) as scope:
            await n.start(child)
        assert scope.cancelled_caught
        assert ended == ["child"]
        assert n.child_tasks == frozenset()


@in_a_run
async def test_if_start_is_cancelled_a_report_does_nothing_and_the_cancellation_wins() -> None:
    async def child(*, task_status: TaskStatus[str]) -> None:
        try:
            await nursery.sleep_forever()
        finally:
            task_status.started("too late")

    async with nursery.open_nursery() as n:
        with CancelScope() as scope:
            n.start_soon(_cancel_soon, scope)
            await n.start(child)
            pytest.fail("start returned")
        assert scope.cancelled_caught
        assert n.child_tasks == frozenset()


async def _cancel_soon(scope: CancelScope) -> None:
    await checkpoint()
    scope.cancel()


@in_a_run
async def test_if_start_is_cancelled_a_crash_after_the_report_still_comes_out_of_start() -> None:
    async def child(*, task_status: TaskStatus[None]) -> None:
        with CancelScope(shield=True):
            await checkpoint()
            scope.cancel()
            task_status.started()
            await checkpoint()
        raise ValueError("after a report that did nothing")

    async with nursery.open_nursery() as n:
        with pytest.raises(ValueError, match="did nothing"):
            with CancelScope() as scope:
                await n.start(child)
    assert not n.cancel_scope.cancel_called


@in_a_run
async def test_start_in_a_cancelled_scope_starts_the_child_cancelled() -> None:
    steps: list[str] = []

    async def child(*, task_status: TaskStatus[None]) -> None:
        steps.append("began")
        await checkpoint()
        steps.append("passed")

    async with nursery.open_nursery() as n:
        with CancelScope() as scope:
            scope.cancel()
            await n.start(child)
        assert scope.cancelled_caught
    assert steps == ["began"]


@in_a_run
async def test_a_cancelled_nursery_does_not_reach_a_child_that_has_not_reported() -> None:
    async def child(*, task_status: TaskStatus[str]) -> None:
        await checkpoint()
        task_status.started("ready")
        reached.append("after the report")
        await checkpoint()
        reached.append("passed")

    reached: list[str] = []

    async def starter(n: Nursery) -> None:
        assert await n.start(child) == "ready"
        reached.append("start returned")

    async with nursery.open_nursery() as outer:
        async with nursery.open_nursery() as inner:
            outer.start_soon(starter, inner)
            await checkpoint()
            inner.cancel_scope.cancel()
    assert "after the report" in reached
    assert "start returned" in reached
    assert "passed" not in reached


@in_a_run
async def test_moving_into_a_cancelled_nursery_interrupts_the_childs_sleepers() -> None:
    interrupted: list[str] = []

    async def sleeper() -> None:
        try:
            await nursery.sleep_forever()
        except nursery.Cancelled:
            interrupted.append("sleeper")
            raise

    async def child(*, task_status: TaskStatus[None]) -> None:
        async with nursery.open_nursery() as own:
            own.start_soon(sleeper)
            await checkpoint()
            await checkpoint()
            task_status.started()

    async def starter(n: Nursery) -> None:
        await n.start(child)

    async with nursery.open_nursery() as outer:
        async with nursery.open_nursery() as inner:
            outer.start_soon(starter, inner)
            await checkpoint()
            inner.cancel_scope.cancel()
    assert interrupted == ["sleeper"]


@in_a_run
async def test_a_moved_child_is_no_longer_in_the_scope_around_start() -> None:
    alive: list[str] = []

    async def child(*, task_status: TaskStatus[Task]) -> None:
        task_status.started(current_task())
        await wait_task_rescheduled(lambda raise_cancel: Abort.SUCCEEDED)
        alive.append("woken, not cancelled")

    async with nursery.open_nursery() as n:
        with CancelScope() as scope:
            task = await n.start(child)
            scope.cancel()
        await cancel_shielded_checkpoint()
        reschedule(task)
    assert alive == ["woken, not cancelled"]


@in_a_run
async def test_a_moved_child_carries_its_own_scopes_along() -> None:
    async def child(*, task_status: TaskStatus[CancelScope]) -> None:
        with CancelScope() as own:
            with CancelScope():
                task_status.started(own)
                await nursery.sleep_forever()
        assert own.cancelled_caught
        ended.append("by its own scope")

    ended: list[str] = []
    async with nursery.open_nursery() as n:
        with CancelScope() as around:
            scope = await n.start(child)
            around.cancel()
        await cancel_shielded_checkpoint()
        assert ended == []
        scope.cancel()
    assert ended == ["by its own scope"]


@in_a_run
async def test_a_moved_child_with_own_scopes_is_cancelled_by_its_new_nursery() -> None:
    async def child(*, task_status: TaskStatus[None]) -> None:
        with CancelScope():
            async with nursery.open_nursery() as own:
                own.start_soon(nursery.sleep_forever)
                task_status.started()

    async with nursery.open_nursery() as n:
        await n.start(child)
        n.cancel_scope.cancel()
    assert n.cancel_scope.cancelled_caught


@in_virtual_time
async def test_the_deadline_around_start_does_not_follow_the_child() -> None:
    async def child(*, task_status: TaskStatus[None]) -> None:
        before.append(nursery.current_effective_deadline())
        task_status.started()
        after.append(nursery.current_effective_deadline())

    before: list[float] = []
    after: list[float] = []
    async with nursery.open_nursery() as n:
        with nursery.move_on_after(5) as scope:
            await n.start(child)
        assert before == [scope.deadline]
    assert after == [float("inf")]


# The tree


@in_a_run
async def test_the_parent_nursery_changes_with_the_report() -> None:
    seen: list[tuple[bool, bool]] = []

    async def child(*, task_status: TaskStatus[None]) -> None:
        task = current_task()
        seen.append((task.parent_nursery is n, task.eventual_parent_nursery is n))
        task_status.started()
        seen.append((task.parent_nursery is n, task.eventual_parent_nursery is n))

    async with nursery.open_nursery() as n:
        await n.start(child)
    assert seen == [(False, True), (True, False)]


@in_a_run
async def test_an_ordinary_child_has_no_eventual_parent() -> None:
    async def child() -> None:
        assert current_task().eventual_parent_nursery is None

    async with nursery.open_nursery() as n:
        n.start_soon(child)


@in_a_run
async def test_a_pending_start_keeps_the_nursery_open() -> None:
    order: list[str] = []

    async def child(*, task_status: TaskStatus[None]) -> None:
        for _ in range(4):
            await checkpoint()
        order.append("reports")
        task_status.started()
        await checkpoint()
        order.append("ends")

    async def starter(n: Nursery) -> None:
        await n.start(child)

    async with nursery.open_nursery() as outer:
        async with nursery.open_nursery() as inner:
            outer.start_soon(starter, inner)
            await checkpoint()
        order.append("inner left")
    assert order == ["reports", "ends", "inner left"]


@in_a_run
async def test_a_pending_start_that_fails_lets_the_nursery_close() -> None:
    async def child(*, task_status: TaskStatus[None]) -> None:
        await checkpoint()
        raise ValueError

    async def starter(n: Nursery) -> None:
        with pytest.raises(ValueError):
            await n.start(child)

    async with nursery.open_nursery() as outer:
        async with nursery.open_nursery() as inner:
            outer.start_soon(starter, inner)
            await checkpoint()
        with pytest.raises(RuntimeError):
            inner.start_soon(checkpoint)


@in_a_run
async def test_start_may_be_called_from_another_task_than_the_nurserys_parent() -> None:
    async def starter(n: Nursery) -> None:
        assert await n.start(report, 7) == 7
        done.append("started")

    done: list[str] = []
    async with nursery.open_nursery() as n:
        n.start_soon(starter, n)
    assert done == ["started"]


@in_a_run
async def test_starts_may_be_nested() -> None:
    async def inner(*, task_status: TaskStatus[str]) -> None:
        task_status.started("inner")
        await checkpoint()

    async def outer(*, task_status: TaskStatus[str]) -> None:
        async with nursery.open_nursery() as own:
            value = await own.start(inner)
            task_status.started(f"outer of {value}")

    async with nursery.open_nursery() as n:
        assert await n.start(outer) == "outer of inner"


@in_a_run
async def test_a_second_task_in_the_hidden_nursery_of_a_start_is_an_internal_error() -> None:
    async def sibling() -> None:
        raise KeyError

    async def child(*, task_status: TaskStatus[None]) -> None:
        hidden = current_task().parent_nursery
        assert hidden is not None
        hidden.start_soon(sibling)
        raise ValueError

    async with nursery.open_nursery() as n:
        with pytest.raises(nursery.InternalError):
            await n.start(child)


@in_a_run
async def test_the_status_object_says_what_it_is() -> None:
    async def child(*, task_status: TaskStatus[str]) -> None:
        task_status.started(repr(task_status))

    async with nursery.open_nursery() as n:
        assert "TaskStatus" in await n.start(child)
