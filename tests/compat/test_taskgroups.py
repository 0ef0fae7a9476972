"""TaskGroup of the facade: asyncio's rules, on a nursery."""

from __future__ import annotations

import asyncio as stdlib
import gc
import weakref
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

import nursery
from nursery import compat as asyncio

from .kinds import Spawn, in_both_kinds, turns
from .two_loops import run


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def fail(error: BaseException | None = None) -> None:
    raise ValueError if error is None else error


def cancelling() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


@in_both_kinds
def test_the_end_awaits_the_tasks(spawn: Spawn) -> None:
    async def body() -> None:
        async with asyncio.TaskGroup() as group:
            first = group.create_task(asyncio.sleep(0.001, 1), name="first")
            second = group.create_task(asyncio.sleep(0, 2))
            assert first.get_name() == "first"
        assert (first.result(), second.result()) == (1, 2)

    async def main() -> None:
        await spawn(body())

    run(main())


@in_both_kinds
def test_a_failure_cancels_the_others_and_the_body_and_comes_out_in_a_group(spawn: Spawn) -> None:
    async def body() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                other = group.create_task(forever())
                failing = group.create_task(fail())
                await forever()
        assert caught.value.exceptions == (failing.exception(),)
        assert caught.value.message == "unhandled errors in a TaskGroup"
        assert other.cancelled()
        assert cancelling() == 0

    async def main() -> None:
        await spawn(body())

    run(main())


def test_an_error_of_the_body_cancels_the_tasks_and_joins_the_group() -> None:
    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(forever())
                await turns(1)
                raise KeyError
        assert [type(error) for error in caught.value.exceptions] == [KeyError]
        assert task.cancelled()

    run(main())


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_keyboard_interrupt_and_system_exit_of_the_body_come_out_bare(kind: type[BaseException]) -> None:
    async def body() -> None:
        with pytest.raises(kind):
            async with asyncio.TaskGroup() as group:
                group.create_task(forever())
                await turns(1)
                raise kind

    run(body())


@in_both_kinds
def test_cancelling_the_parent_cancels_the_tasks_and_comes_out_bare(spawn: Spawn) -> None:
    async def body(tasks: list[Any]) -> None:
        async with asyncio.TaskGroup() as group:
            tasks.extend(group.create_task(forever()) for _ in range(2))

    async def main() -> None:
        tasks: list[Any] = []
        parent = spawn(body(tasks))
        await turns(3)
        parent.cancel("why")
        with pytest.raises(asyncio.CancelledError, match="why"):
            await parent
        assert all(task.cancelled() for task in tasks)

    run(main())


def test_errors_go_before_the_parents_cancellation_which_is_raised_at_the_next_await() -> None:
    log: list[str] = []

    async def stubborn() -> None:
        try:
            await forever()
        finally:
            raise ValueError

    async def body() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(stubborn())
        except* ValueError:
            log.append("group")
        assert cancelling() == 1
        await asyncio.sleep(0)
        log.append("not reached")

    async def main() -> None:
        parent = asyncio.create_task(body())
        await turns(2)
        parent.cancel()
        with pytest.raises(asyncio.CancelledError):
            await parent

    run(main())
    assert log == ["group"]


def test_errors_go_before_a_scopes_cancellation_which_is_raised_at_the_next_await() -> None:
    log: list[str] = []

    async def stubborn() -> None:
        try:
            await forever()
        finally:
            raise ValueError

    async def main() -> None:
        with nursery.move_on_after(0.001) as scope:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(stubborn())
            except* ValueError:
                log.append("group")
            await asyncio.sleep(0)
            log.append("not reached")
        assert scope.cancelled_caught

    run(main())
    assert log == ["group"]


def test_a_task_that_is_cancelled_by_hand_does_not_fail_the_group() -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(forever())
            await turns(1)
            task.cancel()
        assert task.cancelled()

    run(main())


def test_tasks_may_start_tasks_while_the_block_ends() -> None:
    async def main() -> None:
        made: list[Any] = []

        async def first() -> None:
            await asyncio.sleep(0.001)
            made.append(group.create_task(asyncio.sleep(0.001, "second")))

        async with asyncio.TaskGroup() as group:
            group.create_task(first())
        assert made[0].result() == "second"

    run(main())


