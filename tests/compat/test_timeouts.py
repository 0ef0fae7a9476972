"""Timeouts of the facade: asyncio.timeout, timeout_at, wait_for."""

from __future__ import annotations

import asyncio as stdlib
from typing import Any

import pytest

import nursery
from nursery import compat as asyncio

from .kinds import Spawn, in_both_kinds, turns
from .two_loops import run


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


def cancelling() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


@in_both_kinds
def test_a_timeout_cancels_its_block_and_raises_timeout_error(spawn: Spawn) -> None:
    async def body() -> None:
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.001) as limit:
                await forever()
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)
        assert limit.expired()
        assert cancelling() == 0
        # Nothing is left of it.
        await asyncio.sleep(0)

    async def main() -> None:
        await spawn(body())

    run(main())


@in_both_kinds
def test_a_block_that_ends_in_time_is_left_alone(spawn: Spawn) -> None:
    async def body() -> None:
        async with asyncio.timeout(10) as limit:
            await asyncio.sleep(0)
        assert not limit.expired()
        async with asyncio.timeout(None) as unlimited:
            assert unlimited.when() is None
        async with asyncio.timeout(float("inf")):
            await asyncio.sleep(0)

    async def main() -> None:
        await spawn(body())

    run(main())


def test_a_timeout_that_is_over_already_interrupts_the_first_await() -> None:
    async def main() -> None:
        for delay in (0, -1):
            reached = False
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(delay):
                    reached = True
                    await asyncio.sleep(0)
                    raise AssertionError
            assert reached
        with pytest.raises(TimeoutError):
            async with asyncio.timeout_at(asyncio.get_running_loop().time() - 1):
                await asyncio.sleep(5)

    run(main())


@in_both_kinds
def test_what_was_scheduled_before_goes_before_a_timeout_that_is_over_already(spawn: Spawn) -> None:
    async def body() -> None:
        order: list[str] = []
        loop = asyncio.get_running_loop()
        loop.call_soon(order.append, "before")
        future = loop.create_future()
        future.add_done_callback(lambda _: order.append("cancelled"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                loop.call_soon(order.append, "after")
                await future
        assert order == ["before", "after", "cancelled"]

    async def main() -> None:
        await spawn(body())

    run(main())


@in_both_kinds
def test_a_timeout_that_is_over_already_does_nothing_to_a_block_without_an_await(spawn: Spawn) -> None:
    async def body() -> None:
        for limit in (asyncio.timeout(0), asyncio.timeout(-1), asyncio.timeout_at(0)):
            async with limit:
                pass
            assert not limit.expired()
        await asyncio.sleep(0)
        assert cancelling() == 0

    async def main() -> None:
        await spawn(body())

    run(main())


def test_a_timeout_moved_away_from_the_past_in_time_does_not_expire() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(30) as limit:
            limit.reschedule(loop.time() - 1)
            limit.reschedule(loop.time() + 30)
            await turns(3)
        assert not limit.expired()
        async with asyncio.timeout(0) as limit:
            limit.reschedule(None)
            await turns(3)
        assert not limit.expired()

    run(main())


def test_a_timeout_may_be_moved() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(0.001) as limit:
            limit.reschedule(loop.time() + 10)
            assert limit.when() is not None
            await asyncio.sleep(0.003)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(None) as limit:
                limit.reschedule(loop.time() - 1)
                await asyncio.sleep(5)

    run(main())


def test_only_a_timeout_that_runs_may_be_moved() -> None:
    async def main() -> None:
        limit = asyncio.timeout(10)
        with pytest.raises(RuntimeError, match="not been entered"):
            limit.reschedule(None)
        async with limit:
            pass
        with pytest.raises(RuntimeError, match="Cannot change state of finished"):
            limit.reschedule(None)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0) as limit:
                await asyncio.sleep(1)
        with pytest.raises(RuntimeError, match="Cannot change state of expired"):
            limit.reschedule(None)

    run(main())


def test_a_timeout_is_entered_once() -> None:
    async def main() -> None:
        async with asyncio.timeout(10) as limit:
            with pytest.raises(RuntimeError, match="already been entered"):
                await limit.__aenter__()
        with pytest.raises(RuntimeError, match="already been entered"):
            async with limit:
                pass

    run(main())


def test_a_timeout_outside_a_task_or_a_loop_is_refused() -> None:
    async def enter() -> None:
        async with asyncio.Timeout(None):
            pass

    coro = enter()
    with pytest.raises(RuntimeError, match="no running event loop"):
        coro.send(None)

    async def main() -> None:
        told: list[str] = []

        def outside_a_task() -> None:
            coro = enter()
            with pytest.raises(RuntimeError, match="inside a task"):
                coro.send(None)
            told.append("refused")

        asyncio.get_running_loop().call_soon(outside_a_task)
        await turns(2)
        assert told == ["refused"]

    run(main())


def test_nan_is_no_delay() -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="NaN"):
            asyncio.timeout(float("nan"))

    run(main())


@pytest.mark.parametrize("inner_first", [True, False])
def test_of_nested_timeouts_the_one_that_is_over_raises(inner_first: bool) -> None:
    async def main() -> None:
        log: list[str] = []
        try:
            async with asyncio.timeout(1 if inner_first else 0.001):
                try:
                    async with asyncio.timeout(0.001 if inner_first else 1):
                        await forever()
                except TimeoutError:
                    log.append("inner")
        except TimeoutError:
            log.append("outer")
        assert log == ["inner" if inner_first else "outer"]
        assert cancelling() == 0

    run(main())


