"""Cancel scopes: what they absorb, when they are cancelled, and how shields hold back."""

from __future__ import annotations

import random
from math import inf, nan

import pytest

import nursery
from nursery import CancelScope
from nursery.kernel.scope import cancelled_scope_around, newest_cancellation_around
from nursery.lowlevel import (
    Abort,
    Task,
    cancel_shielded_checkpoint,
    checkpoint,
    checkpoint_if_cancelled,
    current_task,
    reschedule,
    wait_task_rescheduled,
)

from .in_run import in_a_run, in_virtual_time

# What is absorbed


@in_a_run
async def test_a_cancelled_scope_raises_again_at_every_checkpoint() -> None:
    raised = 0
    with CancelScope() as scope:
        scope.cancel()
        for _ in range(3):
            with pytest.raises(nursery.Cancelled):
                await checkpoint()
            raised += 1
    assert raised == 3


@in_a_run
async def test_the_scope_that_was_cancelled_absorbs_the_cancellation() -> None:
    with CancelScope() as scope:
        scope.cancel()
        await checkpoint()
        pytest.fail("the checkpoint let a cancelled task pass")
    assert scope.cancel_called
    assert scope.cancelled_caught


@in_a_run
async def test_an_inner_scope_lets_the_cancellation_of_an_outer_one_pass() -> None:
    with CancelScope() as outer:
        with CancelScope() as inner:
            outer.cancel()
            await checkpoint()
    assert not inner.cancel_called
    assert not inner.cancelled_caught
    assert outer.cancelled_caught


@in_a_run
async def test_with_both_cancelled_the_outer_scope_absorbs() -> None:
    with CancelScope() as outer:
        with CancelScope() as inner:
            inner.cancel()
            outer.cancel()
            await checkpoint()
        pytest.fail("the inner scope absorbed what belonged to the outer one")
    assert (inner.cancelled_caught, outer.cancelled_caught) == (False, True)


@in_a_run
async def test_nothing_is_caught_if_the_body_never_met_a_checkpoint() -> None:
    with CancelScope() as scope:
        scope.cancel()
    assert scope.cancel_called
    assert not scope.cancelled_caught


@in_a_run
async def test_nothing_is_caught_if_the_body_swallowed_the_cancellation() -> None:
    with CancelScope() as scope:
        scope.cancel()
        with pytest.raises(nursery.Cancelled):
            await checkpoint()
    assert not scope.cancelled_caught


@in_a_run
async def test_an_ordinary_error_passes_through_a_cancelled_scope() -> None:
    scope = CancelScope()
    with pytest.raises(KeyError), scope:
        scope.cancel()
        raise KeyError
    assert not scope.cancelled_caught


@in_a_run
async def test_a_scope_takes_its_cancellations_out_of_a_group_and_leaves_the_rest() -> None:
    async def fail_when_cancelled() -> None:
        try:
            await nursery.sleep_forever()
        except nursery.Cancelled:
            raise ValueError("clean-up failed") from None

    scope = CancelScope()
    with pytest.raises(ExceptionGroup) as caught:
        with scope:
            async with nursery.open_nursery() as n:
                n.start_soon(fail_when_cancelled)
                n.start_soon(nursery.sleep_forever)
                await cancel_shielded_checkpoint()
                scope.cancel()
    assert scope.cancelled_caught
    assert [type(e) for e in caught.value.exceptions] == [ValueError]


@in_a_run
async def test_a_group_of_nothing_but_cancellations_vanishes() -> None:
    with CancelScope() as scope:
        async with nursery.open_nursery() as n:
            n.start_soon(nursery.sleep_forever)
            n.start_soon(nursery.sleep_forever)
            scope.cancel()
    assert scope.cancelled_caught


@in_a_run
async def test_if_an_outer_scope_is_cancelled_the_childrens_cancellations_travel_outward() -> None:
    with CancelScope() as outer:
        async with nursery.open_nursery() as n:
            n.start_soon(nursery.sleep_forever)
            await checkpoint()
            n.cancel_scope.cancel()
            outer.cancel()
    assert not n.cancel_scope.cancelled_caught
    assert outer.cancelled_caught


