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