def test_an_outer_cancellation_goes_before_a_timeout() -> None:
    async def body() -> None:
        async with asyncio.timeout(0):
            current: Any = asyncio.current_task()
            current.cancel()
            await forever()

    async def main() -> None:
        task = asyncio.create_task(body())
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelling() == 1

    run(main())


def test_a_failure_during_the_interruption_has_the_timeout_in_its_context() -> None:
    async def main() -> None:
        with pytest.raises(ZeroDivisionError) as caught:
            async with asyncio.timeout(0.001):
                try:
                    await forever()
                finally:
                    1 / 0
        assert isinstance(caught.value.__context__, TimeoutError)
        assert isinstance(caught.value.__context__.__cause__, asyncio.CancelledError)

    run(main())


def test_a_scope_that_is_cancelled_while_a_timeout_expires_is_not_taken_for_it() -> None:
    async def main() -> None:
        with nursery.CancelScope() as scope:
            async with asyncio.timeout(0.001) as limit:
                try:
                    await forever()
                except asyncio.CancelledError:
                    scope.cancel()
                    await forever()
        assert scope.cancelled_caught
        assert limit.expired()
        assert cancelling() == 0

    run(main())


def test_timeouts_limit_clean_up_in_a_cancelled_scope() -> None:
    async def main() -> None:
        log: list[str] = []
        with nursery.move_on_after(0.001) as scope:
            try:
                await forever()
            finally:
                try:
                    async with asyncio.timeout(0.001):
                        await forever()
                except TimeoutError:
                    log.append("timeout")
                try:
                    await asyncio.wait_for(forever(), 0.001)
                except TimeoutError:
                    log.append("wait_for")
        assert log == ["timeout", "wait_for"]
        assert scope.cancelled_caught

    run(main())


def test_a_timeout_counts_only_its_own_request() -> None:
    async def body() -> int:
        try:
            await forever()
        except asyncio.CancelledError:
            try:
                async with asyncio.timeout(0.001):
                    await forever()
            except TimeoutError:
                return cancelling()
        raise AssertionError

    async def main() -> None:
        task = asyncio.create_task(body())
        await turns(1)
        task.cancel()
        assert await task == 1

    run(main())


def test_no_deadline_is_left_behind() -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        runner = loop.runner
        before = len(runner.deadlines)
        async with asyncio.timeout(10):
            pass
        assert await asyncio.wait_for(asyncio.sleep(0, 5), 10) == 5
        with pytest.raises(ValueError):
            async with asyncio.timeout(10):
                raise ValueError
        assert len(runner.deadlines) == before

    run(main())


# wait_for


@in_both_kinds
def test_wait_for_returns_the_result_or_cancels_and_raises(spawn: Spawn) -> None:
    async def body() -> None:
        assert await asyncio.wait_for(asyncio.sleep(0.001, "done"), 10) == "done"
        assert await asyncio.wait_for(asyncio.sleep(0, "done"), None) == "done"
        inner = asyncio.create_task(forever())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(inner, 0.001)
        assert inner.cancelled()

    async def main() -> None:
        await spawn(body())

    run(main())


def test_wait_for_nothing_does_not_start_the_coroutine() -> None:
    async def main() -> None:
        ran: list[int] = []

        async def body() -> None:
            ran.append(1)

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(body(), 0)
        assert ran == []
        done = asyncio.create_task(asyncio.sleep(0, 1))
        await done
        assert await asyncio.wait_for(done, 0) == 1

    run(main())


def test_wait_for_waits_until_what_it_cancelled_has_ended() -> None:
    async def main() -> None:
        ended: list[str] = []

        async def stubborn() -> str:
            try:
                await forever()
            except asyncio.CancelledError:
                await asyncio.sleep(0.002)
                ended.append("cleaned")
                raise
            raise AssertionError

        for limit in (0.001, 0):
            task = asyncio.create_task(stubborn())
            await turns(1)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(task, limit)
            assert task.done()
        assert ended == ["cleaned", "cleaned"]

    run(main())


@in_both_kinds
def test_a_result_that_comes_with_the_timeout_is_returned(spawn: Spawn) -> None:
    async def body() -> str:
        async def late() -> str:
            try:
                await forever()
            except asyncio.CancelledError:
                return "all the same"
            raise AssertionError

        result = await asyncio.wait_for(late(), 0.001)
        assert cancelling() == 0
        await asyncio.sleep(0)
        return result

    async def main() -> None:
        assert await spawn(body()) == "all the same"

    run(main())


def test_wait_for_takes_any_awaitable_and_refuses_the_rest() -> None:
    class Awaitable:
        def __await__(self) -> Any:
            yield from asyncio.sleep(0).__await__()
            return 5

    async def main() -> None:
        assert await asyncio.wait_for(Awaitable(), 1) == 5
        bad: Any = 5
        for limit in (None, 1, 0):
            with pytest.raises(TypeError, match="awaitable is required"):
                await asyncio.wait_for(bad, limit)

    run(main())


def test_stdlibs_timeouts_work_on_our_tasks_as_well() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with stdlib.timeout(0.001):
                await asyncio.Lock().acquire()
                await asyncio.Event().wait()

    run(main())


def test_their_repr_tells_the_state() -> None:
    async def main() -> None:
        limit = asyncio.timeout(None)
        assert repr(limit) == "<Timeout [created]>"
        async with limit:
            assert repr(limit) == "<Timeout [active] when=None>"
        assert repr(limit) == "<Timeout [finished]>"

    run(main())