@in_a_run
async def test_cancel_is_idempotent_and_the_first_reason_stays() -> None:
    with CancelScope() as scope:
        scope.cancel("first")
        scope.cancel("second")
        with pytest.raises(nursery.Cancelled) as caught:
            await checkpoint()
    assert caught.value.reason == "first"


@in_a_run
async def test_cancelling_after_the_block_does_not_touch_later_code() -> None:
    with CancelScope() as scope:
        pass
    scope.cancel()
    await checkpoint()
    assert scope.cancel_called
    assert not scope.cancelled_caught


@in_a_run
async def test_a_cancellation_wakes_a_sleeper_in_a_child() -> None:
    woken: list[str] = []

    async def sleeper() -> None:
        try:
            await nursery.sleep_forever()
        finally:
            woken.append("yes")

    with CancelScope() as scope:
        async with nursery.open_nursery() as n:
            n.start_soon(sleeper)
            await checkpoint()
            scope.cancel()
    assert woken == ["yes"]


@in_a_run
async def test_scopes_nest_many_hundred_levels_deep() -> None:
    from contextlib import ExitStack

    with ExitStack() as stack:
        scopes = [stack.enter_context(CancelScope()) for _ in range(700)]
        scopes[0].cancel()
        await checkpoint()
    assert scopes[0].cancelled_caught
    assert not any(scope.cancelled_caught for scope in scopes[1:])


@in_a_run
async def test_a_cancellation_climbs_out_of_a_deep_tree_of_tasks() -> None:
    async def level(depth: int) -> None:
        async with nursery.open_nursery() as n:
            if depth < 120:
                n.start_soon(level, depth + 1)
            else:
                top.cancel()
            await nursery.sleep_forever()

    with CancelScope() as top:
        await level(0)
    assert top.cancelled_caught


@in_a_run
async def test_a_tree_of_a_thousand_levels_is_told_of_a_shield_without_recursion() -> None:
    deepest: list[bool] = []
    release: list[Task] = []

    async def level(depth: int) -> None:
        async with nursery.open_nursery() as n:
            if depth < 1200:
                n.start_soon(level, depth + 1)
            else:
                release.append(current_task())
                await wait_task_rescheduled(lambda raise_cancel: Abort.FAILED)
                deepest.append(current_task().alert)

    with CancelScope() as outer:
        async with nursery.open_nursery() as n:
            n.cancel_scope.shield = True
            n.start_soon(level, 0)
            while not release:
                await checkpoint()
            outer.cancel()
            readings = [release[0].alert]
            n.cancel_scope.shield = False
            readings.append(release[0].alert)
            n.cancel_scope.shield = True
            readings.append(release[0].alert)
            reschedule(release[0])
    assert readings == [False, True, False]
    assert deepest == [False]


# Use and misuse


@in_a_run
async def test_a_scope_cannot_be_entered_twice_at_once() -> None:
    with CancelScope() as scope:
        with pytest.raises(RuntimeError, match="single 'with' block"):
            scope.__enter__()


@in_a_run
async def test_a_scope_cannot_be_used_again() -> None:
    with CancelScope() as scope:
        pass
    with pytest.raises(RuntimeError, match="single 'with' block"), scope:
        pytest.fail("entered")


@in_a_run
async def test_a_scope_cannot_be_entered_from_a_second_task() -> None:
    errors: list[RuntimeError] = []

    async def enter() -> None:
        try:
            scope.__enter__()
        except RuntimeError as exc:
            errors.append(exc)

    with CancelScope() as scope:
        async with nursery.open_nursery() as n:
            n.start_soon(enter)
    assert len(errors) == 1


def test_a_scope_can_be_made_but_not_entered_outside_a_run() -> None:
    scope = CancelScope(deadline=5)
    with pytest.raises(RuntimeError, match="async context"), scope:
        pytest.fail("entered")


