"""Where edges meet levels: the table of nursery/compat/cancellation.py, row by row."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import nursery
from nursery import compat


async def soon(callback: Callable[..., object]) -> None:
    """Call `callback` two turns from now."""
    loop = asyncio.get_running_loop()
    loop.call_soon(loop.call_soon, callback)


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


# Task.cancel(): an edge


def test_a_task_cancelled_before_its_first_step_never_runs() -> None:
    ran: list[int] = []

    async def body() -> None:
        ran.append(1)

    async def main() -> None:
        task = asyncio.create_task(body())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    compat.run(main())
    assert ran == []


def test_cancel_interrupts_a_native_sleep_once() -> None:
    async def body() -> str:
        try:
            await nursery.sleep(5)
        except asyncio.CancelledError as exc:
            assert not isinstance(exc, nursery.Cancelled)
            assert exc.args == ("why",)
            # An edge: the next wait is not interrupted.
            await nursery.sleep(0)
            return "swallowed"
        return "not interrupted"

    async def main() -> None:
        task = asyncio.create_task(body())
        await asyncio.sleep(0)
        task.cancel("why")
        assert task.cancelling() == 1
        assert await task == "swallowed"

    compat.run(main())


def test_cancel_of_the_running_task_is_raised_at_its_next_await() -> None:
    async def in_asyncio() -> None:
        asyncio.current_task().cancel()  # type: ignore[union-attr]  # there is one
        await forever()

    async def in_a_bare_yield() -> None:
        asyncio.current_task().cancel()  # type: ignore[union-attr]  # there is one
        await asyncio.sleep(0)
        raise AssertionError

    async def in_a_native_checkpoint() -> None:
        asyncio.current_task().cancel()  # type: ignore[union-attr]  # there is one
        await nursery.lowlevel.checkpoint()
        raise AssertionError

    async def main() -> None:
        for body in (in_asyncio, in_a_bare_yield, in_a_native_checkpoint):
            with pytest.raises(asyncio.CancelledError):
                await asyncio.create_task(body())

    compat.run(main())


def test_cancel_with_no_await_left_ends_the_task_as_cancelled() -> None:
    async def body() -> int:
        asyncio.current_task().cancel()  # type: ignore[union-attr]  # there is one
        return 5

    async def main() -> None:
        task = asyncio.create_task(body())
        await asyncio.wait([task])
        assert task.cancelled()

    compat.run(main())


def test_cancel_of_a_task_queued_by_sleep_0_is_thrown_there() -> None:
    async def body() -> None:
        while True:
            await asyncio.sleep(0)

    async def main() -> None:
        task = asyncio.create_task(body())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    compat.run(main())


def test_cancel_of_a_task_queued_in_a_native_trap_waits_for_a_cancel_point() -> None:
    passed: list[int] = []

    async def body() -> None:
        await nursery.lowlevel.cancel_shielded_checkpoint()
        passed.append(1)
        await nursery.lowlevel.checkpoint()
        passed.append(2)

    async def main() -> None:
        task = asyncio.create_task(body())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    compat.run(main())
    assert passed == [1]


def test_cancel_after_the_future_was_set_is_thrown_and_the_result_is_lost_as_in_asyncio() -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()

        async def body() -> None:
            await future

        task = asyncio.create_task(body())
        await asyncio.sleep(0)
        future.set_result(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    compat.run(main())


def test_uncancel_to_zero_drops_an_edge_that_was_not_raised() -> None:
    async def body() -> str:
        task: Any = asyncio.current_task()
        task.cancel()
        assert task.uncancel() == 0
        await nursery.lowlevel.checkpoint()
        await asyncio.sleep(0)
        return "not interrupted"

    async def main() -> None:
        assert await asyncio.create_task(body()) == "not interrupted"

    compat.run(main())


def test_each_cancel_counts_and_uncancel_takes_one_back() -> None:
    async def main() -> None:
        task = asyncio.create_task(forever())
        await asyncio.sleep(0)
        task.cancel()
        task.cancel()
        assert task.cancelling() == 2
        assert task.uncancel() == 1
        assert task.cancelling() == 1
        await asyncio.wait([task])

    compat.run(main())


def test_a_native_shield_holds_an_edge_back_until_it_ends() -> None:
    events: list[str] = []

    async def body() -> None:
        try:
            with nursery.CancelScope(shield=True):
                await nursery.sleep(0.002)
                events.append("native")
                await asyncio.sleep(0.002)
                events.append("asyncio")
            await asyncio.sleep(0)
            events.append("not reached")
        except asyncio.CancelledError:
            events.append("cancelled")
            raise

    async def main() -> None:
        task = asyncio.create_task(body())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    compat.run(main())
    assert events == ["native", "asyncio", "cancelled"]


def test_dropping_a_shield_lets_the_edge_through_at_once() -> None:
    async def main() -> None:
        scope = nursery.CancelScope(shield=True)

        async def body() -> None:
            with scope:
                await forever()

        task = asyncio.create_task(body())
        await asyncio.sleep(0)
        task.cancel("held")
        await asyncio.sleep(0)
        assert not task.done()
        scope.shield = False
        with pytest.raises(asyncio.CancelledError):
            await task

    compat.run(main())


def test_asyncio_timeout_ends_a_native_sleep() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.002):
                await nursery.sleep(5)
        task: Any = asyncio.current_task()
        assert task.cancelling() == 0

    compat.run(main())


def test_wait_for_ends_a_native_sleep() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(nursery.sleep(5), 0.002)

    compat.run(main())


# A cancelled scope: a level


def test_a_native_deadline_ends_an_asyncio_wait() -> None:
    async def main() -> None:
        with nursery.move_on_after(0.002) as scope:
            await asyncio.Event().wait()
        assert scope.cancelled_caught
        with pytest.raises(nursery.TooSlowError):
            with nursery.fail_after(0.002):
                await asyncio.Event().wait()

    compat.run(main())


def test_what_a_scope_raises_is_at_home_in_both_dialects() -> None:
    async def main() -> None:
        waits: list[Callable[[], Awaitable[object]]] = [lambda: asyncio.sleep(5), nursery.sleep_forever]
        for wait in waits:
            with nursery.move_on_after(0.001):
                with pytest.raises(asyncio.CancelledError) as caught:
                    await wait()
                assert isinstance(caught.value, nursery.Cancelled)
                assert caught.value.source == "deadline"
                raise caught.value

    compat.run(main())


def test_clean_up_by_asyncios_rule_works_after_a_scope_was_cancelled() -> None:
    cleaned: list[str] = []

    async def main() -> None:
        with nursery.move_on_after(0.001) as scope:
            try:
                await forever()
            finally:
                await asyncio.sleep(0)
                cleaned.append("bare yield")
                await asyncio.sleep(0.001)
                cleaned.append("future")
                with pytest.raises(nursery.Cancelled):
                    await nursery.lowlevel.checkpoint()
                cleaned.append("native")
                await asyncio.sleep(0.001)
                cleaned.append("future again")
        assert scope.cancelled_caught

    compat.run(main())
    assert cleaned == ["bare yield", "future", "native", "future again"]


def test_told_in_a_native_wait_a_task_may_clean_up_in_asyncio() -> None:
    cleaned: list[int] = []

    async def main() -> None:
        with nursery.move_on_after(0.001):
            try:
                await nursery.sleep_forever()
            finally:
                await asyncio.sleep(0.001)
                cleaned.append(1)

    compat.run(main())
    assert cleaned == [1]


def test_a_scope_cancelled_later_interrupts_again() -> None:
    events: list[str] = []

    async def main() -> None:
        with nursery.CancelScope() as outer:
            with nursery.CancelScope() as inner:
                inner.cancel()
                try:
                    await forever()
                except asyncio.CancelledError:
                    events.append("inner")
                    outer.cancel()
                    try:
                        await forever()
                    except asyncio.CancelledError:
                        events.append("outer")
                        raise

    compat.run(main())
    assert events == ["inner", "outer"]


def test_a_scope_cancelled_before_an_await_interrupts_it() -> None:
    async def main() -> None:
        waits: list[Callable[[], Awaitable[object]]] = [forever, lambda: asyncio.sleep(0)]
        for wait in waits:
            with nursery.CancelScope() as scope:
                scope.cancel()
                await wait()
                raise AssertionError
            assert scope.cancelled_caught

    compat.run(main())


def test_a_result_that_is_there_goes_before_a_scope() -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        got: list[int] = []
        scope = nursery.CancelScope()

        def both() -> None:
            future.set_result(7)
            scope.cancel()

        with scope:
            await soon(both)
            got.append(await future)
            await asyncio.sleep(0)
            got.append(0)
        assert got == [7]
        assert scope.cancelled_caught

    compat.run(main())


def test_a_scope_reaches_the_children_of_gather() -> None:
    cancelled: list[int] = []

    async def child(number: int) -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            cancelled.append(number)
            raise

    async def main() -> None:
        with nursery.move_on_after(0.001) as scope:
            await asyncio.gather(child(1), child(2))
        assert scope.cancelled_caught

    compat.run(main())
    assert cancelled == [1, 2]


def test_asyncio_shield_keeps_its_inner_task_out_of_reach() -> None:
    async def main() -> None:
        inner = asyncio.create_task(asyncio.sleep(0.005, "done"))
        with nursery.move_on_after(0.001) as scope:
            await asyncio.shield(inner)
        assert scope.cancelled_caught
        assert not inner.done()
        assert await inner == "done"

    compat.run(main())


def test_a_native_shield_holds_a_scope_back_from_asyncio_waits() -> None:
    async def main() -> None:
        with nursery.CancelScope() as outer:
            outer.cancel()
            with nursery.CancelScope(shield=True):
                await asyncio.sleep(0.001)
                await asyncio.sleep(0)
            with pytest.raises(nursery.Cancelled):
                await nursery.lowlevel.checkpoint()

    compat.run(main())


def test_taskgroup_under_a_native_deadline_ends_its_children() -> None:
    ended: list[str] = []

    async def child() -> None:
        try:
            await nursery.sleep_forever()
        finally:
            ended.append("child")

    async def main() -> None:
        with nursery.move_on_after(0.002) as scope:
            async with asyncio.TaskGroup() as group:
                group.create_task(child())
                group.create_task(child())
        assert scope.cancelled_caught
        task: Any = asyncio.current_task()
        assert task.cancelling() == 0

    compat.run(main())
    assert ended == ["child", "child"]


# Native nurseries in asyncio tasks


def test_cancel_of_a_task_that_waits_in_a_nursery_comes_out_bare() -> None:
    async def body() -> None:
        async with nursery.open_nursery() as n:
            n.start_soon(nursery.sleep_forever)
            n.start_soon(forever)

    async def main() -> None:
        task = asyncio.create_task(body())
        await asyncio.sleep(0.001)
        task.cancel("bare")
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert type(caught.value) is asyncio.CancelledError
        assert task.cancelled()

    compat.run(main())


def test_a_child_that_was_cancelled_by_hand_does_not_fail_its_nursery() -> None:
    tasks: list[Any] = []

    async def child() -> None:
        tasks.append(asyncio.current_task())
        await nursery.sleep_forever()

    async def main() -> str:
        async with nursery.open_nursery() as n:
            n.start_soon(child)
            await asyncio.sleep(0.001)
            tasks[0].cancel()
        return "left"

    assert compat.run(main()) == "left"
    assert tasks[0].cancelled()


def test_a_failing_child_cancels_its_siblings_in_asyncio_waits() -> None:
    async def failing() -> None:
        await asyncio.sleep(0.001)
        raise ValueError("child")

    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with nursery.open_nursery() as n:
                n.start_soon(failing)
                n.start_soon(forever)
        assert [str(error) for error in caught.value.exceptions] == ["child"]

    compat.run(main())


def test_a_failure_goes_before_an_edge_which_is_raised_at_the_next_await() -> None:
    events: list[str] = []

    async def stubborn() -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            raise ValueError("clean-up failed") from None

    async def body() -> None:
        try:
            async with nursery.open_nursery() as n:
                n.start_soon(stubborn)
        except ExceptionGroup:
            events.append("group")
        await asyncio.sleep(0)
        events.append("not reached")

    async def main() -> None:
        task = asyncio.create_task(body())
        await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    compat.run(main())
    assert events == ["group"]


def test_a_native_scope_cuts_an_asyncio_stream_read_off() -> None:
    async def main() -> None:
        closed: list[int] = []

        served = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()
            await writer.wait_closed()
            served.set()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            with nursery.move_on_after(0.002) as scope:
                try:
                    await reader.read(10)
                finally:
                    writer.close()
                    await writer.wait_closed()
                    closed.append(1)
            assert scope.cancelled_caught
            assert closed == [1]
            await served.wait()

    compat.run(main())


def test_a_nursery_that_fails_by_a_cancellation_from_outside_does_not_interrupt_its_children_again() -> None:
    ends: list[str] = []

    async def child(name: str) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            for _ in range(3):
                await asyncio.sleep(0)
            ends.append(name)

    async def main() -> None:
        with nursery.move_on_after(0.001) as scope:
            async with nursery.open_nursery() as n:
                n.start_soon(child, "one")
                async with nursery.open_nursery() as inner:
                    inner.start_soon(child, "two")
                    inner.start_soon(nursery.sleep_forever)
        assert scope.cancelled_caught

    compat.run(main())
    assert sorted(ends) == ["one", "two"]


# Edges from inside a shield


@pytest.mark.parametrize("api", [asyncio, compat], ids=["asyncio", "compat"])
@pytest.mark.parametrize("wait", [asyncio.sleep, nursery.sleep], ids=["asyncio", "native"])
def test_a_timeout_inside_a_shield_works(api: Any, wait: Callable[[float], Awaitable[None]]) -> None:
    async def main() -> None:
        with nursery.CancelScope(shield=True):
            with pytest.raises(TimeoutError):
                async with api.timeout(0.001):
                    await wait(5)
            with pytest.raises(TimeoutError):
                await api.wait_for(wait(5), 0.001)

    compat.run(main())


@pytest.mark.parametrize("api", [asyncio, compat], ids=["asyncio", "compat"])
def test_a_task_group_inside_a_shield_interrupts_its_body(api: Any) -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    async def main() -> None:
        with nursery.CancelScope(shield=True), pytest.raises(ExceptionGroup):
            async with api.TaskGroup() as group:
                group.create_task(fail())
                await asyncio.sleep(5)

    compat.run(main())


@pytest.mark.parametrize("api", [asyncio, compat], ids=["asyncio", "compat"])
def test_a_loop_opened_inside_a_shield_knows_of_it(api: Any) -> None:
    async def main() -> None:
        with nursery.CancelScope(shield=True):
            async with compat.open_loop():
                with pytest.raises(TimeoutError):
                    async with api.timeout(0.001):
                        await asyncio.sleep(5)

    nursery.run(main)


def test_a_shield_that_is_raised_later_lets_timeouts_inside_it_through() -> None:
    async def main() -> None:
        with nursery.CancelScope() as scope:
            scope.shield = True
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await asyncio.sleep(5)

    compat.run(main())


def test_a_timeout_outside_a_shield_waits_for_its_end() -> None:
    async def main() -> list[str]:
        reached = []
        with pytest.raises(TimeoutError):
            async with compat.timeout(0.001):
                with nursery.CancelScope(shield=True):
                    await asyncio.sleep(0.003)
                    reached.append("the end of the shield")
                await asyncio.sleep(5)
                reached.append("too far")
        return reached

    assert compat.run(main()) == ["the end of the shield"]


def test_a_timeout_inside_a_shield_is_told_from_an_edge_that_the_shield_holds() -> None:
    async def body(steps: list[str]) -> None:
        with nursery.CancelScope(shield=True):
            try:
                async with compat.timeout(0.002):
                    await asyncio.sleep(5)
            except TimeoutError:
                steps.append("the inner time limit")
            await asyncio.sleep(0)
            steps.append("the end of the shield")
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            steps.append("the edge")
            raise

    async def main() -> None:
        steps: list[str] = []
        task = asyncio.create_task(body(steps))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert steps == ["the inner time limit", "the end of the shield", "the edge"]

    compat.run(main())


def test_an_edge_that_a_shield_holds_may_be_taken_back() -> None:
    async def body() -> int:
        with nursery.CancelScope(shield=True):
            await asyncio.sleep(0.002)
            with pytest.raises(TimeoutError):
                async with compat.timeout(0.001):
                    await asyncio.sleep(5)
        await asyncio.sleep(0)
        return 1

    async def main() -> None:
        task = asyncio.create_task(body())
        await asyncio.sleep(0)
        task.cancel()
        task.cancel()
        assert task.uncancel() == 1
        assert task.uncancel() == 0
        assert await task == 1

    compat.run(main())


def test_a_second_cancel_in_the_same_turn_keeps_the_first_message_as_in_asyncio() -> None:
    async def main() -> None:
        task = asyncio.create_task(forever())
        await asyncio.sleep(0)
        task.cancel("first")
        task.cancel("second")
        assert task.cancelling() == 2
        with pytest.raises(asyncio.CancelledError, match="first"):
            await task

    compat.run(main())
