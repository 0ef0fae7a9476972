"""The functions on tasks of the facade: create_task, sleep, gather, wait, as_completed, shield."""

from __future__ import annotations

import asyncio as stdlib
import contextvars
import gc
import io
import sys
import threading
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest

import nursery
from nursery import compat as asyncio
from nursery.testing import MockClock

from .kinds import Spawn, in_both_kinds, turns
from .two_loops import run, run_on


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def value(result: Any, *, after: int = 0) -> Any:
    await turns(after)
    return result


async def fail(error: type[BaseException] = ValueError, *, after: int = 0) -> None:
    await turns(after)
    raise error


class Reports:
    """What the loop's exception handler was told."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self.messages.append(context["message"]))


def deadlines_of(loop: Any) -> Any:
    return loop.runner.deadlines


# create_task, ensure_future


def test_create_task_starts_a_task_with_a_name_and_a_context() -> None:
    variable = contextvars.ContextVar("variable", default="outside")

    async def main() -> None:
        context = contextvars.copy_context()
        context.run(variable.set, "inside")

        async def body() -> str:
            return variable.get()

        task = asyncio.create_task(body(), name="named", context=context)
        assert isinstance(task, asyncio.Task)
        assert task.get_name() == "named"
        # Since 3.12.
        view: Any = task
        assert view.get_context() is context
        assert await task == "inside"
        assert asyncio.create_task(value(1)).get_name().startswith("Task-")

    run(main())


def test_create_task_needs_a_running_loop_and_a_coroutine() -> None:
    coro = forever()
    with pytest.raises(RuntimeError, match="no running event loop"):
        _task = asyncio.create_task(coro)
    coro.close()

    async def main() -> None:
        bad: Any = forever
        with pytest.raises(TypeError, match="a coroutine was expected"):
            _task = asyncio.create_task(bad)
        coro = forever()
        with pytest.raises(TypeError, match="unexpected keyword"):
            _task = asyncio.create_task(coro, nonsense=5)  # type: ignore[call-arg]  # the point
        coro.close()

    run(main())


def test_create_task_works_on_other_loops_too() -> None:
    async def main() -> str:
        assert list(await asyncio.gather(value(1), asyncio.ensure_future(value(2)))) == [1, 2]
        return await asyncio.create_task(value("there"), name="named")

    with stdlib.Runner(loop_factory=stdlib.SelectorEventLoop) as runner:
        assert runner.run(main()) == "there"


def test_a_task_without_a_reference_lives_on() -> None:
    async def main() -> None:
        ended: list[int] = []

        async def body() -> None:
            await asyncio.sleep(0.002)
            ended.append(1)

        _task = asyncio.create_task(body())
        del _task
        gc.collect()
        await asyncio.sleep(0.005)
        assert ended == [1]

    run(main())


def test_ensure_future_takes_futures_coroutines_and_awaitables() -> None:
    class Awaitable:
        def __await__(self) -> Any:
            return value(3).__await__()

    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        assert asyncio.ensure_future(future) is future
        assert await asyncio.ensure_future(value(2)) == 2
        assert await asyncio.ensure_future(Awaitable()) == 3
        bad: Any = 5
        with pytest.raises(TypeError, match="awaitable is required"):
            asyncio.ensure_future(bad)
        other = asyncio.new_event_loop()
        with pytest.raises(ValueError, match="different loop"):
            asyncio.ensure_future(future, loop=other)
        other.close()
        coro = forever()
        with pytest.raises(RuntimeError, match="closed"):
            _task = asyncio.ensure_future(coro, loop=other)
        # Nobody could await it any more: it was closed.
        with pytest.raises(RuntimeError, match="cannot reuse"):
            await coro

    run(main())


def test_generators_of_types_coroutine_are_awaitables_and_no_coroutines() -> None:
    @types.coroutine
    def decorated() -> Generator[None, None, str]:
        yield
        return "awaited"

    def plain() -> Generator[None, None, None]:
        yield

    async def main() -> None:
        assert not asyncio.iscoroutine(decorated())
        assert await asyncio.ensure_future(decorated()) == "awaited"
        assert list(await asyncio.gather(decorated(), value(1))) == ["awaited", 1]
        bad: Any = plain()
        assert not asyncio.iscoroutine(bad)
        if sys.version_info >= (3, 12):
            # The asyncio of 3.11, and its tests, still let generators be tasks.
            with pytest.raises(TypeError, match="awaitable is required"):
                asyncio.ensure_future(bad)

    run(main())


@in_both_kinds
def test_current_task_and_all_tasks_know_every_task_while_it_lives(spawn: Spawn) -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        assert asyncio.current_task() is asyncio.current_task(loop)
        assert asyncio.current_task() in asyncio.all_tasks()
        await forever()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        this = asyncio.current_task()
        tasks = {spawn(body()) for _ in range(3)}
        assert tasks <= asyncio.all_tasks()
        await turns(2)
        assert asyncio.all_tasks(loop) >= {this, *tasks}
        seen: list[object] = []
        loop.call_soon(lambda: seen.append(asyncio.current_task(loop)))
        await turns(1)
        assert seen == [None]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert not tasks & asyncio.all_tasks()
        assert asyncio.current_task() is this

    run(main())


@in_both_kinds
def test_print_stack_shows_where_a_task_waits_and_what_it_failed_with(spawn: Spawn) -> None:
    async def inner() -> None:
        await forever()

    async def outer() -> None:
        await inner()

    def printed(task: asyncio.Task[Any], limit: int | None = None) -> str:
        file: Any = io.StringIO()
        task.print_stack(limit=limit, file=file)
        text: str = file.getvalue()
        return text

    async def main() -> None:
        waiting, failed = spawn(outer()), spawn(fail())
        await asyncio.wait([failed])
        await turns(1)
        assert [frame.f_code.co_name for frame in waiting.get_stack()] == ["outer"]
        text = printed(waiting)
        assert text.startswith("Stack for <Task pending")
        assert "in outer" in text
        assert "await inner()" in text
        assert isinstance(failed.exception(), ValueError)
        assert [frame.f_code.co_name for frame in failed.get_stack()][-1] == "fail"
        text = printed(failed, 1)
        assert text.startswith("Traceback for <Task finished")
        assert text.endswith("ValueError\n")
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.get_stack() == []
        assert printed(waiting).startswith("No stack for <Task cancelled")

    run(main())


@pytest.mark.filterwarnings("ignore:There is no current event loop:DeprecationWarning")
def test_without_a_running_loop_the_current_one_is_ours() -> None:
    def work() -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        assert asyncio.get_event_loop() is loop
        future = asyncio.gather(value(1), value(2))
        assert list(loop.run_until_complete(future)) == [1, 2]
        asyncio.set_event_loop(None)
        with pytest.raises(RuntimeError, match="no current event loop"):
            asyncio.get_event_loop()
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@in_both_kinds
def test_of_two_requests_to_cancel_the_first_ones_message_arrives(spawn: Spawn) -> None:
    async def main() -> None:
        waits: list[Callable[[], Coroutine[Any, Any, Any]]]
        waits = [forever, lambda: asyncio.sleep(5), lambda: asyncio.Event().wait()]
        for wait in waits:
            task = spawn(wait())
            await turns(2)
            task.cancel("first")
            task.cancel("second")
            with pytest.raises(asyncio.CancelledError, match="first"):
                await task
            assert task.cancelling() == 2

    run(main())


# sleep


@in_both_kinds
def test_sleep_returns_its_result_after_its_time(spawn: Spawn) -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        before = loop.time()
        assert await asyncio.sleep(0.002, "result") == "result"
        assert loop.time() - before >= 0.002
        assert await asyncio.sleep(0, "at once") == "at once"
        assert await asyncio.sleep(-1, "at once") == "at once"
        with pytest.raises(ValueError, match="NaN"):
            await asyncio.sleep(float("nan"))

    async def main() -> None:
        await spawn(body())

    run(main())


@in_both_kinds
def test_a_cancelled_sleep_leaves_no_deadline(spawn: Spawn) -> None:
    async def main() -> None:
        deadlines = deadlines_of(asyncio.get_running_loop())
        before = len(deadlines)
        task = spawn(asyncio.sleep(10))
        await turns(1)
        assert len(deadlines) == before + 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(deadlines) == before

    run(main())


def test_sleep_0_is_one_turn() -> None:
    async def main() -> None:
        log: list[str] = []

        async def body(name: str) -> None:
            for _ in range(2):
                log.append(name)
                await asyncio.sleep(0)

        await asyncio.gather(body("a"), body("b"))
        assert log == ["a", "b", "a", "b"]

    run(main())


# gather


@in_both_kinds
def test_gather_gives_the_results_in_the_order_of_its_arguments(spawn: Spawn) -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        done.set_result("done")
        awaitables = [value("slow", after=3), value("fast"), done, stdlib.Task(value("c"), loop=loop)]
        assert await asyncio.gather(*awaitables) == ["slow", "fast", "done", "c"]
        assert await asyncio.gather() == []

    async def main() -> None:
        await spawn(body())

    run(main())


def test_gather_runs_the_same_awaitable_once() -> None:
    async def main() -> None:
        coro = value(1)
        assert list(await asyncio.gather(coro, value(2), coro)) == [1, 2, 1]

    run(main())


def test_the_first_failure_ends_gather_at_once_while_the_others_go_on() -> None:
    async def main() -> None:
        other = asyncio.create_task(value("went on", after=5))
        with pytest.raises(ValueError):
            await asyncio.gather(other, fail(), fail(KeyError, after=2))
        assert not other.done()
        assert await other == "went on"

    run(main())


def test_gather_may_return_exceptions() -> None:
    async def main() -> None:
        cancelled = asyncio.create_task(forever())
        cancelled.cancel("why")
        results = await asyncio.gather(value(1), fail(), cancelled, return_exceptions=True)
        assert results[0] == 1
        assert [type(result) for result in results[1:]] == [ValueError, asyncio.CancelledError]

    run(main())


@in_both_kinds
def test_cancelling_gather_cancels_its_tasks_and_waits_for_them(spawn: Spawn) -> None:
    async def main() -> None:
        cleaned: list[int] = []

        async def child(number: int) -> None:
            try:
                await forever()
            finally:
                await turns(2)
                cleaned.append(number)

        async def body() -> None:
            await asyncio.gather(child(1), child(2))

        task = spawn(body())
        await turns(3)
        task.cancel("why")
        with pytest.raises(asyncio.CancelledError, match="why"):
            await task
        assert cleaned == [1, 2]

    run(main())


def test_the_future_of_gather_is_pending_until_its_children_ended() -> None:
    async def main() -> None:
        gathering = asyncio.gather(forever(), forever())
        await turns(1)
        assert gathering.cancel()
        assert not gathering.done()
        with pytest.raises(asyncio.CancelledError):
            await gathering
        assert not gathering.cancel()

    run(main())


@pytest.mark.parametrize("return_exceptions", [False, True])
def test_children_that_answer_the_cancellation_of_gather_by_an_error_keep_it(return_exceptions: bool) -> None:
    async def answer() -> None:
        try:
            await forever()
        finally:
            raise ValueError

    async def main() -> None:
        reports = Reports()
        children = [asyncio.create_task(answer()) for _ in range(2)]
        gathering: Any = asyncio.gather(*children, return_exceptions=return_exceptions)
        await turns(1)
        gathering.cancel()
        with pytest.raises(asyncio.CancelledError if return_exceptions else ValueError):
            await gathering
        await turns(2)
        for child in children:
            assert type(child.exception()) is ValueError
        del child, children
        gc.collect()
        # Whoever gathers has asked for them.
        assert reports.messages == []

    run(main())


def test_a_child_cancelled_by_hand_cancels_who_gathers() -> None:
    async def main() -> None:
        child = asyncio.create_task(forever())
        gathering = asyncio.gather(child, forever(), return_exceptions=False)
        await turns(1)
        child.cancel("by hand")
        with pytest.raises(asyncio.CancelledError):
            await gathering

    run(main())


def test_a_failed_gathering_that_nobody_retrieves_is_reported() -> None:
    async def main() -> None:
        reports = Reports()
        gathering = asyncio.gather(fail())
        await turns(2)
        assert gathering.done()
        del gathering
        gc.collect()
        assert reports.messages == ["_GatheringFuture exception was never retrieved"]

    run(main())


def test_a_gather_that_is_refused_lets_what_it_started_run_to_its_end() -> None:
    async def main() -> None:
        reports = Reports()
        ran: list[int] = []

        async def body() -> None:
            ran.append(1)

        bad: Any = {}
        with pytest.raises(TypeError):
            _gathering = asyncio.gather(body(), bad)
        bad = 5
        with pytest.raises(TypeError, match="awaitable is required"):
            _gathering = asyncio.gather(body(), bad)
        await turns(2)
        assert ran == [1, 1]
        assert reports.messages == []

    run(main())


# wait


@in_both_kinds
def test_wait_returns_the_done_and_the_pending_in_all_three_modes(spawn: Spawn) -> None:
    async def body() -> None:
        quick, slow = spawn(value(1)), spawn(value(2, after=9))
        assert await asyncio.wait([quick, slow], return_when=asyncio.FIRST_COMPLETED) == ({quick}, {slow})
        assert await asyncio.wait([quick, slow]) == ({quick, slow}, set())

        failing, never = spawn(fail(after=1)), spawn(forever())
        quick = spawn(value(1))
        done, pending = await asyncio.wait([quick, failing, never], return_when=asyncio.FIRST_EXCEPTION)
        assert (done, pending) == ({quick, failing}, {never})
        # There is nothing to wait for.
        assert await asyncio.wait([failing, never], return_when=asyncio.FIRST_EXCEPTION) == ({failing}, {never})
        assert await asyncio.wait([quick, never], return_when=asyncio.FIRST_COMPLETED) == ({quick}, {never})
        never.cancel()

    async def main() -> None:
        await spawn(body())

    run(main())


@in_both_kinds
def test_wait_cancels_nothing_when_its_time_is_over_or_it_is_cancelled(spawn: Spawn) -> None:
    async def body(never: asyncio.Task[None]) -> None:
        assert await asyncio.wait([never], timeout=0.001) == (set(), {never})
        assert await asyncio.wait([never], timeout=0) == (set(), {never})
        await asyncio.wait([never])

    async def main() -> None:
        never = spawn(forever())
        deadlines = deadlines_of(asyncio.get_running_loop())
        before = len(deadlines)
        task = spawn(body(never))
        await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not never.done()
        assert len(deadlines) == before
        # It tells nobody any more.
        assert not never._callbacks
        never.cancel()

    run(main())


def test_wait_for_what_is_done_lets_others_run() -> None:
    async def main() -> None:
        done = asyncio.create_task(value(1))
        await done

        async def spin() -> None:
            while True:
                await asyncio.wait([done])

        task = asyncio.create_task(spin())
        await turns(3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_wait_refuses_what_is_no_set_of_futures() -> None:
    async def main() -> None:
        task = asyncio.create_task(value(1))
        coro = value(2)
        bad: Any
        for bad in (task, coro):
            with pytest.raises(TypeError, match="expect a list of futures"):
                await asyncio.wait(bad)
        bad = [task, coro]
        with pytest.raises(TypeError, match="Passing coroutines is forbidden"):
            await asyncio.wait(bad)
        coro.close()
        bad = [task, 5]
        with pytest.raises(TypeError, match="takes tasks and futures"):
            await asyncio.wait(bad)
        with pytest.raises(ValueError, match="empty"):
            await asyncio.wait([])
        bad = "FIRST_ONE"
        with pytest.raises(ValueError, match="return_when"):
            await asyncio.wait([task], return_when=bad)
        other = asyncio.new_event_loop()
        with pytest.raises(ValueError, match="different loop"):
            await asyncio.wait([other.create_future()])
        other.close()
        await task

    run(main())


def test_wait_takes_any_iterable() -> None:
    async def main() -> None:
        done, _ = await asyncio.wait(asyncio.create_task(value(number)) for number in range(3))
        assert {task.result() for task in done} == {0, 1, 2}

    run(main())


# wait_for and timeout against what comes in time


@in_both_kinds
@pytest.mark.parametrize("by", ["wait_for", "timeout"])
def test_a_result_that_was_there_before_the_time_was_over_goes_first(spawn: Spawn, by: str) -> None:
    async def limited(awaitable: Coroutine[Any, Any, Any]) -> Any:
        if by == "wait_for":
            return await asyncio.wait_for(awaitable, 1)
        async with asyncio.timeout(1):
            return await awaitable

    async def awaiting(future: asyncio.Future[Any]) -> Any:
        return await future

    clock = MockClock()

    async def body() -> None:
        loop = asyncio.get_running_loop()

        def late(call: Callable[..., object], *args: object) -> None:
            """Call in the next turn, in which the time is over as well, but only then."""

            def slow() -> None:
                clock.jump(1)
                call(*args)

            loop.call_soon(slow)

        future: asyncio.Future[str] = loop.create_future()
        late(future.set_result, "result")
        assert await limited(awaiting(future)) == "result"

        queue: asyncio.Queue[str] = asyncio.Queue()
        late(queue.put_nowait, "item")
        assert await limited(queue.get()) == "item"

        event = asyncio.Event()
        late(event.set)
        assert await limited(event.wait())

        lock = asyncio.Lock()
        await lock.acquire()
        late(lock.release)
        assert await limited(lock.acquire())
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]  # there is one

    async def main() -> None:
        await spawn(body())

    run_on(lambda: asyncio.EventLoop(clock), main(), seconds=60)


def test_a_block_that_is_left_in_the_turn_in_which_its_time_is_over_is_not_cancelled() -> None:
    clock = MockClock()

    async def main() -> None:
        async with asyncio.timeout(1) as limit:
            clock.jump(1)
            # Now the time is over, and one turn of the loop goes by.
            await asyncio.sleep(0)
        assert not limit.expired()
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]  # there is one
        await asyncio.sleep(0)

    run_on(lambda: asyncio.EventLoop(clock), main(), seconds=60)


def test_a_loop_may_run_on_a_mock_clock() -> None:
    async def main() -> float:
        before = asyncio.get_running_loop().time()
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time() - before

    loop = asyncio.EventLoop(MockClock(autojump_threshold=0))
    assert loop.run_until_complete(main()) == 3600
    loop.close()


# as_completed


@in_both_kinds
def test_as_completed_gives_results_in_the_order_of_their_ends(spawn: Spawn) -> None:
    async def body() -> None:
        awaitables = [value("slow", after=6), value("fast"), spawn(value("middle", after=2))]
        assert [await each for each in asyncio.as_completed(awaitables)] == ["fast", "middle", "slow"]

    async def main() -> None:
        await spawn(body())

    run(main())


@in_both_kinds
def test_as_completed_iterated_asynchronously_gives_the_futures_themselves(spawn: Spawn) -> None:
    async def body() -> None:
        tasks = [spawn(value(1, after=4)), spawn(value(2))]
        given: list[Any] = [each async for each in asyncio.as_completed(tasks)]
        assert given == [tasks[1], tasks[0]]

    async def main() -> None:
        await spawn(body())

    run(main())


def test_as_completed_raises_timeout_error_for_each_that_is_late() -> None:
    async def main() -> None:
        never = [asyncio.create_task(forever()) for _ in range(2)]
        results: list[object] = []
        for each in asyncio.as_completed([value(1), *never], timeout=0.001):
            try:
                results.append(await each)
            except TimeoutError:
                results.append("late")
        assert results == [1, "late", "late"]
        with pytest.raises(TimeoutError):
            async for _ in asyncio.as_completed(never, timeout=0):
                pass
        assert not never[0].done()

    run(main())


def test_who_waits_for_the_next_completed_is_served_in_the_order_of_arrival() -> None:
    async def main() -> None:
        futures = [asyncio.get_running_loop().create_future() for _ in range(3)]
        iterator: Any = asyncio.as_completed(futures)
        first, second, third = [asyncio.create_task(each) for each in iterator]
        await turns(1)
        futures[1].set_result("one")
        # Woken, and cancelled before it runs: the next one gets it.
        first.cancel()
        futures[0].set_result("two")
        assert [await second, await third] == ["one", "two"]

    run(main())


def test_an_interrupted_step_of_as_completed_may_be_repeated() -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        iterator: Any = asyncio.as_completed([future])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(iterator), 0.001)
        future.set_result(5)
        assert (await anext(iterator)).result() == 5
        with pytest.raises(StopAsyncIteration):
            await anext(iterator)

    run(main())


def test_as_completed_refuses_what_is_no_iterable_of_awaitables() -> None:
    async def main() -> None:
        bad: Any = asyncio.get_running_loop().create_future()
        with pytest.raises(TypeError, match="expects an iterable of awaitables"):
            asyncio.as_completed(bad)
        with pytest.raises(TypeError, match="awaitable is required"):
            bad = [5]
            asyncio.as_completed(bad)
        assert list(asyncio.as_completed([])) == []

    run(main())


# shield


@in_both_kinds
def test_shield_passes_the_end_on_and_keeps_cancellation_away(spawn: Spawn) -> None:
    async def body(inner: asyncio.Task[str]) -> None:
        assert await asyncio.shield(value(1)) == 1
        with pytest.raises(ValueError):
            await asyncio.shield(fail())
        await asyncio.shield(inner)

    async def main() -> None:
        inner = spawn(value("inner", after=20))
        outer = spawn(body(inner))
        await turns(12)
        outer.cancel("why")
        with pytest.raises(asyncio.CancelledError, match="why"):
            await outer
        assert await inner == "inner"

    run(main())


def test_shield_is_cancelled_with_its_inner_task() -> None:
    async def main() -> None:
        inner = asyncio.create_task(forever())
        shielded = asyncio.shield(inner)
        await turns(1)
        inner.cancel()
        with pytest.raises(asyncio.CancelledError):
            await shielded
        done = asyncio.create_task(value(1))
        await done
        assert asyncio.shield(done) is done

    run(main())


def test_what_fails_behind_a_shield_that_was_left_is_reported() -> None:
    async def main() -> None:
        reports = Reports()
        shielded = asyncio.shield(fail(after=2))
        await turns(1)
        shielded.cancel()
        await turns(5)
        del shielded
        gc.collect()
        assert reports.messages == ["Task exception was never retrieved"]

    run(main())


def test_a_task_that_was_cancelled_keeps_nothing_of_what_it_waited_for() -> None:
    async def main() -> None:
        reports = Reports()

        async def caller() -> None:
            await asyncio.shield(fail(after=3))

        task = asyncio.create_task(caller())
        await turns(1)
        task.cancel()
        await asyncio.wait([task])
        await turns(5)
        gc.collect()
        # The task is still there, what has failed behind the shield is not.
        assert reports.messages == ["Task exception was never retrieved"]
        assert task.cancelled()

    run(main())


def test_a_failed_shield_that_nobody_retrieves_is_reported() -> None:
    async def main() -> None:
        reports = Reports()
        shielded = asyncio.shield(fail())
        await turns(3)
        assert shielded.done()
        del shielded
        gc.collect()
        assert reports.messages == ["Future exception was never retrieved"]

    run(main())


def test_a_shielded_task_is_out_of_reach_of_the_callers_scopes() -> None:
    async def main() -> None:
        ended: list[str] = []

        async def inner() -> None:
            await nursery.sleep(0.003)
            ended.append("inner")

        with nursery.move_on_after(0.001) as scope:
            await asyncio.shield(inner())
        assert scope.cancelled_caught
        assert ended == []
        await asyncio.sleep(0.005)
        assert ended == ["inner"]

    run(main())


# Threads


def test_coroutines_may_be_started_from_other_threads_and_calls_made_in_them() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        def work() -> object:
            return asyncio.run_coroutine_threadsafe(value(5, after=2), loop).result(timeout=5)

        assert await asyncio.to_thread(work) == 5

        def refuse() -> None:
            bad: Any = value
            asyncio.run_coroutine_threadsafe(bad, loop)

        with pytest.raises(TypeError, match=r"[Cc]oroutine"):
            await asyncio.to_thread(refuse)

    run(main())


def test_the_future_of_another_thread_gives_the_error_and_cancels_the_task() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ended: list[str] = []

        async def wait() -> None:
            try:
                await forever()
            finally:
                ended.append("cancelled")

        def work() -> None:
            with pytest.raises(ValueError):
                asyncio.run_coroutine_threadsafe(fail(), loop).result(timeout=5)
            future = asyncio.run_coroutine_threadsafe(wait(), loop)
            with pytest.raises(TimeoutError):
                future.result(timeout=0.01)
            assert future.cancel()
            assert future.cancelled()

        await asyncio.to_thread(work)
        await turns(4)
        assert ended == ["cancelled"]

    run(main())


def test_a_call_in_a_thread_has_its_arguments_and_the_callers_context() -> None:
    variable = contextvars.ContextVar("variable", default="outside")

    def work(*args: object, **options: object) -> tuple[object, ...]:
        seen = variable.get()
        variable.set("in the thread")
        return args, options, seen, threading.current_thread() is threading.main_thread()

    def wrong() -> None:
        raise ValueError

    async def main() -> None:
        variable.set("callers")
        assert await asyncio.to_thread(work, 1, two=2) == ((1,), {"two": 2}, "callers", False)
        assert variable.get() == "callers"
        with pytest.raises(ValueError):
            await asyncio.to_thread(wrong)

    run(main())