def test_leaving_a_scope_that_was_never_entered_is_an_error() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="had not been entered"):
            CancelScope().__exit__(None, None, None)

    nursery.run(main)


def test_leaving_a_scope_twice_is_an_error() -> None:
    async def main() -> None:
        with CancelScope() as scope:
            pass
        with pytest.raises(RuntimeError, match="already been exited"):
            scope.__exit__(None, None, None)

    nursery.run(main)


def test_cancel_scope_cannot_be_subclassed() -> None:
    with pytest.raises(TypeError):
        type("Mine", (CancelScope,), {})


def test_nan_and_negative_times_are_refused() -> None:
    with pytest.raises(ValueError):
        CancelScope(deadline=nan)
    with pytest.raises(ValueError):
        CancelScope(relative_deadline=nan)
    with pytest.raises(ValueError):
        CancelScope(relative_deadline=-1)
    with pytest.raises(ValueError):
        CancelScope(deadline=1, relative_deadline=1)


@in_a_run
async def test_the_setters_refuse_nan_and_negative_times() -> None:
    with CancelScope() as scope:
        with pytest.raises(ValueError):
            scope.deadline = nan
        with pytest.raises(ValueError):
            scope.relative_deadline = nan
        with pytest.raises(ValueError):
            scope.relative_deadline = -1
        assert scope.deadline == inf


@in_a_run
async def test_a_shield_is_a_bool_and_nothing_else() -> None:
    with pytest.raises(TypeError):
        CancelScope(shield="yes")  # type: ignore[arg-type]  # the misuse under test
    with CancelScope() as scope:
        with pytest.raises(TypeError):
            scope.shield = 1  # type: ignore[assignment]  # the misuse under test


@in_a_run
async def test_cancel_from_a_foreign_thread_is_refused() -> None:
    import threading

    errors: list[BaseException] = []

    def foreign() -> None:
        try:
            scope.cancel()
        except RuntimeError as exc:
            errors.append(exc)

    with CancelScope() as scope:
        thread = threading.Thread(target=foreign)
        thread.start()
        thread.join()
    assert len(errors) == 1
    assert not scope.cancel_called


# Before entry


@in_a_run
async def test_a_scope_cancelled_before_entry_is_cancelled_from_its_first_checkpoint() -> None:
    scope = CancelScope()
    scope.cancel()
    with scope:
        await checkpoint()
        pytest.fail("not cancelled")
    assert scope.cancelled_caught


@in_a_run
async def test_a_scope_shielded_before_entry_shields() -> None:
    with CancelScope() as outer:
        outer.cancel()
        with CancelScope(shield=True) as inner:
            await checkpoint()
        with CancelScope() as late:
            late.shield = True
            await checkpoint()
    assert not inner.cancelled_caught
    assert not outer.cancelled_caught


@in_a_run
async def test_a_deadline_in_the_past_cancels_at_entry() -> None:
    with CancelScope(deadline=-inf) as scope:
        assert scope.cancel_called
        await checkpoint_if_cancelled()
        pytest.fail("not cancelled")
    assert scope.cancelled_caught


@in_virtual_time
async def test_an_unentered_scope_whose_deadline_passed_reads_as_cancelled_for_good() -> None:
    scope = CancelScope(deadline=nursery.current_time() + 1)
    before = scope.cancel_called
    await nursery.sleep(2)
    after = scope.cancel_called
    scope.deadline = inf
    assert (before, after, scope.cancel_called) == (False, True, True)
    with scope:
        await checkpoint()
        pytest.fail("not cancelled")


@in_virtual_time
async def test_a_relative_deadline_counts_from_entry() -> None:
    scope = CancelScope(relative_deadline=5)
    await nursery.sleep(100)
    entered = nursery.current_time()
    with scope:
        assert scope.deadline == entered + 5
        await nursery.sleep_forever()
    assert nursery.current_time() == entered + 5
    assert scope.cancelled_caught