@pytest.mark.parametrize("state", ["not been entered", "finished", "shutting down"])
def test_a_group_that_takes_no_tasks_says_why_and_closes_the_coroutine(state: str) -> None:
    async def main() -> None:
        group = asyncio.TaskGroup()

        def refuse() -> None:
            coro = forever()
            with pytest.raises(RuntimeError, match=state):
                group.create_task(coro)
            with pytest.raises(RuntimeError, match="cannot reuse"):
                coro.send(None)

        if state == "not been entered":
            refuse()
            return
        try:
            async with group:
                if state == "shutting down":

                    async def late() -> None:
                        try:
                            await forever()
                        finally:
                            refuse()

                    group.create_task(late())
                    group.create_task(fail())
                    await forever()
        except* ValueError:
            pass
        if state == "finished":
            refuse()

    run(main())


def test_a_group_is_entered_once() -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            with pytest.raises(RuntimeError, match="already been entered"):
                await group.__aenter__()
        with pytest.raises(RuntimeError, match="already been entered"):
            async with group:
                pass
        with pytest.raises(RuntimeError, match="not been entered"):
            await asyncio.TaskGroup().__aexit__(None, None, None)

    run(main())


def test_a_group_outside_a_task_is_refused() -> None:
    async def main() -> None:
        told: list[str] = []

        def outside_a_task() -> None:
            coro = asyncio.TaskGroup().__aenter__()
            with pytest.raises(RuntimeError, match="parent task"):
                coro.send(None)
            told.append("refused")

        asyncio.get_running_loop().call_soon(outside_a_task)
        await turns(2)
        assert told == ["refused"]

    run(main())


def test_what_is_no_coroutine_is_refused() -> None:
    async def main() -> None:
        bad: Any = 5
        async with asyncio.TaskGroup() as group:
            with pytest.raises(TypeError, match="coroutine was expected"):
                group.create_task(bad)
            coro = forever()
            with pytest.raises(TypeError, match="unexpected keyword"):
                group.create_task(coro, nonsense=1)  # type: ignore[call-arg]  # the point
            coro.close()

    run(main())


# The nursery below


def test_the_tasks_of_a_group_are_below_its_parent_in_the_task_tree() -> None:
    async def main() -> None:
        parent = nursery.lowlevel.current_task()
        async with asyncio.TaskGroup() as group:
            task: Any = group.create_task(asyncio.sleep(0))
            assert task.parent_nursery.parent_task is parent
            assert parent.child_nurseries == [task.parent_nursery]
        assert parent.child_nurseries == []

    run(main())


@pytest.mark.parametrize("debug", [False, True])
def test_a_scope_around_the_group_tells_each_task_once(debug: bool) -> None:
    log: list[str] = []

    async def child(name: str) -> None:
        try:
            await forever()
        except asyncio.CancelledError as exc:
            log.append(f"{name} {type(exc).__name__} {cancelling()}")
            # Clean-up is not interrupted again.
            await asyncio.sleep(0.001)
            with pytest.raises(nursery.Cancelled):
                await nursery.lowlevel.checkpoint()
            log.append(f"{name} cleaned")
            raise

    async def main() -> None:
        with nursery.move_on_after(0.001) as scope:
            async with asyncio.TaskGroup() as group:
                group.create_task(child("a"))
                await forever()
        assert scope.cancelled_caught
        assert cancelling() == 0

    run(main(), debug=debug)
    assert log == ["a Cancelled 0", "a cleaned"]


def test_a_group_that_cleans_up_in_a_cancelled_scope_has_tasks_that_run() -> None:
    async def main() -> None:
        with nursery.move_on_after(0.001) as scope:
            try:
                await forever()
            finally:
                async with asyncio.TaskGroup() as group:
                    task = group.create_task(asyncio.sleep(0.001, "cleaned"))
        assert scope.cancelled_caught
        assert task.result() == "cleaned"

    run(main())


def test_a_task_that_is_started_in_the_clean_up_of_the_body_is_cancelled_with_the_group() -> None:
    async def main() -> None:
        with nursery.move_on_after(0.001) as scope:
            async with asyncio.TaskGroup() as group:
                try:
                    await forever()
                finally:
                    task = group.create_task(forever())
        assert scope.cancelled_caught
        assert task.cancelled()

    run(main())


def test_a_group_and_a_native_nursery_may_stand_in_each_other() -> None:
    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(forever())
                async with nursery.open_nursery() as inner:
                    inner.start_soon(fail)
                    inner.start_soon(forever)
        assert isinstance(caught.value.exceptions[0], ExceptionGroup)
        with pytest.raises(ExceptionGroup) as caught:
            async with nursery.open_nursery() as outer:
                outer.start_soon(nursery.sleep_forever)
                async with asyncio.TaskGroup() as group:
                    group.create_task(forever())
                    group.create_task(fail())
        assert isinstance(caught.value.exceptions[0], ExceptionGroup)
        assert cancelling() == 0

    run(main())


