"""The state of a run: statistics, system tasks, the dump, and a self-check that can fail."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from math import inf
from typing import Any, cast

import pytest

import nursery
from nursery import CancelScope
from nursery.kernel.current import current_runner
from nursery.kernel.idle import wait_all_tasks_blocked
from nursery.kernel.nursery import Nursery
from nursery.kernel.runner import END_OF_BATCH
from nursery.kernel.scope import NurseryScope
from nursery.lowlevel import (
    ParkingLot,
    Task,
    checkpoint,
    current_root_task,
    current_statistics,
    current_task,
    spawn_system_task,
)

from .broken_run import internal_error_of
from .in_run import in_a_run, in_virtual_time

# Statistics


@in_virtual_time
async def test_the_statistics_count_tasks_deadlines_and_waits() -> None:
    await wait_all_tasks_blocked()
    before = current_statistics()
    async with nursery.open_nursery() as n:
        n.start_soon(nursery.sleep, 50)
        n.start_soon(nursery.sleep, 7)
        spawned = current_statistics()
        await checkpoint()
        asleep = current_statistics()
        n.cancel_scope.cancel()
    assert spawned.tasks_living == before.tasks_living + 2
    assert (before.tasks_runnable, spawned.tasks_runnable, asleep.tasks_runnable) == (0, 2, 0)
    assert (before.seconds_to_next_deadline, asleep.seconds_to_next_deadline) == (inf, 7)


@in_virtual_time
async def test_an_overdue_deadline_counts_negative() -> None:
    from .jumping_clock import JumpingClock

    clock = nursery.lowlevel.current_clock()
    assert isinstance(clock, JumpingClock)
    with CancelScope(relative_deadline=1):
        clock.time += 3
        assert current_statistics().seconds_to_next_deadline == -2


@in_a_run
async def test_the_io_statistics_name_the_driver() -> None:
    assert current_statistics().io_statistics.backend in ("epoll", "selectors")


# System tasks


@in_a_run
async def test_a_system_task_is_returned_and_runs_beside_the_main_task() -> None:
    seen: list[Task] = []

    async def system() -> None:
        seen.append(current_task())

    task = spawn_system_task(system)
    await wait_all_tasks_blocked()
    assert seen == [task]
    assert task.parent_nursery is not None
    assert task.parent_nursery.parent_task is current_root_task()


@in_a_run
async def test_a_system_task_takes_arguments_and_a_name() -> None:
    seen: list[tuple[int, str]] = []

    async def system(number: int) -> None:
        seen.append((number, current_task().name))

    spawn_system_task(system, 5, name="system")
    await wait_all_tasks_blocked()
    assert seen == [(5, "system")]


def test_system_tasks_are_cancelled_when_main_has_ended_and_may_clean_up() -> None:
    log: list[str] = []

    async def system() -> None:
        try:
            await nursery.sleep_forever()
        finally:
            with CancelScope(shield=True):
                for _ in range(3):
                    await checkpoint()
            log.append("cleaned")

    async def main() -> None:
        spawn_system_task(system)
        await checkpoint()
        log.append("main ends")

    nursery.run(main)
    assert log == ["main ends", "cleaned"]


def test_a_system_task_may_be_spawned_while_system_tasks_shut_down() -> None:
    log: list[str] = []

    async def late() -> None:
        log.append("late")

    async def system() -> None:
        try:
            await nursery.sleep_forever()
        finally:
            spawn_system_task(late)

    async def main() -> None:
        spawn_system_task(system)
        await checkpoint()

    nursery.run(main)
    assert log == ["late"]


@pytest.mark.parametrize(
    "error", [ValueError("crash"), KeyboardInterrupt("crash"), ExceptionGroup("g", [OSError("crash")])]
)
def test_a_system_task_that_crashes_ends_the_run_with_an_internal_error(error: BaseException) -> None:
    cleaned: list[str] = []

    async def system() -> None:
        raise error

    async def main() -> None:
        spawn_system_task(system)
        try:
            await nursery.sleep_forever()
        finally:
            cleaned.append("main")

    assert "crash" in internal_error_of(lambda: nursery.run(main))
    assert cleaned == ["main"]


def test_a_crash_and_a_cancelled_neighbour_are_told_apart() -> None:
    async def crash() -> None:
        raise ValueError("the crash")

    async def neighbour() -> None:
        await nursery.sleep_forever()

    async def main() -> None:
        spawn_system_task(neighbour)
        spawn_system_task(crash)
        await nursery.sleep_forever()

    text = internal_error_of(lambda: nursery.run(main))
    assert "ValueError: the crash" in text


def test_a_system_task_gets_the_context_of_run_and_not_of_its_spawner() -> None:
    variable = contextvars.ContextVar[str]("variable", default="unset")
    seen: list[str] = []

    async def system() -> None:
        seen.append(variable.get())
        variable.set("system task's own")

    async def main() -> None:
        seen.append(variable.get())
        variable.set("main's")
        spawn_system_task(system)
        own = contextvars.copy_context()
        own.run(variable.set, "given")
        spawn_system_task(system, context=own)
        await wait_all_tasks_blocked()
        seen.append(variable.get())

    def around() -> None:
        variable.set("before run")
        nursery.run(main)
        seen.append(variable.get())

    contextvars.copy_context().run(around)
    assert seen == ["before run", "before run", "given", "main's", "before run"]


def test_misuse_of_spawn_system_task_is_explained() -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="expected an async function"):
            spawn_system_task(cast(Any, 5))
        await checkpoint()

    nursery.run(main)
    with pytest.raises(RuntimeError):
        spawn_system_task(main)


# The dump


@in_a_run
async def test_the_dump_shows_tree_states_and_places() -> None:
    async def sleeper() -> None:
        await nursery.sleep_forever()

    async with nursery.open_nursery() as n:
        n.start_soon(sleeper, name="the sleeper")
        await checkpoint()
        n.start_soon(sleeper, name="the newcomer")
        lines = current_runner().dump().splitlines()
        n.cancel_scope.cancel()
    root = current_root_task()
    assert root is not None
    names = ("the sleeper", "the newcomer", root.name)
    by_name = {name: line for line in lines for name in names if name in line}
    assert "parked" in by_name["the sleeper"]
    assert "queued" in by_name["the newcomer"]
    indent = {name: len(line) - len(line.lstrip()) for name, line in by_name.items()}
    assert indent[root.name] < indent["the sleeper"] == indent["the newcomer"]
    assert any(line.strip().startswith("at ") for line in lines)


@in_a_run
async def test_a_dump_of_a_broken_tree_still_says_something() -> None:
    runner = current_runner()
    root, runner.root_task = runner.root_task, cast(Any, 5)
    try:
        assert "broken" in runner.dump()
    finally:
        runner.root_task = root


# The self-check


def breaks(damage: Callable[[Task], object]) -> str:
    """Run a program that damages the kernel's tables, under the self-check; return the InternalError's text."""

    async def main() -> None:
        lot = ParkingLot()
        with CancelScope(relative_deadline=1000):
            async with nursery.open_nursery() as n:
                n.start_soon(lot.park, name="victim")
                await checkpoint()
                (victim,) = n.child_tasks
                damage(victim)
                for _ in range(3):
                    await checkpoint()
        pytest.fail("the self-check found nothing")

    text = internal_error_of(lambda: nursery.run(main, debug=True))
    assert "state of the run:" in text
    assert "victim" in text
    return text


def test_the_self_check_finds_a_false_alert() -> None:
    def damage(victim: Task) -> None:
        victim.alert = True

    assert "alert" in breaks(damage)


def test_the_self_check_finds_a_parked_task_in_the_queue() -> None:
    def damage(victim: Task) -> None:
        victim.runner.queue.append(victim)
        # Ends the batch, so that the check comes before the step.
        victim.runner.queue.appendleft(END_OF_BATCH)

    assert "parked and in the queue" in breaks(damage)


def test_the_self_check_finds_a_task_that_is_neither_parked_nor_queued() -> None:
    def damage(victim: Task) -> None:
        victim.abort = None

    assert "neither parked nor in the queue" in breaks(damage)


def test_the_self_check_finds_a_task_missing_from_its_nursery() -> None:
    def damage(victim: Task) -> None:
        assert victim.parent_nursery is not None
        scope = victim.parent_nursery.cancel_scope
        assert isinstance(scope, NurseryScope)
        victim.parent_nursery = Nursery(current_task(), scope)

    breaks(damage)


def test_the_self_check_finds_a_deadline_missing_from_the_table() -> None:
    def damage(victim: Task) -> None:
        scope = current_task().scope
        while scope is not None and not scope._timed:
            scope = scope._parent
        assert scope is not None
        victim.runner.deadlines.remove(scope, scope.deadline)

    assert "not in the deadlines" in breaks(damage)


def test_the_self_check_finds_a_wrong_table_of_descriptors() -> None:
    def damage(victim: Task) -> None:
        (interest,) = victim.runner.io.table.values()
        victim.runner.io.table[99_999] = interest

    breaks(damage)


def test_without_debug_the_tables_are_not_checked() -> None:
    async def main() -> str:
        task = current_task()
        task.alert = True
        await checkpoint()
        task.alert = False
        return "went on"

    assert nursery.run(main, debug=False) == "went on"


def test_the_environment_turns_the_self_check_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> bool:
        return current_runner().debug

    for value, expected in (("1", True), ("0", False), ("", False)):
        monkeypatch.setenv("NURSERY_DEBUG", value)
        assert nursery.run(main) is expected
        assert nursery.run(main, debug=not expected) is not expected
    monkeypatch.delenv("NURSERY_DEBUG")
    assert nursery.run(main) is False


def test_an_internal_error_is_the_end_of_the_run_and_the_next_run_is_whole() -> None:
    breaks(lambda victim: setattr(victim, "alert", True))

    async def main() -> str:
        return "whole"

    assert nursery.run(main) == "whole"