@in_virtual_time
async def test_is_relative_says_which_kind_until_entry_and_then_none() -> None:
    relative, absolute, plain = CancelScope(relative_deadline=1), CancelScope(deadline=5), CancelScope()
    assert (relative.is_relative, absolute.is_relative, plain.is_relative) == (True, False, False)
    with relative, plain:
        assert (relative.is_relative, plain.is_relative) == (None, None)


@in_virtual_time
async def test_an_unentered_relative_scope_has_no_absolute_deadline() -> None:
    scope = CancelScope(relative_deadline=1)
    with pytest.raises(RuntimeError):
        scope.deadline
    with pytest.raises(RuntimeError):
        scope.deadline = 5
    scope.relative_deadline = 3
    assert scope.relative_deadline == 3


@in_virtual_time
async def test_an_unentered_absolute_scope_has_no_relative_deadline() -> None:
    scope = CancelScope(deadline=5000)
    with pytest.raises(RuntimeError):
        scope.relative_deadline
    with pytest.raises(RuntimeError):
        scope.relative_deadline = 5
    assert scope.deadline == 5000


@in_virtual_time
async def test_after_entry_the_relative_deadline_counts_from_now() -> None:
    with CancelScope(relative_deadline=10) as scope:
        await nursery.sleep(4)
        assert scope.relative_deadline == 6
        scope.relative_deadline = 1
        assert scope.deadline == nursery.current_time() + 1
        await nursery.sleep_forever()
    assert scope.cancelled_caught


@in_virtual_time
async def test_relative_deadline_zero_cancels_at_entry() -> None:
    with CancelScope(relative_deadline=0) as scope:
        await checkpoint()
        pytest.fail("not cancelled")
    assert scope.cancelled_caught


# Deadlines


@in_virtual_time
async def test_a_deadline_cancels_sleepers_at_just_that_time() -> None:
    start = nursery.current_time()
    with CancelScope(deadline=start + 3) as scope:
        await nursery.sleep_forever()
    assert nursery.current_time() == start + 3
    assert scope.cancelled_caught


@in_virtual_time
async def test_a_deadline_can_be_moved_later_and_earlier_while_it_runs() -> None:
    start = nursery.current_time()
    with CancelScope(deadline=start + 1) as scope:
        scope.deadline = start + 10
        await nursery.sleep(5)
        scope.deadline = start + 7
        await nursery.sleep_forever()
    assert nursery.current_time() == start + 7


@in_virtual_time
async def test_a_deadline_can_be_called_off() -> None:
    with CancelScope(relative_deadline=1) as scope:
        scope.deadline = inf
        await nursery.sleep(100)
    assert not scope.cancel_called


@in_virtual_time
async def test_setting_a_deadline_in_the_past_cancels_at_the_next_checkpoint() -> None:
    with CancelScope() as scope:
        scope.deadline = nursery.current_time() - 1
        await checkpoint()
        pytest.fail("not cancelled")
    assert scope.cancelled_caught


@in_a_run
async def test_a_checkpoint_notices_a_deadline_that_passed_while_the_task_was_runnable() -> None:
    with CancelScope(relative_deadline=0.002) as scope:
        end = nursery.current_time() + 0.003
        while nursery.current_time() < end:
            pass
        await checkpoint()
        pytest.fail("the deadline was not noticed")
    assert scope.cancelled_caught


@in_virtual_time
async def test_a_deadline_that_passed_shows_in_cancel_called_without_a_checkpoint() -> None:
    from nursery.lowlevel import current_clock

    from .jumping_clock import JumpingClock

    clock = current_clock()
    assert isinstance(clock, JumpingClock)
    with CancelScope(relative_deadline=1) as scope:
        clock.time += 2
        assert scope.cancel_called
        with pytest.raises(nursery.Cancelled):
            await checkpoint()


@in_virtual_time
async def test_a_scope_that_was_left_does_not_expire_any_more() -> None:
    with CancelScope(relative_deadline=1) as scope:
        pass
    await nursery.sleep(5)
    assert not scope.cancel_called