# Eager tasks, factories, tasks of other makes


def own_factory() -> Any:
    return asyncio.eager_task_factory


def c_factory() -> Any:
    return lambda loop, coro, **options: stdlib.Task(coro, loop=loop, **options)


@pytest.mark.parametrize("factory", [lambda: None, own_factory, c_factory])
def test_tasks_of_every_make_may_be_in_a_group(factory: Callable[[], Any]) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(factory())
        async with asyncio.TaskGroup() as group:
            task = group.create_task(asyncio.sleep(0.001, 5), name="named")
            group.create_task(asyncio.sleep(0))
        assert task.result() == 5
        assert task.get_name() == "named"
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                other = group.create_task(forever())
                group.create_task(fail())
                await forever()
        assert other.cancelled()
        with nursery.move_on_after(0.001) as scope:
            async with asyncio.TaskGroup() as group:
                other = group.create_task(forever())
        assert scope.cancelled_caught
        assert other.cancelled()
        assert cancelling() == 0

    run(main())


def test_a_task_that_fails_eagerly_does_not_keep_the_body_from_starting_others() -> None:
    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                failing = group.create_task(fail(), eager_start=True)
                assert failing.done()
                other = group.create_task(forever())
                await forever()
        assert len(caught.value.exceptions) == 1
        assert other.cancelled()

    run(main())


def test_an_eager_task_that_cancels_the_group_is_cancelled_with_it() -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:

            async def child() -> None:
                group.cancel()
                await forever()

            task = group.create_task(child(), eager_start=True)
        assert task.cancelled()
        assert cancelling() == 0

    run(main())


# cancel, of 3.15


def test_cancel_ends_the_tasks_and_the_body_without_an_error() -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(forever())
            await turns(1)
            group.cancel()
            group.cancel()
            await forever()
        assert task.cancelled()
        assert cancelling() == 0
        group.cancel()
        await asyncio.sleep(0)

    run(main())


def test_cancel_before_the_entry_cancels_at_the_entry() -> None:
    async def main() -> None:
        group = asyncio.TaskGroup()
        group.cancel()
        went_on: list[bool] = []
        async with group:
            await asyncio.sleep(0)
            went_on.append(True)
        assert went_on == []
        assert cancelling() == 0

    run(main())


def test_cancel_leaves_the_errors_of_clean_up() -> None:
    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:

                async def child() -> None:
                    try:
                        await forever()
                    finally:
                        raise KeyError

                group.create_task(child())
                await turns(1)
                group.cancel()
        assert [type(error) for error in caught.value.exceptions] == [KeyError]

    run(main())


def test_a_cancellation_from_outside_that_coincides_with_cancel_is_not_dropped() -> None:
    async def body() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(forever())
            await turns(1)
            group.cancel()
            current: Any = asyncio.current_task()
            current.cancel()
            await forever()

    async def main() -> None:
        task = asyncio.create_task(body())
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelling() == 1

    run(main())


# Odd ends


def test_the_error_of_a_group_is_raised_in_the_context_of_the_bodys() -> None:
    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                await forever()
        assert isinstance(caught.value.__context__, asyncio.CancelledError)
        assert caught.value.__suppress_context__
        assert caught.value.__cause__ is None

    run(main())


def test_closing_a_generator_around_a_group_without_errors_is_quiet() -> None:
    async def items() -> Any:
        async with asyncio.TaskGroup():
            yield 1

    async def main() -> None:
        generator = items()
        assert await anext(generator) == 1
        await generator.aclose()

    run(main())


def test_the_group_of_a_loop_that_was_closed_over_it_is_left_in_silence() -> None:
    loop = asyncio.new_event_loop()

    async def body() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(forever())
            await forever()

    async def main() -> None:
        task = asyncio.create_task(body())
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # not in typeshed
        await turns(3)

    loop.run_until_complete(main())
    loop.close()


def test_the_repr_of_a_group_tells_its_state() -> None:
    async def main() -> None:
        group = asyncio.TaskGroup()
        assert repr(group) == "<TaskGroup>"
        async with group:
            group.create_task(asyncio.sleep(0))
            assert repr(group) == "<TaskGroup tasks=1 entered>"

    run(main())


def test_a_task_whose_group_failed_goes_without_the_collector() -> None:
    async def fails() -> None:
        async with asyncio.TaskGroup():
            raise ValueError

    async def main() -> None:
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                task = weakref.ref(group.create_task(fails()))
        del group
        assert task() is None

    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()


