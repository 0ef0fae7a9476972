"""Tasks of asyncio's own class, made by hand, await native things."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Coroutine
from typing import Any

import pytest

import nursery
from nursery import compat


def by_hand(coro: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.Task(coro, loop=asyncio.get_running_loop())


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_native_sleep_wakes_a_c_task() -> None:
    async def body() -> str:
        start = nursery.current_time()
        await nursery.sleep(0.002)
        assert nursery.current_time() - start >= 0.002
        await nursery.lowlevel.checkpoint()
        return "slept"

    async def main() -> None:
        assert await by_hand(body()) == "slept"

    compat.run(main())


def test_a_native_wait_in_a_c_task_returns_a_value() -> None:
    async def body(seen: list[nursery.lowlevel.Task]) -> Any:
        seen.append(nursery.lowlevel.current_task())
        return await nursery.lowlevel.wait_task_rescheduled(lambda _: nursery.lowlevel.Abort.SUCCEEDED)

    async def main() -> None:
        from outcome import Value

        seen: list[nursery.lowlevel.Task] = []
        task = by_hand(body(seen))
        await turns(2)
        nursery.lowlevel.reschedule(seen[0], Value(7))
        assert await task == 7

    compat.run(main())


def test_a_scope_cuts_a_native_wait_in_a_c_task_off() -> None:
    async def body() -> bool:
        with nursery.move_on_after(0.002) as scope:
            await nursery.sleep_forever()
        await nursery.lowlevel.checkpoint()
        return scope.cancelled_caught

    async def main() -> None:
        assert await by_hand(body()) is True

    compat.run(main())


def test_cancel_interrupts_a_native_wait_in_a_c_task() -> None:
    async def body() -> None:
        await nursery.sleep_forever()

    async def main() -> None:
        task = by_hand(body())
        await turns(2)
        task.cancel("by hand")
        with pytest.raises(asyncio.CancelledError, match="by hand"):
            await task

    compat.run(main())


def test_a_nursery_may_be_opened_in_a_c_task() -> None:
    done: list[str] = []

    async def child() -> None:
        await nursery.sleep(0.001)
        done.append("child")

    async def body() -> None:
        async with nursery.open_nursery() as n:
            n.start_soon(child)
            n.start_soon(child)
        done.append("body")

    async def main() -> None:
        await by_hand(body())

    compat.run(main())
    assert done == ["child", "child", "body"]


def test_a_nursery_whose_c_task_is_cancelled_takes_its_children_along() -> None:
    cancelled: list[str] = []

    async def child() -> None:
        try:
            await nursery.sleep_forever()
        except nursery.Cancelled:
            cancelled.append("child")
            raise

    async def body() -> None:
        async with nursery.open_nursery() as n:
            n.start_soon(child)

    async def main() -> None:
        task = by_hand(body())
        await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises((asyncio.CancelledError, BaseExceptionGroup)):
            await task

    compat.run(main())
    assert cancelled == ["child"]


def test_a_finished_c_task_is_freed_with_its_record() -> None:
    async def main() -> None:
        task = by_hand(nursery.sleep(0))
        await task
        reference = weakref.ref(task)
        del task
        await turns(2)
        gc.collect()
        assert reference() is None

    compat.run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in 3.12")
def test_an_eager_task_made_in_a_callback_awaits_native_things() -> None:
    async def body() -> str:
        await nursery.sleep(0.001)
        return "eager"

    async def main() -> None:
        loop = asyncio.get_running_loop()
        made: asyncio.Future[asyncio.Task[str]] = loop.create_future()
        loop.call_soon(lambda: made.set_result(asyncio.Task(body(), loop=loop, eager_start=True)))  # type: ignore[call-arg]  # 3.12
        assert await (await made) == "eager"

    compat.run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in 3.12")
def test_an_eager_task_made_by_a_factory_steps_as_itself() -> None:
    async def body() -> str:
        me = nursery.lowlevel.current_task()
        await nursery.sleep(0.001)
        assert nursery.lowlevel.current_task() is me
        return "eager"

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]  # 3.12
        maker = nursery.lowlevel.current_task()
        task = asyncio.create_task(body())
        assert nursery.lowlevel.current_task() is maker
        assert await task == "eager"

    compat.run(main())


WAYS = ["plain", pytest.param("eager", marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="new in 3.12"))]


def made(way: str, coro: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    loop = asyncio.get_running_loop()
    options: dict[str, Any] = {"eager_start": True} if way == "eager" else {}
    return asyncio.Task(coro, loop=loop, **options)


@pytest.mark.parametrize("way", WAYS)
def test_a_c_task_made_inside_a_task_of_ours_awaits_native_things_at_once(way: str) -> None:
    async def body() -> int:
        await nursery.sleep(0.001)
        return 1

    async def main() -> None:
        maker = nursery.lowlevel.current_task()
        task = made(way, body())
        # The maker is itself again, also for native code.
        assert nursery.lowlevel.current_task() is maker
        with nursery.move_on_after(1) as scope:
            await nursery.sleep(0.002)
        assert not scope.cancelled_caught
        assert await task == 1

    compat.run(main())


@pytest.mark.parametrize("way", WAYS)
def test_a_scope_of_the_maker_does_not_reach_a_c_task(way: str) -> None:
    async def body() -> int:
        await nursery.sleep(0.004)
        return 1

    async def main() -> None:
        with nursery.move_on_after(0.001) as scope:
            task = made(way, body())
            await nursery.sleep_forever()
        assert scope.cancelled_caught
        assert await task == 1

    compat.run(main())


@pytest.mark.parametrize("way", WAYS)
def test_a_scope_interrupts_an_asyncio_await_of_a_c_task_once(way: str) -> None:
    cleaned: list[str] = []

    async def body() -> bool:
        with nursery.move_on_after(0.001) as scope:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                await asyncio.sleep(0.001)
                cleaned.append("in peace")
        # What comes after the scope is not interrupted.
        await asyncio.sleep(0.001)
        return scope.cancelled_caught

    async def main() -> None:
        assert await made(way, body())
        assert cleaned == ["in peace"]

    compat.run(main())


@pytest.mark.parametrize("way", WAYS)
def test_a_scope_interrupts_a_c_task_that_does_nothing_but_yield(way: str) -> None:
    async def body() -> bool:
        with nursery.CancelScope() as scope:
            scope.cancel()
            while True:
                await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0)
        return scope.cancelled_caught

    async def main() -> None:
        assert await made(way, body())

    compat.run(main())


@pytest.mark.parametrize("way", WAYS)
def test_an_edge_that_meets_a_cancelled_scope_in_a_c_task_is_not_absorbed(way: str) -> None:
    async def body() -> None:
        with nursery.CancelScope() as scope:
            scope.cancel()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                await asyncio.get_running_loop().create_future()

    async def main() -> None:
        task = made(way, body())
        await turns(4)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    compat.run(main())


@pytest.mark.parametrize("way", WAYS)
def test_an_edge_comes_bare_out_of_a_nursery_of_a_c_task(way: str) -> None:
    ended: list[str] = []

    async def child() -> None:
        try:
            await nursery.sleep_forever()
        finally:
            ended.append("child")

    async def body() -> None:
        async with nursery.open_nursery() as n:
            n.start_soon(child)

    async def main() -> None:
        task = made(way, body())
        await turns(4)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == ["child"]

    compat.run(main())


def test_a_scope_absorbs_a_cancelled_error_that_a_library_made_of_its_own() -> None:
    async def library() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            raise asyncio.CancelledError from None

    async def main() -> None:
        with nursery.move_on_after(0.001) as scope:
            await library()
        assert scope.cancelled_caught

    compat.run(main())