@in_virtual_time
async def test_cancelling_again_through_the_deadline_of_a_cancelled_scope_changes_nothing() -> None:
    with CancelScope(relative_deadline=1) as scope:
        scope.cancel("by hand")
        scope.deadline = nursery.current_time() - 1
        with pytest.raises(nursery.Cancelled) as caught:
            await checkpoint()
    assert caught.value.source == "explicit"


@in_virtual_time
async def test_many_scopes_with_one_and_the_same_deadline_all_expire() -> None:
    expired: list[int] = []
    when = nursery.current_time() + 1

    async def sleeper(number: int) -> None:
        with CancelScope(deadline=when):
            await nursery.sleep_forever()
        expired.append(number)

    async with nursery.open_nursery() as n:
        for number in range(10):
            n.start_soon(sleeper, number)
    assert expired == list(range(10))
    assert nursery.current_time() == when


@in_virtual_time
async def test_the_effective_deadline_is_the_earliest_one_around() -> None:
    now = nursery.current_time()
    readings = [nursery.current_effective_deadline()]
    with CancelScope(deadline=now + 10):
        readings.append(nursery.current_effective_deadline())
        with CancelScope(deadline=now + 5):
            readings.append(nursery.current_effective_deadline())
        with CancelScope(deadline=now + 20):
            readings.append(nursery.current_effective_deadline())
    assert readings == [inf, now + 10, now + 5, now + 10]


@in_virtual_time
async def test_the_effective_deadline_respects_shields() -> None:
    now = nursery.current_time()
    with CancelScope(deadline=now + 10):
        with CancelScope(shield=True, deadline=now + 50):
            assert nursery.current_effective_deadline() == now + 50


@in_a_run
async def test_the_effective_deadline_of_a_cancelled_task_is_minus_infinity() -> None:
    with CancelScope() as outer:
        outer.cancel()
        cancelled = nursery.current_effective_deadline()
        with CancelScope(shield=True):
            shielded = nursery.current_effective_deadline()
    assert (cancelled, shielded) == (-inf, inf)


@in_virtual_time
async def test_the_effective_deadline_reaches_into_children() -> None:
    seen: list[float] = []

    async def child() -> None:
        seen.append(nursery.current_effective_deadline())

    when = nursery.current_time() + 9
    with CancelScope(deadline=when):
        async with nursery.open_nursery() as n:
            n.start_soon(child)
    assert seen == [when]


# Shields


@in_a_run
async def test_a_shield_holds_back_an_outer_cancellation() -> None:
    passed = False
    with CancelScope() as outer:
        with CancelScope(shield=True):
            outer.cancel()
            await checkpoint()
            passed = True
        await checkpoint()
        pytest.fail("not cancelled after the shield")
    assert passed
    assert outer.cancelled_caught


@in_a_run
async def test_a_shield_does_not_protect_from_its_own_scope() -> None:
    with CancelScope(shield=True) as scope:
        scope.cancel()
        await checkpoint()
        pytest.fail("not cancelled")
    assert scope.cancelled_caught


@in_a_run
async def test_with_outer_and_shielded_scope_cancelled_the_shielded_one_absorbs() -> None:
    with CancelScope() as outer:
        outer.cancel()
        with CancelScope(shield=True) as inner:
            inner.cancel()
            await checkpoint()
        assert inner.cancelled_caught
        await checkpoint()
    assert outer.cancelled_caught


@in_a_run
async def test_dropping_the_shield_wakes_a_sleeping_child_at_once() -> None:
    woken: list[str] = []

    async def sleeper() -> None:
        try:
            await nursery.sleep_forever()
        except nursery.Cancelled:
            woken.append("cancelled")
            raise

    with CancelScope() as outer:
        async with nursery.open_nursery() as n:
            n.cancel_scope.shield = True
            n.start_soon(sleeper)
            await checkpoint()
            outer.cancel()
            await checkpoint()
            assert woken == []
            n.cancel_scope.shield = False
            with CancelScope(shield=True):
                await checkpoint()
            assert woken == ["cancelled"]
    assert outer.cancelled_caught