def test_what_fails_in_the_same_turn_is_all_in_the_group() -> None:
    async def fail(error: Exception) -> None:
        raise error

    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail(ValueError()))
                group.create_task(fail(TypeError()))
        assert [type(error) for error in caught.value.exceptions] == [ValueError, TypeError]

    asyncio.run(main())


def test_a_body_that_was_woken_when_a_task_fails_goes_on_to_its_next_await() -> None:
    async def main() -> list[str]:
        event = asyncio.Event()
        reached = []

        async def wake_and_fail() -> None:
            event.set()
            raise ZeroDivisionError

        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(wake_and_fail())
                await event.wait()
                reached.append("after the event")
                await asyncio.sleep(5)
                reached.append("after the sleep")
        return reached

    assert asyncio.run(main()) == ["after the event"]


def test_a_group_that_its_task_left_open_is_left_by_another() -> None:
    ended: list[str] = []

    async def child() -> None:
        await asyncio.sleep(0.002)
        ended.append("child")

    async def fixture() -> AsyncGenerator[asyncio.TaskGroup, None]:
        async with asyncio.TaskGroup() as group:
            group.create_task(child())
            yield group
            group.create_task(child())
        ended.append("group")

    async def advance(generator: AsyncGenerator[asyncio.TaskGroup, None]) -> bool:
        async for _ in generator:
            return True
        return False

    with asyncio.Runner() as runner:
        generator = fixture()
        assert runner.run(advance(generator))
        assert not runner.run(advance(generator))
        assert ended == ["child", "child", "group"]


def test_failures_in_a_group_that_its_task_left_open_come_out_where_it_is_left() -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    async def enter(group: asyncio.TaskGroup) -> None:
        await group.__aenter__()
        group.create_task(asyncio.sleep(5))

    async def leave(group: asyncio.TaskGroup) -> None:
        group.create_task(fail())
        with pytest.raises(ExceptionGroup):
            await group.__aexit__(None, None, None)

    reports: list[str] = []
    with asyncio.Runner() as runner:
        runner.get_loop().set_exception_handler(lambda _, context: reports.append(context["message"]))

        async def make() -> asyncio.TaskGroup:
            return asyncio.TaskGroup()

        group = runner.run(make())
        runner.run(enter(group))
        for task in asyncio.all_tasks(runner.get_loop()):
            task.cancel()
        runner.run(leave(group))
    # As in asyncio: nobody is in the block who could be interrupted.
    assert ["parent task" in report for report in reports] == [True]


@pytest.mark.parametrize("kind", ["ours", "asyncio's"])
def test_a_native_nursery_that_a_task_leaves_open_is_reported_and_the_loop_goes_on(kind: str) -> None:
    async def leave_open() -> None:
        await nursery.open_nursery().__aenter__()

    reports: list[str] = []
    with asyncio.Runner() as runner:
        runner.get_loop().set_exception_handler(lambda _, context: reports.append(context["message"]))

        async def main() -> None:
            if kind == "ours":
                await asyncio.create_task(leave_open())
            else:
                await stdlib.Task(leave_open())

        runner.run(main())
        runner.run(main())
    assert ["Nursery stack corrupted" in report for report in reports] == [True, True]


@pytest.mark.parametrize("last", ["ours", "stranger"])
def test_the_end_waits_for_tasks_of_both_makes_and_for_what_they_start_meanwhile(last: str) -> None:
    ended: list[str] = []

    async def work(name: str, turns_: int, group: asyncio.TaskGroup | None = None) -> None:
        await turns(turns_)
        if group is not None:
            group.create_task(work(f"started by {name}", 3))
        ended.append(name)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            loop = asyncio.get_running_loop()
            ours, strangers = (6, 2) if last == "ours" else (2, 6)
            group.create_task(work("ours", ours, group))
            loop.set_task_factory(lambda loop, coro, **options: stdlib.Task(coro, loop=loop, **options))
            group.create_task(work("stranger", strangers, group))
            loop.set_task_factory(None)
        assert sorted(ended) == ["ours", "started by ours", "started by stranger", "stranger"]

    asyncio.run(main())


def test_a_group_whose_end_is_interrupted_when_its_last_task_ends_goes_on_once() -> None:
    async def main() -> None:
        async def body(group: asyncio.TaskGroup) -> str:
            async with group:
                group.create_task(turns(3))
            return "left"

        for turn in range(8):
            task = asyncio.create_task(body(asyncio.TaskGroup()))
            await turns(turn)
            task.cancel()
            (end,) = await asyncio.gather(task, return_exceptions=True)
            assert end == "left" or isinstance(end, asyncio.CancelledError)

    asyncio.run(main())