@in_a_run
async def test_raising_a_shield_inside_a_cancelled_scope_stops_the_raising() -> None:
    with CancelScope() as outer:
        with CancelScope() as inner:
            outer.cancel()
            with pytest.raises(nursery.Cancelled):
                await checkpoint()
            inner.shield = True
            await checkpoint()
            inner.shield = False
            with pytest.raises(nursery.Cancelled):
                await checkpoint()


@in_a_run
async def test_dropping_a_shield_while_its_own_cancellation_is_on_its_way_moves_it_outward() -> None:
    with CancelScope() as outer:
        outer.cancel()
        with CancelScope() as inner:
            inner.shield = True
            inner.cancel()
            try:
                await checkpoint()
            finally:
                inner.shield = False
    assert outer.cancelled_caught
    assert not inner.cancelled_caught


@in_a_run
async def test_a_child_started_in_a_cancelled_nursery_is_cancelled_from_birth() -> None:
    passed = False

    async def child() -> None:
        nonlocal passed
        await checkpoint()
        passed = True

    async with nursery.open_nursery() as n:
        n.cancel_scope.cancel()
        n.start_soon(child)
    assert not passed


@in_a_run
async def test_a_child_runs_up_to_its_first_checkpoint_even_if_cancelled_before_it_began() -> None:
    steps: list[str] = []

    async def child() -> None:
        steps.append("began")
        await checkpoint()
        steps.append("passed")

    async with nursery.open_nursery() as n:
        n.start_soon(child)
        n.cancel_scope.cancel()
    assert steps == ["began"]


# How it looks


@in_virtual_time
async def test_the_repr_tells_state_and_deadline() -> None:
    scope = CancelScope(deadline=nursery.current_time() + 10)
    assert "unbound" in repr(scope)
    with scope:
        assert "active" in repr(scope)
        assert "10.00 seconds from now" in repr(scope)
        scope.deadline = nursery.current_time() - 1
        assert "1.00 seconds ago" in repr(scope)
        scope.cancel()
        assert "cancelled" in repr(scope)
    assert "exited" in repr(scope)


def test_the_repr_works_outside_a_run() -> None:
    assert "unbound" in repr(CancelScope(deadline=5))
    assert "unbound" in repr(CancelScope(relative_deadline=5))


# Invariant 2


@pytest.mark.parametrize("seed", range(8))
def test_alert_equals_the_walk_up_the_chain_whatever_is_done_to_scopes(seed: int) -> None:
    rng = random.Random(seed)
    scopes: list[CancelScope] = []
    checked = 0

    async def tree(depth: int) -> None:
        nonlocal checked
        with CancelScope(shield=rng.random() < 0.3) as scope:
            scopes.append(scope)
            async with nursery.open_nursery() as n:
                scopes.append(n.cancel_scope)
                if depth:
                    for _ in range(rng.randrange(3)):
                        n.start_soon(tree, depth - 1)
                for _ in range(3):
                    chosen = rng.choice(scopes)
                    if rng.random() < 0.12:
                        chosen.cancel()
                    else:
                        chosen.shield = rng.random() < 0.5
                    task = current_task()
                    assert task.alert == (cancelled_scope_around(task.scope) is not None)
                    checked += 1
                    await checkpoint()

    async def main() -> None:
        for _ in range(6):
            scopes.clear()
            async with nursery.open_nursery() as n:
                scopes.append(n.cancel_scope)
                n.start_soon(tree, 3)

    nursery.run(main, debug=True)
    assert checked > 20


@in_a_run
async def test_each_cancellation_has_a_later_number_than_those_before_and_shields_hide_it() -> None:
    with CancelScope() as outer:
        readings = [newest_cancellation_around(current_task().scope)]
        with CancelScope() as inner:
            inner.cancel()
            readings.append(newest_cancellation_around(current_task().scope))
            outer.cancel()
            readings.append(newest_cancellation_around(current_task().scope))
            with CancelScope(shield=True):
                readings.append(newest_cancellation_around(current_task().scope))
    none, first, second, shielded = readings
    assert (none, shielded) == (0, 0)
    assert 0 < first < second
